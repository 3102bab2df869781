"""Files of codes (.svq) of one model, read and written by any of its coders."""

import logging
from dataclasses import replace
from functools import cached_property
from pathlib import Path

from speechvq import SpeechVQError
from speechvq.codec import Codec, Encoded
from speechvq.codec.arguments import as_codes
from speechvq.coding.bitstream import pack, unpack
from speechvq.coding.coders import Coder, Fixed, Static, UnderPrior
from speechvq.coding.header import CODER_TAGS, FINGERPRINT_DIGITS, MAX_SAMPLES, Header, parse_file
from speechvq.coding.packets.framing import StreamHeader, is_packets
from speechvq.coding.packets.recorded import unpack_packets
from speechvq.coding.trained_prior import TrainedPrior
from speechvq.config.shapes import as_path, check_number
from speechvq.files import atomic_write
from speechvq.folder.card import Alphabet
from speechvq.folder.histogram import HISTOGRAM

log = logging.getLogger(__name__)


class CodeFiles:
    """Reads and writes .svq files of a model's codes.

    codec: the model.
    prior: folder of a prior of its codes, for the coder `prior`.

    penalty: for each change of code, with which codes are found that suit the best coder; 0 but for some priors.

    >>> codes = CodeFiles(codec).read(Path("speech.svq")).codes

    Raises SpeechVQError if the prior is of another model's codes.
    """

    def __init__(self, codec: Codec, prior: str | Path | None = None) -> None:
        self.codec = codec
        self.prior = None if prior is None else TrainedPrior.load(prior, codec.device, codec.alphabet)
        self.penalty = 0.0 if self.prior is None else self.prior.penalty

    def coder(self, name: str | None = None) -> Coder:
        """The coder `fixed`, `static` or `prior`; without a name, the last of these that there is.

        Raises SpeechVQError if there is no such coder, or it needs a histogram or a prior that is not there.
        """
        histogram = self.codec.histogram
        if name not in (None, *CODER_TAGS):
            raise SpeechVQError(f"a coder is one of {', '.join(CODER_TAGS)}, not {str(name)[:20]!r}")
        if name == "prior" or (name is None and self.prior is not None):
            if self.prior is None:
                raise SpeechVQError("the coder 'prior' needs a prior (--prior)")
            return self._under_prior
        if name == "static" and histogram is None:
            raise SpeechVQError(f"the coder 'static' needs the model's {HISTOGRAM}, which training it writes")
        return Fixed(self.codec.alphabet.codes) if name == "fixed" or histogram is None else Static(histogram)

    def read(self, path: str | Path) -> Encoded:
        """The codes of a file.

        The parts of a damaged file that are lost are logged as warnings. Raises SpeechVQError if it is not a .svq file,
        needs another model, histogram or prior, or all of it is lost.
        """
        path = as_path(path, "a file of codes")
        encoded = parse_file(path, self._unpack)
        if sum(end - start for start, end in encoded.lost) == len(encoded.codes):
            raise SpeechVQError(f"{path}: damaged, and all of its codes are lost")
        seconds = encoded.alphabet.hop_length / self.codec.sample_rate
        for start, end in encoded.lost:
            span = f"{start * seconds:.2f} to {end * seconds:.2f} s"
            log.warning("%s: damaged, codes %d to %d (%s) are lost", path, start, end - 1, span)
        return encoded

    def write(self, path: str | Path, encoded: Encoded, coder: Coder) -> None:
        """Write a file, atomically.

        Raises SpeechVQError if no file can be there, or it could not be read again: the codes are those of another
        model, or not as many as the samples have.
        """
        self._require_own(encoded.alphabet)
        codes = as_codes(encoded.codes, encoded.alphabet.codes)
        check_number(encoded.samples, "the number of samples", 1, MAX_SAMPLES, whole=True)
        if len(codes) != -(-encoded.samples // encoded.alphabet.hop_length):
            raise SpeechVQError(f"{len(codes)} codes are not those of {encoded.samples} samples")
        encoded = replace(encoded, codes=codes)
        with atomic_write(as_path(path, "a file of codes")) as temporary:
            temporary.write_bytes(pack(encoded, coder))

    @cached_property
    def _under_prior(self) -> UnderPrior:
        assert self.prior is not None
        return UnderPrior(self.prior.net, self.prior.tag)

    def _unpack(self, data: bytes) -> Encoded:
        return (unpack_packets if is_packets(data) else unpack)(data, self.coder_of)

    def coder_of(self, header: Header | StreamHeader) -> Coder:
        """The coder with which a file or a stream was written.

        Raises SpeechVQError if it is of another model, or needs another histogram or prior.
        """
        self._require_own(header.alphabet)
        if header.coder == "prior" and self.prior is None:
            raise SpeechVQError(f"written under the prior {header.tag.hex()}: give it as --prior")
        coder = self.coder(header.coder)
        if coder.tag != header.tag:
            raise SpeechVQError(
                f"written under the {header.coder} {header.tag.hex()}, not this one ({coder.tag.hex()})"
            )
        return coder

    def _require_own(self, alphabet: Alphabet) -> None:
        """Raises SpeechVQError for codes of another model; a file names its model by the first digits alone."""
        wanted, own = (one.model[:FINGERPRINT_DIGITS] for one in (alphabet, self.codec.alphabet))
        if replace(alphabet, model=wanted) != replace(self.codec.alphabet, model=own):
            raise SpeechVQError(f"codes of model {wanted}, not of this one ({own})")

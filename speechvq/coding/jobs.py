"""Encode, decode and convert files, or folders of files into folders of the same shape."""

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, TypeVar

from torch import Tensor

from speechvq import SpeechVQError
from speechvq.audio import SAMPLE_RATE
from speechvq.audio.io import write
from speechvq.codec import BATCH, Codec, Encoded
from speechvq.coding.bitstream import DIGITS, Header, pack, unpack
from speechvq.coding.coders import Coder, Fixed, Static, UnderPrior
from speechvq.coding.trained_prior import TrainedPrior
from speechvq.config import PriorRun
from speechvq.files import atomic_write
from speechvq.folder.card import load_card
from speechvq.folder.histogram import HISTOGRAM
from speechvq.folder.hub import read_card
from speechvq.progress import progress
from speechvq.wavenet.sampler import Sampling

log = logging.getLogger(__name__)
CODES = (".svq",)
LONG = 300 * SAMPLE_RATE  # samples: longer files are written while they are made
T = TypeVar("T")


@dataclass(frozen=True)
class Job:
    """An input file and the file to make of it."""

    source: Path
    target: Path


def plan(source: Path, target: Path, suffixes: Sequence[str], made: Sequence[str], force: bool) -> list[Job]:
    """The jobs for a file, or for every file with one of `suffixes` in a folder.

    `made`: what an output may end in; in a folder all end in the first. SpeechVQError before any work where
    an output exists (unless `force`), ends in something else, or there is nothing to do.
    """
    if source.is_dir():
        files = sorted(path for path in source.rglob("*") if path.suffix.lower() in suffixes)
        jobs = [Job(path, (target / path.relative_to(source)).with_suffix(made[0])) for path in files]
        if not jobs:
            raise SpeechVQError(f"{source}: no files ending in {', '.join(suffixes)}")
    else:
        jobs = [Job(source, target / f"{source.stem}{made[0]}" if target.is_dir() else target)]
    targets = [job.target for job in jobs]
    if len(set(targets)) < len(targets):
        raise SpeechVQError(f"{source}: two files would both become {max(targets, key=targets.count)}")
    for path in targets:
        if path.suffix.lower() not in made:
            raise SpeechVQError(f"{path}: the output ends in {' or '.join(dict.fromkeys(made))}")
        if path.exists() and not force:
            raise SpeechVQError(f"{path} exists; --force overwrites it")
    return jobs


class Coders:
    """The ways in which a model's codes can be written: `fixed` always, `static` with its histogram, `prior` with one.

    SpeechVQError where the prior is of another model's codes.
    """

    def __init__(self, codec: Codec, prior: Path | None = None) -> None:
        self.codec = codec
        self.prior = None if prior is None else TrainedPrior.load(prior, codec.device, codec.alphabet)

    def named(self, name: Literal["fixed", "static", "prior"] | None) -> Coder:
        """The coder of a name, or the best that there is; SpeechVQError where that needs what there is not."""
        histogram = self.codec.histogram
        if name == "prior" or (name is None and self.prior is not None):
            if self.prior is None:
                raise SpeechVQError("the coder 'prior' needs a prior (--prior)")
            return self._under_prior
        if name == "static" and histogram is None:
            raise SpeechVQError(f"the coder 'static' needs the model's {HISTOGRAM}, which training it writes")
        return Fixed(self.codec.alphabet.codes) if name == "fixed" or histogram is None else Static(histogram)

    def read(self, path: Path) -> Encoded:
        """The codes of a file; SpeechVQError for what is none, or needs another model, histogram or prior.

        A warning tells which parts of a damaged file are lost, if not all.
        """
        encoded = about(path, lambda data: unpack(data, self._asked))
        if sum(end - begin for begin, end in encoded.lost) == len(encoded.codes):
            raise SpeechVQError(f"{path}: damaged, and all of its codes are lost")
        for begin, end in encoded.lost:
            first, last = (place * encoded.alphabet.hop_length / self.codec.sample_rate for place in (begin, end))
            log.warning("%s: damaged, codes %d to %d (%.2f to %.2f s) are lost", path, begin, end - 1, first, last)
        return encoded

    @cached_property
    def _under_prior(self) -> UnderPrior:
        assert self.prior is not None
        return UnderPrior(self.prior.net, self.prior.tag)

    def _asked(self, header: Header) -> Coder:
        wanted, given = header.alphabet.model, self.codec.fingerprint[:DIGITS]
        if header.alphabet != replace(self.codec.alphabet, model=given):
            raise SpeechVQError(f"codes of model {wanted}, not of this one ({given})")
        if header.coder == "prior" and self.prior is None:
            raise SpeechVQError(f"written under the prior {header.tag.hex()}: give it as --prior")
        coder = self.named(header.coder)  # type: ignore[arg-type]
        if coder.tag != header.tag:
            raise SpeechVQError(
                f"written under the {header.coder} {header.tag.hex()}, not this one ({coder.tag.hex()})"
            )
        return coder


def about(path: Path, read: Callable[[bytes], T]) -> T:
    """What is read from a file; its errors name the file."""
    try:
        return read(path.read_bytes())
    except FileNotFoundError:
        raise SpeechVQError(f"{path}: no such file") from None
    except SpeechVQError as error:
        raise SpeechVQError(f"{path}: {error}") from None


def encode_files(codec: Codec, jobs: Sequence[Job], coder: Coder, speaker: str) -> Iterator[tuple[Job, Encoded]]:
    """Audio files to files of codes; speaker: to decode them with."""
    for job in progress(jobs, unit="file"):
        encoded = codec.encode_file(job.source, speaker)
        _write_codes(job.target, encoded, coder)
        yield job, encoded


def decode_files(
    codec: Codec, jobs: Sequence[Job], coders: Coders, speaker: str | None, sampling: Sampling
) -> Iterator[tuple[Job, Encoded]]:
    """Files of codes to audio files, by the file's own speaker if no other is given; what is lost is silent.

    SpeechVQError for codes of another model.
    """
    yield from _speak(codec, jobs, [coders.read(job.source) for job in jobs], speaker, sampling)


def convert_files(codec: Codec, jobs: Sequence[Job], speaker: str, sampling: Sampling) -> Iterator[tuple[Job, Encoded]]:
    """Audio files to audio files of the same duration, spoken by `speaker`."""
    encoded = [codec.encode_file(job.source) for job in progress(jobs, unit="file")]
    yield from _speak(codec, jobs, encoded, speaker, sampling)


def numbered(target: Path, count: int, force: bool) -> list[Path]:
    """The files for so many samples; SpeechVQError where one exists (unless `force`) or is of no kind that is made."""
    names = [target.with_stem(f"{target.stem}-{i + 1}") for i in range(count)] if count > 1 else [target]
    jobs = [plan(target, name, (), (".wav", ".flac", *CODES), force) for name in names]
    return [job.target for [job] in jobs]


def sample_files(
    coders: Coders,
    targets: Sequence[Path],
    speaker: str,
    *,
    seconds: float,
    sampling: Sampling,
    voice: Sampling,
    anyone: bool = False,
    prefix: Path | None = None,
) -> Iterator[tuple[Job, Encoded]]:
    """Codes from the prior, by `sampling`, to audio files that `speaker` speaks, by `voice`, or to files of codes.

    The prior is told the speaker if it knows them, unless `anyone`. prefix: audio or codes to go on from.
    """
    codec, prior = coders.codec, coders.prior
    assert prior is not None
    before = None
    if prefix is not None:
        before = (coders.read(prefix) if prefix.suffix.lower() in CODES else codec.encode_file(prefix)).codes
    length = max(round(seconds * codec.sample_rate / codec.hop_length), 1)
    told = None if anyone or speaker not in prior.speakers else speaker
    rows = [*prior.sample(len(targets), length, told, sampling, before)]
    encoded = [Encoded(row, length * codec.hop_length, codec.alphabet, speaker) for row in rows]
    jobs = [Job(prefix or Path(), target) for target in targets]
    if targets[0].suffix.lower() not in CODES:
        yield from _speak(codec, jobs, encoded, speaker, voice)
        return
    for job, item in zip(jobs, encoded, strict=True):
        _write_codes(job.target, item, coders.named(None))
        yield job, item


def _write_codes(path: Path, encoded: Encoded, coder: Coder) -> None:
    with atomic_write(path) as temporary:
        temporary.write_bytes(pack(encoded, coder))


def describe_folder(folder: Path) -> dict[str, Any]:
    """What `speechvq info` says of a model, or of a prior."""
    prior = isinstance(load_card(folder).config, PriorRun)
    about = TrainedPrior.load(folder).describe() if prior else Codec.load(folder).describe()
    return read_card(folder) | about


def _speak(
    codec: Codec, jobs: Sequence[Job], encoded: Sequence[Encoded], speaker: str | None, sampling: Sampling
) -> Iterator[tuple[Job, Encoded]]:
    for job, item in zip(jobs, encoded, strict=True):
        if not speaker and not item.speaker:
            raise SpeechVQError(f"{job.source}: names no speaker to decode it with; give one (--speaker)")
    work = sorted(zip(jobs, encoded, strict=True), key=lambda item: item[1].samples)
    short = [pair for pair in work if pair[1].samples <= LONG]
    for begin in range(0, len(short), BATCH):
        some = short[begin : begin + BATCH]
        speakers = [speaker or item.speaker for _, item in some]
        wavs = codec.decode_many([item.codes for _, item in some], speakers, sampling)
        for (job, item), wav in zip(some, wavs, strict=True):
            write(job.target, _heard([wav], item), codec.sample_rate)
            yield job, item
    for job, item in work[len(short) :]:
        pieces = codec.decode_pieces(item.codes, speaker or item.speaker, sampling)
        write(job.target, _heard(pieces, item), codec.sample_rate)
        yield job, item


def _heard(pieces: Iterable[Tensor], item: Encoded) -> Iterator[Tensor]:
    """As much of a wav that comes in pieces as its source had, silent where its codes are lost."""
    begin, hop = 0, item.alphabet.hop_length
    for piece in pieces:
        heard = piece[: max(item.samples - begin, 0)].clone()
        for first, last in item.lost:
            heard[max(first * hop - begin, 0) : max(last * hop - begin, 0)] = 0
        yield heard
        begin += len(piece)

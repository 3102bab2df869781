"""The half of a codec that encodes: audio of any kind to codes, and what lies between."""

from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from speechvq import SpeechVQError
from speechvq.audio import SAMPLE_RATE
from speechvq.audio.decoding.libsndfile import check_sound
from speechvq.audio.high_pass import high_passed
from speechvq.audio.io import read, read_pieces, resample, validate
from speechvq.audio.level import Meter
from speechvq.audio.source_filter import pitch_contour
from speechvq.audio.windows import windows
from speechvq.codec.arguments import as_codes, as_list, as_samples, check_defaults
from speechvq.codec.encoded import Encoded
from speechvq.codec.melody import PITCH_FRAME, melody_of
from speechvq.codec.streaming import Streams
from speechvq.config.shapes import as_path, check_number
from speechvq.folder.card import Alphabet
from speechvq.nn.bottleneck.viterbi import penalized_codes
from speechvq.nn.vqvae import VQVAE
from speechvq.progress import seconds_done

MOST_PENALTY = 1e12  # in squared distances of the codebook
Speech = ArrayLike | Tensor | Path  # samples, or the path of an audio file, also as text


class SpeechEncoder(Streams):
    """Encodes speech by a model, at the high-pass and the loudness of its training."""

    sample_rate = SAMPLE_RATE
    model: VQVAE
    fingerprint: str
    high_pass: float
    device: torch.device

    @property
    def hop_length(self) -> int:
        """Samples per code at 16 kHz."""
        return self.model.hop_length

    @property
    def alphabet(self) -> Alphabet:
        """The name of the model's codes, on which files and priors of them must agree.

        Raises SpeechVQError if the bottleneck is continuous.
        """
        return Alphabet(self.fingerprint, self.model.discrete.codes, self.hop_length)

    def encode(
        self, wav: Speech, sample_rate: int | None = None, *, penalty: float = 0.0, gain: float | None = None
    ) -> Tensor:
        """The codes (N,) int64 of a wav, N = ceil(T' / hop_length), where T' is its length at 16 kHz.

        wav: (T,) or (channels, T) in [-1, 1], or the path of an audio file.
        sample_rate: of the wav, in Hz; a file has its own.
        penalty: for each change of code, in squared distances of the bottleneck. Above 0, codes change less often, and
            a code depends on the `DECISION_DELAY` codes after it, too: not for a stream without that delay.
        gain: a factor; None brings the loudness to that of the training data. With a gain, all is computed in the
            blocks of a stream: the result is that of `code_stream`, bit for bit. There is no penalty then.

        Raises SpeechVQError if the wav is empty or has NaN or infinite samples, the file is missing or not audio, or
            there are both gain and penalty.
        """
        mono = self._mono(wav, sample_rate)
        if gain is not None:
            check_number(penalty, "penalty", 0, MOST_PENALTY)
            if penalty:
                raise SpeechVQError("with a gain, codes are those of a stream, which has no penalty")
            stream = self.code_stream(gain=gain)
            return torch.cat([stream.push(mono), stream.flush()])
        return self._encode(lambda: [mono], penalty)

    def encode_many(
        self, wavs: Iterable[Speech], sample_rate: int | None = None, *, penalty: float = 0.0
    ) -> list[Tensor]:
        """`encode` for several wavs or files, one after another: the codes of one do not depend on the others."""
        return [self.encode(wav, sample_rate, penalty=penalty) for wav in as_list(wavs, "several wavs")]

    def encode_file(
        self,
        path: str | Path,
        speaker: str = "",
        *,
        penalty: float = 0.0,
        keep_pitch: bool = False,
        melody: bool = False,
        show_progress: bool = False,
    ) -> Encoded:
        """The codes of an audio file of any length: memory grows with it by 8 bytes per code only, and with pitch or
        melody by some per frame of these.

        speaker: kept in the result as the speaker to decode with.
        penalty: for each change of code, as of `encode`.
        keep_pitch: whether the result has the pitch of the recording, too.
        melody: whether it has the melody, which files of codes can carry.
        show_progress: whether a file that takes more than two seconds gets a progress bar on stderr.

        Raises SpeechVQError if the file is missing or not audio.
        """
        check_defaults()
        path, samples = as_path(path, "an audio file"), 0
        if not isinstance(speaker, str):
            raise SpeechVQError(f"a speaker is given by name, not as {type(speaker).__name__}")

        def count() -> Iterator[Tensor]:
            nonlocal samples
            known, samples = samples or None, 0  # the file is read twice
            text, pieces = "encoding" if known else "measuring loudness", read_pieces(path, self.sample_rate)
            for piece in seconds_done(pieces, self.sample_rate, known, text=text, show=show_progress):
                samples += len(piece)
                yield piece

        codes = self._encode(count, penalty)
        pitch = self._pitch(lambda: read_pieces(path, self.sample_rate), len(codes)) if keep_pitch else None
        kept = self._melody(lambda: read_pieces(path, self.sample_rate), samples) if melody else None
        return Encoded(codes, samples, self.alphabet, speaker, pitch=pitch, melody=kept)

    def melody(self, wav: Speech, sample_rate: int | None = None) -> Tensor:
        """The melody (M,) of a wav in semitones from its mean pitch, M = ceil(T' / MELODY_HOP) (see `codec.melody`).

        Arguments and errors as of `encode`.
        """
        mono = self._mono(wav, sample_rate)
        return self._melody(lambda: [mono], len(mono))

    @torch.inference_mode()
    def vectors(self, codes: ArrayLike | Tensor) -> Tensor:
        """The vectors (D, N) of codes (N,)."""
        return self.model.discrete.lookup(self._codes(codes)[None])[0].cpu()

    @torch.inference_mode()
    def represent(self, wav: Speech, sample_rate: int | None = None) -> Tensor:
        """The decoder's input for a wav, (D, N): vectors of codes, latents of an autoencoder, means of a VAE.

        Arguments and errors as of `encode`.
        """
        mono = self._mono(wav, sample_rate)
        return self._windows(lambda: [mono], self.model.represent)

    def latents(self, wav: Speech, sample_rate: int | None = None) -> Tensor:
        """The encoder's output for a wav, (D, N), before the bottleneck.

        Arguments and errors as of `encode`.
        """
        mono = self._mono(wav, sample_rate)
        return self._windows(lambda: [mono], self.model.latents)

    @torch.inference_mode()
    def quantize(self, latents: Tensor, penalty: float = 0.0) -> Tensor:
        """The codes (N,) of the encoder's latents (D, N), with a penalty for each change of code, as of `encode`.

        Raises SpeechVQError if the bottleneck is continuous, or these are no latents of it.
        """
        check_number(penalty, "penalty", 0, MOST_PENALTY)
        rows, bottleneck = as_samples(latents), self.model.discrete
        if rows.ndim != 2 or len(rows) != len(self.vectors([0])) or not rows.shape[1]:
            raise SpeechVQError(f"latents have the shape (D, N), not {tuple(rows.shape)}")
        if not rows.isfinite().all():
            raise SpeechVQError("latents are finite, not NaN or infinite")
        z = rows[None].to(self.device)
        return penalized_codes(bottleneck, [z], penalty) if penalty else bottleneck.encode(z)[0].cpu()

    def layers(self, wav: Speech, sample_rate: int | None, numbers: Sequence[int]) -> list[Tensor]:
        """Layers of the encoder for a wav, averaged over the steps of a code, (C, N) each.

        numbers: of the layers, below the encoder's `depth`.
        Other arguments, and errors, as of `encode`.
        """
        numbers = as_list(numbers, "layers")
        for number in numbers:
            check_number(number, "a layer", 0, self.model.encoder.depth - 1, whole=True)
        if not numbers:
            raise SpeechVQError("no layers are asked for")
        mono = self._mono(wav, sample_rate)
        joined = self._windows(lambda: [mono], lambda window: self.model.layers(window, numbers))
        return [*joined.chunk(len(numbers))]

    @torch.inference_mode()
    def _encode(self, wavs: Callable[[], Iterable[Tensor]], penalty: float) -> Tensor:
        """The codes of a wav; `wavs` as of `_results`."""
        bottleneck = self.model.discrete
        check_number(penalty, "penalty", 0, MOST_PENALTY)
        if not penalty:
            codes = array("q")  # small tensors, kept between large ones that come and go, would hold these' memory
            for part in self._results(wavs, self.model.encode):
                codes.frombytes(part.numpy().tobytes())
            return torch.from_numpy(np.array(codes))
        latents = self._results(wavs, self.model.latents)
        return penalized_codes(bottleneck, (piece[None].to(self.device) for piece in latents), penalty)

    def _windows(self, wavs: Callable[[], Iterable[Tensor]], run: Callable[[Tensor], Tensor]) -> Tensor:
        """The results of `run`, window by window, joined (see `_results`)."""
        return torch.cat([*self._results(wavs, run)], -1)

    @torch.inference_mode()
    def _results(self, wavs: Callable[[], Iterable[Tensor]], run: Callable[[Tensor], Tensor]) -> Iterator[Tensor]:
        """The results of `run` for a wav at the high-pass and the loudness of training, window by window.

        wavs: returns the wav in pieces; called twice, the first time to measure the loudness.
        run: a window (1, T) -> (1, ..., N).
        """
        for window in windows(self._levelled(wavs), self.hop_length, self.model.encoder.margin):
            yield run(window.wav[None].to(self.device))[0, ..., window.first : window.end].cpu()

    def _levelled(self, wavs: Callable[[], Iterable[Tensor]]) -> Iterator[Tensor]:
        """A wav at the high-pass and the loudness of training; `wavs` as of `_results`."""
        gain = Meter(high_passed(wavs(), self.high_pass)).gain()
        return (wav * gain for wav in high_passed(wavs(), self.high_pass))

    def _pitch(self, wavs: Callable[[], Iterable[Tensor]], codes: int) -> Tensor:
        """The pitch (F,) in Hz of a wav of so many codes, by frame of the decoder; `wavs` as of `_results`."""
        decoder = self.model.speech_decoder
        contour, _ = pitch_contour(self._levelled(wavs), decoder.frame_length)
        missing = codes * decoder.hop_length // decoder.frame_length - len(contour)
        return torch.cat([contour, contour[-1:].expand(missing)])

    def _melody(self, wavs: Callable[[], Iterable[Tensor]], samples: int) -> Tensor:
        """The melody (M,) of a wav of so many samples; `wavs` as of `_results`."""
        return melody_of(*pitch_contour(self._levelled(wavs), PITCH_FRAME), samples)

    def _mono(self, wav: Speech, sample_rate: int | None = None) -> Tensor:
        if isinstance(wav, str | Path):
            return read(wav, self.sample_rate)
        if sample_rate is None:
            raise SpeechVQError("audio: samples need their sample rate")
        check_sound(sample_rate, 1, "audio")
        mono = validate(as_samples(wav), "audio")
        return resample(mono, sample_rate, self.sample_rate)

    def _codes(self, codes: ArrayLike | Tensor) -> Tensor:
        return as_codes(codes, self.model.discrete.codes).to(self.device)

"""Codec: a trained model as its user sees it, from numpy or torch audio to codes and back."""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from speechvq import SpeechVQError
from speechvq.audio import SAMPLE_RATE
from speechvq.audio.io import pieces, resample, validate
from speechvq.audio.level import Meter
from speechvq.config import CodecRun, ModelConfig
from speechvq.folder.card import WEIGHTS, Alphabet, Card, load_card, model_folder, save_card, speaker_index
from speechvq.folder.description import describe
from speechvq.folder.fingerprint import WeightsSummary
from speechvq.folder.histogram import load_histogram, save_histogram
from speechvq.folder.hub import Pretrained
from speechvq.folder.weights import count_parameters, fingerprint, load_weights, save_tensors
from speechvq.nn.vqvae import VQVAE, build
from speechvq.wavenet.sampler import Sampling

UTTERANCES_PER_BATCH = 16  # decoded at once: one step of 16 costs little more than one of 1
BLOCK = 2**19  # samples that are encoded at a time: half a minute


@dataclass(frozen=True)
class Encoded:
    """codes (N,) int64 of an utterance of `samples` samples at 16 kHz.

    speaker: to decode it with, '' if nobody in particular. lost: ranges of codes (first, behind the last) that a
    damaged file does not tell; they are 0.
    """

    codes: Tensor
    samples: int
    alphabet: Alphabet
    speaker: str = ""
    lost: tuple[tuple[int, int], ...] = ()


class Codec(Pretrained):
    """Speech to codes, and codes to the speech of any of the model's speakers.

    >>> codec = Codec.load("convert-50hz")
    >>> codes = codec.encode(wav, sample_rate)
    >>> wav = codec.decode(codes, "p225")
    """

    sample_rate = SAMPLE_RATE

    def __init__(
        self,
        model: VQVAE,
        card: Card,
        figures: dict[str, float],
        device: torch.device,
        histogram: np.ndarray | None = None,
    ) -> None:
        self.model = model.to(device).eval().requires_grad_(False)
        self.card = card
        self.histogram = histogram  # how often each code was used in training, if it is known
        # Of what makes the codes: models that differ in the decoder alone understand each other's.
        self.fingerprint = fingerprint(model.encoder, model.bottleneck)
        self.figures = figures
        self.device = device

    @classmethod
    def load(cls, path: str | Path, device: str = "cpu") -> "Codec":
        """Read a model folder, or the packaged model of that name; SpeechVQError says what is wrong with one that
        cannot be read."""
        folder = model_folder(path)
        place = torch_device(device)
        card = load_card(folder)
        model = build(_model_config(card, folder), len(card.speakers))
        figures = load_weights(model, folder / WEIGHTS)
        return cls(model, card, figures, place, load_histogram(folder, model.bottleneck.codes))

    def save(self, folder: Path) -> None:
        """Write a model folder."""
        save_card(folder, self.card)
        save_tensors(folder / WEIGHTS, self.model.state_dict(), self.figures)
        if self.histogram is not None:
            save_histogram(folder, self.histogram)

    @property
    def speakers(self) -> tuple[str, ...]:
        """The names that `decode` and `convert` take."""
        return self.card.speakers

    @property
    def hop_length(self) -> int:
        """Samples per code at 16 kHz."""
        return self.model.hop_length

    @property
    def alphabet(self) -> Alphabet:
        """Whose codes they are, for priors and files; SpeechVQError for a model without codes."""
        return Alphabet(self.fingerprint, self.model.discrete.codes, self.hop_length)

    def describe(self) -> dict[str, Any]:
        """The result of `speechvq info`: rates, sizes, held-out figures and speakers."""
        return describe(self.card, WeightsSummary(self.fingerprint, count_parameters(self.model), self.figures))

    def encode(self, wav: ArrayLike | Tensor, sample_rate: int) -> Tensor:
        """wav (T,) or (channels, T) in [-1, 1] at any rate -> codes (N,) int64, N = ceil(T' / hop_length).

        T' is the length at 16 kHz. The loudness is brought to that of training. SpeechVQError for an
        empty wav or one with NaN or infinite samples.
        """
        mono = self._mono(wav, sample_rate)
        return self._windows(lambda: [mono], self.model.encode)

    def encode_file(self, path: Path, speaker: str = "") -> Encoded:
        """The codes of a file of audio of any length: memory does not grow with it, but by 8 bytes a code.

        speaker: to be decoded with, if it is not said otherwise. SpeechVQError for what cannot be read.
        """
        samples = 0

        def count() -> Iterator[Tensor]:
            nonlocal samples
            samples = 0
            for piece in pieces(path, self.sample_rate):
                samples += len(piece)
                yield piece

        codes = self._windows(count, self.model.encode)
        return Encoded(codes, samples, self.alphabet, speaker)

    @torch.inference_mode()
    def vectors(self, codes: ArrayLike | Tensor) -> Tensor:
        """codes (N,) -> their vectors (D, N)."""
        return self.model.discrete.lookup(self._codes(codes)[None])[0].cpu()

    @torch.inference_mode()
    def represent(self, wav: ArrayLike | Tensor, sample_rate: int) -> Tensor:
        """wav as for `encode` -> what the bottleneck hands to the decoder (D, N): the vectors of the codes, the latents
        of an autoencoder, the means of a Gaussian."""
        mono = self._mono(wav, sample_rate)
        return self._windows(lambda: [mono], self.model.represent)

    def decode(self, codes: ArrayLike | Tensor, speaker: str, *, temperature: float = 1.0, seed: int = 0) -> Tensor:
        """codes (N,) -> wav (N * hop_length,) at 16 kHz, spoken by `speaker`.

        Temperature and seed matter to a WaveNet decoder (seed also to Griffin-Lim's first phases).
        """
        return self.decode_many([codes], [speaker], Sampling(temperature, seed))[0]

    def convert(
        self, wav: ArrayLike | Tensor, sample_rate: int, speaker: str, *, temperature: float = 1.0, seed: int = 0
    ) -> Tensor:
        """wav at any rate -> the same words by `speaker`, at 16 kHz and of the same duration."""
        speaker_index(self.speakers, speaker)  # before the work
        mono = self._mono(wav, sample_rate)
        codes = self.encode(mono, self.sample_rate)
        return self.decode(codes, speaker, temperature=temperature, seed=seed)[: len(mono)]

    @torch.inference_mode()
    def decode_many(
        self, codes: Sequence[ArrayLike | Tensor], speakers: Sequence[str], sampling: Sampling
    ) -> list[Tensor]:
        """`decode` for several utterances at once, the longest first in batches.

        The random numbers of an utterance follow from the seed and its codes: alone or in any company, it
        sounds the same.
        """
        rows = [self._codes(row) for row in codes]
        index = [speaker_index(self.speakers, speaker) for speaker in speakers]
        order = sorted(range(len(rows)), key=lambda i: -len(rows[i]))
        result: dict[int, Tensor] = {}
        for begin in range(0, len(order), UTTERANCES_PER_BATCH):
            some = order[begin : begin + UTTERANCES_PER_BATCH]
            speaker = torch.tensor([index[i] for i in some], device=self.device)
            streams = [stream_number(rows[i]) for i in some]
            wavs = self.model.decode([rows[i] for i in some], speaker, sampling, streams)
            result |= {i: wav.cpu() for i, wav in zip(some, wavs, strict=True)}
        return [result[i] for i in range(len(rows))]

    def stream(
        self, codes: ArrayLike | Tensor, speaker: str, *, temperature: float = 1.0, seed: int = 0
    ) -> Iterator[Tensor]:
        """`decode` in pieces, each as soon as it is made: some 0.1 s from a WaveNet decoder, half a minute from a mel
        decoder."""
        yield from self.decode_pieces(codes, speaker, Sampling(temperature, seed))

    @torch.inference_mode()
    def decode_pieces(self, codes: ArrayLike | Tensor, speaker: str, sampling: Sampling) -> Iterator[Tensor]:
        """`stream`, by a sampling."""
        row = self._codes(codes)
        latent = self.model.discrete.lookup(row[None])[0]
        index = torch.tensor([speaker_index(self.speakers, speaker)], device=self.device)
        for [piece] in self.model.decoder.stream([latent], index, sampling, [stream_number(row)]):
            yield piece.cpu()

    @torch.inference_mode()
    def _windows(self, wavs: Callable[[], Iterable[Tensor]], run: Callable[[Tensor], Tensor]) -> Tensor:
        """What `run` makes of a wav that comes in pieces, twice, at the loudness of training.

        In windows that follow from its length alone, each of a block of codes and as much on either side as they depend
        on: the bits of a convolution depend on its length, and must not on how the wav comes.
        """
        gain, hop = Meter(wavs()).gain(), self.hop_length
        block, margin = max(BLOCK // hop, 1), self.model.encoder.margin
        left, waiting, made = 0, torch.empty(0), []

        def encode(window: Tensor, begin: int, end: int | None) -> None:
            made.append(run((window * gain)[None].to(self.device))[0, ..., begin:end].cpu())

        for wav in wavs():
            waiting = torch.cat([waiting, wav])
            while len(waiting) >= (left + block + margin) * hop:
                encode(waiting[: (left + block + margin) * hop], left, left + block)
                waiting = waiting[max(left + block - margin, 0) * hop :]
                left = min(margin, left + block)
        if len(waiting) > left * hop:
            encode(waiting, left, None)
        return torch.cat(made, -1)

    def _mono(self, wav: ArrayLike | Tensor, sample_rate: int) -> Tensor:
        if sample_rate < 1:
            raise SpeechVQError(f"a sample rate is a positive number; got {sample_rate}")
        mono = validate(wav if isinstance(wav, Tensor) else torch.from_numpy(np.array(wav, np.float32)), "audio")
        return resample(mono, sample_rate, self.sample_rate)

    def _codes(self, codes: ArrayLike | Tensor) -> Tensor:
        row = torch.as_tensor(codes, dtype=torch.int64, device=self.device)
        size = self.model.discrete.codes
        if row.ndim != 1 or not len(row):
            raise SpeechVQError(f"codes are a sequence of at least one integer, not of shape {tuple(row.shape)}")
        if row.min() < 0 or row.max() >= size:
            raise SpeechVQError(f"codes are between 0 and {size - 1}; got {row.min()} to {row.max()}")
        return row


def _model_config(card: Card, folder: Path) -> ModelConfig:
    if not isinstance(card.config, CodecRun):
        raise SpeechVQError(f"{folder}: a prior, not a codec")
    return card.config.model


def torch_device(name: str) -> torch.device:
    """The device of a name such as "cpu" or "cuda:0"; SpeechVQError for one that is not there."""
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError) as error:  # torch's message goes on about how to install drivers
        reason = str(error).partition(".")[0]
        raise SpeechVQError(f"device '{name}' cannot be used: {reason}") from None


def stream_number(codes: Tensor) -> int:
    """The number (64 bits) of the random stream from which codes (N,) are spoken: a hash of them."""
    return int.from_bytes(hashlib.blake2b(codes.cpu().numpy().tobytes(), digest_size=8).digest(), "little")

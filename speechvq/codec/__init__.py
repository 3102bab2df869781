"""Codec: a trained model, from audio to codes and back."""

import copy
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from speechvq import SpeechVQError
from speechvq.audio import SAMPLE_RATE
from speechvq.audio.decoding.libsndfile import check_sound
from speechvq.audio.high_pass import high_passed
from speechvq.audio.io import read_pieces, resample, validate
from speechvq.audio.level import Meter
from speechvq.audio.windows import windows
from speechvq.codec.devices import torch_device
from speechvq.codec.encoded import Encoded, stream_number
from speechvq.codec.streaming import Streams
from speechvq.config import CodecRun
from speechvq.folder.card import WEIGHTS, Alphabet, Card, load_card, model_folder, save_card, speaker_index
from speechvq.folder.description import describe
from speechvq.folder.fingerprint import WeightsSummary
from speechvq.folder.histogram import load_histogram, save_histogram
from speechvq.folder.hub import Pretrained
from speechvq.folder.weights import count_parameters, fingerprint, load_weights, save_tensors
from speechvq.nn.bottleneck.viterbi import penalized_codes
from speechvq.nn.vqvae import VQVAE, build
from speechvq.progress import seconds_done
from speechvq.wavenet.sampler import Sampling

__all__ = ["UTTERANCES_PER_BATCH", "Codec", "Encoded", "stream_number", "torch_device"]

UTTERANCES_PER_BATCH = 16  # decoded at once: one step of 16 costs little more than one of 1


class Codec(Pretrained, Streams):
    """Encodes speech into codes, and decodes codes into speech with the voice of any of the model's speakers.

    >>> codec = Codec.load("convert-50hz")
    >>> codes = codec.encode(wav, sample_rate)
    >>> wav = codec.decode(codes, "p225")

    model: the network.
    card: its configuration and speakers.
    figures: held-out figures of its training.
    high_pass: cutoff in Hz of the filter that audio goes through before it is encoded; 0 for none.
    fingerprint: 16 hex digits that name the weights of encoder and bottleneck.
    histogram: (K,) int64, how often each code was used in training; None if that is not known.
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
        self.high_pass = card.high_pass
        self.histogram = histogram
        # Models that differ only in the decoder understand each other's codes.
        self.fingerprint = fingerprint(model.encoder, model.bottleneck)
        self.figures = figures
        self.device = device

    @classmethod
    def load(cls, path: str | Path, device: str = "cpu") -> "Codec":
        """Read a model folder, or the packaged model of that name.

        device: "cpu", "cuda", "cuda:1", ...

        Raises SpeechVQError if there is no such model, it is damaged, or the device cannot be used.
        """
        folder = model_folder(path)
        chosen = torch_device(device)
        card = load_card(folder, "codec")
        assert isinstance(card.config, CodecRun)
        model = build(card.config.model, len(card.speakers))
        figures = load_weights(model, folder / WEIGHTS)
        return cls(model, card, figures, chosen, load_histogram(folder, model.bottleneck.codes))

    def save(self, folder: Path) -> None:
        """Write a model folder; `Codec.load` reads it."""
        save_card(folder, self.card)
        save_tensors(folder / WEIGHTS, self.model.state_dict(), self.figures)
        if self.histogram is not None:
            save_histogram(folder, self.histogram)

    def after_high_pass(self, cutoff: float) -> "Codec":
        """This codec for audio that has been through a high-pass of `cutoff` Hz, such as that of a prepared corpus."""
        codec = copy.copy(self)
        codec.high_pass = 0.0 if cutoff >= self.high_pass else self.high_pass
        return codec

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
        """The name of the model's codes, on which files and priors of them must agree.

        Raises SpeechVQError if the bottleneck is continuous.
        """
        return Alphabet(self.fingerprint, self.model.discrete.codes, self.hop_length)

    def describe(self) -> dict[str, Any]:
        """The result of `speechvq info`: rates, sizes, held-out figures and speakers."""
        return describe(self.card, WeightsSummary(self.fingerprint, count_parameters(self.model), self.figures))

    def encode(
        self, wav: ArrayLike | Tensor, sample_rate: int, *, penalty: float = 0.0, gain: float | None = None
    ) -> Tensor:
        """The codes (N,) int64 of a wav, N = ceil(T' / hop_length), where T' is its length at 16 kHz.

        wav: (T,) or (channels, T) in [-1, 1].
        sample_rate: of the wav, in Hz.
        penalty: for each change of code, in squared distances of the bottleneck. Above 0, codes change less often, and
            a code depends on the `DECISION_DELAY` codes after it, too: not for a stream without that delay.
        gain: a factor; None brings the loudness to that of the training data. With a gain, all is computed in the
            blocks of a stream: the result is that of `code_stream`, bit for bit. There is no penalty then.

        Raises SpeechVQError if the wav is empty or has NaN or infinite samples, or there are both gain and penalty.
        """
        mono = self._mono(wav, sample_rate)
        if gain is not None:
            if penalty:
                raise SpeechVQError("with a gain, codes are those of a stream, which has no penalty")
            stream = self.code_stream(gain=gain)
            return torch.cat([stream.push(mono), stream.flush()])
        return self._encode(lambda: [mono], penalty)

    def encode_file(
        self, path: Path, speaker: str = "", *, penalty: float = 0.0, show_progress: bool = False
    ) -> Encoded:
        """The codes of an audio file of any length: memory grows with it by 8 bytes per code only.

        speaker: kept in the result as the speaker to decode with.
        penalty: for each change of code, as of `encode`.
        show_progress: whether a file that takes more than two seconds gets a progress bar on stderr.

        Raises SpeechVQError if the file is missing or not audio.
        """
        samples = 0

        def count() -> Iterator[Tensor]:
            nonlocal samples
            known, samples = samples or None, 0  # the file is read twice
            text, pieces = "encoding" if known else "measuring loudness", read_pieces(path, self.sample_rate)
            for piece in seconds_done(pieces, self.sample_rate, known, text=text, show=show_progress):
                samples += len(piece)
                yield piece

        codes = self._encode(count, penalty)
        return Encoded(codes, samples, self.alphabet, speaker)

    @torch.inference_mode()
    def vectors(self, codes: ArrayLike | Tensor) -> Tensor:
        """The vectors (D, N) of codes (N,)."""
        return self.model.discrete.lookup(self._codes(codes)[None])[0].cpu()

    @torch.inference_mode()
    def represent(self, wav: ArrayLike | Tensor, sample_rate: int) -> Tensor:
        """The decoder's input for a wav, (D, N): vectors of codes, latents of an autoencoder, means of a VAE.

        Arguments and errors as of `encode`.
        """
        mono = self._mono(wav, sample_rate)
        return self._windows(lambda: [mono], self.model.represent)

    def latents(self, wav: ArrayLike | Tensor, sample_rate: int) -> Tensor:
        """The encoder's output for a wav, (D, N), before the bottleneck.

        Arguments and errors as of `encode`.
        """
        mono = self._mono(wav, sample_rate)
        return self._windows(lambda: [mono], self.model.latents)

    @torch.inference_mode()
    def quantize(self, latents: Tensor, penalty: float = 0.0) -> Tensor:
        """The codes (N,) of the encoder's latents (D, N), with a penalty for each change of code, as of `encode`.

        Raises SpeechVQError if the bottleneck is continuous.
        """
        z, bottleneck = latents[None].to(self.device), self.model.discrete
        return penalized_codes(bottleneck, [z], penalty) if penalty else bottleneck.encode(z)[0].cpu()

    def layers(self, wav: ArrayLike | Tensor, sample_rate: int, numbers: Sequence[int]) -> list[Tensor]:
        """Layers of the encoder for a wav, averaged over the steps of a code, (C, N) each.

        numbers: of the layers, below the encoder's `depth`.
        Other arguments, and errors, as of `encode`.
        """
        mono = self._mono(wav, sample_rate)
        joined = self._windows(lambda: [mono], lambda window: self.model.layers(window, numbers))
        return [*joined.chunk(len(numbers))]

    def decode(self, codes: ArrayLike | Tensor, speaker: str, *, temperature: float = 1.0, seed: int = 0) -> Tensor:
        """The wav (N * hop_length,) at 16 kHz of codes (N,), with the voice of `speaker`.

        temperature: of a WaveNet's samples; 0 takes the most likely one. Other decoders have none.
        seed: of a WaveNet's samples, of a source-filter decoder's noise, of Griffin-Lim's first phases.

        Raises SpeechVQError if these are not the model's codes, or it does not have the speaker.
        """
        return self.decode_many([codes], [speaker], Sampling(temperature, seed))[0]

    def convert(
        self,
        wav: ArrayLike | Tensor,
        sample_rate: int,
        speaker: str,
        *,
        temperature: float = 1.0,
        seed: int = 0,
        gain: float | None = None,
    ) -> Tensor:
        """The same words with the voice of `speaker`: a wav at 16 kHz of the same duration.

        gain: as of `encode`; with one, the result is that of `streamer`, bit for bit.
        Other arguments, and errors, as of `encode` and `decode`.
        """
        self._speaker(speaker)  # an unknown one is refused before the work
        mono = self._mono(wav, sample_rate)
        if gain is not None:
            stream = self.streamer(speaker, gain=gain, seed=seed)
            return torch.cat([stream.push(mono), stream.flush()])
        codes = self.encode(mono, self.sample_rate)
        return self.decode(codes, speaker, temperature=temperature, seed=seed)[: len(mono)]

    @torch.inference_mode()
    def decode_many(
        self, codes: Sequence[ArrayLike | Tensor], speakers: Sequence[str], sampling: Sampling
    ) -> list[Tensor]:
        """`decode` for several utterances at once, in batches, the longest first.

        The random numbers of an utterance depend on the seed and its codes only, so that its audio does not depend on
        the others in the batch.
        """
        rows = [self._codes(row) for row in codes]
        index = [self._speaker(speaker) for speaker in speakers]
        order = sorted(range(len(rows)), key=lambda i: -len(rows[i]))
        result: dict[int, Tensor] = {}
        for start in range(0, len(order), UTTERANCES_PER_BATCH):
            batch = order[start : start + UTTERANCES_PER_BATCH]
            speaker = torch.tensor([index[i] for i in batch], device=self.device)
            streams = [stream_number(rows[i]) for i in batch]
            wavs = self.model.decode([rows[i] for i in batch], speaker, sampling, streams)
            result |= {i: wav.cpu() for i, wav in zip(batch, wavs, strict=True)}
        return [result[i] for i in range(len(rows))]

    def stream(
        self, codes: ArrayLike | Tensor, speaker: str, *, temperature: float = 1.0, seed: int = 0
    ) -> Iterator[Tensor]:
        """`decode` in pieces, each as soon as it is decoded: 0.1 s by a WaveNet, half a minute by the others."""
        yield from self.decode_pieces(codes, speaker, Sampling(temperature, seed))

    @torch.inference_mode()
    def decode_pieces(self, codes: ArrayLike | Tensor, speaker: str, sampling: Sampling) -> Iterator[Tensor]:
        """`stream` with all settings of `Sampling`."""
        row = self._codes(codes)
        vectors, index = self.model.discrete.vectors(row), torch.tensor([self._speaker(speaker)], device=self.device)
        for [piece] in self.model.speech_decoder.stream([vectors], index, sampling, [stream_number(row)]):
            yield piece.cpu()

    @torch.inference_mode()
    def _encode(self, wavs: Callable[[], Iterable[Tensor]], penalty: float) -> Tensor:
        """The codes of a wav; `wavs` as of `_results`."""
        bottleneck = self.model.discrete
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
        gain = Meter(high_passed(wavs(), self.high_pass)).gain()
        for window in windows(high_passed(wavs(), self.high_pass), self.hop_length, self.model.encoder.margin):
            yield run((window.wav * gain)[None].to(self.device))[0, ..., window.first : window.end].cpu()

    def _mono(self, wav: ArrayLike | Tensor, sample_rate: int) -> Tensor:
        check_sound(sample_rate, 1, "audio")
        mono = validate(wav if isinstance(wav, Tensor) else torch.from_numpy(np.array(wav, np.float32)), "audio")
        return resample(mono, sample_rate, self.sample_rate)

    def _speaker(self, name: str) -> int:
        """The row of a speaker; raises SpeechVQError if there is no such speaker, or no decoder."""
        _ = self.model.speech_decoder
        return speaker_index(self.speakers, name)

    def _codes(self, codes: ArrayLike | Tensor) -> Tensor:
        row = torch.as_tensor(codes, dtype=torch.int64, device=self.device)
        size = self.model.discrete.codes
        if row.ndim != 1 or not len(row):
            raise SpeechVQError(f"codes are a sequence of at least one integer, not of shape {tuple(row.shape)}")
        if row.min() < 0 or row.max() >= size:
            raise SpeechVQError(f"codes are between 0 and {size - 1}; got {row.min()} to {row.max()}")
        return row

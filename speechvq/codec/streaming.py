"""Streams: speech to codes, codes to speech, and both, piece by piece, with the same bits however long the pieces are.

Everything is computed in blocks of a fixed grid, each with what it depends on at either side: the bits of a convolution
depend on the length of its input.
"""

import math

import numpy as np
import soxr
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from speechvq import SpeechVQError
from speechvq.audio import SAMPLE_RATE
from speechvq.audio.decoding.libsndfile import check_sound
from speechvq.audio.high_pass import HighPass
from speechvq.audio.level import RunningGain
from speechvq.audio.windows import Windows
from speechvq.codec.arguments import as_codes, as_samples
from speechvq.config.shapes import check_number
from speechvq.nn.decoder.contract import PitchChange
from speechvq.nn.decoder.source_filter import SourceFilterDecoder
from speechvq.nn.vqvae import VQVAE
from speechvq.wavenet.sampler import SEEDS, Sampling

MOST_GAIN = 1e5  # 100 dB
BLOCK_SAMPLES = 640  # of a block: 40 ms, or a code if that is longer


class CodeStream:
    """Samples in, codes out.

    model: whose codes they are.
    high_pass: cutoff in Hz of the filter that audio goes through, 0 for none.
    sample_rate: of the samples, in Hz.
    gain: a fixed factor; None for `RunningGain`.

    hop_length: samples per code at 16 kHz.
    samples: how many have come so far, at 16 kHz.
    latency: the most samples at 16 kHz between one and the push that gives its code, but for resampling.

    Raises SpeechVQError if the model has no codes.
    """

    def __init__(self, model: VQVAE, high_pass: float, sample_rate: int, gain: float | None) -> None:
        check_sound(sample_rate, 1, "audio")
        if gain is not None:
            check_number(gain, "gain", -MOST_GAIN, MOST_GAIN)
        encoder, hop = model.encoder, model.hop_length
        self.hop_length = hop
        self._bottleneck, self._model = model.discrete, model
        resampled = sample_rate != SAMPLE_RATE
        self._resampler = soxr.ResampleStream(sample_rate, SAMPLE_RATE, 1, dtype="float32") if resampled else None
        self._high_pass = HighPass(high_pass)
        self._gain, self._level = gain, RunningGain()
        block = block_codes(hop)
        self._windows = Windows(hop, math.ceil(encoder.memory / hop), encoder.lookahead, block)
        self.latency = block * hop + encoder.lookahead
        self.samples = 0
        self._ended = False

    def push(self, samples: ArrayLike | Tensor) -> Tensor:
        """The codes (n,) int64 that are known with the next samples (T,) in [-1, 1]; often none.

        Raises SpeechVQError if samples are NaN or infinite, or the stream has ended.
        """
        wav = as_samples(samples).to("cpu", torch.float32)
        if self._ended:
            raise SpeechVQError("the stream has ended: open another")
        if wav.ndim != 1:
            raise SpeechVQError(f"a stream takes samples of one channel (T,), not of shape {tuple(wav.shape)}")
        if not torch.isfinite(wav).all():
            raise SpeechVQError("a stream takes finite samples, not NaN or infinite ones")
        if self._resampler is not None:
            wav = torch.from_numpy(self._resampler.resample_chunk(wav.numpy()))
        return self._codes(wav, last=False)

    def flush(self) -> Tensor:
        """The codes (n,) that are left at the end; none if the stream has ended before."""
        if self._ended:
            return torch.empty(0, dtype=torch.int64)
        self._ended = True
        rest = np.empty(0, np.float32)
        if self._resampler is not None:
            rest = self._resampler.resample_chunk(rest, last=True)
        return self._codes(torch.from_numpy(rest), last=True)

    @torch.inference_mode()
    def _codes(self, wav: Tensor, *, last: bool) -> Tensor:
        self.samples += len(wav)
        wav = self._high_pass.push(wav)
        wav = self._level.push(wav) if self._gain is None else wav * self._gain
        windows = [*self._windows.push(wav), *(self._windows.flush() if last else ())]
        device, rows = next(self._model.parameters()).device, [torch.empty(0, dtype=torch.int64)]
        for window in windows:
            latents = self._model.latents(window.wav[None].to(device))[..., window.first : window.end]
            rows.append(self._bottleneck.encode(latents.contiguous())[0].cpu())
        return torch.cat(rows)


class SpeechStream:
    """Codes in, samples out.

    model: whose codes they are.
    speaker: the row of the speaker to decode with.
    seed: of the noise.
    lookahead: number of codes after its own that the speech of a code may depend on; None for all that the decoder
        was trained to look at. With fewer, it is as if the codes so far were the last ones.
    semitones: by which the pitch is raised.

    ahead: that number.
    block: codes in a block.
    delay: samples at the end of what is decoded that wait for the next block.
    latency: the most samples between the beginning of a code and the push that gives its speech.

    Raises SpeechVQError if the model has no decoder, or one that does not decode in a stream.
    """

    def __init__(self, model: VQVAE, speaker: int, seed: int, lookahead: int | None, semitones: float = 0.0) -> None:
        decoder, hop = model.speech_decoder, model.hop_length
        check_number(seed, "seed", *SEEDS, whole=True)
        if lookahead is not None:
            check_number(lookahead, "lookahead", 0, math.inf, whole=True)
        if not isinstance(decoder, SourceFilterDecoder):
            raise SpeechVQError(
                "only vocoder, source_filter and band_wavenet decoders decode in a stream (model.decoder.kind)"
            )
        self._bottleneck, self._decoder = model.discrete, decoder
        self._vector = decoder.speakers.weight[speaker]
        before, after = decoder.reach
        self.ahead = after if lookahead is None else min(int(lookahead), after)
        self.block = block_codes(hop)
        first = self.block - self.ahead % self.block  # so that a block never waits for codes of the half of another
        self._windows = Windows(1, before, self.ahead, self.block, first)
        self._state, self._pitch = decoder.synthesis(Sampling(seed=int(seed))), PitchChange(semitones)
        self._ended = False
        self._none: Tensor | None = None  # predictions of no frames, once there have been some
        self.delay = self._state.delay
        self.latency = (self.block + self.ahead) * hop + self.delay

    @torch.inference_mode()
    def push(self, codes: ArrayLike | Tensor) -> Tensor:
        """The samples (T,) that are known with the next codes (n,), of any kind of array; often none.

        Raises SpeechVQError if they are not the model's codes, or the stream has ended.
        """
        if isinstance(codes, Tensor) and codes.ndim == 1 and not len(codes):  # what a code stream often gives
            return torch.empty(0)
        if self._ended:
            raise SpeechVQError("the stream has ended: open another")
        return self._speech(as_codes(codes, self._bottleneck.codes), last=False)

    @torch.inference_mode()
    def flush(self) -> Tensor:
        """The samples (T,) that are left at the end; none if the stream has ended before."""
        if self._ended:
            return torch.empty(0)
        self._ended = True
        return self._speech(torch.empty(0, dtype=torch.int64), last=True)

    def _speech(self, codes: Tensor, *, last: bool) -> Tensor:
        windows = [*self._windows.push(codes), *(self._windows.flush() if last else ())]
        parts = [torch.empty(0)]
        for window in windows:
            z_q = self._bottleneck.lookup(window.wav[None].to(self._vector.device))[0]
            predicted = self._decoder.predict(z_q, self._vector, window.first, window.end)
            parts.append(self._decoder.speak(self._state, predicted, self._pitch, last=False).cpu())
            self._none = predicted[..., :0]
        if last and self._none is not None:
            parts.append(self._decoder.speak(self._state, self._none, self._pitch, last=True).cpu())
        return torch.cat(parts)


class Streamer:
    """Samples in, samples with the voice of another speaker out, as many, `latency` later at most.

    latency: the most samples at 16 kHz between one that is given and the push that gives its conversion, which is the
        algorithmic latency. The time of computation comes to it, and that of resampling if the rate is another.
    lookahead: codes that the decoder waits for.
    """

    sample_rate = SAMPLE_RATE

    def __init__(self, codes: CodeStream, speech: SpeechStream) -> None:
        self._codes, self._speech = codes, speech
        self._given = 0
        self.latency = codes.latency + speech.ahead * codes.hop_length + speech.delay
        self.lookahead = speech.ahead

    def push(self, samples: ArrayLike | Tensor) -> Tensor:
        """The samples (T',) at 16 kHz that are known with the next samples (T,) in [-1, 1]; often none.

        Raises SpeechVQError if samples are NaN or infinite, or the stream has ended.
        """
        wav = self._speech.push(self._codes.push(samples))
        self._given += len(wav)
        return wav

    def flush(self) -> Tensor:
        """The samples (T',) that are left at the end, with which as many have been given as came in."""
        codes = self._codes.flush()
        wav = torch.cat([self._speech.push(codes), self._speech.flush()])
        return wav[: self._codes.samples - self._given]


class Streams:
    """The methods of a codec that open streams."""

    model: VQVAE
    high_pass: float

    def _speaker(self, name: str) -> int:
        """The row of a speaker."""
        raise NotImplementedError

    def code_stream(self, sample_rate: int = SAMPLE_RATE, *, gain: float | None = None) -> CodeStream:
        """Encode in a stream: `push` samples, get codes.

        sample_rate: of the samples, in Hz.
        gain: a factor; None follows the loudness of the last half minute, with no delay.
        """
        return CodeStream(self.model, self.high_pass, sample_rate, gain)

    def speech_stream(
        self, speaker: str, *, lookahead: int | None = None, seed: int = 0, semitones: float = 0.0
    ) -> SpeechStream:
        """Decode in a stream: `push` codes, get samples at 16 kHz.

        lookahead: codes that the decoder waits for, None for all that it was trained to look at (see `SpeechStream`).
        semitones: by which the pitch is raised.

        Raises SpeechVQError if there is no such speaker, or the decoder does not decode in a stream.
        """
        return SpeechStream(self.model, self._speaker(speaker), seed, lookahead, semitones)

    def streamer(
        self,
        speaker: str,
        sample_rate: int = SAMPLE_RATE,
        *,
        gain: float | None = None,
        lookahead: int | None = None,
        seed: int = 0,
        semitones: float = 0.0,
    ) -> Streamer:
        """Convert in a stream: `push` samples, get samples at 16 kHz with another voice; `flush` gives the rest.

        Arguments and errors as of `code_stream` and `speech_stream`.
        """
        codes = self.code_stream(sample_rate, gain=gain)
        return Streamer(codes, self.speech_stream(speaker, lookahead=lookahead, seed=seed, semitones=semitones))


def block_codes(hop: int) -> int:
    """The number of codes in a block of a stream."""
    return max(BLOCK_SAMPLES // hop, 1)

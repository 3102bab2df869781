"""Synthesis by source and filter in pieces: phase, noise and filters go on where the piece before has ended."""

import torch
from torch import Tensor

from speechvq.audio import SAMPLE_RATE
from speechvq.audio import source_filter as source
from speechvq.audio.source_filter import FFT_SIZE


class Filters:
    """Frames of a source through filters of their own, in pieces (see `source_filter.apply_filters`).

    The state: the source from the beginning of the next frame on, the gains of that frame, and the decay of the frames
    before it.
    """

    def __init__(self, hop: int, device: torch.device) -> None:
        self.hop = hop
        before, self._after = source.margins(hop)
        self._source = torch.zeros(1, before, device=device)
        self._gains: Tensor | None = None
        self._tail = torch.zeros(1, FFT_SIZE - hop, device=device)

    def push(self, wav: Tensor, log_gains: Tensor, last: bool) -> Tensor:
        """The next samples (1, T) of the filtered source, the first of them `margins` before the source's.

        wav: (1, T) of the source, up to the middle of the last of the frames, or to its end if it is the last of all.
        log_gains: (1, FFT_SIZE / 2 + 1, F) of the next frames.
        last: whether the source ends.
        """
        known = torch.cat([log_gains[..., :1] if self._gains is None else self._gains, log_gains], -1)
        gains = torch.cat([known, known[..., -1:]], -1) if last else known[..., :-1]
        end = [wav.new_zeros(1, self._after)] if last else []
        waiting = torch.cat([self._source, wav, *end], -1)
        added = source.filter_frames(waiting, gains, self.hop)
        added[:, : self._tail.shape[1]] += self._tail
        done = gains.shape[2] * self.hop
        self._source, self._gains, self._tail = waiting[:, done:], known[..., -1:], added[:, done:]
        return added if last else added[:, :done]


class Synthesis:
    """The speech of frames that come in pieces.

    The pitch moves linearly between the middles of frames, and a frame fades into the next: so the samples come one
    and a half frames late (`delay`), the last of them with the last frame.

    delay: samples at the end of the frames so far that wait for the next ones.
    """

    def __init__(self, hop: int, seed: int, device: torch.device) -> None:
        self.hop = hop
        self.delay = source.margins(hop)[0]
        self._generator = torch.Generator().manual_seed(seed)
        self._voice, self._breath = Filters(hop, device), Filters(hop, device)
        self._pitch: Tensor | None = None
        self._cycles = torch.zeros(1, 1, dtype=torch.float64, device=source.exact_device(device))
        self._noise = torch.zeros(1, 0, device=device)
        self._early = self.delay  # samples before the first frame, which are dropped

    def push(self, pitch: Tensor, voice: Tensor, breath: Tensor, *, last: bool) -> Tensor:
        """The next samples (T,), in [-1, 1].

        pitch: (1, F) in Hz, of the next frames.
        voice, breath: (1, FFT_SIZE / 2 + 1, F), the natural logarithms of the gains of pulses and of noise.
        last: whether these are the last frames; there may be none then, after others.
        """
        pulses = self._pulses(pitch, last)
        drawn = torch.randn(1, pitch.shape[1] * self.hop, generator=self._generator).to(pulses)
        noise = torch.cat([self._noise, drawn], -1)
        self._noise = noise[:, pulses.shape[1] :]
        wav = self._voice.push(pulses, voice, last) + self._breath.push(noise[:, : pulses.shape[1]], breath, last)
        if last:
            wav = wav[:, : pitch.shape[1] * self.hop + source.margins(self.hop)[0]]
        first = min(self._early, wav.shape[1])
        self._early -= first
        return wav[0, first:].clamp(-1, 1)

    def _pulses(self, pitch: Tensor, last: bool) -> Tensor:
        """The pulses (1, T) up to the middle of the last frame, or to its end."""
        known = pitch if self._pitch is None else torch.cat([self._pitch, pitch], -1)
        late = self.hop // 2
        begin = 0 if self._pitch is None else self.hop - late
        end = known.shape[1] * self.hop - (0 if last else late)
        frequency = source.sample_frequency(known, self.hop)[:, begin:end]
        steps = torch.cat([self._cycles, frequency / SAMPLE_RATE], -1)
        cycles = steps.cumsum(-1)[:, 1:]
        self._cycles, self._pitch = cycles[:, -1:] % 1, pitch[:, -1:]
        return source.pulse_train(cycles, frequency).to(pitch.device)

"""Augment training audio and spectrograms, so that codes depend less on the voice and on the recording."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from speechvq.audio import SAMPLE_RATE
from speechvq.config import AugmentConfig, MelAugmentConfig
from speechvq.nn.distributed import drawn_rows

AUGMENT_BANDS = 8  # of the filter, equally wide in mel
VOCODER_FRAME, VOCODER_STEP = 1024, 256  # samples
STRETCHES = 17  # fixed matrices, from the lowest voice to the highest
POINTS = 9  # of a random filter along the mel axis
NATS = math.log(10) / 20  # of magnitude, in a decibel


class Augment(nn.Module):
    """In training, change each wav of a batch (B, T) at random, within the limits of the configuration.

    The encoder gets the changed wavs; the decoder's target stays the recording.
    """

    def __init__(self, config: AugmentConfig) -> None:
        super().__init__()
        self.config = config

    def forward(self, wav: Tensor) -> Tensor:
        if not self.training or self.config == AugmentConfig():
            return wav
        config, rows = self.config, (len(wav),)
        wav = self._change_voice(wav) if config.voice else wav
        wav = self._filter(wav) if config.filter else wav
        if config.shift:
            offset = ((2 * self._draw(wav, rows) - 1) * config.shift).round().long()
            index = torch.arange(wav.shape[1], device=wav.device) - offset[:, None]
            inside = (index >= 0) & (index < wav.shape[1])
            wav = wav.gather(1, index.clamp(0, wav.shape[1] - 1)) * inside
        if config.gain:
            wav = wav * 10 ** ((2 * self._draw(wav, (*rows, 1)) - 1) * config.gain / 20)
        if config.noise:
            level = config.noise * 100 ** -self._draw(wav, (*rows, 1)) * wav.square().mean(1, keepdim=True).sqrt()
            wav = wav + level * drawn_rows(torch.randn, wav.shape, wav.device)
        return wav

    def _change_voice(self, wav: Tensor) -> Tensor:
        """Multiply all frequencies by a factor, as of a shorter or longer vocal tract with another pitch.

        By resampling, and stretching back to the former duration with a phase vocoder.
        """
        samples = wav.shape[1]
        window = torch.hann_window(VOCODER_FRAME, device=wav.device)
        advance = torch.linspace(0, math.pi * VOCODER_STEP, VOCODER_FRAME // 2 + 1, device=wav.device)[:, None]
        rows = []
        for row, octaves in zip(wav, (2 * self._draw(wav, (len(wav),)) - 1) * self.config.voice / 12, strict=True):
            length = max(round(samples / 2 ** octaves.item() / VOCODER_STEP), 3) * VOCODER_STEP
            resampled = torch.fft.irfft(torch.fft.rfft(row), n=length) * (length / samples)
            frames = torch.stft(resampled, VOCODER_FRAME, VOCODER_STEP, window=window, return_complex=True)
            frames = stretched(frames, length / samples, advance)
            rows.append(torch.istft(frames, VOCODER_FRAME, VOCODER_STEP, window=window, length=samples))
        return torch.stack(rows)

    def _filter(self, wav: Tensor) -> Tensor:
        """Filter by gains that are random in dB at the edges of bands, with straight lines in mel between them."""
        spectrum = torch.fft.rfft(wav)
        frequency = torch.linspace(0, SAMPLE_RATE / 2, spectrum.shape[1], device=wav.device)
        mel = (1 + frequency / 700).log()
        band = AUGMENT_BANDS * mel / mel[-1]
        below = band.floor().long().clamp(max=AUGMENT_BANDS - 1)
        gains = (2 * self._draw(wav, (len(wav), AUGMENT_BANDS + 1)) - 1) * self.config.filter
        decibel = torch.lerp(gains[:, below], gains[:, below + 1], (band - below).expand(len(wav), -1))
        filtered: Tensor = torch.fft.irfft(spectrum * 10 ** (decibel / 20), n=wav.shape[1])
        return filtered

    def _draw(self, wav: Tensor, shape: tuple[int, ...]) -> Tensor:
        return drawn_rows(torch.rand, shape, wav.device)


class MelAugment(nn.Module):
    """In training, each row of a batch is changed in its own way: feats (B, 80, F) in nats -> the same shape.

    A stretched mel axis moves pitch and formants together, as a shorter or longer speaker would (vocal tract length
    perturbation, Jaitly and Hinton 2013); random filters and gains stand for microphones and rooms.
    """

    stretches: Tensor
    lines: Tensor

    def __init__(self, config: MelAugmentConfig, bands: int = 80) -> None:
        super().__init__()
        self.config = config
        factors = 1 + config.stretch * torch.linspace(-1, 1, STRETCHES)
        matrices = torch.stack([interpolation(torch.arange(bands) * factor, bands) for factor in factors])
        self.register_buffer("stretches", matrices, persistent=False)
        points = torch.linspace(0, POINTS - 1, bands)
        self.register_buffer("lines", interpolation(points, POINTS), persistent=False)

    def forward(self, feats: Tensor) -> Tensor:
        if not self.training:
            return feats
        config, rows, device = self.config, len(feats), feats.device
        if config.stretch:
            choice = (drawn_rows(torch.rand, (rows,), device) * STRETCHES).long().clamp(max=STRETCHES - 1)
            feats = self.stretches[choice] @ feats
        if config.filter:
            gains = config.filter * NATS * drawn_rows(torch.randn, (rows, POINTS), device)
            feats = feats + (gains @ self.lines.T)[..., None]
        if config.snr:
            feats = torch.logaddexp(feats, self._noise(feats))
        if config.gain:
            feats = feats + config.gain * NATS * (2 * drawn_rows(torch.rand, (rows, 1, 1), device) - 1)
        return feats

    def _noise(self, feats: Tensor) -> Tensor:
        """A steady spectrum of random shape, from `snr` dB below the mean of its row to 40 dB lower."""
        rows, device = len(feats), feats.device
        shape = 6 * NATS * drawn_rows(torch.randn, (rows, POINTS), device) @ self.lines.T
        level = -NATS * (self.config.snr + 40 * drawn_rows(torch.rand, (rows, 1), device))
        return (feats.exp().mean((1, 2)).log()[:, None] + level + shape)[..., None]


def interpolation(points: Tensor, size: int) -> Tensor:
    """The matrix (points, size) that reads `size` values at fractional points, on straight lines; held at the ends."""
    points = points.float().clamp(0, size - 1)
    below = points.floor().long().clamp(max=max(size - 2, 0))
    above = F.one_hot((below + 1).clamp(max=size - 1), size) * (points - below)[:, None]
    return F.one_hot(below, size) * (1 - (points - below))[:, None] + above


def stretched(frames: Tensor, rate: float, advance: Tensor) -> Tensor:
    """Complex spectra (C, F) with 1 / rate times as many frames, of the same pitch: a phase vocoder.

    advance: (C, 1), the phase that each frequency gains from frame to frame, in radians.
    """
    if rate == 1.0:
        return frames
    times = torch.arange(0, frames.shape[-1], rate, device=frames.device, dtype=torch.float32)
    between = times % 1.0
    padded = F.pad(frames, [0, 2])
    before, after = padded.index_select(-1, times.long()), padded.index_select(-1, (times + 1).long())
    gained = after.angle() - before.angle() - advance
    gained = gained - 2 * math.pi * torch.round(gained / (2 * math.pi)) + advance
    phase = torch.cat([frames[..., :1].angle(), gained[..., :-1]], -1).cumsum(-1)
    return torch.polar(between * after.abs() + (1 - between) * before.abs(), phase)

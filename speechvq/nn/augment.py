"""What the encoder hears in training, a little otherwise than it was recorded, so that codes depend less on it."""

import math

import torch
import torchaudio.functional as AF
from torch import Tensor, nn

from speechvq.audio import SAMPLE_RATE
from speechvq.config import AugmentConfig
from speechvq.nn.distributed import drawn_rows

BANDS = 8  # of the filter, equally wide in mel
FRAME, STEP = 1024, 256  # samples, of the phase vocoder


class Augment(nn.Module):
    """In training: filtered, shifted, louder or softer, and with noise; each row of a batch in its own way.

    wav (B, T) -> (B, T). The decoder is still to say what was recorded.
    """

    def __init__(self, config: AugmentConfig) -> None:
        super().__init__()
        self.config = config

    def forward(self, wav: Tensor) -> Tensor:
        if not self.training or self.config == AugmentConfig():
            return wav
        config, rows = self.config, (len(wav),)
        wav = self._voiced(wav) if config.voice else wav
        wav = self._filtered(wav) if config.filter else wav
        if config.shift:
            by = ((2 * self._draw(wav, rows) - 1) * config.shift).round().long()
            index = torch.arange(wav.shape[1], device=wav.device) - by[:, None]
            inside = (index >= 0) & (index < wav.shape[1])
            wav = wav.gather(1, index.clamp(0, wav.shape[1] - 1)) * inside
        if config.gain:
            wav = wav * 10 ** ((2 * self._draw(wav, (*rows, 1)) - 1) * config.gain / 20)
        if config.noise:
            level = config.noise * 100 ** -self._draw(wav, (*rows, 1)) * wav.square().mean(1, keepdim=True).sqrt()
            wav = wav + level * drawn_rows(torch.randn, wav.shape, wav.device)
        return wav

    def _voiced(self, wav: Tensor) -> Tensor:
        """Every frequency times a factor, as of a shorter or longer speaker: resampled, and stretched back in time by a
        phase vocoder."""
        samples = wav.shape[1]
        window = torch.hann_window(FRAME, device=wav.device)
        advance = torch.linspace(0, math.pi * STEP, FRAME // 2 + 1, device=wav.device)[:, None]
        rows = []
        for row, by in zip(wav, (2 * self._draw(wav, (len(wav),)) - 1) * self.config.voice / 12, strict=True):
            length = max(round(samples / 2 ** by.item() / STEP), 3) * STEP
            resampled = torch.fft.irfft(torch.fft.rfft(row), n=length) * (length / samples)
            frames = torch.stft(resampled, FRAME, STEP, window=window, return_complex=True)
            stretched = AF.phase_vocoder(frames, length / samples, advance)
            rows.append(torch.istft(stretched, FRAME, STEP, window=window, length=samples))
        return torch.stack(rows)

    def _filtered(self, wav: Tensor) -> Tensor:
        """By gains in dB that are random at the bands' edges, and straight lines in mel between them."""
        spectrum = torch.fft.rfft(wav)
        frequency = torch.linspace(0, SAMPLE_RATE / 2, spectrum.shape[1], device=wav.device)
        mel = (1 + frequency / 700).log()
        place = BANDS * mel / mel[-1]
        below = place.floor().long().clamp(max=BANDS - 1)
        gains = (2 * self._draw(wav, (len(wav), BANDS + 1)) - 1) * self.config.filter
        decibel = torch.lerp(gains[:, below], gains[:, below + 1], (place - below).expand(len(wav), -1))
        return torch.fft.irfft(spectrum * 10 ** (decibel / 20), n=wav.shape[1])

    def _draw(self, wav: Tensor, shape: tuple[int, ...]) -> Tensor:
        return drawn_rows(torch.rand, shape, wav.device)

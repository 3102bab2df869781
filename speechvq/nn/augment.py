"""Augment training audio: voice, filter, shift, gain, noise. Codes then depend less on the recording."""

import math

import torch
import torchaudio.functional as AF
from torch import Tensor, nn

from speechvq.audio import SAMPLE_RATE
from speechvq.config import AugmentConfig
from speechvq.nn.distributed import drawn_rows

AUGMENT_BANDS = 8  # of the filter, equally wide in mel
VOCODER_FRAME, VOCODER_STEP = 1024, 256  # samples


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
            stretched = AF.phase_vocoder(frames, length / samples, advance)
            rows.append(torch.istft(stretched, VOCODER_FRAME, VOCODER_STEP, window=window, length=samples))
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

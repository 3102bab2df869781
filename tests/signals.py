"""Signals that several tests measure."""

import numpy as np
import torch

from speechvq.audio import SAMPLE_RATE


def sine(frequency: float, seconds: float, rate: int = SAMPLE_RATE, level: float = 0.5) -> np.ndarray:
    return (level * np.sin(2 * np.pi * frequency * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


def noise(samples: int, level: float = 0.1, seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(level * np.random.default_rng(seed).standard_normal(samples)).float()


def loudest_frequency(wav: np.ndarray, rate: int = SAMPLE_RATE) -> float:
    spectrum = np.abs(np.fft.rfft(wav * np.hanning(len(wav))))
    return float(np.argmax(spectrum)) * rate / len(wav)

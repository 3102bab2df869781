"""What can be told of a conversion without listening: duration, clipping, and the energy contour."""

from dataclasses import dataclass

import numpy as np
from torch import Tensor

HOP = 160  # 10 ms
FLOOR = 1e-4  # -80 dB: below it, energy is noise


@dataclass(frozen=True)
class Comparison:
    """duration_difference in samples (converted minus source), clipped samples at full scale, peak of the
    converted wav, and the correlation of the two energy contours (log energy in 10 ms frames, -1..1)."""

    duration_difference: int
    clipped: int
    peak: float
    energy_correlation: float


def compare(source: Tensor, converted: Tensor) -> Comparison:
    """source (T,) and converted (T',) at 16 kHz -> what was kept of the source."""
    frames = min(len(source), len(converted)) // HOP
    contours = [log_energy(wav[: frames * HOP].numpy()) for wav in (source, converted)]
    correlation = float(np.corrcoef(contours)[0, 1]) if all(c.std() > 0 for c in contours) else 0.0
    peak = converted.abs()
    return Comparison(len(converted) - len(source), int((peak >= 32767 / 32768).sum()), float(peak.max()), correlation)


def log_energy(wav: np.ndarray) -> np.ndarray:
    """wav (F * 160,) -> log RMS (F,), smoothed over 50 ms: the contour of syllables, not of pitch periods."""
    power = np.square(wav.astype(np.float64)).reshape(-1, HOP).mean(1)
    smooth = np.convolve(power, np.ones(5) / 5, mode="same")
    return np.log(np.sqrt(smooth) + FLOOR)

"""Loudness, and the silence at the edges of a recording."""

import math
from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from speechvq.audio import SAMPLE_RATE

LOUDNESS = -24.0  # LUFS, of all speech that a model is trained on or is given
HOP, BLOCK = 1_600, 6_400  # samples: loudness is measured in blocks of 0.4 s, every 0.1 s


def trim(wav: Tensor, top_db: float = 30.0) -> tuple[Tensor, int]:
    """Cut the edges that are `top_db` below the loudest frame -> the rest (T',), and its first sample's place.

    As `librosa.effects.trim` does it (frames of 1024 samples, every 256), which takes 150 MB to import.
    """
    power = F.avg_pool1d(wav.square()[None], 1024, 256, padding=512)[0]
    loud = (power > power.max() * 10 ** (-top_db / 10)).nonzero()
    if not len(loud):  # silence, or samples so large that their squares overflow
        return wav, 0
    start = 256 * int(loud[0])
    return wav[start : 256 * (int(loud[-1]) + 1)], start


def normalize_loudness(wav: Tensor, lufs: float = LOUDNESS) -> Tensor:
    """Bring wav (T,) to a loudness (ITU-R BS.1770), or as near as a peak of 0.99 allows; silence stays as it is."""
    return wav * Meter([wav]).gain(lufs)


class Meter:
    """Loudness in LUFS (ITU-R BS.1770-4) and peak of a wav that comes in pieces; their lengths make no difference.

    loudness: -inf for silence. Shorter speech than the standard's block of 0.4 s is measured as if it went on.
    """

    def __init__(self, wavs: Iterable[Tensor]) -> None:
        from scipy.signal import sosfilt  # not at import: training does without it

        weighting = k_weighting()
        state, rest, energies = np.zeros((2, 2)), np.empty(0), [np.empty(0)]
        start = torch.empty(0)
        self.peak = 0.0
        for wav in wavs:
            start = torch.cat([start, wav[: BLOCK - len(start)]])
            self.peak = max(self.peak, wav.abs().max().item())
            filtered, state = sosfilt(weighting, wav.double().numpy(), zi=state)
            rest = np.concatenate([rest, filtered])
            whole = len(rest) // HOP * HOP
            energies.append((rest[:whole].reshape(-1, HOP) ** 2).mean(1))
            rest = rest[whole:]
        if 0 < len(start) < BLOCK:
            long = start.repeat(-(-BLOCK // len(start)))[:BLOCK].double().numpy()
            energies = [(sosfilt(weighting, long).reshape(-1, HOP) ** 2).mean(1)]
        self.loudness = gated_loudness(np.concatenate(energies))

    def gain(self, lufs: float = LOUDNESS) -> float:
        """What brings the wav to a loudness, or to a peak of 0.99 if that is less; 1 for silence."""
        if not self.loudness > -70:  # the standard's gate
            return 1.0
        return min(10 ** ((lufs - self.loudness) / 20), 0.99 / self.peak)


def gated_loudness(energies: np.ndarray) -> float:
    """Mean squares of every 0.1 s of a weighted wav -> its integrated loudness in LUFS (ITU-R BS.1770-4)."""
    blocks = np.convolve(energies, np.full(BLOCK // HOP, HOP / BLOCK), "valid")
    with np.errstate(divide="ignore"):
        levels = 10 * np.log10(blocks) - 0.691
        loud = blocks[levels > -70]
        if not len(loud):
            return -math.inf
        relative = 10 * math.log10(loud.mean()) - 0.691 - 10
        return float(10 * np.log10(blocks[levels > max(relative, -70)].mean()) - 0.691)


def k_weighting() -> np.ndarray:
    """The two filters of BS.1770 at 16 kHz as second-order sections (2, 6).

    A shelf of 4 dB above 1.5 kHz and a high-pass at 38 Hz, as in R. Bristow-Johnson's cookbook, for any sample rate.
    """
    gain = 10 ** (4 / 40)
    w, q = 2 * math.pi * 1500 / SAMPLE_RATE, 1 / math.sqrt(2)
    cos, alpha, root = math.cos(w), math.sin(w) / (2 * q), 2 * math.sqrt(gain)
    up, down = gain + 1, gain - 1
    shelf = [
        gain * (up + down * cos + root * alpha),
        -2 * gain * (down + up * cos),
        gain * (up + down * cos - root * alpha),
        up - down * cos + root * alpha,
        2 * (down - up * cos),
        up - down * cos - root * alpha,
    ]
    w, q = 2 * math.pi * 38 / SAMPLE_RATE, 0.5
    cos, alpha = math.cos(w), math.sin(w) / (2 * q)
    high = [(1 + cos) / 2, -1 - cos, (1 + cos) / 2, 1 + alpha, -2 * cos, 1 - alpha]
    return np.array([np.array(section) / section[3] for section in (shelf, high)])

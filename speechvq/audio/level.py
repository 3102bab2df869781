"""Loudness, and the silence at the edges of a recording."""

import math
from array import array
from collections.abc import Iterable
from itertools import chain

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from speechvq.audio import SAMPLE_RATE
from speechvq.audio.biquads import filtered

LOUDNESS = -24.0  # LUFS, of all speech that a model is trained on or encodes
LOUDNESS_HOP, LOUDNESS_BLOCK = 1_600, 6_400  # samples: blocks of 0.4 s, every 0.1 s
GATE = -70.0  # LUFS: quieter blocks are silence, but in a quiet recording
QUIET_RECORDING = -40.0  # LUFS of its loudest block at most; there blocks this far below the loudest are silence:
QUIET_GATE = 60.0
TRIM_FRAME, TRIM_HOP = 1024, 256  # samples
RECENT = 300  # blocks: half a minute, whose loudness a stream is brought to
MAX_GAIN = 10.0  # of a stream, 20 dB: what comes before any speech is not to be made as loud as speech
DITHER = 2**-14  # a recording whose peak is at most this, two steps of 16 bits, is silence


def trim(wav: Tensor, top_db: float = 30.0) -> tuple[Tensor, int]:
    """Cut the edges of a wav (T,) that are more than `top_db` below its loudest frame.

    Returns the rest (T',) and the offset of its first sample.
    """
    start, end = loud_span([wav], top_db)
    return wav[start:end], start


def loud_span(wavs: Iterable[Tensor], top_db: float) -> tuple[int, int]:
    """The first sample and the end of what `trim` leaves of a wav that comes in pieces; their lengths do not matter.

    The same as `librosa.effects.trim` with frames of 1024 samples, every 256, but librosa takes 150 MB to import.
    """
    edge = torch.zeros(TRIM_FRAME // 2)  # frames are centred
    powers, waiting, samples = array("f"), torch.empty(0), -2 * len(edge)
    for squares in chain([edge], (wav.square() for wav in wavs), [edge]):
        samples += len(squares)
        waiting = torch.cat([waiting, squares])
        if len(waiting) >= TRIM_FRAME:
            some = F.avg_pool1d(waiting[None], TRIM_FRAME, TRIM_HOP)[0]
            powers.frombytes(some.numpy().tobytes())
            waiting = waiting[len(some) * TRIM_HOP :]
    power = torch.from_numpy(np.array(powers))
    loud = (power > power.max() * 10 ** (-top_db / 10)).nonzero()
    if not len(loud):  # silence, or samples so large that their squares overflow
        return 0, samples
    return TRIM_HOP * int(loud[0]), min(TRIM_HOP * (int(loud[-1]) + 1), samples)


def normalize_loudness(wav: Tensor, lufs: float = LOUDNESS) -> Tensor:
    """Bring a wav (T,) to a loudness in LUFS (ITU-R BS.1770), or as near as a peak of 0.99 allows; silence stays."""
    return wav * Meter([wav]).gain(lufs)


class Meter:
    """The loudness and the peak of a wav that comes in pieces; their lengths make no difference.

    loudness: in LUFS (ITU-R BS.1770-4), -inf for silence. A wav shorter than a block counts as repeated.
    peak: the largest absolute sample.
    """

    def __init__(self, wavs: Iterable[Tensor]) -> None:
        weighting = k_weighting()
        state, rest, energies = np.zeros((2, 2)), np.empty(0), [np.empty(0)]
        start = torch.empty(0)
        self.peak = 0.0
        for wav in wavs:
            start = torch.cat([start, wav[: LOUDNESS_BLOCK - len(start)]])
            self.peak = max(self.peak, wav.abs().max().item())
            weighted, state = filtered(weighting, wav.double().numpy(), state)
            rest = np.concatenate([rest, weighted])
            whole = len(rest) // LOUDNESS_HOP * LOUDNESS_HOP
            energies.append((rest[:whole].reshape(-1, LOUDNESS_HOP) ** 2).mean(1))
            rest = rest[whole:]
        if 0 < len(start) < LOUDNESS_BLOCK:
            long = start.repeat(-(-LOUDNESS_BLOCK // len(start)))[:LOUDNESS_BLOCK].double().numpy()
            energies = [(filtered(weighting, long, np.zeros((2, 2)))[0].reshape(-1, LOUDNESS_HOP) ** 2).mean(1)]
        self.loudness = gated_loudness(np.concatenate(energies))

    def gain(self, lufs: float = LOUDNESS) -> float:
        """The factor that brings the wav to a loudness, or to a peak of 0.99 if that is less; 1 for silence."""
        if self.peak <= DITHER or self.loudness == -math.inf:
            return 1.0
        return min(10 ** ((lufs - self.loudness) / 20), 0.99 / self.peak)


class RunningGain:
    """Brings a wav that comes in pieces (T_i,) to the loudness of training, by what came before; no delay.

    The gain moves linearly over each 0.1 s, to what the loudness of the last half minute asks for; it is 1 until there
    is sound. The lengths of the pieces make no difference.
    """

    def __init__(self) -> None:
        self._weighting, self._state = k_weighting(), np.zeros((2, 2))
        self._block = np.empty(0)  # K-weighted samples since the last gain
        self._energies: list[float] = []  # of the blocks of the last half minute
        self._peaks = [0.0]  # of the same, and of the block that is not complete
        self._before = self._gain = 1.0

    def push(self, wav: Tensor) -> Tensor:
        """The next samples (T,) at the running gain."""
        samples, parts = wav.double().numpy(), [np.empty(0)]
        while len(samples):
            start = len(self._block)
            now, samples = np.split(samples, [LOUDNESS_HOP - start])
            ramp = np.arange(start, start + len(now)) / LOUDNESS_HOP
            parts.append(now * (self._before + (self._gain - self._before) * ramp))
            weighted, self._state = filtered(self._weighting, now, self._state)
            self._block = np.concatenate([self._block, weighted])
            self._peaks[-1] = max(self._peaks[-1], np.abs(now).max().item())
            if len(self._block) == LOUDNESS_HOP:
                self._update()
        return torch.from_numpy(np.concatenate(parts)).float()

    def _update(self) -> None:
        """Choose the gain to move to, at the end of a block."""
        self._energies = [*self._energies, (self._block**2).mean().item()][-RECENT:]
        self._block, self._before, peak = np.empty(0), self._gain, max(self._peaks)
        self._peaks = [*self._peaks, 0.0][-RECENT:]
        known = np.array(self._energies)
        few = LOUDNESS_BLOCK // LOUDNESS_HOP
        loudness = gated_loudness(known if len(known) >= few else np.full(few, known.mean()))
        if peak > DITHER and loudness > -math.inf:
            self._gain = min(10 ** ((LOUDNESS - loudness) / 20), MAX_GAIN, 0.99 / peak)


def gated_loudness(energies: np.ndarray) -> float:
    """The integrated loudness in LUFS (ITU-R BS.1770-4) of a K-weighted wav, at any level.

    energies: the mean squares of every 0.1 s.

    The standard's gate at -70 LUFS would take soft speech for silence; a quiet recording has its own.
    """
    blocks = np.convolve(energies, np.full(LOUDNESS_BLOCK // LOUDNESS_HOP, LOUDNESS_HOP / LOUDNESS_BLOCK), "valid")
    with np.errstate(divide="ignore"):
        levels = 10 * np.log10(blocks) - 0.691
        top = levels.max(initial=-math.inf)
        gate = GATE if top > QUIET_RECORDING else top - QUIET_GATE
        loud = blocks[levels > gate]
        if not len(loud):
            return -math.inf
        # A second gate, 10 below the loudness of the blocks that pass the first.
        relative = 10 * math.log10(loud.mean()) - 0.691 - 10
        return float(10 * np.log10(blocks[levels > max(relative, gate)].mean()) - 0.691)


def k_weighting() -> np.ndarray:
    """The two K-weighting filters of BS.1770 at 16 kHz, as second-order sections (2, 6).

    A shelf of 4 dB above 1.5 kHz and a high-pass at 38 Hz by R. Bristow-Johnson's audio EQ cookbook: the standard lists
    coefficients for 48 kHz alone.
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

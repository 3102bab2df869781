"""The melody of speech: its pitch in semitones from the speaker's mean, in as few bits as keep its shape.

A value every MELODY_HOP samples stands for the middle of its span; between them the pitch is linear. It goes on where
speech is not voiced: the codes say where that is. Of all sequences of values the one is chosen whose squared error in
voiced frames, plus a price for the bits that it takes, is the least (rate-distortion optimisation by a trellis).
"""

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from speechvq import SpeechVQError
from speechvq.audio import MELODY_CHUNK, MELODY_HOP
from speechvq.codec.arguments import as_samples

MELODY_STEP = 2.0  # semitones between neighbouring levels
MELODY_LEVELS, MEAN_LEVEL = 13, 6  # of a value, and that of the mean
PITCH_FRAME = 160  # samples: 10 ms
MAX_ERROR = 4.0  # semitones: what is further off is a mistaken octave
BIT_PRICE = 3.0  # squared semitones, added up over voiced frames, per bit
# How often a value is 0, 1, 2 or more levels from the one before, and how often so many from the mean, of 300
# utterances of the training speech of convert-50hz.
STEP_WEIGHTS = np.array([7, 4, 1])
LEVEL_WEIGHTS = np.array([100, 87, 57, 28, 10, 3, 1])


def _weights() -> np.ndarray:
    level = np.arange(MELODY_LEVELS)
    steps, heights = np.abs(level[:, None] - level), np.abs(level - MEAN_LEVEL)
    weights: np.ndarray = STEP_WEIGHTS[np.minimum(steps, 2)] * LEVEL_WEIGHTS[heights]
    return weights.astype(float)


# (level before, level): integers to which the probabilities are proportional. A chunk begins after the mean.
WEIGHTS = _weights()


def melody_length(samples: int) -> int:
    """The number of values of an utterance."""
    return -(-samples // MELODY_HOP)


def melody_of(pitch: Tensor, voiced: Tensor, samples: int) -> Tensor:
    """The melody (M,) of an utterance, in semitones from its mean.

    pitch, voiced: (F,) in Hz, and whether it is one, by frames of PITCH_FRAME samples.
    samples: length of the utterance.
    """
    semitones = (12 * pitch.double().log2())[voiced].numpy()
    deviations = semitones - semitones.mean() if len(semitones) else semitones
    times = (np.flatnonzero(voiced.numpy()) + 0.5) * (PITCH_FRAME / MELODY_HOP) - 0.5  # in values
    return from_levels(_cheapest(deviations, times, melody_length(samples)))


def from_levels(levels: np.ndarray) -> Tensor:
    """The melody (M,) of levels (M,) from 0."""
    return torch.from_numpy(MELODY_STEP * (levels - MEAN_LEVEL)).float()


def to_levels(melody: Tensor) -> np.ndarray:
    """The nearest levels (M,) to a melody (M,); that of the mean where it is NaN."""
    nearest = (melody.double().nan_to_num() / MELODY_STEP).round().long() + MEAN_LEVEL
    levels: np.ndarray = nearest.clamp(0, MELODY_LEVELS - 1).numpy()
    return levels


def melody_by_frame(melody: ArrayLike | Tensor, frames: int, frame_length: int) -> Tensor:
    """The melody (F,) by frame of a decoder, of values (M,); NaN beside values that are.

    Raises SpeechVQError if it is no sequence of numbers.
    """
    values = as_samples(melody).double().cpu().numpy()
    if values.ndim != 1:
        raise SpeechVQError(f"a melody is a sequence of semitones, not of shape {values.shape}")
    if not len(values):
        return torch.zeros(frames)
    times = (np.arange(frames) + 0.5) * (frame_length / MELODY_HOP) - 0.5
    return torch.from_numpy(np.interp(times, np.arange(len(values)), values)).float()


def _cheapest(deviations: np.ndarray, times: np.ndarray, count: int) -> np.ndarray:
    """The levels (count,) of least error and price.

    deviations, times: of the voiced frames, in semitones and in values.
    """
    level = np.arange(MELODY_LEVELS)
    heights = MELODY_STEP * (level - MEAN_LEVEL)
    prices = -BIT_PRICE * np.log2(WEIGHTS / WEIGHTS.sum(1, keepdims=True))
    prices_of_first = np.broadcast_to(prices[MEAN_LEVEL], prices.shape)
    bounds = np.searchsorted(times, np.arange(-1, count + 1))  # of the frames between one value and the next
    bounds[0], bounds[-1] = 0, len(times)

    def errors(i: int) -> np.ndarray:
        """Of the frames between value i - 1 and value i: (level of the former, of the latter)."""
        own = slice(bounds[i], bounds[i + 1])
        share = np.interp(times[own], [i - 1, i], [0, 1]) if 0 < i < count else np.full(own.stop - own.start, i < 1)
        between = heights[:, None, None] * (1 - share) + heights[:, None] * share
        error: np.ndarray = np.minimum(np.square(between - deviations[own]), MAX_ERROR**2).sum(-1)
        return error

    costs, ways = np.zeros(MELODY_LEVELS), list[np.ndarray]()
    for i in range(count):
        through = costs[:, None] + errors(i) + (prices if i % MELODY_CHUNK else prices_of_first)
        ways.append(through.argmin(0))
        costs = through.min(0)
    levels = [int((costs + errors(count)[:, 0]).argmin())] if count else []
    for back in ways[:0:-1]:
        levels.append(int(back[levels[-1]]))
    return np.array(levels[::-1], np.int64)

"""Shares of frames or phones with intervals over speakers, by resampling the speakers (bootstrap)."""

import math
from dataclasses import dataclass

import numpy as np

RESAMPLINGS = 1000


@dataclass(frozen=True)
class Share:
    """A share, such as of the frames of all speakers.

    value: from 0 to 1; an error rate may be above. NaN if there is nothing that it could be a share of
    low, high: bounds of 95 % of it when the speakers are resampled; NaN for a single speaker
    """

    value: float
    low: float
    high: float


class Resampling:
    """Random draws of speakers, as many as there are, with replacement.

    speakers: number of speakers S
    random: source of the draws

    draws: (RESAMPLINGS, S), how often each speaker is drawn
    """

    def __init__(self, speakers: int, random: np.random.Generator) -> None:
        self.draws = random.multinomial(speakers, np.full(speakers, 1 / speakers), RESAMPLINGS)

    def share(self, part: np.ndarray, whole: np.ndarray) -> Share:
        """part, whole: (S,), the counts of each speaker -> the share of all parts in all wholes, with its interval."""
        total = whole.sum()
        value = float(part.sum() / total) if total else math.nan
        parts, wholes = self.draws @ part, self.draws @ whole
        known = wholes > 0
        if len(whole) < 2 or not known.any():
            return Share(value, math.nan, math.nan)
        low, high = np.percentile(parts[known] / wholes[known], [2.5, 97.5])
        return Share(value, float(low), float(high))

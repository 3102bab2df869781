"""Figures of many sentences, with intervals over speakers."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from speechvq.data.manifest import Utterance
from speechvq.evaluate.metrics.missing import none_for_nan
from speechvq.evaluate.metrics.resampling import Resampling
from yardstick.results import Figures

# For each figure what is counted, and in how many; a mean over sentences where there is no number.
FIGURES = {
    "word_error_rate": ("word_errors", "words"),
    "character_error_rate": ("character_errors", "characters"),
    "phone_error_rate": ("phone_errors", "phones"),
    "dnsmos": ("dnsmos", ""),
    "source_similarity": ("source_similarity", ""),
    "target_similarity": ("target_similarity", ""),
}


def summarize(sentences: Sequence[Utterance], rows: Sequence[Figures]) -> dict[str, Any]:
    """Figures by name, each with value, low and high (95 %, by resampling the speakers).

    rows: what was measured of each sentence; a sentence counts where it has the figure
    """
    speaker = np.unique([u.speaker for u in sentences], return_inverse=True)[1]
    result = {}
    for name, (part, whole) in FIGURES.items():
        counts = np.zeros((speaker.max() + 1, 2))
        for i, row in zip(speaker, rows, strict=True):
            if part in row:
                counts[i] += row[part], row[whole] if whole else 1
        draws = Resampling(len(counts), np.random.default_rng(0))  # the same for each system
        result[name] = none_for_nan(asdict(draws.share(*counts.T)))
    return result


def rate(rows: Sequence[Figures]) -> dict[str, Any]:
    """Bits a second of recordings, {"value": ...}; None where there are no files."""
    if any(row["bits"] is None for row in rows):
        return {"value": None}
    return {"value": sum(row["bits"] for row in rows) / sum(row["seconds"] for row in rows)}

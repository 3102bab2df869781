"""histogram.json of a model folder: how often each code was used in training."""

import json
from pathlib import Path

import numpy as np

from speechvq import SpeechVQError
from speechvq.files import atomic_write

HISTOGRAM = "histogram.json"


def save_histogram(folder: Path, counts: np.ndarray) -> None:
    """Write counts (K,) int64 into a model folder."""
    with atomic_write(folder / HISTOGRAM) as temporary:
        temporary.write_text(json.dumps({"counts": counts.tolist()}) + "\n", encoding="utf-8")


def load_histogram(folder: Path, codes: int) -> np.ndarray | None:
    """The counts (K,) int64 of a model folder; None if it has none.

    codes: their number K.

    Raises SpeechVQError if the file is damaged or has another number of counts.
    """
    path = folder / HISTOGRAM
    try:
        counts = np.array(json.loads(path.read_text(encoding="utf-8"))["counts"])
        if counts.shape != (codes,) or counts.dtype != np.int64 or counts.min() < 0 or counts.sum() >= 2**40:
            raise ValueError
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError, OSError):
        raise SpeechVQError(f"{path}: not the counts of {codes} codes") from None
    return counts

"""histogram.json of a model folder: how often each code was used in training."""

import json
from pathlib import Path

import numpy as np

from speechvq import SpeechVQError
from speechvq.config.guarded import read_json
from speechvq.config.shapes import check_shape
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
    if not path.exists():
        return None
    data = read_json(path)
    check_shape(data, {"counts": [int]}, str(path))
    counts = data["counts"]
    if len(counts) != codes or min(counts, default=0) < 0 or sum(counts) >= 2**40:
        raise SpeechVQError(f"{path}: not the counts of {codes} codes")
    return np.array(counts, np.int64)

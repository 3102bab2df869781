"""Values that could not be measured: NaN in arrays, None in results."""

import math
from typing import Any

import numpy as np


def known_mean(values: np.ndarray) -> float:
    """The mean of the values that are not NaN; NaN if there are none."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else math.nan


def none_for_nan(value: Any) -> Any:
    """A value of JSON, at any depth with None instead of NaN, which JSON does not have."""
    if isinstance(value, dict):
        return {key: none_for_nan(item) for key, item in value.items()}
    if isinstance(value, list):
        return [none_for_nan(item) for item in value]
    return None if isinstance(value, float) and math.isnan(value) else value

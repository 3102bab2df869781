"""What a program gives to a codec: arrays of any kind as tensors, and lists, or an error in one line."""

import os
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from speechvq import SpeechVQError

NUMBERS = "biufO"  # kinds of NumPy's arrays; of objects it is tried


def as_samples(samples: ArrayLike | Tensor) -> Tensor:
    """Samples of any shape as a tensor of real numbers, without a gradient; float32 unless they were a tensor.

    Raises SpeechVQError if they are not real numbers, or as `check_defaults` does.
    """
    check_defaults()
    if isinstance(samples, Tensor):
        if samples.is_complex() or samples.is_meta:
            raise SpeechVQError(f"samples are real numbers, not {samples.dtype} on {samples.device.type}")
        plain = _plain(samples, "samples are real numbers")
        return plain.float() if plain.is_floating_point() and plain.element_size() == 1 else plain  # has no isfinite
    return torch.from_numpy(_converted(samples, np.dtype(np.float32), "samples are real numbers"))


def as_codes(codes: ArrayLike | Tensor, size: int) -> Tensor:
    """Codes as a tensor (N,) int64.

    size: number of different codes.

    Raises SpeechVQError if they are no sequence of whole numbers from 0 to `size` - 1, or as `check_defaults` does.
    """
    check_defaults()
    wanted = "codes are a sequence of at least one integer"
    if isinstance(codes, Tensor):
        tensor = _plain(codes, wanted)
        if tensor.is_complex() or tensor.is_meta:
            raise SpeechVQError(f"{wanted}, not {tensor.dtype} on {tensor.device.type}")
        codes = (tensor.double() if tensor.is_floating_point() else tensor).cpu().numpy()
    row = _converted(codes, None, wanted)
    if row.ndim != 1 or not len(row):
        raise SpeechVQError(f"{wanted}, not of shape {row.shape}")
    if row.dtype.kind == "f" and not (row == np.floor(row)).all():
        raise SpeechVQError(f"{wanted}; some are no whole numbers")
    if row.min() < 0 or row.max() >= size:
        raise SpeechVQError(f"codes are between 0 and {size - 1}; got {row.min()} to {row.max()}")
    return torch.from_numpy(row.astype(np.int64))


def as_list(values: Iterable[Any], what: str) -> list[Any]:
    """The values of a list or of any other sequence or iterator.

    what: the name of the values in errors.

    Raises SpeechVQError if they are none, or text or the path of one file.
    """
    if isinstance(values, str | bytes | dict | os.PathLike) or not isinstance(values, Iterable):
        raise SpeechVQError(f"{what} are given as a list, not as {type(values).__name__}")
    return [*values]


def check_defaults() -> None:
    """Raises SpeechVQError if PyTorch's defaults are not those with which models were trained: bits would differ."""
    if torch.get_default_dtype() != torch.float32:
        raise SpeechVQError(f"models compute with torch's default dtype float32, not {torch.get_default_dtype()}")
    if torch.get_default_device().type != "cpu":
        device = torch.get_default_device()
        raise SpeechVQError(f"torch's default device is {device}, not cpu; a codec has a device of its own")


def _plain(tensor: Tensor, wanted: str) -> Tensor:
    """A tensor without its gradient. Raises SpeechVQError if it is sparse, quantized or nested."""
    if tensor.layout != torch.strided or tensor.is_quantized or tensor.is_nested:
        raise SpeechVQError(f"{wanted} in a dense tensor, not a sparse, quantized or nested one")
    return tensor.detach()


def _converted(values: ArrayLike, kind: np.dtype | None, wanted: str) -> np.ndarray:
    """Values as an array of this kind, by default of integers or floats as they are."""
    try:
        array = np.asarray(values)
        if array.dtype.kind not in NUMBERS:
            raise TypeError
        if kind is None:
            kind = np.dtype(np.int64) if array.dtype.kind in "bO" else array.dtype
        with np.errstate(all="ignore"):  # of a caller who has errors raised; what is infinite is refused later
            return np.array(array, kind)
    except (TypeError, ValueError, OverflowError):
        raise SpeechVQError(f"{wanted}, not {type(values).__name__}") from None

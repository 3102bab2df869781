"""Shapes of values that were read from files: which keys and types they must have before they are used.

A shape is one of these:

- a type, or a tuple of types; `float` stands for whole numbers, too, and no number for true or false
- a dict with the shape of each key; a key that ends in `?` may be missing, and others may be there
- a list with one shape, that of all its items
- `Each`, `Maybe`
"""

import os
from dataclasses import dataclass
from numbers import Integral, Real
from pathlib import Path
from typing import Any

from speechvq import SpeechVQError
from speechvq.files import check_path


@dataclass(frozen=True)
class Each:
    """The shape of a table with any keys, whose values are all of one shape."""

    shape: Any


@dataclass(frozen=True)
class Maybe:
    """The shape of a value that may be null."""

    shape: Any


def check_shape(value: Any, shape: Any, where: str, name: str = "") -> None:
    """Compare a value with a shape.

    where: the name of the file in errors.
    name: of the value in it, such as `scores.centre`.
    Raises SpeechVQError, naming the first key that is missing or of another type.
    """
    if isinstance(shape, Maybe):
        if value is not None:
            check_shape(value, shape.shape, where, name)
    elif isinstance(shape, dict):
        _check_type(value, dict, where, name)
        for key, one in shape.items():
            known = key.removesuffix("?")
            if known in value:
                check_shape(value[known], one, where, _inside(name, known))
            elif known == key:
                raise SpeechVQError(f"{where}: '{_inside(name, key)}' is missing")
    elif isinstance(shape, Each):
        _check_type(value, dict, where, name)
        for key, one in value.items():
            check_shape(one, shape.shape, where, _inside(name, key))
    elif isinstance(shape, list):
        _check_type(value, list, where, name)
        for i, one in enumerate(value):
            check_shape(one, shape[0], where, f"{name}[{i}]")
    else:
        _check_type(value, shape, where, name)


def _inside(name: str, key: Any) -> str:
    return f"{name}.{key}" if name else str(key)


def _check_type(value: Any, kinds: Any, where: str, name: str) -> None:
    kinds = kinds if isinstance(kinds, tuple) else (kinds,)
    wanted = (*kinds, int) if float in kinds else kinds
    if type(value) not in wanted:
        names = " or ".join("number" if kind is float else kind.__name__ for kind in kinds)
        subject = f"'{name}'" if name else "the whole"
        raise SpeechVQError(f"{where}: {subject} is not of type {names}")


def check_number(value: Any, name: str, low: float, high: float, *, whole: bool = False) -> None:
    """Check a number that a program gives as an argument; those of NumPy and PyTorch are numbers, too.

    name: of the argument in errors.
    Raises SpeechVQError if it is no number, not whole where it must be, NaN, or not between `low` and `high`.
    """
    plain: Any = value.item() if hasattr(value, "item") and getattr(value, "ndim", 1) == 0 else value
    is_number = isinstance(plain, Integral if whole else Real) and not isinstance(plain, bool)
    if not is_number or not low <= plain <= high:
        text = f"{'whole ' if whole else ''}number from {low:g} to {high:g}"
        raise SpeechVQError(f"{name} is a {text}, not {str(value)[:20]!r}")


def as_path(path: str | os.PathLike[str], what: str) -> Path:
    """A path that is given as text or as a path.

    what: the name of what is there in errors.

    Raises SpeechVQError if it is of another type, or as `check_path` does.
    """
    if not isinstance(path, str | os.PathLike) or not isinstance(os.fspath(path), str) or "\0" in os.fspath(path):
        raise SpeechVQError(f"{what} is given by a path, not as {type(path).__name__}")
    if os.fspath(path) == "":
        raise SpeechVQError(f"{what} is given by a path, which is empty")
    checked = Path(path)
    check_path(checked)
    return checked

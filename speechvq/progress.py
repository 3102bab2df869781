"""The one progress bar: on stderr, only for what takes longer than two seconds, and sparse in a log file."""

import sys
from collections.abc import Iterable
from typing import TypeVar

from tqdm import tqdm

T = TypeVar("T")


def progress(
    items: Iterable[T], total: int | None = None, *, unit: str, text: str | None = None, show: bool = True
) -> "tqdm[T]":
    """tqdm with this project's manners."""
    return tqdm(items, text, total, unit=unit, delay=2, leave=False, mininterval=interval(), disable=not show)


def interval() -> float:
    """Seconds between two drawings of a bar: a log file needs fewer lines than a screen."""
    return 0.2 if sys.stderr.isatty() else 30.0

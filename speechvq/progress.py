"""The progress bar: on stderr, for work of more than two seconds, with few lines in a log file."""

import sys
from collections.abc import Iterable
from typing import TypeVar

from tqdm import tqdm

T = TypeVar("T")


def progress(
    items: Iterable[T], total: int | None = None, *, unit: str, text: str | None = None, show: bool = True
) -> "tqdm[T]":
    """The items, with a progress bar.

    total: number of items, if they have no length.
    unit: name of one item.
    text: written before the bar.
    """
    return tqdm(items, text, total, unit=unit, delay=2, leave=False, mininterval=interval(), disable=not show)


def interval() -> float:
    """Seconds between two updates of a bar: a log file needs fewer than a terminal."""
    return 0.2 if sys.stderr.isatty() else 30.0

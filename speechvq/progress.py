"""The progress bar: on stderr, for work of more than two seconds, with few lines in a log file."""

import sys
from collections.abc import Iterable, Iterator, Sized
from typing import TypeVar

from tqdm import tqdm

T = TypeVar("T")
Piece = TypeVar("Piece", bound=Sized)


def progress(
    items: Iterable[T], total: int | None = None, *, unit: str, text: str | None = None, show: bool = True
) -> "tqdm[T]":
    """The items, with a progress bar.

    total: number of items, if they have no length.
    unit: name of one item.
    text: written before the bar.
    """
    return tqdm(items, text, total, unit=unit, delay=2, leave=False, mininterval=interval(), disable=not show)


def seconds_done(
    pieces: Iterable[Piece], sample_rate: int, samples: int | None = None, *, text: str, show: bool = True
) -> Iterator[Piece]:
    """The pieces of a wav, with a progress bar in seconds of audio.

    sample_rate: of the pieces, in Hz.
    samples: of all pieces together, if that is known.
    text: written before the bar.
    """
    total = None if samples is None else samples // sample_rate
    with tqdm(desc=text, total=total, unit="s", delay=2, leave=False, mininterval=interval(), disable=not show) as bar:
        done = 0
        for piece in pieces:
            yield piece
            done += len(piece)
            bar.update(done // sample_rate - bar.n)


def interval() -> float:
    """Seconds between two updates of a bar: a log file needs fewer than a terminal."""
    return 0.2 if sys.stderr.isatty() else 30.0

"""A labelled stretch of time."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Segment:
    """A labelled stretch of time.

    start, end: in seconds
    label: a phone, or a word
    """

    start: float
    end: float
    label: str

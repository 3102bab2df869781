"""Evaluations of many utterances: those whose files cannot be used are left out, and listed."""

from collections.abc import Callable, Sequence
from typing import TypeVar

from speechvq import SpeechVQError
from speechvq.files import Failure, attempt
from speechvq.nn.distributed import share_out

T = TypeVar("T")
R = TypeVar("R")

LeftOut = list[tuple[str, str]]  # name and reason of each


def share_out_usable(
    items: Sequence[T], work: Callable[[T], R], name: Callable[[T], str], *, unit: str
) -> tuple[list[tuple[T, R]], LeftOut]:
    """Apply `work` to every item, as `share_out` does, but leave out those whose files cannot be used.

    name: of an item in the list of those left out

    Returns the other items with their results, and the list. Raises SpeechVQError if no item is left.
    """
    results = share_out(items, lambda item: attempt(work, item), unit=unit)
    rows = list(zip(items, results, strict=True))
    left_out = [(name(item), result.reason) for item, result in rows if isinstance(result, Failure)]
    if left_out and len(left_out) == len(items):
        raise SpeechVQError(f"none of {len(items)} can be used; the first, {left_out[0][0]}: {left_out[0][1]}")
    return [(item, result) for item, result in rows if not isinstance(result, Failure)], left_out

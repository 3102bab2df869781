"""ABX: how often a phone is nearer to another phone than to itself, on frame vectors; a pure function of arrays.

The task is ZeroSpeech's (Schatz et al. 2013; Dunbar et al. 2020), distance and averages those of Libri-light (Kahn et
al. 2020): A and X are tokens of one triphone, B of one that differs in its centre only. Within speakers all three are
of one; across, A and B are of one and X of another. The distance of two tokens is the mean angle between their frames
along the path of dynamic time warping, of the cheapest the shortest. As the path's length divides it, durations move
the error: that of random features need not be 1/2, and belongs beside any other.
"""

import bisect
import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import Any

import numpy as np
from numba import njit

from speechvq import SpeechVQError
from speechvq.data.labels import Segment
from speechvq.data.phones import SILENCE

BITS = 20  # angles are whole numbers of 2^-20 pi, so that equal sums are equal; a path is below 2^20 steps


@dataclass(frozen=True)
class Token:
    """Frames begin..end (without end) of an utterance, in which a phone is spoken between two others."""

    utterance: int
    begin: int
    end: int
    phone: str
    before: str
    after: str


@dataclass(frozen=True)
class Abx:
    """Errors from 0 to 1, nan where there are no cells; and how many cells and triples (A, B, X) they are of."""

    within: float
    within_cells: int
    within_triples: int
    across: float
    across_cells: int
    across_triples: int


def tokens(
    segments: Sequence[Sequence[Segment]], hop: float, frames: Sequence[int], offset: float = 0, silence: str = SILENCE
) -> list[Token]:
    """Tokens of utterances of so many frames, `hop` seconds each; segments are in the order of time.

    Made of times, as runs of frame labels would lose phones shorter than a frame, and with them who is beside whom.
    A token has the frames whose centre, (t + 1/2) * hop + offset, lies in its segment. Left out are those without a
    frame, at an utterance's edge, of silence, or beside it or a gap of more than hop / 2. SpeechVQError where the
    numbers of utterances differ.
    """
    if len(segments) != len(frames):
        raise SpeechVQError(f"{len(segments)} utterances of segments, {len(frames)} of frames")
    found = []
    for utterance, (row, count) in enumerate(zip(segments, frames, strict=True)):
        centres = (np.arange(count) + 0.5) * hop + offset
        begins, ends = (np.searchsorted(centres, times) for times in ([s.start for s in row], [s.end for s in row]))
        for i in range(1, len(row) - 1):
            before, own, after = row[i - 1 : i + 2]
            gap = max(own.start - before.end, after.start - own.end)
            if begins[i] < ends[i] and gap <= hop / 2 and silence not in (before.label, own.label, after.label):
                found.append(Token(utterance, int(begins[i]), int(ends[i]), own.label, before.label, after.label))
    return found


def abx(
    features: Sequence[np.ndarray],
    speakers: Sequence[str],
    tokens: Sequence[Token],
    *,
    most: int = 10,
    cells: int = 20_000,
    seed: int = 0,
) -> Abx:
    """features: an array (frames, D) for each utterance; speakers: that of each utterance.

    Of each triphone and speaker at most `most` tokens are drawn. A cell is all their triples of one context, ordered
    pair of centres, speaker of A and B, and speaker of X; its error the share of triples with d(A, X) > d(B, X), and
    half of those with d(A, X) = d(B, X). Errors are averaged over contexts and speakers of X together, then over
    speakers of A, then over pairs. Of more than `cells` cells, within or across, at most so many are drawn: of every
    pair equally many, where it has them, and one at least. Tokens, speakers and seed alone decide what is drawn.

    Vectors of zeros are at no angle to each other, at a right one to the rest. SpeechVQError where lengths differ,
    a token is not inside its utterance, or a feature is not finite.
    """
    _check(features, speakers, tokens)
    random = np.random.default_rng(seed)
    groups: dict[tuple[str, ...], list[Token]] = {}
    for token in tokens:
        groups.setdefault((token.before, token.after, token.phone, speakers[token.utterance]), []).append(token)
    keys = sorted(groups)
    drawn = [[groups[key][i] for i in _draw(len(groups[key]), most, random)] for key in keys]
    rows = [features[token.utterance][token.begin : token.end] for group in drawn for token in group]
    frames = np.concatenate(rows).astype(float) if rows else np.zeros((0, 1))
    length = np.linalg.norm(frames, axis=1, keepdims=True)
    units = np.column_stack([frames / np.where(length, length, 1), length == 0])
    sizes = np.array([len(group) for group in drawn], int)
    edges = np.cumsum([0, *map(len, rows)]), np.cumsum([0, *sizes])
    phone, speaker = (np.unique([key[i] for key in keys], return_inverse=True)[1] for i in (2, 3))
    results: list[Any] = []
    for spans in _spans(keys, sizes):
        chosen = _cells(spans, phone, cells, random)
        errors, triples = _errors(units, *edges, chosen)
        error = _average(errors, np.column_stack([phone[chosen[:, :2]], speaker[chosen[:, 0]]]))
        results += [error, len(chosen), int(triples.sum())]
    return Abx(*results)


def _draw(count: int, most: int, random: np.random.Generator) -> np.ndarray:
    """Numbers below `count`, in their order: `most` of them at most."""
    return np.sort(random.choice(count, most, replace=False)) if count > most else np.arange(count)


def _spans(keys: Sequence[tuple[str, ...]], sizes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sorted keys of groups -> cells within and across, (4, n): groups A, B and the first X, and how many X from it."""
    triphones: dict[Any, list[int]] = {}
    beside: dict[Any, list[int]] = {}
    for i, (before, after, phone, speaker) in enumerate(keys):
        triphones.setdefault((before, after, phone), []).append(i)
        beside.setdefault((before, after, speaker), []).append(i)
    a, b = np.array([pair for row in beside.values() for pair in permutations(row, 2)], int).reshape(-1, 2).T
    first, end = np.array([(row[0], row[-1] + 1) for row in triphones.values() for _ in row], int).reshape(-1, 2)[a].T
    within = np.stack([a, b, a, sizes[a] > 1])
    return within, np.hstack([np.stack([a, b, first, a - first]), np.stack([a, b, a + 1, end - a - 1])])


def _cells(spans: np.ndarray, phone: np.ndarray, cells: int, random: np.random.Generator) -> np.ndarray:
    """Spans (4, n), the phone of each group -> groups A, B and X of the cells drawn, (cells, 3)."""
    spans = spans[:, spans[3] > 0]
    pair = phone[spans[0]] * len(phone) + phone[spans[1]]
    a, b, first, count = spans[:, np.argsort(pair, kind="stable")]
    totals = np.bincount(np.unique(pair, return_inverse=True)[1], spans[3]).astype(int)
    share = bisect.bisect_right(range(totals.max(initial=0) + 1), cells, key=lambda n: np.minimum(totals, n).sum()) - 1
    ranges = zip(np.cumsum(totals) - totals, totals, strict=True)
    number = np.array([begin + n for begin, total in ranges for n in _draw(total, max(share, 1), random)], int)
    ends = np.cumsum(count)
    span = np.searchsorted(ends, number, side="right")
    return np.column_stack([a[span], b[span], first[span] + number - (ends - count)[span]])


def _average(errors: np.ndarray, keys: np.ndarray) -> float:
    """Errors (cells,) of keys (cells, 3), A, B, and speaker: averaged over what has one key, one pair, and over all."""
    for width in (3, 2):
        keys, places = np.unique(keys[:, :width], axis=0, return_inverse=True)
        errors = np.bincount(places.ravel(), errors) / np.bincount(places.ravel())
    return float(errors.mean()) if len(errors) else math.nan


@njit(nogil=True, cache=True, fastmath={"contract", "reassoc", "nsz"})  # LLVM may vectorize the sum
def distance(x: Any, y: Any) -> float:
    """Unit vectors (n, D) and (m, D) -> the least sum of angles along a path, over its fewest steps, in pi."""
    best = np.array([0] + [1 << 62] * len(y))  # sum * 2^BITS + steps, of the paths that end at a frame of y
    for i in range(len(x)):
        diagonal, best[0] = best[0], 1 << 62
        for j in range(len(y)):
            product = 0.0
            for k in range(x.shape[1]):
                product += x[i, k] * y[j, k]
            angle = round(math.acos(min(max(product, -1.0), 1.0)) / math.pi * 2**BITS)
            diagonal, best[j + 1] = best[j + 1], min(diagonal, best[j], best[j + 1]) + (angle << BITS) + 1
    return (best[-1] >> BITS) / (best[-1] & ((1 << BITS) - 1)) / 2**BITS


@njit(nogil=True, cache=True)
def _errors(units: Any, places: Any, groups: Any, cells: Any) -> Any:
    """Errors and numbers of triples, (cells,), of groups A, B and X, (cells, 3).

    places (tokens + 1,): where tokens begin in units; groups (groups + 1,): where groups begin in tokens.
    """
    errors, triples = np.zeros(len(cells)), np.zeros(len(cells), np.int64)
    for i in range(len(cells)):
        a, b, same = cells[i]
        for x in range(groups[same], groups[same + 1]):
            own = units[places[x] : places[x + 1]]
            far = [distance(own, units[places[t] : places[t + 1]]) for t in range(groups[b], groups[b + 1])]
            near = [distance(own, units[places[t] : places[t + 1]]) for t in range(groups[a], groups[a + 1]) if t != x]
            for one in near:
                for other in far:
                    errors[i] += (one > other) + 0.5 * (one == other)
            triples[i] += len(near) * len(far)
    return errors / triples, triples


def _check(features: Sequence[np.ndarray], speakers: Sequence[str], tokens: Sequence[Token]) -> None:
    if len(features) != len(speakers):
        raise SpeechVQError(f"{len(features)} utterances of features, {len(speakers)} speakers")
    if any(row.ndim != 2 or row.shape[1] != features[0].shape[1] or not np.isfinite(row).all() for row in features):
        raise SpeechVQError("features are finite numbers (frames, D), with one D for all utterances")
    for t in tokens:
        if not (0 <= t.utterance < len(features) and 0 <= t.begin < t.end <= len(features[t.utterance])):
            raise SpeechVQError(f"not inside its utterance: {t}")

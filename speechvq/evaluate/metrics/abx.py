"""ABX error of frame vectors: how often a phone is nearer to another phone than to itself.

The task is that of ZeroSpeech (Schatz et al. 2013; Dunbar et al. 2020), distance and averages are those of Libri-light
(Kahn et al. 2020). A and X are tokens of the same triphone; B is a token of one that differs in its centre only.
Within speakers, all three are of one speaker; across speakers, A and B are of one and X is of another.

The distance of two tokens is the mean angle between their frames along the path of dynamic time warping with the
smallest sum, the shortest of equal ones. Dividing by the length of the path makes durations matter: the error of random
features need not be 1/2, so it should be reported beside every other.
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
from speechvq.extras import let_numba_cache
from speechvq.text.phones import SILENCE
from speechvq.text.segments import Segment

# Angles are rounded to multiples of 2^-20 pi, so that equal sums compare equal; a path has fewer than 2^20 steps.
ANGLE_BITS = 20

let_numba_cache()  # of the functions below


@dataclass(frozen=True)
class Token:
    """A phone spoken between two others.

    utterance: index of the utterance
    begin, end: its frames, the last exclusive
    phone, before, after: the phone and its neighbours
    """

    utterance: int
    begin: int
    end: int
    phone: str
    before: str
    after: str


@dataclass(frozen=True)
class Abx:
    """ABX errors within and across speakers.

    within, across: error from 0 to 1; NaN without cells
    within_cells, across_cells: number of cells averaged (see `abx`)
    within_triples, across_triples: number of triples (A, B, X) compared
    """

    within: float
    within_cells: int
    within_triples: int
    across: float
    across_cells: int
    across_triples: int


def tokens(
    segments: Sequence[Sequence[Segment]], hop: float, frames: Sequence[int], offset: float = 0, silence: str = SILENCE
) -> list[Token]:
    """Find the tokens of labelled utterances.

    segments: for each utterance its labels, in the order of time
    hop: seconds per frame
    frames: number of frames of each utterance
    offset: seconds by which labels are read later than the centre of a frame
    silence: label of silence

    A token has the frames whose centre, (t + 1/2) * hop + offset, lies in its segment. Left out are phones without a
    frame, at the edge of an utterance, of silence, or next to silence or to a gap of more than hop / 2. Neighbours come
    from the segments, not from frame labels, which would lose phones shorter than a frame.

    Raises SpeechVQError if the numbers of utterances differ.
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
    max_tokens: int = 10,
    max_cells: int = 20_000,
    seed: int = 0,
) -> Abx:
    """Compute the ABX errors of frame vectors.

    features: for each utterance an array (frames, D); two vectors of zeros are at no angle, one is at a right angle to
        any other vector
    speakers: the speaker of each utterance
    max_tokens: of each triphone and speaker, at most so many tokens are drawn
    max_cells: within and across, at most so many cells are drawn, equally many of every pair where it has them, at
        least one
    seed: of the drawing, which depends on tokens and speakers but not on features

    A cell is all triples of one context, ordered pair of centres, speaker of A and B, and speaker of X. Its error is
    the share of triples with d(A, X) > d(B, X), and half of those with d(A, X) = d(B, X). Errors are averaged over
    contexts and speakers of X together, then over speakers of A, then over pairs.

    Raises SpeechVQError if lengths differ, a token is not inside its utterance, or a feature is not finite.
    """
    _check(features, speakers, tokens)
    random = np.random.default_rng(seed)
    groups: dict[tuple[str, ...], list[Token]] = {}
    for token in tokens:
        groups.setdefault((token.before, token.after, token.phone, speakers[token.utterance]), []).append(token)
    keys = sorted(groups)
    drawn = [[groups[key][i] for i in _draw(len(groups[key]), max_tokens, random)] for key in keys]
    units, token_starts = _unit_vectors(features, [token for group in drawn for token in group])
    sizes = np.array([len(group) for group in drawn], int)
    group_starts = np.cumsum([0, *sizes])
    phone, speaker = (np.unique([key[i] for key in keys], return_inverse=True)[1] for i in (2, 3))
    results: list[Any] = []
    for spans in _spans(keys, sizes):
        cells = _draw_cells(spans, phone, max_cells, random)
        errors, triples = _errors(units, token_starts, group_starts, cells)
        error = _average(errors, np.column_stack([phone[cells[:, :2]], speaker[cells[:, 0]]]))
        results += [error, len(cells), int(triples.sum())]
    return Abx(*results)


def _unit_vectors(features: Sequence[np.ndarray], tokens: Sequence[Token]) -> tuple[np.ndarray, np.ndarray]:
    """The frames of all tokens, (frames, D + 1), and the first frame of each, (tokens + 1,).

    The last column is 1 for a vector of zeros, which thereby is at a right angle to all others.
    """
    rows = [features[token.utterance][token.begin : token.end] for token in tokens]
    frames = np.concatenate(rows).astype(float) if rows else np.zeros((0, 1))
    length = np.linalg.norm(frames, axis=1, keepdims=True)
    units = np.column_stack([frames / np.where(length, length, 1), length == 0])
    return units, np.cumsum([0, *map(len, rows)])


def _draw(count: int, limit: int, random: np.random.Generator) -> np.ndarray:
    """At most `limit` of the numbers below `count`, in ascending order."""
    return np.sort(random.choice(count, limit, replace=False)) if count > limit else np.arange(count)


def _spans(keys: Sequence[tuple[str, ...]], sizes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Candidate cells, without listing every group of X.

    keys: before, after, phone and speaker of each group of tokens, sorted: groups of one triphone are neighbours
    sizes: number of tokens of each group

    Returns spans (4, n) within and across speakers: group A, group B, the first group of X and their number.
    """
    by_triphone: dict[Any, list[int]] = {}
    by_context: dict[Any, list[int]] = {}
    for i, (before, after, phone, speaker) in enumerate(keys):
        by_triphone.setdefault((before, after, phone), []).append(i)
        by_context.setdefault((before, after, speaker), []).append(i)
    a, b = np.array([pair for row in by_context.values() for pair in permutations(row, 2)], int).reshape(-1, 2).T
    # For each A: the first and the last (exclusive) group of its triphone, over all speakers.
    triphone = np.array([(row[0], row[-1] + 1) for row in by_triphone.values() for _ in row], int).reshape(-1, 2)
    first, end = triphone[a].T
    within = np.stack([a, b, a, sizes[a] > 1])
    # Across: X is of a group before A or after A.
    return within, np.hstack([np.stack([a, b, first, a - first]), np.stack([a, b, a + 1, end - a - 1])])


def _draw_cells(spans: np.ndarray, phone: np.ndarray, limit: int, random: np.random.Generator) -> np.ndarray:
    """Draw cells of spans (4, n), about `limit` in all, equally many of every ordered pair of phones.

    phone: the phone of each group

    Returns the groups A, B and X of each cell, (cells, 3).
    """
    spans = spans[:, spans[3] > 0]
    pair = phone[spans[0]] * len(phone) + phone[spans[1]]
    a, b, first, count = spans[:, np.argsort(pair, kind="stable")]
    totals = np.bincount(np.unique(pair, return_inverse=True)[1], spans[3]).astype(int)
    # The largest number of cells per pair with which all pairs together stay within the limit.
    share = bisect.bisect_right(range(totals.max(initial=0) + 1), limit, key=lambda n: np.minimum(totals, n).sum()) - 1
    ranges = zip(np.cumsum(totals) - totals, totals, strict=True)
    number = np.array([begin + n for begin, total in ranges for n in _draw(total, max(share, 1), random)], int)
    # Cell numbers count through the spans, of which each holds `count` cells.
    ends = np.cumsum(count)
    span = np.searchsorted(ends, number, side="right")
    return np.column_stack([a[span], b[span], first[span] + number - (ends - count)[span]])


def _average(errors: np.ndarray, keys: np.ndarray) -> float:
    """Average errors (cells,) by keys (cells, 3): phone of A, phone of B, speaker of A; then by pair; then over all."""
    for width in (3, 2):
        keys, group = np.unique(keys[:, :width], axis=0, return_inverse=True)
        errors = np.bincount(group.ravel(), errors) / np.bincount(group.ravel())
    return float(errors.mean()) if len(errors) else math.nan


@njit(nogil=True, cache=True, fastmath={"contract", "reassoc", "nsz"})  # LLVM may vectorize the sum
def distance(x: Any, y: Any) -> Any:
    """The distance of two tokens by dynamic time warping.

    x, y: unit vectors (n, D) and (m, D)

    Returns the mean angle in units of pi along the path with the smallest sum, the shortest of equal ones.
    """
    # One number holds both: sum of angles * 2^ANGLE_BITS + steps, for the best path that ends at each frame of y.
    best = np.array([0] + [1 << 62] * len(y))
    for i in range(len(x)):
        diagonal, best[0] = best[0], 1 << 62
        for j in range(len(y)):
            product = 0.0
            for k in range(x.shape[1]):
                product += x[i, k] * y[j, k]
            angle = round(math.acos(min(max(product, -1.0), 1.0)) / math.pi * 2**ANGLE_BITS)
            step = min(diagonal, best[j], best[j + 1]) + (angle << ANGLE_BITS) + 1
            diagonal, best[j + 1] = best[j + 1], step
    return (best[-1] >> ANGLE_BITS) / (best[-1] & ((1 << ANGLE_BITS) - 1)) / 2**ANGLE_BITS


@njit(nogil=True, cache=True)
def _errors(units: Any, token_starts: Any, group_starts: Any, cells: Any) -> Any:
    """Errors and numbers of triples of cells, both (cells,).

    units: unit vectors of all frames (frames, D)
    token_starts: the first frame of each token (tokens + 1,)
    group_starts: the first token of each group (groups + 1,)
    cells: groups A, B and X (cells, 3)
    """
    errors, triples = np.zeros(len(cells)), np.zeros(len(cells), np.int64)
    for i in range(len(cells)):
        a, b, same = cells[i]
        for x in range(group_starts[same], group_starts[same + 1]):
            own = units[token_starts[x] : token_starts[x + 1]]
            far = [
                distance(own, units[token_starts[t] : token_starts[t + 1]])
                for t in range(group_starts[b], group_starts[b + 1])
            ]
            near = [
                distance(own, units[token_starts[t] : token_starts[t + 1]])
                for t in range(group_starts[a], group_starts[a + 1])
                if t != x
            ]
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

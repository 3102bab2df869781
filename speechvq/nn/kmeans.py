"""k-means by Lloyd's algorithm, of a batch or of a whole corpus of vectors."""

import math
from collections.abc import Iterator
from typing import Literal

import numpy as np
import torch
from torch import Tensor

Rows = Tensor | np.ndarray
"""Vectors (M, D) of any float type; an array may be a memory map, which is read block by block."""

BLOCK_ROWS = 4096  # read, converted and compared with the centres at a time
SAMPLE_ROWS = 2**14  # at most: among them the first centres are chosen


def kmeans(
    rows: Rows,
    clusters: int,
    *,
    init: Literal["random", "k-means++"] = "random",
    iterations: int = 10,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Find the centres of vectors: each iteration moves every centre to the mean of the vectors nearest to it.

    rows: (M, D). A part of a corpus, such as rows[::10], takes that part of the time.
    init: the first centres are rows drawn at random, or far from one another (Arthur and Vassilvitskii 2007); either
        with a little noise, so that no two are equal even if there are fewer rows than clusters.
    iterations: at most; it ends when no centre moves.
    generator: of all random numbers, on the CPU; None takes torch's own.

    Returns the centres (K, D) float32, on the device of the rows. The inertia (sum of squared distances to the nearest
    centre) never rises from one iteration to the next. A centre that has lost all its vectors goes to a row that is far
    from the others.
    """
    sample = _sample(rows, generator)
    chosen = _spread(sample, clusters, generator) if init == "k-means++" else _drawn(sample, clusters, generator)
    centres = _shaken(chosen, sample, generator)
    for _ in range(iterations):
        sums, counts = torch.zeros_like(centres), centres.new_zeros(clusters)
        for block in _blocks(rows):
            more = sums_and_counts(block, nearest(block, centres), clusters)
            sums, counts = sums + more[0], counts + more[1]
        moved = sums / counts.clamp(min=1)[:, None]
        empty = counts == 0
        if empty.any():
            full = moved[~empty]
            distance = (sample - full[assign(sample, full)]).square().sum(1)
            moved[empty] = _shaken(sample[_far(distance, int(empty.sum()), generator)], sample, generator)
        elif torch.equal(moved, centres):
            break
        centres = moved
    return centres


def assign(rows: Rows, centres: Tensor) -> Tensor:
    """The nearest of the centres (K, D) for each of the rows (M, D), block by block -> (M,) int64."""
    return torch.cat([nearest(block, centres) for block in _blocks(rows)])


def nearest(vectors: Tensor, table: Tensor) -> Tensor:
    """The index of the nearest row of table (K, D) for each row of vectors (M, D), by Euclidean distance -> (M,) int64.

    The vectors' own norms are left out, since they do not change the order.
    """
    return torch.addmm(table.square().sum(1), vectors, table.T, alpha=-2).argmin(1)


def sums_and_counts(vectors: Tensor, codes: Tensor, clusters: int) -> tuple[Tensor, Tensor]:
    """Sum (K, D) and number (K,) of the vectors (M, D) that have each code; codes: (M,)."""
    sums = torch.zeros(clusters, vectors.shape[1], device=vectors.device).index_add_(0, codes, vectors)
    return sums, torch.bincount(codes, minlength=clusters).to(vectors.dtype)


def _blocks(rows: Rows) -> Iterator[Tensor]:
    for begin in range(0, max(len(rows), 1), BLOCK_ROWS):
        yield _floats(rows[begin : begin + BLOCK_ROWS])


def _floats(rows: Rows) -> Tensor:
    return rows.float() if isinstance(rows, Tensor) else torch.from_numpy(np.array(rows, np.float32))


def _sample(rows: Rows, generator: torch.Generator | None) -> Tensor:
    """All rows, or as many at random as a start needs."""
    if len(rows) <= SAMPLE_ROWS:
        return _floats(rows)
    picks = torch.randint(len(rows), (SAMPLE_ROWS,), generator=generator).sort().values
    return _floats(rows[picks] if isinstance(rows, Tensor) else rows[picks.numpy()])


def _drawn(sample: Tensor, clusters: int, generator: torch.Generator | None) -> Tensor:
    """Different rows of the sample, as far as there are enough."""
    picks = torch.randperm(len(sample), generator=generator)
    return sample[picks.repeat(-(-clusters // len(picks)))[:clusters]]


def _spread(sample: Tensor, clusters: int, generator: torch.Generator | None) -> Tensor:
    """Greedy k-means++: the best of a few rows drawn in proportion to their squared distance to the centres so far."""
    candidates = 2 + int(math.log(clusters))
    chosen = sample[torch.randint(len(sample), (1,), generator=generator)]
    distance = (sample - chosen).square().sum(1)
    norms = sample.square().sum(1)
    for _ in range(clusters - 1):
        some = sample[_far(distance, candidates, generator)]
        apart = (norms[:, None] + some.square().sum(1) - 2 * sample @ some.T).clamp(min=0)
        nearer = apart.minimum(distance[:, None])
        best = nearer.sum(0).argmin()
        chosen, distance = torch.cat([chosen, some[best][None]]), nearer[:, best]
    return chosen


def _far(distance: Tensor, count: int, generator: torch.Generator | None) -> Tensor:
    """Indices (count,) of rows, drawn in proportion to their squared distance (M,) to a centre."""
    edges = distance.cpu().double().cumsum(0)
    draws = torch.rand(count, dtype=torch.float64, generator=generator) * edges[-1]
    return torch.searchsorted(edges, draws).clamp(max=len(edges) - 1).to(distance.device)


def _shaken(centres: Tensor, sample: Tensor, generator: torch.Generator | None) -> Tensor:
    """Centres with noise of a thousandth of the vectors' standard deviation."""
    return centres + 1e-3 * sample.std() * torch.randn(centres.shape, generator=generator).to(centres)

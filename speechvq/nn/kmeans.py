"""k-means by Lloyd's algorithm."""

import torch
from torch import Tensor


def nearest(vectors: Tensor, table: Tensor) -> Tensor:
    """The index of the nearest row of table (K, D) for each row of vectors (M, D), by Euclidean distance.

    The vectors' own norms are left out: they do not change the order.
    """
    return torch.addmm(table.square().sum(1), vectors, table.T, alpha=-2).argmin(1)


def kmeans(vectors: Tensor, clusters: int, iterations: int = 10) -> Tensor:
    """Lloyd's algorithm from a random start among the vectors (M, D) -> centres (K, D).

    With fewer vectors than clusters the rest are copies with a little noise, so that no two are equal.
    An empty cluster keeps its centre.
    """
    picks = torch.randperm(len(vectors), device=vectors.device)
    picks = picks.repeat(-(-clusters // len(picks)))[:clusters]
    centres = vectors[picks].clone()
    centres += 1e-3 * vectors.std() * torch.randn_like(centres)
    for _ in range(iterations):
        sums, counts = assign(vectors, nearest(vectors, centres), clusters)
        centres = torch.where(counts[:, None] > 0, sums / counts[:, None].clamp(min=1), centres)
    return centres


def assign(vectors: Tensor, codes: Tensor, clusters: int) -> tuple[Tensor, Tensor]:
    """Sum (K, D) and number (K,) of the vectors (M, D) given to each code (M,)."""
    sums = torch.zeros(clusters, vectors.shape[1], device=vectors.device).index_add_(0, codes, vectors)
    return sums, torch.bincount(codes, minlength=clusters).to(vectors.dtype)

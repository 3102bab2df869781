"""Codes that change less often: of all sequences of codes the one of least distance plus a penalty for each change.

This is the duration-penalised search of Kamper and van Niekerk 2021 (Towards unsupervised phone and word segmentation
using self-supervised vector-quantized neural networks), with the same price for every change.
"""

from array import array
from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor

from speechvq.nn.bottleneck.contract import Discrete

DECISION_DELAY = 50  # codes: a code is decided when this many more are known
BLOCK_LATENTS = 256  # whose distances to all codes are computed at a time


def penalized_codes(bottleneck: Discrete, latents: Iterable[Tensor], penalty: float) -> Tensor:
    """The codes (N,) of an utterance's latents, with a penalty for each change of code.

    latents: pieces (1, D, N') of the utterance; the codes do not depend on how it is cut.
    penalty: per change, in squared distances (`Discrete.distances`).
    """
    search, codes = Viterbi(penalty), array("q")  # one array, as in `Codec`
    for piece in latents:
        for block in piece.split(BLOCK_LATENTS, 2):
            codes.frombytes(search.push(bottleneck.distances(block)[0].cpu().numpy()).tobytes())
    codes.frombytes(search.finish().tobytes())
    return torch.from_numpy(np.array(codes))


def penalized_paths(distances: Tensor, penalty: Tensor) -> Tensor:
    """The codes (B, N) of least cost of crops that are known as a whole, all side by side, for training.

    distances: (B, N, K), of each latent to each code.
    penalty: (B,), per change.
    """
    limit, rows = penalty[:, None], torch.arange(len(distances), device=distances.device)
    cost = distances[:, 0]
    same, best = [], [cost.argmin(1)]
    for here in distances.unbind(1)[1:]:
        excess = cost - cost.amin(1, keepdim=True)
        same.append(excess <= limit)
        cost = here + excess.minimum(limit)
        best.append(cost.argmin(1))
    codes = [best.pop()]
    while best:
        codes.append(torch.where(same.pop()[rows, codes[-1]], codes[-1], best.pop()))
    return torch.stack(codes[::-1], 1)


class Viterbi:
    """Finds the codes of least cost, as their distances arrive; each is decided `delay` codes later.

    The cheapest way to a code comes from the same code, or, with the penalty, from the code that was cheapest before:
    a step costs as much as there are codes, K, not K squared.
    penalty: cost of a change of code.
    delay: number of codes; what comes later does not change a decision, so that a stream gets the codes of the whole.
    """

    def __init__(self, penalty: float, delay: int = DECISION_DELAY) -> None:
        self.penalty, self.delay = np.float32(penalty), delay
        self._excess = np.zeros(0, np.float32)  # (K,), cost of the cheapest way to each code above that of the best
        # Of the codes that are not decided: whether the way to each code comes from the same one, and the best code.
        self._same: list[np.ndarray] = []
        self._best: list[int] = []

    def push(self, distances: np.ndarray) -> np.ndarray:
        """distances (N, K) of further latents -> the codes (M,) int64 that are decided by now and were not before."""
        for row in distances:
            excess = self._excess if len(self._excess) else np.zeros_like(row)
            cost = row + np.minimum(excess, self.penalty)
            best = int(cost.argmin())
            self._same.append(excess <= self.penalty)
            self._best.append(best)
            self._excess = cost - cost[best]
        count = max(len(self._best) - self.delay, 0)
        codes = self._trace(np.arange(self.delay, self.delay + count), self.delay)[-1]
        del self._same[:count], self._best[:count]
        return codes

    def finish(self) -> np.ndarray:
        """The codes that are not decided yet, at the end of the utterance."""
        count = len(self._best)
        if not count:
            return np.zeros(0, np.int64)
        codes = np.concatenate(self._trace(np.array([count - 1]), count - 1)[::-1])
        self._same, self._best, self._excess = [], [], np.zeros(0, np.float32)
        return codes

    def _trace(self, ends: np.ndarray, steps: int) -> list[np.ndarray]:
        """The codes on the cheapest ways that end at `ends` (M,): (M,) each, at the end, and 1 to `steps` before it."""
        if not len(ends):
            return [np.zeros(0, np.int64)]
        same, best = np.array(self._same), np.array(self._best, np.int64)
        codes = [best[ends]]
        for step in range(steps):
            now = ends - step
            codes.append(np.where(same[now, codes[-1]], codes[-1], best[now - 1]))
        return codes

"""A linear probe: of how many frames a linear classifier of vectors predicts the phone, fitted on other speakers.

The phones that it reads are in the vectors, whatever codes are made of them. Multinomial logistic regression by L-BFGS.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from speechvq.evaluate.metrics.resampling import Resampling, Share

PROBE_FRAMES = 100_000  # at most, drawn at random; more frames change little
ITERATIONS = 40  # of L-BFGS, after which nothing is gained on other speakers
RIDGE = 1e-3  # weight of the squared coefficients; without it, hundreds of dimensions fit their speakers
NEGLIGIBLE = 1e-6  # of the largest variance of standardised dimensions; directions with less are left out


@dataclass(frozen=True)
class ProbeScore:
    """How well a linear classifier predicts phones.

    dimensions: of the vectors
    fitted_frames, scored_frames: numbers of frames
    fitted: share of the fitting frames that it predicts
    held_out: share of the frames of the other speakers
    """

    dimensions: int
    fitted_frames: int
    scored_frames: int
    fitted: float
    held_out: Share


def linear_probe(
    vectors: np.ndarray, phones: np.ndarray, speakers: np.ndarray, fitted: np.ndarray, seed: int = 0
) -> ProbeScore:
    """Fit a linear classifier of phones on some frames, and score it on the others.

    vectors: (M, D), of any float type
    phones: (M,), from 0
    speakers: (M,), the speaker of each frame, as anything that can be sorted
    fitted: (M,), whether the classifier may be fitted on the frame; there is at least one such frame, and one other
    seed: of the drawing of frames and of the resampling of speakers
    """
    random = np.random.default_rng(seed)
    fit, scored = np.flatnonzero(fitted), np.flatnonzero(~fitted)
    if len(fit) > PROBE_FRAMES:
        fit = np.sort(random.choice(fit, PROBE_FRAMES, replace=False))
    rows, others = (torch.from_numpy(vectors[some].astype(np.float32)) for some in (fit, scored))
    classes = torch.from_numpy(phones[fit])
    mean, matrix = whitening(rows)
    rows, others = (rows - mean) @ matrix, (others - mean) @ matrix
    weight, bias = logistic_regression(rows, classes, int(phones.max()) + 1)
    right = ((others @ weight + bias).argmax(1).numpy() == phones[scored]).astype(int)
    ids = np.unique(speakers[scored], return_inverse=True)[1]
    return ProbeScore(
        dimensions=vectors.shape[1],
        fitted_frames=len(fit),
        scored_frames=len(scored),
        fitted=float(((rows @ weight + bias).argmax(1) == classes).double().mean()),
        held_out=Resampling(ids.max() + 1, random).share(np.bincount(ids, right), np.bincount(ids)),
    )


def whitening(rows: Tensor) -> tuple[Tensor, Tensor]:
    """The mean (D,) of rows (M, D), and a matrix (D, D') such that (rows - mean) @ matrix has covariance 1.

    So the penalty of the coefficients, and with it the result, does not depend on the scale of the dimensions.
    """
    std, mean = torch.std_mean(rows, 0, correction=0)
    std = torch.where(std > 0, std, 1).double()
    covariance = torch.cov(((rows - mean) / std.float()).T, correction=0).double().reshape(len(std), -1)
    variance, directions = torch.linalg.eigh(covariance)
    kept = variance > NEGLIGIBLE * variance.max()
    return mean, (directions[:, kept] / variance[kept].sqrt() / std[:, None]).float()


def logistic_regression(rows: Tensor, classes: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Multinomial logistic regression of classes (M,), from 0 to count - 1, on rows (M, D) -> weight (D, count), bias
    (count,)."""
    weight = torch.zeros(rows.shape[1], count, requires_grad=True)
    bias = torch.zeros(count, requires_grad=True)
    optimizer = torch.optim.LBFGS([weight, bias], max_iter=ITERATIONS, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        value = F.cross_entropy(rows @ weight + bias, classes) + RIDGE * weight.square().sum()
        value.backward()
        return value

    with torch.enable_grad():
        optimizer.step(loss)
    return weight.detach(), bias.detach()

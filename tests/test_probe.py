"""The linear probe: data with a known answer, scikit-learn's classifier, and what it must not see."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from speechvq.evaluate.metrics.probe import RIDGE, linear_probe, logistic_regression, whitening

CLASSES = 5


def mixture(frames: int = 2000, dimensions: int = 8, spread: float = 0.05) -> tuple[np.ndarray, np.ndarray]:
    """Vectors around the centres of their classes."""
    random = np.random.default_rng(0)
    classes = random.integers(CLASSES, size=frames)
    centres = random.standard_normal((CLASSES, dimensions))
    return centres[classes] + spread * random.standard_normal((frames, dimensions)), classes


def probe(vectors: np.ndarray, classes: np.ndarray):
    speakers = np.array(list("abcd"))[np.arange(len(classes)) % 4]
    return linear_probe(vectors, classes, speakers, np.isin(speakers, ["a", "b"]))


def test_separable_classes_are_read():
    result = probe(*mixture())
    assert result.fitted == result.held_out.value == result.held_out.low == result.held_out.high == 1
    assert (result.dimensions, result.fitted_frames, result.scored_frames) == (8, 1000, 1000)


def test_what_is_not_linear_is_not_read():
    """The product of two signs: half of the frames, as by chance."""
    random = np.random.default_rng(1)
    vectors = random.standard_normal((4000, 2))
    classes = (vectors[:, 0] * vectors[:, 1] > 0).astype(int)
    assert probe(vectors, classes).held_out.value == pytest.approx(0.5, abs=0.06)
    assert probe(vectors[:, :1], (vectors[:, 0] > 0).astype(int)).held_out.value > 0.98


def test_the_scored_speakers_are_not_fitted_on():
    """Their classes are others: all that is learned is wrong for them."""
    vectors, classes = mixture()
    scored = np.arange(len(classes)) % 4 > 1
    result = probe(vectors, np.where(scored, (classes + 1) % CLASSES, classes))
    assert result.fitted == 1
    assert result.held_out.value == 0


def test_scale_and_constant_dimensions_do_not_matter():
    vectors, classes = mixture(spread=1.0)
    first = probe(vectors, classes)
    assert 0.4 < first.held_out.value < 0.95
    other = np.concatenate([vectors * 10.0 ** np.arange(-3, 5), np.full((len(vectors), 1), 7.0)], 1)
    assert probe(other, classes).held_out.value == pytest.approx(first.held_out.value, abs=0.01)
    assert probe(vectors.astype(np.float16), classes).held_out.value == pytest.approx(first.held_out.value, abs=0.01)
    assert probe(vectors, classes) == first  # the same again


def test_whitening_gives_the_identity():
    rows = torch.from_numpy(mixture(spread=1.0)[0]).float() @ torch.diag(10.0 ** torch.arange(-2, 6))
    mean, matrix = whitening(rows)
    torch.testing.assert_close(torch.cov(((rows - mean) @ matrix).T, correction=0), torch.eye(matrix.shape[1]))


def test_it_is_scikit_learns_logistic_regression():
    """Both minimise mean cross-entropy and a square penalty, so that their probabilities agree."""
    vectors, classes = mixture(spread=1.0)
    rows = torch.from_numpy(vectors).float()
    weight, bias = logistic_regression(rows, torch.from_numpy(classes), CLASSES)
    theirs = LogisticRegression(C=1 / (2 * RIDGE * len(rows)), tol=1e-8, max_iter=1000).fit(vectors, classes)
    found = torch.softmax(rows @ weight + bias, 1).numpy()
    assert np.abs(found - theirs.predict_proba(vectors)).max() < 0.01


def test_at_most_100_000_frames_are_fitted_on():
    vectors, classes = mixture(frames=130_000, dimensions=3)
    fitted = np.arange(len(classes)) < 120_000
    result = linear_probe(vectors, classes, fitted.astype(int), fitted)
    assert (result.fitted_frames, result.scored_frames) == (100_000, 10_000)
    assert result.held_out.value > 0.9

"""k-means against brute force and scikit-learn, of batches and of memory maps."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.cluster import KMeans
from torch import Tensor

from speechvq.nn import kmeans as module
from speechvq.nn.kmeans import Rows, assign, kmeans, nearest, sums_and_counts


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def blobs(clusters: int, width: int, spread: float, rows: int = 4000) -> np.ndarray:
    """Vectors around centres that are some `spread` standard deviations apart."""
    random = np.random.default_rng(clusters)
    centres = spread * random.standard_normal((clusters, width))
    return (centres[random.integers(clusters, size=rows)] + random.standard_normal((rows, width))).astype(np.float32)


def inertia(rows: np.ndarray, centres: Tensor) -> float:
    """By brute force in float64."""
    distances = ((rows[:, None].astype(float) - centres.double().numpy()) ** 2).sum(-1)
    return distances.min(1).sum()


@settings(deadline=None, max_examples=60)
@given(
    st.integers(1, 40), st.integers(1, 30), st.integers(1, 16), st.floats(0.01, 100), st.floats(0, 30), st.integers(0)
)
def test_nearest_against_brute_force(count, codes, width, scale, offset, seed):
    random = np.random.default_rng(seed)
    vectors = (scale * random.standard_normal((count, width)) + offset).astype(np.float32)
    table = (scale * random.standard_normal((codes, width)) + offset).astype(np.float32)
    distances = ((vectors[:, None].astype(float) - table) ** 2).sum(-1)
    chosen = nearest(torch.from_numpy(vectors), torch.from_numpy(table)).numpy()
    # Only a near tie may be decided otherwise: float32 rounds the squared norms that are subtracted.
    slack = 1e-6 * (np.square(vectors).sum(1) + np.square(table).sum(1).max()) * width
    assert (distances[np.arange(count), chosen] <= distances.min(1) + slack).all()


def test_sums_and_counts_against_numpy():
    vectors, codes = torch.randn(50, 3), torch.randint(6, (50,))
    hot = np.eye(7)[codes]
    sums, counts = sums_and_counts(vectors, codes, 7)
    np.testing.assert_allclose(sums, hot.T @ vectors.numpy(), atol=1e-5)
    assert counts.tolist() == hot.sum(0).tolist()


@pytest.mark.parametrize(("clusters", "width", "spread"), [(10, 8, 6.0), (30, 32, 3.0), (12, 64, 0.5)])
def test_as_good_as_scikit_learn(clusters, width, spread):
    """One start of either can miss a blob: the best of three, as both would be used where it matters."""
    rows = blobs(clusters, width, spread)
    ours = min(
        inertia(rows, kmeans(rows, clusters, init="k-means++", iterations=50, generator=seeded(i))) for i in range(3)
    )
    assert ours < 1.05 * KMeans(clusters, n_init=3, random_state=0).fit(rows).inertia_


@pytest.mark.parametrize("init", ["random", "k-means++"])
@settings(deadline=None, max_examples=30)
@given(rows=st.integers(2, 60), values=st.integers(2, 30), clusters=st.integers(1, 20), seed=st.integers(0, 2**32))
def test_inertia_never_rises(init, rows, values, clusters, seed):
    """Also not where many vectors are equal, so that clusters become empty and go elsewhere."""
    vectors = np.random.default_rng(seed).integers(values, size=(rows, 2)).astype(np.float32)
    found = [
        inertia(vectors, kmeans(vectors, clusters, init=init, iterations=n, generator=seeded(seed))) for n in range(8)
    ]
    assert all(after <= before * (1 + 1e-5) + 1e-5 for before, after in pairwise(found))


@pytest.mark.parametrize("init", ["random", "k-means++"])
def test_centres_are_the_means_of_their_vectors(init):
    vectors = torch.randn(200, 3, generator=seeded())
    centres = kmeans(vectors, 8, init=init, iterations=100, generator=seeded())
    codes = assign(vectors, centres)
    means = torch.stack([vectors[codes == code].mean(0) for code in range(8)])
    torch.testing.assert_close(centres, means, rtol=1e-4, atol=1e-5)
    assert torch.equal(centres, kmeans(vectors, 8, init=init, iterations=101, generator=seeded()))  # it has ended


@pytest.mark.parametrize("init", ["random", "k-means++"])
def test_of_few_vectors_no_two_centres_are_equal(init):
    assert len(kmeans(torch.randn(3, 3), 8, init=init).unique(dim=0)) == 8


def test_empty_clusters_come_back():
    """Most centres start in one point; only where each of ten has a point of its own is none of them empty."""
    vectors = np.append(np.zeros(200), 10 * np.arange(1, 10)).astype(np.float32)[:, None]
    for seed in range(10):
        assert inertia(vectors, kmeans(vectors, 10, iterations=100, generator=seeded(seed))) < 1e-3


def corpora(rows: np.ndarray, folder) -> list[Rows]:
    """The same vectors in memory, and on a disk."""
    path = folder / "rows.npy"
    np.save(path, rows)
    return [torch.from_numpy(rows), rows, np.load(path, mmap_mode="r")]


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize("init", ["random", "k-means++"])
def test_a_corpus_on_a_disk_is_a_tensor_in_memory(tmp_path, monkeypatch, dtype, init):
    monkeypatch.setattr(module, "BLOCK_ROWS", 300)
    monkeypatch.setattr(module, "SAMPLE_ROWS", 1000)
    rows = blobs(5, 4, 8.0).astype(dtype)
    found = [kmeans(each, 5, init=init, generator=seeded(3)) for each in corpora(rows, tmp_path)]
    codes = [assign(each, found[0]) for each in corpora(rows, tmp_path)]
    assert all(torch.equal(found[0], other) for other in found)
    assert all(torch.equal(codes[0], other) for other in codes)
    assert (found[0].dtype, codes[0].dtype, codes[0].shape) == (torch.float32, torch.int64, (4000,))


def test_blocks_make_no_difference(monkeypatch):
    rows = blobs(5, 4, 8.0)
    whole = kmeans(rows, 5, init="k-means++", generator=seeded())
    monkeypatch.setattr(module, "BLOCK_ROWS", 77)
    torch.testing.assert_close(kmeans(rows, 5, init="k-means++", generator=seeded()), whole, atol=1e-4, rtol=1e-5)


def test_the_seed_is_all_there_is_to_chance():
    rows = blobs(20, 4, 1.0)
    torch.manual_seed(1)
    one = kmeans(rows, 9, generator=seeded(5))
    torch.manual_seed(2)
    assert torch.equal(one, kmeans(rows, 9, generator=seeded(5)))
    assert not torch.equal(one, kmeans(rows, 9, generator=seeded(6)))


def test_no_rows_have_no_codes():
    assert assign(np.empty((0, 3)), torch.zeros(2, 3)).shape == (0,)

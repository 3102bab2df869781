"""The prior in integers: near the float network, and the same however it is computed."""

import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from test_prior import make

from speechvq import SpeechVQError
from speechvq.coding.integer_prior import MAX_SUM, IntegerPrior, exponential_table, gate_tables

CODES = np.random.default_rng(0).integers(0, 12, (3, 60))


@pytest.fixture(scope="module")
def exact() -> IntegerPrior:
    return IntegerPrior(make(seed=5))


def test_tables_are_the_functions():
    tanh, sigmoid = gate_tables()
    x = np.arange(-8 * 1024, 8 * 1024 + 1) / 1024
    assert np.abs(tanh / 2**15 - np.tanh(x)).max() <= 2**-16 * (1 + 1e-9)
    assert np.abs(sigmoid / 2**15 - 1 / (1 + np.exp(-x))).max() <= 2**-16 * (1 + 1e-9)
    y = np.arange(17 * 1024 + 1) / 1024
    assert np.abs(exponential_table() - np.exp(-y) * 2**24).max() <= 0.5 * (1 + 1e-6)


def test_near_the_float_network(exact):
    prior = make(seed=5)
    with torch.inference_mode():
        logits = prior.logits(torch.from_numpy(CODES), torch.full((3,), prior.unknown_speaker))
        expected = torch.log_softmax(logits.double(), -1)
    weights = exact.step(CODES, exact.start(3))
    assert weights.shape == (3, 60, 12)
    assert np.abs(np.log(weights / weights.sum(-1, keepdims=True)) - expected.numpy()[..., :12]).max() < 0.01


def test_integers_that_do_not_depend_on_batches_and_steps(exact):
    whole = exact.step(CODES, exact.start(3))
    assert (whole == np.round(whole)).all()
    assert whole.min() >= 1
    assert whole.max() == 2**24
    alone = exact.step(CODES[1:2], exact.start(1))
    assert np.array_equal(alone[0], whole[1])
    state = exact.start(3)
    parts = [exact.step(CODES[:, i : i + n], state) for i, n in ((0, 1), (1, 1), (2, 30), (32, 5), (37, 23))]
    assert np.array_equal(np.concatenate(parts, 1), whole)


def test_the_order_of_sums_does_not_matter(exact):
    """The same network with its channels, and so the terms of every sum, in another order."""
    prior = make(seed=5)
    order = torch.randperm(16)
    with torch.no_grad():
        for layer in prior.net.stack:
            layer.out.weight[:] = layer.out.weight[:, order]
            both = torch.cat([order, order + 16])
            layer.taps.weight[:], layer.taps.bias[:] = layer.taps.weight[both], layer.taps.bias[both]
        wide = prior.net.speaker.weight.view(len(prior.net.stack), 32, -1)
        wide[:] = wide[:, both]
    assert np.array_equal(IntegerPrior(prior).step(CODES, exact.start(3)), exact.step(CODES, exact.start(3)))


@pytest.mark.parametrize("threads", ["1", "2"])
def test_the_same_in_a_new_process_on_any_threads(exact, threads):
    code = (
        "import numpy as np\nfrom test_integer_prior import CODES\nfrom test_prior import make\n"
        "from speechvq.coding.integer_prior import IntegerPrior\nexact = IntegerPrior(make(seed=5))\n"
        "print(np.concatenate([exact.step(row[None], exact.start(1)) for row in CODES]).astype(int).tolist())"
    )
    limits = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "OPENBLAS_CORETYPE"), threads)
    limits["OPENBLAS_CORETYPE"] = "Prescott" if threads == "1" else "Haswell"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True,
        env={**os.environ, **limits}, cwd=Path(__file__).parent,
    )  # fmt: skip
    assert eval(done.stdout) == exact.step(CODES, exact.start(3)).astype(int).tolist()


def test_the_prior_is_used_without_a_speaker():
    prior = make(seed=5)
    before = IntegerPrior(prior).step(CODES, IntegerPrior(prior).start(3))
    with torch.no_grad():
        prior.speakers.weight[0] += 1
    assert np.array_equal(IntegerPrior(prior).step(CODES, IntegerPrior(prior).start(3)), before)
    with torch.no_grad():
        prior.speakers.weight[prior.unknown_speaker] += 1
    assert not np.array_equal(IntegerPrior(prior).step(CODES, IntegerPrior(prior).start(3)), before)


@pytest.mark.parametrize("factor", [1e9, math.nan])
def test_weights_too_large_for_exact_sums_are_refused(factor):
    prior = make()
    with torch.no_grad():
        prior.net.head[1].weight *= factor
    with pytest.raises(SpeechVQError, match="too large for exact coding"):
        IntegerPrior(prior)


def test_sums_stay_below_the_limit(exact):
    """With every activation at its maximum."""
    for taps, out in exact.layers:
        for weight, bias in (taps, out):
            assert (np.abs(weight).sum(0) * 2**20 + np.abs(bias) < MAX_SUM).all()
            assert (weight == np.round(weight)).all()
            assert (bias == np.round(bias)).all()

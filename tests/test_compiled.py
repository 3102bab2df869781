"""The compiled engine against the module it was packed from."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from speechvq.compiled import BLOCK, CompiledWaveNet, _add_matvec, _pack, _tanh, bfloat16_pairs
from speechvq.config import WaveNetConfig
from speechvq.sampler import Sampling, sample, uniform
from speechvq.wavenet import WaveNet

SHAPES = [
    WaveNetConfig(cycles=1, layers=1, residual=1, gate=1, skip=1),
    WaveNetConfig(cycles=2, layers=4, residual=16, gate=16, skip=32),
    WaveNetConfig(cycles=1, layers=5, residual=33, gate=7, skip=50, kernel=3),
    WaveNetConfig(cycles=3, layers=3, residual=10, gate=40, skip=3, kernel=4),
]


def loud(config: WaveNetConfig, classes: int) -> WaveNet:
    """A WaveNet whose predictions are far from even, so that a wrong logit draws a wrong class."""
    torch.manual_seed(0)
    net = WaveNet(config, classes, 6, 3).requires_grad_(False)
    net.head[3].weight.mul_(8)
    return net


def inputs(net: WaveNet, batch: int, frames: int, steps: int):
    table = net.table(torch.randn(batch, 6, frames), torch.randn(batch, 3)) * 4
    return torch.zeros(batch, dtype=torch.int64), steps, table, uniform(1, range(batch), steps)


@pytest.mark.parametrize("config", SHAPES)
@pytest.mark.parametrize("classes", [5, 256])
def test_draws_and_state_are_the_modules(config, classes):
    net = loud(config, classes)
    arguments = inputs(net, 3, 5, 5 * 40)
    results, states = [], []
    for engine in ("torch", "compiled"):
        states.append(net.start(3))
        results.append(sample(net, *arguments, Sampling(engine=engine), states[-1]))
    assert torch.equal(*results)
    assert len(results[0].unique()) > 2
    assert states[0].time == states[1].time == 200
    for one, other in zip(states[0].rings, states[1].rings, strict=True):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("temperature", [0.0, 0.5, 2.0])
def test_temperature(temperature):
    net = loud(SHAPES[1], 64)
    arguments = inputs(net, 2, 2, 100)
    first, second = (sample(net, *arguments, Sampling(temperature, engine=e)) for e in ("torch", "compiled"))
    assert torch.equal(first, second)


def test_an_utterance_does_not_depend_on_company_or_threads():
    net = loud(SHAPES[1], 256)
    first, steps, table, chances = inputs(net, 4, 3, 300)
    together = sample(net, first, steps, table, chances, Sampling())
    before = torch.get_num_threads()
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            assert torch.equal(sample(net, first, steps, table, chances, Sampling()), together)
    finally:
        torch.set_num_threads(before)
    for i in range(4):
        alone = sample(net, first[i : i + 1], steps, table[:, :, i : i + 1], chances[i : i + 1], Sampling())
        assert torch.equal(alone[0], together[i])


def test_going_on_is_going_through():
    net = loud(SHAPES[2], 256)
    first, steps, table, chances = inputs(net, 2, 4, 200)
    whole = sample(net, first, steps, table, chances, Sampling(engine="compiled"))
    state = net.start(2)
    begin = sample(net, first, 100, table[:, :2], chances[:, :100], Sampling(engine="compiled"), state)
    rest = sample(net, begin[:, -1], 100, table[:, 2:], chances[:, 100:], Sampling(engine="compiled"), state)
    assert torch.equal(torch.cat([begin, rest], 1), whole)


@pytest.mark.parametrize("config", SHAPES)
def test_logits_are_the_forward_pass(config):
    net = loud(config, 256)
    steps = -(-2 * net.receptive_field // 5) * 5
    table = net.table(torch.randn(1, 6, 5), torch.randn(1, 3)) * 4
    given = torch.randint(256, (1, steps))
    expected = net(given, table)[0].numpy()
    arguments = (given[0].numpy(), table[:, :, 0].numpy(), steps // 5)
    np.testing.assert_allclose(CompiledWaveNet(net).logits(*arguments), expected, atol=1e-4)
    short = CompiledWaveNet(net, "bfloat16").logits(*arguments)
    assert 1e-6 < np.abs(short - expected).max() < 0.05 * np.abs(expected).max()


def test_sampling_with_bfloat16_weights_is_another_but_like_sample():
    net = loud(SHAPES[1], 64)
    arguments = inputs(net, 2, 2, 400)
    exact, short = (sample(net, *arguments, Sampling(weights=kind)) for kind in ("float32", "bfloat16"))
    assert torch.equal(exact[:, :5], short[:, :5])  # too few steps for a rounding to change a draw
    assert not torch.equal(exact, short)


def test_bfloat16_pairs_are_nearest():
    """The even half is rounded to the nearest bfloat16, the odd one to the nearest word with that tail."""
    weight = np.random.default_rng(0).standard_normal((1, 2000, BLOCK)).astype(np.float32)
    words = bfloat16_pairs(weight)
    even, odd = (words << 16).view(np.float32), words.view(np.float32)
    nearest = torch.from_numpy(weight[:, 0::2]).bfloat16().float().numpy()
    assert (even == nearest).mean() > 0.999  # ties are rounded away from zero, not to even
    # Within half a step of bfloat16, whatever the tail: 2^-8 of the value and a rounding error.
    assert (np.abs(odd / weight[:, 1::2] - 1) <= 2.0**-8 + 1e-6).all()


@pytest.mark.parametrize("shape", [(1, 1), (31, 7), (32, 8), (97, 130)])
def test_packed_product_is_the_linear_layer(shape):
    torch.manual_seed(0)
    linear = torch.nn.Linear(shape[1], shape[0])
    weight, bias = _pack(linear, pairs=False)
    x = torch.randn(shape[1])
    out, padded = bias.copy(), np.zeros(weight.shape[1], np.float32)
    padded[: shape[1]] = x.numpy()
    assert len(out) % BLOCK == 0
    product(weight, padded, out)
    np.testing.assert_allclose(out[: shape[0]], linear(x).detach().numpy(), rtol=1e-5, atol=1e-5)


def test_tanh_is_close():
    x = np.linspace(-20, 20, 20_001, dtype=np.float32)
    np.testing.assert_allclose(np.array([_tanh.py_func(v) for v in x]), np.tanh(x.astype(np.float64)), atol=4e-7)


def test_a_processor_without_vectors_gives_the_same(tmp_path):
    """LLVM told of a plain processor makes the same kernels from scalar or SSE instructions."""
    code = (
        "import sys, torch; sys.path.insert(0, sys.argv[1])\n"
        "from tests.test_compiled import SHAPES, inputs, loud\n"
        "from speechvq.sampler import Sampling, sample\n"
        "net = loud(SHAPES[1], 256)\n"
        "print(sample(net, *inputs(net, 2, 2, 200), Sampling(engine='compiled')).tolist())"
    )
    root = str(Path(__file__).resolve().parents[1])
    plain = os.environ | {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": "", "NUMBA_CACHE_DIR": str(tmp_path)}
    outputs = [
        subprocess.run([sys.executable, "-c", code, root], env=env, capture_output=True, text=True, check=True)
        for env in (dict(os.environ), plain)
    ]
    assert outputs[0].stdout == outputs[1].stdout
    assert len(outputs[0].stdout) > 400
    assert "compiling" in outputs[1].stderr  # it says so, where the cache has nothing


def product(weight, x, out):
    """`_add_matvec` can only be called from compiled code."""
    from numba import njit

    @njit
    def call(w, v, o):
        _add_matvec(w, v, o)

    call(weight, x, out)

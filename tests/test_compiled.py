"""The compiled engine against the module it was packed from."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from numba.core.errors import TypingError

from speechvq.config import WaveNetConfig
from speechvq.wavenet.compiled import CompiledWaveNet, bfloat16_pairs, pack
from speechvq.wavenet.kernels import _exponentials
from speechvq.wavenet.net import WaveNet
from speechvq.wavenet.sampler import Sampler, Sampling, chances
from speechvq.wavenet.simd import LANES, add_product, gate

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
    chance = torch.from_numpy(np.stack([chances(2, i).random(steps) for i in range(batch)]))
    return torch.zeros(batch, dtype=torch.int64), chance, table


def sample(net: WaveNet, first, chance, table, sampling: Sampling, state=None):
    return Sampler(net, sampling).sample(first, chance, table, state or net.start(len(first)))


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


@pytest.mark.parametrize(("top_k", "top_p"), [(0, 0.0), (0, 0.5), (5, 1.0), (5, 0.7), (1, 1.0)])
def test_truncation(top_k, top_p):
    net = loud(SHAPES[1], 40)
    arguments = inputs(net, 3, 4, 120)
    how = {"top_k": top_k, "top_p": top_p}
    first, second = (sample(net, *arguments, Sampling(2.0, engine=e, **how)) for e in ("torch", "compiled"))
    assert torch.equal(first, second)
    assert not torch.equal(first, sample(net, *arguments, Sampling(2.0, engine="torch")))


@pytest.mark.parametrize("temperature", [0.0, 0.5, 2.0])
def test_temperature(temperature):
    net = loud(SHAPES[1], 64)
    arguments = inputs(net, 2, 2, 100)
    first, second = (sample(net, *arguments, Sampling(temperature, engine=e)) for e in ("torch", "compiled"))
    assert torch.equal(first, second)


@pytest.mark.parametrize("config", SHAPES)
@pytest.mark.parametrize("weights", ["float32", "bfloat16"])
def test_an_utterance_does_not_depend_on_company_or_threads(config, weights):
    """To the last bit of the state: kernels of one row and of six add up in the same order."""
    net = loud(config, 256)
    first, chance, table = inputs(net, 9, 3, 120)
    sampling, state = Sampling(weights=weights), net.start(9)
    together = sample(net, first, chance, table, sampling, state)
    before = torch.get_num_threads()
    try:
        for threads in (1, 4):
            torch.set_num_threads(threads)
            assert torch.equal(sample(net, first, chance, table, sampling), together)
    finally:
        torch.set_num_threads(before)
    for i in range(9):
        own = net.start(1)
        alone = sample(net, first[i : i + 1], chance[i : i + 1], table[:, :, i : i + 1], sampling, own)
        assert torch.equal(alone[0], together[i])
        assert all(torch.equal(a[:, 0], b[:, i]) for a, b in zip(own.rings, state.rings, strict=True))


@pytest.mark.parametrize("config", SHAPES)
def test_going_on_is_going_through(config):
    net = loud(config, 256)
    first, chance, table = inputs(net, 2, 6, 240)
    sampling = Sampling(engine="compiled")
    whole = sample(net, first, chance, table, sampling)
    state, drawn = net.start(2), []
    for begin, end in ((0, 1), (1, 4), (4, 6)):
        steps = slice(40 * begin, 40 * end)
        drawn.append(sample(net, first, chance[:, steps], table[:, begin:end], sampling, state))
        first = drawn[-1][:, -1]
    assert torch.equal(torch.cat(drawn, 1), whole)


@pytest.mark.parametrize("config", SHAPES)
@pytest.mark.parametrize("classes", [40, 256])
def test_logits_are_the_forward_pass(config, classes):
    net = loud(config, classes)
    steps = -(-2 * net.receptive_field // 5) * 5
    table = net.table(torch.randn(2, 6, 5), torch.randn(2, 3)) * 4
    given = torch.randint(classes, (2, steps))
    expected = net(given, table).numpy()
    np.testing.assert_allclose(CompiledWaveNet(net).logits(given, table), expected, atol=1e-4)
    short = CompiledWaveNet(net, "bfloat16").logits(given, table)
    assert 1e-6 < np.abs(short - expected).max() < 0.05 * np.abs(expected).max()


def test_sampling_with_bfloat16_weights_is_another_but_like_sample():
    net = loud(SHAPES[1], 64)
    arguments = inputs(net, 2, 2, 400)
    exact, short = (sample(net, *arguments, Sampling(weights=kind)) for kind in ("float32", "bfloat16"))
    assert torch.equal(exact[:, :5], short[:, :5])  # too few steps for a rounding to change a draw
    assert not torch.equal(exact, short)


def test_bfloat16_zeros_beside_anything_stay_zeros():
    """-0.0 beside a negative weight: the tail must not borrow from the sign."""
    weight = np.zeros((1, 4, LANES), np.float32)
    weight[0] = [[-1.0] * LANES, [-0.0] * LANES, [1.0] * LANES, [-1e-42] * LANES]
    odd = bfloat16_pairs(weight).view(np.float32)
    assert np.abs(odd).max() < 1e-38
    assert np.isfinite(odd).all()


def test_classes_outside_the_alphabet_are_refused():
    net = loud(SHAPES[1], 64)
    first, chance, table = inputs(net, 2, 2, 10)
    for wrong in (-1, 64):
        with pytest.raises(ValueError, match="classes are between 0 and 63"):
            sample(net, first + wrong, chance, table, Sampling())


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_a_net_of_other_numbers_is_sampled_in_float32(dtype):
    net = loud(SHAPES[1], 64).to(dtype)
    state = net.start(2)
    first, chance, _ = inputs(loud(SHAPES[1], 64), 2, 2, 100)
    table = torch.zeros(8, 2, 2, 32)
    drawn = sample(net, first, chance, table, Sampling(), state)
    assert torch.equal(drawn, sample(net.float(), first, chance, table, Sampling()))
    assert all(ring.dtype == dtype for ring in state.rings)


def test_bfloat16_pairs_are_nearest():
    """The even half is rounded to the nearest bfloat16, the odd one to the nearest word with that tail."""
    weight = np.random.default_rng(0).standard_normal((1, 2000, LANES)).astype(np.float32)
    words = bfloat16_pairs(weight)
    even, odd = (words << 16).view(np.float32), words.view(np.float32)
    nearest = torch.from_numpy(weight[:, 0::2]).bfloat16().float().numpy()
    assert (even == nearest).mean() > 0.999  # ties are rounded away from zero, not to even
    # Within half a step of bfloat16, whatever the tail: 2^-8 of the value and a rounding error.
    assert (np.abs(odd / weight[:, 1::2] - 1) <= 2.0**-8 + 1e-6).all()


@pytest.mark.parametrize("rows", [1, 2, 3, 4, 5, 6, 7, 13])
@pytest.mark.parametrize("shape", [(1, 1), (31, 7), (64, 8), (97, 130)])
def test_packed_product_is_the_linear_layer(shape, rows):
    torch.manual_seed(0)
    linear = torch.nn.Linear(shape[1], shape[0])
    weight = pack(linear, [shape[0]], [shape[1]], pairs=False)
    x = torch.randn(rows, shape[1])
    out = np.zeros((rows, len(weight) * LANES), np.float32)
    add_product(weight, np.pad(x.numpy(), [(0, 0), (0, weight.shape[1] - shape[1])]), out)
    np.testing.assert_allclose(out[:, : shape[0]] + linear.bias.detach().numpy(), linear(x).detach(), atol=1e-5)
    assert not out[:, shape[0] :].any()


def test_the_kernels_refuse_other_numbers_than_float32():
    weight, x, out = np.zeros((1, 4, LANES), np.float32), np.zeros((1, 4)), np.zeros((1, LANES), np.float32)
    with pytest.raises(TypingError):
        add_product(weight, x, out)


def test_gate_is_close_and_hides_no_nan():
    a = np.linspace(-20, 20, 20_000, dtype=np.float32)
    h, gated = np.concatenate([a, a[::-1]])[None], np.zeros((1, len(a)), np.float32)
    gate(h, gated)
    wide = a.astype(np.float64)
    np.testing.assert_allclose(gated[0], np.tanh(wide) / (1 + np.exp(-wide[::-1])), atol=1e-6)
    gate(np.full((1, 32), np.nan, np.float32), gated[:, :16])
    assert np.isnan(gated[0, :16]).all()


@pytest.mark.parametrize("temperature", [0.3, 1.0, 3.0])
def test_exponentials_are_close_and_nothing_is_possible_that_is_not(temperature):
    logits = np.append(np.linspace(-300, 20, 1_000), [-np.inf, 1.0]).astype(np.float32)
    out = np.zeros(len(logits), np.float32)
    total = _exponentials(logits[None], 0, temperature, out)
    expected = np.exp((logits.astype(np.float64) - 20) / temperature)
    np.testing.assert_allclose(out, expected, rtol=1e-5, atol=1e-36)  # of the exponent's own rounding
    assert total == pytest.approx(expected.sum(), rel=1e-6)
    assert out[-2] == 0


def test_a_processor_without_vectors_gives_the_same(tmp_path):
    """For a plain processor LLVM makes the same kernels from scalar or SSE instructions."""
    code = (
        "import sys, torch; sys.path.insert(0, sys.argv[1])\n"
        "from tests.test_compiled import SHAPES, inputs, loud, sample\n"
        "from speechvq.wavenet.sampler import Sampling\n"
        "net = loud(SHAPES[1], 256)\n"
        "print(sample(net, *inputs(net, 2, 2, 200), Sampling(engine='compiled')).tolist())"
    )
    root = str(Path(__file__).resolve().parents[1])
    plain = os.environ | {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": "", "NUMBA_CACHE_DIR": str(tmp_path)}
    outputs = [
        subprocess.run([sys.executable, "-c", code, root], env=env, capture_output=True, text=True, check=True)
        for env in (dict(os.environ), plain, plain)
    ]
    assert outputs[0].stdout == outputs[1].stdout == outputs[2].stdout
    assert len(outputs[0].stdout) > 400
    assert "compiling" in outputs[1].stderr  # it says so, where the cache has nothing
    assert "compiling" not in outputs[2].stderr  # and keeps the result

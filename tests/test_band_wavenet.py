"""A WaveNet over bands: the mixtures by hand, and the compiled engine against the module."""

import numpy as np
import pytest
import torch

from speechvq import SpeechVQError
from speechvq.config import WaveNetConfig
from speechvq.wavenet.bands import (
    BAND_RANGE,
    GRID_CLASSES,
    MEAN_FACTOR,
    SILENT_CLASS,
    BandWaveNet,
    grid_classes,
    grid_samples,
)
from speechvq.wavenet.compiled import CompiledWaveNet
from speechvq.wavenet.sampler import Sampler, Sampling, chances

SHAPES = [
    (WaveNetConfig(cycles=2, layers=4, residual=16, gate=16, skip=32), 4, 3),
    (WaveNetConfig(cycles=1, layers=5, residual=33, gate=7, skip=50, kernel=3), 2, 1),
    (WaveNetConfig(cycles=1, layers=3, residual=10, gate=20, skip=3), 3, 5),
]
STEPS, FRAMES = 200, 5


def loud(config: WaveNetConfig, bands: int, components: int) -> BandWaveNet:
    """A net whose mixtures differ much from step to step."""
    torch.manual_seed(0)
    net = BandWaveNet(config, bands, components, 6, 2).requires_grad_(False)
    net.head[3].weight.mul_(8)
    return net


def inputs(net: BandWaveNet, batch: int):
    table = net.table(4 * torch.randn(batch, 6, FRAMES))
    chance = torch.from_numpy(np.stack([chances(2, i).random((STEPS, net.bands)) for i in range(batch)]))
    added = net.guided(3 * torch.randn(batch, net.bands, STEPS + 4))
    return torch.full((batch, net.bands), SILENT_CLASS), chance, table, added


def sample(net, first, chance, table, added, sampling, state=None):
    return Sampler(net, sampling).sample(first, chance, table, state or net.start(len(first)), added)


@pytest.mark.parametrize(("config", "bands", "components"), SHAPES)
@pytest.mark.parametrize("temperature", [0.0, 0.5, 1.0])
def test_draws_and_state_are_the_modules(config, bands, components, temperature):
    net = loud(config, bands, components)
    arguments, results, states = inputs(net, 3), [], []
    for engine in ("torch", "compiled"):
        states.append(net.start(3))
        results.append(sample(net, *arguments, Sampling(temperature, engine=engine), states[-1]))
    assert torch.equal(*results)
    assert len(results[0].unique()) > 20
    for one, other in zip(states[0].rings, states[1].rings, strict=True):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(("config", "bands", "components"), SHAPES)
def test_parameters_are_those_of_training(config, bands, components):
    """By the compiled engine, by steps and by whole utterances."""
    net = loud(config, bands, components)
    _, _, table, added = inputs(net, 2)
    classes = torch.randint(GRID_CLASSES, (2, STEPS, bands))
    trained, plain = net(classes, table, added), net.plain(classes, table, added)
    compiled = torch.from_numpy(CompiledWaveNet(net).logits(classes, table, added))
    state = net.start(2)
    steps = [net.step(classes[:, t], table[:, t // 40], state, added[:, t]) for t in range(STEPS)]
    for one in (trained, compiled, torch.stack(steps, 1)):
        torch.testing.assert_close(one, plain, atol=1e-4, rtol=1e-4)


def test_pieces_are_the_whole():
    net = loud(*SHAPES[0])
    first, chance, table, added = inputs(net, 1)
    whole, state, parts = sample(net, first, chance, table, added, Sampling()), net.start(1), []
    for frame in range(FRAMES):
        own = slice(frame * 40, frame * 40 + 40)
        frames = table[:, frame : frame + 1]
        parts.append(sample(net, first, chance[:, own], frames, added[:, own], Sampling(), state))
        first = parts[-1][:, -1]
    assert torch.equal(torch.cat(parts, 1), whole)


def mixture(weights, means, scales) -> torch.Tensor:
    """The outputs of a head (1, 1, 3K) of one band."""
    return torch.tensor([[*np.log(weights), *(np.array(means) / MEAN_FACTOR), *np.log(scales)]])[None].float()


def test_the_likelihoods_of_all_classes_sum_to_one():
    net = BandWaveNet(SHAPES[0][0], 1, 2, 6, 2)
    outputs = mixture([0.3, 0.7], [-2.0, 14.0], [0.5, 2.0]).expand(1, GRID_CLASSES, 6)
    nll = net.nll(outputs, torch.arange(GRID_CLASSES)[None, :, None])
    assert nll.neg().exp().sum().item() == pytest.approx(1, abs=1e-5)


def test_draws_have_the_distribution_of_the_likelihood():
    net = BandWaveNet(SHAPES[0][0], 1, 2, 6, 2)
    outputs = mixture([0.3, 0.7], [-2.0, 3.0], [0.5, 0.2])
    chance = (torch.arange(100_000).double() + 0.5)[:, None] / 100_000
    drawn = net.draw(outputs[0].expand(100_000, 6), chance, 1.0)[:, 0]
    share = torch.bincount(drawn, minlength=GRID_CLASSES) / 100_000
    nll = net.nll(outputs.expand(1, GRID_CLASSES, 6), torch.arange(GRID_CLASSES)[None, :, None])[0, :, 0]
    torch.testing.assert_close(share, nll.neg().exp().detach(), atol=2e-4, rtol=0)


def test_temperature_narrows_and_zero_takes_the_mean():
    net = BandWaveNet(SHAPES[0][0], 1, 2, 6, 2)
    outputs, chance = mixture([0.1, 0.9], [-2.0, 3.0], [0.5, 0.5])[0], torch.rand(2000, 1, dtype=torch.float64)
    spread = [grid_samples(net.draw(outputs.expand(2000, 6), chance, t))[chance > 0.1].std() for t in (0.5, 1.0)]
    assert spread[1] / spread[0] == pytest.approx(2, rel=0.05)
    assert net.draw(outputs, chance[:1], 0.0).item() == grid_classes(torch.tensor(3.0)).item()


def test_the_grid():
    every = torch.arange(GRID_CLASSES)
    assert torch.equal(grid_classes(grid_samples(every)), every)
    assert grid_classes(torch.tensor([-1e9, 0.0, 1e9])).tolist() == [0, SILENT_CLASS, GRID_CLASSES - 1]
    assert grid_samples(torch.tensor(GRID_CLASSES - 1)).item() == pytest.approx(BAND_RANGE)


def test_what_does_not_apply_to_mixtures_is_refused():
    with pytest.raises(SpeechVQError, match="top_k and top_p do not apply"):
        Sampler(loud(*SHAPES[0]), Sampling(top_k=3))

"""The operation for training on a CPU against the modules that compute the same."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from speechvq.config import WaveNetConfig
from speechvq.wavenet.layer_stack import BLOCK_STEPS
from speechvq.wavenet.net import WaveNet
from speechvq.wavenet.sampler import Sampler, Sampling

SHAPES = [
    WaveNetConfig(cycles=2, layers=4, residual=16, gate=32, skip=48),
    WaveNetConfig(cycles=1, layers=9, residual=32, gate=16, skip=16),  # looks back further than a block
    WaveNetConfig(cycles=1, layers=5, residual=48, gate=16, skip=16, kernel=3),
]
CLASSES = 20


def fresh(config: WaveNetConfig) -> WaveNet:
    torch.manual_seed(0)
    return WaveNet(config, CLASSES, 4, 3)


def gradients(net: WaveNet, call, classes: Tensor, frames: Tensor, speaker: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    net.zero_grad()
    frames = frames.clone().requires_grad_()
    logits = call(classes, net.table(frames, speaker))
    F.cross_entropy(logits.flatten(0, 1), classes.roll(-1, 1).flatten()).backward()
    found = {name: p.grad.clone() for name, p in net.named_parameters() if p.grad is not None}
    return logits.detach(), found | {"input": frames.grad}


@pytest.mark.parametrize("config", SHAPES)
@pytest.mark.parametrize("length", [BLOCK_STEPS - 2, 3 * BLOCK_STEPS + 7, 1])
def test_logits_and_gradients_are_the_modules(config, length):
    net, hop = fresh(config), length if length % 5 else length // 5
    inputs = torch.randint(CLASSES, (3, length)), torch.randn(3, 4, length // hop), torch.randn(3, 3)
    logits, mine = gradients(net, net, *inputs)
    expected, theirs = gradients(net, net.plain, *inputs)
    torch.testing.assert_close(logits, expected, atol=1e-5, rtol=1e-5)
    assert mine.keys() == theirs.keys()
    for name, gradient in theirs.items():
        torch.testing.assert_close(mine[name], gradient, atol=1e-5 * float(gradient.abs().max()) + 1e-9, rtol=1e-4)


def test_widths_that_are_no_whole_vectors_take_the_modules():
    net = fresh(WaveNetConfig(cycles=1, layers=3, residual=12, gate=16, skip=16))
    classes = torch.randint(CLASSES, (2, 50))
    assert torch.equal(net(classes), net.plain(classes))


def test_without_conditioning_and_without_gradients():
    net, classes = fresh(SHAPES[0]), torch.randint(CLASSES, (2, 500))
    expected = net.plain(classes)
    torch.testing.assert_close(net(classes), expected, atol=1e-5, rtol=1e-5)
    with torch.inference_mode():
        torch.testing.assert_close(net(classes), expected, atol=1e-5, rtol=1e-5)


def test_other_numbers_than_float32_take_the_modules():
    net, classes = fresh(SHAPES[0]).double(), torch.randint(CLASSES, (2, 50))
    assert torch.equal(net(classes), net.plain(classes))


@pytest.mark.parametrize("shape", [(8, 6, 2, 64), (8, 5, 1, 64), (7, 5, 2, 64), (8, 5, 2, 32), (8, 0, 2, 64)])
def test_a_table_that_does_not_fit_is_refused(shape):
    """The kernels would read and write beside it."""
    net, classes = fresh(SHAPES[0]), torch.randint(CLASSES, (2, 65))
    with pytest.raises(ValueError, match="does not condition 2 utterances of 65 steps"):
        net(classes, torch.zeros(shape))
    sampler = Sampler(net.requires_grad_(False), Sampling())
    with pytest.raises(ValueError, match="does not condition"):
        sampler.sample(classes[:, 0], torch.rand(2, 65, dtype=torch.float64), torch.zeros(shape), net.start(2))


def test_a_table_of_doubles_and_a_frozen_net():
    net, classes = fresh(SHAPES[0]).requires_grad_(False), torch.randint(CLASSES, (2, 60))
    table = net.table(torch.randn(2, 4, 3), torch.randn(2, 3))
    torch.testing.assert_close(net(classes, table.double()), net.plain(classes, table), atol=1e-5, rtol=1e-5)


def test_threads_change_no_logit():
    net, classes = fresh(SHAPES[0]), torch.randint(CLASSES, (5, 300))
    before, results = torch.get_num_threads(), []
    try:
        for threads in (1, 3, 8):
            torch.set_num_threads(threads)
            results.append(gradients(net, net, classes, torch.randn(5, 4, 0).new_ones(5, 4, 3), torch.ones(5, 3)))
    finally:
        torch.set_num_threads(before)
    for logits, found in results[1:]:
        torch.testing.assert_close(logits, results[0][0], atol=1e-6, rtol=0)
        for name, gradient in found.items():
            torch.testing.assert_close(gradient, results[0][1][name], atol=1e-6, rtol=1e-4)


def test_two_networks_at_once_do_not_share_memory():
    one, other = fresh(SHAPES[0]), fresh(SHAPES[0])
    first, second = torch.randint(CLASSES, (2, 2, 300))
    alone = gradients(one, one, first, torch.ones(2, 4, 3), torch.ones(2, 3))[1]
    one.zero_grad()
    tables = [net.table(torch.ones(2, 4, 3), torch.ones(2, 3)) for net in (one, other)]
    losses = [
        F.cross_entropy(net(classes, table).flatten(0, 1), classes.roll(-1, 1).flatten())
        for net, classes, table in ((one, first, tables[0]), (other, second, tables[1]))
    ]
    losses[1].backward()
    losses[0].backward()
    for name, parameter in one.named_parameters():
        torch.testing.assert_close(parameter.grad, alone[name])


def test_a_second_backward_fails():
    net, classes = fresh(SHAPES[0]), torch.randint(CLASSES, (1, 100))
    total = net(classes).sum()
    total.backward(retain_graph=True)
    with pytest.raises((RuntimeError, AttributeError)):
        total.backward()


def test_a_hundred_steps_have_the_same_losses():
    """Rounding errors grow: one of 2e-7 in the embedding moves the modules' own curve by 5e-5."""
    wave = (torch.arange(4 * 400).reshape(4, 400) * torch.tensor([[0.11], [0.13], [0.17], [0.19]])).sin()
    classes = ((wave + 1) / 2 * (CLASSES - 1)).round().long()
    curves = []
    for own in (True, False):
        net = fresh(SHAPES[0])
        optimizer = torch.optim.Adam(net.parameters(), lr=5e-4)
        losses = []
        for _ in range(100):
            logits = (net if own else net.plain)(classes[:, :-1], None)
            loss = F.cross_entropy(logits.flatten(0, 1), classes[:, 1:].flatten())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        curves.append(losses)
    assert curves[0][-1] < 0.7 * curves[0][0]
    assert max(abs(a - b) for a, b in zip(*curves, strict=True)) < 1e-3

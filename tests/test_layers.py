"""Blocks are centred in time, and jitter takes neighbours at its rate."""

import pytest
import torch

from speechvq.nn.layers import Jitter, ResidualBlock, downsample, upsample


def support(gradient: torch.Tensor) -> tuple[int, int]:
    """First and last position along the last axis where anything is not zero."""
    used = gradient.abs().sum(tuple(range(gradient.ndim - 1))).nonzero()
    return int(used[0]), int(used[-1])


@pytest.mark.parametrize("stride", [2, 3, 4, 5, 8])
def test_downsample_is_centred_and_misses_nothing(stride):
    torch.manual_seed(0)
    x = torch.randn(1, 2, 6 * stride, requires_grad=True)
    y = downsample(2, 3, stride)(x)
    assert y.shape == (1, 3, 6)
    y[0, :, 3].sum().backward()
    first, last = support(x.grad)
    assert first + last == 2 * 3 * stride + stride - 1  # centred on its own samples
    assert first <= 3 * stride - stride // 2  # overlaps its neighbours
    assert x.grad[0, :, first : last + 1].abs().min() > 0


@pytest.mark.parametrize("stride", [1, 2, 3, 4, 5])
def test_upsample_is_centred(stride):
    torch.manual_seed(0)
    x = torch.randn(1, 2, 7, requires_grad=True)
    net = upsample(2, stride)
    y = net(x)
    assert y.shape == (1, 2, 7 * stride)
    bias = 0 if stride == 1 else net(torch.zeros(1, 2, 7))
    one = torch.zeros(1, 2, 7)
    one[..., 3] = 1.0
    first, last = support(net(one) - bias)
    assert first + last == 2 * 3 * stride + stride - 1


@pytest.mark.parametrize("dilation", [1, 3, 9])
def test_residual_block_sees_one_dilation_to_each_side(dilation):
    torch.manual_seed(0)
    x = torch.randn(1, 8, 31, requires_grad=True)
    ResidualBlock(8, dilation)(x)[0, :, 15].sum().backward()
    seen = x.grad.abs().sum((0, 1)).nonzero().flatten().tolist()
    assert seen == [15 - dilation, 15, 15 + dilation]


def test_jitter_takes_neighbours_with_its_chance():
    torch.manual_seed(0)
    length, p = 20_000, 0.3
    position = torch.arange(float(length)).expand(2, 3, -1)
    jittered = Jitter(p).train()(position)
    moved = (jittered - position)[:, 0]
    assert torch.equal(jittered, jittered[:, :1].expand_as(jittered))  # whole vectors move
    assert set(moved[:, 1:-1].unique().tolist()) == {-1.0, 0.0, 1.0}
    assert (moved[:, 0] >= 0).all()
    assert (moved[:, -1] <= 0).all()
    for direction in (-1, 1):
        # 5 standard deviations of a share of 40 000 draws
        assert (moved == direction).double().mean().item() == pytest.approx(p / 2, abs=5 * (0.15 * 0.85 / 4e4) ** 0.5)
    assert not torch.equal(moved[0], moved[1])


@pytest.mark.parametrize(("p", "mode"), [(0.3, False), (0.0, True)])
def test_jitter_is_the_identity_in_evaluation(p, mode):
    z = torch.randn(2, 3, 50)
    assert torch.equal(Jitter(p).train(mode)(z), z)


def test_jitter_passes_gradient_to_what_it_took():
    torch.manual_seed(0)
    z = torch.randn(1, 1, 200, requires_grad=True)
    jittered = Jitter(0.9).train()(z)
    jittered.sum().backward()
    copies = [(jittered == value).sum().item() for value in z[0, 0]]
    assert z.grad[0, 0].tolist() == copies

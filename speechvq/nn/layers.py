"""Blocks that encoder and decoder share."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from speechvq.nn.distributed import drawn_rows


class ResidualBlock(nn.Module):
    """x + conv1x1(relu(conv3_dilated(relu(x)))), x (B, C, N), centred in time or causal.

    reach: the number of steps before and after its own on which an output depends.
    """

    def __init__(self, channels: int, dilation: int, causal: bool = False) -> None:
        super().__init__()
        self.reach = (2 * dilation, 0) if causal else (dilation, dilation)
        self.past = 2 * dilation * causal
        self.net = nn.Sequential(
            nn.ReLU(),
            nn.Conv1d(channels, channels, 3, dilation=dilation, padding=0 if causal else dilation),
            nn.ReLU(),
            nn.Conv1d(channels, channels, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        residual: Tensor = self.net(F.pad(x, (self.past, 0)))
        return x + residual


def residual_stack(channels: int, blocks: int, causal: bool = False) -> nn.Sequential:
    """Residual blocks with dilations 1, 3, 9, 1, 3, 9, ..."""
    return nn.Sequential(*(ResidualBlock(channels, 3 ** (i % 3), causal) for i in range(blocks)))


def stack_reach(stack: nn.Module) -> tuple[int, int]:
    """The number of steps before and after its own on which an output of residual blocks depends."""
    reaches = [block.reach for block in stack.children() if isinstance(block, ResidualBlock)]
    return sum(before for before, _ in reaches), sum(after for _, after in reaches)


def downsample(inputs: int, outputs: int, stride: int) -> nn.Module:
    """A strided convolution (B, C, N * stride) -> (B, C', N), each output centred on its inputs.

    Stride 2 has the paper's kernel of 4.
    """
    pad = (stride + 1) // 2
    conv = nn.Conv1d(inputs, outputs, stride + 2 * pad, stride, pad)
    # He initialization keeps the signal's scale through many layers; with torch's, biases drown it.
    nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")
    assert conv.bias is not None
    nn.init.zeros_(conv.bias)
    return conv


def upsample(channels: int, stride: int, causal: bool = False) -> nn.Module:
    """A transposed convolution (B, C, N) -> (B, C, N * stride), the mirror image of `downsample`.

    causal: each output depends on one input.
    """
    pad = 0 if causal else (stride + 1) // 2
    return nn.ConvTranspose1d(channels, channels, stride + 2 * pad, stride, pad) if stride > 1 else nn.Identity()


class Jitter(nn.Module):
    """In training, replace each latent of z (B, D, N) by its left or its right neighbour, with probability p / 2 each.

    A regularizer of Chorowski et al. 2019, by which codes are not exact in time.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, z: Tensor) -> Tensor:
        if not self.training or self.p == 0:
            return z
        batch, _, length = z.shape
        chance = drawn_rows(torch.rand, (batch, length), z.device)
        shift = (chance < self.p / 2).long() - (chance > 1 - self.p / 2).long()
        index = (torch.arange(length, device=z.device) + shift).clamp(0, length - 1)
        return z.gather(2, index[:, None].expand_as(z))

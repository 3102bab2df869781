"""The contract of an encoder: audio to features, and features to latents."""

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from speechvq.audio.features import MFCC, LogMel
from speechvq.nn.distributed import BatchNorm


class Waveform(nn.Module):
    """The waveform itself as the only channel: (B, T) -> (B, 1, T)."""

    channels = 1
    hop = 1
    receptive_field = 1

    def forward(self, wav: Tensor) -> Tensor:
        return wav[:, None]


# By the name of the input in an encoder's configuration.
INPUTS: dict[str, type[Waveform] | type[LogMel] | type[MFCC]] = {"wave": Waveform, "logmel": LogMel, "mfcc": MFCC}


class Encoder(nn.Module):
    """wav (B, T) -> latents z (B, D, T / hop_length); latent n is of the hop_length samples from n * hop_length on.

    A subclass turns features into latents, in `from_features`, and knows on which samples a latent depends.
    """

    def __init__(self, input: str, hop_length: int) -> None:
        super().__init__()
        self.input = INPUTS[input]()
        self.hop_length = hop_length
        # Features come on a scale of their own; a waveform is in [-1, 1] already.
        width = self.input.channels
        self.scale = BatchNorm(width, affine=False) if width > 1 else nn.Identity()

    @property
    def lookahead(self) -> int:
        """Samples after its own that a latent depends on."""
        raise NotImplementedError

    @property
    def memory(self) -> int:
        """Samples before its own that a latent depends on."""
        raise NotImplementedError

    @property
    def margin(self) -> int:
        """Latents at either end of a crop that depend on samples beyond it."""
        return math.ceil(max(self.lookahead, self.memory) / self.hop_length)

    def features(self, wav: Tensor) -> Tensor:
        """wav (B, T) -> what the first layer is given: feats (B, C, F)."""
        with torch.autocast(wav.device.type, enabled=False):
            feats: Tensor = self.input(wav.float())
        return feats

    def from_features(self, feats: Tensor) -> Tensor:
        """feats (B, C, F) -> z (B, D, N)."""
        raise NotImplementedError

    def forward(self, wav: Tensor) -> Tensor:
        return self.from_features(self.features(wav))


def reach(convolutions: Iterable[nn.Conv1d], field: int, step: int) -> int:
    """Samples on which one output of a chain of convolutions depends, whose inputs depend on `field` and are `step`
    samples apart."""
    for conv in convolutions:
        field += (conv.kernel_size[0] - 1) * conv.dilation[0] * step
        step *= conv.stride[0]
    return field

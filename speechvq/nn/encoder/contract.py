"""The contract of an encoder, from audio to features and from features to latents."""

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from speechvq.audio.features import MFCC, LogMel
from speechvq.nn.distributed import BatchNorm


class Waveform(nn.Module):
    """The waveform as the only channel, (B, T) -> (B, 1, T)."""

    channels = 1
    hop = 1
    receptive_field = 1

    def forward(self, wav: Tensor) -> Tensor:
        return wav[:, None]


# By the name of the input in an encoder's configuration.
INPUTS: dict[str, type[Waveform] | type[LogMel] | type[MFCC]] = {"wave": Waveform, "logmel": LogMel, "mfcc": MFCC}


class Encoder(nn.Module):
    """wav (B, T) -> z (B, D, T / hop_length). Latent n belongs to the hop_length samples from n * hop_length on.

    input: a key of `INPUTS`.
    hop_length: samples per latent.
    depth: number of layers that `layers` returns; 0 for an encoder whose layers cannot be looked at.
    A subclass defines `from_features`, and the samples on which a latent depends.
    """

    depth = 0

    def __init__(self, input: str, hop_length: int) -> None:
        super().__init__()
        self.input = INPUTS[input]()
        self.hop_length = hop_length
        # Features come on a scale of their own; a waveform is in [-1, 1] already.
        width = self.input.channels
        self.scale = BatchNorm(width, affine=False) if width > 1 else nn.Identity()

    @property
    def lookahead(self) -> int:
        """The number of samples after its own on which a latent depends."""
        raise NotImplementedError

    @property
    def memory(self) -> int:
        """The number of samples before its own on which a latent depends."""
        raise NotImplementedError

    @property
    def margin(self) -> int:
        """The number of latents at either end of a crop that depend on samples beyond it."""
        return math.ceil(max(self.lookahead, self.memory) / self.hop_length)

    def features(self, wav: Tensor) -> Tensor:
        """wav (B, T) -> feats (B, C, F), the input of the first layer."""
        with torch.autocast(wav.device.type, enabled=False):
            feats: Tensor = self.input(wav.float())
        return feats

    def layers(self, feats: Tensor) -> list[Tensor]:
        """feats (B, C, F) -> the `depth` layers, from the input on, (B, C', M) each, M a multiple of N."""
        raise NotImplementedError

    def from_features(self, feats: Tensor) -> Tensor:
        """feats (B, C, F) -> z (B, D, N)."""
        raise NotImplementedError

    def forward(self, wav: Tensor) -> Tensor:
        return self.from_features(self.features(wav))


def reach(convolutions: Iterable[nn.Conv1d], field: int, step: int) -> int:
    """The number of samples on which one output of a chain of convolutions depends.

    field: samples on which an input of the chain depends.
    step: samples between two inputs.
    """
    for conv in convolutions:
        field += (conv.kernel_size[0] - 1) * conv.dilation[0] * step
        step *= conv.stride[0]
    return field

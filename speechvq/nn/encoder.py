"""Waveform to latents. `ENCODERS` maps a configuration's kind to what the first convolution sees."""

import math

import torch
from torch import Tensor, nn

from speechvq.audio.features import MFCC, LogMel
from speechvq.config import EncoderConfig
from speechvq.nn.distributed import BatchNorm
from speechvq.nn.layers import downsample, residual_stack


class Waveform(nn.Module):
    """The waveform itself as the only channel: (B, T) -> (B, 1, T)."""

    channels = 1
    hop = 1
    receptive_field = 1

    def forward(self, wav: Tensor) -> Tensor:
        return wav[:, None]


ENCODERS: dict[str, type[Waveform] | type[LogMel] | type[MFCC]] = {
    "wave": Waveform,
    "logmel": LogMel,
    "mfcc": MFCC,
}


class Encoder(nn.Module):
    """wav (B, T) -> z (B, D, T / hop_length); latent n is centred on sample n * hop_length + hop_length / 2.

    Strided convolutions of kernel 4 and stride 2 as in the paper (other strides: the nearest kernel of twice
    the stride that keeps the centre), residual blocks, a projection to D and, if asked, batch
    normalisation, which keeps the latents on the scale of the codebook (Lancucki et al. 2020).
    """

    def __init__(self, config: EncoderConfig, dim: int) -> None:
        super().__init__()
        self.input = ENCODERS[config.kind]()
        self.hop_length = config.hop_length
        width = self.input.channels
        # Features come on a scale of their own; a waveform is in [-1, 1] already.
        self.scale = BatchNorm(width, affine=False) if width > 1 else nn.Identity()
        layers: list[nn.Module] = []
        for stride in config.strides:
            layers += [downsample(width, config.channels, stride), nn.ReLU()]
            width = config.channels
        if width != config.channels:
            layers.append(nn.Conv1d(width, config.channels, 3, padding=1))
        layers += [
            residual_stack(config.channels, config.blocks),
            nn.ReLU(),
            nn.Conv1d(config.channels, dim, 1),
        ]
        if config.batch_norm:
            layers.append(BatchNorm(dim))
        self.net = nn.Sequential(*layers)

    @property
    def receptive_field(self) -> int:
        """Samples that a latent depends on, centred as it is."""
        field, step = self.input.receptive_field, self.input.hop
        for conv in (module for module in self.net.modules() if isinstance(module, nn.Conv1d)):
            field += (conv.kernel_size[0] - 1) * conv.dilation[0] * step
            step *= conv.stride[0]
        return field

    @property
    def margin(self) -> int:
        """Latents at either end of a crop that depend on what is beyond it."""
        return math.ceil((self.receptive_field - self.hop_length) / 2 / self.hop_length)

    def forward(self, wav: Tensor) -> Tensor:
        with torch.autocast(wav.device.type, enabled=False):
            feats = self.input(wav.float())
        return self.net(self.scale(feats))

"""The encoder of the paper, strided convolutions and residual blocks that are centred in time."""

import math

from torch import Tensor, nn

from speechvq.config import StridedEncoderConfig
from speechvq.nn.distributed import BatchNorm
from speechvq.nn.encoder.contract import Encoder, reach
from speechvq.nn.layers import downsample, residual_stack


class StridedEncoder(Encoder):
    """Strided convolutions, residual blocks and a projection to D. Latent n is centred on its own samples.

    A convolution of stride 2 has kernel 4, as in the paper; one of another stride has about twice the stride, such
    that the centre is kept. Batch normalisation, if configured, keeps the latents on the scale of the codebook
    (Lancucki et al. 2020).
    """

    def __init__(self, config: StridedEncoderConfig, dim: int) -> None:
        super().__init__(config.kind, config.hop_length)
        width = self.input.channels
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
        """The number of samples on which a latent depends."""
        convolutions = (module for module in self.net.modules() if isinstance(module, nn.Conv1d))
        return reach(convolutions, self.input.receptive_field, self.input.hop)

    @property
    def lookahead(self) -> int:
        return math.ceil((self.receptive_field - self.hop_length) / 2)

    @property
    def memory(self) -> int:
        return self.lookahead

    def from_features(self, feats: Tensor) -> Tensor:
        z: Tensor = self.net(self.scale(feats))
        return z

"""The two bottlenecks without codes: an autoencoder's and a Gaussian variational autoencoder's."""

import math

import torch
from torch import Tensor, nn

from speechvq.config import AEConfig, VAEConfig
from speechvq.nn.bottleneck.contract import Bottleneck, Latent
from speechvq.nn.distributed import drawn_rows


class Identity(Bottleneck):
    """The autoencoder's: as many dimensions as the codebook's vectors, nothing else in the way."""

    def __init__(self, config: AEConfig) -> None:
        super().__init__()

    def forward(self, z: Tensor) -> Latent:
        return Latent(z, None, {})

    def represent(self, z: Tensor) -> Tensor:
        return z


class Gaussian(Bottleneck):
    """The variational autoencoder's (Kingma and Welling 2014): a normal distribution with diagonal covariance per
    latent, drawn from by reparametrisation, and its divergence from the standard normal in closed form.

    The loss `kl` is beta times the divergence in nats, as a mean over dimensions; beta rises from 0 over the first
    `warmup` steps. `bits` is the divergence of a whole latent.
    """

    step: Tensor

    def __init__(self, config: VAEConfig) -> None:
        super().__init__()
        self.config = config
        self.project = nn.Conv1d(config.dim, 2 * config.dim, 1)
        self.register_buffer("step", torch.zeros((), dtype=torch.int64))

    def forward(self, z: Tensor) -> Latent:
        mean, log_var = self._moments(z)
        divergence = (mean.square() + log_var.exp() - 1 - log_var) / 2
        weight = self.config.beta * (self.step / max(self.config.warmup, 1)).clamp(max=1)
        if self.training:
            self.step += 1
        drawn = mean + (log_var / 2).exp() * drawn_rows(torch.randn, mean.shape, mean.device)
        return Latent(drawn, None, {"kl": weight * divergence.mean()}, divergence.sum(1).mean() / math.log(2))

    def represent(self, z: Tensor) -> Tensor:
        return self._moments(z)[0]

    def _moments(self, z: Tensor) -> tuple[Tensor, Tensor]:
        with torch.autocast(z.device.type, enabled=False):
            mean, log_var = self.project(z.float()).chunk(2, dim=1)
        return mean, log_var.clamp(-20, 20)

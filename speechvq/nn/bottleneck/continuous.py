"""The bottlenecks without codes, of an autoencoder and of a Gaussian variational autoencoder."""

import math

import torch
from torch import Tensor, nn

from speechvq.config import AEConfig, VAEConfig
from speechvq.nn.bottleneck.contract import Bottleneck, Latent
from speechvq.nn.distributed import drawn_rows


class Identity(Bottleneck):
    """The autoencoder's: latents are as wide as the vectors of a codebook, and nothing else limits them."""

    def __init__(self, config: AEConfig) -> None:
        super().__init__()

    def forward(self, z: Tensor) -> Latent:
        return Latent(z, None, {})

    def represent(self, z: Tensor) -> Tensor:
        return z


class Gaussian(Bottleneck):
    """The variational autoencoder's (Kingma and Welling 2014): a normal distribution of diagonal covariance per latent.

    Latents are drawn by reparametrization. The loss `kl` is beta times the divergence from the standard normal in nats,
    a mean over dimensions, in closed form; beta rises from 0 over the first `warmup` steps. `bits` is the divergence of
    a latent, summed over its dimensions.
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
        """The mean and the logarithm of the variance, (B, D, N) each."""
        with torch.autocast(z.device.type, enabled=False):
            mean, log_var = self.project(z.float()).chunk(2, dim=1)
        return mean, log_var.clamp(-20, 20)

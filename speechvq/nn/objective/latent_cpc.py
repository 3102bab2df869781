"""A loss on latents, which makes the next ones predictable from those before."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from speechvq import SpeechVQError
from speechvq.config import PredictorConfig


class LatentCPC(nn.Module):
    """Contrastive predictive coding (van den Oord et al. 2018; on codes: van Niekerk et al. 2020).

    From a recurrent net over the latents so far, the latent k steps ahead is selected among all latents of the crop,
    for k = 1 to `ahead`. All are of one voice, so that the voice does not help.
    """

    def __init__(self, config: PredictorConfig, dim: int) -> None:
        super().__init__()
        self.context = nn.GRU(dim, config.channels, batch_first=True)
        self.ahead = nn.ModuleList(nn.Linear(config.channels, dim) for _ in range(config.ahead))

    def forward(self, z: Tensor) -> Tensor:
        """z (B, D, N) -> the mean cross-entropy of the choices, in nats; at chance ln N.

        Raises SpeechVQError if no latent is so far ahead.
        """
        if z.shape[2] <= len(self.ahead):
            raise SpeechVQError("train.crop is too short for model.predictor: too few latents depend on it alone")
        with torch.autocast(z.device.type, enabled=False):
            z = z.float()
            context, _ = self.context(z.transpose(1, 2))
            losses = []
            for k, linear in enumerate(self.ahead, 1):
                scores = linear(context[:, :-k]) @ z / math.sqrt(z.shape[1])
                chosen = torch.arange(k, z.shape[2], device=z.device).expand(len(z), -1)
                losses.append(F.cross_entropy(scores.flatten(0, 1), chosen.flatten()))
            return torch.stack(losses).mean()

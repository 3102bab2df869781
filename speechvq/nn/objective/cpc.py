"""Contrastive predictive coding (van den Oord et al. 2018) of an encoder's local latents from its causal context."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from speechvq import SpeechVQError
from speechvq.config import CPCConfig
from speechvq.nn.encoder.causal import CausalEncoder
from speechvq.nn.objective.contract import FeatureBatch, Objective


class CPC(Objective):
    """The context of an augmented copy selects the local latent k steps later among all latents of the clean crop.

    Negatives are of the same crop and voice, so that the voice does not help, and the augmentation changes the voice
    of the context (Kharitonov et al. 2021). Scores are cosines, divided by a temperature.
    """

    reconstruction = "infonce"

    def __init__(self, config: CPCConfig, encoder: CausalEncoder, codes: int) -> None:
        super().__init__()
        self.config, channels = config, encoder.config.channels
        self.predict = nn.ModuleList(nn.Linear(channels, channels) for _ in range(config.steps))

    def losses(self, encoder: CausalEncoder, changed: Tensor, batch: FeatureBatch) -> dict[str, Tensor]:
        clean = encoder.layers(batch.feats, 0)[0]
        return {"infonce": self._steps(clean, encoder.layers(changed)[-1])[0].mean()}

    def figures(self, encoder: CausalEncoder, batch: FeatureBatch) -> dict[str, Tensor]:
        layers = encoder.layers(batch.feats)
        losses, accuracies = self._steps(layers[0], layers[-1])
        ahead = {f"accuracy_{k}": accuracy for k, accuracy in enumerate(accuracies, 1)}
        return {"infonce": losses.mean(), **ahead}

    def _steps(self, latents: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        """latents and context (B, C, N) -> InfoNCE in nats and accuracy for each step ahead, (steps,) both.

        Raises SpeechVQError if a crop is too short to predict anything.
        """
        warm, steps = self.config.warm, len(self.predict)
        if latents.shape[2] <= warm + steps:
            raise SpeechVQError("train.crop is too short: objective.warm and objective.steps leave nothing to predict")
        with torch.autocast(latents.device.type, enabled=False):
            choices = F.normalize(latents.float(), dim=1)
            rows, losses, accuracies = context.float().transpose(1, 2), [], []
            for k, linear in enumerate(self.predict, 1):
                predicted = F.normalize(linear(rows[:, warm:-k]), dim=2)
                scores = (predicted @ choices / self.config.temperature).flatten(0, 1)
                chosen = torch.arange(warm + k, latents.shape[2], device=latents.device).repeat(len(latents))
                losses.append(F.cross_entropy(scores, chosen))
                accuracies.append((scores.detach().argmax(1) == chosen).float().mean())
        return torch.stack(losses), torch.stack(accuracies)

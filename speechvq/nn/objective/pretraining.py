"""An encoder and its objective as one trainable."""

from collections.abc import Iterable

import torch
from torch import Tensor

from speechvq.config import EncoderRun
from speechvq.nn.augment import MelAugment
from speechvq.nn.encoder.causal import CausalEncoder
from speechvq.nn.objective import OBJECTIVES, FeatureBatch, Objective
from speechvq.nn.trainable import Trainable


class Pretraining(Trainable):
    """An encoder, trained by an objective on batches of features. The weights of both are saved."""

    def __init__(self, encoder: CausalEncoder, objective: Objective, augment: MelAugment) -> None:
        super().__init__()
        self.augment, self.encoder, self.objective = augment, encoder, objective

    @property
    def reconstruction(self) -> str:
        return self.objective.reconstruction

    def forward(self, batch: FeatureBatch, turn: str = "model") -> dict[str, Tensor]:
        return self.objective.losses(self.encoder, self.augment(batch.feats), batch)

    @torch.inference_mode()
    def held_out(self, batches: Iterable[FeatureBatch]) -> dict[str, float]:
        """The means of the objective's figures, on features without augmentation; `loss` is its reconstruction."""
        sums: dict[str, float] = {}
        count = 0
        for batch in batches:
            for name, value in self.objective.figures(self.encoder, batch).items():
                sums[name] = sums.get(name, 0.0) + value.item() * len(batch.feats)
            count += len(batch.feats)
        figures = {name: value / count for name, value in sums.items()}
        return {"loss": figures[self.reconstruction], **figures}


def build_pretraining(config: EncoderRun, codes: int = 0) -> Pretraining:
    """The trainable of a configuration.

    codes: size of the codebook, for objectives that predict codes.
    """
    encoder = CausalEncoder(config.encoder, dim=0)
    objective = OBJECTIVES[config.objective.kind](config.objective, encoder, codes)
    return Pretraining(encoder, objective, MelAugment(config.augment))

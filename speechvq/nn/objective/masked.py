"""Masked prediction (Hsu et al. 2021, HuBERT): the codes of masked spans are predicted from the speech around them."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from speechvq.config import MaskedConfig
from speechvq.nn.distributed import drawn_rows
from speechvq.nn.encoder.causal import CausalEncoder
from speechvq.nn.objective.contract import FeatureBatch, Objective


class MaskedClassifier(Objective):
    """A classifier of every latent on the encoder's last layer, with spans of the features masked.

    The encoder's latents and the classes have one rate.
    start: share of the latents at which a mask begins.
    span: length of a mask; latents.
    """

    def __init__(self, start: float, span: int, encoder: CausalEncoder, classes: int) -> None:
        super().__init__()
        self.start, self.span, stride = start, span, encoder.config.strides[1]
        self.mask = nn.Parameter(torch.zeros(encoder.input.channels))
        self.classify = nn.Conv1d(encoder.config.channels, classes, stride, stride)

    def hidden(self, targets: Tensor) -> Tensor:
        """Which latents are masked, (B, N) bool, in spans with random starts; at least one of each row, and not all.

        In evaluation always the same ones.
        """
        if self.training:
            chance = drawn_rows(torch.rand, targets.shape, targets.device)
        else:
            chance = torch.rand(targets.shape, generator=torch.Generator().manual_seed(0)).to(targets.device)
        starts = chance < self.start
        starts[:, targets.shape[1] // 2] = True
        hidden = F.max_pool1d(F.pad(starts.float(), (self.span - 1, 0)), self.span, 1) > 0
        hidden[:, 0] = False
        return hidden

    def logits(self, encoder: CausalEncoder, feats: Tensor, hidden: Tensor) -> Tensor:
        """Scores of all classes (B, K, N), with the features of hidden latents replaced."""
        frames = hidden.repeat_interleave(feats.shape[2] // hidden.shape[1], 1)[:, None]
        masked = feats.where(~frames, self.mask[:, None])
        logits: Tensor = self.classify(encoder.layers(masked)[-1])
        return logits.float()


class Masked(MaskedClassifier):
    """Cross-entropy of a codec's codes where features are masked, and with a weight where they are not."""

    reconstruction = "masked"

    def __init__(self, config: MaskedConfig, encoder: CausalEncoder, codes: int) -> None:
        super().__init__(config.start, config.span, encoder, codes)
        self.unmasked = config.unmasked

    def losses(self, encoder: CausalEncoder, changed: Tensor, batch: FeatureBatch) -> dict[str, Tensor]:
        hidden = self.hidden(batch.targets)
        nats = F.cross_entropy(self.logits(encoder, changed, hidden), batch.targets, reduction="none")
        losses = {"masked": nats[hidden].mean()}
        if self.unmasked:
            losses["unmasked"] = self.unmasked * nats[~hidden].mean()
        return losses

    def figures(self, encoder: CausalEncoder, batch: FeatureBatch) -> dict[str, Tensor]:
        hidden = self.hidden(batch.targets)
        nats = F.cross_entropy(self.logits(encoder, batch.feats, hidden), batch.targets, reduction="none")
        correct = self.classify(encoder.layers(batch.feats)[-1]).argmax(1) == batch.targets
        return {"masked": nats[hidden].mean(), "unmasked": nats[~hidden].mean(), "accuracy": correct.float().mean()}

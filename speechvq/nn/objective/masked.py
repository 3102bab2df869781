"""Masked prediction (Hsu et al. 2021, HuBERT): the codes of masked spans are predicted from the speech around them."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from speechvq.config import MaskedConfig
from speechvq.nn.distributed import drawn_rows
from speechvq.nn.encoder.causal import CausalEncoder
from speechvq.nn.objective.contract import FeatureBatch, Objective


class Masked(Objective):
    """Cross-entropy of a codec's codes where features are masked, and with a weight where they are not.

    The encoder's latents and the codes have one rate.
    """

    reconstruction = "masked"

    def __init__(self, config: MaskedConfig, encoder: CausalEncoder, codes: int) -> None:
        super().__init__()
        self.config, stride = config, encoder.config.strides[1]
        self.mask = nn.Parameter(torch.zeros(encoder.input.channels))
        self.classify = nn.Conv1d(encoder.config.channels, codes, stride, stride)

    def losses(self, encoder: CausalEncoder, changed: Tensor, batch: FeatureBatch) -> dict[str, Tensor]:
        hidden = self._hidden(batch.targets)
        nats = self._nats(encoder, changed, hidden, batch.targets)
        losses = {"masked": nats[hidden].mean()}
        if self.config.unmasked:
            losses["unmasked"] = self.config.unmasked * nats[~hidden].mean()
        return losses

    def figures(self, encoder: CausalEncoder, batch: FeatureBatch) -> dict[str, Tensor]:
        hidden = self._hidden(batch.targets)
        nats = self._nats(encoder, batch.feats, hidden, batch.targets)
        correct = self.classify(encoder.layers(batch.feats)[-1]).argmax(1) == batch.targets
        return {"masked": nats[hidden].mean(), "unmasked": nats[~hidden].mean(), "accuracy": correct.float().mean()}

    def _hidden(self, targets: Tensor) -> Tensor:
        """Which latents are masked, (B, N) bool, in spans with random starts; at least one of each row, and not all.

        In evaluation always the same ones.
        """
        config = self.config
        if self.training:
            chance = drawn_rows(torch.rand, targets.shape, targets.device)
        else:
            chance = torch.rand(targets.shape, generator=torch.Generator().manual_seed(0)).to(targets.device)
        starts = chance < config.start
        starts[:, targets.shape[1] // 2] = True
        hidden = F.max_pool1d(F.pad(starts.float(), (config.span - 1, 0)), config.span, 1) > 0
        hidden[:, 0] = False
        return hidden

    def _nats(self, encoder: CausalEncoder, feats: Tensor, hidden: Tensor, targets: Tensor) -> Tensor:
        """-ln p of every target, (B, N), with the features of hidden latents replaced."""
        frames = hidden.repeat_interleave(feats.shape[2] // hidden.shape[1], 1)[:, None]
        masked = feats.where(~frames, self.mask[:, None])
        logits = self.classify(encoder.layers(masked)[-1])
        return F.cross_entropy(logits.float(), targets, reduction="none")

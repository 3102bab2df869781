"""Phones of labels, predicted at every latent: an encoder that is taught by text."""

from torch import Tensor
from torch.nn import functional as F

from speechvq.config import PhonesConfig
from speechvq.nn.encoder.causal import CausalEncoder
from speechvq.nn.objective.contract import FeatureBatch
from speechvq.nn.objective.masked import MaskedClassifier
from speechvq.text.phones import INVENTORY, SILENCE


class Phones(MaskedClassifier):
    """Cross-entropy of the phones of labels, in nats; latents without a label (-1) do not count."""

    reconstruction = "phones"

    def __init__(self, config: PhonesConfig, encoder: CausalEncoder, codes: int) -> None:
        super().__init__(config.start, config.span, encoder, codes)
        self.smoothing = config.smoothing

    def losses(self, encoder: CausalEncoder, changed: Tensor, batch: FeatureBatch) -> dict[str, Tensor]:
        logits = self.logits(encoder, changed, self.hidden(batch.targets))
        nats = F.cross_entropy(logits, batch.targets, ignore_index=-1, reduction="sum", label_smoothing=self.smoothing)
        return {"phones": nats / (batch.targets >= 0).sum().clamp(min=1)}

    def figures(self, encoder: CausalEncoder, batch: FeatureBatch) -> dict[str, Tensor]:
        """The cross-entropy, and the share of the frames of speech whose phone is the most probable."""
        logits = self.classify(encoder.layers(batch.feats)[-1]).float()
        known, silence = batch.targets >= 0, INVENTORY.index(SILENCE)
        nats = F.cross_entropy(logits, batch.targets, ignore_index=-1, reduction="sum") / known.sum().clamp(min=1)
        speech = known & (batch.targets != silence)
        correct = (logits.argmax(1) == batch.targets) & speech
        return {"phones": nats, "accuracy": correct.sum() / speech.sum().clamp(min=1)}

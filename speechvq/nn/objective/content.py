"""A loss on what codes stand for, which keeps them to the phones of labels."""

from torch import Tensor, nn
from torch.nn import functional as F

from speechvq.text.phones import INVENTORY, SILENCE


class Content(nn.Module):
    """A linear classifier of single latents after the bottleneck, for their phones."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.classify = nn.Conv1d(dim, len(INVENTORY), 1)

    def forward(self, z_q: Tensor, phones: Tensor) -> tuple[Tensor, Tensor]:
        """z_q (B, D, N) and phones (B, N), numbers in INVENTORY or -1 for none -> two scalars.

        The first is the mean cross-entropy in nats; the second the share of the frames of speech whose phone is the
        most probable one.
        """
        logits = self.classify(z_q).float()
        labelled = phones >= 0
        nats = F.cross_entropy(logits, phones, ignore_index=-1, reduction="sum") / labelled.sum().clamp(min=1)
        speech = labelled & (phones != INVENTORY.index(SILENCE))
        correct = (logits.argmax(1) == phones) & speech
        return nats, correct.sum() / speech.sum().clamp(min=1)

"""The contract of an objective that trains an encoder without a decoder."""

from typing import ClassVar, NamedTuple

from torch import Tensor, nn

from speechvq.nn.encoder.causal import CausalEncoder


class FeatureBatch(NamedTuple):
    """Crops of features, and the codes that are predicted from them.

    feats: (B, C, F).
    targets: (B, N) int64, a code for every latent; (B, 0) for objectives that need none.
    """

    feats: Tensor
    targets: Tensor


class Objective(nn.Module):
    """The losses of an encoder. A subclass is built from its configuration, the encoder, and the number of codes.

    reconstruction: the name of the loss by which models are compared.
    """

    reconstruction: ClassVar[str]

    def losses(self, encoder: CausalEncoder, changed: Tensor, batch: FeatureBatch) -> dict[str, Tensor]:
        """The weighted losses of a batch, by name.

        changed: its features (B, C, F) after augmentation.
        """
        raise NotImplementedError

    def figures(self, encoder: CausalEncoder, batch: FeatureBatch) -> dict[str, Tensor]:
        """Held-out figures of a batch, the losses among them."""
        raise NotImplementedError

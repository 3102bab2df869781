"""The contract of what stands between encoder and decoder."""

from dataclasses import dataclass

from torch import Tensor, nn


@dataclass
class Latent:
    """z (B, D, N) for the decoder, with its gradient; codes (B, N) int64, or None where the bottleneck has none;
    the weighted losses by name. `bits`: what a latent costs, where the bottleneck knows (a scalar)."""

    z: Tensor
    codes: Tensor | None
    losses: dict[str, Tensor]
    bits: Tensor | None = None


class Bottleneck(nn.Module):
    """Contract: in training mode `forward` also learns; `represent` is what the encoder says without noise."""

    codes = 0  # how many there are

    def forward(self, z: Tensor) -> Latent:
        """z (B, D, N) -> Latent."""
        raise NotImplementedError

    def represent(self, z: Tensor) -> Tensor:
        """z (B, D, N) -> the vectors (B, D, N) that stand for the speech when it is measured or decoded."""
        raise NotImplementedError

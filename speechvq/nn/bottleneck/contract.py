"""The contracts of a bottleneck, continuous or discrete.

One stream of codes is a wall that stays: an utterance is one row of integers below `codes`, at one rate. The header of
an `.svq` file holds one K, the prior predicts one symbol after another, and accuracy, PER and ABX ask for the phone of
one code per frame. Residual quantization (RVQ: Q codebooks in turn, codes (B, Q, N)) would change the shape of every
call here and in `Codec`, and need a second version of the file format, a prior over two axes, and a definition of "the
code of a frame". It would buy more than 16 bits per latent, above 800 bit/s at 50 Hz, which is not what this project is
for. A product of small codebooks is open: if their sizes multiply to at most 2^16, they are one alphabet to the
outside, and their indices are the digits of one code, as in `fsq`. Such a bottleneck is one file here, one line in
`BOTTLENECKS` and one configuration.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass
class Latent:
    """The result of a bottleneck.

    z: (B, D, N), for the decoder, with its gradient.
    codes: (B, N) int64; None from a continuous bottleneck.
    losses: by name, scalars, already weighted.
    bits: scalar, the mean information in one latent, from a bottleneck that estimates it.
    """

    z: Tensor
    codes: Tensor | None
    losses: dict[str, Tensor]
    bits: Tensor | None = None


class Bottleneck(nn.Module):
    """The contract of every bottleneck.

    codes: the number of different codes K; 0 for a continuous bottleneck.
    """

    codes = 0

    def forward(self, z: Tensor) -> Latent:
        """z (B, D, N) -> Latent. In training mode the bottleneck may update its state, in evaluation it never does."""
        raise NotImplementedError

    def represent(self, z: Tensor) -> Tensor:
        """z (B, D, N) -> the vectors (B, D, N) that the decoder gets in evaluation, without noise."""
        raise NotImplementedError


class Discrete(Bottleneck):
    """The contract of a bottleneck with codes; it says nothing about how they are found or learned.

    A code depends on its own latent only, and different codes have different vectors. In evaluation `forward` returns
    the vectors `lookup(encode(z))`.
    """

    def encode(self, z: Tensor) -> Tensor:
        """z (B, D, N) -> codes (B, N) int64, 0 <= code < K."""
        raise NotImplementedError

    def lookup(self, codes: Tensor) -> Tensor:
        """codes (B, N) -> z_q (B, D, N)."""
        raise NotImplementedError

    def vectors(self, codes: Tensor) -> "Tensor | CodeVectors":
        """codes (N,) -> their vectors (D, N); `CodeVectors` if those of a part have the bits of those of the whole."""
        return self.lookup(codes[None])[0]

    def distances(self, z: Tensor) -> Tensor:
        """z (B, D, N) -> the squared distance of each latent to each code (B, N, K).

        The metric is that of `encode`, which takes the nearest: here, of the vectors, each computed by itself, so that
        its bits do not depend on the others.
        """
        vectors = self.lookup(torch.arange(self.codes, device=z.device)[None]).transpose(1, 2)
        rows = z.transpose(1, 2).float()
        found: Tensor = torch.cdist(rows, vectors.float(), compute_mode="donot_use_mm_for_euclid_dist").square()
        return found

    def represent(self, z: Tensor) -> Tensor:
        return self.lookup(self.encode(z))


class CodeVectors:
    """The vectors (D, N) of codes (N,), looked up when they are sliced: those of five hours would take 230 MB."""

    def __init__(self, bottleneck: Discrete, codes: Tensor) -> None:
        self._bottleneck, self._codes = bottleneck, codes

    @property
    def shape(self) -> tuple[int, int]:
        """(D, N)."""
        return self[:, :1].shape[0], len(self._codes)

    def __getitem__(self, index: tuple[slice, slice]) -> Tensor:
        dimensions, codes = index
        return self._bottleneck.lookup(self._codes[None, codes])[0, dimensions]

"""Audio of any length in windows, each with a margin: what is computed of one is that of the whole."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

WINDOW_SAMPLES = 2**19  # of a window without its margin: half a minute


class Window(NamedTuple):
    """A part of a wav.

    wav: (..., T), with its margin.
    first, end: its own latents, among those of `wav`; None for all to the end.
    """

    wav: Tensor
    first: int
    end: int | None


class Windows:
    """Cuts a wav that arrives in pieces into windows.

    The bits of a convolution depend on the length of its input, and results must not depend on how the wav arrives. So
    the windows depend on its length only: each is a block of latents with a margin on either side.
    hop: samples per latent.
    before: number of latents before a block on which its latents may depend.
    after: number of samples behind a block on which its latents may depend.
    block: latents in a block.
    first: latents in the first block; None for as many as in the others.
    """

    def __init__(self, hop: int, before: int, after: int, block: int, first: int | None = None) -> None:
        self.hop, self.before, self.after, self.block = hop, before, after, block
        self._next = first or block  # latents in the next block
        self._left = 0  # latents in front of the block
        self._parts: list[Tensor] = []
        self._length = 0

    def push(self, wav: Tensor) -> Iterator[Window]:
        """The windows that are complete with these samples (..., T)."""
        if wav.shape[-1]:
            self._parts.append(wav)
        self._length += wav.shape[-1]
        if self._length < self._needed():
            return
        waiting, offset = self._joined(), 0
        while self._length >= self._needed():
            own = self._left + self._next
            yield Window(waiting[..., offset : offset + own * self.hop + self.after].clone(), self._left, own)
            step = max(own - self.before, 0) * self.hop
            offset, self._length = offset + step, self._length - step
            self._left, self._next = min(self.before, own), self.block
        self._parts = [waiting[..., offset:].clone()]

    def flush(self) -> Iterator[Window]:
        """The window of what is left at the end, if anything is."""
        if self._length > self._left * self.hop:
            yield Window(self._joined(), self._left, None)
        self._parts, self._length, self._left = [], 0, 0

    def _needed(self) -> int:
        """The samples that the next window needs."""
        return (self._left + self._next) * self.hop + self.after

    def _joined(self) -> Tensor:
        """All that has arrived and may still matter, in memory of its own: where it lies can change the bits, too."""
        return torch.cat(self._parts, -1)


def windows(wavs: Iterable[Tensor], hop: int, margin: int) -> Iterator[Window]:
    """The windows of half a minute of a wav that arrives in pieces (T_i,).

    hop: samples per latent.
    margin: number of latents on either side on which a latent may depend.
    """
    cutter = Windows(hop, margin, margin * hop, max(WINDOW_SAMPLES // hop, 1))
    for wav in wavs:
        yield from cutter.push(wav)
    yield from cutter.flush()

"""Audio of any length in windows, each with a margin: what is computed of one is that of the whole."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

WINDOW_SAMPLES = 2**19  # of a window without its margin: half a minute


class Window(NamedTuple):
    """A part of a wav.

    wav: (T,), with its margin.
    first, end: its own latents, among those of `wav`; None for all to the end.
    """

    wav: Tensor
    first: int
    end: int | None


def windows(wavs: Iterable[Tensor], hop: int, margin: int) -> Iterator[Window]:
    """The windows of a wav that arrives in pieces (T_i,).

    hop: samples per latent.
    margin: number of latents on either side on which a latent may depend.

    The bits of a convolution depend on the length of its input, and codes must not depend on how the wav is read. So
    the windows depend on its length only: each is a block of latents with a margin on either side.
    """
    block, left, waiting = max(WINDOW_SAMPLES // hop, 1), 0, torch.empty(0)
    for wav in wavs:
        waiting = torch.cat([waiting, wav])
        while len(waiting) >= (left + block + margin) * hop:
            yield Window(waiting[: (left + block + margin) * hop], left, left + block)
            waiting = waiting[max(left + block - margin, 0) * hop :]
            left = min(margin, left + block)
    if len(waiting) > left * hop:
        yield Window(waiting, left, None)

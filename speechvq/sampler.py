"""Autoregressive sampling of any WaveNet."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from speechvq.progress import progress
from speechvq.wavenet import State, WaveNet


@dataclass(frozen=True)
class Sampling:
    """How to draw: temperature (0 takes the most likely class), seed, and a progress bar on stderr."""

    temperature: float = 1.0
    seed: int = 0
    progress: bool = False


def uniform(seed: int, utterances: Sequence[int], steps: int) -> Tensor:
    """Uniform numbers (B, steps) in [0, 1), a function of (seed, utterance, step) alone.

    Philox is a counter-based generator: batch size, order and what was drawn before do not matter.
    """
    keys = [np.array([seed, utterance], np.uint64) for utterance in utterances]
    return torch.from_numpy(np.stack([np.random.Generator(np.random.Philox(key=key)).random(steps) for key in keys]))


def draw(logits: Tensor, chance: Tensor, temperature: float) -> Tensor:
    """Classes (B,) from logits (B, classes) by inverting the cumulative distribution at chance (B,)."""
    if temperature == 0:
        return logits.argmax(-1)
    cumulative = torch.softmax(logits.double() / temperature, -1).cumsum(-1)
    picks = (cumulative <= chance[:, None] * cumulative[:, -1:]).sum(-1)
    return picks.clamp(max=logits.shape[-1] - 1)


@torch.inference_mode()
def sample(
    net: WaveNet,
    first: Tensor,
    steps: int,
    table: Tensor | None,
    chances: Tensor,
    sampling: Sampling,
    state: State | None = None,
) -> Tensor:
    """Draw steps classes after `first` (B,) -> (B, steps) int64.

    table (L, F, B, 2G) conditions steps / F steps with each frame. chances (B, steps) come from `uniform`.
    Pass the state, and the last class as `first`, to go on where an earlier call ended.
    """
    state = net.start(len(first)) if state is None else state
    hop = steps // table.shape[1] if table is not None else steps
    chances = chances.to(first.device)
    result = torch.empty(len(first), steps, dtype=torch.int64, device=first.device)
    for t in progress(range(steps), unit="step", text="sampling") if sampling.progress else range(steps):
        logits = net.step(first, None if table is None else table[:, t // hop], state)
        first = draw(logits, chances[:, t], sampling.temperature)
        result[:, t] = first
    return result

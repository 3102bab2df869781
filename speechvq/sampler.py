"""Autoregressive sampling of any WaveNet, by the engine that suits the device."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from speechvq.progress import progress
from speechvq.wavenet import State, WaveNet

CHUNK = 4_000  # steps between two movements of the progress bar


@dataclass(frozen=True)
class Sampling:
    """How to draw: temperature (0 takes the most likely class), seed, and a progress bar on stderr.

    engine: `torch` steps through the module, on any device; `compiled` is for the CPU; `auto` chooses.
    weights: `bfloat16` makes the compiled engine faster and a little inexact.
    """

    temperature: float = 1.0
    seed: int = 0
    progress: bool = False
    engine: Literal["auto", "torch", "compiled"] = "auto"
    weights: Literal["float32", "bfloat16"] = "float32"


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
    if table is None:
        table = first.new_zeros(len(net.stack), 1, len(first), 2 * net.config.gate, dtype=torch.float32)
    compiled = sampling.engine == "compiled" or (sampling.engine == "auto" and first.device.type == "cpu")
    run = _sample_compiled if compiled else _sample_torch
    return run(net, first, steps, table, chances, sampling, state)


def _sample_torch(
    net: WaveNet, first: Tensor, steps: int, table: Tensor, chances: Tensor, sampling: Sampling, state: State
) -> Tensor:
    """One step of the module at a time, all utterances together."""
    hop = steps // table.shape[1]
    chances = chances.to(first.device)
    result = torch.empty(len(first), steps, dtype=torch.int64, device=first.device)
    for t in progress(range(steps), unit="step", text="sampling", show=sampling.progress):
        first = draw(net.step(first, table[:, t // hop], state), chances[:, t], sampling.temperature)
        result[:, t] = first
    return result


def _sample_compiled(
    net: WaveNet, first: Tensor, steps: int, table: Tensor, chances: Tensor, sampling: Sampling, state: State
) -> Tensor:
    """Each utterance by itself, so that none depends on its company; as many at a time as torch has threads."""
    from speechvq.compiled import CompiledWaveNet, announce  # Numba takes its time to import

    announce()
    engine = CompiledWaveNet(net, sampling.weights)
    hop = steps // table.shape[1]
    tables = table.permute(2, 0, 1, 3).contiguous().float().numpy()
    result = np.empty((len(first), steps + 1), np.int64)
    result[:, 0] = first.numpy()
    rows = chances.numpy()
    size = max(CHUNK // hop, 1) * hop

    def advance(begin: int, row: int) -> None:
        end = min(begin + size, steps)
        frames = np.ascontiguousarray(tables[row, :, begin // hop : -(-end // hop)])
        drawn = engine.run(state, row, frames, hop, rows[row, begin:end], sampling.temperature, result[row, begin])
        result[row, begin + 1 : end + 1] = drawn

    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        starts = range(0, steps, size)
        for begin in progress(starts, unit="chunk", text="sampling", show=sampling.progress):
            list(pool.map(lambda row, begin=begin: advance(begin, row), range(len(first))))
            state.time += min(size, steps - begin)
    return torch.from_numpy(result[:, 1:])

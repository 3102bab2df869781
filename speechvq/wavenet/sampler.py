"""Autoregressive sampling of a WaveNet, by the engine that suits the device."""

import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from speechvq import SpeechVQError
from speechvq.config.shapes import check_number
from speechvq.progress import progress
from speechvq.wavenet.bands import BandWaveNet
from speechvq.wavenet.net import State, WaveNet

SEEDS = (0, 2**64 - 1)
PIECE_STEPS = 2_000  # of a piece of a stream, about


@dataclass(frozen=True)
class Sampling:
    """How to draw.

    temperature: divides the logits; 0 takes the most likely class.
    seed: of the random streams.
    progress: a progress bar on stderr.
    top_k: draw only among so many of the most likely classes; 0 for all.
    top_p: draw only among the fewest of those that have this share of the probability (nucleus sampling, Holtzman et
        al. 2020). Both apply after the temperature; of equally likely classes all or none are kept.
    engine: `torch` steps through the module, on any device; `compiled` is for the CPU; `auto` chooses.
    weights: `bfloat16` makes the compiled engine faster and a little inexact (see benchmarks/precision.py).
    """

    temperature: float = 1.0
    seed: int = 0
    progress: bool = False
    top_k: int = 0
    top_p: float = 1.0
    engine: Literal["auto", "torch", "compiled"] = "auto"
    weights: Literal["float32", "bfloat16"] = "float32"

    def __post_init__(self) -> None:
        """Raises SpeechVQError for a temperature or a seed that is none."""
        check_number(self.temperature, "temperature", 0, math.inf)
        check_number(self.seed, "seed", *SEEDS, whole=True)
        object.__setattr__(self, "seed", int(self.seed))  # PyTorch's generators take no numbers of NumPy


def chances(seed: int, utterance: int) -> np.random.Generator:
    """The random stream of an utterance: uniform numbers in [0, 1), one per step.

    They are a function of (seed, utterance, step) alone, since Philox is a counter-based generator: batch size, order
    and earlier draws do not matter.
    """
    return np.random.Generator(np.random.Philox(key=np.array([seed, utterance], np.uint64)))


def draw(logits: Tensor, chance: Tensor, sampling: Sampling) -> Tensor:
    """Draw a class for each row, by inverting the cumulative distribution.

    logits: (B, classes).
    chance: (B,), uniform numbers.

    Returns the classes (B,) int64.
    """
    if sampling.temperature == 0:
        return logits.argmax(-1)
    weights = torch.softmax(logits.double() / sampling.temperature, -1)
    if sampling.top_k or sampling.top_p < 1:
        weights = weights * (weights >= _least(weights, sampling))
    cumulative = weights.cumsum(-1)
    picks = (cumulative <= chance[:, None] * cumulative[:, -1:]).sum(-1)
    return picks.clamp(max=logits.shape[-1] - 1)


def _least(weights: Tensor, sampling: Sampling) -> Tensor:
    """The weight (B, 1) of the least likely class that top_k and top_p keep."""
    ordered = weights.sort(-1, descending=True).values[:, : sampling.top_k or None]
    before = ordered.cumsum(-1) - ordered
    last = (before < sampling.top_p * ordered.sum(-1, keepdim=True)).sum(-1, keepdim=True) - 1
    return ordered.gather(-1, last.clamp(min=0))


class Sampler:
    """Draws from a WaveNet. The compiled engine copies the weights, so later training needs another sampler.

    Raises SpeechVQError if the sampling has a top_k or top_p, and the net none to draw from.
    """

    def __init__(self, net: WaveNet, sampling: Sampling) -> None:
        if isinstance(net, BandWaveNet) and (sampling.top_k or sampling.top_p < 1):
            raise SpeechVQError("a WaveNet over bands draws from a mixture: top_k and top_p do not apply to it")
        self.net, self.sampling = net, sampling
        on_cpu = net.embed.weight.device.type == "cpu"
        self.engine = None
        if sampling.engine == "compiled" or (sampling.engine == "auto" and on_cpu):
            from speechvq.wavenet.compiled import CompiledWaveNet, announce  # Numba takes seconds to import

            announce()
            self.engine = CompiledWaveNet(net, sampling.weights)

    @torch.inference_mode()
    def sample(self, first: Tensor, chance: Tensor, table: Tensor, state: State, added: Tensor | None = None) -> Tensor:
        """Draw the next T classes of every utterance.

        first: (B,), the classes before the first step; to continue an earlier call, its last ones. Of a net of bands,
            (B, bands).
        chance: (B, T) from `chances`; of a net of bands, (B, T, bands).
        table: (L, F, B, 2G) of `WaveNet.table`, for T / F steps per frame.
        state: updated.
        added: (B, T, R) of `WaveNet.forward`.

        Returns classes of the shape of `chance`, int64. Raises ValueError if the table does not fit.
        """
        self.net.check(table, *chance.shape[:2])
        engine = self.engine
        if engine is None:
            return self._step_by_step(first, chance.to(first.device), table, state, added)
        groups = np.array_split(np.arange(len(first)), min(torch.get_num_threads(), len(first)))
        result = np.empty(chance.shape, np.int64)
        rule = float(self.sampling.temperature), self.sampling.top_k, float(self.sampling.top_p)

        def run(rows: np.ndarray) -> None:
            own = slice(rows[0], rows[-1] + 1)
            arrays = chance[own].numpy(), first[own].numpy()
            known = None if added is None else added[own]
            result[own] = engine.run(state[own], table[:, :, own], *arrays, rule, known)

        with ThreadPoolExecutor(len(groups)) as pool:
            list(pool.map(run, groups))
        state.time += chance.shape[1]
        return torch.from_numpy(result)

    def _step_by_step(self, first: Tensor, chance: Tensor, table: Tensor, state: State, added: Tensor | None) -> Tensor:
        hop = chance.shape[1] // table.shape[1]
        result = torch.empty_like(chance, dtype=torch.int64)
        for t in range(chance.shape[1]):
            logits = self.net.step(first, table[:, t // hop], state, None if added is None else added[:, t])
            first = self._draw(logits, chance[:, t])
            result[:, t] = first
        return result

    def _draw(self, logits: Tensor, chance: Tensor) -> Tensor:
        if isinstance(self.net, BandWaveNet):
            return self.net.draw(logits, chance, self.sampling.temperature)
        return draw(logits, chance, self.sampling)

    @torch.inference_mode()
    def stream(
        self,
        first: Tensor,
        frames: Sequence[int],
        hop: int,
        utterances: Sequence[int],
        table: Callable[[int, int, int], Tensor],
    ) -> Iterator[list[Tensor]]:
        """Draw utterances side by side, piece by piece, some 2000 steps at a time.

        first: (B,), the classes before the first step.
        frames: the length of each utterance in frames.
        hop: steps per frame.
        utterances: the numbers of the random streams.
        table: table(i, begin, end) is the conditioning (L, F, 1, 2G) of these frames of utterance i; fewer at its end.

        Yields the next classes (T,) of each of the B utterances. An utterance does not depend on the others; one that
        is complete costs nothing more and gets empty tensors.
        """
        order = sorted(range(len(frames)), key=lambda i: -frames[i])
        generators = [chances(self.sampling.seed, utterance) for utterance in utterances]
        state, last = self.net.start(len(frames)), first[torch.tensor(order, device=first.device)]
        size = max(PIECE_STEPS // hop, 1)
        for begin in progress(range(0, max(frames), size), unit="piece", text="sampling", show=self.sampling.progress):
            rows = [i for i in order if frames[i] > begin]
            end = min(begin + size, frames[rows[0]])
            # Each table by itself, since the bits of a product depend on the number of its rows.
            tables = [table(i, begin, min(end, frames[i])) for i in rows]
            tables = [F.pad(some, (0, 0, 0, 0, 0, end - begin - some.shape[1])) for some in tables]
            chance = torch.from_numpy(np.stack([generators[i].random((end - begin) * hop) for i in rows]))
            state = state[: len(rows)]
            drawn = self.sample(last[: len(rows)], chance, torch.cat(tables, 2), state)
            last = drawn[:, -1]
            pieces = {i: row[: (frames[i] - begin) * hop] for i, row in zip(rows, drawn, strict=True)}
            yield [pieces.get(i, drawn.new_empty(0)) for i in range(len(frames))]

"""The compiled engine of `sampler`: it packs the weights of a WaveNet for `kernels.steps`, and calls it."""

import logging
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from speechvq.wavenet.bands import BandWaveNet
from speechvq.wavenet.kernels import steps
from speechvq.wavenet.net import State, WaveNet
from speechvq.wavenet.simd import LANES, blocks, is_cached

log = logging.getLogger(__name__)
SOFTMAX = (0, 1.0, 0.0, 0.0, 1.0, 1.0)  # in place of `BandWaveNet.rule`
NO_TRACE = np.zeros((0, 0, 0), np.float32)


class CompiledWaveNet:
    """A copy of the weights of a WaveNet in the order in which `kernels.steps` reads them.

    It does not follow later training. Every width is padded with zeros to a multiple of 16.

    weights: `bfloat16` keeps them in 16 bits, so that a step reads half as many bytes.
    """

    def __init__(self, net: WaveNet, weights: Literal["float32", "bfloat16"] = "float32") -> None:
        config, stack, pairs = net.config, net.stack, weights == "bfloat16"
        self.check, self.outputs = net.check, len(_array(net.head[3].bias))
        self.bands, self.mixture = (net.bands, net.rule) if isinstance(net, BandWaveNet) else (1, SOFTMAX)
        self.residual, self.gates = [config.residual], [config.gate] * 2
        self.lags = np.array([layer.lags for layer in stack])
        self.taps_bias = np.stack([pad(_array(layer.taps.bias), self.gates) for layer in stack])
        taps = [pack(layer.taps, self.gates, self.residual * config.kernel, pairs) for layer in stack]
        last = taps[0].shape[1] // config.kernel
        split = [config.residual, config.skip]
        outs = [pack(layer.out, split, [config.gate], pairs) for layer in stack]
        self.weights = (
            pad(_array(net.embed.weight), self.residual, 1),
            np.stack([weight[:, :-last] for weight in taps]),
            np.stack([weight[:, -last:] for weight in taps]),
            np.stack(outs),
            np.stack([pad(_array(layer.out.bias), split) for layer in stack]),
        )
        self.head = (*self._head(net.head[1], pairs), *self._head(net.head[3], pairs))

    @staticmethod
    def _head(linear: nn.Module, pairs: bool) -> tuple[np.ndarray, np.ndarray]:
        outputs, inputs = _array(linear.weight).shape
        return pack(linear, [outputs], [inputs], pairs), pad(_array(linear.bias), [outputs])

    @torch.inference_mode()  # of the thread that runs it
    def run(
        self,
        state: State,
        table: Tensor,
        chance: np.ndarray,
        first: np.ndarray,
        rule: tuple[float, int, float],
        added: Tensor | None = None,
    ) -> np.ndarray:
        """Draw classes as `Sampler.sample` does.

        state: its rings are updated; its time is left to the caller.
        table: (L, F, rows, 2G).
        chance: (rows, T) uniform numbers; of a net of bands, (rows, T, bands).
        first: (rows,), the classes before the first step; of a net of bands, (rows, bands).
        rule: temperature, top_k and top_p of `Sampling`.
        added: (rows, T, R) of `WaveNet.forward`.

        Returns classes of the shape of `chance`, int64. Raises ValueError for a first class outside the alphabet.
        """
        classes = np.empty((len(first), chance.shape[1] + 1, self.bands), np.int64)
        classes[:, 0] = first.reshape(-1, self.bands)
        rings = np.concatenate([self._ring(_array(ring)) for ring in state.rings], axis=1)
        chances = np.ascontiguousarray(chance.reshape(*chance.shape[:2], self.bands))
        self._steps(rings, state.time, (table, added), (chances, rule), classes, NO_TRACE)
        begin = 0
        for ring in state.rings:
            lag, rows, width = ring.shape
            end = begin + lag * self.weights[0].shape[1]
            moved = rings[:, begin:end].reshape(rows, lag, -1)[..., :width].swapaxes(0, 1)
            ring.copy_(torch.from_numpy(moved))
            begin = end
        return classes[:, 1:].reshape(chance.shape)

    def logits(self, inputs: Tensor, table: Tensor, added: Tensor | None = None) -> np.ndarray:
        """`WaveNet.forward`: inputs (B, T) or (B, T, bands), each the class before -> (B, T, outputs of the head).

        Raises ValueError for a class outside the alphabet, and for a table that does not fit the inputs.
        """
        rows, length = inputs.shape[:2]
        self.check(table, rows, length)
        given = inputs.numpy().reshape(rows, length, self.bands)
        classes = np.append(given, np.zeros((rows, 1, self.bands), np.int64), axis=1)
        rings = np.zeros((rows, self.lags[:, 0].sum() * self.weights[0].shape[1]), np.float32)
        trace = np.zeros((rows, length, self.outputs), np.float32)
        self._steps(rings, 0, (table, added), (np.zeros(given.shape), (1.0, 0, 1.0)), classes, trace)
        return trace

    def _steps(
        self,
        rings: np.ndarray,
        time: int,
        condition: tuple[Tensor, Tensor | None],
        draws: Any,
        classes: np.ndarray,
        trace: Any,
    ) -> None:
        given, alphabet = classes if len(trace) else classes[:, 0], len(self.weights[0]) // self.bands
        if given.size and not 0 <= given.min() <= given.max() < alphabet:
            raise ValueError(f"classes are between 0 and {alphabet - 1}")
        table, added = condition
        hop = (classes.shape[1] - 1) // table.shape[1]
        biased = pad(_array(table), self.gates, 3) + self.taps_bias[:, None, None]
        known = np.zeros((len(classes), 0, 0), np.float32) if added is None else pad(_array(added), self.residual, 2)
        state, conditions = (rings, time), (biased, hop, known)
        steps(self.weights, self.head, self.lags, state, conditions, draws, self.mixture, classes, trace)

    def _ring(self, ring: np.ndarray) -> np.ndarray:
        """A ring of `State` (lag, rows, R) as `kernels.steps` has it, (rows, lag * padded R)."""
        return pad(ring.swapaxes(0, 1), self.residual, 2).reshape(ring.shape[1], -1)


def pad(array: np.ndarray, widths: Sequence[int], axis: int = 0) -> np.ndarray:
    """Split an axis into parts of these widths and pad each with zeros to a multiple of 16."""
    ends = np.cumsum(widths)[:-1]
    return np.concatenate(
        [
            np.pad(part, [(0, -size % LANES if i == axis else 0) for i, size in enumerate(part.shape)])
            for part in np.split(array, ends, axis)
        ],
        axis,
    )


def pack(linear: nn.Module, outputs: Sequence[int], inputs: Sequence[int], pairs: bool) -> np.ndarray:
    """The weight of a torch Linear in the order in which `simd.add_product` reads it, (blocks, inputs, 16).

    outputs, inputs: the widths of the parts of either axis, each of which is padded.
    pairs: as words of `bfloat16_pairs`, (blocks, inputs / 2, 16) uint32.
    """
    ordered = blocks(pad(pad(_array(linear.weight), outputs), inputs, 1))
    return bfloat16_pairs(ordered) if pairs else ordered


def bfloat16_pairs(weight: np.ndarray) -> np.ndarray:
    """Pack weights of two inputs into one word: (blocks, inputs, 16) float32 -> (blocks, inputs / 2, 16) uint32.

    The even input's weight is the low half, as a bfloat16. The odd input's weight is read as the whole word, so that
    the high half is rounded with the low half as its tail.
    """
    bits = weight.view(np.uint32).astype(np.int64)
    low = np.minimum((bits[:, 0::2] + 0x8000) >> 16, 0xFFFF)
    odd = bits[:, 1::2]
    high = ((odd & 0x7FFFFFFF) - low + 0x8000) >> 16  # of the magnitude, or a zero would borrow from its sign
    words: np.ndarray = np.clip(high, 0, 0x7F7F) << 16 | odd & 0x80000000 | low
    return words.astype(np.uint32)


def announce() -> None:
    """Log that the kernels will now be compiled, unless Numba's cache on disk has them."""
    if not is_cached(steps):
        log.warning("compiling the sampler for this processor, once (some 10 seconds)")


def _array(tensor: Tensor | nn.Module) -> np.ndarray:
    assert isinstance(tensor, Tensor)
    array: np.ndarray = np.ascontiguousarray(tensor.detach().float().numpy())
    return array

"""The compiled engine of `sampler`: one WaveNet step after another on one core, without an interpreter between.

Batch 1 is bound by reading the weights, so these lie in the order in which they are read: for every 32
outputs a run of (inputs, 32), all taps of a layer in one matrix, residual and skip in one. The matrix-vector
product is written as LLVM vectors (`@intrinsic`), which LLVM turns into what the processor has (AVX, NEON,
...); everything else is plain loops. Compiled once and kept on disk by Numba.
"""

import logging
import math
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic
from torch import Tensor

from speechvq.wavenet import State, WaveNet

log = logging.getLogger(__name__)

LANES = 8  # floats in a vector
VECTORS = 4  # vectors of outputs at a time
BLOCK = LANES * VECTORS
NO_TRACE = np.zeros((0, 0), np.float32)
FLAGS = {"contract", "reassoc", "nsz", "arcp"}  # let LLVM vectorize sums; NaN and infinity keep their meaning


def _matvec(context: Any, weight: Any, x: Any, out: Any) -> Any:
    """out (blocks * 32,) += weight, as `pack` gives it, applied to x; inputs and outputs are float32."""

    def generate(target: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        arrays = [
            target.make_array(kind)(target, builder, value)
            for kind, value in zip(signature.args, arguments, strict=True)
        ]
        blocks, rows, _ = cgutils.unpack_tuple(builder, arrays[0].shape, 3)
        pairs = weight.dtype == types.uint32
        with cgutils.for_range(builder, blocks) as loop:
            _emit_block(builder, [array.data for array in arrays], loop.index, rows, pairs)
        return target.get_dummy_value()

    return types.void(weight, x, out), generate


_add_matvec: Any = intrinsic(_matvec)


def _emit_block(builder: Any, data: list[Any], block: Any, rows: Any, pairs: bool) -> None:
    """LLVM code for one block of 32 outputs: two inputs a turn, so that 8 sums are under way at a time.

    pairs: a row holds the weights of two inputs (see `bfloat16_pairs`), else of one.
    """
    weight, x, out = data
    int32 = ir.IntType(32)
    vector, words = ir.VectorType(ir.FloatType(), LANES), ir.VectorType(int32, LANES)

    def constant(value: int) -> Any:
        return ir.Constant(rows.type, value)

    def pointer(base: Any, offset: Any, kind: Any = vector) -> Any:
        return builder.bitcast(builder.gep(base, [offset]), kind.as_pointer())

    def weights(row: Any, turn: int, i: int) -> Any:
        place = builder.add(builder.mul(row, constant(BLOCK)), constant(LANES * i))
        if not pairs:
            return builder.load(pointer(weight, place), align=4)
        word = builder.load(pointer(weight, place, words), align=4)
        if turn == 0:
            word = builder.shl(word, ir.Constant(words, [16] * LANES))
        return builder.bitcast(word, vector)

    first = builder.mul(block, constant(BLOCK))
    outputs = [pointer(out, builder.add(first, constant(LANES * i))) for i in range(VECTORS)]
    sums = [cgutils.alloca_once(builder, vector) for _ in range(2 * VECTORS)]
    for i, total in enumerate(sums):
        builder.store(builder.load(outputs[i], align=4) if i < VECTORS else ir.Constant(vector, None), total)
    with cgutils.for_range(builder, rows if pairs else builder.udiv(rows, constant(2))) as loop:
        for turn in range(2):
            place = builder.add(builder.mul(loop.index, constant(2)), constant(turn))
            value = builder.insert_element(
                ir.Constant(vector, ir.Undefined), builder.load(builder.gep(x, [place])), ir.Constant(int32, 0)
            )
            value = builder.shuffle_vector(value, ir.Constant(vector, ir.Undefined), ir.Constant(words, None))
            row = builder.add(builder.mul(block, rows), loop.index if pairs else place)
            for i, total in enumerate(sums[turn * VECTORS : (turn + 1) * VECTORS]):
                product = builder.fmul(value, weights(row, turn, i), flags=["contract"])
                builder.store(builder.fadd(builder.load(total), product, flags=["contract"]), total)
    for i, target in enumerate(outputs):
        both = builder.fadd(builder.load(sums[i]), builder.load(sums[i + VECTORS]))
        builder.store(both, target, align=4)


@njit(fastmath=FLAGS, inline="always")
def _tanh(x: Any) -> Any:
    """The rational approximation of Eigen's fast tanh; within 4e-7 of it everywhere."""
    x = min(max(x, np.float32(-7.9)), np.float32(7.9))
    s = x * x
    p = np.float32(-2.76076847742355e-16)
    p = p * s + np.float32(2.00018790482477e-13)
    p = p * s + np.float32(-8.60467152213735e-11)
    p = p * s + np.float32(5.12229709037114e-08)
    p = p * s + np.float32(1.48572235717979e-05)
    p = p * s + np.float32(6.37261928875436e-04)
    p = p * s + np.float32(4.89352455891786e-03)
    q = np.float32(1.19825839466702e-06)
    q = q * s + np.float32(1.18534705686654e-04)
    q = q * s + np.float32(2.26843463243900e-03)
    q = q * s + np.float32(4.89352518554385e-03)
    return x * p / q


@njit(fastmath=FLAGS)
def _gate(h: Any, y: Any, width: int) -> None:
    """y = tanh(a) * sigmoid(b), with h = [a, b]."""
    half = np.float32(0.5)
    for i in range(width):
        y[i] = _tanh(h[i]) * (half + half * _tanh(half * h[width + i]))


@njit
def _relu(x: Any, out: Any, width: int, scale: float) -> None:
    for i in range(width):
        out[i] = max(x[i] * np.float32(scale), np.float32(0))


@njit
def _draw(logits: Any, cumulative: Any, chance: float, temperature: float) -> int:
    """`sampler.draw` for one row."""
    if temperature == 0:
        return int(np.argmax(logits[: len(cumulative)]))
    total, top = 0.0, logits[: len(cumulative)].max()
    for i in range(len(cumulative)):
        total += math.exp((logits[i] - top) / temperature)
        cumulative[i] = total
    picked = 0
    while picked < len(cumulative) - 1 and cumulative[picked] <= chance * total:
        picked += 1
    return picked


@njit
def _layer(x: Any, gathered: Any, ring: Any, lags: Any, time: int) -> None:
    """Gather the taps of a layer, then remember its input x."""
    width = len(x)
    for tap in range(len(lags) - 1):
        place = (time - lags[tap]) % lags[0] * width
        for i in range(width):
            gathered[tap * width + i] = ring[place + i]
    place = time % lags[0] * width
    for i in range(width):
        gathered[(len(lags) - 1) * width + i] = x[i]
        ring[place + i] = x[i]


@njit(nogil=True, cache=True)
def _steps(
    sizes: Any,
    layers: Any,
    head: Any,
    lags: Any,
    rings: Any,
    time: int,
    condition: Any,
    draws: Any,
    classes: Any,
    trace: Any,
) -> None:
    """Fill classes (T + 1,) behind its first entry, the class before; rings change in place.

    With a trace (T, alphabet), which takes the logits, classes are given and none is drawn.

    sizes: (R, G, skip, alphabet). layers: embedding, and (taps, out) as weights and biases, stacked over layers.
    condition: (table (L, F, 2G), steps a frame). draws: (chances (T,), temperature).
    """
    residual, gate, skip, alphabet = sizes
    embedding, taps, taps_bias, outs, outs_bias = layers
    hidden, hidden_bias, last, last_bias = head
    (table, hop), (chances, temperature) = condition, draws
    gathered, gated = np.zeros(lags.shape[1] * residual + 1, np.float32), np.zeros(gate + 1, np.float32)
    h, out = np.zeros(taps_bias.shape[1], np.float32), np.zeros(outs_bias.shape[1], np.float32)
    x, total, relu = np.zeros(residual, np.float32), np.zeros(skip, np.float32), np.zeros(skip + 1, np.float32)
    middle, logits, cumulative = np.zeros_like(hidden_bias), np.zeros_like(last_bias), np.zeros(alphabet)
    for t in range(len(chances)):
        x[:] = embedding[classes[t]]
        total[:] = 0
        begin = 0
        for i in range(len(lags)):
            _layer(x, gathered, rings[begin:], lags[i], time + t)
            begin += lags[i, 0] * residual
            h[:] = taps_bias[i]
            for j in range(2 * gate):
                h[j] += table[i, t // hop, j]
            _add_matvec(taps[i], gathered, h)
            _gate(h, gated, gate)
            out[:] = outs_bias[i]
            _add_matvec(outs[i], gated, out)
            for j in range(residual):
                x[j] += out[j]
            for j in range(skip):
                total[j] += out[residual + j]
        _relu(total, relu, skip, math.sqrt(1 / len(lags)))
        middle[:] = hidden_bias
        _add_matvec(hidden, relu, middle)
        _relu(middle, relu, skip, 1.0)
        logits[:] = last_bias
        _add_matvec(last, relu, logits)
        if len(trace):
            trace[t] = logits[:alphabet]
        else:
            classes[t + 1] = _draw(logits, cumulative, chances[t], temperature)


class CompiledWaveNet:
    """The weights of a WaveNet, packed for `_steps`. They are copied: pack again after training.

    weights: `bfloat16` keeps them in 16 bits, which is half of what must be read for each sample.
    """

    def __init__(self, net: WaveNet, weights: Literal["float32", "bfloat16"] = "float32") -> None:
        config, stack = net.config, net.stack
        self.sizes = (config.residual, config.gate, config.skip, net.embed.num_embeddings)
        self.lags = np.array([layer.lags for layer in stack])
        pack = partial(_pack, pairs=weights == "bfloat16")
        packed = [(*pack(layer.taps), *pack(layer.out)) for layer in stack]
        self.layers = (_array(net.embed.weight), *(np.stack(arrays) for arrays in zip(*packed, strict=True)))
        self.head = (*pack(net.head[1]), *pack(net.head[3]))

    def run(
        self, state: State, row: int, table: np.ndarray, hop: int, chances: np.ndarray, temperature: float, first: int
    ) -> np.ndarray:
        """Draw len(chances) classes after `first` for one row of a batch -> int64 (T,).

        table (L, F, 2G) float32 with T <= F * hop. The row's rings move on; the state's time is the caller's.
        """
        views = [ring.numpy()[:, row] for ring in state.rings]
        rings = np.concatenate([view.reshape(-1) for view in views])
        classes = np.empty(len(chances) + 1, np.int64)
        classes[0] = first
        draws = (np.ascontiguousarray(chances), float(temperature))
        self._call(rings, state.time, (table, hop), draws, classes)
        begin = 0
        for view in views:
            view[:] = rings[begin : begin + view.size].reshape(view.shape)
            begin += view.size
        return classes[1:]

    def logits(self, inputs: np.ndarray, table: np.ndarray, hop: int) -> np.ndarray:
        """inputs (T,), each the class before, and table (L, F, 2G) -> logits (T, classes), as `WaveNet.forward`."""
        rings = np.zeros(self.lags[:, 0].sum() * self.sizes[0], np.float32)
        classes = np.append(inputs, 0)
        draws = (np.zeros(len(inputs)), 1.0)
        trace = np.zeros((len(inputs), self.sizes[3]), np.float32)
        self._call(rings, 0, (np.ascontiguousarray(table), hop), draws, classes, trace)
        return trace

    def _call(
        self,
        rings: np.ndarray,
        time: int,
        condition: Any,
        draws: Any,
        classes: np.ndarray,
        trace: np.ndarray = NO_TRACE,
    ) -> None:
        _steps(self.sizes, self.layers, self.head, self.lags, rings, time, condition, draws, classes, trace)


def _pack(linear: Any, pairs: bool) -> tuple[np.ndarray, np.ndarray]:
    """A torch Linear -> weight (blocks, inputs, 32) and bias (blocks * 32,), padded with zeros; inputs even.

    pairs: the weight as `bfloat16_pairs` (blocks, inputs / 2, 32) uint32.
    """
    weight, bias = _array(linear.weight), _array(linear.bias)
    outputs, inputs = weight.shape
    padded = np.pad(weight, ((0, -outputs % BLOCK), (0, inputs % 2)))
    ordered = np.ascontiguousarray(padded.reshape(-1, BLOCK, padded.shape[1]).transpose(0, 2, 1))
    return bfloat16_pairs(ordered) if pairs else ordered, np.pad(bias, (0, -outputs % BLOCK))


def bfloat16_pairs(weight: np.ndarray) -> np.ndarray:
    """weight (blocks, inputs, 32) float32 -> uint32 (blocks, inputs / 2, 32): even inputs in the low half.

    The odd input's weight is read as the whole word, so its half is rounded with the other as its tail.
    """
    bits = weight.view(np.uint32).astype(np.int64)
    low = np.minimum((bits[:, 0::2] + 0x8000) >> 16, 0xFFFF)
    high = (bits[:, 1::2] - low + 0x8000) >> 16
    return ((np.clip(high, 0, 0xFFFF) << 16) | low).astype(np.uint32)


def announce() -> None:
    """Say once that the kernels will now be compiled, where Numba's cache on disk does not hold them."""
    if not _steps.signatures and not any(Path(_steps.stats.cache_path or "").glob("compiled._steps-*.nbi")):
        log.warning("compiling the sampler for this processor, once (some 10 seconds)")


def _array(tensor: Tensor) -> np.ndarray:
    return np.ascontiguousarray(tensor.detach().float().numpy())

"""The gated layers of a WaveNet as one operation with a backward pass of its own, for training on a CPU.

It computes the same as the modules `net.GatedLayer`, with the vector operations of `simd` and few passes over memory:

- an utterance goes through a layer in blocks of steps that stay in the cache;
- a dilation is an offset of whole rows;
- conditioning stays at the rate of its frames;
- x and the sum of the skip outputs lie side by side, so that one product adds to both, and one product takes the
  gradients of both back.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from speechvq.wavenet.simd import add_outer, add_product, add_row, blocks, cached, copy, gate, gate_back

BLOCK_STEPS = 192  # a multiple of the 6 rows of a tile


@cached
def _forward(
    begin: int, end: int, lags: Any, taps: Any, outs: Any, biases: Any, table: Any, inputs: Any, gates: Any, both: Any
) -> None:
    """Utterances begin .. end through all layers.

    lags: (L, taps) in steps.
    taps, outs: weights in the order of `blocks`, stacked over the layers (and the taps).
    biases: (L, R + skip), of the residual and skip outputs.
    table: (B, L, F, 2G), the conditioning with the biases of the taps.
    inputs: (B, L, T, R), filled with the input of each layer; with 1 for L, that of the last one.
    gates: (B, L, T, 2G) or with 1 for L, filled as `gate` leaves them.
    both: (B, T, R + skip), x and zeros before; the last x and the sum of the skip outputs after.
    """
    length, residual, width = inputs.shape[2], inputs.shape[3], gates.shape[3]
    hop, gated = length // table.shape[2], np.zeros((BLOCK_STEPS, width // 2), np.float32)
    for utterance in range(begin, end):
        for layer in range(len(lags)):
            x, h = inputs[utterance, layer % inputs.shape[1]], gates[utterance, layer % inputs.shape[1]]
            sums = both[utterance]
            for start in range(0, length, BLOCK_STEPS):
                stop = min(start + BLOCK_STEPS, length)
                # Remember the input; start the gates from the conditioning and the sums from the biases.
                for row in range(start, stop):
                    copy(sums, row, 0, x, row, 0, residual)
                    copy(table[utterance, layer], row // hop, 0, h, row, 0, width)
                    add_row(biases, layer, sums, row)
                for tap in range(lags.shape[1]):
                    lag = lags[layer, tap]
                    first = min(max(start, lag), stop)
                    add_product(taps[layer, tap], x[first - lag : stop - lag], h[first:stop])
                gate(h[start:stop], gated)
                add_product(outs[layer], gated[: stop - start], sums[start:stop])


@cached
def _backward(
    begin: int, end: int, lags: Any, taps: Any, outs: Any, inputs: Any, gates: Any, both: Any, gradients: Any
) -> None:
    """The gradients of utterances begin .. end, from the last layer to the first.

    taps, outs: as in `_forward`, but transposed.
    inputs, gates: as `_forward` left them.
    both: (B, T, R + skip), zeros and the gradient of the skip outputs before; in its first columns that of x after.
    gradients: d_table (B, L, F, 2G), d_taps (L, taps, 2G, R), d_outs (L, R + skip, G) and d_biases (L, R + skip), all
        added to.
    """
    d_table, d_taps, d_outs, d_biases = gradients
    length, width = inputs.shape[2], gates.shape[3]
    hop, gated = length // d_table.shape[2], np.zeros((BLOCK_STEPS, width // 2), np.float32)
    d_h = np.zeros((BLOCK_STEPS, width), np.float32)
    for utterance in range(begin, end):
        for layer in range(len(lags) - 1, -1, -1):
            x, sums = inputs[utterance, layer], both[utterance]
            for start in range(0, length, BLOCK_STEPS):
                stop = min(start + BLOCK_STEPS, length)
                own, own_gated, own_h = sums[start:stop], gated[: stop - start], d_h[: stop - start]
                own_gated[:] = 0
                add_product(outs[layer], own, own_gated)
                gate_back(gates[utterance, layer, start:stop], own_gated, own_h)
                add_outer(own, own_gated, d_outs[layer])
                for row in range(start, stop):
                    add_row(sums, row, d_biases, layer)
                    add_row(d_h, row - start, d_table[utterance, layer], row // hop)
                # In place: blocks go forward in time and taps back, so the sums that are added to have been used.
                for tap in range(lags.shape[1]):
                    lag = lags[layer, tap]
                    first = min(max(start, lag), stop)
                    later = own_h[first - start :]
                    add_outer(later, x[first - lag : stop - lag], d_taps[layer, tap])
                    add_product(taps[layer, tap], later, sums[first - lag : stop - lag])


class GatedStack(torch.autograd.Function):
    """apply(x, table, lags, spare, *weights) -> the sum of the skip outputs of all layers, (B, T, skip).

    x: (B, T, R).
    table: (L, F, B, 2G), T a multiple of F.
    lags: (L, taps) in steps.
    spare: a list that keeps the memory of one backward pass for the next forward pass, since new memory is slow to get
        from the system; None if there will be no backward pass.
    weights: of each layer, the weight and bias of its taps (2G, taps * R) and of its residual and skip outputs
        (R + skip, G).

    All float32 on the CPU; R, G and skip are multiples of 16.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, table: Tensor, lags: Sequence[Sequence[int]], spare: Any, *weights: Tensor
    ) -> Tensor:
        (batch, length, width), depth, skip = x.shape, len(lags), len(weights[3]) - x.shape[2]
        taps, taps_bias, outs, biases = _stacked(weights)
        both = torch.cat([x, x.new_zeros(batch, length, skip)], -1)
        inputs, gates = _take(spare, batch, 1 if spare is None else depth, length, width, taps.shape[1])
        packed = np.stack([_packed(layer.reshape(len(layer), -1, width).swapaxes(0, 1)) for layer in taps])
        conditions = np.ascontiguousarray(table.detach().numpy().transpose(2, 0, 1, 3)) + taps_bias[:, None]
        arrays = packed, _packed(outs), biases, conditions, inputs.numpy(), gates.numpy(), both.numpy()
        _parallel(batch, lambda *range_: _forward(*range_, np.array(lags), *arrays))
        ctx.lags, ctx.frames = np.array(lags), table.shape[1]
        ctx.inputs, ctx.gates, ctx.spare = inputs, gates, spare
        ctx.save_for_backward(*weights)
        return both[..., width:].contiguous()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_total: Tensor) -> Any:
        inputs, gates, weights = ctx.inputs, ctx.gates, ctx.saved_tensors
        del ctx.inputs, ctx.gates  # a second backward pass fails rather than reads what the next step has overwritten
        batch, depth, length, width = inputs.shape
        taps, _, outs, biases = _stacked(weights)
        taps = taps.reshape(*taps.shape[:2], -1, width).transpose(0, 2, 3, 1)
        both = torch.cat([d_total.new_zeros(batch, length, width), d_total], -1)
        d_table = np.zeros((batch, depth, ctx.frames, gates.shape[3]), np.float32)
        packed = np.stack([_packed(layer) for layer in taps]), _packed(outs.swapaxes(1, 2))

        def run(begin: int, end: int) -> tuple[np.ndarray, ...]:
            shapes = (depth, taps.shape[1], taps.shape[3], width), outs.shape, biases.shape
            own = tuple(np.zeros(shape, np.float32) for shape in shapes)
            arrays = inputs.numpy(), gates.numpy(), both.numpy(), (d_table, *own)
            _backward(begin, end, ctx.lags, *packed, *arrays)
            return own

        parts = _parallel(batch, run)
        d_taps, d_outs, d_biases = (torch.from_numpy(sum(some)) for some in zip(*parts, strict=True))
        d_taps = d_taps.transpose(1, 2).flatten(2)
        d_bias = torch.from_numpy(d_table.sum((0, 2)))
        flat = [gradient for layer in zip(d_taps, d_bias, d_outs, d_biases, strict=True) for gradient in layer]
        ctx.spare[:] = [(inputs, gates)]
        return both[..., :width].contiguous(), torch.from_numpy(d_table).permute(1, 2, 0, 3), None, None, *flat


def _take(spare: Any, batch: int, depth: int, length: int, *widths: int) -> tuple[Tensor, ...]:
    """Tensors (B, L, T, width), one of each width: the spare ones, if they fit."""
    shapes = [(batch, depth, length, width) for width in widths]
    with suppress(IndexError):  # another thread has taken them
        kept: tuple[Tensor, ...] = spare.pop() if spare else ()
        if [tensor.shape for tensor in kept] == shapes:
            return kept
    return tuple(torch.empty(shape, dtype=torch.float32) for shape in shapes)


def _stacked(weights: Sequence[Tensor]) -> list[np.ndarray]:
    """The four kinds of weights, each stacked over the layers."""
    return [torch.stack(tuple(weights[i::4])).detach().numpy() for i in range(4)]


def _packed(matrices: np.ndarray) -> np.ndarray:
    """Each matrix in the order in which `add_product` reads it."""
    return np.stack([blocks(matrix) for matrix in matrices])


def _parallel(batch: int, work: Callable[[int, int], Any]) -> list[Any]:
    """Call work(begin, end) on parts of the batch, in as many threads as torch has -> the results in order."""
    cuts = np.linspace(0, batch, min(torch.get_num_threads(), batch) + 1).astype(int)
    with ThreadPoolExecutor(len(cuts) - 1) as pool:
        return list(pool.map(work, cuts[:-1], cuts[1:]))

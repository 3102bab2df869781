"""The sampling loop of the compiled engine: one WaveNet step after another, without the interpreter."""

import math
from typing import Any

import numpy as np
from numba import njit

from speechvq.wavenet.simd import add_product, add_row, cached, copy, gate

LOOK_AHEAD = 24  # steps whose past taps are computed at a time; a multiple of the 6 rows of a tile
FLAGS = {"contract", "reassoc", "nsz", "arcp"}  # let LLVM vectorize; NaN and infinity keep their meaning


@njit
def _relu(x: Any, begin: int, scale: float, out: Any) -> None:
    """out (rows, width) = the positive part of x[:, begin:] * scale."""
    factor = np.float32(scale)
    for row in range(len(out)):
        for i in range(out.shape[1]):
            out[row, i] = max(x[row, begin + i] * factor, np.float32(0))


@njit
def _spread(bias: Any, out: Any) -> None:
    """out (rows, width) = bias in every row."""
    for row in range(len(out)):
        for i in range(len(bias)):
            out[row, i] = bias[i]


@njit
def _look_back(rings: Any, begin: int, lags: Any, time: int, count: int, width: int, past: Any) -> None:
    """Gather the inputs of a layer, lags[i] before each of `count` steps from `time` on.

    rings: (rows, sum of the longest lags * R), in which that of the layer begins at `begin`.
    past: (count * rows, past taps * R), filled.
    """
    for step in range(time, time + count):
        for tap in range(len(lags) - 1):
            offset = begin + (step - lags[tap]) % lags[0] * width
            for row in range(len(rings)):
                copy(rings, row, offset, past, (step - time) * len(rings) + row, tap * width, width)


@njit(fastmath=FLAGS)
def _exponentials(logits: Any, row: int, temperature: float, out: Any) -> float:
    """Fill out with exp((logits[row] - their maximum) / temperature) -> the sum.

    The error is at most 2e-7, and 1e-5 of a value; values below 2^-125 become 0.
    """
    top = logits[row, : len(out)].max()
    scale = np.float32(min(1.4426950408889634 / temperature, 1e38))
    total = 0.0
    for i in range(len(out)):
        y = max((logits[row, i] - top) * scale, np.float32(-125))
        # 2^y = 2^whole * 2^f with |f| <= 1/2: the exponent's bits, and the Taylor series in f ln 2.
        whole = np.floor(y + np.float32(0.5))
        f = y - whole
        p = np.float32(1.5252734e-5)
        p = p * f + np.float32(1.5403530e-4)
        p = p * f + np.float32(1.3333558e-3)
        p = p * f + np.float32(9.6181291e-3)
        p = p * f + np.float32(5.5504109e-2)
        p = p * f + np.float32(2.4022651e-1)
        p = p * f + np.float32(6.9314718e-1)
        p = p * f + np.float32(1.0)
        power = (np.int32(whole) + np.int32(127)) << np.int32(23)
        out[i] = p * np.int32(power).view(np.float32) if y > np.float32(-125) else np.float32(0)
        total += out[i]
    return total


@njit
def _leave_likely(weights: Any, top_k: int, top_p: float) -> float:
    """Set to zero the weights that top_k and top_p exclude -> the sum of the others (see `sampler._least`)."""
    ordered = np.sort(weights)[::-1]
    last = min(top_k, len(ordered)) if top_k else len(ordered)
    total = 0.0
    for i in range(last):
        total += ordered[i]
    least, before = ordered[0], 0.0
    for i in range(last):
        if before < top_p * total:
            least = ordered[i]
        before += ordered[i]
    total = 0.0
    for i in range(len(weights)):
        if weights[i] < least:
            weights[i] = 0
        total += weights[i]
    return total


@njit
def _draw(logits: Any, row: int, chance: float, rule: Any, weights: Any) -> int:
    """`sampler.draw` for one row; weights: (classes,), overwritten."""
    temperature, top_k, top_p = rule
    if temperature == 0:
        return int(np.argmax(logits[row, : len(weights)]))
    total = _exponentials(logits, row, temperature, weights)
    if top_k or top_p < 1:
        total = _leave_likely(weights, top_k, top_p)
    picked, cumulative = 0, float(weights[0])
    while picked < len(weights) - 1 and cumulative <= chance * total:
        picked += 1
        cumulative += weights[picked]
    return picked


@njit
def _draw_mixture(parameters: Any, chance: float, temperature: float, rule: Any) -> int:
    """`BandWaveNet.draw` for one band of one row, by its parameters (3 * components,)."""
    components, factor, least, most, reach, mu = rule
    top, best, total = np.float64(parameters[:components].max()), 0, 0.0
    for i in range(components):
        total += math.exp(np.float64(parameters[i]) - top)
        best = i if parameters[i] > parameters[best] else best
    picked, share, end = 0, math.exp(np.float64(parameters[0]) - top) / total, 0.0
    end = share
    while picked < components - 1 and end <= chance:
        picked += 1
        share = math.exp(np.float64(parameters[picked]) - top) / total
        end += share
    if temperature == 0:
        sample = np.float64(parameters[components + best]) * factor
    else:
        log_scale = min(max(np.float64(parameters[2 * components + picked]), least), most)
        quantile = min(max((chance - end + share) / share, 1e-6), 1 - 1e-6)
        sample = np.float64(parameters[components + picked]) * factor
        sample += temperature * math.exp(log_scale) * math.log(quantile / (1 - quantile))
    x = min(max(sample / reach, -1.0), 1.0)
    companded = math.copysign(math.log1p(mu * abs(x)) / math.log1p(mu), x)
    return int((companded + 1) / 2 * mu + 0.5)


@njit
def _enter(embedding: Any, classes: Any, added: Any, t: int, x: Any) -> None:
    """Begin step t: x = the embeddings of the classes before, and what is added to them."""
    bands = classes.shape[2]
    x[:] = 0
    for row in range(len(x)):
        for band in range(bands):
            add_row(embedding, band * (len(embedding) // bands) + classes[row, t, band], x, row)
        if added.shape[1]:
            add_row(added[row], t, x, row)


@njit
def _choose(logits: Any, t: int, draws: Any, mixture: Any, exponentials: Any, classes: Any) -> None:
    """Draw the classes of step t; exponentials: (classes,), overwritten."""
    chances, rule = draws
    width = 3 * mixture[0]
    for row in range(len(chances)):
        if width:
            for band in range(chances.shape[2]):
                own = logits[row, band * width : (band + 1) * width]
                classes[row, t + 1, band] = _draw_mixture(own, chances[row, t, band], rule[0], mixture)
        else:
            classes[row, t + 1, 0] = _draw(logits, row, chances[row, t, 0], rule, exponentials)


@njit
def _head(x: Any, layers: int, head: Any, relu: Any, middle: Any, logits: Any) -> None:
    """Logits from the sum of the skip outputs, the last columns of x; relu and middle (rows, skip) are overwritten."""
    hidden, hidden_bias, last, last_bias = head
    _relu(x, x.shape[1] - relu.shape[1], math.sqrt(1 / layers), relu)
    _spread(hidden_bias, middle)
    add_product(hidden, relu, middle)
    _relu(middle, 0, 1.0, relu)
    _spread(last_bias, logits)
    add_product(last, relu, logits)


@cached
def steps(
    weights: Any, head: Any, lags: Any, state: Any, condition: Any, draws: Any, mixture: Any, classes: Any, trace: Any
) -> None:
    """Draw T classes for each row, or compute the logits of classes that are given.

    weights: the embedding (bands * classes, R), then stacked over the layers the weights of the past taps, of the last
        tap, and of residual and skip outputs, and the biases of the latter; packed by `CompiledWaveNet`.
    head: weight, bias, weight, bias.
    lags: (L, taps) in steps.
    state: the rings (rows, sum of the longest lags * R), updated, and the time of the first step.
    condition: the table (L, F, rows, 2G) with the biases of the taps, the steps per frame, and what is added to the
        embedding (rows, T, R), or nothing, (rows, 0, R).
    draws: uniform numbers (rows, T, bands), and the rule (temperature, top_k, top_p).
    mixture: the numbers of `_draw_mixture`; of 0 components if the head predicts logits.
    classes: (rows, T + 1, bands), in the first column the classes before the first step; the others are filled.
    trace: (rows, T, outputs), filled with what the head predicts of given classes, none is then drawn; or of length 0.
    """
    embedding, earlier, now, outs, outs_bias = weights
    (rings, time), (table, hop, added) = state, condition
    (rows, length, bands), residual, gates = draws[0].shape, embedding.shape[1], table.shape[3]
    # The past taps of as many steps as the dilation are known at the first of them: one product, as if of many rows.
    ahead = max(LOOK_AHEAD // rows, 1)
    past = np.zeros((ahead * rows, (lags.shape[1] - 1) * residual), np.float32)
    h = np.zeros((len(lags), ahead * rows, gates), np.float32)
    x = np.zeros((rows, outs_bias.shape[1]), np.float32)  # beside it the sum of the skip outputs
    gated, skip = np.zeros((rows, gates // 2), np.float32), x.shape[1] - residual
    relu, middle = np.zeros((rows, skip), np.float32), np.zeros((rows, skip), np.float32)
    logits, exponentials = np.zeros((rows, len(head[3])), np.float32), np.zeros(len(embedding) // bands, np.float32)
    for t in range(length):
        _enter(embedding, classes, added, t, x)
        begin = 0
        for layer in range(len(lags)):
            known = min(lags[layer, -2], ahead)
            slot = t % known
            if slot == 0:
                count = min(known, length - t)
                _look_back(rings, begin, lags[layer], time + t, count, residual, past)
                for i in range(count * rows):
                    for j in range(gates):
                        h[layer, i, j] = table[layer, (t + i // rows) // hop, i % rows, j]
                add_product(earlier[layer], past[: count * rows], h[layer])
            own = h[layer, slot * rows : (slot + 1) * rows]
            add_product(now[layer], x, own)
            gate(own, gated)
            # Remember the input, then add the residual and skip outputs and their biases.
            offset = begin + (time + t) % lags[layer, 0] * residual
            for row in range(rows):
                copy(x, row, 0, rings, row, offset, residual)
                for i in range(x.shape[1]):
                    x[row, i] += outs_bias[layer, i]
            add_product(outs[layer], gated, x)
            begin += lags[layer, 0] * residual
        _head(x, len(lags), head, relu, middle, logits)
        if len(trace):
            trace[:, t] = logits[:, : trace.shape[2]]
        else:
            _choose(logits, t, draws, mixture, exponentials, classes)

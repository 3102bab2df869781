"""A prior's forward pass in integers: the same result on every machine, in every batch and on any number of threads.

Every value is an integer held in float64. As long as no sum can reach 2^53, which is checked for the weights at hand,
products and sums are exact, so that their order does not matter, and with it neither do BLAS, threads or fused
operations. Nonlinearities are tables, computed with `decimal`, whose exp is correctly rounded by definition.
"""

import math
from decimal import Context, Decimal, localcontext
from functools import cache

import numpy as np
from torch import Tensor, nn

from speechvq import SpeechVQError
from speechvq.nn.prior import Prior

ONE = 2.0**12  # the integer that stands for 1.0 in activations and weights
TABLE_ONE = 2.0**10  # entries of a table per 1.0 of its argument
GATE_RANGE = 8  # tanh and the logistic function are constant beyond
MAX_GAP = 17  # nats: no code is less likely than this relative to the most likely one
MAX_ACTIVATION = 2.0**20  # stands for 256
MAX_SUM = 2.0**52  # half of what float64 represents exactly


@cache
def gate_tables() -> tuple[np.ndarray, np.ndarray]:
    """tanh and the logistic function at every 1 / TABLE_ONE from -GATE_RANGE to GATE_RANGE, in units of 2^-15."""
    arguments = np.arange(-GATE_RANGE * int(TABLE_ONE), GATE_RANGE * int(TABLE_ONE) + 1)
    with localcontext(Context(prec=20)):
        falling = [(-Decimal(int(i)) / Decimal(int(TABLE_ONE))).exp() for i in arguments]
        sigmoid = [int((32768 / (1 + e)).to_integral_value()) for e in falling]
        tanh = [int((32768 * (1 - e * e) / (1 + e * e)).to_integral_value()) for e in falling]
    return np.array(tanh, float), np.array(sigmoid, float)


@cache
def exponential_table() -> np.ndarray:
    """exp(-i / TABLE_ONE) in units of 2^-24, for i up to MAX_GAP * TABLE_ONE."""
    with localcontext(Context(prec=20)):
        steps = [(-Decimal(i) / Decimal(int(TABLE_ONE))).exp() * 2**24 for i in range(MAX_GAP * int(TABLE_ONE) + 1)]
        return np.array([int(value.to_integral_value()) for value in steps], float)


class IntegerPrior:
    """A prior in integers, without a speaker.

    >>> state = integer_prior.start(batch)
    >>> weights = integer_prior.step(before, state)  # (batch, T) -> (batch, T, K); state moves on by T codes

    A call with T codes gives what T calls with one code give.

    Raises SpeechVQError if the weights are so large that sums may not be exact.
    """

    def __init__(self, prior: Prior) -> None:
        net = prior.net
        self.codes = prior.codes
        self.lags = [layer.lags for layer in net.stack]
        self.embed = np.clip(_round(_array(net.embed.weight) * ONE), -MAX_ACTIVATION, MAX_ACTIVATION)
        speaker = _array(prior.speakers.weight)[prior.unknown_speaker] / math.sqrt(prior.speakers.embedding_dim)
        # These sums are not of integers, but fsum is correctly rounded, as is all other arithmetic here by IEEE 754.
        conditioning = np.array([math.fsum(row * speaker) for row in _array(net.speaker.weight)])
        limit = MAX_SUM / len(self.lags)  # the skip connections of all layers are added up
        self.layers = []
        for layer, bias in zip(net.stack, np.split(conditioning, len(self.lags)), strict=True):
            self.layers.append((_linear(layer.taps, limit, extra=bias), _linear(layer.out, limit)))
        first, last = net.head[1], net.head[3]
        self.head = _linear(first, limit, scale=math.sqrt(1 / len(self.lags))), _linear(last, limit, rows=prior.codes)

    def start(self, batch: int) -> list[np.ndarray]:
        """The state before the first code: the last inputs of each layer."""
        return [np.zeros((batch, lags[0], self.embed.shape[1])) for lags in self.lags]

    def step(self, before: np.ndarray, state: list[np.ndarray]) -> np.ndarray:
        """Weights (B, T, K) that the probabilities of the codes are proportional to, integers from 1 to 2^24.

        before: (B, T) int64, the code before each; before the first one K, which stands for the start.
        state: changed into the state after these T codes.
        """
        x = self.embed[before]
        length, width = before.shape[1], x.shape[2]
        skips: np.ndarray | float = 0.0
        for i, ((taps, taps_bias), (out, out_bias)) in enumerate(self.layers):
            # Dilated convolution: the inputs at each lag, side by side, times one matrix.
            inputs = np.concatenate([state[i], x], axis=1)
            reach = self.lags[i][0]
            lagged = [inputs[:, reach - lag : reach - lag + length] for lag in self.lags[i]]
            mixed = _gate(np.concatenate(lagged, -1) @ taps + taps_bias) @ out + out_bias
            state[i] = inputs[:, length:]
            # Residual and skip connection.
            x = np.clip(x + _round(mixed[..., :width] / ONE), -MAX_ACTIVATION, MAX_ACTIVATION)
            skips = skips + mixed[..., width:]
        (first, first_bias), (last, last_bias) = self.head
        hidden = np.clip(_round(skips / ONE), 0, MAX_ACTIVATION) @ first + first_bias
        logits = np.clip(_round(hidden / ONE), 0, MAX_ACTIVATION) @ last + last_bias
        # Softmax without its sum: exp of how far each logit is below the highest.
        gaps = _round((logits.max(-1, keepdims=True) - logits) * (TABLE_ONE / ONE**2))
        entries = np.minimum(gaps, MAX_GAP * TABLE_ONE).astype(np.int64)
        weights: np.ndarray = np.maximum(exponential_table()[entries], 1.0)
        return weights


def _gate(h: np.ndarray) -> np.ndarray:
    """tanh of the first half of the channels, in 1 / ONE^2, times the logistic function of the second; in 1 / ONE."""
    tanh, sigmoid = gate_tables()
    limit = GATE_RANGE * int(TABLE_ONE)
    entries = np.clip(_round(h * (TABLE_ONE / ONE**2)), -limit, limit).astype(np.int64) + limit
    a, b = np.split(entries, 2, axis=-1)
    return _round(tanh[a] * sigmoid[b] * (ONE / 2.0**30))


def _round(x: np.ndarray | float) -> np.ndarray:
    return np.floor(np.asarray(x) + 0.5)


def _linear(
    linear: nn.Module, limit: float, *, extra: np.ndarray | float = 0.0, scale: float = 1.0, rows: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """The matrix (inputs, outputs) of a linear layer in 1 / ONE, and its bias in 1 / ONE^2.

    limit: no sum may reach it.
    extra: added to the bias. scale: of the matrix. rows: number of outputs that are kept.

    Raises SpeechVQError if a sum could reach the limit.
    """
    assert isinstance(linear, nn.Linear)
    weight = _round(_array(linear.weight)[:rows] * scale * ONE)
    bias = _round((_array(linear.bias)[:rows] + extra) * ONE**2)
    if not (np.abs(weight).sum(1) * MAX_ACTIVATION + np.abs(bias) < limit).all():
        raise SpeechVQError("the weights of this prior are too large for exact coding")
    return np.ascontiguousarray(weight.T), bias


def _array(weight: Tensor) -> np.ndarray:
    values: np.ndarray = weight.detach().cpu().double().numpy()
    return values

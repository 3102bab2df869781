"""A prior's forward pass in whole numbers, for coding: the same on every machine, in every batch, on any threads.

Every value is an integer held in float64. Where no sum can reach 2^53 (which is checked for the weights at hand),
products and sums of them are exact, so that their order, and with it the BLAS, its threads and fused operations, cannot
matter. The nonlinearities are tables, made with `decimal`, whose exp is correctly rounded by definition.
"""

import math
from decimal import Context, Decimal, localcontext
from functools import cache

import numpy as np
from torch import nn

from speechvq import SpeechVQError
from speechvq.nn.prior import Prior

UNIT = 2.0**12  # of activations and weights: 1.0
STEP = 2.0**10  # entries of a table for 1.0
REACH = 8  # tanh and the sigmoid are taken to be flat beyond
FAR = 17  # nats below the most likely code: no rarer than that
CLIP = 2.0**20  # activations stay below: 256
EXACT = 2.0**52


@cache
def gate_tables() -> tuple[np.ndarray, np.ndarray]:
    """tanh and the logistic function at every 1 / STEP from -REACH to REACH, in 2^-15."""
    places = np.arange(-REACH * int(STEP), REACH * int(STEP) + 1)
    with localcontext(Context(prec=20)):
        falling = [(-Decimal(int(i)) / Decimal(int(STEP))).exp() for i in places]
        sigmoid = [int((32768 / (1 + e)).to_integral_value()) for e in falling]
        tanh = [int((32768 * (1 - e * e) / (1 + e * e)).to_integral_value()) for e in falling]
    return np.array(tanh, float), np.array(sigmoid, float)


@cache
def exponential_table() -> np.ndarray:
    """exp(-i / STEP) in 2^-24, for i up to FAR * STEP."""
    with localcontext(Context(prec=20)):
        steps = [(-Decimal(i) / Decimal(int(STEP))).exp() * 2**24 for i in range(FAR * int(STEP) + 1)]
        return np.array([int(value.to_integral_value()) for value in steps], float)


class IntegerPrior:
    """A prior in whole numbers, over anyone's codes.

    >>> state = exact.start(batch)
    >>> weights = exact.step(before, state)  # (batch, T) -> (batch, T, codes), of whole numbers; the state moves on

    T steps at once give what one after another gives.
    """

    def __init__(self, prior: Prior) -> None:
        net = prior.net
        self.codes = prior.codes
        self.lags = [layer.lags for layer in net.stack]
        self.embed = np.clip(_round(_array(net.embed.weight) * UNIT), -CLIP, CLIP)
        speaker = _array(prior.speakers.weight)[prior.anyone] / math.sqrt(prior.speakers.embedding_dim)
        # Here sums are not of whole numbers, but fsum is correctly rounded, as is everything else in IEEE 754 here.
        told = [math.fsum(row * speaker) for row in _array(net.speaker.weight)]
        most = EXACT / len(self.lags)  # what they all skip is added up
        self.layers = []
        for layer, bias in zip(net.stack, np.split(np.array(told), len(self.lags)), strict=True):
            self.layers.append((_linear(layer.taps, most, extra=bias), _linear(layer.out, most)))
        first, last = net.head[1], net.head[3]
        self.head = _linear(first, most, scale=math.sqrt(1 / len(self.lags))), _linear(last, most, rows=prior.codes)

    def start(self, batch: int) -> list[np.ndarray]:
        """The state before the first code: what each layer was given in the last steps."""
        return [np.zeros((batch, lags[0], self.embed.shape[1])) for lags in self.lags]

    def step(self, before: np.ndarray, state: list[np.ndarray]) -> np.ndarray:
        """before (B, T): the code before each, first `codes` -> weights (B, T, codes), to which the probabilities are
        proportional: whole numbers from 1 to 2^24. `state` becomes that after these T codes."""
        x = self.embed[before]
        length, width = before.shape[1], x.shape[2]
        total: np.ndarray | float = 0.0
        for i, ((taps, taps_bias), (out, out_bias)) in enumerate(self.layers):
            whole = np.concatenate([state[i], x], axis=1)
            reach = self.lags[i][0]
            seen = [whole[:, reach - lag : reach - lag + length] for lag in self.lags[i]]
            mixed = _gate(np.concatenate(seen, -1) @ taps + taps_bias) @ out + out_bias
            state[i] = whole[:, length:]
            x = np.clip(x + _round(mixed[..., :width] / UNIT), -CLIP, CLIP)
            total = total + mixed[..., width:]
        (first, first_bias), (last, last_bias) = self.head
        hidden = np.clip(_round(total / UNIT), 0, CLIP) @ first + first_bias
        logits = np.clip(_round(hidden / UNIT), 0, CLIP) @ last + last_bias
        behind = (logits.max(-1, keepdims=True) - logits) * (STEP / UNIT**2)
        return np.maximum(exponential_table()[np.minimum(_round(behind), FAR * STEP).astype(np.int64)], 1.0)


def _gate(h: np.ndarray) -> np.ndarray:
    tanh, sigmoid = gate_tables()
    places = np.clip(_round(h * (STEP / UNIT**2)), -REACH * STEP, REACH * STEP).astype(np.int64) + REACH * int(STEP)
    a, b = np.split(places, 2, axis=-1)
    return _round(tanh[a] * sigmoid[b] * (UNIT / 2.0**30))


def _round(x: np.ndarray | float) -> np.ndarray:
    return np.floor(np.asarray(x) + 0.5)


def _linear(
    linear: nn.Module, most: float, *, extra: np.ndarray | float = 0.0, scale: float = 1.0, rows: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """(inputs, outputs) in 1 / UNIT and the bias in 1 / UNIT^2; SpeechVQError where a sum could reach `most`."""
    assert isinstance(linear, nn.Linear)
    weight = _round(_array(linear.weight)[:rows] * scale * UNIT)
    bias = _round((_array(linear.bias)[:rows] + extra) * UNIT**2)
    if not (np.abs(weight).sum(1) * CLIP + np.abs(bias) < most).all():
        raise SpeechVQError("weights as large as this prior's cannot be coded with exactly")
    return np.ascontiguousarray(weight.T), bias


def _array(weight: object) -> np.ndarray:
    return weight.detach().cpu().double().numpy()  # type: ignore[attr-defined]

"""WaveNet, the dilated causal network of van den Oord et al. 2016, for classes of audio samples and for codes.

Inside, tensors are time-major, (T, B, C). A dilation is then an offset of whole rows, and all taps of a layer are one
matrix product.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from speechvq.config import WaveNetConfig


class GatedLayer(nn.Module):
    """One layer: tanh(a) * sigmoid(b) of the dilated taps and the conditioning, then the residual and skip outputs."""

    def __init__(self, config: WaveNetConfig, dilation: int) -> None:
        super().__init__()
        self.skip = config.skip
        self.lags = [dilation * tap for tap in reversed(range(config.kernel))]
        self.taps = nn.Linear(config.kernel * config.residual, 2 * config.gate)
        self.out = nn.Linear(config.gate, config.residual + config.skip)

    def forward(self, x: Tensor, condition: Tensor | None) -> tuple[Tensor, Tensor]:
        """A whole utterance: x (T, B, R) and condition (F, B, 2G), T = F * hop -> x (T, B, R) and skip (T, B, skip)."""
        past = F.pad(x, (0, 0, 0, 0, self.lags[0], 0))
        gathered = torch.cat([past[self.lags[0] - lag :][: len(x)] for lag in self.lags], dim=-1)
        return self._mix(x, self.taps(gathered), condition)

    def step(self, x: Tensor, past: Tensor, time: int, condition: Tensor | None) -> tuple[Tensor, Tensor]:
        """One time step: x (B, R) -> x (B, R) and skip (B, skip).

        past: (ring, B, R), the earlier inputs, of which that at `time` modulo ring is overwritten.
        condition: (B, 2G).
        """
        gathered = torch.cat([past[(time - lag) % len(past)] for lag in self.lags[:-1]] + [x], dim=-1)
        past[time % len(past)] = x
        result, skip = self._mix(x[None], self.taps(gathered)[None], None if condition is None else condition[None])
        return result[0], skip[0]

    def _mix(self, x: Tensor, h: Tensor, condition: Tensor | None) -> tuple[Tensor, Tensor]:
        if condition is not None:
            # In place, and broadcast over the steps of a frame: no copy at the rate of the samples.
            h.view(len(condition), -1, *h.shape[1:]).add_(condition[:, None])
        a, b = h.chunk(2, dim=-1)
        residual, skip = self.out(a.tanh() * b.sigmoid()).split([x.shape[-1], self.skip], dim=-1)
        return x + residual, skip


@dataclass
class State:
    """The state of a WaveNet between two steps.

    rings: for each layer, its latest inputs (lag, B, R), that of time t at t modulo lag.
    time: of the next step.
    """

    rings: list[Tensor]
    time: int = 0

    def __getitem__(self, rows: slice) -> "State":
        """The state of some utterances of the batch: the same memory, but a time of its own."""
        return State([ring[:, rows] for ring in self.rings], self.time)


class WaveNet(nn.Module):
    """Logits of the next class, from the classes before it and a conditioning table.

    classes: the size of the alphabet.
    condition: channels C of the conditioning frames; 0 for a network without any.
    speaker: size E of the speaker vectors; 0 for a network without any.
    outputs: numbers that the head predicts; 0 for a logit of each class.
    """

    def __init__(self, config: WaveNetConfig, classes: int, condition: int, speaker: int, outputs: int = 0) -> None:
        super().__init__()
        self.config = config
        self.embed = nn.Embedding(classes, config.residual)
        self.layers = nn.ModuleList(GatedLayer(config, dilation) for dilation in config.dilations)
        self.head = nn.Sequential(
            nn.ReLU(),
            nn.Linear(config.skip, config.skip),
            nn.ReLU(),
            nn.Linear(config.skip, outputs or classes),
        )
        width = len(self.layers) * 2 * config.gate
        if condition:
            self.norm = nn.LayerNorm(condition, elementwise_affine=False)
            self.frames = nn.Linear(condition, width, bias=False)
        if speaker:
            self.speaker = nn.Linear(speaker, width, bias=False)
        self._spare: list[tuple[Tensor, Tensor]] = []  # see `layer_stack.GatedStack`

    @property
    def stack(self) -> Sequence[GatedLayer]:
        """The gated layers, lowest first."""
        return cast("Sequence[GatedLayer]", self.layers)

    @property
    def receptive_field(self) -> int:
        """The number of earlier classes that a prediction depends on."""
        return self.config.receptive_field

    def table(self, frames: Tensor | None, speaker: Tensor) -> Tensor:
        """The conditioning of every layer: what it adds to its gates, at the rate of the frames.

        frames: (B, C, F); None for a network without frames, F is then 1.
        speaker: (B, E).

        Returns (L, F, B, 2G).
        """
        flat = self.speaker(speaker / math.sqrt(speaker.shape[1]))[None]
        if frames is not None:
            flat = flat + self._of_frames(frames)
        return self._by_layer(flat)

    def _by_layer(self, flat: Tensor) -> Tensor:
        """A table (F, B, L * 2G) as `forward` takes it, (L, F, B, 2G)."""
        table: Tensor = flat.view(*flat.shape[:2], len(self.layers), -1).permute(2, 0, 1, 3)
        return table

    def _of_frames(self, frames: Tensor) -> Tensor:
        # Frames of unit length: longer ones saturate the gates before the network has learned what follows from the
        # samples alone (in steps 51 to 100 of small.toml 5.0 nats per sample, against 3.5).
        conditioning: Tensor = self.frames(self.norm(frames.permute(2, 0, 1)) / math.sqrt(frames.shape[1]))
        return conditioning

    def embedded(self, inputs: Tensor, added: Tensor | None = None) -> Tensor:
        """The input of the first layer: of classes (...), with what is added to it (..., R), (..., R)."""
        x: Tensor = self.embed(inputs)
        return x if added is None else x + added

    def forward(self, inputs: Tensor, table: Tensor | None = None, added: Tensor | None = None) -> Tensor:
        """Predict every class of an utterance from those before it.

        inputs: (B, T) int64, input t the class BEFORE the one predicted at t.
        table: (L, F, B, 2G) of `table`, T a multiple of F.
        added: (B, T, R), what is known of each step beforehand.

        Returns logits (B, T, classes), or what else the head predicts.
        Raises ValueError if the table does not fit the inputs.
        """
        config = self.config
        if table is not None:
            self.check(table, *inputs.shape[:2])
        on_cpu = self.embed.weight.device.type == "cpu" and self.embed.weight.dtype == torch.float32
        whole = not any(width % 16 for width in (config.residual, config.gate, config.skip))
        if not on_cpu or not whole or torch.is_autocast_enabled("cpu"):
            return self.plain(inputs, table, added)
        from speechvq.wavenet.layer_stack import GatedStack  # Numba takes seconds to import

        x, lags = self.embedded(inputs, added), [layer.lags for layer in self.stack]
        if table is None:
            table = x.new_zeros(len(lags), 1, len(inputs), 2 * config.gate)
        linears = [linear for layer in self.stack for linear in (layer.taps, layer.out)]
        weights = [part for linear in linears for part in (linear.weight, linear.bias)]
        learn = torch.is_grad_enabled() and any(part.requires_grad for part in (x, table, *weights))
        apply: Callable[..., Tensor] = GatedStack.apply
        return self._logits(apply(x, table.float(), lags, self._spare if learn else None, *weights))

    def check(self, table: Tensor, batch: int, steps: int) -> None:
        """Raises ValueError if the table is not one of so many utterances and steps."""
        expected = len(self.layers), table.shape[1], batch, 2 * self.config.gate
        if table.shape != expected or not table.shape[1] or steps % table.shape[1]:
            raise ValueError(f"a table {tuple(table.shape)} does not condition {batch} utterances of {steps} steps")

    def plain(self, inputs: Tensor, table: Tensor | None = None, added: Tensor | None = None) -> Tensor:
        """The same as `forward`, layer by layer in torch's own operations, for autograd and torch.compile."""
        x = self.embedded(inputs.transpose(0, 1), None if added is None else added.transpose(0, 1))
        total: Tensor | None = None
        for i, layer in enumerate(self.stack):
            x, skip = layer(x, None if table is None else table[i])
            total = skip if total is None else total + skip
        return self._logits(total).transpose(0, 1)

    def start(self, batch: int) -> State:
        """The state before the first step: zeros in every layer, like the padding of `forward`."""
        weight = self.embed.weight
        return State([weight.new_zeros(layer.lags[0], batch, self.config.residual) for layer in self.stack])

    def step(self, inputs: Tensor, condition: Tensor | None, state: State, added: Tensor | None = None) -> Tensor:
        """One step of `forward`: inputs (B,) and condition (L, B, 2G) -> logits (B, classes); updates the state."""
        x = self.embedded(inputs, added)
        total: Tensor | None = None
        for i, layer in enumerate(self.stack):
            x, skip = layer.step(x, state.rings[i], state.time, None if condition is None else condition[i])
            total = skip if total is None else total + skip
        state.time += 1
        return self._logits(total)

    def _logits(self, total: Tensor | None) -> Tensor:
        assert total is not None, "a WaveNet has at least one layer"
        logits: Tensor = self.head(total * math.sqrt(1 / len(self.layers)))
        return logits

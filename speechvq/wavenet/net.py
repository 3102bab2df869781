"""The dilated causal stack of WaveNet (van den Oord et al. 2016), for audio classes and for codes alike.

Inside, tensors are time-major, (T, B, C): a dilation is then an offset of whole rows, and all taps of a
layer are one matrix product.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from speechvq.config import WaveNetConfig


class GatedLayer(nn.Module):
    """One layer: tanh(a) * sigmoid(b) of the dilated taps and the conditioning, then residual and skip."""

    def __init__(self, config: WaveNetConfig, dilation: int) -> None:
        super().__init__()
        self.skip = config.skip
        self.lags = [dilation * tap for tap in reversed(range(config.kernel))]
        self.taps = nn.Linear(config.kernel * config.residual, 2 * config.gate)
        self.out = nn.Linear(config.gate, config.residual + config.skip)

    def forward(self, x: Tensor, condition: Tensor | None) -> tuple[Tensor, Tensor]:
        """x (T, B, R), condition (F, B, 2G) with T = F * hop -> x (T, B, R), skip (T, B, skip)."""
        past = F.pad(x, (0, 0, 0, 0, self.lags[0], 0))
        gathered = torch.cat([past[self.lags[0] - lag :][: len(x)] for lag in self.lags], dim=-1)
        return self._mix(x, self.taps(gathered), condition)

    def step(self, x: Tensor, past: Tensor, time: int, condition: Tensor | None) -> tuple[Tensor, Tensor]:
        """One time step: x (B, R), past (ring, B, R) of earlier inputs, changed in place."""
        gathered = torch.cat([past[(time - lag) % len(past)] for lag in self.lags[:-1]] + [x], dim=-1)
        past[time % len(past)] = x
        result, skip = self._mix(x[None], self.taps(gathered)[None], None if condition is None else condition[None])
        return result[0], skip[0]

    def _mix(self, x: Tensor, h: Tensor, condition: Tensor | None) -> tuple[Tensor, Tensor]:
        if condition is not None:
            # In place, and broadcast over the samples of a frame: nothing is copied at the sample rate.
            h.view(len(condition), -1, *h.shape[1:]).add_(condition[:, None])
        a, b = h.chunk(2, dim=-1)
        residual, skip = self.out(a.tanh() * b.sigmoid()).split([x.shape[-1], self.skip], dim=-1)
        return x + residual, skip


@dataclass
class State:
    """What a WaveNet remembers between steps: the time, and per layer a ring (lag, B, R) of its inputs."""

    rings: list[Tensor]
    time: int = 0

    def __getitem__(self, rows: slice) -> "State":
        """The state of some of the batch: the same memory, but a time of its own."""
        return State([ring[:, rows] for ring in self.rings], self.time)


class WaveNet(nn.Module):
    """Next-class logits from the classes before, a conditioning table and nothing of the future.

    classes: size of the alphabet. condition: channels C of the frames (0: it is given none), speaker: size E of the
    speaker vectors that `table` turns into conditioning.
    """

    def __init__(self, config: WaveNetConfig, classes: int, condition: int, speaker: int) -> None:
        super().__init__()
        self.config = config
        self.embed = nn.Embedding(classes, config.residual)
        self.layers = nn.ModuleList(GatedLayer(config, dilation) for dilation in config.dilations)
        self.head = nn.Sequential(
            nn.ReLU(), nn.Linear(config.skip, config.skip), nn.ReLU(), nn.Linear(config.skip, classes)
        )
        width = len(self.layers) * 2 * config.gate
        if condition:
            self.norm = nn.LayerNorm(condition, elementwise_affine=False)
            self.frames = nn.Linear(condition, width, bias=False)
        self.speaker = nn.Linear(speaker, width, bias=False)
        self._spare: list[tuple[Tensor, Tensor]] = []  # see `stack.GatedStack`

    @property
    def stack(self) -> Sequence[GatedLayer]:
        """The gated layers, lowest first."""
        return cast("Sequence[GatedLayer]", self.layers)

    @property
    def receptive_field(self) -> int:
        """Number of earlier classes that a prediction depends on."""
        return self.config.receptive_field

    def table(self, frames: Tensor | None, speaker: Tensor) -> Tensor:
        """frames (B, C, F) and speaker (B, E) -> what every layer adds to its gates, (L, F, B, 2G).

        At the rate of the frames: a longer frame costs nothing more. Without frames F = 1.
        """
        flat = self.speaker(speaker / math.sqrt(speaker.shape[1]))[None]
        if frames is not None:
            flat = flat + self._of_frames(frames)
        return flat.view(*flat.shape[:2], len(self.layers), -1).permute(2, 0, 1, 3)

    def _of_frames(self, frames: Tensor) -> Tensor:
        # Of unit length, or the conditioning saturates the gates before the stack has learned what follows
        # from the samples alone (steps 51 to 100 of small.toml: 3.5 nats a sample, against 5.0).
        return self.frames(self.norm(frames.permute(2, 0, 1)) / math.sqrt(frames.shape[1]))

    def forward(self, inputs: Tensor, table: Tensor | None = None) -> Tensor:
        """inputs (B, T) int64, input t the class BEFORE the one predicted at t -> logits (B, T, classes).

        T must be a multiple of the table's F.
        """
        config = self.config
        if table is not None:
            self.check(table, *inputs.shape)
        on_cpu = self.embed.weight.device.type == "cpu" and self.embed.weight.dtype == torch.float32
        whole = not any(width % 16 for width in (config.residual, config.gate, config.skip))
        if not on_cpu or not whole or torch.is_autocast_enabled("cpu"):
            return self.plain(inputs, table)
        from speechvq.wavenet.layer_stack import GatedStack  # Numba takes its time to import

        x, lags = self.embed(inputs), [layer.lags for layer in self.stack]
        if table is None:
            table = x.new_zeros(len(lags), 1, len(inputs), 2 * config.gate)
        linears = [linear for layer in self.stack for linear in (layer.taps, layer.out)]
        weights = [part for linear in linears for part in (linear.weight, linear.bias)]
        learn = torch.is_grad_enabled() and any(part.requires_grad for part in (x, table, *weights))
        return self._logits(GatedStack.apply(x, table.float(), lags, self._spare if learn else None, *weights))

    def check(self, table: Tensor, batch: int, steps: int) -> None:
        """ValueError where the table is not one of so many utterances and steps."""
        expected = len(self.layers), table.shape[1], batch, 2 * self.config.gate
        if table.shape != expected or not table.shape[1] or steps % table.shape[1]:
            raise ValueError(f"a table {tuple(table.shape)} does not condition {batch} utterances of {steps} steps")

    def plain(self, inputs: Tensor, table: Tensor | None = None) -> Tensor:
        """`forward` layer by layer, as autograd and torch.compile can follow it."""
        x = self.embed(inputs.T)
        total: Tensor | None = None
        for i, layer in enumerate(self.stack):
            x, skip = layer(x, None if table is None else table[i])
            total = skip if total is None else total + skip
        return self._logits(total).transpose(0, 1)

    def start(self, batch: int) -> State:
        """The state before the first step: as if zeros had gone through every layer, like `forward`'s padding."""
        weight = self.embed.weight
        return State([weight.new_zeros(layer.lags[0], batch, self.config.residual) for layer in self.stack])

    def step(self, inputs: Tensor, condition: Tensor | None, state: State) -> Tensor:
        """One step of `forward`: inputs (B,), condition (L, B, 2G) -> logits (B, classes); moves the state."""
        x = self.embed(inputs)
        total: Tensor | None = None
        for i, layer in enumerate(self.stack):
            x, skip = layer.step(x, state.rings[i], state.time, None if condition is None else condition[i])
            total = skip if total is None else total + skip
        state.time += 1
        return self._logits(total)

    def _logits(self, total: Tensor | None) -> Tensor:
        assert total is not None, "a WaveNet has at least one layer"
        return self.head(total * math.sqrt(1 / len(self.layers)))

"""Speed of WaveNet training, by engine, in seconds of audio per second.

    python benchmarks/training.py [--rounds 5] [--shapes S,M,B] [--threads 1] [--batch 8] [--out training.json]

Measures forward, backward and an Adam step on batches of random classes, one engine after another in every round, and
reports medians. Engines: `plain`, dilated nn.Conv1d layers as most WaveNets are written; `modules`, the layers of this
package under autograd; `ours`, what training uses, the same layers as one operation (speechvq/wavenet/layer_stack.py),
on a GPU (--device cuda) `modules` under torch.compile in bfloat16. `peak` is the share of the speed of torch's float32
matrix product that the multiplications of the network reach. Shape B (see benchmarks/sampling.py) has no `plain`
engine: its ratios are to `modules`.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from machine import sgemm_peak
from sampling import BANDS, CONDITION_HOP, SHAPES, WINDOW, bands, build, weights
from torch import Tensor, nn
from torch.nn import functional as F

from speechvq.config import WaveNetConfig
from speechvq.wavenet.bands import BandWaveNet
from speechvq.wavenet.net import WaveNet


class Plain(nn.Module):
    """A WaveNet of nn.Conv1d layers."""

    def __init__(self, config: WaveNetConfig) -> None:
        super().__init__()
        self.dilations = [2**i for i in range(config.layers)] * config.cycles
        self.embed = nn.Embedding(256, config.residual)
        width = config.residual
        self.taps = nn.ModuleList(nn.Conv1d(width, 2 * config.gate, 2, dilation=d) for d in self.dilations)
        self.residual = nn.ModuleList(nn.Conv1d(config.gate, width, 1) for _ in self.dilations)
        self.skip = nn.ModuleList(nn.Conv1d(config.gate, config.skip, 1) for _ in self.dilations)
        self.hidden, self.last = nn.Conv1d(config.skip, config.skip, 1), nn.Conv1d(config.skip, 256, 1)

    def forward(self, inputs: Tensor, table: Tensor) -> Tensor:
        """inputs (B, T), table (L, F, B, 2G) -> logits (B, T, 256)."""
        x, total = self.embed(inputs).transpose(1, 2), torch.zeros(())
        for i, dilation in enumerate(self.dilations):
            condition = table[i].permute(1, 2, 0).repeat_interleave(x.shape[2] // table.shape[1], -1)
            a, b = (self.taps[i](F.pad(x, (dilation, 0))) + condition).chunk(2, 1)
            gated = a.tanh() * b.sigmoid()
            total = total + self.skip[i](gated)
            x = x + self.residual[i](gated)
        logits: Tensor = self.last(self.hidden(total.relu()).relu())
        return logits.transpose(1, 2)


def one_step(
    net: WaveNet | Plain, config: WaveNetConfig, shape: tuple[int, int], call: Callable[..., Tensor], device: str
) -> Callable[[], None]:
    """A training step of `net`, run by `call`, on random classes of a shape (B, T)."""
    batch, length = shape
    layers, frames = config.cycles * config.layers, length // CONDITION_HOP
    table = torch.randn(layers, frames, batch, 2 * config.gate, device=device, requires_grad=True)
    over_bands = isinstance(net, BandWaveNet)
    size = (batch, frames * CONDITION_HOP // BANDS, BANDS) if over_bands else (batch, length)
    classes = torch.randint(256, size, device=device)
    guide = torch.randn(batch, BANDS, size[1] + 2 * WINDOW, device=device)
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-4)

    def step() -> None:
        with torch.autocast(device, torch.bfloat16, enabled=device == "cuda"):
            outputs = call(classes, table, net.guided(guide)) if isinstance(net, BandWaveNet) else call(classes, table)
        if isinstance(net, BandWaveNet):
            loss = net.nll(outputs.float(), classes).mean()
        else:
            loss = F.cross_entropy(outputs.flatten(0, 1).float(), classes.flatten())
        torch.autograd.backward(loss)
        optimizer.step()
        optimizer.zero_grad()
        if device == "cuda":
            torch.cuda.synchronize()

    return step


def main() -> None:
    """Measure every engine in turn, round after round, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="default: 5")
    parser.add_argument("--shapes", default="S,M", help="shapes of the WaveNet, of S, M, P and B (default: S,M)")
    parser.add_argument("--threads", type=int, default=1, help="default: 1")
    parser.add_argument("--batch", type=int, default=8, help="utterances of a batch (default: 8)")
    parser.add_argument(
        "--length", type=int, default=51 * CONDITION_HOP, help="samples of an utterance (default: 8160)"
    )
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--out", type=Path, default=Path("training.json"), help="default: training.json")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    peak, rows = sgemm_peak(16384, 256, 256), []
    print(f"{options.threads} threads: sgemm {peak / 1e9:.0f} GFLOP/s")
    print(f"{'shape':6} {'engine':8}{'audio-s/s':>10}{'x plain':>9}{'GFLOP/s':>9}{'peak':>6}")
    for name in options.shapes.split(","):
        net, plain = build(name).to(options.device), Plain(SHAPES[name]).to(options.device)
        ours = torch.compile(net.plain) if options.device == "cuda" else net
        calls: dict[str, tuple[WaveNet | Plain, Callable[..., Tensor]]] = {
            "plain": (plain, plain),
            "modules": (net, net.plain),
            "ours": (net, ours),
        }
        if isinstance(net, BandWaveNet):
            del calls["plain"]
        shape = options.batch, options.length
        steps = {
            engine: one_step(owner, SHAPES[name], shape, call, options.device)
            for engine, (owner, call) in calls.items()
        }
        times: dict[str, list[float]] = {engine: [] for engine in steps}
        for turn in range(options.rounds + 1):
            for engine, step in steps.items():
                start = time.perf_counter()
                step()
                if turn:  # the first warms up
                    times[engine].append(time.perf_counter() - start)
        for engine, taken in times.items():
            rate = options.batch * options.length / 16_000 / statistics.median(taken)
            ratio = statistics.median(a / b for a, b in zip(times[next(iter(times))], taken, strict=True))
            flops = 6 * weights(net) * 16_000 / bands(net) * rate
            print(f"{name:6} {engine:8}{rate:10.3f}{ratio:9.2f}{flops / 1e9:9.1f}{flops / peak:6.0%}")
            rows.append({"shape": name, "engine": engine, "audio_s_per_s": rate, "ratio": ratio, "flops": flops})
    machine = {"threads": options.threads, "sgemm_flops": peak, "device": options.device}
    options.out.write_text(json.dumps({"machine": machine, "rows": rows}, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

"""Samples per second of the sampler's engines, all in one run, interleaved: python benchmarks/sampling.py.

The reference is the module's ring-buffer step in PyTorch. Medians of several rounds; only the ratios of one
run mean anything on a shared machine. `limit`: the share of what the processor could do at most, be it reading
every weight once a step or multiplying each for every utterance, whichever takes longer.
"""

import argparse
import json
import statistics
import time
from pathlib import Path

import numpy as np
import torch
from machine import fma_peak, read_bandwidth, sgemm_peak

from speechvq.config import WaveNetConfig
from speechvq.wavenet.net import WaveNet
from speechvq.wavenet.sampler import Sampler, Sampling, chances

SHAPES = {
    "S": WaveNetConfig(cycles=2, layers=10, residual=64, gate=64, skip=128),
    "M": WaveNetConfig(cycles=3, layers=10, residual=128, gate=128, skip=256),
    "P": WaveNetConfig(cycles=3, layers=10, residual=256, gate=256, skip=256),
}
ENGINES = {
    "torch": Sampling(engine="torch"),
    "float32": Sampling(engine="compiled"),
    "bfloat16": Sampling(engine="compiled", weights="bfloat16"),
}
HOP = 160


def speed(net: WaveNet, sampling: Sampling, batch: int, threads: int, seconds: float) -> float:
    """Samples per second, all utterances together, from a run of about `seconds`."""
    torch.set_num_threads(threads)
    sampler, steps, taken = Sampler(net, sampling), HOP, 0.0
    while taken < seconds / 2:
        table = net.table(torch.randn(batch, 64, steps // HOP), torch.randn(batch, 32))
        chance = torch.from_numpy(np.stack([chances(0, i).random(steps) for i in range(batch)]))
        first, state = torch.full((batch,), 128), net.start(batch)
        begun = time.perf_counter()
        sampler.sample(first, chance, table, state)
        taken = time.perf_counter() - begun
        rate = steps * batch / taken
        steps = max(HOP, round(seconds * rate / batch / HOP) * HOP)
    return rate


def weights(net: WaveNet) -> int:
    """How many weights a step multiplies."""
    matrices = [layer.weight for layers in net.stack for layer in (layers.taps, layers.out)]
    return sum(weight.numel() for weight in [*matrices, net.head[1].weight, net.head[3].weight])  # type: ignore[union-attr, operator]


def main() -> None:
    """Measure every engine, shape, batch and number of threads in turn, round after round."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0, help="length of one measurement")
    parser.add_argument("--shapes", default="S,M,P")
    parser.add_argument("--out", type=Path, default=Path("sampling.json"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    nets = {name: WaveNet(SHAPES[name], 256, 64, 32).requires_grad_(False) for name in options.shapes.split(",")}
    peak = fma_peak()
    sizes = {
        (name, engine): weights(net) * (2 if engine == "bfloat16" else 4)
        for name, net in nets.items()
        for engine in ENGINES
    }
    bandwidth = {size: read_bandwidth(size) for size in set(sizes.values())}
    print(f"one core: {peak / 1e9:.0f} GFLOP/s of multiply-adds, sgemm {sgemm_peak(4096, 512, 512) / 1e9:.0f} GFLOP/s")
    for size, rate in sorted(bandwidth.items()):
        print(f"          {rate / 1e9:.0f} GB/s from {size / 1e6:.2f} MB of weights")
    cases = [(name, batch, threads) for name in nets for batch, threads in ((1, 1), (12, 1), (12, 2), (16, 1), (16, 2))]
    found: dict[tuple[str, int, int], dict[str, list[float]]] = {
        case: {engine: [] for engine in ENGINES} for case in cases
    }
    for engine in ("float32", "bfloat16"):
        speed(next(iter(nets.values())), ENGINES[engine], 1, 1, 0.1)  # compile, or load what is compiled
    for _ in range(options.rounds):
        for name, batch, threads in cases:
            for engine, rates in found[name, batch, threads].items():
                rates.append(speed(nets[name], ENGINES[engine], batch, threads, options.seconds))
    rows, columns = [], ("samples/s", "x real time", "x torch", "limit")
    print(f"\n{'shape':6}{'batch':>6}{'threads':>8}  {'engine':10}" + "".join(f"{name:>12}" for name in columns))
    for (name, batch, threads), engines in found.items():
        for engine, rates in engines.items():
            rate = statistics.median(rates)
            ratio = statistics.median(b / a for a, b in zip(engines["torch"], rates, strict=True))
            size = sizes[name, engine]
            share = rate / threads * max(size / bandwidth[size] / batch * threads, 2 * weights(nets[name]) / peak)
            print(
                f"{name:6}{batch:6}{threads:8}  {engine:10}{rate:12.0f}{rate / 16_000:12.2f}{ratio:12.1f}{share:12.0%}"
            )
            rows.append(
                {
                    "shape": name,
                    "batch": batch,
                    "threads": threads,
                    "engine": engine,
                    "samples_per_s": rates,
                    "ratio": ratio,
                    "share_of_limit": share,
                }
            )
    machine = {"fma_flops": peak, "read_bytes_per_s": bandwidth}
    options.out.write_text(json.dumps({"machine": machine, "rows": rows}, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

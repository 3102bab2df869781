"""Speed of WaveNet sampling, by engine, in samples per second.

    python benchmarks/sampling.py [--rounds 5] [--seconds 1] [--shapes S,M,P,B] [--out sampling.json]

Measures the compiled engine with float32 and bfloat16 weights against the ring-buffer step in PyTorch. The engines run
one after another in every round, and medians are reported: on a shared machine only the ratios of one run count.
`limit` is the share of the processor's limit: reading every weight once per step, or multiplying each weight for every
utterance, whichever takes longer. Shape B is that of recipes/vctk/bands.toml: a step draws a sample of each of 4 bands.
"""

import argparse
import json
import statistics
import time
from pathlib import Path

import numpy as np
import torch
from machine import fma_peak, read_bandwidth, sgemm_peak
from torch import Tensor

from speechvq.config import WaveNetConfig
from speechvq.wavenet.bands import BandWaveNet
from speechvq.wavenet.net import WaveNet
from speechvq.wavenet.sampler import Sampler, Sampling, chances

SHAPES = {
    "S": WaveNetConfig(cycles=2, layers=10, residual=64, gate=64, skip=128),
    "M": WaveNetConfig(cycles=3, layers=10, residual=128, gate=128, skip=256),
    "P": WaveNetConfig(cycles=3, layers=10, residual=256, gate=256, skip=256),
    "B": WaveNetConfig(cycles=2, layers=5, residual=64, gate=64, skip=128),
}
BANDS, COMPONENTS, CHANNELS, WINDOW = 4, 3, 161, 4  # of shape B (see `BandWaveNetDecoder`)
ENGINES = {
    "torch": Sampling(engine="torch"),
    "float32": Sampling(engine="compiled"),
    "bfloat16": Sampling(engine="compiled", weights="bfloat16"),
}
CONDITION_HOP = 160  # samples per frame of conditioning
Case = tuple[str, int, int]  # shape, batch, threads


def build(name: str) -> WaveNet:
    """The net of a shape, of random weights."""
    if name == "B":
        return BandWaveNet(SHAPES[name], BANDS, COMPONENTS, CHANNELS, WINDOW)
    return WaveNet(SHAPES[name], 256, 64, 32)


def bands(net: WaveNet) -> int:
    """The number of samples that a step draws."""
    return net.bands if isinstance(net, BandWaveNet) else 1


def condition(net: WaveNet, batch: int, frames: int) -> tuple[Tensor, Tensor | None]:
    """A table of random conditioning, and what is added to the first layer."""
    if isinstance(net, BandWaveNet):
        steps = frames * CONDITION_HOP // net.bands
        added = net.guided(torch.randn(batch, net.bands, steps + 2 * net.window))
        return net.table(torch.randn(batch, CHANNELS, frames)), added
    return net.table(torch.randn(batch, 64, frames), torch.randn(batch, 32)), None


def speed(net: WaveNet, sampling: Sampling, batch: int, threads: int, seconds: float) -> float:
    """Samples per second of all utterances together, from a run of about `seconds`."""
    torch.set_num_threads(threads)
    sampler, frames, taken, each = Sampler(net, sampling), 1, 0.0, bands(net)
    steps, shape = CONDITION_HOP // each, (each,) * (each > 1)
    while taken < seconds / 2:
        table, added = condition(net, batch, frames)
        chance = torch.from_numpy(np.stack([chances(0, i).random((frames * steps, *shape)) for i in range(batch)]))
        first, state = torch.full((batch, *shape), 128), net.start(batch)
        start = time.perf_counter()
        sampler.sample(first, chance, table, state, added)
        taken = time.perf_counter() - start
        rate = frames * CONDITION_HOP * batch / taken
        frames = max(1, round(seconds * rate / batch / CONDITION_HOP))
    return rate


def weights(net: WaveNet) -> int:
    """The number of weights that a step multiplies."""
    parts = ("layers.", "head.")
    return sum(weight.numel() for name, weight in net.named_parameters() if name.startswith(parts) and weight.ndim == 2)


def measure(nets: dict[str, WaveNet], rounds: int, seconds: float) -> dict[Case, dict[str, list[float]]]:
    """The samples per second of every case and engine, once for each round, interleaved."""
    cases = [(name, batch, threads) for name in nets for batch, threads in ((1, 1), (12, 1), (12, 2), (16, 1), (16, 2))]
    rates: dict[Case, dict[str, list[float]]] = {case: {engine: [] for engine in ENGINES} for case in cases}
    for engine in ("float32", "bfloat16"):
        speed(next(iter(nets.values())), ENGINES[engine], 1, 1, 0.1)  # compile, or load what is compiled
    for _ in range(rounds):
        for name, batch, threads in cases:
            for engine, of_engine in rates[name, batch, threads].items():
                of_engine.append(speed(nets[name], ENGINES[engine], batch, threads, seconds))
    return rates


def main() -> None:
    """Measure every engine, shape, batch and number of threads, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="default: 5")
    parser.add_argument("--seconds", type=float, default=1.0, help="length of one measurement (default: 1)")
    parser.add_argument("--shapes", default="S,M,P", help="shapes of the WaveNet, also B (default: S,M,P)")
    parser.add_argument("--out", type=Path, default=Path("sampling.json"), help="default: sampling.json")
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    nets = {name: build(name).requires_grad_(False) for name in options.shapes.split(",")}
    counts = {name: weights(net) for name, net in nets.items()}
    peak = fma_peak()
    sizes = {(name, engine): counts[name] * (2 if engine == "bfloat16" else 4) for name in nets for engine in ENGINES}
    bandwidth = {size: read_bandwidth(size) for size in set(sizes.values())}
    print(f"one core: {peak / 1e9:.0f} GFLOP/s of multiply-adds, sgemm {sgemm_peak(4096, 512, 512) / 1e9:.0f} GFLOP/s")
    for size, rate in sorted(bandwidth.items()):
        print(f"          {rate / 1e9:.0f} GB/s from {size / 1e6:.2f} MB of weights")
    rows, columns = [], ("samples/s", "x real time", "x torch", "limit")
    rates = measure(nets, options.rounds, options.seconds)
    print(f"\n{'shape':6}{'batch':>6}{'threads':>8}  {'engine':10}" + "".join(f"{name:>12}" for name in columns))
    for (name, batch, threads), of_case in rates.items():
        for engine, of_engine in of_case.items():
            rate = statistics.median(of_engine)
            ratio = statistics.median(b / a for a, b in zip(of_case["torch"], of_engine, strict=True))
            size = sizes[name, engine]
            steps = rate / bands(nets[name])
            share = steps / threads * max(size / bandwidth[size] / batch * threads, 2 * counts[name] / peak)
            case = f"{name:6}{batch:6}{threads:8}  {engine:10}"
            print(f"{case}{rate:12.0f}{rate / 16_000:12.2f}{ratio:12.1f}{share:12.0%}")
            row = {"shape": name, "batch": batch, "threads": threads, "engine": engine, "samples_per_s": of_engine}
            rows.append(row | {"ratio": ratio, "share_of_limit": share})
    machine = {"fma_flops": peak, "read_bytes_per_s": bandwidth}
    options.out.write_text(json.dumps({"machine": machine, "rows": rows}, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

"""Samples per second of the sampler's engines, all in one run, interleaved: python benchmarks/sampling.py.

The reference is the module's ring-buffer step in PyTorch. Medians of several rounds; only the ratios of one
run mean anything on a shared machine.
"""

import argparse
import json
import statistics
import time
from pathlib import Path

import torch

from speechvq.config import WaveNetConfig
from speechvq.sampler import Sampling, sample, uniform
from speechvq.wavenet import WaveNet

SHAPES = {
    "S": WaveNetConfig(cycles=2, layers=10, residual=64, gate=64, skip=128),
    "M": WaveNetConfig(cycles=3, layers=10, residual=128, gate=128, skip=256),
    "P": WaveNetConfig(cycles=3, layers=10, residual=256, gate=256, skip=256),
}
HOP = 160


def speed(net: WaveNet, engine: str, batch: int, threads: int, seconds: float) -> float:
    """Samples per second, all utterances together, from a run of about `seconds`."""
    torch.set_num_threads(threads)
    sampling = Sampling(engine=engine)  # type: ignore[arg-type]
    steps, taken = HOP, 0.0
    while taken < seconds / 2:
        table = net.table(torch.randn(batch, 64, steps // HOP), torch.randn(batch, 32))
        first, chances = torch.full((batch,), 128), uniform(0, range(batch), steps)
        begun = time.perf_counter()
        sample(net, first, steps, table, chances, sampling)
        taken = time.perf_counter() - begun
        rate = steps * batch / taken
        steps = max(HOP, round(seconds * rate / batch / HOP) * HOP)
    return rate


def main() -> None:
    """Measure every engine, shape, batch and number of threads in turn, round after round."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0, help="length of one measurement")
    parser.add_argument("--shapes", default="S,M,P")
    parser.add_argument("--out", type=Path, default=Path("sampling.json"))
    options = parser.parse_args()
    torch.manual_seed(0)
    nets = {name: WaveNet(SHAPES[name], 256, 64, 32).requires_grad_(False) for name in options.shapes.split(",")}
    cases = [(name, batch, threads) for name in nets for batch in (1, 16) for threads in (1, 2)]
    found: dict[tuple[str, int, int], dict[str, list[float]]] = {case: {"torch": [], "compiled": []} for case in cases}
    for net in nets.values():
        speed(net, "compiled", 1, 1, 0.1)  # compile, or load what is compiled
    for _ in range(options.rounds):
        for name, batch, threads in cases:
            for engine, rates in found[name, batch, threads].items():
                rates.append(speed(nets[name], engine, batch, threads, options.seconds))
    rows = []
    print(f"{'shape':6}{'batch':>6}{'threads':>8}{'torch':>10}{'compiled':>10}{'ratio':>7}{'x real time':>12}")
    for (name, batch, threads), engines in found.items():
        reference, compiled = (statistics.median(rates) for rates in engines.values())
        ratio = statistics.median(b / a for a, b in zip(*engines.values(), strict=True))
        real_time = compiled / 16_000
        print(f"{name:6}{batch:6}{threads:8}{reference:10.0f}{compiled:10.0f}{ratio:7.1f}{real_time:12.2f}")
        rows.append({"shape": name, "batch": batch, "threads": threads, "ratio": ratio, "samples_per_s": engines})
    options.out.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

"""Speed of training, in seconds of audio per second: WaveNets by engine, and the recipes of encoders and codes.

    python benchmarks/training.py [--rounds 5] [--shapes S,M,B] [--recipes masked,cpc,phonemes,voices] [--threads 1]
        [--batch 8] [--out training.json]

WaveNets: forward, backward and an Adam step on batches of random classes, one engine after another in every round;
medians. Engines: `plain`, dilated nn.Conv1d layers as most WaveNets are written; `modules`, the layers of this
package under autograd; `ours`, what training uses, the same layers as one operation (speechvq/wavenet/layer_stack.py),
on a GPU (--device cuda) `modules` under torch.compile in bfloat16. `peak` is the share of the speed of torch's float32
matrix product that the multiplications of the network reach. Shape B (see benchmarks/sampling.py) has no `plain`
engine: its ratios are to `modules`.

Recipes: `recipes/vctk/NAME.toml`, or for `voices` phonemes.toml with its input in changed voices; steps of the training
loop as they are (reading crops or the feature store of a corpus of noise, augmentation, loss, optimizer, average),
always on the processor. Seconds are those of the processor, summed over threads, so that other work on the machine
counts little. The multiplications are those of the convolutions and matrix products that a step runs, forward and
backward; the matrix product for `peak` runs in turns with the steps. `FMA` is the share of the speed of one core's
fused multiply-adds, which a convolution can come nearer to.
"""

import argparse
import json
import math
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
from machine import fma_peak, sgemm_peak
from sampling import BANDS, CONDITION_HOP, SHAPES, WINDOW, bands, build, weights
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from speechvq.audio import SAMPLE_RATE
from speechvq.config import CodecRun, EncoderRun, WaveNetConfig
from speechvq.config.parsing import load_config
from speechvq.data.corpora.folder import FOLDER
from speechvq.data.feature_store import feature_store
from speechvq.data.manifest import Split, Treatment, utterances_digest
from speechvq.data.prepare import prepare
from speechvq.nn.trainable import total
from speechvq.train.codec import assemble_codec
from speechvq.train.encoder import assemble_encoder
from speechvq.train.loop import Batches, Trainer
from speechvq.train.run import Training
from speechvq.wavenet.bands import BandWaveNet
from speechvq.wavenet.net import WaveNet

FOLDER_OF_RECIPES = Path(__file__).parents[1] / "recipes" / "vctk"
RECIPES = {  # files, and changes of their configuration
    "masked": ("masked.toml", []),
    "cpc": ("cpc.toml", []),
    "phonemes": ("phonemes.toml", []),
    "voices": ("phonemes.toml", ["model.augment.voice=3.0", "model.augment.filter=6.0"]),
}
PRODUCT = 16384, 256, 256  # rows, inner, columns of the matrix product whose speed is the peak
CLUSTERS = 512  # of the targets of masked prediction


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


def wavenet_rows(name: str, options: argparse.Namespace, peak: float) -> list[dict[str, Any]]:
    """Measure every engine of a shape in turn, round after round, and print a row of each."""
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
        engine: one_step(owner, SHAPES[name], shape, call, options.device) for engine, (owner, call) in calls.items()
    }
    times: dict[str, list[float]] = {engine: [] for engine in steps}
    for turn in range(options.rounds + 1):
        for engine, step in steps.items():
            start = time.perf_counter()
            step()
            if turn:  # the first warms up
                times[engine].append(time.perf_counter() - start)
    rows = []
    for engine, taken in times.items():
        rate = options.batch * options.length / SAMPLE_RATE / statistics.median(taken)
        ratio = statistics.median(a / b for a, b in zip(times[next(iter(times))], taken, strict=True))
        flops = 6 * weights(net) * SAMPLE_RATE / bands(net) * rate
        print(f"{name:9} {engine:8}{rate:10.3f}{ratio:9.2f}{flops / 1e9:9.1f}{flops / peak:6.0%}")
        rows.append({"shape": name, "engine": engine, "audio_s_per_s": rate, "ratio": ratio, "flops": flops})
    return rows


class Timed(Batches[Any]):
    """The batches of a training, and the processor time of its steps and of matrix products in turns with them.

    taken: seconds of each step but the last, from before its batch is read to the call for the next batch.
    products: seconds of the matrix product before each step.
    """

    def __init__(self, batches: Batches[Any]) -> None:
        self.batches, self.taken, self.products = batches, list[float](), list[float]()
        rows, inner, columns = PRODUCT
        self.a, self.b, self.out = torch.randn(rows, inner), torch.randn(inner, columns), torch.empty(rows, columns)
        self.begun = 0.0

    def __getitem__(self, step: int) -> Any:
        before = time.process_time()
        if step:
            self.taken.append(before - self.begun)
        torch.mm(self.a, self.b, out=self.out)
        self.begun = time.process_time()
        self.products.append(self.begun - before)
        return self.batches[step]

    def names(self, step: int) -> list[str]:
        return self.batches.names(step)


def noise_corpus(folder: Path) -> Path:
    """Prepare 4 speakers of 6 utterances of noise, 4 s each, in a new folder `folder`/data."""
    random = np.random.default_rng(0)
    for speaker in "abcd":
        (folder / "source" / speaker).mkdir(parents=True)
        for number in range(6):
            noise = 0.1 * random.standard_normal(4 * SAMPLE_RATE)
            soundfile.write(folder / "source" / speaker / f"{number}.wav", noise, SAMPLE_RATE)
    data, split = folder / "data", Split(valid=0.25, test=0.0, unseen=0.0)
    prepare(FOLDER.read(folder / "source"), data, Treatment(), split, speakers={})
    return data


def random_targets(data: Path, hop_length: int, path: Path) -> Path:
    """Write random targets of the corpus in `data`, one every `hop_length` samples, as `speechvq targets` does."""
    store = feature_store(data)
    count = int(store.starts[-1]) * store.hop_length // hop_length
    options = {"corpus": utterances_digest(data, store.utterances), "hop_length": hop_length, "clusters": CLUSTERS}
    targets = np.random.default_rng(0).integers(CLUSTERS, size=count).astype(np.int32)
    np.savez(path, targets=targets, options=np.array(json.dumps(options | {"taught": ""})))
    return path


def recipe_training(name: str, data: Path, folder: Path, steps: int) -> Training:
    """The training of a recipe on the corpus in `data`, of so many steps; `folder` is for targets that it needs."""
    file, changes = RECIPES[name]
    config = load_config(FOLDER_OF_RECIPES / file, [f"train.steps={steps}", "train.eval_crops=16", *changes])
    if isinstance(config, CodecRun):
        return assemble_codec(config, data)
    assert isinstance(config, EncoderRun)
    needed = random_targets(data, config.encoder.hop_length, folder / "targets.npz") if config.needs_codec else None
    return assemble_encoder(config, data, targets=needed)


def recipe_row(name: str, data: Path, folder: Path, rounds: int) -> dict[str, Any]:
    """Measure the steps of a recipe's training, and print a row of it."""
    training = recipe_training(name, data, folder, rounds + 2)  # the first warms up, of the last the end is not noted
    counter = FlopCounterMode(display=False)
    with counter:
        torch.autograd.backward(total(training.model(training.data[0])))
    training.model.zero_grad()
    timed = Timed(training.data)
    (folder / name).mkdir()
    Trainer(training.model, timed, training.held_out, replace(training.how, eval_every=rounds + 2), folder / name).run()
    taken = timed.taken[1:]
    seconds, product = statistics.median(taken), statistics.median(timed.products[1:])
    rate = training.how.batch_size * training.how.crop / SAMPLE_RATE / seconds
    flops, limit = counter.get_total_flops() / seconds, fma_peak(time.process_time)
    peak = 2 * math.prod(PRODUCT) / product
    print(f"{name:9} {'recipe':8}{rate:10.1f}{'':9}{flops / 1e9:9.1f}{flops / peak:6.0%}{flops / limit:6.0%}")
    peaks = {"sgemm_flops": peak, "fma_flops": limit}
    return {"recipe": name, "audio_s_per_s": rate, "flops": flops, **peaks, "step_s": taken}


def main() -> None:
    """Measure the shapes and recipes, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="default: 5")
    parser.add_argument("--shapes", default="S,M", help="shapes of the WaveNet, of S, M, P and B (default: S,M)")
    parser.add_argument("--recipes", default=",".join(RECIPES), help=f"of {', '.join(RECIPES)} (default: all)")
    parser.add_argument("--threads", type=int, default=1, help="default: 1")
    parser.add_argument("--batch", type=int, default=8, help="utterances of a WaveNet's batch (default: 8)")
    parser.add_argument(
        "--length", type=int, default=51 * CONDITION_HOP, help="samples of an utterance of it (default: 8160)"
    )
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"], help="of the WaveNets (default: cpu)")
    parser.add_argument("--out", type=Path, default=Path("training.json"), help="default: training.json")
    options = parser.parse_args()
    os.environ["ACCELERATE_USE_CPU"] = "true"
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    peak = sgemm_peak(*PRODUCT)
    print(f"{options.threads} threads: sgemm {peak / 1e9:.0f} GFLOP/s")
    print(f"{'what':9} {'engine':8}{'audio-s/s':>10}{'x plain':>9}{'GFLOP/s':>9}{'peak':>6}{'FMA':>6}")
    rows = [row for name in filter(None, options.shapes.split(",")) for row in wavenet_rows(name, options, peak)]
    with tempfile.TemporaryDirectory() as folder:
        data = noise_corpus(Path(folder))
        names = filter(None, options.recipes.split(","))
        rows += [recipe_row(name, data, Path(folder), options.rounds) for name in names]
    machine = {"threads": options.threads, "sgemm_flops": peak, "device": options.device}
    options.out.write_text(json.dumps({"machine": machine, "rows": rows}, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

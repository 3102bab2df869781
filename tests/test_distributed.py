"""Training in two processes has the losses of training in one, and both have the same weights, bit for bit."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from accelerate import PartialState

from speechvq.nn.distributed import BatchNorm, all_rows, drawn_rows, leave, over_all, share_out

WORKER = """
import json, sys
from pathlib import Path
import torch
from speechvq.codec import Codec
from speechvq.config import CodecRun
from speechvq.parsing import parse_run
from speechvq.nn.distributed import over_all, rank_and_count
from speechvq.train.loop import Trainer
from speechvq.train.kinds import train

folder, data, model = map(Path, sys.argv[1:4])
torch.set_num_threads(1)
config = parse_run(json.loads((folder / "config.json").read_text()))
train_step, run, losses = Trainer._train_step, Trainer.run, []

def step_and_record(self, *arguments):
    result = train_step(self, *arguments)
    losses.append((over_all(result["total"].detach().clone()) / rank_and_count()[1]).item())
    return result

def run_and_save(self, resume=False):
    figures = run(self, resume)
    rank, count = rank_and_count()
    torch.save(self.model.state_dict(), folder / f"{count}-{rank}.pt")
    (folder / f"{count}-{rank}.json").write_text(json.dumps(losses))
    return figures

Trainer._train_step, Trainer.run = step_and_record, run_and_save
out = folder / f"run-{sys.argv[4]}"
train(config, data, out, codec=None if isinstance(config, CodecRun) else Codec.load(model))
"""
TRAIN = {"steps": 50, "batch_size": 4, "crop": 3200, "eval_every": 25, "learning_rate": 1e-3}
CONDITIONER = {"upsample": 2, "channels": 8, "blocks": 1}


def model(bottleneck: dict, decoder: str = "mel") -> dict:
    return {
        "model": {
            "encoder": {"kind": "logmel", "strides": [2], "channels": 8, "blocks": 1},
            "bottleneck": bottleneck,
            "decoder": {"kind": decoder, "conditioner": CONDITIONER},
            "jitter": 0.3,
        },
        "train": TRAIN,
    }


RUNS = {
    "ema": model({"kind": "ema", "codes": 8, "dim": 4, "restart": 0.5}),
    "vq": model({"kind": "vq", "codes": 8, "dim": 4}, "mfcc"),
    "vae": model({"kind": "vae", "dim": 4}, "source_filter"),
    "prior": {
        "prior": {"wavenet": {"cycles": 1, "layers": 3, "residual": 16, "gate": 16, "skip": 16}, "shifts": 1},
        "train": {**TRAIN, "crop": 30},
    },
}


@pytest.mark.parametrize("kind", RUNS)
def test_two_processes_train_as_one(kind, corpus, runs, tmp_path):
    """Batch norm, k-means, restarts, jitter and noise are those of one process, in 50 steps."""
    (tmp_path / "config.json").write_text(json.dumps(RUNS[kind]))
    (tmp_path / "worker.py").write_text(WORKER)
    for count in (2, 1):
        launch(tmp_path, [str(tmp_path), str(corpus), str(runs["mel"]), str(count)], count)
    curves = {name: json.loads((tmp_path / f"{name}.json").read_text()) for name in ("1-0", "2-0", "2-1")}
    assert len(curves["1-0"]) == 50
    assert curves["2-0"] == curves["2-1"]
    assert np.abs(np.array(curves["2-0"]) - curves["1-0"]).max() < 1e-3
    first, second = (torch.load(tmp_path / f"2-{rank}.pt", weights_only=True) for rank in (0, 1))
    assert [key for key in first if not torch.equal(first[key], second[key])] == []
    logs = [(tmp_path / f"run-{count}" / "log.jsonl").read_text().splitlines() for count in (1, 2)]
    steps = [[json.loads(line)["step"] for line in log] for log in logs]
    assert steps == [[0, 25, 50]] * 2  # written by one process


def launch(folder: Path, arguments: list[str], count: int) -> str:
    """Run the worker in `count` processes over gloo -> their output."""
    command = [sys.executable, "-m", "torch.distributed.run", f"--nproc-per-node={count}", "--standalone"]
    environment = os.environ | {"ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"}
    command += [str(folder / "worker.py"), *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


@pytest.mark.parametrize("question", ["conversion", "leakage", "rate"])
def test_two_processes_evaluate_as_one(question, corpus, runs, tmp_path):
    """The same JSON, printed once."""
    (tmp_path / "worker.py").write_text("import sys\nfrom speechvq.cli import main\nsys.exit(main(sys.argv[1:]))\n")
    command = ["evaluate", question, "--model", str(runs["mel"]), "--data", str(corpus), "--json"]
    command += ["--count", "1"] if question == "conversion" else []
    results = [json.loads(launch(tmp_path, command, count)) for count in (1, 2)]
    if question == "rate":
        for result in results:
            for coder in result["coders"].values():
                assert coder.pop("encoding") > 0
                assert coder.pop("decoding") > 0
    assert results[0] == results[1]


def rows_of_two() -> None:
    """Run by the test below, in both processes."""
    state = PartialState(cpu=True)
    rank = state.process_index
    assert state.num_processes == 2
    torch.manual_seed(0)
    x = torch.randn(6, 3, 5)
    weight = torch.randn(6, 3, 5)
    norm, alone = BatchNorm(3), torch.nn.BatchNorm1d(3)
    mine = x[rank::2].clone().requires_grad_()
    (norm(mine) * weight[rank::2]).sum().backward()
    whole = x.clone().requires_grad_()
    (alone(whole) * weight).sum().backward()
    torch.testing.assert_close(mine.grad, whole.grad[rank::2], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(norm.running_mean, alone.running_mean)
    torch.testing.assert_close(norm.running_var, alone.running_var)
    torch.testing.assert_close(over_all(norm.weight.grad.clone()), alone.weight.grad, atol=1e-5, rtol=1e-5)
    assert torch.equal(all_rows(x[rank::2]), x)
    torch.manual_seed(1)
    expected = torch.rand(6, 4)
    torch.manual_seed(1)
    assert torch.equal(drawn_rows(torch.rand, (3, 4), torch.device("cpu")), expected[rank::2])
    assert share_out(range(7), lambda item: (item * item, rank), unit="item") == [(i * i, i % 2) for i in range(7)]
    leave()


def test_rows_of_two_processes_make_one_batch(tmp_path):
    path = f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})"
    (tmp_path / "worker.py").write_text(f"{path}\nfrom test_distributed import rows_of_two\nrows_of_two()\n")
    launch(tmp_path, [], 2)

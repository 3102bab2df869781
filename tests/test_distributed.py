"""Two processes do as one does: the same losses and models in training, the same results in evaluation."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from accelerate import PartialState

from speechvq.cli import main
from speechvq.codec import Codec
from speechvq.config.parsing import parse_run
from speechvq.nn.decoder.other_speakers import row_before
from speechvq.nn.distributed import BatchNorm, all_rows, drawn_rows, leave, over_all, rank_and_count, share_out
from speechvq.train.kinds import train
from speechvq.train.loop import Trainer

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
    "ema": model({"kind": "ema", "codes": 8, "dim": 4, "restart": 0.5, "penalty": 0.5}),
    "vq": model({"kind": "vq", "codes": 8, "dim": 4}, "mfcc"),
    "vae": model({"kind": "vae", "dim": 4}, "source_filter"),
    "prior": {
        "prior": {"wavenet": {"cycles": 1, "layers": 3, "residual": 16, "gate": 16, "skip": 16}, "shifts": 1},
        "train": {**TRAIN, "crop": 30},
    },
}


QUESTIONS = {"conversion": ["--count", "1"], "leakage": [], "rate": []}


def train_and_keep(config: Any, out: Path, corpus: Path, codec: Path) -> dict[str, Any]:
    """Train -> the losses of all steps, averaged over processes, and the model of this process."""
    losses, kept = [], {}
    train_step, run = Trainer._train_step, Trainer.run

    def step_and_keep(self, *arguments):
        result = train_step(self, *arguments)
        losses.append((over_all(result["total"].detach().clone()) / rank_and_count()[1]).item())
        return result

    def run_and_keep(self, resume=False):
        figures = run(self, resume)
        kept.update({key: value.clone() for key, value in self.model.state_dict().items()})
        return figures

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Trainer, "_train_step", step_and_keep)
        patch.setattr(Trainer, "run", run_and_keep)
        train(config, corpus, out, codec=Codec.load(codec) if config.needs_codec else None)
    return {"losses": losses, "model": kept}


def work(folder: Path, corpus: Path, codec: Path) -> None:
    """Train every run, and evaluate a codec by every question, in each of the processes launched together."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    rank, count = rank_and_count()
    for kind, config in RUNS.items():
        kept = train_and_keep(parse_run(config), folder / f"{kind}-{count}", corpus, codec)
        torch.save(kept, folder / f"{kind}-{count}-{rank}.pt")
    for question, options in QUESTIONS.items():
        command = ["evaluate", question, "--model", str(codec), "--data", str(corpus), *options]
        assert main([*command, "--save", str(folder / f"{question}-{count}.json")]) == 0
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def folder(corpus, runs, tmp_path_factory) -> Path:
    """What `work` leaves: of one process, this one, and of two, which are launched once because that takes long."""
    folder = tmp_path_factory.mktemp("distributed")
    work(folder, corpus, runs["mel"])
    (folder / "printed").write_text(launch(in_two_processes, folder, corpus, runs["mel"]))
    return folder


def launch(function: Callable[..., None], folder: Path, *paths: Path) -> str:
    """Call a function of a test module with paths, the first a folder to write in, in two processes -> their output."""
    lines = [
        "import sys",
        "from pathlib import Path",
        f"sys.path.insert(0, {str(Path(__file__).parent)!r})",
        f"from {function.__module__} import {function.__name__}",
        f"{function.__name__}(*map(Path, sys.argv[1:]))",
    ]
    (folder / "worker.py").write_text("\n".join(lines))
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--standalone"]
    command += map(str, (folder / "worker.py", folder, *paths))
    environment = os.environ | {"ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def in_two_processes(folder: Path, corpus: Path, codec: Path) -> None:
    """Run by the fixture above, in both processes."""
    state = PartialState(cpu=True)
    assert state.num_processes == 2
    check_rows(state.process_index)
    work(folder, corpus, codec)
    leave()


@pytest.mark.parametrize("kind", RUNS)
def test_two_processes_train_as_one(kind, folder):
    """50 steps of the same global batches: batch norm, k-means, restarts, jitter and noise are those of one process."""
    one, first, second = (torch.load(folder / f"{kind}-{name}.pt", weights_only=True) for name in ("1-0", "2-0", "2-1"))
    assert len(one["losses"]) == 50
    assert first["losses"] == second["losses"]
    assert np.abs(np.array(first["losses"]) - one["losses"]).max() < 1e-3
    models = first["model"], second["model"]
    assert [key for key in models[0] if not torch.equal(models[0][key], models[1][key])] == []
    logs = [(folder / f"{kind}-{count}" / "log.jsonl").read_text().splitlines() for count in (1, 2)]
    steps = [[json.loads(line)["step"] for line in log] for log in logs]
    assert steps == [[0, 25, 50]] * 2  # written by one process


@pytest.mark.parametrize("question", QUESTIONS)
def test_two_processes_evaluate_as_one(question, folder):
    results = [json.loads((folder / f"{question}-{count}.json").read_text()) for count in (1, 2)]
    for result in results:
        del result["made_by"]
        if question == "rate":
            for coder in result["coders"].values():
                assert coder.pop("encoding") > 0
                assert coder.pop("decoding") > 0
    assert results[0] == results[1]


def test_a_result_is_printed_once(folder):
    printed = (folder / "printed").read_text()
    assert printed.count("information_permuted") == 1
    assert printed.count("nominal") == 1


def check_rows(rank: int) -> None:
    """What `nn.distributed` promises, checked in both processes."""
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
    assert torch.equal(row_before(x[rank::2]), x.roll(1, 0)[rank::2])
    torch.manual_seed(1)
    expected = torch.rand(6, 4)
    torch.manual_seed(1)
    assert torch.equal(drawn_rows(torch.rand, (3, 4), torch.device("cpu")), expected[rank::2])
    assert share_out(range(7), lambda item: (item * item, rank), unit="item") == [(i * i, i % 2) for i in range(7)]

"""Two processes train as one: same codebook in both, bit for bit, learned from the rows of both."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

WORKER = """
import sys
from dataclasses import replace
from pathlib import Path
import torch
from speechvq.config import Config, EMAConfig, VQConfig, parse
from speechvq import trainer, training
import json

folder, kind = Path(sys.argv[1]), sys.argv[2]
torch.set_num_threads(1)
config = parse(Config, json.loads((folder / "config.json").read_text()))
made = []
original = trainer.Trainer.run

def run(self, resume=False):
    figures = original(self, resume)
    rank = self.accelerator.process_index
    torch.save({k: v for k, v in self.model.state_dict().items()}, folder / f"{kind}-{rank}-of-{sys.argv[4]}.pt")
    return figures

trainer.Trainer.run = run
training.train(config, Path(sys.argv[3]), folder / f"run-{kind}-{sys.argv[4]}")
"""


@pytest.mark.parametrize("kind", ["ema", "vq"])
def test_both_ranks_hold_the_same_model(kind, corpus, tmp_path):
    config = {
        "model": {
            "encoder": {"kind": "logmel", "strides": [2], "channels": 8, "blocks": 1, "batch_norm": False},
            "bottleneck": {"kind": kind, "codes": 8, "dim": 4},
            "decoder": {"kind": "mel", "conditioner": {"upsample": 2, "channels": 8, "blocks": 1}},
        },
        "train": {"steps": 6, "batch_size": 4, "crop": 3200, "eval_every": 3},
    }
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "worker.py").write_text(WORKER)
    launch(tmp_path, kind, corpus, 2)
    first, second = (torch.load(tmp_path / f"{kind}-{rank}-of-2.pt", weights_only=True) for rank in (0, 1))
    # Batch normalisation's running statistics are each process's own; the first's are saved.
    assert [key for key in first if not torch.equal(first[key], second[key]) and "scale." not in key] == []
    log = (tmp_path / f"run-{kind}-2" / "log.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in log] == [0, 3, 6]  # written by one process
    launch(tmp_path, kind, corpus, 1)
    single = torch.load(tmp_path / f"{kind}-0-of-1.pt", weights_only=True)
    if kind == "ema":  # all rows of the global batch are counted, whoever saw them
        assert first["bottleneck.counts"].sum().item() == pytest.approx(
            single["bottleneck.counts"].sum().item(), rel=0.05
        )


def launch(folder: Path, kind: str, corpus: Path, count: int) -> None:
    """Run the worker in `count` processes over gloo."""
    command = [sys.executable, "-m", "torch.distributed.run", f"--nproc-per-node={count}", "--standalone"]
    command += [str(folder / "worker.py"), str(folder), kind, str(corpus), str(count)]
    environment = os.environ | {"ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr[-2000:]

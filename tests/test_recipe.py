"""recipes/vctk/run.sh: all stages on a few spoken sentences with tiny models, killed in each of them."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

RECIPE = Path(__file__).parents[1] / "recipes" / "vctk"
TRAIN = "[train]\nsteps = 8\nbatch_size = 4\ncrop = {crop}\neval_every = 4\neval_crops = 8\n"
CODEC = """[model.encoder]
kind = "logmel"
strides = {strides}
channels = 16
blocks = 1
[model.bottleneck]
kind = "ema"
codes = 32
dim = 8
[model.decoder]
kind = "{decoder}"
conditioner = {{ upsample = {upsample}, channels = 16, blocks = 1 }}
"""
WAVENET = "wavenet = { cycles = 1, layers = 4, residual = 16, gate = 16, skip = 16 }\n"
FREEZE = '[init]\nfreeze = ["encoder", "bottleneck"]\n'
TINY = {
    "small-mel": CODEC.format(strides=[2], decoder="mel", upsample=2) + TRAIN.format(crop=6400),
    "small": CODEC.format(strides=[2], decoder="wavenet", upsample=2) + WAVENET + FREEZE + TRAIN.format(crop=3200),
    "phonemes": CODEC.format(strides=[2, 2], decoder="mfcc", upsample=4) + TRAIN.format(crop=6400),
    "prior": f"[prior]\n{WAVENET}{TRAIN.format(crop=40)}",
}


@pytest.fixture
def recipe(tmp_path) -> Path:
    """run.sh beside configurations of its names that train in seconds."""
    folder = tmp_path / "recipe"
    folder.mkdir()
    shutil.copy(RECIPE / "run.sh", folder)
    for name, text in TINY.items():
        (folder / f"{name}.toml").write_text(text)
    return folder


def start(recipe: Path, *options: str) -> subprocess.Popen[str]:
    environment = os.environ | {"SENTENCES": "6", "STEPS": "8 8 8 8", "OMP_NUM_THREADS": "1"}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    command = [str(recipe / "run.sh"), *options]
    pipe = subprocess.PIPE
    return subprocess.Popen(
        command, env=environment, stdout=pipe, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )


def test_killed_in_every_stage_it_goes_on_and_ends(recipe, tmp_path):
    """SIGKILL soon after each stage begins; then once to the end, and once more with nothing to do."""
    pytest.importorskip("espeakng_loader", reason="the demo corpus needs the extra demo")
    pytest.importorskip("pocketsphinx", reason="alignment needs the extra align")
    out = tmp_path / "out"
    for stage in range(10):
        process = start(recipe, "--demo", "--out", str(out))
        for line in process.stdout:
            if re.match(rf"stage {stage}: (?!.* is done)", line):
                time.sleep(1)
                break
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        assert not (out / "page" / "index.html").exists()
    process = start(recipe, "--demo", "--out", str(out))
    told, _ = process.communicate(timeout=600)
    assert process.returncode == 0, told[-3000:]
    assert told.rstrip().endswith("page/index.html")
    begun = time.monotonic()
    again, _ = start(recipe, "--demo", "--out", str(out)).communicate(timeout=60)
    assert time.monotonic() - begun < 10
    lines = again.splitlines()
    assert all(line.endswith("is done") for line in lines[:-1])
    assert {int(line.split()[1].rstrip(":")) for line in lines[:-1]} == set(range(10))
    page = (out / "page" / "index.html").read_text()
    for name in ("voice", "phonemes", "prior", "codes"):
        assert f">{name}</h2>" in page
    assert page.count("<audio") >= 4 + 2 * 3 * 4  # samples; utterances of three speakers by two decoders
    rows = [json.loads(line) for line in (out / "voice" / "log.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [0, 4, 8]
    (recipe / "phonemes.toml").write_text(TINY["phonemes"].replace("channels = 16", "channels = 8"))
    changed = start(recipe, "--demo", "--out", str(out), "--stage", "5", "--stop", "5")
    told, _ = changed.communicate(timeout=300)
    assert changed.returncode == 0, told[-3000:]
    assert [line for line in told.splitlines() if line.startswith("stage")] == [
        f"stage 5: {name}" for name in ("train-phonemes", "phonemes", "leakage")
    ]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--stage", "10"], "stages are 0 to 9"),
        (["--stage"], "--stage what?"),
        (["--config", "large"], "paper or small"),
        (["--data", "nowhere"], "nowhere: no such folder"),
        (["--demo", "--data", "."], "--demo speaks its own corpus"),
        (["--fast"], "what is --fast?"),
    ],
)
def test_a_slip_is_one_line(recipe, options, message):
    process = start(recipe, *options)
    told, _ = process.communicate(timeout=10)
    assert process.returncode == 2
    assert message in told
    assert told.count("\n") == 1


def test_help_is_its_head(recipe):
    told, _ = start(recipe, "--help").communicate(timeout=10)
    assert "--config" in told
    assert "LAUNCH" in told
    assert "#" not in told

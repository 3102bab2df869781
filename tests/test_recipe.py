"""The recipes: all stages of run.sh with tiny models, killed in each of them; when a step is done; packing a model."""

import importlib.util
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import soundfile
import torch

from speechvq.cli import main
from speechvq.codec import Codec
from speechvq.coding.trained_prior import TrainedPrior
from speechvq.data.corpora import CORPORA
from speechvq.data.manifest import read_manifest

RECIPES = Path(__file__).parents[1] / "recipes"
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
ENCODER = "[encoder]\nstrides = [2, 2]\nchannels = 64\ndilations = {blocks}\n"
WAVENET = "wavenet = { cycles = 1, layers = 4, residual = 16, gate = 16, skip = 16 }\n"
FREEZE = '[init]\nfreeze = ["encoder", "bottleneck"]\n'
TINY = {
    "small-mel": CODEC.format(strides=[2], decoder="mel", upsample=2) + TRAIN.format(crop=6400),
    "small": CODEC.format(strides=[2], decoder="wavenet", upsample=2) + WAVENET + FREEZE + TRAIN.format(crop=3200),
    "cpc": ENCODER.format(blocks=[1] * 6) + '[objective]\nkind = "cpc"\nsteps = 2\n' + TRAIN.format(crop=51200),
    "masked": ENCODER.format(blocks=[1] * 8) + '[objective]\nkind = "masked"\n' + TRAIN.format(crop=51200),
    "prior": f"[prior]\n{WAVENET}{TRAIN.format(crop=40)}",
}


@pytest.fixture
def recipe(tmp_path) -> Path:
    """run.sh beside configurations of its names that train in seconds."""
    folder = tmp_path / "recipes" / "vctk"
    folder.mkdir(parents=True)
    shutil.copy(RECIPES / "lib.sh", folder.parent)
    shutil.copy(RECIPES / "vctk" / "run.sh", folder)
    for name, text in TINY.items():
        (folder / f"{name}.toml").write_text(text)
    return folder


ENVIRONMENT = os.environ | {
    "SENTENCES": "6",
    "STEPS": "8 8 8 8",
    "OMP_NUM_THREADS": "1",
    "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
}


def start(recipe: Path, *options: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [str(recipe / "run.sh"), *options],
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
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
    printed, _ = process.communicate(timeout=600)
    assert process.returncode == 0, printed[-3000:]
    assert printed.rstrip().endswith("page/index.html")
    again, _ = start(recipe, "--demo", "--out", str(out)).communicate(timeout=60)
    lines = again.splitlines()
    assert all(line.endswith("is done") for line in lines[:-1])
    assert {int(line.split()[1].rstrip(":")) for line in lines[:-1]} == set(range(10))
    page = (out / "page" / "index.html").read_text()
    for name in ("voice", "phonemes", "prior", "codes"):
        assert f">{name}</h2>" in page
    assert page.count("<audio") >= 4 + 2 * 3 * 4  # samples; utterances of three speakers by two decoders
    rows = [json.loads(line) for line in (out / "voice" / "log.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [0, 4, 8]
    (recipe / "masked.toml").write_text(TINY["masked"].replace("channels = 64", "channels = 72"))
    changed = start(recipe, "--demo", "--out", str(out), "--stage", "5", "--stop", "5")
    printed, _ = changed.communicate(timeout=300)
    assert changed.returncode == 0, printed[-3000:]
    names = ("train-cpc is done", "targets is done", "train-masked", "codebook", "phonemes", "leakage")
    assert [line for line in printed.splitlines() if line.startswith("stage")] == [f"stage 5: {name}" for name in names]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--stage", "10"], "stages are 0 to 9"),
        (["--stage"], "--stage needs a value"),
        (["--config", "large"], "paper or small"),
        (["--data", "nowhere"], "nowhere: no such folder"),
        (["--demo", "--data", "."], "--demo makes its own corpus"),
        (["--fast"], "unknown option --fast"),
        (["--stage", "5", "--stop", "3"], "--stage 5 is after --stop 3"),
        (["--data", ".", "--out", "."], ". holds the recordings"),
    ],
)
def test_a_mistake_is_one_line(recipe, options, message):
    process = start(recipe, *options)
    printed, _ = process.communicate(timeout=60)
    assert process.returncode == 2
    assert message in printed
    assert printed.count("\n") == 1


def test_help_is_the_comment_at_the_head_of_the_script(recipe):
    printed, _ = start(recipe, "--help").communicate(timeout=60)
    assert "--config" in printed
    assert "LAUNCH" in printed
    assert "#" not in printed


SCRIPT = """set -euo pipefail
recipe=$(cd "$(dirname "$0")" && pwd) out=$1 data=corpus
source "$recipe/lib.sh"
step first echo making first
step second cat "$recipe/second.toml"
step third echo making third
"""


@pytest.fixture
def script(tmp_path) -> Path:
    """A script of three steps, the second of which reads a configuration."""
    folder = tmp_path / "recipe"
    folder.mkdir()
    shutil.copy(RECIPES / "lib.sh", folder)
    (folder / "second.toml").write_text("making second\n")
    (folder / "script.sh").write_text(SCRIPT)
    return folder / "script.sh"


def run(script: Path, out: Path, launch: str = "") -> list[str]:
    """The lines that a script prints."""
    command = ["bash", str(script), str(out)]
    done = subprocess.run(command, env=ENVIRONMENT | {"LAUNCH": launch}, stdout=subprocess.PIPE, text=True)
    return done.stdout.splitlines()


def test_a_step_is_done_once_wherever_the_recipe_is(script, tmp_path):
    lines = ["first", "making first", "second", "making second", "third", "making third"]
    assert run(script, tmp_path / "out") == lines
    moved = script.parent.rename(tmp_path / "moved") / script.name
    assert run(moved, tmp_path / "out") == ["first is done", "second is done", "third is done"]


def test_a_changed_configuration_repeats_its_step_and_those_after_it(script, tmp_path):
    run(script, tmp_path / "out")
    (script.parent / "second.toml").write_text("making second anew\n")
    lines = ["first is done", "second", "making second anew", "third", "making third"]
    assert run(script, tmp_path / "out") == lines


def test_a_changed_command_repeats_its_step_and_those_after_it(script, tmp_path):
    run(script, tmp_path / "out")
    script.write_text(SCRIPT.replace("making first", "making it"))
    assert run(script, tmp_path / "out")[:3] == ["first", "making it", "second"]


def test_a_step_that_fails_ends_the_script_and_is_not_done(script, tmp_path):
    script.write_text(SCRIPT.replace("echo making first", 'cat "$out/needed"'))
    assert run(script, tmp_path / "out") == ["first"]
    (tmp_path / "out" / "needed").write_text("making first\n")
    assert run(script, tmp_path / "out")[:3] == ["first", "making first", "second"]


def test_a_training_resumes_only_if_this_step_began_it(script, tmp_path):
    script.write_text(SCRIPT + 'step train train "$out/run" "$recipe/second.toml" --set train.steps=8\n')
    out = tmp_path / "out"
    training = f"-m speechvq.cli train {script.parent}/second.toml --set train.steps=8 --data corpus --out {out}/run"
    assert run(script, out, launch="false")[-1] == "train"  # it failed; `echo` shows what is launched
    assert run(script, out, launch="echo")[-1] == f"{training} --force"  # before its first checkpoint
    (out / "done" / "train").unlink()
    (out / "run").mkdir()
    (out / "run" / "last.safetensors").touch()
    assert run(script, out, launch="echo")[-1] == f"{training} --resume"
    (script.parent / "second.toml").write_text("changed\n")
    assert run(script, out, launch="echo")[-1] == f"{training} --force"


FIGURES = {
    "conversion": {"word_error_rate": 0.267, "nearest": 0.982, "nearer": None, "similarity": 0.847, "dnsmos": 2.8},
    "natural": {"word_error_rate": 0.043},
}


def script_module(name: str) -> ModuleType:
    """A Python script of the recipes as a module."""
    spec = importlib.util.spec_from_file_location(Path(name).stem, RECIPES / name)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_packed_model_is_smaller_and_has_the_same_codes(runs, prior, corpus, tmp_path):
    folder = tmp_path / "convert-50hz"
    (runs["mel"] / "conversion.json").write_text(json.dumps({"figures": FIGURES}))
    script_module("models/pack.py").main(runs["mel"], folder, prior)
    (runs["mel"] / "conversion.json").unlink()
    assert (folder / "model.safetensors").stat().st_size < 0.9 * (runs["mel"] / "model.safetensors").stat().st_size
    packed, whole = Codec.load(folder), Codec.load(runs["mel"])
    assert packed.fingerprint == whole.fingerprint
    wav, sample_rate = soundfile.read(corpus / read_manifest(corpus)[0].path)
    assert torch.equal(packed.encode(wav, sample_rate), whole.encode(wav, sample_rate))
    TrainedPrior.load(folder / "prior", "cpu", packed.alphabet)
    assert "| words misunderstood in conversions, % | 26.7 |" in (folder / "README.md").read_text()


def test_speakers_of_three_corpora_become_one_folder(tmp_path):
    """Only what `prepare folder` reads of it: recordings, transcripts and what is known of the speakers."""
    vctk = tmp_path / "vctk"
    for path in ("wav48_silence_trimmed/p225", "txt/p225"):
        (vctk / path).mkdir(parents=True)
    (vctk / "speaker-info.txt").write_text("ID  AGE  GENDER  ACCENTS  REGION\np225  23  F    English\n")
    (vctk / "txt" / "p225" / "p225_001.txt").write_text("Please call Stella.\n")
    recordings = [vctk / "wav48_silence_trimmed" / "p225" / "p225_001_mic1.flac"]
    for corpus, speaker in (("arctic", "bdl"), ("librispeech", "19")):
        recordings.append(tmp_path / corpus / speaker / f"{speaker}-1.flac")
        recordings[-1].parent.mkdir(parents=True)
        (recordings[-1].parent / "transcripts.tsv").write_text(f"{speaker}-1\tgood morning\n")
    for path in recordings:
        soundfile.write(path, np.zeros(16_000), 16_000)
    script_module("models/corpus.py").main(tmp_path, tmp_path / "out", ["arctic", "librispeech"])
    sources = CORPORA["folder"].read(tmp_path / "out")
    assert {source.speaker: source.text for source in sources} == {
        "p225": "Please call Stella.",
        "bdl": "good morning",
        "19": "good morning",
    }
    speakers = json.loads((tmp_path / "out" / "speakers.json").read_text())
    assert speakers["p225"] == {"sex": "F", "accent": "English", "minutes": "0.0", "corpus": "vctk"}
    assert speakers["bdl"]["sex"] == "M"


@pytest.mark.parametrize("script", ["models/corpus.py", "models/pack.py"])
def test_a_folder_that_is_not_there_is_one_line(script, tmp_path):
    command = [sys.executable, str(RECIPES / script), str(tmp_path / "absent"), str(tmp_path / "convert-50hz")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith(f"{Path(script).name}: error: {tmp_path / 'absent'}")
    assert done.stderr.count("\n") == 1


def test_the_table_of_bottlenecks_has_the_figures_of_evaluations(runs, corpus, tmp_path, capsys, monkeypatch):
    labels = tmp_path / "labels"
    for i, utterance in enumerate(read_manifest(corpus)):
        path = labels / utterance.speaker / f"{Path(utterance.id).name}.lab"
        path.parent.mkdir(parents=True, exist_ok=True)
        middle = ("iy", "eh")[i % 2]  # two phones in the same context, for ABX
        path.write_text(f"0 2500000 aa\n2500000 5000000 {middle}\n5000000 7500000 aa\n")
    asked = {
        "reconstruction": ["--crop", "3200"],
        "phonemes": ["--labels", str(labels), "--scored", "low"],
        "leakage": [],
    }
    for question, options in asked.items():
        model = ["--model", str(runs["mel"]), "--data", str(corpus), "--save", str(tmp_path / f"ema-0/{question}.json")]
        (tmp_path / "ema-0").mkdir(exist_ok=True)
        assert main(["evaluate", question, *model, *options]) == 0
    (tmp_path / "ema-0-wavenet").mkdir()
    (tmp_path / "ema-0-wavenet" / "reconstruction.json").write_text(json.dumps({"bits_per_sample": 4.64}))
    capsys.readouterr()
    monkeypatch.setattr(sys, "argv", ["compare.py", str(tmp_path)])
    script_module("vctk/compare.py").main()
    head, _, *rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in capsys.readouterr().out.splitlines()]
    assert head == ["", "AE", "VAE", "VQ", "VQ-EMA"]
    cells = {row[0]: row[1:] for row in rows}
    assert cells["bits per sample"] == ["", "", "", "4.640"]
    assert cells["bits per latent"] == ["", "", "", "-"]
    assert len(cells) == 12
    assert all(re.fullmatch(r"[\d.]+( [\d.]+)?", row[3]) for name, row in cells.items() if name != "bits per latent")

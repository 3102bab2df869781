"""Every benchmark can be started: its imports are there, and its help says the command."""

import json
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "benchmarks"
SCRIPTS = sorted(path.name for path in FOLDER.glob("*.py") if path.name != "machine.py")  # which only helps the others


@pytest.mark.parametrize("name", SCRIPTS)
def test_its_help_has_its_command(name, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [name, "--help"])
    monkeypatch.syspath_prepend(FOLDER)
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(FOLDER / name), run_name="__main__")
    assert end.value.code == 0
    printed = capsys.readouterr().out
    assert f"    python benchmarks/{name}" in printed


def test_inaudible_changes_of_a_small_model(corpus, runs, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["x", "--data", str(corpus), "--model", str(runs["mel"]), "--count", "3"])
    monkeypatch.syspath_prepend(FOLDER)
    with pytest.raises(SystemExit):
        runpy.run_path(str(FOLDER / "inaudible.py"), run_name="__main__")
    rows = [line.strip("| ").split(" | ") for line in capsys.readouterr().out.splitlines() if line.startswith("| ")]
    table = {name: figures for name, *figures in rows}
    assert all(float(table[name][0]) < 3 for name in ("offset 0.02", "offset 0.1", "offset 0.3", "-60 dB", "+20 dB"))
    assert float(table["pink noise"][0]) == pytest.approx(40, abs=0.5)
    assert float(table["digital silence"][0]) > 100


def test_the_smallest_training_is_measured(tmp_path, monkeypatch, capsys):
    options = ["--rounds", "1", "--shapes", "S", "--batch", "1", "--length", "160", "--out", str(tmp_path / "out.json")]
    monkeypatch.setattr(sys, "argv", ["training.py", *options])
    monkeypatch.syspath_prepend(FOLDER)
    runpy.run_path(str(FOLDER / "training.py"), run_name="__main__")
    printed = capsys.readouterr().out
    assert all(engine in printed for engine in ("plain", "modules", "ours"))
    assert (tmp_path / "out.json").is_file()


def test_killed_commands_end_as_if_undisturbed():
    """Two kills of each of three commands, at moments of another seed than the documented one."""
    options = ["--kills", "6", "--seed", "1", "--commands", "prepare with,train with,encode"]
    script = [sys.executable, str(FOLDER / "kills.py"), *options]
    done = subprocess.run(script, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "\n6 kills: " in done.stdout


def test_a_recipe_is_measured(tmp_path, monkeypatch, capsys):
    options = ["--rounds", "1", "--shapes", "", "--recipes", "masked", "--out", str(tmp_path / "out.json")]
    monkeypatch.setattr(sys, "argv", ["training.py", *options])
    monkeypatch.syspath_prepend(FOLDER)
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")  # put back afterwards
    runpy.run_path(str(FOLDER / "training.py"), run_name="__main__")
    (row,) = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))["rows"]
    assert row["recipe"] == "masked" in capsys.readouterr().out
    assert row["audio_s_per_s"] == pytest.approx(32 * 3.2 / row["step_s"][0])
    # At 50 Hz: 80 bands by a kernel of 6, three pointwise layers, eight blocks of a kernel of 3 and a pointwise one; at
    # 25 Hz a kernel of 2 to 513 classes. Backward twice as much as forward, but for the gradient of the features.
    first, blocks = 80 * 256 * 6, 3 * 256**2 + 8 * 4 * 256**2
    per_second = 2 * (50 * (2 * first + 3 * blocks) + 25 * 3 * 256 * 513 * 2)
    assert row["flops"] / row["audio_s_per_s"] == pytest.approx(per_second, rel=0.03)

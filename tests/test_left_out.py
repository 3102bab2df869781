"""A damaged file does not end an evaluation: it is listed and left out, and the figures are those of the others."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from speechvq.audio.io import read, write
from speechvq.cli import main
from speechvq.data.manifest import Utterance, read_manifest, write_manifest


@pytest.fixture
def bad(corpus: Path) -> list[Utterance]:
    """An utterance of the split valid, and one of the split train."""
    return [next(u for u in read_manifest(corpus) if u.split == split) for split in ("valid", "train")]


@pytest.fixture
def damaged(corpus: Path, bad: list[Utterance], tmp_path: Path) -> Path:
    """A corpus in which two files are no audio."""
    shutil.copytree(corpus, tmp_path / "damaged", ignore=shutil.ignore_patterns("codes"))
    for u in bad:
        (tmp_path / "damaged" / u.path).write_bytes(b"no audio")
    return tmp_path / "damaged"


@pytest.fixture
def without(corpus: Path, bad: list[Utterance], tmp_path: Path) -> Path:
    """The corpus without these two."""
    shutil.copytree(corpus, tmp_path / "without", ignore=shutil.ignore_patterns("codes"))
    write_manifest(tmp_path / "without", [u for u in read_manifest(corpus) if u not in bad])
    return tmp_path / "without"


def evaluate(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, dict[str, Any], str]:
    """Exit code, result and stderr of a question."""
    code = main([*map(str, ("evaluate", *arguments)), "--json"])
    said = capsys.readouterr()
    return code, json.loads(said.out), said.err


@pytest.mark.parametrize("question", ["reconstruction", "samples", "leakage"])
def test_the_figures_are_those_of_the_others(question, damaged, without, bad, runs, prior, capsys, tmp_path):
    options = {
        "reconstruction": ["--split", "valid", "--crop", "3200"],
        "samples": ["--prior", prior, "--count", "3", "--seconds", "0.5"],
        "leakage": [],
    }[question]
    command = [question, "--model", runs["mel"], *options]
    saved = tmp_path / "result.json"
    code, result, said = evaluate(capsys, *command, "--data", damaged, "--save", saved)
    names = {u.id for u in (bad[:1] if question == "reconstruction" else bad)}
    left_out = dict(result.pop("left_out"))
    assert (code, left_out.keys()) == (1, names)
    assert sorted(line.split(": ")[0] for line in said.splitlines()) == sorted(f"left out {name}" for name in names)
    assert dict(json.loads(saved.read_text())["left_out"]) == left_out
    assert "not audio" in left_out[bad[0].id]
    code, other, said = evaluate(capsys, *command, "--data", without)
    assert not other.pop("left_out", [])
    assert (code, said, result) == (0, "", other)


def test_what_is_shorter_than_the_manifest_says_is_no_reconstruction(corpus, runs, capsys, tmp_path):
    """Its missing end would be silence, of which the figures are too good."""
    shutil.copytree(corpus, tmp_path / "cut")
    u = next(u for u in read_manifest(corpus) if u.split == "valid")
    write(tmp_path / "cut" / u.path, read(corpus / u.path)[:4000])
    command = ["reconstruction", "--model", runs["mel"], "--split", "valid", "--crop", "3200"]
    code, result, _ = evaluate(capsys, *command, "--data", tmp_path / "cut")
    [(name, reason)] = result["left_out"]
    assert (code, name) == (1, u.id)
    assert f"holds 4000 samples, but {u.samples} by the manifest" in reason


def test_a_split_of_which_nothing_can_be_read_is_one_line(corpus, damaged, runs, prior, capsys):
    command = ["evaluate", "samples", "--model", str(runs["mel"]), "--prior", str(prior), "--data", str(damaged)]
    for u in read_manifest(damaged):
        if u.split == "valid":
            (damaged / u.path).write_bytes(b"no audio")
    assert main(command) == 2
    assert "can be used; the first, " in capsys.readouterr().err
    write_manifest(damaged, [u for u in read_manifest(corpus) if u.split == "train"])
    assert main(command) == 2
    assert "no speech of the split 'valid'" in capsys.readouterr().err.splitlines()[-1]

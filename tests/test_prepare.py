"""Preparation where it goes wrong: names, cut-short changes, samples out of range."""

import os
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

import speechvq.data.prepare
from speechvq.audio.level import trim
from speechvq.data.corpora.folder import read_folder
from speechvq.data.manifest import MANIFEST, Split, read_manifest
from speechvq.data.prepare import SKIPPED, Report, Treatment, prepare


def folder(root: Path, *names: bytes) -> Path:
    (root / "s").mkdir(parents=True)
    wav = 0.1 * np.random.default_rng(0).standard_normal(8000)
    for name in names:
        with os.fdopen(os.open(os.fsencode(root / "s") + b"/" + name, os.O_CREAT | os.O_WRONLY), "wb") as file:
            soundfile.write(file, wav, 16_000, format="WAV")
    return root


def run(root: Path, out: Path, treatment: Treatment | None = None) -> Report:
    return prepare(read_folder(root), out, treatment or Treatment(), Split(), speakers={})


def test_a_name_that_is_no_utf8_is_skipped_and_listed(tmp_path):
    try:
        source = folder(tmp_path / "raw", b"ok.wav", b"caf\xe9.wav")
    except OSError:
        pytest.skip("this file system takes no such name")
    assert run(source, tmp_path / "out").written == ["s/ok"]
    assert (tmp_path / "out" / SKIPPED).read_text(encoding="utf-8").startswith("s/caf\\udce9\t")


@pytest.mark.parametrize("odd", ["\u2028", "\x85", "\u00a0", "日"])
def test_a_manifest_holds_any_other_name(tmp_path, odd):
    source = folder(tmp_path / "raw", f"a{odd}b.wav".encode())
    run(source, tmp_path / "out")
    assert [u.id for u in read_manifest(tmp_path / "out")] == [f"s/a{odd}b"]


def test_no_manifest_outlives_the_audio_it_describes(tmp_path, monkeypatch):
    """Ctrl-C while another treatment is given: half the files are new, and the old manifest would be untrue."""
    source, out = folder(tmp_path / "raw", b"1.wav", b"2.wav"), tmp_path / "out"
    run(source, out)
    treat = speechvq.data.prepare._treat

    def interrupted(job):
        if job[0].id == "s/2":
            raise KeyboardInterrupt
        return treat(job)

    monkeypatch.setattr(speechvq.data.prepare, "_treat", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(source, out, Treatment(trim_db=50.0))
    monkeypatch.undo()
    assert not (out / MANIFEST).exists()
    assert run(source, out, Treatment(trim_db=50.0)) == Report(written=["s/2"], reused=["s/1"])


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("level", [1e10, 1e30, 1e38])
def test_samples_whose_squares_overflow_are_not_trimmed_to_nothing(level):
    assert len(trim(torch.full((16_000,), level))[0]) == 16_000

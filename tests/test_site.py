"""The documentation builds with every link checked, and the examples and the notebook run."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from conftest import speech

from speechvq.codec import Codec

ROOT = Path(__file__).parents[1]
MODEL = str(ROOT / "tests/golden/models/mel")


@pytest.fixture
def recording(tmp_path) -> Path:
    path = tmp_path / "my.wav"
    soundfile.write(path, speech(150, [0, 1, 2, 3], np.random.default_rng(0)), 16_000)
    return path


def run(*arguments: object, folder: Path = ROOT) -> None:
    done = subprocess.run([sys.executable, *map(str, arguments)], capture_output=True, text=True, cwd=folder)
    assert done.returncode == 0, done.stderr


def test_the_site_is_built_and_links_lead_somewhere(tmp_path):
    """--strict: a link or an anchor that leads nowhere is an error. Nothing is loaded from elsewhere."""
    pytest.importorskip("mkdocstrings")
    run("-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", tmp_path)
    pages = {path.parent.name or path.stem: path.read_text("utf-8") for path in tmp_path.rglob("index.html")}
    assert 'id="speechvq.codec.Codec.encode"' in pages["api"]
    assert re.search(r"<li>\s*(<p>)?<strong>penalty</strong>: for each change of code", pages["api"])
    assert "Codes that change less often" in pages["RESULTS"]
    for page in pages.values():
        for loaded in re.findall(r'<(?:script|img|link)[^>]* (?:src|href)="([^"]*)"', page):
            assert "://" not in loaded or "canonical" in page


@pytest.mark.parametrize("options", [[], ["--speaker", "low"]])
def test_the_picture_shows_what_the_model_does(recording, tmp_path, options):
    command = [ROOT / "examples/picture.py", recording, tmp_path / "out.png", "--model", MODEL, "--speaker", "high"]
    run(*command, *options)
    assert (tmp_path / "out.png").read_bytes().startswith(b"\x89PNG")


def test_one_recording_in_every_voice(recording, tmp_path):
    run(ROOT / "examples/voices.py", recording, tmp_path / "voices", "--model", MODEL)
    codec = Codec.load(MODEL)
    assert {path.stem for path in (tmp_path / "voices").iterdir()} == set(codec.speakers)
    wav = codec.convert(soundfile.read(recording)[0], 16_000, "low")
    written = soundfile.read(tmp_path / "voices/low.wav", dtype="float32")[0]
    assert np.abs(written - wav.numpy().clip(-1, 1)).max() <= 2**-15


def test_the_notebook_runs(tmp_path):
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    pytest.importorskip("espeakng_loader")
    notebook = nbformat.read(ROOT / "examples/codes.ipynb", 4)
    assert all(cell.get("outputs", []) == [] for cell in notebook.cells)  # they are kept without
    nbclient.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    kinds = [kind for cell in notebook.cells for output in cell.get("outputs", []) for kind in output.get("data", {})]
    assert kinds.count("image/png") >= 2
    assert kinds.count("text/html") >= 2  # players

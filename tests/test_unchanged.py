"""What users have keeps its meaning: packaged models, model folders and configurations from before a rebuilding.

The golden files were written at commit 7590330, those of `convert-50hz` when it was last trained, on an AMD EPYC. There
the bits are the same; other processors round otherwise, so that a code near a boundary may differ, and samples do in
their last digits.
"""

import hashlib
import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from conftest import speech

from speechvq.codec import Codec
from speechvq.folder.weights import load_tensors, save_tensors
from speechvq.train.kinds import train
from speechvq.train.loop import LAST

GOLDEN = Path(__file__).parent / "golden"
PACKAGED = json.loads((GOLDEN / "packaged" / "codes.json").read_text())
BITS = json.loads((GOLDEN / "packaged" / "bits.json").read_text())


def arithmetic() -> dict[str, str]:
    """What decides how sums are rounded here: the processor with its instructions, and the libraries."""
    path = Path("/proc/cpuinfo")
    text = path.read_text() if path.is_file() else ""
    parts = [re.search(rf"^{key}\s*: (.+)", text, re.MULTILINE) for key in ("cpu family", "model", "flags")]
    processor = hashlib.sha256("\n".join(part[1] if part else "" for part in parts).encode()).hexdigest()[:16]
    return {"processor": processor, "torch": torch.__version__.partition("+")[0], "numpy": np.__version__}


@pytest.fixture
def same_arithmetic() -> Iterator[bool]:
    """Whether this is the arithmetic of the golden files, where every bit is to be the same."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield arithmetic().items() <= BITS.items()
    torch.set_num_threads(threads)


def recording() -> np.ndarray:
    return speech(120.0, [0, 1, 2, 3, 1, 0, 3, 2], np.random.default_rng(5))


@pytest.mark.parametrize("name", PACKAGED)
def test_packaged_models_give_the_same_codes(name, same_arithmetic):
    codec = Codec.load(name)
    assert codec.fingerprint == PACKAGED[name]["fingerprint"]
    codes = codec.encode(recording(), 16_000).numpy()
    assert len(codes) == len(PACKAGED[name]["codes"])
    assert np.mean(codes == PACKAGED[name]["codes"]) >= (1.0 if same_arithmetic else 0.9)


def test_the_packaged_voice_is_the_same(same_arithmetic):
    spoken = Codec.load("convert-50hz").decode(PACKAGED["convert-50hz"]["codes"], "p225").numpy()
    before, sample_rate = soundfile.read(GOLDEN / "packaged" / "convert-50hz-p225.flac")
    assert sample_rate == 16_000
    assert spoken.shape == before.shape
    assert np.abs(spoken - before).max() < 2e-3  # of a peak of 0.3
    if same_arithmetic:
        assert hashlib.sha256(spoken.tobytes()).hexdigest()[:16] == BITS["audio"]


@pytest.mark.parametrize("kind", ["mel", "wavenet"])
def test_old_model_folders_load_and_speak(kind):
    codec = Codec.load(GOLDEN / "models" / kind)
    assert codec.speakers == ("high", "low", "mid")
    codes = codec.encode(recording()[:4800], 16_000)
    wav = codec.decode(codes, "low")
    assert len(wav) == len(codes) * codec.hop_length
    assert torch.isfinite(wav).all()
    assert codec.histogram is not None


def test_old_training_states_are_resumed(tiny, corpus, tmp_path):
    """Before a model could have several optimizers, the state of the only one had no name."""
    new, old = tmp_path / "new", tmp_path / "old"
    train(replace(tiny, train=replace(tiny.train, steps=3)), corpus, new)
    shutil.copytree(new, old)
    tensors, figures = load_tensors(new / LAST)
    renamed = {name.replace("optimizer.model.", "optimizer."): value for name, value in tensors.items()}
    assert "optimizer.0.exp_avg" in renamed
    save_tensors(old / LAST, renamed, figures)
    for out in (new, old):
        train(tiny, corpus, out, resume=True)
    ends = [load_tensors(out / LAST)[0] for out in (new, old)]
    assert ends[0].keys() == ends[1].keys()
    assert all(torch.equal(value, ends[1][name]) for name, value in ends[0].items())

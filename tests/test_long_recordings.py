"""Recordings of any length: what is computed in pieces is that of the whole, in memory that does not grow."""

import itertools
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given
from hypothesis import strategies as st
from signals import noise
from torch.nn import functional as F
from trees import tone

from speechvq.audio.level import Meter, loud_span
from speechvq.data import prepare as module
from speechvq.data.corpora.folder import FOLDER
from speechvq.data.manifest import MANIFEST, Split, Treatment
from speechvq.data.prepare import FINISHED_FILE, prepare


def whole_span(wav: torch.Tensor, top_db: float) -> tuple[int, int]:
    """First sample and end of what is loud, from all frames at once."""
    power = F.avg_pool1d(wav.square()[None], 1024, 256, padding=512)[0]
    loud = (power > power.max() * 10 ** (-top_db / 10)).nonzero()
    return (256 * int(loud[0]), min(256 * (int(loud[-1]) + 1), len(wav))) if len(loud) else (0, len(wav))


@given(st.integers(1, 9000), st.lists(st.integers(1, 3000), max_size=6), st.integers(0, 99))
def test_what_is_loud_does_not_depend_on_pieces(samples, lengths, seed):
    random = np.random.default_rng(seed)
    level = np.repeat(np.exp(2 * random.standard_normal(samples // 500 + 1)), 500)[:samples]
    wav = noise(samples, seed=seed) * torch.from_numpy(level).float()
    ends = np.minimum(np.cumsum([0, *lengths, samples]), samples)
    pieces = [wav[start:end] for start, end in itertools.pairwise(ends) if end > start]
    assert loud_span(pieces, 30.0) == whole_span(wav, 30.0)
    assert Meter(pieces).gain() == Meter([wav]).gain()


@pytest.mark.parametrize("rate", [16_000, 44_100])
def test_long_recordings_are_prepared_in_pieces_to_the_same_bytes(rate, tmp_path, monkeypatch):
    for i, lead in enumerate((0.0, 0.7, 1.3)):
        tone(tmp_path / "raw" / "a" / f"{i}.wav", 1.0 + 0.3 * i, lead, rate, 200 + 50 * i)

    def run(out: Path) -> dict[str, bytes]:
        prepare(FOLDER.read(tmp_path / "raw"), out, Treatment(), Split(unseen=0), speakers={})
        paths = [*sorted(out.rglob("*.flac")), out / MANIFEST, out / FINISHED_FILE]
        return {path.relative_to(out).as_posix(): path.read_bytes() for path in paths}

    expected = run(tmp_path / "whole")
    monkeypatch.setattr(module, "KEPT_SAMPLES", 5000)
    monkeypatch.setattr("speechvq.audio.decoding.libsndfile.READ_SIZE", 3001)
    assert len(expected) == 5
    assert run(tmp_path / "pieces") == expected


PREPARE = """
import resource, sys
from pathlib import Path
from speechvq.data import prepare
from speechvq.data.corpora.folder import FOLDER
from speechvq.data.manifest import Split, Treatment
prepare.KEPT_SAMPLES = 960_000
root = Path(sys.argv[1])
assert len(prepare.prepare(FOLDER.read(root), root / "out", Treatment(), Split(unseen=0), speakers={}).written) == 1
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


def test_preparing_twenty_minutes_takes_no_more_memory_than_two(tmp_path):
    """As a whole, 20 minutes take 77 MB as they are read, twice that to be filtered, and more."""

    def peak(minutes: int) -> int:
        (tmp_path / str(minutes) / "a").mkdir(parents=True)
        with soundfile.SoundFile(tmp_path / str(minutes) / "a" / "x.wav", "w", 16_000, 1) as file:
            for i in range(minutes):
                file.write(noise(960_000, 0.1, seed=i).numpy())
        command = [sys.executable, "-c", PREPARE, str(tmp_path / str(minutes))]
        return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)

    assert peak(20) < peak(2) + 100  # MB

"""LibriSpeech: its tree from wherever one stands in it, its official sets, and its archives."""

import tarfile
from pathlib import Path

import pytest
from trees import TREES

from speechvq import SpeechVQError
from speechvq.data.corpora.librispeech import DOWNLOADED, LIBRISPEECH, download
from speechvq.data.manifest import Split, Treatment, read_manifest, read_speakers
from speechvq.data.prepare import prepare


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    TREES["librispeech"](tmp_path / "LibriSpeech")
    return tmp_path / "LibriSpeech"


def test_ids_speakers_texts_and_sets(tree):
    assert [(s.id, s.speaker, s.text, s.split, s.extra["subset"]) for s in LIBRISPEECH.read(tree)] == [
        ("84-121123-0000", "84", "GO", "unseen", "dev-clean"),
        ("1688-142285-0000", "1688", "", "unseen", "test-other"),
        ("19-198-0000", "19", "NORTHANGER ABBEY", "", "train-clean-100"),
        ("19-198-0001", "19", "THIS LITTLE WORK", "", "train-clean-100"),
        ("60-121082-0000", "60", "", "", "train-clean-100"),
    ]
    assert LIBRISPEECH.speakers(tree)["60"] == {"sex": "M", "name": "|CBW|Simon"}


def test_the_root_may_be_the_parent_or_one_set(tree, monkeypatch):
    whole = LIBRISPEECH.read(tree)
    assert LIBRISPEECH.read(tree.parent) == whole
    assert LIBRISPEECH.read(tree / "dev-clean") == [s for s in whole if s.extra["subset"] == "dev-clean"]
    for root in (tree.parent, tree / "dev-clean"):
        assert LIBRISPEECH.speakers(root) == LIBRISPEECH.speakers(tree)
    monkeypatch.chdir(tree / "dev-clean")
    assert [s.split for s in LIBRISPEECH.read(Path())] == ["unseen"]


def test_training_readers_are_split_by_hashes_and_the_official_held_out_ones_are_unseen(tree, tmp_path):
    out = tmp_path / "out"
    prepare(LIBRISPEECH.read(tree), out, Treatment(), Split(1, 0, 0), speakers=LIBRISPEECH.speakers(tree))
    assert {u.speaker: (u.split, u.extra["subset"]) for u in read_manifest(out)} == {
        "84": ("unseen", "dev-clean"),
        "1688": ("unseen", "test-other"),
        "19": ("valid", "train-clean-100"),
        "60": ("valid", "train-clean-100"),
    }
    assert read_speakers(out)["19"] == {"sex": "F", "name": "Kara Shallenberg"}


def archive(path: Path, subset: str) -> None:
    """An archive of one set as it is published, with a reader of its own."""
    source = path.parent / f"{subset}-tree"
    TREES["librispeech"](source)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz") as tar:
        tar.add(source / "SPEAKERS.TXT", "LibriSpeech/SPEAKERS.TXT")
        tar.add(source / "dev-clean", f"LibriSpeech/{subset}")


def test_archives_are_unpacked_whole_or_not_at_all(tmp_path):
    here = tmp_path / "here"
    for subset in DOWNLOADED:
        archive(tmp_path / f"{subset}.tar.gz", subset)
    (here / "incomplete").mkdir(parents=True)
    for subset in DOWNLOADED:
        (tmp_path / f"{subset}.tar.gz").rename(here / "incomplete" / f"{subset}.tar.gz")
    whole = (here / "incomplete" / "test-clean.tar.gz").read_bytes()
    (here / "incomplete" / "test-clean.tar.gz").write_bytes(whole[:-200])
    with pytest.raises(
        SpeechVQError, match=r"cannot be downloaded .*; put test-clean.tar.gz into .*incomplete by other"
    ):
        download(here)
    assert sorted(path.name for path in (here / "LibriSpeech").iterdir()) == [
        "SPEAKERS.TXT",
        "dev-clean",
        "train-clean-100",
    ]
    (here / "incomplete" / "test-clean.tar.gz").write_bytes(whole)
    root = download(here)
    assert [path.name for path in here.iterdir()] == ["LibriSpeech"]
    assert {s.extra["subset"] for s in LIBRISPEECH.read(root)} == set(DOWNLOADED)
    assert download(here) == root  # nothing is left to do
    with pytest.raises(SpeechVQError, match="by whole sets"):
        download(tmp_path / "elsewhere", 3)

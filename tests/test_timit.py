"""TIMIT: its tree in either case and from wherever one stands in it, its labels, its speakers, its sets."""

import shutil
from pathlib import Path

import pytest
from trees import TREES

from speechvq.data.corpora.timit import TIMIT
from speechvq.data.manifest import Split, Treatment, read_manifest
from speechvq.data.prepare import prepare
from speechvq.data.utterance_labels import find_labels


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    TREES["timit"](tmp_path / "TIMIT")
    return tmp_path / "TIMIT"


def lower(tree: Path, out: Path) -> Path:
    """A copy whose names are in lower case, as some discs have them."""
    for path in (path for path in tree.rglob("*") if path.is_file()):
        copy = out / path.relative_to(tree).as_posix().lower()
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, copy)
    return out


def test_ids_speakers_texts_and_sets(tree):
    assert [(s.id, s.speaker, s.path.name, s.text, s.split, s.extra) for s in TIMIT.read(tree)] == [
        ("MDAB1/SA1", "MDAB1", "SA1.WAV", "She had your dark suit.", "unseen", {"subset": "TEST"}),
        ("MDAB1/SX14", "MDAB1", "SX14.WAV", "Sentence of MDAB1.", "unseen", {"subset": "TEST"}),
        ("FCJF0/SA1", "FCJF0", "SA1.WAV.wav", "She had your dark suit.", "", {"subset": "TRAIN"}),
        ("FCJF0/SX15", "FCJF0", "SX15.WAV", "Sentence of FCJF0.", "", {"subset": "TRAIN"}),
        ("MARC0/SA1", "MARC0", "SA1.WAV", "She had your dark suit.", "", {"subset": "TRAIN"}),
        ("MARC0/SX15", "MARC0", "SX15.WAV", "Sentence of MARC0.", "", {"subset": "TRAIN"}),
    ]


def test_speakers_are_known_from_their_folders_and_the_table(tree):
    known = {
        "FCJF0": {"sex": "F", "region": "New England", "age": "26"},  # recorded before the birthday
        "MARC0": {"sex": "M", "region": "Northern", "age": "40"},  # on the birthday
        "MDAB1": {"sex": "M", "region": "New England"},
    }
    assert TIMIT.speakers(tree) == known
    assert TIMIT.speakers(tree / "TEST") == {"MDAB1": known["MDAB1"]}
    shutil.rmtree(tree / "DOC")
    assert TIMIT.speakers(tree)["FCJF0"] == {"sex": "F", "region": "New England"}


def test_the_root_may_be_above_or_one_set_and_in_lower_case(tree, tmp_path):
    whole = TIMIT.read(tree)
    assert TIMIT.read(tree.parent) == whole
    assert TIMIT.read(tree / "TRAIN") == [s for s in whole if s.extra["subset"] == "TRAIN"]
    copy = lower(tree, tmp_path / "copy")
    assert [(s.id.upper(), s.text, s.split, s.extra) for s in TIMIT.read(copy)] == [
        (s.id, s.text, s.split, s.extra) for s in whole
    ]
    assert {name.upper(): info for name, info in TIMIT.speakers(copy).items()} == TIMIT.speakers(tree)


@pytest.mark.parametrize("case", [str.upper, str.lower])
def test_every_prepared_utterance_finds_its_labels(tree, tmp_path, case):
    root = tree if case is str.upper else lower(tree, tmp_path / "copy")
    prepare(TIMIT.read(root), tmp_path / "out", Treatment(), Split(), speakers={})
    utterances = read_manifest(tmp_path / "out")
    labels, _ = find_labels(root, utterances)
    for u in utterances:
        assert (labels[u.id].parent.name, labels[u.id].stem) == tuple(u.id.split("/"))


def test_no_sentence_of_the_training_speakers_is_trained_on_and_held_out(tree, tmp_path):
    splits = set()
    for valid, test in ((0, 0), (0.25, 0.25), (1, 0), (0, 1)):
        split = Split(valid, test, unseen=0)
        prepare(TIMIT.read(tree), tmp_path / "out", Treatment(), split, speakers={})
        utterances = read_manifest(tmp_path / "out")
        assert {u.split for u in utterances if u.speaker == "MDAB1"} == {"unseen"}
        (one,) = {u.split for u in utterances if u.id.endswith("SA1") and u.split != "unseen"}
        splits.add(one)
    assert splits == {"train", "valid", "test"}

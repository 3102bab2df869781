"""LibriTTS: its sentences, their texts, and its tables of readers."""

from pathlib import Path

import pytest
from trees import TREES, text

from speechvq.data.corpora.libritts import LIBRITTS


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    TREES["libritts"](tmp_path)
    return tmp_path


def test_the_normalized_text_goes_before_the_original(tree):
    assert [(s.id, s.speaker, s.text, s.split, s.extra) for s in LIBRITTS.read(tree)] == [
        ("84_121123_000007_000001", "84", "", "unseen", {"subset": "dev-clean"}),
        ("19_198_000000_000000", "19", "CHAPTER one.", "", {"subset": "train-clean-100"}),
        ("19_198_000000_000002", "19", "Northanger Abbey", "", {"subset": "train-clean-100"}),
    ]


def test_readers_are_known_from_either_table(tree):
    known = LIBRITTS.speakers(tree)
    assert known == {"19": {"sex": "F", "name": "Kara Shallenberg"}, "84": {"sex": "F", "name": "Christie Nowak"}}
    (tree / "speakers.tsv").unlink()
    assert LIBRITTS.speakers(tree) == {}
    rows = ("19 | F | train-clean-100 | 25.19 | Kara Shallenberg\n", "84 | F | dev-clean | 8.02 | Christie Nowak\n")
    text(tree / "SPEAKERS.txt", "".join(rows))
    assert LIBRITTS.speakers(tree / "dev-clean") == known

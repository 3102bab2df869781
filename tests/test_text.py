"""Label files: what is written is read again, to the sample; what is no label file is said to be none."""

import itertools
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from speechvq import SpeechVQError
from speechvq.text import UNITS, Segment, read_lab, write_lab

SHARED = Path(__file__).resolve().parents[2] / "shared"
LABELS = st.text(st.characters(categories=("L", "N", "P", "S")), min_size=1, max_size=5)


def test_a_file_by_hand(tmp_path):
    path = tmp_path / "new" / "x.lab"
    segments = [Segment(0.0, 0.05, "pau"), Segment(0.05, 0.1234567, "3:"), Segment(0.1234567, 0.1234567, "tS")]
    write_lab(path, segments)
    assert path.read_bytes() == b"0 500000 pau\n500000 1234567 3:\n1234567 1234567 tS\n"
    assert read_lab(path) == segments
    assert [p.name for p in path.parent.iterdir()] == ["x.lab"]


@pytest.mark.parametrize("rate", [8_000, 16_000, 22_050, 44_100, 48_000])
@given(marks=st.lists(st.integers(0, 60 * 48_000), min_size=2, max_size=20, unique=True), label=LABELS)
def test_sample_positions_are_recovered_exactly(tmp_path_factory, rate, marks, label):
    path = tmp_path_factory.getbasetemp() / "positions.lab"
    marks = sorted(marks)
    spans = list(itertools.pairwise(marks))
    write_lab(path, [Segment(start / rate, end / rate, label) for start, end in spans])
    back = read_lab(path)
    assert [(round(s.start * rate), round(s.end * rate)) for s in back] == spans
    assert {s.label for s in back} == {label}
    assert all(a.end == b.start for a, b in itertools.pairwise(back))  # still without gaps


def test_blank_lines_spaces_and_foreign_line_ends_do_no_harm(tmp_path):
    path = tmp_path / "x.lab"
    path.write_bytes(b"\r\n  0\t500000   pau \r\n\r\n500000 600000 a\r\n")
    assert read_lab(path) == [Segment(0, 0.05, "pau"), Segment(0.05, 0.06, "a")]
    path.write_bytes(b"")
    assert read_lab(path) == []


@pytest.mark.parametrize(
    "line", ["0", "0 10", "0 10 a b", "a 0 10", "0.5 1 a", "10 5 a", "-1 5 a", "0 1e7 a", "pau", 'MLF!# "x"']
)
def test_a_malformed_line_is_named(tmp_path, line):
    path = tmp_path / "x.lab"
    path.write_text(f"0 5 pau\n\n{line}\n")
    with pytest.raises(SpeechVQError) as error:
        read_lab(path)
    assert str(error.value) == f"{path}, line 3: not 'start end label' in 100 ns: {line!r}"


def test_what_is_no_label_file_is_one_line(tmp_path):
    (tmp_path / "sound.lab").write_bytes(b"RIFF\xff\xfe\x00\x80WAVE")
    for path in (tmp_path / "missing.lab", tmp_path, tmp_path / "sound.lab"):
        with pytest.raises(SpeechVQError) as error:
            read_lab(path)
        assert str(error.value).startswith(f"{path}: cannot be read as labels")
        assert "\n" not in str(error.value)


def test_a_write_that_fails_leaves_what_was_there(tmp_path):
    path = tmp_path / "x.lab"
    write_lab(path, [Segment(0, 1, "a")])
    with pytest.raises(ValueError, match="NaN"):
        write_lab(path, [Segment(0, 1, "b"), Segment(float("nan"), 1, "c")])
    with pytest.raises(UnicodeEncodeError):
        write_lab(path, [Segment(0, 1, "\ud800")])
    assert path.read_text() == f"0 {UNITS} a\n"
    assert [p.name for p in tmp_path.iterdir()] == ["x.lab"]


def test_vctks_labels_are_read():
    folder = SHARED / "data" / "vctk" / "lab" / "mono"
    paths = sorted(folder.rglob("*.lab"))[::40]
    if not paths:
        pytest.skip(f"{folder} is not here")
    labels = set()
    for path in paths:
        segments = read_lab(path)
        labels |= {s.label for s in segments}
        assert segments[0].start == 0
        assert 0.5 < segments[-1].end < 30
        assert all(a.end == b.start for a, b in itertools.pairwise(segments))
        assert segments[0].label == segments[-1].label == "pau"
    assert 35 <= len(labels) <= 41

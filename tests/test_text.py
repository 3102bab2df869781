"""Label files: what is written is read again, to the sample; what is no label file is said to be none."""

import itertools
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from speechvq import SpeechVQError
from speechvq.text import UNITS, Segment, frame_labels, read_lab, read_phn, write_lab

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


SYMBOLS = (
    "iy ih eh ey ae aa aw ay ah ao oy ow uh uw ux er ax ix axr ax-h jh ch b d g p t k dx s sh z zh f th v dh m n ng em "
    "en eng nx l r w y hh hv el bcl dcl gcl pcl tcl kcl q pau epi h#"
)
TIMIT = SYMBOLS.split()


def test_timit_is_folded_to_39_symbols(tmp_path):
    path = tmp_path / "SA1.PHN"
    path.write_text("".join(f"{800 * i} {800 * (i + 1)} {symbol}\n" for i, symbol in enumerate(TIMIT)))
    segments = read_phn(path)
    assert len(TIMIT) == 61
    assert len({segment.label for segment in segments}) == 39
    assert len(segments) == 60  # the glottal stop is a gap
    labels = frame_labels(segments, 62, 0.05)
    assert [labels.index(None), labels[-1]] == [TIMIT.index("q"), None]
    assert {old: new for old, new in zip(TIMIT, labels, strict=False) if new not in (old, None)}.items() >= {
        ("ao", "aa"),
        ("h#", "sil"),
        ("nx", "n"),
        ("zh", "sh"),
    }
    path.write_text("0 800\n")
    with pytest.raises(SpeechVQError, match=r"SA1\.PHN, line 1: not 'start end label' in samples"):
        read_phn(path)


def test_labels_at_the_centre_or_of_the_larger_part():
    segments = [Segment(0.0, 0.05, "a"), Segment(0.05, 0.06, "b"), Segment(0.09, 0.13, "c")]
    assert frame_labels(segments, 4, 0.04) == ["a", None, "c", None]
    assert frame_labels(segments, 4, 0.04, majority=True) == ["a", "a", "c", "c"]
    assert frame_labels(segments, 4, 0.04, offset=-0.03) == [None, "a", None, "c"]
    assert frame_labels(segments, 1, 0.1, offset=0.0) == ["b"]  # a segment's start is its own
    assert frame_labels([], 2, 0.04) == frame_labels([], 2, 0.04, majority=True) == [None, None]


@given(st.lists(st.integers(1, 9), min_size=1, max_size=30), st.integers(1, 7), st.integers(-20, 20))
def test_frame_labels_are_those_of_a_rasterized_signal(lengths, hop, offset):
    """Times in whole milliseconds, painted one by one. Centres of odd hops, ever between two, are at none's end."""
    hop = 2 * hop + 1
    marks = [0, *itertools.accumulate(lengths)]
    segments = [Segment(a / 1000, b / 1000, str(i % 5)) for i, (a, b) in enumerate(itertools.pairwise(marks))]
    painted = {t: s.label for s, (a, b) in zip(segments, itertools.pairwise(marks), strict=True) for t in range(a, b)}
    frames = marks[-1] // hop + 2
    centres = [t * hop + hop // 2 + offset for t in range(frames)]
    assert frame_labels(segments, frames, hop / 1000, offset / 1000) == [painted.get(t) for t in centres]
    for t, label in enumerate(frame_labels(segments, frames, hop / 1000, offset / 1000, majority=True)):
        inside = [painted.get(t * hop + offset + i) for i in range(hop)]
        counts = {value: inside.count(value) for value in inside if value}
        assert counts.get(label, 0) == max(counts.values(), default=0)

"""Label files: written and read again, exact to the sample; anything else is refused in one line."""

import itertools
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from speechvq import SpeechVQError
from speechvq.text.frames import frame_labels
from speechvq.text.htk import HTK_RATE, read_lab, read_phn, write_lab
from speechvq.text.labels import LABEL_SUFFIXES, read_labels
from speechvq.text.phones import ARPABET, ESPEAK, arpabet
from speechvq.text.segments import Segment
from speechvq.text.textgrid import read_textgrid, write_textgrid

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


@pytest.mark.parametrize("line", ["0", "0 10", "a 0 10", "0.5 1 a", "10 5 a", "-1 5 a", "0 1e7 a", "pau", 'MLF!# "x"'])
def test_a_malformed_line_is_named(tmp_path, line):
    path = tmp_path / "x.lab"
    path.write_text(f"0 5 pau\n\n{line}\n")
    with pytest.raises(SpeechVQError) as error:
        read_lab(path)
    assert str(error.value) == f"{path}, line 3: not 'start end label' in 100 ns: {line!r}"


def test_anything_else_is_refused_in_one_line(tmp_path):
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
    assert path.read_text() == f"0 {HTK_RATE} a\n"
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
    assert labels <= set(HTS.split())


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
    """Times are whole milliseconds; a hop is an odd number of them, so that no centre of a frame is at an edge."""
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


def grid(*tiers: str) -> str:
    """A TextGrid as Praat and the Montreal Forced Aligner write it, of 0.5 s."""
    head = 'File type = "ooTextFile"\nObject class = "TextGrid"\n\nxmin = 0 \nxmax = 0.5 \ntiers? <exists> \n'
    items = "".join(f"    item [{i}]:\n{tier}" for i, tier in enumerate(tiers, 1))
    return f"{head}size = {len(tiers)} \nitem []: \n{items}"


def intervals(name: str, *labels: str) -> str:
    """A tier of equal intervals."""
    text = f'        class = "IntervalTier" \n        name = "{name}" \n        xmin = 0 \n        xmax = 0.5 \n'
    text += f"        intervals: size = {len(labels)} \n"
    for i, label in enumerate(labels):
        text += f"        intervals [{i + 1}]:\n            xmin = {i / 2 / len(labels):g} \n"
        text += f'            xmax = {(i + 1) / 2 / len(labels):g} \n            text = "{label}" \n'
    return text


POINTS = """        class = "TextTier" \n        name = "clicks" \n        xmin = 0 \n        xmax = 0.5 \n
        points: size = 1 \n        points [1]:\n            number = 0.2 \n            mark = "x" \n"""
WORDS = intervals("words", "", "him")
PHONES = intervals("phones", "", "HH", "IH1", "M", "spn")


@pytest.mark.parametrize(
    "text",
    [
        grid(WORDS, PHONES),
        grid(POINTS, WORDS, PHONES.replace("phones", "Phones")),
        grid(WORDS.replace("words", "p225 - words"), PHONES.replace("phones", "p225 - phones")),
        grid(PHONES.replace("phones", "MAU"), POINTS),
    ],
    ids=["two tiers", "points too", "with a speaker's name", "one tier of another name"],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_grids_of_others_are_read(tmp_path, text, encoding):
    path = tmp_path / "x.textgrid"
    path.write_text(text, encoding=encoding)
    labels = ["", "HH", "IH1", "M", "spn"]
    assert read_textgrid(path) == [Segment(i / 10, (i + 1) / 10, label) for i, label in enumerate(labels)]
    assert [s.label for s in read_labels(path)] == ["sil", "hh", "ih", "m", "sil"]


def test_words_are_read_by_the_name_of_their_tier(tmp_path):
    path = tmp_path / "x.TextGrid"
    path.write_text(grid(WORDS, PHONES))
    assert read_textgrid(path, "words") == [Segment(0.0, 0.25, ""), Segment(0.25, 0.5, "him")]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "cannot be read as a TextGrid"),
        ("0 5 pau\n", "cannot be read as a TextGrid"),
        ('{"a": 1}', "cannot be read as a TextGrid"),
        (grid(WORDS, PHONES)[:500], "cannot be read as a TextGrid"),
        (grid(WORDS, PHONES.replace("xmin = 0.1", "xmin = 0.01")), "cannot be read as a TextGrid"),
        (grid(WORDS, PHONES.replace('"phones"', '"sounds"')), "which tier is 'phones'? It has words, sounds"),
        (grid(PHONES.replace('"ph', '"a - ph'), PHONES.replace('"ph', '"b - ph')), "It has a - phones, b - phones"),
        (grid(POINTS), "which tier is 'phones'? It has none"),
    ],
)
def test_anything_but_a_grid_is_refused_in_one_line(tmp_path, text, reason):
    path = tmp_path / "x.TextGrid"
    path.write_text(text)
    with pytest.raises(SpeechVQError) as error:
        read_textgrid(path)
    assert str(error.value).startswith(f"{path}: ")
    assert reason in str(error.value)
    assert "\n" not in str(error.value)


@given(marks=st.lists(st.integers(0, 60 * 16_000), min_size=2, max_size=20, unique=True), label=LABELS)
def test_a_grid_is_recovered_exactly(tmp_path_factory, marks, label):
    path = tmp_path_factory.getbasetemp() / "grid.TextGrid"
    segments = [Segment(a / 16_000, b / 16_000, label) for a, b in itertools.pairwise(sorted(marks))]
    lead = [Segment(0.0, segments[0].start, "")] if segments[0].start else []
    write_textgrid(path, segments, words=segments[1:])
    assert read_textgrid(path) == lead + segments
    assert [s for s in read_textgrid(path, "words") if s.label] == segments[1:]
    write_textgrid(path, segments[:1] + segments[2:])
    assert [s for s in read_textgrid(path) if s.label] == segments[:1] + segments[2:]


@pytest.mark.parametrize("bad", [[Segment(0, 2, "a"), Segment(1, 3, "b")], [Segment(1, 1, "a")], []])
def test_a_grid_that_cannot_be_written_leaves_what_was_there(tmp_path, bad):
    path = tmp_path / "x.TextGrid"
    write_textgrid(path, [Segment(0, 1, "a")])
    before = path.read_bytes()
    with pytest.raises(SpeechVQError, match=r"x\.TextGrid: "):
        write_textgrid(path, bad)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["x.TextGrid"]


# The set of VCTK's HTS labels.
HTS = "aa ae ah ao aw ax ay b ch d dh eh er ey f g hh ih iy jh k l m n ng ow oy p pau r s sh t th uh uw v w y z zh"
# What espeak-ng's voices for English speak.
DEMO = (
    "pau n t d D s l I k @ r z p f b w i: a# @2 V 0 v E a oU m u: 3 h aI eI I2 dZ U g j tS S 3: aU T i N ; O@ A@ aa @L "
    "o@ O: OI e@ Z r- I# O2 A: t# aI@ aI2 i@ U@ i@3 VR t[ t2 @5 w# IR aI3 @- x ? n- O l# O~"
)


def test_vctks_symbols_stay_41_classes():
    phones = [arpabet(label) for label in HTS.split()]
    assert len(set(phones)) == 41
    assert [new for old, new in zip(HTS.split(), phones, strict=True) if old != new] == ["sil"]


def test_every_source_has_one_inventory():
    inventory = {arpabet(label) for label in HTS.split()} | {"dx"}  # the flap is TIMIT's
    assert set(ARPABET.values()) == inventory
    assert {arpabet(label, espeak=True) for label in DEMO.split()} == inventory - {"dx"}
    assert set(ESPEAK) == set(DEMO.split())
    assert [arpabet(s) for s in ("AH0", "AA1", "UW2", "SIL", "+SPN+", "sp", "spn", "</s>", "h#", "")] == [
        *("ah", "aa", "uw"),
        *["sil"] * 7,
    ]


def test_a_symbol_means_what_its_source_means():
    symbols = ["D", "N", "S", "T", "Z", "aa", "b"]
    assert [arpabet(s) for s in symbols] == ["d", "n", "s", "t", "z", "aa", "b"]
    assert [arpabet(s, espeak=True) for s in symbols] == ["dh", "ng", "sh", "th", "zh", "ae", "b"]


@pytest.mark.parametrize("label", ["xx", "AH3", "0AH", "1", "tS", "AH 0", "@"])
def test_an_unknown_label_is_named(label):
    with pytest.raises(SpeechVQError, match=f"'{label}' is not a known phone"):
        arpabet(label)


def test_labels_are_read_by_suffix_into_one_inventory(tmp_path):
    write_lab(tmp_path / "hts.lab", [Segment(0, 1, "pau"), Segment(1, 2, "ax")])
    write_lab(tmp_path / "demo.LAB", [Segment(0, 1, "D"), Segment(1, 2, "@"), Segment(2, 3, "aa")])
    (tmp_path / "timit.PHN").write_text("0 800 h#\n800 1600 ix\n1600 2400 q\n2400 3200 dx\n")
    write_textgrid(tmp_path / "mfa.TextGrid", [Segment(0.5, 1, "DH"), Segment(1, 2, "AH0")], words=[])
    labels = {p.name: [s.label for s in read_labels(p)] for p in tmp_path.iterdir()}
    assert labels == {
        "hts.lab": ["sil", "ax"],
        "demo.LAB": ["dh", "ax", "ae"],
        "timit.PHN": ["sil", "ih", "dx"],
        "mfa.TextGrid": ["sil", "dh", "ah"],
    }
    assert {Path(name).suffix.lower() for name in labels} == set(LABEL_SUFFIXES)
    write_lab(tmp_path / "hts.lab", [Segment(0, 1, "pau"), Segment(1, 2, "qq")])
    with pytest.raises(SpeechVQError, match=r"hts\.lab: 'qq' is not a known phone"):
        read_labels(tmp_path / "hts.lab")
    with pytest.raises(SpeechVQError, match=r"x\.wrd: labels are \.textgrid, \.lab, \.phn files"):
        read_labels(tmp_path / "x.wrd")

"""Label files as the tools of the field write them: the same phones from all of them."""

import itertools
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_labels import PHONES, POINTS, WORDS, grid, intervals

from speechvq import SpeechVQError
from speechvq.text.htk import is_transcript, read_lab
from speechvq.text.labels import LabelReading, read_labels, read_map
from speechvq.text.phones import INVENTORY, IPA, SAMPA_AND_ESPEAK, arpabet, phones_of
from speechvq.text.segments import Segment
from speechvq.text.textgrid import read_textgrid

PLAIN = "0 1700000 sil\n1700000 2500000 dh\n2500000 12000000 ah\n"
SAME = [Segment(0, 0.17, "sil"), Segment(0.17, 0.25, "dh"), Segment(0.25, 1.2, "ah")]
LAB_FILES = {
    "htk": PLAIN,
    "byte order mark": "\ufeff" + PLAIN,
    "carriage returns": PLAIN.replace("\n", "\r"),
    "tabs and spaces": PLAIN.replace(" ", "\t").replace("\n", " \r\n\r\n"),
    "scores and words": "0 1700000 sil -1234.567871 sil\n1700000 2500000 dh -321.5 the\n2500000 12000000 ah -17.0\n",
    "words without scores": "0 1700000 sil sil\n1700000 2500000 dh the\n2500000 12000000 ah\n",
    "states": "0 500000 sil[2] -30.1 sil\n500000 1700000 sil[3] -20.0\n1700000 2000000 dh[2] -1 dh\n"
    "2000000 2500000 dh[4] -1.0\n2500000 12000000 ah[2] -1.0 ah\n",
    "triphones": "0 1700000 sil\n1700000 2500000 sil-dh+ah\n2500000 12000000 dh-ah+sil\n",
    "full contexts": "0 1700000 x^x-sil+dh=ax@x_x/A:0_0_0/B:x-x@x\n1700000 2500000 x^sil-dh+ax=k@1_2/A:0_0_0/B:1-0-2\n"
    "2500000 12000000 sil^dh-ah+k=ae@1_2/A:0_0_0\n",
    "states of full contexts": "0 500000 x^x-sil+dh=ax@x_x/A:0[2]\n500000 1700000 x^x-sil+dh=ax@x_x/A:0[3]\n"
    "1700000 2500000 x^sil-dh+ax=k@1_2/A:0[2]\n2500000 12000000 sil^dh-ah+k=ae@1_2/A:0[2]\n",
    "seconds": "0.0\t0.17\tsil\n0.17\t0.25\tdh\n0.25\t1.2\tah\n",
    "a decimal point in 100 ns": "0.0 1700000.0 sil\n1700000.0 2500000.0 dh\n2500000.0 12000000.0 ah\n",
    "master label file": f'#!MLF!#\n"*/a.lab"\n{PLAIN}.\n',
    "xwaves": "signal a0001\nnfields 1\n#\n   0.1700  121 pau\n   0.2500  121 dh\n   1.2000  121 ah\n",
    "xwaves of CMU ARCTIC": "separator ;\nnfields 1\n#\n0.17000 125 pau\n0.25000 125 dh ; x\n1.20000 125 ah\n",
}


@pytest.mark.parametrize("content", LAB_FILES.values(), ids=LAB_FILES)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-16-le", "utf-16-be"])
def test_lab_files_of_all_tools_are_read_alike(tmp_path, content, encoding):
    path = tmp_path / "x.lab"
    path.write_bytes(content.encode(encoding))
    assert read_labels(path) == SAME
    assert not is_transcript(path)


def test_two_neighbours_of_one_phone_stay_two(tmp_path):
    path = tmp_path / "x.lab"
    path.write_text("0 10 s[2]\n10 20 s[3]\n20 30 s[2]\n30 40 s[3]\n40 50 t\n50 60 t\n")
    times = [(0, 20, "s"), (20, 40, "s"), (40, 50, "t"), (50, 60, "t")]
    assert [(round(s.start * 1e7), round(s.end * 1e7), s.label) for s in read_lab(path)] == times


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ('#!MLF!#\n"*/a.lab"\n0 5 s\n.\n"*/b.lab"\n0 5 s\n.\n', "a master label file of several recordings"),
        ("#\n0.5 121 s\n0.4 121 t\n", "line 3: not 'end colour label' in seconds"),
        ("#\n0.5\n", "line 2: not 'end colour label' in seconds"),
        ("0.0 0.5 s\n1 2 t\n", "line 2: not 'start end label'"),
        ("0 5 s\n0 nan t\n", "line 2: not 'start end label'"),
        (b"0 5 caf\xe9\n", "byte 0xe9 at 7 is not UTF-8; convert it to UTF-8"),
    ],
)
def test_what_cannot_be_read_says_where_and_why(tmp_path, content, reason):
    path = tmp_path / "x.lab"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(SpeechVQError) as error:
        read_labels(path)
    assert reason in str(error.value)
    assert str(error.value).startswith(str(path))


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("she had your dark suit\n", True),
        ("1984 was a year\n", True),
        ("2 3 5\n7\n", False),
        ("", False),
        (PLAIN, False),
    ],
)
def test_a_transcript_has_no_times(tmp_path, content, expected):
    (tmp_path / "x.lab").write_text(content)
    assert is_transcript(tmp_path / "x.lab") is expected


# --- TextGrids


@pytest.mark.parametrize(
    ("tiers", "tier"),
    [
        ((WORDS.replace("words", "word"), PHONES.replace("phones", "phone")), ""),
        ((WORDS.replace("words", "WORD"), PHONES.replace("phones", "PHONE")), ""),
        ((PHONES.replace("phones", "Bob Smith - phone"), WORDS.replace("words", "Bob Smith - word")), ""),
        ((WORDS.replace("words", "ORT-MAU"), WORDS.replace("words", "KAN-MAU"), PHONES.replace("phones", "MAU")), ""),
        ((WORDS, PHONES, POINTS, intervals("IPA", "x")), ""),
        ((WORDS, PHONES.replace("phones", "Lautung")), "lautung"),
        ((PHONES, PHONES.replace("phones", "a - phones").replace("IH1", "AA1")), "phones"),
        (
            (PHONES.replace("phones", "a - phones").replace("IH1", "AA1"), PHONES.replace("phones", "b - phones")),
            "b - phones",
        ),
    ],
)
def test_the_tier_of_phones(tmp_path, tiers, tier):
    path = tmp_path / "x.TextGrid"
    path.write_text(grid(*tiers))
    assert [s.label for s in read_labels(path, LabelReading(tier))] == ["sil", "hh", "ih", "m", "sil"]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_grids_in_any_encoding(tmp_path, encoding, newline):
    path = tmp_path / "x.TextGrid"
    path.write_bytes(grid(WORDS.replace("him", "ħim"), PHONES).replace("\n", newline).encode(encoding))
    assert [s.label for s in read_textgrid(path)] == ["", "HH", "IH1", "M", "spn"]
    assert [s.label for s in read_textgrid(path, "words")] == ["", "ħim"]


@pytest.mark.parametrize("encoding", ["latin-1", "mac-roman"])
def test_another_encoding_is_named(tmp_path, encoding):
    path = tmp_path / "x.TextGrid"
    path.write_bytes(grid(WORDS.replace("him", "hém"), PHONES).encode(encoding))
    with pytest.raises(
        SpeechVQError, match=r"x\.TextGrid: cannot be read as labels \(byte 0x.. at \d+ is not UTF-8; convert"
    ):
        read_textgrid(path)


def test_quotes_brackets_and_numbers_inside_of_labels(tmp_path):
    """What separates tiers and intervals for people is text as any other inside of quotes."""
    odd = ['a ""quoted"" word', "item [2]:", "intervals [1]:", "xmin = 3", "<exists>", "two\nlines"]
    path = tmp_path / "x.TextGrid"
    path.write_text(grid(intervals("words", *odd), PHONES))
    assert [s.label for s in read_textgrid(path, "words")] == [label.replace('""', '"') for label in odd]
    assert len(read_textgrid(path)) == 5


def test_times_with_exponents_and_of_the_short_form(tmp_path):
    path = tmp_path / "x.TextGrid"
    head = 'File type = "ooTextFile short"\n"TextGrid"\n\n0\n5e-1\n<exists>\n1\n'
    path.write_text(head + '"IntervalTier"\n"phones"\n0\n0.5\n2\n0\n1.25E-1\n"s"\n0.125\n5e-1\n"t"\n')
    assert read_textgrid(path) == [Segment(0, 0.125, "s"), Segment(0.125, 0.5, "t")]


@given(st.data())
def test_damaged_files_are_labels_or_one_line(tmp_path_factory, data):
    """Bytes of good files, cut, doubled and changed: a result or SpeechVQError, nothing else."""
    sources = {
        ".TextGrid": [grid(WORDS, PHONES, POINTS)],
        ".lab": list(LAB_FILES.values()),
        ".phn": ["0 800 h#\n800 900 s\n"],
    }
    suffix = data.draw(st.sampled_from(sorted(sources)))
    content = bytearray(data.draw(st.sampled_from(sources[suffix])).encode())
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(content)))
        end = place + data.draw(st.integers(0, 9))
        content[place:end] = data.draw(
            st.sampled_from([b"", b"\0", b"\xff", b"999999999999", b'"', b"-", content[place:end] * 2])
        )
    path = tmp_path_factory.getbasetemp() / f"damaged{suffix}"
    path.write_bytes(content)
    with suppress(SpeechVQError):
        segments = read_labels(path)
        assert all(a.end <= b.start + 1e-6 for a, b in itertools.pairwise(segments))
        assert {s.label for s in segments} <= set(INVENTORY)


# --- symbols


@pytest.mark.parametrize(
    ("labels", "phones"),
    [
        ("DH AH0 K AE1 T {NS} {LG} {BR} {SL} {CG} sp", "dh ah k ae t sil sil sil sil sil sil"),  # P2FA
        ("IY1 ns br lg ls cg sp", "iy sil sil sil sil sil sil"),  # FAVE
        ("OW0 spn <SPN> UNK oov <NOISE> laugh breath", "ow sil sil sil sil sil sil sil"),  # MFA
        ("AH0_B T_E S_S IY1_I SIL_S", "ah t s iy sil"),  # Kaldi's positions
        ("D { t Q @U tS I@ 3: r <p:> <usb>", "dh ae t aa ow ch ih er r sil sil"),  # WebMAUS
        ("ð ə kʰ æ tʰ dʒ ɚ spn", "dh ax k ae t jh er sil"),
        (
            "tʃ aj aw ej ɔj ow əw ɫ̩ m̩ n̩ ɾ̃ ɲ ɟ ç ʔ ɒː iː ɝ ʉː d̪ fʲ",
            "ch ay aw ey oy ow ow l m n n n g hh t ao iy er uw d f",
        ),
        ("ˈt͡ʃ ʌ ɹ i ˌoʊ", "ch ah r iy ow"),
        ("DH,D,s AH0,IH1,s sil,T,a S,sil,d R*,R,s Z,err,s K", "d ih t sil r - k"),  # L2-ARCTIC
        ("AA1 q HH Q ?", "aa - hh - -"),
    ],
)
def test_symbols_of_other_sets(labels, phones):
    assert phones_of(labels.split()) == [None if one == "-" else one for one in phones.split()]


def test_each_set_has_all_phones_and_no_others():
    """But the flap, which espeak-ng does not write."""
    assert set(IPA.values()) == set(INVENTORY) - {"sil"}
    assert set(SAMPA_AND_ESPEAK.values()) == set(INVENTORY)
    for phone in INVENTORY:
        assert phones_of([phone.upper()]) == [phone]


def test_one_label_does_not_decide_about_a_file():
    """The set that knows the most labels is the file's, and names the label that it lacks."""
    with pytest.raises(SpeechVQError, match=r"'@' is not a known phone \(--map FILE says what it is\)"):
        phones_of(["DH", "AH0", "@", "K"])
    assert phones_of(["DH", "AH0", "@", "K"], {"@": "ax"}) == ["dh", "ah", "ax", "k"]
    assert phones_of(["D", "x9"], {"x9": "sil"}) == ["d", "sil"]
    assert arpabet("{NS}") == "sil"


def test_a_map_of_symbols(tmp_path):
    path = tmp_path / "map.txt"
    path.write_text("\ufeffx1\taa\n\nx2  uw\r\nx3 -\nx4 sil\n# ng\n", encoding="utf-8")
    symbols = read_map(path)
    assert phones_of(["x1", "x2", "x3", "x4", "#", "T"], symbols) == ["aa", "uw", None, "sil", "ng", "t"]
    for content, reason in (
        ("x1 aa\nx2\n", "line 2"),
        ("x1 aa\nx1 uw\n", "line 2"),
        ("a b c\n", "line 1"),
        ("\n", "holds no"),
    ):
        path.write_text(content)
        with pytest.raises(SpeechVQError, match=reason):
            read_map(path)
    with pytest.raises(SpeechVQError, match="cannot be read"):
        read_map(Path(tmp_path / "absent"))

"""Codes with times: the table, the TextGrid, as other programs read them, and the command that writes them."""

from pathlib import Path

import pytest
from trees import tone

from speechvq import SpeechVQError
from speechvq.cli import main
from speechvq.codec import Codec
from speechvq.text.segments import Segment
from speechvq.text.textgrid import read_textgrid
from speechvq.text.timed_codes import code_segments, read_code_table, runs, write_timed_codes

GOLDEN = Path(__file__).parent / "golden" / "models" / "mel"
CODES, PHONES = [7, 7, 3, 0], {7: "aa", 3: "aa", 0: "sil"}
SEGMENTS = [Segment(0, 0.02, "7"), Segment(0.02, 0.04, "7"), Segment(0.04, 0.06, "3"), Segment(0.06, 0.07, "0")]


def test_codes_last_as_long_as_the_recording():
    assert code_segments(CODES, 0.02, 0.07) == SEGMENTS
    assert runs(SEGMENTS) == [Segment(0, 0.04, "7"), *SEGMENTS[2:]]
    assert runs([]) == []


def test_a_table_has_a_row_for_each_code(tmp_path):
    write_timed_codes(tmp_path / "a.tsv", SEGMENTS, PHONES)
    lines = (tmp_path / "a.tsv").read_text().splitlines()
    assert lines[0] == "start\tend\tcode\tphone"
    assert lines[3:] == ["0.04\t0.06\t3\taa", "0.06\t0.07\t0\tsil"]
    write_timed_codes(tmp_path / "b.tsv", SEGMENTS)
    assert (tmp_path / "b.tsv").read_text().splitlines()[:2] == ["start\tend\tcode", "0\t0.02\t7"]


def test_a_textgrid_has_an_interval_for_each_run(tmp_path):
    pytest.importorskip("praatio", reason='praatio is an extra: pip install ".[align]"')
    write_timed_codes(tmp_path / "a.TextGrid", SEGMENTS, PHONES)
    assert read_textgrid(tmp_path / "a.TextGrid", "codes") == runs(SEGMENTS)
    assert read_textgrid(tmp_path / "a.TextGrid") == [Segment(0, 0.06, "aa"), Segment(0.06, 0.07, "sil")]


def test_praat_reads_it(tmp_path):
    parselmouth = pytest.importorskip("parselmouth", reason="pip install praat-parselmouth")
    pytest.importorskip("praatio", reason='praatio is an extra: pip install ".[align]"')
    write_timed_codes(tmp_path / "a.TextGrid", SEGMENTS, PHONES)
    grid = parselmouth.Data.read(str(tmp_path / "a.TextGrid"))
    call = parselmouth.praat.call
    assert [call(grid, "Get tier name", tier) for tier in (1, 2)] == ["codes", "phones"]
    count = call(grid, "Get number of intervals", 1)
    assert [call(grid, "Get label of interval", 1, i + 1) for i in range(count)] == ["7", "3", "0"]
    assert call(grid, "Get end time of interval", 1, 1) == pytest.approx(0.04)
    assert call(grid, "Get end time") == pytest.approx(0.07)
    assert [call(grid, "Get label of interval", 2, i + 1) for i in range(2)] == ["aa", "sil"]


def test_the_table_of_codes_is_that_of_evaluate_phonemes(tmp_path):
    path = tmp_path / "phones.tsv"
    path.write_text("code\tframes\tshare\tphone\n7\t3\t0.5\taa\n3\t2\t0.3\taa\n0\t1\t0.2\tsil\n")
    assert read_code_table(path) == PHONES
    path.write_text("code\tphone\n\n7\t" + "x" * 200_000 + "\n\n")  # a field may be of any length
    assert read_code_table(path) == {7: "x" * 200_000}
    rows = ("9" * 5_000 + "\tx\n", "7\n", "7\t\n", "7\taa\n7\tiy\n", "x\taa\n")
    for text in ("", "code\tphone\n", "code\tframes\n7\t3\n", *("code\tphone\n" + row for row in rows)):
        path.write_text(text)
        with pytest.raises(SpeechVQError, match=r"phones\.tsv(: holds no codes|, line 2|, line 3)"):
            read_code_table(path)
    with pytest.raises(SpeechVQError, match="no such table of codes"):
        read_code_table(tmp_path / "absent.tsv")


def test_encode_writes_codes_with_times(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    wav = tone(tmp_path / "in" / "a.wav", 0.33)
    codes = Codec.load(GOLDEN).encode(wav).tolist()
    assert len(codes) == 17
    (tmp_path / "phones.txt").write_text("code\tphone\n" + "".join(f"{code}\tph{code}\n" for code in set(codes)))
    encode = ["encode", "--model", str(GOLDEN)]
    assert main([*encode, str(wav), "a.tsv", "--phones", "phones.txt"]) == 0
    rows = [line.split("\t") for line in Path("a.tsv").read_text().splitlines()[1:]]
    assert [(row[2], row[3]) for row in rows] == [(str(code), f"ph{code}") for code in codes]
    assert rows[-1][:2] == ["0.32", "0.33"]
    pytest.importorskip("praatio", reason='praatio is an extra: pip install ".[align]"')
    assert main([*encode, "in", "out", "--format", "textgrid"]) == 0
    assert [one.label for one in read_textgrid(Path("out/a.TextGrid"), "codes")] == [
        code for i, code in enumerate(map(str, codes)) if i == 0 or code != str(codes[i - 1])
    ]
    capsys.readouterr()
    assert main([*encode, "in", "out", "--format", "textgrid"]) == 0
    assert capsys.readouterr().out == "0 written, 1 were there, 0 failed\n"
    assert main([*encode, str(wav), "b.tsv", "--phones"]) == 2
    assert f"{GOLDEN / 'phones.tsv'}: no such table of codes" in capsys.readouterr().err
    assert main([*encode, str(wav), "b.svq", "--phones", "phones.txt"]) == 2
    assert "--phones is of codes with times" in capsys.readouterr().err
    assert main([*encode, str(wav), "b.wav"]) == 2
    assert "the output ends in .svq or .tsv or .TextGrid" in capsys.readouterr().err

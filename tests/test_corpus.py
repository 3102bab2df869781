"""Corpora as they lie on disk, splits, and preparing: what is written, kept, made again and refused."""

import json
import math
import shutil
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from speechvq import SpeechVQError
from speechvq.audio.io import read
from speechvq.audio.level import normalize_loudness, trim
from speechvq.data.corpora.folder import read_folder
from speechvq.data.corpora.vctk import download_vctk, read_vctk, read_vctk_speakers
from speechvq.data.manifest import MANIFEST, SPEAKERS, Source, Split, Utterance, rank_key, read_manifest, read_speakers
from speechvq.data.prepare import DONE, SETTINGS, SKIPPED, Report, Treatment, prepare
from speechvq.progress import progress

SHARED = Path(__file__).resolve().parents[2] / "shared"
TRAIN = Split(valid=0, test=0, unseen=0)


def tone(path: Path, seconds: float = 0.3, lead: float = 0.0, rate: int = 16_000, frequency: float = 440) -> Path:
    """A tone after `lead` seconds of silence."""
    wav = 0.3 * np.sin(2 * np.pi * frequency * np.arange(round(seconds * rate)) / rate)
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.concatenate([np.zeros(round(lead * rate)), wav]), rate)
    return path


def text(path: Path, content: str | bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)


def rows(sources: Sequence[Source], root: Path) -> list[tuple[str, str, str, str]]:
    return [(s.id, s.speaker, s.path.relative_to(root).as_posix(), s.text) for s in sources]


# --- VCTK


def test_vctk_092(tmp_path):
    """p280 has no second microphone, p315 no text; a text of two lines; files of others lie about."""
    audio = tmp_path / "wav48_silence_trimmed"
    for name in ("p225/p225_002_mic2", "p225/p225_002_mic1", "p225/p225_001_mic1", "p280/p280_001_mic1"):
        tone(audio / f"{name}.flac", rate=48_000)
    tone(audio / "p315" / "p315_007_mic1.flac")
    tone(audio / "s5" / "s5_009_mic1.flac")
    (audio / "p225" / "._p225_003_mic1.flac").write_bytes(b"\0\5\26\7")  # what macOS leaves in archives
    (audio / "log.txt").write_text("p300 ...")
    text(tmp_path / "txt" / "p225" / "p225_001.txt", "Please call\r\n  Stella. \n")
    text(tmp_path / "txt" / "p225" / "p225_002.txt", b"caf\xe9 and caf\xc3\xa9\n")
    text(tmp_path / "txt" / "p280" / "p280_001.txt", "Ask her.")
    assert rows(read_vctk(tmp_path), tmp_path) == [
        ("p225_001", "p225", "wav48_silence_trimmed/p225/p225_001_mic1.flac", "Please call Stella."),
        ("p225_002", "p225", "wav48_silence_trimmed/p225/p225_002_mic1.flac", "caf\ufffd and café"),
        ("p280_001", "p280", "wav48_silence_trimmed/p280/p280_001_mic1.flac", "Ask her."),
        ("p315_007", "p315", "wav48_silence_trimmed/p315/p315_007_mic1.flac", ""),
        ("s5_009", "s5", "wav48_silence_trimmed/s5/s5_009_mic1.flac", ""),
    ]


def test_vctk_080(tmp_path):
    tone(tmp_path / "wav48" / "p225" / "p225_001.wav", rate=48_000)
    tone(tmp_path / "wav48" / "p315" / "p315_001.wav", rate=48_000)
    text(tmp_path / "txt" / "p225" / "p225_001.txt", "Please call Stella.\n")
    assert rows(read_vctk(tmp_path), tmp_path) == [
        ("p225_001", "p225", "wav48/p225/p225_001.wav", "Please call Stella."),
        ("p315_001", "p315", "wav48/p315/p315_001.wav", ""),
    ]


def test_no_vctk_says_what_was_looked_for(tmp_path):
    for root in (tmp_path, tmp_path / "missing"):
        with pytest.raises(SpeechVQError, match=r"no VCTK here \(neither wav48_silence_trimmed/ nor wav48/\)$"):
            read_vctk(root)


def speaker(age: str, sex: str, accent: str, region: str) -> dict[str, str]:
    return {"age": age, "sex": sex, "accent": accent, "region": region}


def test_speaker_info_of_080(tmp_path):
    text(
        tmp_path / "speaker-info.txt",
        "ID  AGE  GENDER  ACCENTS  REGION \r\n225  23  F    English    Southern  England\r\n"
        "234  22  F    Scottish  West  Dumfries\r\n362  29  F    American\r\n\r\n",
    )
    assert read_vctk_speakers(tmp_path) == {
        "p225": speaker("23", "F", "English", "Southern England"),
        "p234": speaker("22", "F", "Scottish", "West Dumfries"),
        "p362": speaker("29", "F", "American", ""),
    }


def test_speaker_info_of_092(tmp_path):
    text(
        tmp_path / "speaker-info.txt",
        b"ID  AGE  GENDER  ACCENTS  REGION COMMENTS \n"
        b"p225  23  F    English    Southern  England\n"
        b"p280  25  F    French    France (mic2 files unavailable)\n"
        b"p315  18  M    American    New England (txt files unavailable)\n"
        b"p364  23  M    Irish   Don\xe9gal\n"
        b"s5  \n"
        b"p376  22  M    Indian    \n",
    )
    assert read_vctk_speakers(tmp_path) == {
        "p225": speaker("23", "F", "English", "Southern England"),
        "p280": speaker("25", "F", "French", "France"),
        "p315": speaker("18", "M", "American", "New England"),
        "p364": speaker("23", "M", "Irish", "Don\ufffdgal"),
        "p376": speaker("22", "M", "Indian", ""),
    }


def test_without_speaker_info_nothing_is_known(tmp_path):
    assert read_vctk_speakers(tmp_path) == {}


# --- a folder of speakers


def test_a_folder_of_speakers(tmp_path):
    for name in ("b/2.wav", "b/deep/er/x.y.flac", "a/1.WAV", "a/été.ogg"):
        tone(tmp_path / name)
    tone(tmp_path / "b" / ".hidden.wav")
    tone(tmp_path / "beside.wav")  # of no speaker
    text(tmp_path / "b" / "notes.txt", "not audio")
    text(tmp_path / "transcripts.tsv", "1\tOne, common\n2\tTwo, common\nété\tsummer\r\n")
    text(tmp_path / "b" / "transcripts.tsv", "2\tTwo\t own\nx.y\t  Deep. \nmissing\tnothing\n\nwithout a tab\n")
    assert rows(read_folder(tmp_path), tmp_path) == [
        ("a/1", "a", "a/1.WAV", "One, common"),
        ("a/été", "a", "a/été.ogg", "summer"),
        ("b/2", "b", "b/2.wav", "Two own"),
        ("b/deep/er/x.y", "b", "b/deep/er/x.y.flac", "Deep."),
    ]


def test_hidden_folders_are_no_speakers(tmp_path):
    for name in ("a/1.wav", ".cache/1.wav", "a/.trash/2.wav"):
        tone(tmp_path / name)
    assert [s.id for s in read_folder(tmp_path)] == ["a/1"]


def test_a_folder_named_like_a_file_is_no_utterance(tmp_path):
    tone(tmp_path / "a" / "session.wav" / "1.wav")
    assert [s.id for s in read_folder(tmp_path)] == ["a/session.wav/1"]


def test_no_folder(tmp_path):
    tone(tmp_path / "x.wav")
    for path in (tmp_path / "missing", tmp_path / "x.wav"):
        with pytest.raises(SpeechVQError, match=r"no such folder$"):
            read_folder(path)


def test_an_empty_folder_has_no_utterances(tmp_path):
    assert read_folder(tmp_path) == []


# --- splits


def test_shares_are_about_right():
    split = Split(valid=0.05, test=0.1, unseen=0.0)
    counts = Counter(split.of(f"p{i % 100}_{i:05}", f"p{i % 100}") for i in range(10_000))
    for name, share in (("valid", 0.05), ("test", 0.1), ("train", 0.85)):
        assert abs(counts[name] - 10_000 * share) < 4 * math.sqrt(10_000 * share * (1 - share)), name
    unseen = sum(replace(split, unseen=0.2).of("x", f"speaker{i}") == "unseen" for i in range(10_000))
    assert abs(unseen - 2000) < 4 * math.sqrt(1600)


@given(st.text(), st.text(), st.floats(0, 0.5), st.floats(0, 0.5))
def test_a_split_is_a_function_of_the_names_alone(name, who, valid, test):
    split = Split(valid=valid, test=test, unseen=0.0)
    where = rank_key(name)
    assert 0 <= where < 1
    expected = "valid" if where < valid else "test" if where < valid + test else "train"
    assert split.of(name, who) == Split(valid, test, 0.0).of(name, "another") == expected


def test_who_says_a_sentence_does_not_move_it():
    split = Split(unseen=0.0, valid=0.3, test=0.3)
    spoken = {split.of(f"p{i}_001", f"p{i}", text) for i in range(50) for text in ("It's here.", "  IT'S here ")}
    assert len(spoken) == 1
    assert {split.of("x", "s", f"sentence {i}") for i in range(50)} == {"train", "valid", "test"}


def test_a_larger_share_takes_from_train_alone():
    names = [f"u{i}" for i in range(2000)]
    few = {n for n in names if Split(valid=0.05).of(n, "s") == "valid"}
    many = {n for n in names if Split(valid=0.1).of(n, "s") == "valid"}
    assert few < many


def test_splits_of_today_are_those_of_tomorrow():
    """Published numbers hang on these: another hash would be another test set."""
    assert [rank_key(name) for name in ("", "p225_001")] == pytest.approx([0.3070528, 0.7633466], abs=1e-6)


def test_unseen_speakers_by_share_are_whole_speakers():
    split = Split(unseen=0.3)
    by_speaker = {f"s{i}": {split.of(f"s{i}_{j}", f"s{i}") for j in range(50)} for i in range(50)}
    unseen = {name for name, splits in by_speaker.items() if "unseen" in splits}
    assert unseen == {name for name in by_speaker if rank_key(name) < 0.3}
    assert 5 < len(unseen) < 30
    assert all(by_speaker[name] == {"unseen"} for name in unseen)


def test_unseen_speakers_by_name_replace_the_share():
    split = Split(unseen=1.0, unseen_speakers=("s1", "s2"))
    splits = {name: split.of(f"{name}_x", name) == "unseen" for name in ("s0", "s1", "s2", "s3")}
    assert splits == {"s0": False, "s1": True, "s2": True, "s3": False}


# --- prepare

LEADS = {"a/0": 0.0, "a/1": 0.5, "b/0": 0.25, "b/1": 1.0, "b/2": 0.0}


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """Two speakers' tones, one at 48 kHz, after silences of LEADS seconds."""
    root = tmp_path / "raw"
    for i, (name, lead) in enumerate(LEADS.items()):
        tone(root / f"{name}.wav", 0.4 + 0.05 * i, lead, 48_000 if name == "b/1" else 16_000, 300 + 100 * i)
    text(root / "transcripts.tsv", "0\tnaïve — zero\n1\tone\n")
    return root


def run(root: Path, out: Path, treatment: Treatment | None = None, **options: object) -> Report:
    arguments = {"speakers": {}, "split": TRAIN, "workers": 1, **options}
    return prepare(read_folder(root), out, treatment or Treatment(), **arguments)  # type: ignore[arg-type]


def snapshot(out: Path) -> dict[str, bytes]:
    return {p.relative_to(out).as_posix(): p.read_bytes() for p in out.rglob("*") if p.is_file()}


def times(out: Path) -> dict[str, int]:
    return {p.relative_to(out).as_posix(): p.stat().st_mtime_ns for p in out.rglob("*.flac")}


def test_what_is_written(raw, tmp_path):
    out = tmp_path / "out"
    known = {"a": {"sex": "F"}, "z": {"sex": "M"}}
    split = Split(valid=0.3, test=0.3, unseen_speakers=("b",))
    report = run(raw, out, speakers=known, split=split)
    assert report == Report(written=list(LEADS))
    utterances = read_manifest(out)
    assert [u.id for u in utterances] == list(LEADS)
    for source, u in zip(read_folder(raw), utterances, strict=True):
        cut, start = trim(read(source.path))
        assert u == Utterance(
            *(source.id, source.speaker, f"audio/{u.id}.flac", len(cut), start, source.text),
            split.of(u.id, u.speaker, u.text),
        )
        header = soundfile.info(out / u.path)
        assert (header.samplerate, header.channels, header.frames) == (16_000, 1, u.samples)
        np.testing.assert_allclose(read(out / u.path), normalize_loudness(cut), atol=1.6 / 32768)
        assert 16_000 * LEADS[u.id] - 1024 <= u.start <= 16_000 * LEADS[u.id]
    assert read_speakers(out) == {"a": {"sex": "F"}, "b": {}}
    assert (out / SKIPPED).read_text() == ""
    assert "naïve — zero" in (out / MANIFEST).read_text(encoding="utf-8")
    listed = {u.path for u in utterances} | {MANIFEST, SPEAKERS, SKIPPED, DONE, SETTINGS}
    assert set(snapshot(out)) == listed  # nothing else, no temporary file


def test_labels_moved_by_start_meet_their_audio(tmp_path):
    """Sample n of the prepared audio is sample n + start of the source."""
    random = np.random.default_rng(0)
    wav = np.concatenate([1e-5 * random.standard_normal(7777), 0.2 * random.standard_normal(8000)])
    (tmp_path / "raw" / "s").mkdir(parents=True)
    soundfile.write(tmp_path / "raw" / "s" / "x.wav", wav, 16_000)
    run(tmp_path / "raw", tmp_path / "out")
    (u,) = read_manifest(tmp_path / "out")
    made, source = read(tmp_path / "out" / u.path).numpy(), read(tmp_path / "raw" / "s" / "x.wav").numpy()
    same = source[u.start : u.start + u.samples]
    assert u.start > 6000
    assert np.corrcoef(made, same)[0, 1] > 0.9999


def test_vctk_is_laid_out_by_speaker(tmp_path):
    tone(tmp_path / "raw" / "wav48" / "p225" / "p225_001.wav")
    prepare(read_vctk(tmp_path / "raw"), tmp_path / "out", Treatment(), TRAIN, speakers={})
    (u,) = read_manifest(tmp_path / "out")
    assert (u.id, u.path) == ("p225_001", "audio/p225/p225_001.flac")
    assert (tmp_path / "out" / u.path).is_file()


def test_what_is_finished_is_left_alone(raw, tmp_path):
    out = tmp_path / "out"
    run(raw, out)
    before, old = snapshot(out), times(out)
    assert run(raw, out) == Report(reused=sorted(LEADS))
    assert snapshot(out) == before
    assert times(out) == old


def test_what_is_gone_or_cut_is_made_again_and_nothing_else(raw, tmp_path):
    out = tmp_path / "out"
    run(raw, out)
    before, old = snapshot(out), times(out)
    (out / "audio/a/1.flac").unlink()
    (out / "audio/b/0.flac").write_bytes(before["audio/b/0.flac"][:-7])
    (out / MANIFEST).unlink()
    report = run(raw, out)
    assert report.written == ["a/1", "b/0"]
    assert report.reused == ["a/0", "b/1", "b/2"]
    after = snapshot(out)
    assert {k: v for k, v in after.items() if k != DONE} == {k: v for k, v in before.items() if k != DONE}
    assert {k for k, v in times(out).items() if v != old[k]} == {"audio/a/1.flac", "audio/b/0.flac"}


def test_after_a_kill_in_the_middle_of_a_line(raw, tmp_path):
    """Only what was not noted whole is made again, and once: the next call makes nothing."""
    out = tmp_path / "out"
    run(raw, out)
    before = snapshot(out)
    (out / DONE).write_bytes(before[DONE][: before[DONE].index(b"\n") * 2])  # one line and most of another
    for name in (MANIFEST, SPEAKERS, SKIPPED):
        (out / name).unlink()
    report = run(raw, out)
    assert report == Report(written=["a/1", "b/0", "b/1", "b/2"], reused=["a/0"])
    assert {k: v for k, v in snapshot(out).items() if k != DONE} == {k: v for k, v in before.items() if k != DONE}
    assert run(raw, out).written == []


@pytest.mark.parametrize("change", [{"trim_db": 50.0}])
def test_another_treatment_makes_everything_again(raw, tmp_path, change):
    out, fresh = tmp_path / "out", tmp_path / "fresh"
    run(raw, out)
    old = times(out)
    assert run(raw, out, Treatment(**change)).written == list(LEADS)
    assert all(time != old[name] for name, time in times(out).items())
    run(raw, fresh, Treatment(**change))
    assert snapshot(out) == snapshot(fresh)


def test_another_split_costs_no_audio(raw, tmp_path):
    out = tmp_path / "out"
    run(raw, out)
    assert {u.split for u in read_manifest(out)} == {"train"}
    assert run(raw, out, split=Split(unseen_speakers=("a",), valid=0, test=0)).written == []
    assert [u.split for u in read_manifest(out)] == ["unseen"] * 2 + ["train"] * 3


def test_new_files_are_added_and_old_ones_stay_where_they_were(raw, tmp_path):
    out = tmp_path / "out"
    split = Split(valid=0.3, test=0.3, unseen=0.0)
    run(raw, out, split=split)
    old = {u.id: u for u in read_manifest(out)}
    for name in ("a/00", "c/0"):
        tone(raw / f"{name}.wav")
    report = run(raw, out, split=split)
    assert report.written == ["a/00", "c/0"]
    new = {u.id: u for u in read_manifest(out)}
    assert list(new) == ["a/0", "a/00", "a/1", "b/0", "b/1", "b/2", "c/0"]
    assert {name: new[name] for name in old} == old
    shutil.rmtree(raw / "b")
    assert run(raw, out, split=split).reused == ["a/0", "a/00", "a/1", "c/0"]
    assert {u.speaker for u in read_manifest(out)} == {"a", "c"}
    assert set(read_speakers(out)) == {"a", "c"}


def test_what_cannot_be_read_is_skipped_and_listed(raw, tmp_path):
    out = tmp_path / "out"
    text(raw / "b" / "1.wav", "no audio, but words")
    text(raw / "a" / "empty.wav", "")
    soundfile.write(raw / "a" / "nan.wav", np.array([0.1, np.nan]), 16_000, subtype="FLOAT")
    report = run(raw, out)
    assert [name for name, _ in report.skipped] == ["a/empty", "a/nan", "b/1"]
    assert report.written == ["a/0", "a/1", "b/0", "b/2"] == [u.id for u in read_manifest(out)]
    lines = [line.split("\t") for line in (out / SKIPPED).read_text().splitlines()]
    assert [tuple(line) for line in lines] == report.skipped
    assert "NaN" in dict(report.skipped)["a/nan"]
    assert not (out / "audio/b/1.flac").exists()
    tone(raw / "b" / "1.wav")  # mended
    again = run(raw, out)
    assert (again.written, len(again.reused)) == (["b/1"], 4)
    assert [name for name, _ in again.skipped] == ["a/empty", "a/nan"]


def test_two_workers_write_the_same_bytes(raw, tmp_path):
    text(raw / "b" / "bad.wav", "words")
    assert run(raw, tmp_path / "one") == run(raw, tmp_path / "two", workers=2)
    assert snapshot(tmp_path / "one") == snapshot(tmp_path / "two")


def test_one_id_twice_is_refused_before_anything_is_written(raw, tmp_path):
    shutil.copy(raw / "a" / "1.wav", raw / "a" / "1.flac")
    with pytest.raises(SpeechVQError, match=r"^two utterances have the id 'a/1'$"):
        run(raw, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_nothing_usable_is_an_error_that_says_why(tmp_path):
    (tmp_path / "raw").mkdir()
    with pytest.raises(SpeechVQError, match=r"^no audio files found$"):
        run(tmp_path / "raw", tmp_path / "out")
    for name in ("a/1.wav", "b/2.wav"):
        text(tmp_path / "raw" / name, "words")
    with pytest.raises(SpeechVQError, match=r"^none of the 2 files can be used; the first, a/1: .*not audio"):
        run(tmp_path / "raw", tmp_path / "out")
    with pytest.raises(SpeechVQError, match="not a prepared corpus"):
        read_manifest(tmp_path / "out")


def test_silence_is_prepared_as_silence(tmp_path):
    """A zero file among good ones is kept as it is: no NaN, no crash."""
    tone(tmp_path / "raw" / "a" / "0.wav")
    soundfile.write(tmp_path / "raw" / "a" / "1.wav", np.zeros(8000), 16_000)
    run(tmp_path / "raw", tmp_path / "out")
    quiet = read_manifest(tmp_path / "out")[1]
    assert (quiet.samples, quiet.start) == (8000, 0)
    assert not read(tmp_path / "out" / quiet.path).any()


# --- the manifest

GOOD = asdict(Utterance("a/0", "a", "audio/a/0.flac", 100, 0, "hello", "train"))


def test_a_manifest_by_hand(tmp_path):
    text(tmp_path / MANIFEST, json.dumps(GOOD) + "\n" + json.dumps(GOOD | {"id": "a/1"}) + "\n")
    assert read_manifest(tmp_path) == [Utterance(**GOOD), Utterance(**GOOD | {"id": "a/1"})]


@pytest.mark.parametrize(
    "line",
    [
        "",
        "{",
        "[]",
        "3",
        "null",
        json.dumps({k: v for k, v in GOOD.items() if k != "text"}),
        json.dumps(GOOD | {"more": 1}),
        json.dumps(GOOD | {"samples": "100"}),
        json.dumps(GOOD | {"samples": 1.5}),
        json.dumps(GOOD | {"start": True}),
        json.dumps(GOOD | {"text": None}),
    ],
)
def test_a_bad_line_of_a_manifest_is_named(tmp_path, line):
    text(tmp_path / MANIFEST, f"{json.dumps(GOOD)}\n{line}\n{json.dumps(GOOD)}\n")
    with pytest.raises(SpeechVQError) as error:
        read_manifest(tmp_path)
    assert str(error.value).startswith(f"{tmp_path / MANIFEST}, line 2: ")
    assert len(str(error.value).splitlines()) == 1


def test_no_manifest(tmp_path):
    text(tmp_path / "binary" / MANIFEST, b"\xff\xfe\x00")
    for folder in (tmp_path, tmp_path / "missing", tmp_path / "binary"):
        with pytest.raises(SpeechVQError, match=r"not a prepared corpus, manifest\.jsonl is missing or unreadable$"):
            read_manifest(folder)


@pytest.mark.parametrize("content", [None, b"", b"{", b"\xff", b"[]", b'{"p": "F"}', b'{"p": {"sex": 1}}'])
def test_no_speakers(tmp_path, content):
    if content is not None:
        text(tmp_path / SPEAKERS, content)
    with pytest.raises(SpeechVQError, match=r"not a prepared corpus, speakers\.json is missing or unreadable$"):
        read_speakers(tmp_path)


# --- the progress bar


def test_the_bar_changes_nothing_and_keeps_quiet_when_it_is_short(capsys):
    assert list(progress(iter("abc"), 3, unit="x")) == ["a", "b", "c"]
    assert list(progress([], unit="x")) == []
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "")


def test_a_log_file_gets_few_lines(monkeypatch, tmp_path):
    with (tmp_path / "log").open("w") as log:
        monkeypatch.setattr(sys, "stderr", log)
        assert progress([1], unit="x").mininterval >= 10


# --- real speech


def test_real_vctk(tmp_path):
    root = SHARED / "data" / "vctk"
    if not root.is_dir():
        pytest.skip(f"{root} is not here")
    sources = read_vctk(root)
    assert len(sources) == 1396
    assert len({s.speaker for s in sources}) == 103
    assert sum(bool(s.text) for s in sources) > 1300
    info = read_vctk_speakers(root)
    assert info["p225"] == speaker("23", "F", "English", "Southern England")
    assert {row["sex"] for row in info.values()} == {"F", "M"}
    chosen = sources[:: len(sources) // 5][:5]
    report = prepare(chosen, tmp_path, Treatment(), Split(), speakers=info)
    assert report.written == [s.id for s in chosen]
    for source, u in zip(chosen, read_manifest(tmp_path), strict=True):
        assert u.text == source.text
        original, made = read(source.path).numpy(), read(tmp_path / u.path).numpy()
        assert 0.3 < u.samples / len(original) <= 1
        same = original[u.start : u.start + u.samples]
        assert np.corrcoef(made, same)[0, 1] > 0.999
        assert np.sum(same**2) > 0.97 * np.sum(original**2)
    assert set(read_speakers(tmp_path)) == {s.speaker for s in chosen}


@pytest.mark.parametrize("name", ["arctic", "librispeech"])
def test_real_folders_have_a_text_for_nearly_every_utterance(name):
    root = SHARED / "data" / name
    if not root.is_dir():
        pytest.skip(f"{root} is not here")
    sources = read_folder(root)
    assert len(sources) == {"arctic": 2264, "librispeech": 367}[name]
    assert sum(bool(s.text) for s in sources) > 0.99 * len(sources)


def archive(path: Path) -> str:
    """A small VCTK 0.92 as it is published: one utterance of p225, none of whose second microphone."""
    folder = path.parent / "published"
    (folder / "txt" / "p225").mkdir(parents=True)
    (folder / "txt" / "p225" / "p225_001.txt").write_text("Please call Stella.")
    (folder / "wav48_silence_trimmed" / "p225").mkdir(parents=True)
    soundfile.write(folder / "wav48_silence_trimmed" / "p225" / "p225_001_mic1.flac", np.zeros(480), 48_000)
    shutil.make_archive(str(path.with_suffix("")), "zip", folder)
    return path.as_uri()


def test_vctk_is_fetched_and_unpacked_whole_or_not_at_all(tmp_path):
    url = archive(tmp_path / "VCTK-Corpus-0.92.zip")
    root = tmp_path / "here"
    (root / "incomplete" / "VCTK-Corpus-0.92" / "txt" / "p999").mkdir(parents=True)  # a kill left it
    path = download_vctk(root, url)
    assert [source.id for source in read_vctk(path)] == ["p225_001"]
    assert [one.name for one in root.iterdir()] == ["VCTK-Corpus-0.92"]
    assert download_vctk(root, "file:///nowhere") == path  # it is there


def test_without_a_network_it_is_told_where_vctk_belongs(tmp_path):
    with pytest.raises(SpeechVQError, match=r"cannot be downloaded .*; fetch VCTK-Corpus-0.92.zip by other means"):
        download_vctk(tmp_path / "here", (tmp_path / "absent.zip").as_uri())
    assert not (tmp_path / "here" / "VCTK-Corpus-0.92").exists()

"""Preparation: what is written, kept, prepared again and refused; unusual names, interrupted runs, old folders."""

import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from trees import text, tone

import speechvq.data.prepare
from speechvq import SpeechVQError
from speechvq.audio.high_pass import high_pass
from speechvq.audio.io import read
from speechvq.audio.level import normalize_loudness, trim
from speechvq.data.corpora.folder import FOLDER
from speechvq.data.corpora.vctk import VCTK
from speechvq.data.manifest import (
    MANIFEST,
    SPEAKERS,
    TREATMENT_FILE,
    Split,
    Treatment,
    Utterance,
    read_manifest,
    read_speakers,
    write_manifest,
)
from speechvq.data.prepare import FINISHED_FILE, SKIPPED_FILE, PreparationReport, prepare

TRAIN = Split(valid=0, test=0, unseen=0)
LEADS = {"a/0": 0.0, "a/1": 0.5, "b/0": 0.25, "b/1": 1.0, "b/2": 0.0}


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """Two speakers' tones, one at 48 kHz, after silences of LEADS seconds."""
    root = tmp_path / "raw"
    for i, (name, lead) in enumerate(LEADS.items()):
        tone(root / f"{name}.wav", 0.4 + 0.05 * i, lead, 48_000 if name == "b/1" else 16_000, 300 + 100 * i)
    text(root / "transcripts.tsv", "0\tnaïve — zero\n1\tone\n")
    return root


def run(root: Path, out: Path, treatment: Treatment | None = None, **options: object) -> PreparationReport:
    arguments = {"speakers": {}, "split": TRAIN, "workers": 1, **options}
    return prepare(FOLDER.read(root), out, treatment or Treatment(), **arguments)  # type: ignore[arg-type]


def snapshot(out: Path) -> dict[str, bytes]:
    return {p.relative_to(out).as_posix(): p.read_bytes() for p in out.rglob("*") if p.is_file()}


def without_log(files: dict[str, bytes]) -> dict[str, bytes]:
    return {name: content for name, content in files.items() if name != FINISHED_FILE}


def times(out: Path) -> dict[str, int]:
    return {p.relative_to(out).as_posix(): p.stat().st_mtime_ns for p in out.rglob("*.flac")}


def test_what_is_written(raw, tmp_path):
    out = tmp_path / "out"
    known = {"a": {"sex": "F"}, "z": {"sex": "M"}}
    split = Split(valid=0.3, test=0.3, unseen_speakers=("b",))
    report = run(raw, out, speakers=known, split=split)
    assert report == PreparationReport(written=list(LEADS))
    utterances = read_manifest(out)
    assert [u.id for u in utterances] == list(LEADS)
    for source, u in zip(FOLDER.read(raw), utterances, strict=True):
        cut, start = trim(high_pass(read(source.path), 80))
        assert u == Utterance(
            *(source.id, source.speaker, f"audio/{u.id}.flac", len(cut), start, source.text),
            split.of(u.id, u.speaker, u.text),
        )
        header = soundfile.info(out / u.path)
        assert (header.samplerate, header.channels, header.frames) == (16_000, 1, u.samples)
        np.testing.assert_allclose(read(out / u.path), normalize_loudness(cut), atol=1.6 / 32768)
        assert 16_000 * LEADS[u.id] - 1024 <= u.start <= 16_000 * LEADS[u.id]
    assert read_speakers(out) == {"a": {"sex": "F"}, "b": {}}
    assert (out / SKIPPED_FILE).read_text() == ""
    assert "naïve — zero" in (out / MANIFEST).read_text(encoding="utf-8")
    listed = {u.path for u in utterances} | {MANIFEST, SPEAKERS, SKIPPED_FILE, FINISHED_FILE, TREATMENT_FILE}
    assert set(snapshot(out)) == listed  # nothing else, no temporary file


def test_labels_moved_by_start_meet_their_audio(tmp_path):
    """Sample n of the prepared audio is sample n + start of the source."""
    random = np.random.default_rng(0)
    wav = np.concatenate([1e-5 * random.standard_normal(7777), 0.2 * random.standard_normal(8000)])
    (tmp_path / "raw" / "s").mkdir(parents=True)
    soundfile.write(tmp_path / "raw" / "s" / "x.wav", wav, 16_000)
    run(tmp_path / "raw", tmp_path / "out", Treatment(high_pass=0))
    (u,) = read_manifest(tmp_path / "out")
    prepared, source = read(tmp_path / "out" / u.path).numpy(), read(tmp_path / "raw" / "s" / "x.wav").numpy()
    same = source[u.start : u.start + u.samples]
    assert u.start > 6000
    assert np.corrcoef(prepared, same)[0, 1] > 0.9999


def test_vctk_is_laid_out_by_speaker(tmp_path):
    tone(tmp_path / "raw" / "wav48" / "p225" / "p225_001.wav")
    prepare(VCTK.read(tmp_path / "raw"), tmp_path / "out", Treatment(), TRAIN, speakers={})
    (u,) = read_manifest(tmp_path / "out")
    assert (u.id, u.path) == ("p225_001", "audio/p225/p225_001.flac")
    assert (tmp_path / "out" / u.path).is_file()


def test_what_is_finished_is_left_alone(raw, tmp_path):
    out = tmp_path / "out"
    run(raw, out)
    before, old = snapshot(out), times(out)
    assert run(raw, out) == PreparationReport(reused=sorted(LEADS))
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
    assert {k: v for k, v in after.items() if k != FINISHED_FILE} == {
        k: v for k, v in before.items() if k != FINISHED_FILE
    }
    assert {k for k, v in times(out).items() if v != old[k]} == {"audio/a/1.flac", "audio/b/0.flac"}


def test_after_a_kill_in_the_middle_of_a_line(raw, tmp_path):
    """Only files that were not logged in full are prepared again, and only once."""
    out = tmp_path / "out"
    run(raw, out)
    before = snapshot(out)
    (out / FINISHED_FILE).write_bytes(
        before[FINISHED_FILE][: before[FINISHED_FILE].index(b"\n") * 2]
    )  # one line and most of another
    for name in (MANIFEST, SPEAKERS, SKIPPED_FILE):
        (out / name).unlink()
    report = run(raw, out)
    assert report == PreparationReport(written=["a/1", "b/0", "b/1", "b/2"], reused=["a/0"])
    assert {k: v for k, v in snapshot(out).items() if k != FINISHED_FILE} == {
        k: v for k, v in before.items() if k != FINISHED_FILE
    }
    assert run(raw, out).written == []


@pytest.mark.parametrize("change", [{"trim_db": 50.0}, {"high_pass": 0.0}])
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
    lines = [line.split("\t") for line in (out / SKIPPED_FILE).read_text().splitlines()]
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


def test_nothing_usable_is_an_error_that_says_why(tmp_path):
    (tmp_path / "raw").mkdir()
    with pytest.raises(SpeechVQError, match="raw: no recordings found"):
        run(tmp_path / "raw", tmp_path / "out")
    with pytest.raises(SpeechVQError, match=r"^no audio files found$"):
        prepare([], tmp_path / "out", Treatment(), TRAIN, speakers={})
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


def noise(root: Path, *names: bytes) -> Path:
    (root / "s").mkdir(parents=True)
    wav = 0.1 * np.random.default_rng(0).standard_normal(8000)
    for name in names:
        with os.fdopen(os.open(os.fsencode(root / "s") + b"/" + name, os.O_CREAT | os.O_WRONLY), "wb") as file:
            soundfile.write(file, wav, 16_000, format="WAV")
    return root


def test_a_name_that_is_no_utf8_gets_an_id_that_is(tmp_path):
    try:
        source = noise(tmp_path / "raw", b"ok.wav", b"caf\xe9.wav")
    except OSError:
        pytest.skip("this file system takes no such name")
    text(source / "s" / "transcripts.tsv", b"caf\xe9\tblack\n")
    assert run(source, tmp_path / "out").written == ["s/caf\\udce9", "s/ok"]
    first = read_manifest(tmp_path / "out")[0]
    assert (first.id, first.path, first.text) == ("s/caf\\udce9", "audio/s/caf\\udce9.flac", "black")
    assert (tmp_path / "out" / first.path).is_file()


@pytest.mark.parametrize("odd", ["\u2028", "\x85", "\u00a0", "日"])
def test_a_manifest_holds_any_other_name(tmp_path, odd):
    source = noise(tmp_path / "raw", f"a{odd}b.wav".encode())
    run(source, tmp_path / "out")
    assert [u.id for u in read_manifest(tmp_path / "out")] == [f"s/a{odd}b"]


def test_no_manifest_outlives_the_audio_it_describes(tmp_path, monkeypatch):
    """Ctrl-C while another treatment is given: half the files are new, and the old manifest would be untrue."""
    source, out = noise(tmp_path / "raw", b"1.wav", b"2.wav"), tmp_path / "out"
    run(source, out)
    treat = speechvq.data.prepare._treat

    def interrupted(job):
        if job[0].id == "s/2":
            raise KeyboardInterrupt
        return treat(job)

    monkeypatch.setattr(speechvq.data.prepare, "_treat", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(source, out, Treatment(trim_db=50.0))
    monkeypatch.undo()
    assert not (out / MANIFEST).exists()
    report = run(source, out, Treatment(trim_db=50.0))
    assert (report.written, report.reused) == (["s/2"], ["s/1"])


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("level", [1e10, 1e30, 1e38])
def test_samples_whose_squares_overflow_are_not_trimmed_to_nothing(level):
    assert len(trim(torch.full((16_000,), level))[0]) == 16_000


# --- what the corpus says, and what other versions wrote


def test_official_splits_and_further_fields_are_in_the_manifest(raw, tmp_path):
    first, *others = FOLDER.read(raw)
    sources = [replace(first, split="unseen", extra={"subset": "dev-clean"}), *others]
    prepare(sources, tmp_path / "out", Treatment(), TRAIN, speakers={})
    utterances = read_manifest(tmp_path / "out")
    assert [u.split for u in utterances] == ["unseen", "train", "train", "train", "train"]
    assert [u.extra for u in utterances] == [{"subset": "dev-clean"}, {}, {}, {}, {}]


def test_further_fields_of_an_earlier_manifest_are_kept(raw, tmp_path):
    out = tmp_path / "out"
    run(raw, out)
    old = [replace(u, extra={"quality": [i]}) for i, u in enumerate(read_manifest(out))]
    write_manifest(out, old)
    tone(raw / "c" / "0.wav")
    assert run(raw, out).written == ["c/0"]
    assert [u.extra for u in read_manifest(out)] == [u.extra for u in old] + [{}]
    run(raw, out, Treatment(50.0))  # other audio: what was measured on the old is not true of it
    assert not any(u.extra for u in read_manifest(out))


def test_a_folder_of_version_0_1_is_read_and_gone_on_with(tmp_path):
    """Its files as that version wrote them, byte for byte."""
    tone(tmp_path / "raw" / "a" / "0.wav", seconds=0.1)
    out = tmp_path / "out"
    size = tone(out / "audio" / "a" / "0.flac", seconds=0.1).stat().st_size
    row = f'{{"id": "a/0", "path": "audio/a/0.flac", "samples": 1600, "start": 0, "bytes": {size}}}\n'
    line = '{"id": "a/0", "speaker": "a", "path": "audio/a/0.flac", "samples": 1600, "start": 0, '
    line += '"text": "", "split": "train"}\n'
    written = {"prepare.json": '{"trim_db": 30.0}', "prepared.jsonl": row, "manifest.jsonl": line, "skipped.tsv": ""}
    written["speakers.json"] = '{\n  "a": {}\n}\n'
    for name, content in written.items():
        text(out / name, content)
    assert read_manifest(out) == [Utterance("a/0", "a", "audio/a/0.flac", 1600, 0, "", "train")]
    before = snapshot(out)
    assert run(tmp_path / "raw", out, Treatment(high_pass=0)) == PreparationReport(reused=["a/0"])
    assert snapshot(out) == before
    assert run(tmp_path / "raw", out) == PreparationReport(written=["a/0"])  # today's default filters

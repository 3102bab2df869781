"""Two files of one name are both named and left out; the same audio under two names is kept, and reported."""

import json
import shutil

import soundfile
from trees import text, tone

from speechvq.audio.io import read
from speechvq.cli import main
from speechvq.data.manifest import read_manifest
from speechvq.data.prepare import DUPLICATES_FILE, FINISHED_FILE, SKIPPED_FILE


def prepare_folder(raw, out, *more):
    return main(["prepare", "folder", str(raw), str(out), "--workers", "1", "--unseen", "0", *more])


def test_two_files_of_one_id_are_named_and_the_others_prepared(tmp_path, capsys):
    for name in ("u1.wav", "u1.flac", "u2.wav"):
        tone(tmp_path / "raw" / "p" / name)
    assert prepare_folder(tmp_path / "raw", tmp_path / "out") == 0
    assert [u.id for u in read_manifest(tmp_path / "out")] == ["p/u2"]
    assert capsys.readouterr().err == "skipped p/u1: u1.flac and u1.wav have the same id\n"
    assert (tmp_path / "out" / SKIPPED_FILE).read_text() == "p/u1\tu1.flac and u1.wav have the same id\n"
    (tmp_path / "raw" / "p" / "u1.flac").unlink()
    assert prepare_folder(tmp_path / "raw", tmp_path / "out") == 0
    assert [u.id for u in read_manifest(tmp_path / "out")] == ["p/u1", "p/u2"]


def test_the_same_audio_under_two_names_is_reported(tmp_path, capsys):
    """Also as another file format, and found by a later run; a corpus without any has no list."""
    raw, out = tmp_path / "raw", tmp_path / "out"
    for i, name in enumerate(("a/0", "a/1", "b/2")):
        tone(raw / f"{name}.wav", frequency=200 + 100 * i)
    assert prepare_folder(raw, out) == 0
    assert not (out / DUPLICATES_FILE).exists()
    shutil.copy(raw / "a" / "0.wav", raw / "b" / "copy.wav")
    soundfile.write(raw / "b" / "3.flac", read(raw / "b" / "2.wav"), 16_000, subtype="PCM_16")
    soundfile.write(raw / "b" / "2.wav", read(raw / "b" / "2.wav"), 16_000, subtype="PCM_16")
    shutil.rmtree(out)
    capsys.readouterr()
    assert prepare_folder(raw, out, "--json") == 0
    said = capsys.readouterr()
    assert json.loads(said.out)["duplicates"] == [["a/0", "b/copy"], ["b/2", "b/3"]]
    assert said.err == "duplicates a/0 = b/copy: the same audio\nduplicates b/2 = b/3: the same audio\n"
    assert (out / DUPLICATES_FILE).read_text() == "a/0\tb/copy\nb/2\tb/3\n"
    assert len(read_manifest(out)) == 5
    (raw / "b" / "copy.wav").unlink()
    assert prepare_folder(raw, out) == 0  # nothing is prepared again
    assert (out / DUPLICATES_FILE).read_text() == "b/2\tb/3\n"
    rows = [json.loads(line) for line in (out / FINISHED_FILE).read_text().splitlines()]
    assert all(row.pop("digest") for row in rows)
    text(out / FINISHED_FILE, "".join(json.dumps(row) + "\n" for row in rows))
    assert prepare_folder(raw, out) == 0  # of an earlier version, which noted no digests
    assert not (out / DUPLICATES_FILE).exists()

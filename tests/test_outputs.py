"""Where results go: refused before the work if nothing can be written there, and no file of the user is replaced."""

import argparse
import io
import os
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from speechvq import SpeechVQError
from speechvq.cli import main
from speechvq.cli.arguments import report, require_output
from speechvq.cli.streaming import streams
from speechvq.codec import Codec
from speechvq.coding import header
from speechvq.evaluate.tables import code_table
from speechvq.files import only_run, save_json
from speechvq.folder.card import CONFIG, PACKAGED, packaged
from speechvq.folder.histogram import HISTOGRAM
from speechvq.report.runs import read_runs
from speechvq.train.loop import LAST, LOG
from speechvq.train.run import MADE, check_run
from speechvq.train.voice import adapt

MODEL = Path(__file__).parent / "golden/models/mel"


def test_a_place_to_write_to(tmp_path):
    (tmp_path / "file").write_text("")
    for path in (None, Path("x.json"), tmp_path / "new/x.json", tmp_path / "file"):
        require_output(path)
    require_output(tmp_path, folder=True)
    require_output(tmp_path / "new/folder", folder=True)
    for path, folder, reason in (
        (tmp_path, False, "is a folder, where a file"),
        (tmp_path / "file/x", False, "is a file, where a folder"),
        (tmp_path / "file", True, "is a file, where a folder"),
        (tmp_path / "file/x/y", True, "is a file, where a folder"),
    ):
        with pytest.raises(SpeechVQError, match=reason):
            require_output(path, folder=folder)


@pytest.mark.skipif(sys.platform == "win32", reason="not every user may make links there")
def test_a_link_to_nothing_is_not_replaced(tmp_path, capsys):
    for name in ("link", "link.wav", "link.svq", "link.json"):
        (tmp_path / name).symlink_to("absent")
    recording, link = tmp_path / "in/anna/a.wav", tmp_path / "link"
    recording.parent.mkdir(parents=True)
    soundfile.write(recording, np.random.default_rng(0).normal(0, 0.1, 16_000), 16_000)
    (tmp_path / "manifest.jsonl").write_text("")
    voice = ["--speaker", "p225"]
    for command in (
        ["prepare", "folder", tmp_path / "in", link, "--workers", "1"],
        ["prepare", "folder", tmp_path / "in", link / "below", "--workers", "1"],
        ["convert", tmp_path / "in", link, *voice],
        ["convert", recording, tmp_path / "link.wav", *voice],
        ["convert", recording, tmp_path / "link.wav", *voice, "--force"],
        ["encode", recording, tmp_path / "link.svq"],
        ["get", "demo", link],
        ["report", MODEL, "--out", link],
        ["evaluate", "leakage", "--data", tmp_path, "--save", tmp_path / "link.json"],
    ):
        assert main([*map(str, command)]) == 2
        assert re.fullmatch(r"speechvq: error: \S*/link(\.\w+)?: is a link to nothing\n", capsys.readouterr().err)
    with pytest.raises(SpeechVQError, match="link: is a link to nothing"), only_run(link):
        pass
    links = {path.name for path in tmp_path.iterdir() if path.is_symlink()}
    assert links == {"link", "link.wav", "link.svq", "link.json"}


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="this user may write everywhere")
def test_a_folder_that_may_not_be_written(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(SpeechVQError, match="nothing may be written"):
        require_output(tmp_path / "x.json")


@pytest.mark.parametrize(
    "command",
    [
        "evaluate leakage --data {data} --save {folder}",
        "evaluate phonemes --data {data} --labels l --table {folder}",
        "evaluate phonemes --data {data} --labels l --figures {file}",
        "evaluate conversion --data {data} --wavs {file}/wavs",
        "report r --out {file}",
        "targets r --data {data} --out {folder} --force",
    ],
)
def test_it_is_looked_at_before_the_work(command, tmp_path, capsys):
    data, file, folder = tmp_path / "data", tmp_path / "file", tmp_path / "folder"
    for path in (data, folder):
        path.mkdir()
    for path in (data / "manifest.jsonl", file):
        path.write_text("")
    assert main(command.format(data=data, file=file, folder=folder).split()) == 2
    assert ", where a " in capsys.readouterr().err


def test_a_result_replaces_an_earlier_one_and_no_other_file(runs, corpus, tmp_path, capsys):
    manifest = corpus / "manifest.jsonl"
    before = manifest.read_bytes()
    command = ["evaluate", "reconstruction", "--model", str(runs["mel"]), "--data", str(corpus), "--split", "valid"]
    assert main([*command, "--save", str(manifest)]) == 2
    assert "no earlier result" in capsys.readouterr().err
    assert manifest.read_bytes() == before
    result = tmp_path / "result.json"
    result.touch()  # as `mktemp` leaves it
    for _ in range(2):
        assert main([*command, "--save", str(result)]) == 0
        assert b"loss" in result.read_bytes()
    phonemes = ["evaluate", "phonemes", "--model", str(runs["mel"]), "--data", str(corpus), "--labels", str(tmp_path)]
    (tmp_path / "mine.tsv").write_text("name\tage\n")
    assert main([*phonemes, "--table", str(tmp_path / "mine.tsv")]) == 2
    assert "no earlier result" in capsys.readouterr().err
    (tmp_path / "codes.tsv").write_text(code_table([]))
    assert main([*phonemes, "--table", str(tmp_path / "codes.tsv")]) == 2
    assert "no earlier result" not in capsys.readouterr().err  # but there are no labels


def test_a_result_that_cannot_be_saved_has_been_printed(tmp_path, capsys):
    with pytest.raises(SpeechVQError, match="is a folder, where a file"):
        report(argparse.Namespace(save=tmp_path, json=False, model=MODEL), {}, ["accuracy 0.5"])
    assert capsys.readouterr().out == "accuracy 0.5\n"


@pytest.mark.parametrize("name", [CONFIG, HISTOGRAM, LOG, MADE])
def test_a_run_replaces_no_file_of_the_user(tmp_path, name):
    (tmp_path / "notes.txt").write_text("anything else may be there")
    check_run(tmp_path, resume=False, force=False)
    (tmp_path / name).write_text('{"mine": 1}')
    with pytest.raises(SpeechVQError, match=rf"{name} is of no run; --force overwrites it"):
        check_run(tmp_path, resume=False, force=False)
    check_run(tmp_path, resume=False, force=True)
    (tmp_path / LAST).write_text("")
    with pytest.raises(SpeechVQError, match="holds a run"):
        check_run(tmp_path, resume=False, force=False)


def test_a_run_that_was_killed_before_its_weights_is_no_file_of_the_user(tmp_path):
    (tmp_path / CONFIG).write_bytes((MODEL / CONFIG).read_bytes())
    (tmp_path / MADE).write_text("[]")
    check_run(tmp_path, resume=False, force=False)


@pytest.mark.parametrize("name", ["manifest.jsonl", "speakers.json"])
def test_a_prepared_corpus_replaces_no_file_of_the_user(tmp_path, name, capsys):
    (tmp_path / "in/anna").mkdir(parents=True)
    soundfile.write(tmp_path / "in/anna/a.wav", np.random.default_rng(0).normal(0, 0.1, 16_000), 16_000)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / name).write_text("mine")
    command = ["prepare", "folder", str(tmp_path / "in"), str(tmp_path / "out"), "--workers", "1"]
    assert main(command) == 2
    assert f"{name} is not of `speechvq prepare`" in capsys.readouterr().err
    assert (tmp_path / "out" / name).read_text() == "mine"
    (tmp_path / "out" / name).unlink()
    assert main(command) == main(command) == 0


def test_a_voice_needs_a_name_and_a_folder(tmp_path):
    (tmp_path / "a.wav").write_text("")
    for speaker, source, reason in (
        ("", tmp_path, "needs a name"),
        (" \n", tmp_path, "needs a name"),
        ("a\nb", tmp_path, r"without control characters, not 'a\\nb'"),
        ("\x1b[31m", tmp_path, "without control characters"),
        ("caf\udce9", tmp_path, "without control characters"),  # bytes that are not UTF-8
        ("x", tmp_path / "a.wav", "not a folder"),
        ("x", tmp_path / "absent", "no such folder"),
    ):
        with pytest.raises(SpeechVQError, match=reason):
            adapt(MODEL, speaker, source, tmp_path / "out")


def test_packaged_models_by_name_in_a_report():
    [run] = read_runs([Path(packaged()[0])])
    assert run.folder == PACKAGED / packaged()[0]


def test_one_sample_fits_on_stdout(capsys):
    assert main(["sample", "-", "--prior", "x", "--speaker", "x", "--count", "2"]) == 2
    assert "stdout takes one sample, not 2" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["sample", "x.wav", "--prior", "x", "--speaker", "x", "--count", "1001"])


def test_stdin_does_not_fill_the_disk(monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(bytes(3 << 20))))
    options = argparse.Namespace(source=Path("-"))
    with pytest.raises(SpeechVQError, match="stdin: more than 2 MB"), streams(options, "", 2 << 20):
        pass
    sys.stdin.buffer.seek(0)
    with streams(options, "", 3 << 20) as (copy, _):
        assert copy.stat().st_size == 3 << 20
    assert not copy.exists()


@pytest.mark.skipif(sys.platform == "win32", reason="a file with a hole takes no space elsewhere")
def test_a_file_that_is_too_large_for_codes_is_not_read(tmp_path):
    with (tmp_path / "a.svq").open("wb") as file:
        file.truncate(header.MAX_BYTES + 1)
    with pytest.raises(SpeechVQError, match=r"a\.svq: more than 1024 MB: not a file of codes"):
        header.parse_file(tmp_path / "a.svq", len)


def test_the_spectrogram_of_very_short_audio(recwarn):
    pytest.importorskip("matplotlib", reason='matplotlib is an extra: pip install ".[report]"')
    from speechvq.report.pictures import spectrograms

    assert spectrograms({"a": torch.zeros(320)}, [1], 320, []).startswith(b"\x89PNG")
    assert not [warning for warning in recwarn if "n_fft" in str(warning.message)]


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such pipes there")
def test_a_pipe_or_a_device_is_not_replaced(tmp_path, capsys):
    """As root, `--save /dev/null` made a file of it."""
    (tmp_path / "manifest.jsonl").write_text("")
    soundfile.write(tmp_path / "a.wav", np.random.default_rng(0).normal(0, 0.1, 16_000), 16_000)
    for name in ("p.wav", "p.svq", "p.json"):
        os.mkfifo(tmp_path / name)
    (tmp_path / "link.wav").symlink_to("p.wav")
    reason = "is a pipe or a device, where a file is to be written"
    for name, command in (
        ("p.wav", ["convert", tmp_path / "a.wav", tmp_path / "p.wav", "--speaker", "p225", "--force"]),
        ("link.wav", ["convert", tmp_path / "a.wav", tmp_path / "link.wav", "--speaker", "p225", "--force"]),
        ("p.svq", ["encode", tmp_path / "a.wav", tmp_path / "p.svq", "--force"]),
        ("p.json", ["evaluate", "leakage", "--data", tmp_path, "--save", tmp_path / "p.json"]),
    ):
        assert main([*map(str, command)]) == 2
        assert capsys.readouterr().err == f"speechvq: error: {tmp_path / name}: {reason}\n"
    with pytest.raises(SpeechVQError, match=reason):
        require_output(Path(os.devnull))
    assert all((tmp_path / name).is_fifo() for name in ("p.wav", "p.svq", "p.json", "link.wav"))
    assert not Path(os.devnull).is_file()


@pytest.mark.skipif(sys.platform == "win32", reason="not every user may make links there")
def test_a_link_to_a_file_stays_one(tmp_path):
    (tmp_path / "below").mkdir()
    (tmp_path / "below/result.json").write_text("old")
    (tmp_path / "link.json").symlink_to("below/result.json")
    save_json(tmp_path / "link.json", [1])
    assert (tmp_path / "link.json").is_symlink()
    assert (tmp_path / "below/result.json").read_text() == "[\n  1\n]\n"
    assert [path.name for path in (tmp_path / "below").iterdir()] == ["result.json"]


def test_two_results_are_not_the_same_file(tmp_path, capsys):
    (tmp_path / "manifest.jsonl").write_text("")
    same = ["--save", tmp_path / "x", "--table", tmp_path / "new/../x"]
    command = ["evaluate", "phonemes", "--data", tmp_path, "--labels", tmp_path, *same]
    assert main([*map(str, command)]) == 2
    assert "x: two results cannot be the same file (--save, --table)" in capsys.readouterr().err


def test_a_saved_model_replaces_models_only(runs, tmp_path):
    codec = Codec.load(runs["mel"])
    (tmp_path / CONFIG).write_text('{"mine": 1}')
    with pytest.raises(SpeechVQError, match=f"{CONFIG} is of no model; remove it, or name another folder"):
        codec.save_pretrained(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [CONFIG]
    assert (tmp_path / CONFIG).read_text() == '{"mine": 1}'
    for _ in range(2):
        codec.save(tmp_path / "model")
    assert Codec.load(tmp_path / "model").fingerprint == codec.fingerprint
    with pytest.raises(SpeechVQError, match="empty"):
        codec.save("")

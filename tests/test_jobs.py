"""Folders of files: what cannot be used is listed and the rest done, a later run goes on, any name works."""

import argparse
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
from trees import tone

from speechvq.cli import coding, main
from speechvq.cli.program import parser
from speechvq.codec import Codec
from speechvq.coding.output_log import OUTPUT_LOG
from speechvq.coding.plan import FAILED_FILE


@pytest.fixture
def recordings(tmp_path: Path) -> Path:
    """Three recordings, an empty file, what macOS leaves behind, and the temporary file of a run that was killed."""
    folder = tmp_path / "in"
    for i, name in enumerate(("a", "b", "sub/d")):
        tone(folder / f"{name}.wav", 0.3 + 0.1 * i, frequency=200 + 100 * i)
    (folder / "c.wav").touch()
    (folder / "._a.wav").write_bytes(b"\0\5\26\7")
    tone(folder / ".d-x8a2.wav")
    return folder


def command(name: str, runs: dict[str, Path], source: Path, target: Path, *more: str) -> list[str]:
    speaker = [] if name == "encode" else ["--speaker", "low"]
    return [name, str(source), str(target), "--model", str(runs["mel"]), *speaker, *more]


def outputs(folder: Path) -> dict[str, bytes]:
    """The files in a folder that are not hidden, by name."""
    paths = sorted(path for path in folder.rglob("[!.]*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


@pytest.mark.parametrize(("name", "suffix"), [("encode", "svq"), ("convert", "wav")])
def test_a_bad_file_is_listed_and_the_rest_is_done(name, suffix, runs, recordings, tmp_path, capsys):
    out = tmp_path / "out"
    assert main(command(name, runs, recordings, out)) == 1
    said = capsys.readouterr()
    done = [f"{stem}.{suffix}" for stem in ("a", "b", "sub/d")]
    assert [line.split(" (")[0] for line in said.out.splitlines()[:-1]] == [str(out / one) for one in done]
    assert said.out.splitlines()[-1] == "3 written, 0 were there, 1 failed"
    assert said.err.startswith("failed c.wav: ")
    assert list(outputs(out)) == [*done[:2], FAILED_FILE, done[2]]
    listed = (out / FAILED_FILE).read_text().removesuffix("\n").split("\t")
    assert f"failed {': '.join(listed)}\n" == said.err
    for stem in ("a", "sub/d"):  # each as by itself
        single = tmp_path / f"single.{suffix}"
        assert main([*command(name, runs, recordings / f"{stem}.wav", single), "--force"]) == 0
        assert single.read_bytes() == (out / f"{stem}.{suffix}").read_bytes()


@pytest.mark.parametrize("name", ["encode", "convert"])
def test_a_run_goes_on_where_the_last_one_ended(name, runs, recordings, tmp_path, capsys, monkeypatch):
    whole, out = tmp_path / "whole", tmp_path / "out"
    (recordings / "c.wav").unlink()
    assert main(command(name, runs, recordings, whole)) == 0
    encode, calls = Codec.encode_file, []

    def interrupted(self: Codec, path: Path, *arguments: object, **options: object) -> object:
        calls.append(path.name)
        if path.name == "b.wav" and len(calls) < 3:
            raise KeyboardInterrupt
        return encode(self, path, *arguments, **options)

    (recordings / "c.wav").touch()
    monkeypatch.setattr(Codec, "encode_file", interrupted)
    monkeypatch.setattr("speechvq.coding.jobs.UTTERANCES_PER_BATCH", 1)
    assert main(command(name, runs, recordings, out)) == 130
    assert len(outputs(out)) == 1
    first = next(path for path in out.iterdir() if path.stem == "a").stat().st_mtime_ns
    assert main(command(name, runs, recordings, out)) == 1
    assert calls == ["a.wav", "b.wav", "b.wav", "c.wav", "d.wav"]
    tone(recordings / "c.wav")  # mended
    assert main(command(name, runs, recordings, out, "--json")) == 0
    said = capsys.readouterr().out
    rows = json.loads(said[said.index("[\n") :])
    assert [(Path(row["source"]).name, "kept" in row) for row in rows] == [
        ("a.wav", True),
        ("b.wav", True),
        ("c.wav", False),
        ("d.wav", True),
    ]
    after = outputs(out)
    assert {key: value for key, value in after.items() if Path(key).stem != "c"} == outputs(whole)
    assert len(after) == 4
    assert next(path for path in out.iterdir() if path.stem == "a").stat().st_mtime_ns == first


def test_other_options_are_refused_and_force_makes_all_again(runs, recordings, tmp_path, capsys):
    (recordings / "c.wav").unlink()
    out = tmp_path / "out"
    convert = command("convert", runs, recordings, out)
    assert main(convert) == 0
    before = outputs(out)
    for more in (["--speaker", "high"], ["--model", str(runs["wavenet"])], ["--seed", "1"]):
        assert main([*convert, *more]) == 2
        assert "a.wav was made with other options; --force makes it again" in capsys.readouterr().err
        assert main([*convert, *more, "--skip-existing"]) == 0
        assert capsys.readouterr().out == "0 written, 3 were there, 0 failed\n"
        assert outputs(out) == before
    assert main([*convert, "--speaker", "high", "--force"]) == 0
    assert all(outputs(out)[key] != value for key, value in before.items())
    encode = command("encode", runs, recordings, tmp_path / "codes")
    assert main(encode) == 0
    assert main([*encode, "--penalty", "5"]) == 2
    assert "a.svq was made with other options" in capsys.readouterr().err
    (out / OUTPUT_LOG).unlink()
    assert main([*convert, "--speaker", "high"]) == 2
    assert "a.wav exists; --force overwrites it, --skip-existing keeps it" in capsys.readouterr().err


def test_an_existing_file_is_kept_if_asked_for(runs, recordings, tmp_path, capsys):
    target = tmp_path / "mine.svq"
    target.write_text("mine")
    assert main([*command("encode", runs, recordings / "a.wav", target), "--skip-existing"]) == 0
    assert target.read_text() == "mine"
    assert capsys.readouterr().out == "0 written, 1 were there, 0 failed\n"


def test_two_files_of_one_stem_are_named_and_the_rest_is_done(runs, recordings, tmp_path, capsys):
    (recordings / "c.wav").unlink()
    tone(recordings / "b.flac")
    assert main(command("encode", runs, recordings, tmp_path / "out")) == 1
    assert list(outputs(tmp_path / "out")) == ["a.svq", FAILED_FILE, "sub/d.svq"]
    reason = "b.flac and b.wav would both become b.svq"
    assert capsys.readouterr().err == f"failed b.flac: {reason}\nfailed b.wav: {reason}\n"


def test_codes_that_cannot_be_decoded_are_listed(runs, recordings, tmp_path, capsys):
    (recordings / "c.wav").unlink()
    codes, out = tmp_path / "codes", tmp_path / "out"
    assert main(command("encode", runs, recordings, codes, "--speaker", "mid")) == 0
    assert main([*command("encode", runs, recordings / "a.wav", codes / "a.svq"), "--force"]) == 0  # names no speaker
    (codes / "b.svq").write_bytes((codes / "b.svq").read_bytes()[:20])
    capsys.readouterr()
    assert main(["decode", str(codes), str(out), "--model", str(runs["mel"])]) == 1
    assert list(outputs(out)) == [FAILED_FILE, "sub/d.wav"]
    listed = [line.split("\t") for line in (out / FAILED_FILE).read_text().splitlines()]
    assert [name for name, _ in listed] == ["a.svq", "b.svq"]
    assert "names no speaker" in listed[0][1]
    assert "damaged or cut off" in listed[1][1]


NAMES = [b"caf\xe9", b"new\nline", b"\x1b[31mred\x1b]0;title\x07", b"x" * 250, "é".encode() * 125, b" two  spaces "]


@pytest.fixture(params=NAMES, ids=[repr(name[:8]) for name in NAMES])
def odd(request: pytest.FixtureRequest, recordings: Path) -> Iterator[Path]:
    """A folder with one recording whose name is unusual."""
    path = os.fsdecode(os.fsencode(recordings) + b"/s/" + request.param + b".wav")
    try:
        tone(recordings / "s" / "x.wav").rename(path)
    except OSError:
        pytest.skip("this file system takes no such name")
    yield recordings / "s"
    shutil.rmtree(recordings / "s")


@pytest.mark.parametrize("good", [True, False])
def test_any_name_works_and_is_printed_with_escapes(good, odd, runs, tmp_path, capsys):
    (path,) = odd.iterdir()
    if not good:
        path.write_bytes(b"")
    for name, source, suffix in (("encode", odd, ".svq"), ("decode", tmp_path / "encode", ".wav")):
        code = main(command(name, runs, source, tmp_path / name))
        said = capsys.readouterr()
        lines = (said.out + said.err).split("\n")[:-1]
        assert len(lines) == 2
        assert all(line.isprintable() for line in lines)
        assert code == (0 if good else 1)
        if not good:
            assert (tmp_path / name / FAILED_FILE).read_text(encoding="utf-8").count("\n") == 1
            return
        assert (tmp_path / name / f"{path.stem}{suffix}").is_file()


def test_a_name_that_is_too_long_for_the_output_costs_that_file_alone(runs, recordings, tmp_path, capsys):
    tone(recordings / "s" / "x.wav").rename(recordings / "s" / f"{'y' * 251}.wav")
    tone(recordings / "s" / "x.wav")
    out = tmp_path / "out"
    assert main(command("convert", runs, recordings / "s", out, "--format", "flac")) == 1
    assert list(outputs(out)) == [FAILED_FILE, "x.flac"]
    assert "File name too long" in capsys.readouterr().err


def test_links_are_followed_and_circles_are_not(runs, recordings, tmp_path, capsys):
    (recordings / "c.wav").unlink()
    (recordings / "sub" / "up").symlink_to(recordings)
    (recordings / "gone.wav").symlink_to(tmp_path / "nowhere.wav")
    tone(tmp_path / "elsewhere" / "e.wav")
    (recordings / "link").symlink_to(tmp_path / "elsewhere")
    out = tmp_path / "out"
    assert main(command("encode", runs, recordings, out)) == 1
    assert list(outputs(out)) == ["a.svq", "b.svq", FAILED_FILE, "link/e.svq", "sub/d.svq"]
    assert capsys.readouterr().err.startswith("failed gone.wav: no such file")


def test_long_and_short_files_are_done_in_the_order_of_names(runs, tmp_path, capsys, monkeypatch):
    """Short neighbours in batches, long files in pieces: the same audio, in order, whatever the sizes of batches."""
    monkeypatch.setattr("speechvq.coding.jobs.LONG_FILE", 16_000)
    random = np.random.default_rng(0)
    (tmp_path / "in").mkdir()
    lengths = [0.5, 1.2, 0.3, 0.4, 0.9, 2.0, 0.2]
    for i, seconds in enumerate(lengths):
        wav = 0.1 * random.standard_normal(round(seconds * 16_000))
        soundfile.write(tmp_path / "in" / f"{i}.wav", wav, 16_000)
    for most in (16_000, 64_000):
        monkeypatch.setattr("speechvq.coding.jobs.SAMPLES_PER_BATCH", most)
        out = tmp_path / str(most)
        assert main(command("convert", runs, tmp_path / "in", out)) == 0
        lines = capsys.readouterr().out.splitlines()[:-1]
        assert [line.split(" ")[0] for line in lines] == [str(out / f"{i}.wav") for i in range(len(lengths))]
        assert [soundfile.info(out / f"{i}.wav").duration for i in range(len(lengths))] == lengths
    assert outputs(tmp_path / "16000") == outputs(tmp_path / "64000")


@pytest.mark.parametrize("name", ["encode", "decode", "convert"])
def test_every_option_counts_in_what_outputs_were_made_with(name, tmp_path):
    """Also one that is added tomorrow; but not where the files are, nor on which device it is done."""
    arguments = [name, str(tmp_path), "out", *(["--speaker", "p225"] if name == "convert" else [])]
    options = parser().parse_args(arguments)
    made_with = coding._made_with(name, options)
    for option in vars(options).keys() | {"added_tomorrow"}:
        changed = argparse.Namespace(**vars(options) | {option: "phoneme-25hz" if option == "model" else "other"})
        if option == "prior":
            continue  # a folder, whose files count
        same = coding._made_with(name, changed) == made_with
        assert same == (option in coding.WITHOUT_EFFECT - {"model"}), option

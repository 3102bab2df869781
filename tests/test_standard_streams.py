"""Pipes, standard streams that are closed, signals, and files that are none: one line, and nothing left behind."""

import io
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

from speechvq import SpeechVQError
from speechvq.cli import main
from speechvq.codec import Codec
from speechvq.data.corpora import CORPORA
from speechvq.data.manifest import read_manifest
from speechvq.files import TEMPORARY_PREFIX

MODEL = ["--model", str(Path(__file__).parent / "golden/models/mel")]
ROOT = Path(__file__).parents[1]
SPEAKER = Codec.load(MODEL[1]).speakers[0]
POSIX = pytest.mark.skipif(sys.platform == "win32", reason="pipes with names, and signals, are POSIX's")


@pytest.fixture
def wav(tmp_path: Path) -> Path:
    path = tmp_path / "a.wav"
    soundfile.write(path, np.random.default_rng(0).normal(0, 0.1, 16_000), 16_000)
    return path


@pytest.fixture
def codes(wav: Path) -> Path:
    assert main(["encode", str(wav), str(wav.with_suffix(".svq")), *MODEL]) == 0
    return wav.with_suffix(".svq")


@POSIX
@pytest.mark.parametrize(
    "arguments",
    [
        "info - <&-",
        "info >&-",
        "convert - - --raw --speaker x <&-",
        "convert {wav} - --speaker {speaker} {model} >&-",
        "convert - x.wav --speaker {speaker} {model} <&-",
    ],
)
def test_a_closed_standard_stream_is_an_error_in_one_line(wav, arguments):
    text = arguments.format(wav=wav, speaker=SPEAKER, model=" ".join(MODEL))
    shell = f"{sys.executable} -m speechvq.cli {text}"
    done = subprocess.run(["sh", "-c", shell], cwd=wav.parent, capture_output=True, text=True)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1].startswith("speechvq: error: ")
    assert "Exception ignored" not in done.stderr


@POSIX
def test_a_closed_stderr_loses_messages_and_no_data(wav):
    shell = f"{sys.executable} -m speechvq.cli convert {wav} out.wav --speaker {SPEAKER} {' '.join(MODEL)} 2>&-"
    assert subprocess.run(["sh", "-c", shell], cwd=wav.parent, stdout=subprocess.DEVNULL).returncode == 0
    assert soundfile.info(wav.with_name("out.wav")).frames == 16_000


@POSIX
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_that_ends_it_leaves_no_temporary_file(tmp_path, number):
    command = [sys.executable, "-m", "speechvq.cli", "convert", "-", "-", "--speaker", SPEAKER, *MODEL]
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        env=os.environ | {"TMPDIR": str(tmp_path)},
        preexec_fn=lambda: signal.signal(number, signal.SIG_DFL),  # ignored where the tests run under nohup
    )
    until = time.monotonic() + 60
    while not [*tmp_path.glob(f"{TEMPORARY_PREFIX}*/stdin")]:  # it copies stdin
        assert time.monotonic() < until
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(number)
    assert process.wait(60) == 128 + number
    assert not [*tmp_path.iterdir()]


@POSIX
@pytest.mark.parametrize("module", ["speechvq.cli.program", "torch"])
def test_ctrl_c_while_modules_are_imported_is_one_line(wav, module):
    code = f"""
import os, signal, sys
from speechvq.cli import main
class Interrupt:
    def find_spec(self, name, *_):
        if name == {module!r}:
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Interrupt())
sys.exit(main(sys.argv[1:]))
"""
    command = [sys.executable, "-c", code, "convert", str(wav), "out.wav", "--speaker", SPEAKER, *MODEL]
    done = subprocess.run(command, cwd=wav.parent, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (130, "speechvq: interrupted\n")


def test_the_command_line_imports_nothing_before_it_answers_ctrl_c():
    code = "import sys; before = {*sys.modules}; import speechvq.cli; print(*sorted({*sys.modules} - before))"
    done = subprocess.run([sys.executable, "-S", "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert set(done.stdout.split()) == {"speechvq", "speechvq.cli"}


@POSIX
def test_a_working_folder_that_has_been_removed(wav, tmp_path):
    (tmp_path / "gone").mkdir()
    command = f"{sys.executable} -m speechvq.cli convert {wav} {wav}.wav --speaker {SPEAKER} {' '.join(MODEL)}"
    done = subprocess.run(
        ["sh", "-c", f"cd gone && rmdir ../gone && {command}"], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 2
    assert done.stderr == "speechvq: error: the working folder has been removed; change to another one\n"


def test_messages_name_stdin_and_stdout(wav, capsys, monkeypatch):
    monkeypatch.setattr("shutil.copyfileobj", lambda source, target: None)
    assert main(["convert", str(wav), "-", "--speaker", SPEAKER, *MODEL]) == 0
    assert capsys.readouterr().err.startswith("stdout (1.00 s, ")
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO()))
    assert main(["info", "-"]) == 2
    assert capsys.readouterr().err == "speechvq: error: stdin: not a file of codes (.svq)\n"


@pytest.mark.parametrize("option", ["--gain", "--rate", "--lookahead"])
def test_options_of_streams_are_not_passed_over(wav, capsys, option):
    assert main(["convert", str(wav), "x.wav", "--speaker", SPEAKER, option, "3", *MODEL]) == 2
    assert f"{option} is of streams" in capsys.readouterr().err


def test_a_stream_without_packets_is_an_error(codes):
    command = [sys.executable, "-m", "speechvq.cli", "decode", "-", "-", "--raw", *MODEL]
    done = subprocess.run(command, stdin=codes.open("rb"), capture_output=True, text=True)  # a file, and no stream
    assert done.returncode == 2
    assert done.stdout == ""
    assert "no packets of codes" in done.stderr


@pytest.mark.parametrize(("change", "text"), [(-3, "3 of its bytes are missing"), (2, "2 bytes too many")])
def test_info_says_that_a_file_of_codes_is_damaged(codes, capsys, change, text):
    capsys.readouterr()
    assert main(["info", str(codes)]) == 0
    assert "damaged" not in capsys.readouterr().out
    data = codes.read_bytes()
    codes.write_bytes(data[:change] if change < 0 else data + bytes(change))
    assert main(["info", str(codes)]) == 0
    assert text in capsys.readouterr().out


@POSIX
def test_pipes_and_devices_are_named_as_such(tmp_path, capsys):
    os.mkfifo(tmp_path / "pipe.wav")
    for name in (str(tmp_path / "pipe.wav"), os.devnull):
        assert main(["convert", name, str(tmp_path / "x.wav"), "--speaker", SPEAKER, *MODEL]) == 2
        assert "a pipe or a device, not a file" in capsys.readouterr().err
    assert main(["info", "/dev/zero"]) == 2  # at once, and not when the memory is full
    assert "a device" in capsys.readouterr().err


@POSIX
@pytest.mark.parametrize("name", ["model.safetensors", "histogram.json"])
def test_a_pipe_in_a_model_folder_is_not_waited_for(tmp_path, name):
    Codec.load(MODEL[1]).save(tmp_path / "model")
    (tmp_path / "model" / name).unlink(missing_ok=True)
    os.mkfifo(tmp_path / "model" / name)
    with pytest.raises(SpeechVQError, match="not a file"):
        Codec.load(tmp_path / "model")


def test_recordings_that_were_prepared_into_their_own_folder(tmp_path, capsys):
    source = tmp_path / "source"
    (source / "anna").mkdir(parents=True)
    for i in range(3):
        soundfile.write(source / f"anna/{i}.wav", np.random.default_rng(i).normal(0, 0.1, 16_000), 16_000)
    for _ in range(2):  # the second call does not take what the first has written
        assert main(["prepare", "folder", str(source), str(source / "out"), "--workers", "1"]) == 0
        assert len(read_manifest(source / "out")) == 3
    (source / "speakers.json").write_text('{"anna": {"sex": "F"}, "ben": {}}')
    capsys.readouterr()
    assert main(["prepare", "folder", str(source), str(source)]) == 2
    assert "holds the recordings" in capsys.readouterr().err
    assert "ben" in (source / "speakers.json").read_text()


def test_levels_and_folders_that_are_none(tmp_path, capsys):
    with pytest.raises(SystemExit):
        main(["prepare", "folder", str(tmp_path), str(tmp_path / "x"), "--speaker-level", str(9 * 10**18)])
    assert "whole number from 0 to 32" in capsys.readouterr().err
    (tmp_path / "file").write_text("")
    with pytest.raises(SpeechVQError, match="not a folder"):
        CORPORA["folder"].read(tmp_path / "file")

"""What only Linux has is not needed: its modules and processes, its names of files, its letters, a home to write to."""

import json
import multiprocessing.context
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from speechvq import SpeechVQError, extras
from speechvq.coding.plan import plan_files
from speechvq.data import manifest, workers
from speechvq.folder.weights import load_tensors, save_tensors
from speechvq.text.transcript import read_text, read_transcripts

WITHOUT_POSIX = """
import importlib, multiprocessing.context, os, pkgutil, signal, sys
import speechvq

def import_all():
    for module in pkgutil.walk_packages(speechvq.__path__, "speechvq."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)

import_all()  # with the libraries, which are not in question
for name in [name for name in sys.modules if name.startswith("speechvq.")]:
    del sys.modules[name]
for name in ("fcntl", "grp", "posix", "pwd", "resource", "termios", "tty"):
    sys.modules[name] = None
for name in ("fork", "forkpty", "getuid", "geteuid", "getgid", "getpgid", "killpg", "mkfifo", "nice", "setsid", "uname",
             "sched_getaffinity", "getloadavg", "chown", "fchmod"):
    delattr(os, name)
for name in ("SIGALRM", "SIGHUP", "SIGKILL", "SIGQUIT", "SIGUSR1", "alarm", "pthread_sigmask"):
    delattr(signal, name)
for name in ("fork", "forkserver"):
    del multiprocessing.context._concrete_contexts[name]
import_all()
print("imported", len([name for name in sys.modules if name.startswith("speechvq.")]))
"""


def test_every_module_can_be_imported_without_what_only_posix_has():
    done = subprocess.run([sys.executable, "-c", WITHOUT_POSIX], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.rpartition(" ")[2]) > 100


@pytest.mark.parametrize("platform", ["win32", "darwin"])
def test_workers_are_processes_where_there_is_no_fork_or_it_is_not_safe(platform, monkeypatch: pytest.MonkeyPatch):
    if platform == "win32":
        monkeypatch.setattr(workers, "get_all_start_methods", lambda: ["spawn"])
    else:
        monkeypatch.setattr(workers.sys, "platform", platform)
    monkeypatch.delitem(multiprocessing.context._concrete_contexts, "forkserver")
    assert [*workers.in_processes(abs, [-1, 2, -3], 2)] == [1, 2, 3]


DEADLY = """
import os, signal, sys
if sys.argv[0] == "-c":  # in the process that workers are forked from
    os.kill(os.getpid(), signal.SIGKILL)
"""
STARTED_BY_A_DEAD_ONE = """
from speechvq import SpeechVQError
from speechvq.data.workers import in_processes
try:
    print([*in_processes(abs, [-1, 2, -3], 2, ["deadly"])])
except SpeechVQError as error:
    print(error)
"""


def test_workers_that_cannot_be_forked_are_one_line(tmp_path):
    """The process that they are forked from is killed, before they are there."""
    (tmp_path / "deadly.py").write_text(DEADLY)
    (tmp_path / "script.py").write_text(STARTED_BY_A_DEAD_ONE)
    script = [sys.executable, str(tmp_path / "script.py")]
    done = subprocess.run(script, capture_output=True, text=True, check=True, timeout=300)
    assert done.stdout == "a worker process was killed, perhaps for want of memory (--workers)\n"


@pytest.mark.parametrize("name", ["../x", "a/../x", "/x", "a//x", "a/\0", "..\\x", "C:x", "a/C:\\x", "a/x:stream"])
def test_no_name_leads_out_of_a_folder(name, monkeypatch):
    assert manifest.is_inside(name) == ("\\" in name or ":" in name)  # other systems' characters are usual ones
    monkeypatch.setattr(manifest, "WINDOWS", True)
    assert not manifest.is_inside(name)
    assert manifest.is_inside("p225/p225_001")


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("Anna", "Anna"),
        ("as-low", "as-low"),
        ("a/b\\c:d*e?f", "a%2Fb%5Cc%3Ad%2Ae%3Ff"),
        ("tab\there", "tab%09here"),
        ("end. ", "end.%20"),
        ("end.", "end%2E"),
        ("nul", "%6Eul"),
        ("COM1.wav", "%43OM1.wav"),
        ("console", "console"),
        ("..", "%2E%2E"),
        ("", "%"),
    ],
)
def test_a_speaker_is_a_name_that_windows_can_hold(name, part, monkeypatch):
    monkeypatch.setattr(manifest, "WINDOWS", True)
    assert manifest.as_part(name) == part


def test_outputs_that_differ_in_case_alone_are_refused_where_they_would_be_one_file(tmp_path):
    """The folder has its name in the other case as a link, as far as the program can see: case does not matter."""
    source, target = tmp_path / "in", tmp_path / "Out"
    source.mkdir()
    for name in ("A.wav", "a.flac", "b.WAV"):
        (source / name).touch()
    assert len(plan_files(source, target, (".wav", ".flac"), (".svq",)).jobs) == 3
    target.mkdir()
    (tmp_path / "oUT").symlink_to(target)
    (tmp_path / "IN").symlink_to(source)
    plan = plan_files(source, target / "new", (".wav", ".flac"), (".svq",))
    assert [job.target.name for job in plan.jobs] == ["b.svq"]
    reason = "A.svq and a.svq are one name in this folder, which does not tell a from A"
    assert [(job.source.name, failure.reason) for job, failure in plan.failed] == [
        ("A.wav", reason),
        ("a.flac", reason),
    ]
    with pytest.raises(SpeechVQError, match="would be overwritten"):  # b.WAV by b.wav
        plan_files(source, source, (".wav", ".flac"), (".wav",), force=True)


@pytest.mark.skipif(not Path("/proc/self/maps").is_file(), reason="no list of mapped files here")
def test_loaded_tensors_do_not_hold_their_file(tmp_path):
    """Windows does not replace a file that is mapped, and a resumed training saves the state that it was read from."""
    save_tensors(tmp_path / "one.safetensors", {"x": torch.ones(2**16)}, {})
    tensors, _ = load_tensors(tmp_path / "one.safetensors")
    assert "one.safetensors" not in Path("/proc/self/maps").read_text(encoding="utf-8")
    assert tensors["x"].sum() == 2**16


def test_letters_that_the_output_does_not_have_are_escaped(tmp_path, wavenet):
    card = json.loads((wavenet / "config.json").read_text(encoding="utf-8"))
    card["speakers"][0] = "Zoë Ж"
    (wavenet / "config.json").write_text(json.dumps(card), encoding="utf-8")
    command = [sys.executable, "-m", "speechvq.cli", "info", str(wavenet)]
    done = subprocess.run(command, capture_output=True, env=os.environ | {"PYTHONIOENCODING": "cp1252"}, check=True)
    assert "Zoë \\u0416" in done.stdout.decode("cp1252")


def test_transcripts_of_an_editor_of_windows(tmp_path):
    """Their first bytes are a mark, and their lines end in two."""
    path = tmp_path / "x.txt"
    path.write_bytes("\ufeffa\tHello you.\r\nb\tYes.\r\n".encode())
    assert read_transcripts(path) == {"a": "Hello you.", "b": "Yes."}
    assert read_text(path) == "a Hello you. b Yes."


@pytest.fixture
def wavenet(tmp_path) -> Path:
    """A small model that speaks by compiled functions."""
    return Path(shutil.copytree(Path(__file__).parent / "golden" / "models" / "wavenet", tmp_path / "wavenet"))


CACHES = """
import speechvq.audio.librosa_lock
from speechvq.evaluate.metrics import abx
from speechvq.wavenet import kernels
from speechvq.cli import main
assert main({convert}) == 0
print(abx.distance.stats.cache_path, kernels.steps.stats.cache_path, sep="\\n")
"""


def test_a_machine_where_nothing_but_temporary_files_can_be_written(tmp_path):
    """The package is root's and the home cannot be written: compiled functions are kept among the temporary files."""
    read_only = ["unshare", "-m", "sh", "-c", 'mount --bind "$0" "$0" && mount -o remount,ro,bind / / && exec "$@"']
    command = [*read_only, str(tmp_path)]
    if not shutil.which("unshare") or subprocess.run([*command, "true"], check=False, capture_output=True).returncode:
        pytest.skip("no file system can be made read-only here")
    soundfile.write(tmp_path / "in.wav", 0.1 * np.sin(np.arange(1600) / 10), 16_000)
    convert = ["convert", str(tmp_path / "in.wav"), str(tmp_path / "out.wav"), "--speaker", "p225"]
    home = {name: value for name, value in os.environ.items() if name not in ("NUMBA_CACHE_DIR", "XDG_CACHE_HOME")}
    done = subprocess.run(
        [*command, sys.executable, "-c", CACHES.format(convert=convert)],
        env=home | {"HOME": "/nonexistent", "TMPDIR": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert soundfile.info(tmp_path / "out.wav").frames == 1600
    paths = done.stdout.splitlines()[-2:]
    assert all(Path(path).is_relative_to(tmp_path) for path in paths), paths


@pytest.mark.skipif(os.name == "nt", reason="each user has temporary files of their own there")
def test_no_compiled_code_is_taken_from_a_folder_that_others_can_write(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    for name, value in {"HOME": str(tmp_path / "file"), "TMPDIR": str(tmp_path)}.items():
        monkeypatch.setenv(name, value)
    for name in ("NUMBA_CACHE_DIR", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(extras.tempfile, "tempdir", None)
    own = tmp_path / f"speechvq-numba-{os.getuid()}"
    own.mkdir()
    own.chmod(0o777)
    with pytest.raises(SpeechVQError, match="others could write"):
        extras.let_numba_cache()

"""What a killed process leaves is removed, what a living one holds is not; one run at a time in a folder.

This needs no other package: `pytest --noconftest tests/test_files.py` takes seconds.
"""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from speechvq import SpeechVQError
from speechvq.files import TEMPORARY_PREFIX, only_run, temporary_folder

HOLDS = {
    "atomic_write": "atomic_write(Path(sys.argv[1]) / 'held.json')",
    "temporary_folder": "temporary_folder()",
    "only_run": "only_run(Path(sys.argv[1]))",
}


@contextmanager
def holder(what: str, folder: Path, *, fork: bool = False) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds something of `folder` until it is killed, at the latest when the block ends.

    fork: with a child that goes on, as a worker does that has not yet noticed that its parent is dead.
    """
    script = f"""
import os, sys, time
from pathlib import Path
from speechvq.files import atomic_write, only_run, temporary_folder
with {HOLDS[what]}:
    child = os.fork() if {fork} else 0
    if not child:  # which has let go of what its parent holds
        print(os.getpid(), flush=True)
    time.sleep(600)
"""
    command = [sys.executable, "-c", script, str(folder)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ | {"TMPDIR": str(folder)})
    assert process.stdout is not None
    child = int(process.stdout.readline())  # it holds what it holds
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
        if fork:
            os.kill(child, signal.SIGKILL)


def run(script: str, folder: Path) -> None:
    """A next run, in a process of its own: each removes what is left once."""
    lines = "import sys; from pathlib import Path; from speechvq.files import save_json, temporary_folder; "
    command = [sys.executable, "-c", f"{lines}\n{script}", str(folder)]
    subprocess.run(command, check=True, env=os.environ | {"TMPDIR": str(folder)})


WRITE = "save_json(Path(sys.argv[1]) / 'other.json', 1)"
USE = "with temporary_folder(): pass"


@pytest.mark.parametrize(("what", "next_run"), [("atomic_write", WRITE), ("temporary_folder", USE)])
def test_what_a_killed_process_leaves_is_removed_and_what_a_living_one_holds_is_not(what, next_run, tmp_path):
    theirs = tmp_path / ".theirs-x1.json"
    theirs.touch()
    (tmp_path / f"{TEMPORARY_PREFIX}link").symlink_to(theirs)
    with holder(what, tmp_path) as process:
        (held,) = set(tmp_path.glob(f"{TEMPORARY_PREFIX}*")) - {tmp_path / f"{TEMPORARY_PREFIX}link"}
        if held.is_dir():
            (held / "stdin").write_bytes(b"RIFF")
        run(next_run, tmp_path)
        assert held.exists()
        process.kill()
        process.wait()
        assert held.exists()
        run(next_run, tmp_path)
        assert not held.exists()
    assert theirs.exists()


def test_a_temporary_folder_is_removed_with_its_files(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with temporary_folder() as folder:
        (folder / "x").mkdir()
        (folder / "x" / "y").touch()
    assert not list(tmp_path.iterdir())


def test_a_second_run_in_a_folder_is_refused_until_the_first_is_dead(tmp_path):
    out = tmp_path / "out"
    with holder("only_run", out, fork=True) as process:
        with pytest.raises(SpeechVQError, match=r"out: another run is at work in this folder"), only_run(out):
            pass
        with only_run(tmp_path / "other"):
            pass
        process.kill()  # its child lives on
        process.wait()
        with only_run(out):
            (out / "x").touch()
    assert [path.name for path in out.iterdir()] == ["x"]


def test_a_second_run_of_the_same_process_is_refused_too(tmp_path):
    with only_run(tmp_path / "new" / "out"):
        with pytest.raises(SpeechVQError, match="another run"), only_run(tmp_path / "new" / "out"):
            pass
        assert (tmp_path / "new" / "out").is_dir()
    assert not (tmp_path / "new" / "out").exists()  # nothing was written
    with only_run(tmp_path / "new"):
        pass
    assert (tmp_path / "new").is_dir()  # was there before


def test_many_processes_write_into_one_folder(tmp_path):
    """Each removes what is left while the others write."""
    script = """
for i in range(300):
    save_json(Path(sys.argv[1]) / f"{i}.json", i)
    import speechvq.files
    speechvq.files._swept.clear()
"""
    lines = f"import sys; from pathlib import Path; from speechvq.files import save_json\n{script}"
    processes = [subprocess.Popen([sys.executable, "-c", lines, str(tmp_path)]) for _ in range(3)]
    started = time.monotonic()
    assert [process.wait(300) for process in processes] == [0, 0, 0], time.monotonic() - started
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {f"{i}.json": f"{i}\n" for i in range(300)}

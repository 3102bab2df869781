"""What only POSIX has is not needed to import the package, and workers start where there is no fork."""

import multiprocessing.context
import subprocess
import sys

import pytest

from speechvq.data import workers

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


def test_workers_are_processes_where_there_is_no_fork(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(workers, "get_all_start_methods", lambda: ["spawn"])
    monkeypatch.delitem(multiprocessing.context._concrete_contexts, "forkserver")
    assert [*workers.in_processes(abs, [-1, 2, -3], 2)] == [1, 2, 3]

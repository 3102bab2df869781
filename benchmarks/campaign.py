"""Damage small files of every kind and give them to the readers of speechvq: a result or a SpeechVQError, nothing else.

    python benchmarks/campaign.py --seed 0 [--cases 30000] [--first 0] [--only READER] [--workers 1] [--minutes M]
        [--out FOLDER]

A case is a function of the seed and its number: what is reported can be run again by itself. A case that takes more
than 10 s of processor time or 1.5 GB more than the program itself, ends the process, writes outside of its folder,
warns more than 20 times, or writes to the terminal what would steer it, is reported like an exception. Exit code 1 if
there is any. Needs a POSIX system.
"""

import argparse
import contextlib
import io
import logging
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from damage.inputs import write_inputs
from damage.readers import READERS, Reader

from speechvq import SpeechVQError
from speechvq.cli.program import PrintableFormatter
from speechvq.files import TEMPORARY_PREFIX

SECONDS = 10  # of processor time for a case
PATIENCE = 900  # seconds on the clock, however busy the machine is
MEMORY = 1_500_000_000  # bytes, besides those of the program itself
MOST_WARNINGS = 20
READ, REFUSED = "read", "refused"
OWN_TEMPORARY = f"{tempfile.gettempdir()}/{TEMPORARY_PREFIX}"  # files that every command may write


class Warnings(logging.Handler):
    """Counts what is logged and warned of."""

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(PrintableFormatter())
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))


class Watched:
    """Runs cases in this process, which may end by it.

    folder: with the undamaged `inputs`, a copy `work` of them, and the `output` of the process.
    """

    def __init__(self, folder: Path, seed: int, only: str) -> None:
        self.inputs, self.work, self.output = folder / "inputs", folder / "work", folder / "output"
        self.seed, self.only, self.warnings = seed, only, Warnings()
        self.opened: list[str] = []
        self.watching = False
        logging.root.handlers = [self.warnings]
        warnings.simplefilter("always")
        logging.captureWarnings(True)
        sys.addaudithook(self._audit)

    def _audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.watching and event == "open" and isinstance(arguments[0], str | bytes):
            path, writes = os.fsdecode(arguments[0]), (arguments[2] or 0) & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
            inside = Path(os.path.realpath(path)).is_relative_to(os.path.realpath(self.work))
            if writes and not inside and not path.startswith(("/dev/", OWN_TEMPORARY)):
                self.opened.append(path)

    def plan(self, case: int) -> tuple[str, Reader, Path, bytes]:
        """The reader of a case by name, its file, and that file's content."""
        rng = random.Random(f"{self.seed}/{case}")
        names = [self.only] if self.only else list(READERS)
        name = rng.choices(names, [READERS[one].share for one in names])[0]
        reader = READERS[name]
        files = sorted(path for pattern in reader.files for path in self.inputs.glob(pattern) if path.is_file())
        path = rng.choice(files)
        return name, reader, path.relative_to(self.inputs), reader.damage(rng, path.read_bytes())

    def run(self, case: int) -> str:
        """The outcome of a case: read, refused, or what is wrong."""
        _, reader, path, data = self.plan(case)
        (self.work / path).write_bytes(data)
        self.warnings.lines, self.opened, self.watching = [], [], True
        os.ftruncate(1, 0)
        try:
            reader.use(self.work, self.work / path)
            outcome = READ
        except SpeechVQError:
            outcome = REFUSED
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            outcome = _described(error)
        self.watching = False
        sys.stdout.flush()
        sys.stderr.flush()
        printed = self.output.read_text(encoding="utf-8", errors="replace")
        if self.opened:
            outcome = f"writes outside of its folder: {self.opened[0]!r}"
        elif len(self.warnings.lines) + printed.count("Warning") > MOST_WARNINGS:
            outcome = f"more than {MOST_WARNINGS} warnings: {self.warnings.lines[0][:100]}"
        elif not all(one.isprintable() or one == "\n" for one in printed):
            outcome = f"steers the terminal: {printed[:100]!r}"
        self._restore(reader, path)
        return " ".join(outcome.split())

    def _restore(self, reader: Reader, path: Path) -> None:
        if reader.writes:
            shutil.rmtree(self.work / reader.writes)
            shutil.copytree(self.inputs / reader.writes, self.work / reader.writes)
        shutil.copy(self.inputs / path, self.work / path)


def _described(error: BaseException) -> str:
    """An exception, and the last line of speechvq that it passed."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "/speechvq/" in frame.filename]
    where = f"{frames[-1].filename.rpartition('/speechvq/')[2]}:{frames[-1].lineno}" if frames else "?"
    return f"{type(error).__name__} at {where}: {str(error)[:100]}"


def check_inputs(watched: Watched) -> None:
    """Give every reader its undamaged files. Raises SpeechVQError if one of them is not read."""
    for name, reader in READERS.items():
        for path in sorted(path for pattern in reader.files for path in watched.inputs.glob(pattern)):
            local = watched.work / path.relative_to(watched.inputs)
            with contextlib.redirect_stdout(io.StringIO()):
                code = reader.use(watched.work, local)
            if isinstance(code, int) and code:
                raise SpeechVQError(f"{name}: {path.name} is not read: {watched.warnings.lines}")


def work_on(watched: Watched, cases: range, log: Path, until: float) -> None:
    """In a process of its own: run cases, and write each, before and after it, into a log."""
    descriptor = os.open(watched.output, os.O_RDWR | os.O_CREAT | os.O_APPEND)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    sys.stdout, sys.stderr = (open(number, "w", 1, "utf-8", closefd=False) for number in (1, 2))  # noqa: SIM115
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MEMORY,) * 2)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with log.open("a", encoding="utf-8") as file:
        for case in cases:
            if time.time() > until:
                break
            file.write(f"{case}\t{watched.plan(case)[0]}\t")
            file.flush()
            resource.setrlimit(resource.RLIMIT_CPU, (int(time.process_time()) + SECONDS + 1, resource.RLIM_INFINITY))
            signal.alarm(PATIENCE)
            file.write(watched.run(case) + "\n")
            file.flush()


def supervise(watched: Watched, cases: range, log: Path, until: float) -> None:
    """Run cases in a child; after a case that ends it, go on in another."""
    log.touch()
    while cases and time.time() < until:
        child = os.fork()
        if not child:
            code = 1
            try:
                work_on(watched, cases, log, until)
                code = 0
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(code)
        status = os.waitpid(child, 0)[1]
        lines = log.read_text(encoding="utf-8").split("\n")
        if status == 0:
            return
        died = lines[-1].split("\t")
        if len(died) < 2:
            raise SpeechVQError(f"the campaign itself fails: {watched.output.read_text(errors='replace')[-2000:]}")
        reason = signal.Signals(os.WTERMSIG(status)).name if os.WIFSIGNALED(status) else f"exit code {status >> 8}"
        with log.open("a", encoding="utf-8") as file:
            file.write(f"ends the process: {reason}\n")
        cases = cases[cases.index(int(died[0])) + 1 :]


def rows_of(folder: Path) -> Iterator[tuple[int, str, str]]:
    """Number, reader and outcome of the cases in the logs."""
    for log in sorted(folder.glob("cases-*.tsv")):
        for line in log.read_text(encoding="utf-8").split("\n"):
            if line.count("\t") == 2:
                case, name, outcome = line.split("\t")
                yield int(case), name, outcome


def report(rows: list[tuple[int, str, str]], seed: int) -> int:
    """Print how many cases each reader had and what was found -> the exit code."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    found = defaultdict(list)
    for case, name, outcome in sorted(rows):
        counts[name][outcome if outcome in (READ, REFUSED) else "found"] += 1
        if outcome not in (READ, REFUSED):
            found[name, outcome.partition(": ")[0]].append((case, outcome))
    print(f"{'reader':20} {'cases':>7} {READ:>7} {REFUSED:>7} {'found':>7}")
    for name in [*READERS]:
        own = counts[name]
        print(f"{name:20} {own.total():7} {own[READ]:7} {own[REFUSED]:7} {own['found']:7}")
    total = sum((own for own in counts.values()), Counter[str]())
    print(f"{'all':20} {total.total():7} {total[READ]:7} {total[REFUSED]:7} {total['found']:7}")
    for (name, _), cases in found.items():
        case, outcome = cases[0]
        print(f"{name}: {outcome} ({len(cases)} cases; --seed {seed} --first {case} --cases 1)")
    return 1 if found else 0


def campaign(folder: Path, seed: int, cases: range, workers: int = 1, only: str = "", minutes: float = 1e6) -> int:
    """Run cases in a folder -> the exit code."""
    os.environ["MPLCONFIGDIR"] = str(folder / "matplotlib")
    write_inputs(folder / "inputs")
    until = time.time() + 60 * minutes
    children = []
    for number in range(workers):
        child = os.fork()
        if child:
            children.append(child)
            continue
        code = 1
        try:
            own = folder / f"worker-{number}"
            shutil.copytree(folder / "inputs", own / "inputs")
            shutil.copytree(folder / "inputs", own / "work")
            watched = Watched(own, seed, only)
            check_inputs(watched)
            supervise(watched, cases[number::workers], folder / f"cases-{number}.tsv", until)
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    statuses = [os.waitpid(child, 0)[1] for child in children]
    return report(list(rows_of(folder)), seed) or int(any(statuses))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0, help="of all cases (default: 0)")
    parser.add_argument("--cases", type=int, default=30_000, help="number of cases (default: 30000)")
    parser.add_argument("--first", type=int, default=0, help="number of the first (default: 0)")
    parser.add_argument("--only", choices=READERS, default="", metavar="READER", help=f"one of {', '.join(READERS)}")
    parser.add_argument("--workers", type=int, default=1, help="processes (default: 1)")
    parser.add_argument("--minutes", type=float, default=1e6, help="end after this time (default: no limit)")
    parser.add_argument("--out", type=Path, help="folder for inputs and logs of cases (default: a temporary one)")
    options = parser.parse_args()
    cases = range(options.first, options.first + options.cases)
    with contextlib.ExitStack() as stack:
        folder = options.out or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="campaign-")))
        return campaign(folder, options.seed, cases, options.workers, options.only, options.minutes)


if __name__ == "__main__":
    sys.exit(main())

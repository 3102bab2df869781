"""Files: written whole or not at all, found in folders, worked on one by one. Standard library only.

What a killed process leaves behind is known by its lock, which the system releases when a process ends.
"""

import enum
import errno
import json
import logging
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from speechvq import SpeechVQError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

Job = TypeVar("Job")
Result = TypeVar("Result")

LONGEST_MESSAGE = 1_000  # characters
SHOWN_PATH = 200  # characters of a path that is too long
TEMPORARY_PREFIX = ".speechvq-"  # of the names of temporary files and folders
# Errors of the system that come from a file's name: other files can still be written.
NAME_ERRORS = {errno.ENAMETOOLONG, errno.EILSEQ, errno.EINVAL, errno.EISDIR, errno.ENOTDIR}

log = logging.getLogger(__name__)

_held: set[int] = set()  # descriptors of what this process has locked
_swept: set[Path] = set()  # folders in which this process has removed what killed processes left


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yield a temporary path (same folder, same suffix) that becomes `path` when the block ends without an exception.

    On any exception, Ctrl-C included, the temporary file is removed and `path` is left as it was. Those of killed
    processes are removed by the next process that writes into the folder. A link to a file stays one.
    Raises SpeechVQError as `check_output` does.
    """
    check_output(path)
    path = path.resolve() if path.is_symlink() else path
    _make_folder(path.parent)
    _sweep(path.parent)
    try:
        descriptor, temporary = _new(lambda: _new_file(path.parent, path.suffix))
    except OSError as error:
        if error.errno in NAME_ERRORS:  # a path that leaves no room for the name of the temporary file
            raise _no_path(path, error) from None
        error.filename = str(path)
        raise
    try:
        yield temporary
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
    except OSError as error:  # a full disk, say: of the file that the user knows
        if error.filename in (None, str(temporary)):
            error.filename = str(path)
        raise
    finally:
        temporary.unlink(missing_ok=True)
        _let_go(descriptor)


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """Yield a new folder among the system's temporary files; it is removed when the block ends.

    Those of killed processes are removed by the next process that needs one.
    """
    _sweep(Path(tempfile.gettempdir()))
    descriptor, folder = _new(lambda: tempfile.mkdtemp(prefix=TEMPORARY_PREFIX))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        _let_go(descriptor)


@contextmanager
def only_run(folder: Path) -> Iterator[None]:
    """Keep other runs out of a folder, which is made if it is missing, until the block ends or the process does.

    If it was made, and is still empty at the end, it is removed.
    Raises SpeechVQError if another run, also of this process, is at work in the folder, or as `check_output` does.
    """
    is_new, state = False, Lock.GONE
    while state is Lock.GONE:  # another run may remove the empty folder that it made
        is_new = not folder.is_dir()
        _make_folder(folder)
        with suppress(FileNotFoundError):
            descriptor, path = _open_to_lock(folder)
            state = _lock(descriptor, path)
    if state is Lock.TAKEN:
        raise SpeechVQError(f"{folder}: another run is at work in this folder; wait for its end, or name another")
    try:
        yield
    finally:
        if is_new:
            with suppress(OSError):  # not empty
                folder.rmdir()
        _let_go(descriptor)


def _new_file(folder: Path, suffix: str) -> str:
    descriptor, name = tempfile.mkstemp(suffix, TEMPORARY_PREFIX, folder)
    os.close(descriptor)
    return name


def _new(create: Callable[[], str]) -> tuple[int, Path]:
    """A new temporary file or folder and the descriptor by which it is held; none, and no sweep, on Windows."""
    while True:
        path = Path(create())
        if fcntl is None:
            return -1, path
        with suppress(FileNotFoundError):  # swept by another process before it was held
            descriptor = os.open(path, os.O_RDONLY)
            if _lock(descriptor, path) in (Lock.OURS, Lock.IMPOSSIBLE):
                return descriptor, path


def _sweep(folder: Path) -> None:
    """Remove the temporary files and folders that killed processes have left in a folder, once in each process."""
    if folder in _swept or fcntl is None:
        return
    _swept.add(folder)
    for path in folder.glob(f"{TEMPORARY_PREFIX}*"):
        with suppress(OSError):  # gone meanwhile, or of another user
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
            if _lock(descriptor, path) is Lock.OURS and os.fstat(descriptor).st_uid == os.getuid():
                shutil.rmtree(path) if path.is_dir() else path.unlink()
            _let_go(descriptor)


class Lock(enum.Enum):
    """The outcome of locking a file or a folder; where the file system has no locks, it is impossible."""

    OURS = enum.auto()
    TAKEN = enum.auto()
    GONE = enum.auto()
    IMPOSSIBLE = enum.auto()


def _open_to_lock(folder: Path) -> tuple[int, Path]:
    """A descriptor and what it is of: the folder or, on Windows, a file in it that goes when it is closed."""
    if sys.platform == "win32":
        path = folder / f"{TEMPORARY_PREFIX}lock"
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_TEMPORARY), path
    return os.open(folder, os.O_RDONLY), folder


def _lock(descriptor: int, path: Path) -> Lock:
    """Lock the file or folder that is open, until `_let_go` or the end of this process.

    It is closed if it is another's, or if it is no longer what has this path.
    """
    _held.add(descriptor)
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        else:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        state = Lock.OURS if os.path.samestat(os.fstat(descriptor), path.stat()) else Lock.GONE
    except FileNotFoundError:
        state = Lock.GONE
    except OSError as error:
        state = Lock.TAKEN if error.errno in (errno.EWOULDBLOCK, errno.EACCES, errno.EDEADLK) else Lock.IMPOSSIBLE
    if state in (Lock.TAKEN, Lock.GONE):
        _let_go(descriptor)
    return state


def _let_go(descriptor: int) -> None:
    if descriptor in _held:
        _held.discard(descriptor)
        os.close(descriptor)


def _let_go_of_all() -> None:
    for descriptor in [*_held]:
        _let_go(descriptor)


if fcntl is not None:
    os.register_at_fork(after_in_child=_let_go_of_all)  # else a worker would hold the locks of its killed parent


def check_path(path: Path) -> Path:
    """Ask the system whether something can be at a path -> the nearest path that is there: it, or one above it.

    Raises SpeechVQError if not: a name or the whole is too long, links lead in a circle, a folder may not be entered.
    """
    nearest = next(filter(os.path.lexists, (path, *path.parents)), Path(path.anchor or "."))
    try:
        for one in (path, *(nearest / part for part in path.relative_to(nearest).parts)):
            with suppress(FileNotFoundError, NotADirectoryError):
                one.stat()
    except OSError as error:
        raise _no_path(path, error) from None
    return nearest


def check_output(path: Path, *, folder: bool = False) -> Path:
    """Check that a file or, with `folder`, a folder can be at a path -> the nearest folder that is there.

    Raises SpeechVQError if another kind of thing is there, a link leads to nothing, or as `check_path` does.
    """
    nearest = check_path(path)
    if nearest.is_symlink() and not nearest.exists():
        raise SpeechVQError(f"{nearest}: is a link to nothing")
    if not folder and path.exists() and not path.is_file():
        kind = "folder" if path.is_dir() else "pipe or a device"
        raise SpeechVQError(f"{path}: is a {kind}, where a file is to be written")
    above = path.parent if nearest == path and not folder else nearest
    if not above.is_dir():
        raise SpeechVQError(f"{above}: is a file, where a folder is to be written")
    return above


def _no_path(path: Path, error: OSError) -> SpeechVQError:
    return SpeechVQError(f"{message_line(str(path), SHOWN_PATH)}: {error.strerror}")


def _make_folder(folder: Path) -> None:
    """Make a folder and those above it. `Path.mkdir` would call itself for each of them: there can be 2000."""
    nearest = check_output(folder, folder=True)
    for one in (*reversed(folder.relative_to(nearest).parents), folder.relative_to(nearest)):
        (nearest / one).mkdir(exist_ok=True)


def not_a_file(path: Path) -> str:
    """The kind of a path that is no file, for an error."""
    if path.is_dir():
        return "is a folder, not a file"
    return "a pipe or a device, not a file; - reads stdin" if path.exists() else "no such file"


def _umask() -> int:
    """The process's umask, which can be read only by setting it. `mkstemp` ignores it (mode 600)."""
    os.umask(mask := os.umask(0))
    return mask


def save_json(path: Path, data: Any) -> None:
    """Write data as JSON, atomically."""
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(data, indent=2) + "\n", encoding="utf-8")


def walk(folder: Path, *, below: bool = True, leave_out: Path | None = None) -> Iterator[Path]:
    """The files in a folder and in the folders below it, in the order of their names.

    Hidden files and folders are passed over: they are what systems leave behind, such as `._x.wav`, and what this
    program does, such as temporary files of a run that was killed. Links to folders are followed, unless they lead back
    to a folder above them; a link to nothing counts as a file. A folder that cannot be read is logged as a warning.

    below: also the files in the folders below it.
    leave_out: a folder that is passed over, too.
    """
    yield from _walk(folder, below, leave_out and leave_out.resolve(), ())


def _walk(folder: Path, below: bool, leave_out: Path | None, above: tuple[Path, ...]) -> Iterator[Path]:
    if (own := folder.resolve()) in above or own == leave_out:
        return
    try:
        paths = sorted(folder.iterdir())
    except OSError as error:
        log.warning("%s: passed over, it cannot be read (%s)", folder, error.strerror)
        return
    for path in (path for path in paths if not path.name.startswith(".")):
        if not path.is_dir():
            if path.is_file() or path.is_symlink():
                yield path
        elif below:
            yield from _walk(path, below, leave_out, (*above, own))


def visible_files(
    folder: Path, suffixes: Collection[str], *, below: bool = True, leave_out: Path | None = None
) -> list[Path]:
    """The files that `walk` finds and that have one of these suffixes (in lower case; their own may be in either)."""
    return [path for path in walk(folder, below=below, leave_out=leave_out) if path.suffix.lower() in suffixes]


def file_exists(path: Path) -> bool:
    """Whether a file is there; it is not if its name is one that no file can have, such as one that is too long."""
    try:
        return path.is_file()
    except OSError as error:
        if error.errno not in NAME_ERRORS:
            raise
        return False


@dataclass(frozen=True)
class Failure:
    """The reason why one file of many could not be used."""

    reason: str


def attempt(work: Callable[[Job], Result], job: Job) -> Result | Failure:
    """`work(job)`, or the reason why this one file cannot be used. What would stop every other file, too, is raised."""
    try:
        return work(job)
    except SpeechVQError as error:
        return Failure(str(error))
    except OSError as error:
        if error.errno not in NAME_ERRORS:
            raise
        return Failure(str(error.strerror))


def save_failures(path: Path, failures: Iterable[tuple[str, str]]) -> None:
    """Write the names of files that could not be used, and the reasons: a line for each, a tab between."""
    lines = [f"{printable(name)}\t{message_line(reason)}\n" for name, reason in failures]
    with atomic_write(path) as temporary:
        temporary.write_text("".join(lines), encoding="utf-8")


def printable(text: str) -> str:
    """The text with an escape such as \\n, \\x1b or \\udce9 for every character that is not shown by a terminal.

    Bytes of a file's name that are not UTF-8 are among them.
    """
    return "".join(one if one.isprintable() else ascii(one)[1:-1] for one in text)


def message_line(text: str, longest: int = LONGEST_MESSAGE) -> str:
    """A message as one line for a terminal or a list; what is longer than `longest` characters is cut."""
    line = printable(text)
    return line if len(line) <= longest else f"{line[:longest]}..."


def utf8(name: str) -> str:
    """A file's name as text that can be written as UTF-8: bytes that are not become escapes such as \\udce9."""
    return name.encode("utf-8", "backslashreplace").decode()

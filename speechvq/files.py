"""Files: written whole or not at all, found in folders, worked on one by one. Standard library only."""

import errno
import json
import logging
import os
import tempfile
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from speechvq import SpeechVQError

Job = TypeVar("Job")
Result = TypeVar("Result")

TEMPORARY_STEM = 20  # characters: with more, a name of 250 bytes would have no temporary file
# Errors of the system that come from a file's name: other files can still be written.
NAME_ERRORS = {errno.ENAMETOOLONG, errno.EILSEQ, errno.EINVAL, errno.EISDIR, errno.ENOTDIR}

log = logging.getLogger(__name__)


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yield a temporary path (same folder, same suffix) that becomes `path` when the block ends without an exception.

    On any exception, Ctrl-C included, the temporary file is removed and `path` is left as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.stem[:TEMPORARY_STEM]}-", suffix=path.suffix, dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _umask() -> int:
    """The process's umask, which can be read only by setting it. `mkstemp` ignores it (mode 600)."""
    mask = os.umask(0)
    os.umask(mask)
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
    own = folder.resolve()
    if own in above or own == leave_out:
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


def nearest_folders(root: Path, pattern: str, depth: int) -> list[Path]:
    """The folders that match a glob pattern in `root`, or else in the folders one, two, ... `depth` levels below it.

    They are sorted, and all of the first level at which there are any; hidden folders are not entered.
    """
    for level in range(depth + 1):
        found = [path for path in root.resolve().glob("[!.]*/" * level + pattern) if path.is_dir()]
        if found:
            return sorted(found)
    return []


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
    lines = [f"{printable(name)}\t{printable(reason)}\n" for name, reason in failures]
    with atomic_write(path) as temporary:
        temporary.write_text("".join(lines), encoding="utf-8")


def printable(text: str) -> str:
    """The text with an escape such as \\n, \\x1b or \\udce9 for every character that is not shown by a terminal.

    Bytes of a file's name that are not UTF-8 are among them.
    """
    return "".join(one if one.isprintable() else ascii(one)[1:-1] for one in text)


def utf8(name: str) -> str:
    """A file's name as text that can be written as UTF-8: bytes that are not become escapes such as \\udce9."""
    return name.encode("utf-8", "backslashreplace").decode()

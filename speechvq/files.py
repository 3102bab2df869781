"""Files: written whole or not at all, and found in folders. Standard library only."""

import json
import os
import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yield a temporary path (same folder, same suffix) that becomes `path` when the block ends without an exception.

    On any exception, Ctrl-C included, the temporary file is removed and `path` is left as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.stem}-", suffix=path.suffix, dir=path.parent)
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


def visible_files(folder: Path, suffixes: Collection[str], pattern: str = "**/*") -> list[Path]:
    """The files in a folder that match a glob pattern (all below it) and have one of these suffixes, sorted.

    suffixes: in lower case; the files' own may be in either.
    Hidden files, and files in hidden folders, are left out: they are what systems leave behind, such as `._x.wav`.
    """
    found = sorted(path for path in folder.glob(pattern) if path.suffix.lower() in suffixes and path.is_file())
    return [path for path in found if not any(part.startswith(".") for part in path.relative_to(folder).parts)]


def nearest_folders(root: Path, pattern: str, depth: int) -> list[Path]:
    """The folders that match a glob pattern in `root`, or else in the folders one, two, ... `depth` levels below it.

    They are sorted, and all of the first level at which there are any; hidden folders are not entered.
    """
    for level in range(depth + 1):
        found = [path for path in root.resolve().glob("[!.]*/" * level + pattern) if path.is_dir()]
        if found:
            return sorted(found)
    return []

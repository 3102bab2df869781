"""Packages that only some commands need, the extras of pyproject.toml, and a cache for Numba.

Standard library only.
"""

import os
import stat
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from speechvq import SpeechVQError


@contextmanager
def needed_for(purpose: str, extra: str) -> Iterator[None]:
    """Guard the imports of an extra's packages, and what else fails if they do not suit the environment.

    >>> with needed_for("alignment", "align"):
    ...     import pocketsphinx

    Raises SpeechVQError if a package is not installed: what needs it, and the command that installs the extra in a
    clone; or if it refuses a variable of the environment, such as MPLBACKEND.
    """
    try:
        yield
    except ImportError as error:
        missing = (error.name or str(error)).partition(".")[0]
        raise SpeechVQError(f'{purpose} needs {missing}: pip install ".[{extra}]"') from None
    except ValueError as error:
        raise SpeechVQError(f"{purpose}: {error}") from None


def let_numba_cache() -> None:
    """Have Numba keep what it compiles among the temporary files where the user's cache cannot be written.

    Without a place to write, it raises RuntimeError when librosa, or a module of compiled functions, is imported. So
    this is called before.

    Raises SpeechVQError if others can write into the folder among the temporary files, since cached code is run.
    """
    if sys.platform == "win32" or "NUMBA_CACHE_DIR" in os.environ:
        return
    below = "Library/Caches" if sys.platform == "darwin" else ".cache"
    with suppress(RuntimeError):  # there is no home
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / below).absolute() / "numba"
        existing = next(path for path in (cache, *cache.parents) if path.exists())
        if existing.is_dir() and os.access(existing, os.W_OK | os.X_OK):
            return
    folder = Path(tempfile.gettempdir()) / f"speechvq-numba-{os.getuid()}"
    folder.mkdir(0o700, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o022:
        raise SpeechVQError(f"{folder}: others could write into it; remove it, or set NUMBA_CACHE_DIR")
    os.environ["NUMBA_CACHE_DIR"] = str(folder)  # also of worker processes
    if "numba" in sys.modules:  # it has read its environment
        sys.modules["numba"].config.CACHE_DIR = str(folder)

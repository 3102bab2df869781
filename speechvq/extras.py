"""Packages that only some commands need: the extras of pyproject.toml. Standard library only."""

from collections.abc import Iterator
from contextlib import contextmanager

from speechvq import SpeechVQError


@contextmanager
def needed_for(purpose: str, extra: str) -> Iterator[None]:
    """Guard the imports of an extra's packages.

    >>> with needed_for("alignment", "align"):
    ...     import pocketsphinx

    Raises SpeechVQError if a package is not installed: what needs it, and the command that installs the extra in a
    clone.
    """
    try:
        yield
    except ImportError as error:
        missing = (error.name or str(error)).partition(".")[0]
        raise SpeechVQError(f'{purpose} needs {missing}: pip install ".[{extra}]"') from None

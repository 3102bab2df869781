"""Transcripts: their files, and the words in them."""

import codecs
import os
import re
from pathlib import Path


def words(text: str) -> list[str]:
    """The words of a text in lower case; of punctuation only the apostrophes within words are kept."""
    return re.findall(r"[^\W_]+(?:'[^\W_]+)*", text.lower().replace("\N{RIGHT SINGLE QUOTATION MARK}", "'"))


def one_line(text: bytes) -> str:
    """The text as one line with single spaces; bytes that are not UTF-8 become U+FFFD."""
    return " ".join(text.decode("utf-8", "replace").split())


def read_text(path: Path) -> str:
    """A transcript that has a file of its own, as one line; '' if there is no such file."""
    return one_line(_read(path)) if path.is_file() else ""


def read_transcripts(path: Path, separator: bytes = b"\t") -> dict[str, str]:
    """The text of each recording, by its file stem, from a file of lines (stem, separator, text); {} without a file."""
    lines = _read(path).splitlines() if path.is_file() else []
    rows = (line.partition(separator) for line in lines)
    return {os.fsdecode(stem): one_line(text) for stem, _, text in rows}


def _read(path: Path) -> bytes:
    """The bytes of a file, without the mark that some programs of Windows begin UTF-8 with."""
    return path.read_bytes().removeprefix(codecs.BOM_UTF8)

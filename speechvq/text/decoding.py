"""Files of text as people have them: UTF-8 or UTF-16, with and without a byte order mark, any ends of lines."""

import codecs
from pathlib import Path

from speechvq import SpeechVQError


def decoded(path: Path) -> str:
    """The text of a file, its lines ended by a newline alone.

    Raises SpeechVQError if it is missing, or in another encoding: where, and what may be done about it.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise SpeechVQError(f"{path}: cannot be read as labels ({error.strerror})") from None
    try:
        text = data.decode(_encoding(data))
    except UnicodeDecodeError as error:
        reason = f"byte 0x{data[error.start]:02x} at {error.start} is not {error.encoding.upper()}; convert it to UTF-8"
        raise SpeechVQError(f"{path}: cannot be read as labels ({reason})") from None
    return text.lstrip("\ufeff").replace("\r\n", "\n").replace("\r", "\n")


def _encoding(data: bytes) -> str:
    """By the mark; without one, every other byte of UTF-16 is zero where the text begins with ASCII."""
    if data.startswith(codecs.BOM_UTF16_BE) or (len(data) >= 2 and data[0] == 0 != data[1]):
        return "utf-16-be"
    if data.startswith(codecs.BOM_UTF16_LE) or (len(data) >= 2 and data[1] == 0 != data[0]):
        return "utf-16-le"
    return "utf-8"

"""The chunks of WAV (RIFF, RIFX, RF64) and AIFF files, which say where the audio begins and how long it is."""

from dataclasses import dataclass
from typing import Literal

Order = Literal["little", "big"]

UNKNOWN_SIZE = 0x7FFF_0000  # sizes from here on are those of a stream whose end was not known
MPEG = (0x50, 0x55)  # codings of WAV whose decoder is that of MP3 files
GSM = 0x31  # the format of WAV that libsndfile reads a block too far where the data have an odd size
AUDIO_CHUNKS = (b"data", b"SSND")
HEADERS = {b"RIFF": b"WAVE", b"RIFX": b"WAVE", b"RF64": b"WAVE", b"FORM": b"AIF"}


@dataclass(frozen=True)
class Form:
    """A WAV or AIFF recording within the data of a file.

    start: where it begins.
    data: where its audio begins.
    end: where its audio ends, by its header, but for a padding byte; None if the header does not say so.
    follows: where what comes after its last chunk begins.
    rate: bytes of audio per second, by its header; 0 if that is not known.
    code: of its coding in WAV; 0 for AIFF.
    most: the number of samples, for audio of which libsndfile would read more; None where it does not.
    """

    start: int
    data: int
    end: int | None
    follows: int
    rate: float
    code: int
    most: int | None


def is_form(data: bytes, start: int) -> bool:
    """Whether a WAV or AIFF file begins at `start`."""
    kind = HEADERS.get(data[start : start + 4])
    return kind is not None and data[start + 8 : start + 8 + len(kind)] == kind


def parse_form(data: bytes, start: int) -> Form | None:
    """The WAV or AIFF file that begins at `start` in the data of a file; None if it holds no audio."""
    order: Order = "little" if data[start : start + 4] in (b"RIFF", b"RF64") else "big"
    skipped = 8 if data[start : start + 4] == b"FORM" else 0  # bytes before the audio in its chunk
    position, rate, size64, code = start + 12, 0.0, 0, 0
    while position + 8 <= len(data) and not is_form(data, position) and _is_chunk(data, position, order):
        name, size = data[position : position + 4], _number(data, position + 4, 4, order)
        body = position + 8
        if name == b"ds64":
            size64 = _number(data, body + 8, 8, order)
        elif name == b"fmt ":
            code, rate = _number(data, body, 2, order), float(_number(data, body + 8, 4, order))
        elif name == b"COMM":
            rate = _aiff_rate(data[body : body + 18])
        elif name in AUDIO_CHUNKS:
            if size >= UNKNOWN_SIZE and size64:
                size = size64
            begin, end, follows = body + skipped, body + size, body + size + size % 2
            is_empty = size <= skipped and begin < len(data) and not _is_chunk(data, begin, order)
            if is_empty or (size >= UNKNOWN_SIZE and not size64):
                return Form(start, begin, None, len(data), rate, code, _most(code, len(data) - begin))
            while follows + 8 <= len(data) and not is_form(data, follows) and _is_chunk(data, follows, order):
                size = _number(data, follows + 4, 4, order)
                follows += 8 + size + size % 2
            return Form(
                start, begin, end, min(follows, len(data)), rate, code, _most(code, min(end, len(data)) - begin)
            )
        position = body + size + size % 2
    return None


def _most(code: int, size: int) -> int | None:
    """The number of samples in `size` bytes of a format of which libsndfile would read more."""
    return size // 65 * 320 if code == GSM else None


def _number(data: bytes, start: int, size: int, order: Order) -> int:
    return int.from_bytes(data[start : start + size], order)


def _is_chunk(data: bytes, start: int, order: Order) -> bool:
    """Whether a chunk may begin at `start`: a printable name, and a size that the rest of the file has, or audio's."""
    name = data[start : start + 4]
    is_printable = len(name) == 4 and all(32 <= byte < 127 for byte in name)
    return is_printable and (name in AUDIO_CHUNKS or start + 8 + _number(data, start + 4, 4, order) <= len(data))


def _aiff_rate(comm: bytes) -> float:
    """Bytes per second of uncompressed audio, by the chunk COMM."""
    channels, bits = int.from_bytes(comm[:2], "big"), int.from_bytes(comm[6:8], "big")
    exponent, mantissa = int.from_bytes(comm[8:10], "big") & 0x7FFF, int.from_bytes(comm[10:18], "big")
    if not 16383 <= exponent < 16383 + 63:
        return 0.0
    return mantissa * 2.0 ** (exponent - 16383 - 63) * channels * ((bits + 7) // 8)

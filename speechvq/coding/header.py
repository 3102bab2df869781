"""The header of a .svq file, a file of codes. Reading it needs no model and no torch.

    offset  bytes
    0       3      "svq"
    3       1      version of this format: 1, or 3 with a melody
    4       1      number of the coder: 0 fixed, 1 static, 2 prior
    5       4      fingerprint of the model, its first 8 hex digits
    9       4      tag of the histogram or of the prior; absent with the fixed coder
    9/13    ...    as LEB128 (7 bits per byte, the lowest first): sample rate, samples per code, number of codes K,
                   samples of the utterance, length of the speaker's name in bytes
            ...    name of the speaker to decode with, UTF-8; may be empty
            ...    for each chunk: its length in bytes (LEB128) and its CRC-32 (4 bytes, the lowest first)
            ...    with a melody, the same for each of its chunks
            4      CRC-32 of everything before
            ...    the chunks, and those of the melody

There is one code per `samples per code` samples, the last of which may be incomplete, and one chunk per 1024 codes, the
last of which may be shorter; likewise one value of the melody per 2560 samples, and one chunk per 128 values. Chunks
are coded independently, so that damage costs only the chunk that it hits.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeVar
from zlib import crc32

from speechvq import SpeechVQError
from speechvq.audio import MELODY_CHUNK, MELODY_HOP
from speechvq.files import not_a_file
from speechvq.folder.card import Alphabet

MAGIC, FORMAT_VERSION, MELODY_VERSION = b"svq", 1, 3  # 2 are packets
CODER_TAGS = {"fixed": 0, "static": 4, "prior": 4}  # coders in the order of their numbers -> bytes of their tag
CHUNK_CODES = 1024  # codes per chunk
MAX_SAMPLES = 2**40  # two years
MAX_BYTES = 2**30  # of a file of codes, which is read into memory: a year of speech at some 300 bit/s
FINGERPRINT_DIGITS = 8  # of the model's 16

T = TypeVar("T")


class Chunk(NamedTuple):
    """An entry of the header's table of chunks.

    size: bytes of the chunk.
    checksum: its CRC-32.
    """

    size: int
    checksum: int


@dataclass(frozen=True)
class Header:
    """The content of a header.

    coder: name of the coder, a key of CODER_TAGS.
    alphabet: the model's fingerprint (its first digits), number of codes and samples per code.
    tag: 4 bytes that name the histogram or the prior; empty with the fixed coder.
    sample_rate: in Hz.
    samples: length of the utterance.
    speaker: name of the speaker to decode with; may be empty.
    chunks: table of the chunks.
    melody: table of the chunks of the melody; None without one.
    size: bytes of the header itself.
    """

    coder: str
    alphabet: Alphabet
    tag: bytes
    sample_rate: int
    samples: int
    speaker: str
    chunks: tuple[Chunk, ...]
    melody: tuple[Chunk, ...] | None
    size: int

    @property
    def lengths(self) -> list[int]:
        """Number of codes in each chunk."""
        return chunk_lengths(self.samples, self.alphabet.hop_length)

    @property
    def stated_size(self) -> int:
        """Bytes of the whole file."""
        return self.size + sum(chunk.size for chunk in (*self.chunks, *(self.melody or ())))

    def describe(self) -> dict[str, Any]:
        """The result of `speechvq info` for the file."""
        size, seconds = self.stated_size, self.samples / self.sample_rate
        return {
            "model": self.alphabet.model,
            "coder": self.coder,
            **({"coder_tag": self.tag.hex()} if self.tag else {}),
            "speaker": self.speaker,
            "sample_rate": self.sample_rate,
            "seconds": seconds,
            "codes": sum(self.lengths),
            "kinds_of_codes": self.alphabet.codes,
            "chunks": len(self.chunks),
            **({"melody_bytes": sum(chunk.size for chunk in self.melody)} if self.melody is not None else {}),
            "bytes": size,
            "bit_per_s": 8 * size / seconds if seconds else 0.0,
        }


def chunk_lengths(samples: int, hop_length: int) -> list[int]:
    """Number of codes in each chunk of an utterance."""
    whole, rest = divmod(-(-samples // hop_length), CHUNK_CODES)
    return [CHUNK_CODES] * whole + ([rest] if rest else [])


def write_header(
    coder: str,
    alphabet: Alphabet,
    tag: bytes,
    sample_rate: int,
    samples: int,
    speaker: str,
    chunks: Sequence[bytes],
    melody: Sequence[bytes] | None = None,
) -> bytes:
    """The bytes of a header; arguments as the fields of `Header`, but for the chunks, which are given themselves.

    Raises SpeechVQError as `name_bytes` does, for more than 255 bytes.
    """
    name = name_bytes(speaker, 255, "a file")
    fingerprint = bytes.fromhex(alphabet.model[:FINGERPRINT_DIGITS])
    version = FORMAT_VERSION if melody is None else MELODY_VERSION
    head = MAGIC + bytes([version, list(CODER_TAGS).index(coder)]) + fingerprint + tag
    for number in (sample_rate, alphabet.hop_length, alphabet.codes, samples, len(name)):
        head += write_varint(number)
    head += name + b"".join(write_varint(len(chunk)) + _checksum(chunk) for chunk in (*chunks, *(melody or ())))
    return head + _checksum(head)


def read_header(data: bytes) -> Header:
    """The header at the beginning of a file's bytes.

    Raises SpeechVQError if they are not a .svq file, are of another version, or the header is damaged.
    """
    if data[:3] != MAGIC:
        raise SpeechVQError("not a file of codes (.svq)")
    if data[3:4] not in (bytes([FORMAT_VERSION]), bytes([MELODY_VERSION])):
        version = data[3] if data[3:] else "?"
        raise SpeechVQError(f"its format is version {version}; this speechvq reads 1, 2 and 3")
    try:
        return _parse(data)
    except (LookupError, ValueError):
        raise SpeechVQError("its header is damaged or cut off") from None


def _parse(data: bytes) -> Header:
    """The header; LookupError or ValueError where there is none."""
    coder, tag_size = list(CODER_TAGS.items())[data[4]]
    model, offset = data[5:9].hex(), 9 + tag_size
    tag = data[9:offset]
    numbers = []
    for _ in range(5):
        number, offset = read_varint(data, offset)
        numbers.append(number)
    sample_rate, hop_length, codes, samples, name_size = numbers
    if not (sample_rate and hop_length and 2 <= codes <= 2**16 and samples <= MAX_SAMPLES and name_size < 256):
        raise ValueError
    speaker = data[offset : offset + name_size].decode()
    offset += name_size
    chunks, offset = _read_table(data, offset, -(-samples // (hop_length * CHUNK_CODES)))
    melody = None
    if data[3] == MELODY_VERSION:
        melody, offset = _read_table(data, offset, -(-samples // (MELODY_HOP * MELODY_CHUNK)))
    if data[offset : offset + 4] != _checksum(data[:offset]):
        raise ValueError
    alphabet = Alphabet(model, codes, hop_length)
    return Header(coder, alphabet, tag, sample_rate, samples, speaker, chunks, melody, offset + 4)


def _read_table(data: bytes, offset: int, count: int) -> tuple[tuple[Chunk, ...], int]:
    """A table of so many chunks at an offset, and the offset behind it; IndexError if the data end before it does."""
    chunks = []
    for _ in range(count):
        size, offset = read_varint(data, offset)
        chunks.append(Chunk(size, int.from_bytes(data[offset : offset + 4], "little")))
        offset += 4
    return tuple(chunks), offset


def _checksum(data: bytes) -> bytes:
    return crc32(data).to_bytes(4, "little")


def write_varint(number: int) -> bytes:
    """A number from 0 as LEB128."""
    low, high = number & 127, number >> 7
    return bytes([low | 128]) + write_varint(high) if high else bytes([low])


def name_bytes(speaker: str, most: int, what: str) -> bytes:
    """A speaker's name in UTF-8. Raises SpeechVQError if it has more bytes than `most`, or half of a surrogate pair."""
    try:
        name = speaker.encode()
    except UnicodeEncodeError:
        raise SpeechVQError(f"the name of a speaker is not UTF-8: {speaker[:20]!a}") from None
    if len(name) > most:
        raise SpeechVQError(f"the name of a speaker has at most {most} bytes in {what} of codes")
    return name


def read_varint(data: bytes, offset: int) -> tuple[int, int]:
    """The LEB128 number at an offset, and the offset behind it.

    Raises IndexError if the data end before it does, ValueError if it reaches 2^63.
    """
    number = shift = 0
    while shift < 63:
        number |= (data[offset] & 127) << shift
        if data[offset] < 128:
            return number, offset + 1
        offset, shift = offset + 1, shift + 7
    raise ValueError


def parse_file(path: Path, parse: Callable[[bytes], T]) -> T:
    """The result of `parse` for a file's bytes.

    Raises SpeechVQError, naming the file, if it is missing, cannot be read or is too large, or `parse` refuses it.
    """
    if path.is_char_device() or path.is_block_device():
        raise SpeechVQError(f"{path}: a device, not a file")
    try:
        if path.stat().st_size > MAX_BYTES:
            raise SpeechVQError(f"more than {MAX_BYTES >> 20} MB: not a file of codes")
        return parse(path.read_bytes())
    except SpeechVQError as error:
        raise SpeechVQError(f"{path}: {error}") from None
    except OSError as error:
        reason = f"cannot be read ({error.strerror})" if path.is_file() else not_a_file(path)
        raise SpeechVQError(f"{path}: {reason}") from None

"""The .svq file: codes of an utterance as few bytes, whose every change is noticed.

    offset  bytes
    0       3      "svq"
    3       1      version of this format, 1
    4       1      coder: 0 fixed, 1 static, 2 prior (see `coders`)
    5       4      fingerprint of the model, its first 8 hex digits
    9       4      tag of the histogram or of the prior; not there for the fixed coder
    9/13    ...    as LEB128 (7 bits a byte, the lowest first): sample rate, samples a code, number of codes K, samples
                   of the utterance, length of the speaker's name
            ...    name of the speaker to decode with, UTF-8; may be empty
            ...    for each chunk: its length in bytes (LEB128) and its CRC-32 (4 bytes, the lowest first)
            4      CRC-32 of all that is before
            ...    the chunks

There is a code for every begun `samples a code` of the samples, and a chunk for every begun 1024 codes. Chunks are
coded each for itself, so that a damaged one is lost alone.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any
from zlib import crc32

import numpy as np
import torch

from speechvq import SpeechVQError
from speechvq.audio import SAMPLE_RATE
from speechvq.codec import Encoded
from speechvq.coding.coders import KINDS, Coder
from speechvq.folder.card import Alphabet

MAGIC, VERSION = b"svq", 1
CHUNK = 1024  # codes
LONGEST = 2**40  # samples: two years
DIGITS = 8  # of the model's fingerprint


@dataclass(frozen=True)
class Header:
    """What stands before the chunks. size: of the header in bytes; chunks: the (length, CRC-32) of each."""

    coder: str
    alphabet: Alphabet
    tag: bytes
    sample_rate: int
    samples: int
    speaker: str
    chunks: tuple[tuple[int, int], ...]
    size: int

    @property
    def lengths(self) -> list[int]:
        """Number of codes in each chunk."""
        return _lengths(self.samples, self.alphabet.hop_length)

    def describe(self) -> dict[str, Any]:
        """What `speechvq info` says of it."""
        size, seconds = self.size + sum(length for length, _ in self.chunks), self.samples / self.sample_rate
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
            "bytes": size,
            "bit_per_s": 8 * size / seconds if seconds else 0.0,
        }


def pack(encoded: Encoded, coder: Coder) -> bytes:
    """The bytes of a file; SpeechVQError for a speaker's name of more than 255 bytes."""
    alphabet, name = encoded.alphabet, encoded.speaker.encode()
    if len(name) > 255:
        raise SpeechVQError("the name of a speaker has at most 255 bytes in a file of codes")
    codes = encoded.codes.numpy()
    places = np.cumsum([0, *_lengths(encoded.samples, alphabet.hop_length)])
    chunks = coder.encode([codes[begin:end] for begin, end in pairwise(places)])
    head = MAGIC + bytes([VERSION, coder.number]) + bytes.fromhex(alphabet.model[:DIGITS]) + coder.tag
    for number in (SAMPLE_RATE, alphabet.hop_length, alphabet.codes, encoded.samples, len(name)):
        head += _varint(number)
    head += name + b"".join(_varint(len(chunk)) + _checksum(chunk) for chunk in chunks)
    return head + _checksum(head) + b"".join(chunks)


def unpack(data: bytes, coder: Callable[[Header], Coder]) -> Encoded:
    """The codes of a file. coder: makes the one that the header asks for.

    Damaged or missing chunks are told in `lost`. SpeechVQError where it is no such file, of another version, its header
    is damaged, or there are more bytes than it has.
    """
    header = read_header(data)
    lengths, end = header.lengths, header.size + sum(length for length, _ in header.chunks)
    if len(data) > end:
        raise SpeechVQError(f"{len(data) - end} bytes too many at the end")
    places = np.cumsum([header.size, *(length for length, _ in header.chunks)])
    payloads = [data[begin:to] for begin, to in pairwise(places)]
    whole = [i for i, chunk in enumerate(payloads) if (len(chunk), crc32(chunk)) == header.chunks[i]]
    decoded = coder(header).decode([payloads[i] for i in whole], [lengths[i] for i in whole])
    rows: list[np.ndarray | None] = [None] * len(lengths)
    for i, row in zip(whole, decoded, strict=True):
        rows[i] = row
    begins = np.cumsum([0, *lengths]).tolist()
    lost = tuple((begins[i], begins[i + 1]) for i, row in enumerate(rows) if row is None)
    filled = [np.zeros(n, np.int64) if row is None else row for n, row in zip(lengths, rows, strict=True)]
    codes = torch.from_numpy(np.concatenate([np.empty(0, np.int64), *filled]))
    return Encoded(codes, header.samples, header.alphabet, header.speaker, lost)


def read_header(data: bytes) -> Header:
    """The header at the beginning of a file; SpeechVQError as for `unpack`."""
    if data[:3] != MAGIC:
        raise SpeechVQError("not a file of codes (.svq)")
    if data[3:4] != bytes([VERSION]):
        raise SpeechVQError(f"its format is version {data[3] if data[3:] else '?'}; this speechvq reads {VERSION}")
    try:
        header = _parse(data)
    except (LookupError, ValueError):
        raise SpeechVQError("its header is damaged or cut off") from None
    return header


def _parse(data: bytes) -> Header:
    kind = KINDS[data[4]]
    model, place = data[5:9].hex(), 9 + kind.tag_size
    tag = data[9:place]
    numbers = []
    for _ in range(5):
        number, place = _read_varint(data, place)
        numbers.append(number)
    sample_rate, hop_length, codes, samples, size = numbers
    if not (sample_rate and hop_length and 2 <= codes <= 2**16 and samples <= LONGEST and size < 256):
        raise ValueError
    speaker = data[place : place + size].decode()
    place += size
    chunks = []
    for _ in range(-(-samples // (hop_length * CHUNK))):
        length, place = _read_varint(data, place)
        chunks.append((length, int.from_bytes(data[place : place + 4], "little")))
        place += 4
    if data[place : place + 4] != _checksum(data[:place]):
        raise ValueError
    alphabet = Alphabet(model, codes, hop_length)
    return Header(kind.name, alphabet, tag, sample_rate, samples, speaker, tuple(chunks), place + 4)


def _lengths(samples: int, hop_length: int) -> list[int]:
    whole, rest = divmod(-(-samples // hop_length), CHUNK)
    return [CHUNK] * whole + ([rest] if rest else [])


def _checksum(data: bytes) -> bytes:
    return crc32(data).to_bytes(4, "little")


def _varint(number: int) -> bytes:
    low, high = number & 127, number >> 7
    return bytes([low | 128]) + _varint(high) if high else bytes([low])


def _read_varint(data: bytes, place: int) -> tuple[int, int]:
    """The number at a place, and the place behind it; IndexError where the data end, ValueError beyond 2^63."""
    number = shift = 0
    while shift < 63:
        number |= (data[place] & 127) << shift
        if data[place] < 128:
            return number, place + 1
        place, shift = place + 1, shift + 7
    raise ValueError

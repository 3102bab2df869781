"""The packets of a stream of codes, version 2 of .svq. Reading them needs no model and no torch.

A stream is a sequence of packets, each complete in itself. One that is damaged or missing costs only its own codes.
All end in a CRC-16 (CCITT, from 0xFFFF) of what is before it in the packet; numbers of several bytes begin with the
lowest.

    header  "svq", 2, bytes that follow before the CRC (1), number of the coder (1), fingerprint of the model (4),
            tag of the histogram or prior (4; none with the fixed coder); as LEB128: sample rate, samples per code,
            number of codes K, position of the next code, length of the speaker's name; the name, UTF-8
    codes   0xC5, position of the first code modulo 2^16 (2), number of codes (1), bytes of the payload (1), payload
    end     0xE5, samples of the utterance (6)

The header comes first and then again every few seconds, so that a receiver may join at any time. The codes of a packet
are coded by themselves, as those of a chunk of version 1.
"""

import re
from binascii import crc_hqx
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from speechvq import SpeechVQError
from speechvq.coding.header import CODER_TAGS, FINGERPRINT_DIGITS, MAGIC, name_bytes, read_varint, write_varint
from speechvq.folder.card import Alphabet

if TYPE_CHECKING:
    import numpy as np

    from speechvq.coding.coders import Coder

PACKET_VERSION = 2
HEADER_MARK, CODES_MARK, END_MARK = MAGIC + bytes([PACKET_VERSION]), 0xC5, 0xE5
HEADER_EVERY = 5.0  # seconds
POSITIONS = 2**16  # after which the positions in packets begin again: 22 minutes of 50 codes a second
MOST_CODES, MOST_BYTES = 255, 255  # of a packet's payload
CRC_BYTES = 2
LONGEST_PACKET = 5 + MOST_BYTES + CRC_BYTES
FIRST_BYTES = re.compile(b"[" + re.escape(bytes([MAGIC[0], CODES_MARK, END_MARK])) + b"]")  # of a packet


@dataclass(frozen=True)
class StreamHeader:
    """The content of a stream's header.

    coder: name of the coder, a key of CODER_TAGS.
    alphabet: the model's fingerprint (its first digits), number of codes and samples per code.
    tag: 4 bytes that name the histogram or the prior; empty with the fixed coder.
    sample_rate: in Hz.
    speaker: name of the speaker to decode with; may be empty.
    """

    coder: str
    alphabet: Alphabet
    tag: bytes
    sample_rate: int
    speaker: str

    def packet(self, position: int) -> bytes:
        """The bytes of the header's packet; `position`: of the next code.

        Raises SpeechVQError as `name_bytes` does, for more than 200 bytes.
        """
        name = name_bytes(self.speaker, 200, "a stream")
        body = bytes([list(CODER_TAGS).index(self.coder)])
        body += bytes.fromhex(self.alphabet.model[:FINGERPRINT_DIGITS]) + self.tag
        for number in (self.sample_rate, self.alphabet.hop_length, self.alphabet.codes, position, len(name)):
            body += write_varint(number)
        body += name
        return _checked(HEADER_MARK + bytes([len(body)]) + body)


class Payload(NamedTuple):
    """Codes that have arrived.

    position: of the first, in codes from the beginning of the stream.
    length: how many there are.
    data: as the coder has written them.
    """

    position: int
    length: int
    data: bytes


class End(NamedTuple):
    """The end of the stream; samples: of the utterance."""

    samples: int


class PacketWriter:
    """Codes to packets.

    header: of the stream.
    coder: that the header names.
    """

    def __init__(self, header: StreamHeader, coder: "Coder") -> None:
        self.header, self.coder = header, coder
        self.position = 0
        self._since = -1  # codes since the last header; none yet
        self._every = int(HEADER_EVERY * header.sample_rate / header.alphabet.hop_length)

    def packets(self, codes: "np.ndarray") -> list[bytes]:
        """The packet of some codes (n,), or several if they are too many for one, behind a header where one is due."""
        result = []
        if not 0 <= self._since < self._every:
            result.append(self.header.packet(self.position))
            self._since = 0
        [payload] = self.coder.encode([codes])
        if len(codes) > MOST_CODES or len(payload) > MOST_BYTES:
            half = len(codes) // 2
            return result + self.packets(codes[:half]) + self.packets(codes[half:])
        start = (self.position % POSITIONS).to_bytes(2, "little")
        result.append(_checked(bytes([CODES_MARK]) + start + bytes([len(codes), len(payload)]) + payload))
        self.position += len(codes)
        self._since += len(codes)
        return result

    def end(self, samples: int) -> bytes:
        """The last packet; `samples`: of the utterance."""
        return _checked(bytes([END_MARK]) + samples.to_bytes(6, "little"))


class PacketReader:
    """Packets to payloads, from bytes that arrive in pieces of any length.

    header: the stream's; None until it has arrived. Codes that arrive before it are lost.
    start: the position at which it came.
    """

    def __init__(self) -> None:
        self.header: StreamHeader | None = None
        self.start = self._next = 0  # the latter is the position that is expected
        self._waiting = b""

    def push(self, data: bytes) -> Iterator[Payload | End]:
        """The packets that are complete with the next bytes, in the order of positions, without late and repeated ones.

        Raises SpeechVQError if a header is of another stream than the one before.
        """
        self._waiting += data
        yield from self._found(whole=False)

    def flush(self) -> Iterator[Payload | End]:
        """The packets behind one that was cut off, at the end of the stream."""
        yield from self._found(whole=True)

    def _found(self, *, whole: bool) -> Iterator[Payload | End]:
        """The content of the packets that have arrived; `whole` if no more bytes follow."""
        data, offset = self._waiting, 0
        try:
            while first := FIRST_BYTES.search(data, offset):
                offset = first.start()
                size = _packet_size(data[offset : offset + LONGEST_PACKET])
                if size is None and not whole:
                    return
                if not size or crc_hqx(data[offset : offset + size], 0xFFFF):
                    offset += 1  # not a packet: the next may begin with any byte
                    continue
                packet = data[offset : offset + size - CRC_BYTES]
                offset += size
                found = self._read(packet)
                if found is not None:
                    yield found
            offset = len(data)
        finally:
            self._waiting = data[offset:]

    def _read(self, packet: bytes) -> Payload | End | None:
        if packet[0] not in (CODES_MARK, END_MARK):
            self._read_header(packet)
            return None
        if self.header is None:
            return None
        if packet[0] == END_MARK:
            return End(int.from_bytes(packet[1:], "little"))
        ahead = (int.from_bytes(packet[1:3], "little") - self._next) % POSITIONS
        if ahead >= POSITIONS // 2:
            return None
        position, length = self._next + ahead, packet[3]
        self._next = position + length
        return Payload(position, length, packet[5:])

    def _read_header(self, packet: bytes) -> None:
        try:
            header, position = parse_header(packet)
        except (LookupError, ValueError):
            return  # damage that the CRC did not find
        if self.header is None:
            self.header, self.start, self._next = header, position, position
        elif header != self.header:
            raise SpeechVQError("another stream of codes begins in the middle of this one")


def parse_header(packet: bytes) -> tuple[StreamHeader, int]:
    """The header in a packet without its CRC, and the position of the next code; LookupError or ValueError if none."""
    coder, tag_size = list(CODER_TAGS.items())[packet[5]]
    model, offset = packet[6:10].hex(), 10 + tag_size
    tag, numbers = packet[10:offset], []
    for _ in range(5):
        number, offset = read_varint(packet, offset)
        numbers.append(number)
    sample_rate, hop_length, codes, position, name_size = numbers
    if not (sample_rate and hop_length and 2 <= codes <= 2**16 and len(packet) == offset + name_size):
        raise ValueError
    alphabet = Alphabet(model, codes, hop_length)
    return StreamHeader(coder, alphabet, tag, sample_rate, packet[offset:].decode()), position


def is_packets(data: bytes) -> bool:
    """Whether a file's bytes begin as a stream of packets."""
    return data.startswith(HEADER_MARK)


def describe_packets(data: bytes) -> dict[str, Any]:
    """The result of `speechvq info` for a stream.

    Raises SpeechVQError if there is no header.
    """
    reader = PacketReader()
    found = [*reader.push(data), *reader.flush()]
    header = reader.header
    if header is None:
        raise SpeechVQError("its header is damaged or cut off")
    runs = [item for item in found if isinstance(item, Payload)]
    end = max((run.position + run.length for run in runs), default=reader.start) - reader.start
    arrived = sum(run.length for run in runs)
    seconds = end * header.alphabet.hop_length / header.sample_rate
    return {
        "model": header.alphabet.model,
        "coder": header.coder,
        **({"coder_tag": header.tag.hex()} if header.tag else {}),
        "speaker": header.speaker,
        "sample_rate": header.sample_rate,
        "seconds": seconds,
        "codes": arrived,
        "lost_codes": end - arrived,
        "kinds_of_codes": header.alphabet.codes,
        "packets": len(runs),
        "bytes": len(data),
        "bit_per_s": 8 * len(data) / seconds if seconds else 0.0,
    }


def _packet_size(data: bytes) -> int | None:
    """Bytes of the packet that may begin here, 0 if none does; None if more bytes are needed."""
    mark = data[0]
    if mark == END_MARK:
        size = 7
    elif mark == CODES_MARK:
        if len(data) < 5:
            return None
        size = 5 + data[4] if data[3] else -CRC_BYTES
    elif HEADER_MARK.startswith(data[:4]):
        if len(data) < 5:
            return None
        size = 5 + data[4]
    else:
        return 0
    return None if len(data) < size + CRC_BYTES else size + CRC_BYTES


def _checked(packet: bytes) -> bytes:
    """The packet and its CRC, so that the CRC of both is 0."""
    return packet + crc_hqx(packet, 0xFFFF).to_bytes(CRC_BYTES, "big")

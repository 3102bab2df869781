"""A file of packets as an utterance."""

from collections.abc import Callable

import numpy as np
import torch

from speechvq import SpeechVQError
from speechvq.codec import Encoded
from speechvq.coding.coders import Coder
from speechvq.coding.packets.decoding import CodeReader, Codes
from speechvq.coding.packets.framing import POSITIONS, End, StreamHeader

# Of a file: what a link may have lost is a small multiple of what arrives, besides one long pause.
MOST_CODES_PER_BYTE = 64


def unpack_packets(data: bytes, choose: Callable[[StreamHeader], Coder]) -> Encoded:
    """The codes of a file's bytes; those that are missing are listed in the result's `lost`.

    choose: returns the coder that the header asks for.

    A recording that begins in the middle of a stream begins with its first header.

    Raises SpeechVQError if there is no header, or more is lost than any link would lose.
    """
    reader = CodeReader(choose)
    found = [*reader.push(data), *reader.flush()]
    if reader.header is None:
        raise SpeechVQError("its header is damaged or cut off")
    hop, start = reader.header.alphabet.hop_length, reader.start
    runs = [(item.position - start, item.codes) for item in found if isinstance(item, Codes)]
    arrived = max((position + len(row) for position, row in runs), default=0)
    samples = next((item.samples - start * hop for item in found if isinstance(item, End)), arrived * hop)
    count = -(-max(samples, 0) // hop)
    if count > MOST_CODES_PER_BYTE * len(data) + POSITIONS:
        raise SpeechVQError(f"{count} codes in {len(data)} bytes: damaged")
    codes, there = np.zeros(count, np.int64), np.zeros(count, bool)
    for position, row in runs:
        own = row[: max(count - position, 0)]
        codes[position : position + len(own)], there[position : position + len(own)] = own, True
    edges = np.flatnonzero(np.diff(np.concatenate([[True], there, [True]]).astype(np.int8))).reshape(-1, 2)
    lost = tuple((int(first), int(end)) for first, end in edges)
    return Encoded(torch.from_numpy(codes), samples, reader.header.alphabet, reader.header.speaker, lost)

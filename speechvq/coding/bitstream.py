"""Codes to the bytes of a .svq file and back; `header` documents the format."""

from collections.abc import Callable
from itertools import pairwise
from zlib import crc32

import numpy as np
import torch

from speechvq import SpeechVQError
from speechvq.audio import SAMPLE_RATE
from speechvq.codec import Encoded
from speechvq.coding.coders import Coder
from speechvq.coding.header import Header, chunk_lengths, read_header, write_header


def pack(encoded: Encoded, coder: Coder) -> bytes:
    """The bytes of a file.

    Raises SpeechVQError if the speaker's name has more than 255 bytes.
    """
    alphabet, codes = encoded.alphabet, encoded.codes.numpy()
    offsets = np.cumsum([0, *chunk_lengths(encoded.samples, alphabet.hop_length)])
    chunks = coder.encode([codes[start:end] for start, end in pairwise(offsets)])
    head = write_header(coder.name, alphabet, coder.tag, SAMPLE_RATE, encoded.samples, encoded.speaker, chunks)
    return head + b"".join(chunks)


def unpack(data: bytes, choose: Callable[[Header], Coder]) -> Encoded:
    """The codes of a file's bytes.

    choose: returns the coder that the header asks for.

    Damaged and missing chunks are listed in the result's `lost`. Raises SpeechVQError if the bytes are not a .svq file,
    are of another version, the header is damaged, or there are more bytes than the header lists.
    """
    header = read_header(data)
    lengths, end = header.lengths, header.size + sum(chunk.size for chunk in header.chunks)
    if len(data) > end:
        raise SpeechVQError(f"{len(data) - end} bytes too many at the end")
    offsets = np.cumsum([header.size, *(chunk.size for chunk in header.chunks)])
    payloads = [data[start:stop] for start, stop in pairwise(offsets)]
    intact = [i for i, payload in enumerate(payloads) if (len(payload), crc32(payload)) == header.chunks[i]]
    decoded = choose(header).decode([payloads[i] for i in intact], [lengths[i] for i in intact])
    rows: list[np.ndarray | None] = [None] * len(lengths)
    for i, row in zip(intact, decoded, strict=True):
        rows[i] = row
    starts = np.cumsum([0, *lengths]).tolist()
    lost = tuple((starts[i], starts[i + 1]) for i, row in enumerate(rows) if row is None)
    filled = [np.zeros(n, np.int64) if row is None else row for n, row in zip(lengths, rows, strict=True)]
    codes = torch.from_numpy(np.concatenate([np.empty(0, np.int64), *filled]))
    return Encoded(codes, header.samples, header.alphabet, header.speaker, lost)

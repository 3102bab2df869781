"""Codes to the bytes of a .svq file and back; `header` documents the format."""

from collections.abc import Callable
from itertools import pairwise
from zlib import crc32

import numpy as np
import torch

from speechvq import SpeechVQError
from speechvq.audio import SAMPLE_RATE
from speechvq.codec import Encoded
from speechvq.codec.melody import melody_length
from speechvq.coding.coders import Coder, pack_melody, unpack_melody
from speechvq.coding.header import Header, chunk_lengths, read_header, write_header


def pack(encoded: Encoded, coder: Coder) -> bytes:
    """The bytes of a file.

    Raises SpeechVQError if the speaker's name has more than 255 bytes.
    """
    alphabet, codes = encoded.alphabet, encoded.codes.numpy()
    offsets = np.cumsum([0, *chunk_lengths(encoded.samples, alphabet.hop_length)])
    chunks = coder.encode([codes[start:end] for start, end in pairwise(offsets)])
    melody = None if encoded.melody is None else pack_melody(encoded.melody)
    head = write_header(coder.name, alphabet, coder.tag, SAMPLE_RATE, encoded.samples, encoded.speaker, chunks, melody)
    return head + b"".join((*chunks, *(melody or ())))


def unpack(data: bytes, choose: Callable[[Header], Coder]) -> Encoded:
    """The codes of a file's bytes.

    choose: returns the coder that the header asks for.

    Damaged and missing chunks are listed in the result's `lost`; those of the melody are NaN. Raises SpeechVQError if
    the bytes are not a .svq file, are of another version, the header is damaged, or there are more bytes than the
    header lists.
    """
    header = read_header(data)
    lengths = header.lengths
    if len(data) > header.stated_size:
        raise SpeechVQError(f"{len(data) - header.stated_size} bytes too many at the end")
    table = (*header.chunks, *(header.melody or ()))
    offsets = np.cumsum([header.size, *(chunk.size for chunk in table)])
    payloads = [
        payload if (len(payload), crc32(payload)) == chunk else None
        for chunk, payload in zip(table, (data[start:stop] for start, stop in pairwise(offsets)), strict=True)
    ]
    intact = {i: payload for i, payload in enumerate(payloads[: len(lengths)]) if payload is not None}
    decoded = choose(header).decode([*intact.values()], [lengths[i] for i in intact])
    rows: list[np.ndarray | None] = [None] * len(lengths)
    for i, row in zip(intact, decoded, strict=True):
        rows[i] = row
    starts = np.cumsum([0, *lengths]).tolist()
    lost = tuple((starts[i], starts[i + 1]) for i, row in enumerate(rows) if row is None)
    filled = [np.zeros(n, np.int64) if row is None else row for n, row in zip(lengths, rows, strict=True)]
    codes = torch.from_numpy(np.concatenate([np.empty(0, np.int64), *filled]))
    melody = None
    if header.melody is not None:
        melody = unpack_melody(payloads[len(lengths) :], melody_length(header.samples))
    return Encoded(codes, header.samples, header.alphabet, header.speaker, lost, melody=melody)

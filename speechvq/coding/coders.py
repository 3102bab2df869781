"""Coders turn codes into bytes and back, without loss: of fixed length, by a histogram, or under a prior.

Melodies are coded here, too, by the levels of `codec.melody`, each given the one before.
The entropy coder is constriction's range coder. Its models are given integers only, so that they are the same on every
machine.
"""

import hashlib
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from speechvq.audio import MELODY_CHUNK
from speechvq.codec.melody import MEAN_LEVEL, WEIGHTS, from_levels, to_levels
from speechvq.coding.integer_prior import IntegerPrior
from speechvq.nn.prior import Prior

CHUNKS_PER_BATCH = 32  # chunks that are decoded under a prior at once


class Coder:
    """The contract of a coder.

    name: its name in a file's header, a key of `header.CODER_TAGS`.
    tag: bytes in the header that name the histogram or the prior, as many as CODER_TAGS has for the name.
    """

    name: ClassVar[str]
    tag = b""

    def encode(self, chunks: Sequence[np.ndarray]) -> list[bytes]:
        """Codes (n,) of each chunk -> its bytes."""
        raise NotImplementedError

    def decode(self, chunks: Sequence[bytes], lengths: Sequence[int]) -> list[np.ndarray | None]:
        """The codes that `encode` was given, `lengths` codes a chunk; None for bytes that it cannot have returned."""
        raise NotImplementedError


class Fixed(Coder):
    """ceil(log2 K) bits per code, the highest bit first.

    codes: their number K.
    """

    name = "fixed"

    def __init__(self, codes: int) -> None:
        self.codes, self.width = codes, max((codes - 1).bit_length(), 1)

    def encode(self, chunks: Sequence[np.ndarray]) -> list[bytes]:
        shifts = np.arange(self.width)[::-1]
        return [np.packbits(chunk[:, None] >> shifts & 1).tobytes() for chunk in chunks]

    def decode(self, chunks: Sequence[bytes], lengths: Sequence[int]) -> list[np.ndarray | None]:
        return [self._decode(*pair) for pair in zip(chunks, lengths, strict=True)]

    def _decode(self, chunk: bytes, length: int) -> np.ndarray | None:
        if len(chunk) != -(-length * self.width // 8):
            return None
        bits = np.unpackbits(np.frombuffer(chunk, np.uint8), count=length * self.width).reshape(length, -1)
        codes = bits.astype(np.int64) @ (1 << np.arange(self.width)[::-1])
        return codes if codes.max() < self.codes else None


class Static(Coder):
    """By the frequency of each code in training.

    counts: (K,) int64.
    """

    name = "static"

    def __init__(self, counts: np.ndarray) -> None:
        self.weights = 2.0 * counts + 1  # no code is impossible
        self.tag = hashlib.sha256(counts.astype("<i8").tobytes()).digest()[:4]

    def encode(self, chunks: Sequence[np.ndarray]) -> list[bytes]:
        return [_encode(chunk, self._model()) for chunk in chunks]

    def decode(self, chunks: Sequence[bytes], lengths: Sequence[int]) -> list[np.ndarray | None]:
        def decode(chunk: bytes, length: int) -> np.ndarray | None:
            try:
                codes: np.ndarray = _decoder(chunk).decode(self._model(), length)
            except AssertionError:  # constriction's error for bytes that it cannot have written
                return None
            return codes.astype(np.int64)

        return [decode(*pair) for pair in zip(chunks, lengths, strict=True)]

    def _model(self) -> Any:
        import constriction  # not at import: only files need it

        return constriction.stream.model.Categorical(self.weights, perfect=False)


class UnderPrior(Coder):
    """By the probabilities that a prior gives each code after the codes before it, computed in integers.

    tag: 4 bytes that name the prior.
    """

    name = "prior"

    def __init__(self, prior: Prior, tag: bytes) -> None:
        self.prior, self.tag = IntegerPrior(prior), tag

    def encode(self, chunks: Sequence[np.ndarray]) -> list[bytes]:
        return [_encode(chunk, _categorical(), self._weights(chunk)) for chunk in chunks]

    def _weights(self, chunk: np.ndarray) -> np.ndarray:
        before = np.append(self.prior.codes, chunk[:-1])[None]
        weights: np.ndarray = self.prior.step(before, self.prior.start(1))[0]
        return weights

    def decode(self, chunks: Sequence[bytes], lengths: Sequence[int]) -> list[np.ndarray | None]:
        batches = [slice(i, i + CHUNKS_PER_BATCH) for i in range(0, len(chunks), CHUNKS_PER_BATCH)]
        return [row for batch in batches for row in self._decode(chunks[batch], lengths[batch])]

    def _decode(self, chunks: Sequence[bytes], lengths: Sequence[int]) -> list[np.ndarray | None]:
        model, decoders = _categorical(), [_decoder(chunk) for chunk in chunks]
        codes = np.full((len(chunks), max(lengths) + 1), self.prior.codes)
        state, broken = self.prior.start(len(chunks)), set()
        for t in range(max(lengths)):
            weights = self.prior.step(codes[:, t : t + 1], state)
            for i in (i for i in range(len(chunks)) if t < lengths[i] and i not in broken):
                try:
                    codes[i, t + 1] = decoders[i].decode(model, weights[i])[0]
                except AssertionError:
                    broken.add(i)
        return [None if i in broken else codes[i, 1 : 1 + length] for i, length in enumerate(lengths)]


def _categorical() -> Any:
    import constriction

    return constriction.stream.model.Categorical(perfect=False)


def _encode(codes: np.ndarray, model: Any, *weights: np.ndarray) -> bytes:
    import constriction

    encoder = constriction.stream.queue.RangeEncoder()
    encoder.encode(codes.astype(np.int32), model, *weights)
    words: np.ndarray = encoder.get_compressed()
    # Zeros at the end are left out: the decoder reads zeros behind the end.
    return words.astype(">u4").tobytes().rstrip(b"\0")


def _decoder(chunk: bytes) -> Any:
    import constriction

    words = np.frombuffer(chunk + bytes(-len(chunk) % 4), ">u4")
    return constriction.stream.queue.RangeDecoder(words.astype(np.uint32))


def pack_melody(melody: Tensor) -> list[bytes]:
    """The chunks of a melody (M,) in semitones, each coded by itself."""
    levels = to_levels(melody)
    chunks = [levels[start : start + MELODY_CHUNK] for start in range(0, len(levels), MELODY_CHUNK)]
    return [_encode(chunk, _categorical(), WEIGHTS[[MEAN_LEVEL, *chunk[:-1]]]) for chunk in chunks]


def unpack_melody(chunks: Sequence[bytes | None], length: int) -> Tensor:
    """The melody (M,) of so many values; NaN in chunks that are None or that `pack_melody` cannot have returned."""
    parts = [torch.empty(0)]
    for i, chunk in enumerate(chunks):
        own = min(length - i * MELODY_CHUNK, MELODY_CHUNK)
        levels = None if chunk is None else _levels(chunk, own)
        parts.append(torch.full((own,), torch.nan) if levels is None else from_levels(levels))
    return torch.cat(parts)


def _levels(chunk: bytes, length: int) -> np.ndarray | None:
    """The levels of a chunk of a melody; None for bytes that are none."""
    decoder, model, levels = _decoder(chunk), _categorical(), [MEAN_LEVEL]
    try:
        for _ in range(length):
            levels.append(int(decoder.decode(model, WEIGHTS[levels[-1:]])[0]))
    except AssertionError:
        return None
    return np.array(levels[1:])

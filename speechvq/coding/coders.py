"""Ways of writing codes as bytes: of fixed length, by a histogram, under a prior. Each gives back exactly the codes.

The range coder is constriction's. Its models are made of whole numbers, and nothing else in them is a float.
"""

import hashlib
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from speechvq.coding.integer_prior import IntegerPrior
from speechvq.nn.prior import Prior

TOGETHER = 32  # chunks that a prior decodes side by side


class Coder:
    """The contract. number: in the file's header. tag: 4 bytes there that name the histogram or the prior, if any."""

    number: ClassVar[int]
    name: ClassVar[str]
    tag_size: ClassVar[int] = 4
    tag = b""

    def encode(self, chunks: Sequence[np.ndarray]) -> list[bytes]:
        """Codes (n,) of each chunk -> its bytes."""
        raise NotImplementedError

    def decode(self, chunks: Sequence[bytes], lengths: Sequence[int]) -> list[np.ndarray | None]:
        """The codes that `encode` was given, `lengths` codes a chunk; None for what it cannot have made."""
        raise NotImplementedError


class Fixed(Coder):
    """ceil(log2 K) bits a code, the highest first."""

    number, name, tag_size = 0, "fixed", 0

    def __init__(self, codes: int) -> None:
        self.codes, self.width = codes, max((codes - 1).bit_length(), 1)

    def encode(self, chunks: Sequence[np.ndarray]) -> list[bytes]:
        places = np.arange(self.width)[::-1]
        return [np.packbits(chunk[:, None] >> places & 1).tobytes() for chunk in chunks]

    def decode(self, chunks: Sequence[bytes], lengths: Sequence[int]) -> list[np.ndarray | None]:
        return [self._decode(*pair) for pair in zip(chunks, lengths, strict=True)]

    def _decode(self, chunk: bytes, length: int) -> np.ndarray | None:
        if len(chunk) != -(-length * self.width // 8):
            return None
        bits = np.unpackbits(np.frombuffer(chunk, np.uint8), count=length * self.width).reshape(length, -1)
        codes = bits.astype(np.int64) @ (1 << np.arange(self.width)[::-1])
        return codes if codes.max() < self.codes else None


class Static(Coder):
    """By how often each code was used in training: counts (K,) of whole numbers."""

    number, name = 1, "static"

    def __init__(self, counts: np.ndarray) -> None:
        self.weights = 2.0 * counts + 1  # none is impossible
        self.tag = hashlib.sha256(counts.astype("<i8").tobytes()).digest()[:4]

    def encode(self, chunks: Sequence[np.ndarray]) -> list[bytes]:
        return [_encode(chunk, self._model()) for chunk in chunks]

    def decode(self, chunks: Sequence[bytes], lengths: Sequence[int]) -> list[np.ndarray | None]:
        def draw(decoder: Any, length: int) -> np.ndarray | None:
            try:
                return decoder.decode(self._model(), length).astype(np.int64)
            except AssertionError:  # constriction's word for bytes that it cannot have written
                return None

        return [draw(_decoder(chunk), length) for chunk, length in zip(chunks, lengths, strict=True)]

    def _model(self) -> Any:
        import constriction  # not at import: only files need it

        return constriction.stream.model.Categorical(self.weights, perfect=False)


class UnderPrior(Coder):
    """By what a prior expects after the codes before, in its arithmetic of whole numbers."""

    number, name = 2, "prior"

    def __init__(self, prior: Prior, tag: bytes) -> None:
        self.exact, self.tag = IntegerPrior(prior), tag

    def encode(self, chunks: Sequence[np.ndarray]) -> list[bytes]:
        return [_encode(chunk, _categorical(), self._weights(chunk)) for chunk in chunks]

    def _weights(self, chunk: np.ndarray) -> np.ndarray:
        before = np.append(self.exact.codes, chunk[:-1])[None]
        return self.exact.step(before, self.exact.start(1))[0]

    def decode(self, chunks: Sequence[bytes], lengths: Sequence[int]) -> list[np.ndarray | None]:
        groups = range(0, len(chunks), TOGETHER)
        return [row for i in groups for row in self._decode(chunks[i : i + TOGETHER], lengths[i : i + TOGETHER])]

    def _decode(self, chunks: Sequence[bytes], lengths: Sequence[int]) -> list[np.ndarray | None]:
        model, decoders = _categorical(), [_decoder(chunk) for chunk in chunks]
        codes = np.full((len(chunks), max(lengths) + 1), self.exact.codes)
        state, broken = self.exact.start(len(chunks)), set()
        for t in range(max(lengths)):
            weights = self.exact.step(codes[:, t : t + 1], state)
            for i in (i for i in range(len(chunks)) if t < lengths[i] and i not in broken):
                try:
                    codes[i, t + 1] = decoders[i].decode(model, weights[i])[0]
                except AssertionError:
                    broken.add(i)
        return [None if i in broken else codes[i, 1 : 1 + length] for i, length in enumerate(lengths)]


KINDS: dict[int, type[Coder]] = {coder.number: coder for coder in (Fixed, Static, UnderPrior)}


def _categorical() -> Any:
    import constriction

    return constriction.stream.model.Categorical(perfect=False)


def _encode(codes: np.ndarray, model: Any, *weights: np.ndarray) -> bytes:
    import constriction

    encoder = constriction.stream.queue.RangeEncoder()
    encoder.encode(codes.astype(np.int32), model, *weights)
    # The decoder reads zeros behind the end.
    return encoder.get_compressed().astype(">u4").tobytes().rstrip(b"\0")


def _decoder(chunk: bytes) -> Any:
    import constriction

    words = np.frombuffer(chunk + bytes(-len(chunk) % 4), ">u4")
    return constriction.stream.queue.RangeDecoder(words.astype(np.uint32))

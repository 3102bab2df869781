"""The codes of packets."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from speechvq.coding.coders import Coder
from speechvq.coding.packets.framing import End, PacketReader, Payload, StreamHeader


class Codes(NamedTuple):
    """Codes (n,) int64 that have arrived; position: of the first, in codes from the beginning of the stream."""

    position: int
    codes: np.ndarray


class CodeReader:
    """Packets to codes, from bytes that arrive in pieces of any length.

    choose: returns the coder that a header asks for; what it raises is raised.
    """

    def __init__(self, choose: Callable[[StreamHeader], Coder]) -> None:
        self._choose, self._packets = choose, PacketReader()
        self._coder: Coder | None = None

    @property
    def header(self) -> StreamHeader | None:
        """The stream's; None until it has arrived."""
        return self._packets.header

    @property
    def start(self) -> int:
        """The position at which the header came."""
        return self._packets.start

    def push(self, data: bytes) -> Iterator[Codes | End]:
        """The codes that are complete with the next bytes (see `PacketReader`), if the coder can have written them."""
        yield from self._decoded(self._packets.push(data))

    def flush(self) -> Iterator[Codes | End]:
        """The rest, at the end of the stream."""
        yield from self._decoded(self._packets.flush())

    def _decoded(self, found: Iterator[Payload | End]) -> Iterator[Codes | End]:
        for item in found:
            if isinstance(item, End):
                yield item
                continue
            if self._coder is None:
                assert self.header is not None
                self._coder = self._choose(self.header)
            [codes] = self._coder.decode([item.data], [item.length])
            if codes is not None:
                yield Codes(item.position, codes)

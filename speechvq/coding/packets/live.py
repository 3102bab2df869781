"""Packets to speech and speech to packets, while they arrive."""

from collections.abc import Callable, Iterator

import torch
from numpy.typing import ArrayLike
from torch import Tensor

from speechvq.audio import SAMPLE_RATE
from speechvq.codec.streaming import CodeStream, SpeechStream
from speechvq.coding.coders import Coder
from speechvq.coding.packets.decoding import CodeReader, Codes
from speechvq.coding.packets.framing import End, PacketWriter, StreamHeader

LONGEST_GAP = 10.0  # seconds of silence in place of lost codes, however many they are


class PacketEncoder:
    """Samples in, packets out.

    stream: gives the codes.
    writer: of the packets.
    count: codes in a packet.
    """

    def __init__(self, stream: CodeStream, writer: PacketWriter, count: int) -> None:
        self._stream, self._writer, self._count = stream, writer, count
        self._waiting = torch.empty(0, dtype=torch.int64)

    def push(self, samples: ArrayLike | Tensor) -> Iterator[bytes]:
        """The packets that are complete with the next samples (T,) in [-1, 1]."""
        self._waiting = torch.cat([self._waiting, self._stream.push(samples)])
        yield from self._packets(self._count)

    def flush(self) -> Iterator[bytes]:
        """The packets that are left at the end."""
        self._waiting = torch.cat([self._waiting, self._stream.flush()])
        yield from self._packets(1)
        yield self._writer.end(self._stream.samples)

    def _packets(self, least: int) -> Iterator[bytes]:
        while len(self._waiting) >= least:
            codes, self._waiting = self._waiting[: self._count], self._waiting[self._count :]
            yield from self._writer.packets(codes.numpy())


class PacketDecoder:
    """Bytes in, samples out. The speech of codes that are lost is silent, and lasts as long as theirs, 10 s at most.

    choose: returns the coder that a header asks for.
    speech: opens the stream that decodes, once the header is there.
    """

    def __init__(self, choose: Callable[[StreamHeader], Coder], speech: Callable[[StreamHeader], SpeechStream]) -> None:
        self._reader, self._open = CodeReader(choose), speech
        self._speech: SpeechStream | None = None
        self._hop = 0
        self._start = self._given = 0  # the first code that is decoded; samples given so far
        self._codes = 0  # decoded so far
        self._lost: list[tuple[int, int]] = []  # samples that are to be silent
        self._end: int | None = None

    @property
    def begun(self) -> bool:
        """Whether there has been a header of a stream."""
        return self._reader.header is not None

    def push(self, data: bytes) -> Tensor:
        """The samples (T,) at 16 kHz that are known with the next bytes; often none.

        Raises SpeechVQError if the codes are of another model, or no speaker is named.
        """
        return self._decode(self._reader.push(data))

    def flush(self) -> Tensor:
        """The samples (T,) that are left at the end."""
        parts = [self._decode(self._reader.flush())]
        if self._speech is not None:
            if self._end is not None:
                parts.append(self._push(-(-self._end // self._hop), torch.empty(0, dtype=torch.int64)))
            parts.append(self._silenced(self._speech.flush()))
        return torch.cat(parts)

    def _decode(self, found: Iterator[Codes | End]) -> Tensor:
        parts = [torch.empty(0)]
        for item in found:
            if not isinstance(item, Codes):
                self._end = item.samples
                continue
            if self._speech is None:
                header = self._reader.header
                assert header is not None
                self._speech, self._hop = self._open(header), header.alphabet.hop_length
                self._start = item.position
            parts.append(self._push(item.position, torch.from_numpy(item.codes)))
        return torch.cat(parts)

    def _push(self, position: int, codes: Tensor) -> Tensor:
        """The samples that are known with the codes from a position on; those before it that have not come are lost."""
        assert self._speech is not None
        missing = max(position - self._start - self._codes, 0)
        longest = seconds_to_codes(LONGEST_GAP, self._hop)
        if missing > longest:
            self._start, missing = self._start + missing - longest, longest
        if missing:
            self._lost.append((self._codes * self._hop, (self._codes + missing) * self._hop))
        self._codes += missing + len(codes)
        return self._silenced(self._speech.push(torch.cat([torch.zeros(missing, dtype=torch.int64), codes])))

    def _silenced(self, wav: Tensor) -> Tensor:
        """The next samples, silent where codes were lost, and none behind the end."""
        wav = wav.clone() if self._lost else wav
        for first, end in self._lost:
            wav[max(first - self._given, 0) : max(end - self._given, 0)] = 0
        if self._end is not None:
            wav = wav[: max(self._end - self._start * self._hop - self._given, 0)]
        self._given += len(wav)
        self._lost = [(first, end) for first, end in self._lost if end > self._given]
        return wav


def seconds_to_codes(seconds: float, hop: int) -> int:
    """The number of codes, at least 1, nearest to a duration."""
    return max(round(seconds * SAMPLE_RATE / hop), 1)

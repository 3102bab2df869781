"""The recordings of which a file consists, and what their headers promise."""

import mmap
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from speechvq.audio.decoding.byte_range import ByteRange, native_name
from speechvq.audio.decoding.chunks import MPEG, Form, is_form, parse_form
from speechvq.audio.decoding.mpeg import Run, after_tag, find_runs, info_frame, parse_frame

LEFT_OVER = 1.0  # seconds of what follows a recording's end that are worth a warning
DUMP_HEADER = 21  # bytes of a MIDI sample dump before its packets
FLAC = b"fLaC\0\0\0\x22"
OGG_FIRST = re.compile(rb"OggS\0[\x02\x06]")  # a page that begins a stream


@dataclass(frozen=True)
class Part:
    """A recording within a file.

    path: the file.
    source: the bytes of the recording, as (start, end, what comes before them); None for the file as it is.
    declared: seconds that its header promises; None if it does not, or not in this file's format.
    most: the number of samples of each channel, where libsndfile would read more.
    stated: the number of samples by its header, where libsndfile reads on after them.
    quiet: whether the decoder is kept from writing on stderr, which that of MP3 does.
    left_over: seconds of data after its end by its header that are not read.
    """

    path: Path
    source: tuple[int, int, bytes] | None = None
    declared: float | None = None
    most: int | None = None
    quiet: bool = False
    left_over: float = 0.0
    stated: int | None = None

    def open(self) -> str | bytes | ByteRange:
        """What libsndfile is to read."""
        if self.source is None:
            return native_name(self.path)
        start, end, prefix = self.source
        return ByteRange(self.path, start, end, prefix)


@contextmanager
def mapped(path: Path) -> Iterator[bytes]:
    """The content of a file, which is read as it is looked at."""
    with path.open("rb") as file:
        if not path.stat().st_size:
            yield b""
            return
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            yield data  # type: ignore[misc]  # slices of it are bytes


def find_parts(path: Path, stated: Callable[[Part], int | None]) -> list[Part]:
    """The recordings in a file, in order.

    stated: gives the number of samples that libsndfile states of one; None if it cannot read it.
    """
    with mapped(path) as data:
        if is_form(data, 0):
            return _forms(path, data)
        if data[:8] == FLAC:
            return _flac(path, data)
        if data[:4] == b"OggS":
            return _ogg(path, data)
        if data[:2] == b"\xf0\x7e" and data[3:4] == b"\1" and len(data) > DUMP_HEADER:
            return [Part(path, most=_sample_dump(data))]
        if data[:4] == b".snd":
            return _sun(path, data)
        if parse_frame(data, after_tag(data, 0)) or path.suffix.lower() == ".mp3":
            return _mpeg(path, data, stated)
        return [Part(path, quiet=True)]


def _forms(path: Path, data: bytes) -> list[Part]:
    forms: list[Form] = []
    start = 0
    while is_form(data, start):
        form = parse_form(data, start)
        if form is None:
            break
        forms.append(form)
        start = form.follows
    return [_form(path, data, form, len(forms) == 1) for form in forms] or [Part(path)]


def _form(path: Path, data: bytes, form: Form, alone: bool) -> Part:
    is_cut = form.end is not None and form.end > len(data)
    declared = (form.end - form.data) / form.rate if is_cut and form.end and form.rate else None
    source = None if alone else (form.start, form.follows, b"")
    if form.end is None and data[form.start : form.start + 4] in (b"RIFF", b"RIFX"):  # libsndfile takes 0 for 0
        source = form.data, len(data), data[form.start : form.data - 4] + b"\xff\xff\xff\xff"
    left_over = 0.0
    if alone and form.rate and (len(data) - form.follows) / form.rate >= LEFT_OVER:
        left_over = (len(data) - form.follows) / form.rate
    return Part(path, source, declared, form.most, form.code in MPEG, left_over)


def _flac(path: Path, data: bytes) -> list[Part]:
    starts = [found.start() for found in re.finditer(re.escape(FLAC), data)] + [len(data)]
    parts = []
    for start, end in pairwise(starts):
        fields = int.from_bytes(data[start + 18 : start + 26], "big")
        rate, samples = fields >> 44, fields & (1 << 36) - 1
        declared = samples / rate if rate and samples else None
        # Without a number of samples libFLAC reads all frames, and not those alone that the number allows.
        prefix = data[start : start + 18] + (fields >> 36 << 36).to_bytes(8, "big")
        parts.append(Part(path, (start + 26, end, prefix), declared, stated=samples or None))
    return parts


def _ogg(path: Path, data: bytes) -> list[Part]:
    """Chained streams: one begins after a page that does not begin one."""
    starts, begins = [0], True
    position = end = 0
    while position + 27 <= len(data) and data[position : position + 4] == b"OggS":
        first = bool(data[position + 5] & 2)
        if first and not begins:
            starts.append(position)
        begins = first
        segments = data[position + 26]
        position = end = position + 27 + segments + sum(data[position + 27 : position + 27 + segments])
        if data[position : position + 4] != b"OggS":
            position = data.find(b"OggS", position)
            if position < 0:
                break
    if len(starts) == 1 and end >= len(data):
        return [Part(path)]
    ends = [*starts[1:], min(end, len(data))]
    return [Part(path, (start, end, b"")) for start, end in zip(starts, ends, strict=True)]


def _sample_dump(data: bytes) -> int:
    """The number of samples that a MIDI sample dump holds: libsndfile repeats its last packet for what is missing."""
    bytes_per_sample = (data[6] + 6) // 7 or 1
    return (len(data) - DUMP_HEADER) // 127 * (120 // bytes_per_sample)


def _sun(path: Path, data: bytes) -> list[Part]:
    """An AU file, whose size is 0 if a program never came to write it."""
    begin, size = (int.from_bytes(data[i : i + 4], "big") for i in (4, 8))
    if size == 0 and 24 <= begin < len(data):
        return [Part(path, (12, len(data), data[:8] + b"\xff\xff\xff\xff"))]
    return [Part(path)]


def _mpeg(path: Path, data: bytes, stated: Callable[[Part], int | None]) -> list[Part]:
    runs = find_runs(data)
    whole = Part(path, quiet=True)
    if not runs:
        return [whole]
    if len(runs) == 1:
        [run] = runs
        if run.declared is None:
            samples = stated(whole)
            is_whole = samples is not None and samples + run.first.samples >= run.samples
        else:
            is_whole = run.declared + 1 >= run.frames
        if is_whole:
            return [Part(path, declared=_seconds(run), quiet=True)]
    return [_run(path, data, run) for run in runs]


def _run(path: Path, data: bytes, run: Run) -> Part:
    if (run.declared is not None and run.declared + 1 >= run.frames) or run.first.kind[1] != 3:
        return Part(path, (run.start, run.end, b""), _seconds(run), quiet=True)
    return Part(path, (run.audio, run.end, info_frame(data, run)), quiet=True)


def _seconds(run: Run) -> float | None:
    """The seconds that a recording promises if its file holds fewer frames."""
    if run.declared is None or run.declared <= run.frames + 1:
        return None
    return run.declared * run.first.samples / run.first.sample_rate

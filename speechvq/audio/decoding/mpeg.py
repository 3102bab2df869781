"""The frames of an MP3 file (ISO 11172-3, 13818-3), which has no header that says its length."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

# By version (3: MPEG 1, 2: MPEG 2, 0: MPEG 2.5): Hz.
SAMPLE_RATES = {3: (44_100, 48_000, 32_000), 2: (22_050, 24_000, 16_000), 0: (11_025, 12_000, 8_000)}
# By MPEG 1 or not, and layer: kbit/s.
BIT_RATES = {
    (True, 1): (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (True, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, 1): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (False, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (False, 3): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
SYNC = re.compile(rb"\xff[\xe2-\xe7\xf2-\xff][\x10-\x1b\x20-\x2b\x30-\x3b\x40-\x4b\x50-\x5b\x60-\x6b\x70-\x7b\x80-\x8b"
                  rb"\x90-\x9b\xa0-\xab\xb0-\xbb\xc0-\xcb\xd0-\xdb\xe0-\xeb]")  # fmt: skip


@dataclass(frozen=True)
class Frame:
    """The header of a frame.

    size: in bytes, with the header.
    samples: of each channel.
    sample_rate: in Hz.
    kind: what does not change within a recording: version, layer, sample rate and whether it is mono.
    side: bytes of side information of layer 3, after the header.
    """

    size: int
    samples: int
    sample_rate: int
    kind: tuple[int, ...]
    side: int


@dataclass
class Run:
    """The frames of one recording.

    start, end: its bytes, with those of the frame that holds no audio but says the number of frames.
    audio: where its first frame of audio begins.
    frames: its whole frames of audio.
    declared: the number of frames that it says it has; None if it does not say so.
    first: the header of its first frame.
    """

    start: int
    end: int
    audio: int
    frames: int
    declared: int | None
    first: Frame

    @property
    def samples(self) -> int:
        """The number of samples of its frames."""
        return self.frames * self.first.samples


def parse_frame(data: bytes, start: int) -> Frame | None:
    """The header of a frame at `start`; None if there is none, or one of a free bit rate."""
    if not SYNC.match(data, start) or start + 4 > len(data):
        return None
    version, layer = data[start + 1] >> 3 & 3, 4 - (data[start + 1] >> 1 & 3)
    rate_index, padding = data[start + 2] >> 2 & 3, data[start + 2] >> 1 & 1
    if version == 1 or layer == 4:
        return None
    mono = int(data[start + 3] >> 6 == 3)
    sample_rate = SAMPLE_RATES[version][rate_index]
    bit_rate = 1000 * BIT_RATES[version == 3, layer][(data[start + 2] >> 4) - 1]
    if layer == 1:
        size, samples = (12 * bit_rate // sample_rate + padding) * 4, 384
    else:
        samples = 576 if layer == 3 and version != 3 else 1152
        size = samples // 8 * bit_rate // sample_rate + padding
    side = (32, 17)[mono] if version == 3 else (17, 9)[mono]
    return Frame(size, samples, sample_rate, (version, layer, sample_rate, mono), side)


def find_runs(data: bytes) -> list[Run]:
    """The recordings of which MP3 data consist; another begins with a frame that says a number of frames, or that is of
    another kind."""
    runs: list[Run] = []
    for start, frame in _frames(data):
        declared = _declared_frames(data, start, frame)
        end = start + frame.size
        if declared is not None:
            runs.append(Run(start, end, end, 0, declared or None, frame))
        elif not runs or runs[-1].first.kind != frame.kind:
            runs.append(Run(start, end, start, 1, None, frame))
        else:
            runs[-1].frames, runs[-1].end = runs[-1].frames + 1, end
    return [run for run in runs if run.frames]


def _frames(data: bytes) -> Iterator[tuple[int, Frame]]:
    """Where each whole frame begins, and its header; a frame counts if another of its kind or the end follows it."""
    position, kind = after_tag(data, 0), None
    while True:
        frame = parse_frame(data, position)
        if frame and (frame.kind == kind or _follows(data, position, frame)):
            if position + frame.size > len(data):
                return
            yield position, frame
            position, kind = position + frame.size, frame.kind
            continue
        kind = None
        after = after_tag(data, position)
        found = SYNC.search(data, max(after, position + 1) if after == position else after)
        if not found:
            return
        position = found.start()


def _follows(data: bytes, start: int, frame: Frame) -> bool:
    """Whether a frame of the same kind, a tag, or the end of the data follows a frame."""
    end = start + frame.size
    following = parse_frame(data, end)
    return end == len(data) or (following is not None and following.kind == frame.kind) or data[end : end + 3] == b"TAG"


def after_tag(data: bytes, start: int) -> int:
    """Where an ID3v2 tag that begins at `start` ends; `start` if there is none."""
    if data[start : start + 3] != b"ID3" or start + 10 > len(data):
        return start
    size = 0
    for byte in data[start + 6 : start + 10]:
        size = size << 7 | byte & 127
    return start + 10 + size + 10 * (data[start + 5] >> 4 & 1)


def _declared_frames(data: bytes, start: int, frame: Frame) -> int | None:
    """The number of frames that a frame of Xing or VBRI declares, 0 if it leaves that out; None for one of audio."""
    tag = start + 4 + frame.side
    if data[tag : tag + 4] in (b"Xing", b"Info"):
        has_frames = data[tag + 7 : tag + 8] and data[tag + 7] & 1
        return int.from_bytes(data[tag + 8 : tag + 12], "big") if has_frames else 0
    if data[start + 36 : start + 40] == b"VBRI":
        return int.from_bytes(data[start + 50 : start + 54], "big")
    return None


def info_frame(data: bytes, run: Run) -> bytes:
    """A frame without audio that says the right number of frames of a run of layer 3, to be put before it."""
    header = bytearray(data[run.audio : run.audio + 4])
    header[1] |= 1  # no checksum
    header[2] = 0xA0 | header[2] & 0x0C  # a bit rate whose frames have room for it, and no padding
    frame = parse_frame(bytes(header), 0)
    assert frame is not None
    content = bytes(header) + bytes(frame.side) + b"Xing" + (1).to_bytes(4, "big") + run.frames.to_bytes(4, "big")
    return content.ljust(frame.size, b"\0")

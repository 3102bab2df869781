"""Phone times and the files that hold them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from speechvq import SpeechVQError
from speechvq.checkpoint import atomic_write

UNITS = 10_000_000  # HTK counts in 100 ns
TIMIT_RATE = 16_000  # TIMIT counts in samples

# Lee and Hon 1989, table II: a symbol, and those of TIMIT that become it; so 61 become 39, `q` left out.
FOLDED = "aa ao, ah ax ax-h, er axr, hh hv, ih ix, l el, m em, n en nx, ng eng, sh zh, uw ux, sil"
FOLDED += " pcl tcl kcl bcl dcl gcl h# pau epi"
TIMIT_FOLDED = {old: row.split()[0] for row in FOLDED.split(",") for old in row.split()}


@dataclass(frozen=True)
class Segment:
    """A labelled stretch of time; start and end in seconds."""

    start: float
    end: float
    label: str


def read_lab(path: Path) -> list[Segment]:
    """Read an HTK label file: lines of start, end (100 ns) and label.

    SpeechVQError, naming file and line, for anything else.
    """
    return _read(path, UNITS, "100 ns")


def read_phn(path: Path) -> list[Segment]:
    """Read a TIMIT label file, lines of start, end (samples) and symbol, folded to the 39 of Lee and Hon.

    The glottal stop, which they leave out, is a gap. SpeechVQError, naming file and line, for anything else.
    """
    segments = [s for s in _read(path, TIMIT_RATE, "samples") if s.label != "q"]
    return [Segment(s.start, s.end, TIMIT_FOLDED.get(s.label, s.label)) for s in segments]


def frame_labels(
    segments: Sequence[Segment], frames: int, hop: float, offset: float = 0.0, majority: bool = False
) -> list[str | None]:
    """The label of each of `frames` frames, `hop` seconds long: None where there is none.

    That at the centre of frame t, at (t + 1/2) * hop + offset seconds; with `majority`, the one that has the largest
    part of the frame moved by offset. Segments are in the order of time and do not overlap.
    """
    ends = np.array([segment.end for segment in segments])
    starts = np.array([segment.start for segment in segments])
    if majority:
        begin = np.arange(frames)[:, None] * hop + offset
        parts = np.minimum(ends, begin + hop) - np.maximum(starts, begin)
        return [_longest(segments, row) for row in parts.clip(0)]
    centres = (np.arange(frames) + 0.5) * hop + offset
    places = np.searchsorted(ends, centres, side="right")
    found = [(i, centre) for i, centre in zip(places, centres, strict=True)]
    return [segments[i].label if i < len(segments) and starts[i] <= centre else None for i, centre in found]


def _longest(segments: Sequence[Segment], parts: np.ndarray) -> str | None:
    totals: dict[str, float] = {}
    for segment, part in zip(segments, parts, strict=True):
        if part > 0:
            totals[segment.label] = totals.get(segment.label, 0.0) + part
    return max(totals, key=totals.__getitem__, default=None)


def _read(path: Path, units: int, name: str) -> list[Segment]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SpeechVQError(f"{path}: cannot be read as labels ({error})") from None
    return [_segment(line, f"{path}, line {i}", units, name) for i, line in enumerate(lines, 1) if line.strip()]


def _segment(line: str, where: str, units: int, name: str) -> Segment:
    fields = line.split()
    try:
        start, end = int(fields[0]), int(fields[1])
    except (IndexError, ValueError):
        start, end = 1, 0
    if len(fields) != 3 or not 0 <= start <= end:
        raise SpeechVQError(f"{where}: not 'start end label' in {name}: {line.strip()!r}")
    return Segment(start / units, end / units, fields[2])


def write_lab(path: Path, segments: Sequence[Segment]) -> None:
    """Write an HTK label file."""
    lines = [f"{round(s.start * UNITS)} {round(s.end * UNITS)} {s.label}\n" for s in segments]
    with atomic_write(path) as temporary:
        temporary.write_text("".join(lines), encoding="utf-8")

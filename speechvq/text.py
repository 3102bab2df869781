"""Phone times and the files that hold them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from speechvq import SpeechVQError
from speechvq.checkpoint import atomic_write

UNITS = 10_000_000  # HTK counts in 100 ns


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
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SpeechVQError(f"{path}: cannot be read as labels ({error})") from None
    return [_segment(line, f"{path}, line {i}") for i, line in enumerate(lines, 1) if line.strip()]


def _segment(line: str, where: str) -> Segment:
    fields = line.split()
    try:
        start, end = int(fields[0]), int(fields[1])
    except (IndexError, ValueError):
        raise SpeechVQError(f"{where}: not 'start end label' in 100 ns: {line.strip()!r}") from None
    if len(fields) != 3 or not 0 <= start <= end:
        raise SpeechVQError(f"{where}: not 'start end label' in 100 ns: {line.strip()!r}")
    return Segment(start / UNITS, end / UNITS, fields[2])


def write_lab(path: Path, segments: Sequence[Segment]) -> None:
    """Write an HTK label file."""
    lines = [f"{round(s.start * UNITS)} {round(s.end * UNITS)} {s.label}\n" for s in segments]
    with atomic_write(path) as temporary:
        temporary.write_text("".join(lines), encoding="utf-8")

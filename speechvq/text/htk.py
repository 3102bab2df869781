"""Label files of lines: HTK and TIMIT."""

from collections.abc import Sequence
from pathlib import Path

from speechvq import SpeechVQError
from speechvq.files import atomic_write
from speechvq.text.phones import TIMIT_FOLDED
from speechvq.text.segments import Segment

HTK_RATE = 10_000_000  # HTK's units of time in a second (100 ns)
TIMIT_RATE = 16_000  # TIMIT's units of time in a second (samples)


def read_lab(path: Path) -> list[Segment]:
    """Read an HTK label file, lines of start, end (100 ns) and label.

    Raises SpeechVQError, naming file and line, if it holds anything else.
    """
    return _read(path, HTK_RATE, "100 ns")


def read_phn(path: Path) -> list[Segment]:
    """Read a TIMIT label file, lines of start, end (samples) and symbol, folded to the 39 of Lee and Hon.

    The glottal stop, which they leave out, is a gap.
    Raises SpeechVQError, naming file and line, if it holds anything else.
    """
    segments = [s for s in _read(path, TIMIT_RATE, "samples") if s.label != "q"]
    return [Segment(s.start, s.end, TIMIT_FOLDED.get(s.label, s.label)) for s in segments]


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
    lines = [f"{round(s.start * HTK_RATE)} {round(s.end * HTK_RATE)} {s.label}\n" for s in segments]
    with atomic_write(path) as temporary:
        temporary.write_text("".join(lines), encoding="utf-8")

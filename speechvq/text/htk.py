"""Label files of lines: HTK and HTS, ESPS xwaves, and TIMIT."""

import math
import re
from collections.abc import Sequence
from pathlib import Path

from speechvq import SpeechVQError
from speechvq.files import atomic_write
from speechvq.text.decoding import decoded
from speechvq.text.phones import TIMIT_FOLDED
from speechvq.text.segments import Segment

HTK_RATE = 10_000_000  # HTK's units of time in a second (100 ns)
TIMIT_RATE = 16_000  # TIMIT's units of time in a second (samples)
LONGEST_IN_SECONDS = 100_000.0  # a larger time with a decimal point is in units of 100 ns: more than a day, or 10 ms
MASTER = "#!MLF!#"  # the first line of HTK's master label files
TIMED = re.compile(r"\s*\d+(\.\d+)?\s+\d+(\.\d+)?\s+\S")  # start, end, label; or xwaves' end, colour, label
STATE = re.compile(r"(.+)\[(\d{1,3})\]")

Line = tuple[str, str]  # file and number of a line for messages, and the line


def read_lab(path: Path) -> list[Segment]:
    """Read an HTK label file: lines of start, end (100 ns, or seconds with a decimal point), label, and perhaps scores.

    The states of a phone (HTS) are joined. Also read: a master label file of one recording, and the label files of ESPS
    xwaves (CMU ARCTIC), with lines of end (seconds), colour and label after a line `#`.
    Raises SpeechVQError, naming file and line, if it holds anything else.
    """
    lines = _lines(path)
    rows = [line.strip() for _, line in lines]
    if "#" in rows:
        return _xwaves(lines[rows.index("#") + 1 :])
    if rows and rows[0] == MASTER:
        if sum(row.startswith('"') for row in rows) > 1:
            raise SpeechVQError(f"{path}: a master label file of several recordings; split it into a file for each")
        lines = [line for line, row in zip(lines, rows, strict=True) if row not in (MASTER, ".") and row[0] != '"']
    with_point = bool(lines) and "." in "".join(lines[0][1].split()[1:2])
    segments = [_segment(line, with_point, "100 ns") for line in lines]
    seconds = with_point and segments[-1].end < LONGEST_IN_SECONDS
    return _joined_states([_scaled(segment, 1 if seconds else HTK_RATE) for segment in segments])


def read_phn(path: Path) -> list[Segment]:
    """Read a TIMIT label file, lines of start, end (samples) and symbol, folded to the 39 of Lee and Hon.

    The glottal stop, which they leave out, is a gap.
    Raises SpeechVQError, naming file and line, if it holds anything else.
    """
    segments = [_scaled(_segment(line, False, "samples"), TIMIT_RATE) for line in _lines(path)]
    return [Segment(s.start, s.end, TIMIT_FOLDED.get(s.label, s.label)) for s in segments if s.label != "q"]


def is_transcript(path: Path) -> bool:
    """Whether a .lab file holds text without times, as in corpora of the Montreal Forced Aligner.

    Raises SpeechVQError if it cannot be read as text.
    """
    lines = [line for _, line in _lines(path)]
    return bool(lines) and not any(TIMED.match(line) or line.strip() in ("#", MASTER) for line in lines)


def _lines(path: Path) -> list[Line]:
    """The lines of a file that are not blank."""
    lines = enumerate(decoded(path).split("\n"), 1)
    return [(f"{path}, line {i}", line) for i, line in lines if line.strip()]


def _segment(line: Line, with_point: bool, units: str) -> Segment:
    """A line of start, end and label; what follows is not read.

    with_point: whether the end has a decimal point
    units: of its times, for messages
    """
    where, text = line
    fields = text.split()
    number = r"\d+\.\d+" if with_point else r"\d+"
    fits = len(fields) >= 3 and re.fullmatch(r"\d+(\.\d+)?" if with_point else number, fields[0])
    if not fits or not re.fullmatch(number, fields[1]) or not float(fields[0]) <= float(fields[1]) < math.inf:
        raise SpeechVQError(f"{where}: not 'start end label' in {units}: {text.strip()!r}")
    return Segment(float(fields[0]), float(fields[1]), fields[2])


def _scaled(segment: Segment, rate: int) -> Segment:
    return Segment(segment.start / rate, segment.end / rate, segment.label)


def _xwaves(lines: Sequence[Line]) -> list[Segment]:
    segments, start = list[Segment](), 0.0
    for where, text in lines:
        fields = re.split(r"\s+", text.strip().partition(";")[0].strip(), maxsplit=2)
        if not re.fullmatch(r"\d+(\.\d+)?", fields[0]) or not start <= float(fields[0]) < math.inf or len(fields) < 2:
            raise SpeechVQError(f"{where}: not 'end colour label' in seconds: {text.strip()!r}")
        segments.append(Segment(start, float(fields[0]), fields[2] if len(fields) > 2 else ""))
        start = segments[-1].end
    return segments


def _joined_states(segments: Sequence[Segment]) -> list[Segment]:
    """Neighbouring states of a phone (label[2], label[3], ...) as one segment."""
    joined: list[Segment] = []
    before = ("", 0)  # label and state of the last segment
    for segment in segments:
        match = STATE.fullmatch(segment.label)
        label, state = (match[1], int(match[2])) if match else (segment.label, 0)
        if joined and label == before[0] and 0 < before[1] < state:
            joined[-1] = Segment(joined[-1].start, segment.end, label)
        else:
            joined.append(Segment(segment.start, segment.end, label))
        before = label, state
    return joined


def write_lab(path: Path, segments: Sequence[Segment]) -> None:
    """Write an HTK label file."""
    lines = [f"{round(s.start * HTK_RATE)} {round(s.end * HTK_RATE)} {s.label}\n" for s in segments]
    with atomic_write(path) as temporary:
        temporary.write_text("".join(lines), encoding="utf-8")

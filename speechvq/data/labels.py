"""Phone labels: segments of time, and their files (TIMIT, HTK, Praat TextGrid)."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from speechvq import SpeechVQError
from speechvq.data.phones import ARPABET, ESPEAK, TIMIT_FOLDED, arpabet
from speechvq.extras import needed_for
from speechvq.files import atomic_write

HTK_RATE = 10_000_000  # HTK's units of time in a second (100 ns)
TIMIT_RATE = 16_000  # TIMIT's units of time in a second (samples)


@dataclass(frozen=True)
class Segment:
    """A labelled stretch of time.

    start, end: in seconds
    label: a phone, or a word
    """

    start: float
    end: float
    label: str


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


def frame_labels(
    segments: Sequence[Segment], frames: int, hop: float, offset: float = 0.0, majority: bool = False
) -> list[str | None]:
    """The label of each frame: that at its centre, or that of its largest part; None where there is none.

    segments: in the order of time, without overlaps
    frames: number of frames
    hop: length of a frame, in seconds
    offset: time at which the first frame begins, in seconds
    majority: take the label that has the largest part of the frame, not that at the centre
    """
    ends = np.array([segment.end for segment in segments])
    starts = np.array([segment.start for segment in segments])
    if majority:
        begin = np.arange(frames)[:, None] * hop + offset
        parts = np.minimum(ends, begin + hop) - np.maximum(starts, begin)  # (frames, segments), in seconds
        return [_longest(segments, row) for row in parts.clip(0)]
    centres = (np.arange(frames) + 0.5) * hop + offset
    candidates = np.searchsorted(ends, centres, side="right")  # the first segment that ends after each centre
    found = zip(candidates, centres, strict=True)
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
    lines = [f"{round(s.start * HTK_RATE)} {round(s.end * HTK_RATE)} {s.label}\n" for s in segments]
    with atomic_write(path) as temporary:
        temporary.write_text("".join(lines), encoding="utf-8")


def read_textgrid(path: Path, tier: str = "phones") -> list[Segment]:
    """Read the intervals of a Praat TextGrid, empty ones too, with the label ''.

    tier: name of the tier, which may follow a speaker's name ("p225 - phones"); the only interval tier of a file may
        have another name
    Raises SpeechVQError if the file is not a TextGrid, has no such tier, or is cut off.
    """
    with needed_for("reading .TextGrid files", "align"):
        from praatio import textgrid

    try:
        grid = textgrid.openTextgrid(str(path), includeEmptyIntervals=True, reportingMode="silence")
    except Exception as error:  # praatio's parser raises many kinds of errors
        raise SpeechVQError(f"{path}: cannot be read as a TextGrid ({_line(error)})") from None
    tiers = {one.name: one for one in grid.tiers if isinstance(one, textgrid.IntervalTier)}
    kinds = {name: name.lower().split(" - ")[-1] for name in tiers}
    names = [name for name in tiers if kinds[name] == tier or (len(tiers) == 1 and kinds[name] != "words")]
    if len(names) != 1:
        raise SpeechVQError(f"{path}: which tier is '{tier}'? It has {', '.join(tiers) or 'none'}")
    chosen = tiers[names[0]]
    if not chosen.entries or chosen.entries[-1].end < chosen.maxTimestamp - 1e-3:
        raise SpeechVQError(f"{path}: the tier '{names[0]}' ends before it should: is the file cut off?")
    return [Segment(float(start), float(end), label) for start, end, label in chosen.entries]


def _line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def write_textgrid(path: Path, segments: Sequence[Segment], words: Sequence[Segment] | None = None) -> None:
    """Write a Praat TextGrid from 0 to the last end; gaps become empty intervals.

    segments: of the tier `phones`
    words: of the tier `words`; None for no such tier
    Raises SpeechVQError if segments overlap or have no length, or there are none.
    """
    with needed_for("writing .TextGrid files", "align"):
        from praatio import textgrid
        from praatio.utilities.errors import PraatioException

    if not segments:
        raise SpeechVQError(f"{path}: a TextGrid without segments cannot be written")
    tiers = {"words": words or [], "phones": segments}
    end = max(segment.end for tier in tiers.values() for segment in tier)
    grid = textgrid.Textgrid(0.0, end)
    try:
        for name in tiers if words is not None else ["phones"]:
            entries = [(s.start, s.end, s.label) for s in tiers[name]]
            grid.addTier(textgrid.IntervalTier(name, entries, 0.0, end))
        with atomic_write(path) as temporary:
            # Short: praatio does not read the exponents that it writes into the long form.
            grid.save(str(temporary), "short_textgrid", includeBlankSpaces=True, minimumIntervalLength=None)
    except PraatioException as error:
        raise SpeechVQError(f"{path}: {_line(error)}") from None


_READERS = {".textgrid": read_textgrid, ".lab": read_lab, ".phn": read_phn}
LABEL_SUFFIXES = tuple(_READERS)  # in lower case


def read_labels(path: Path) -> list[Segment]:
    """Read a .TextGrid, .lab or .phn file, its labels as `arpabet` writes them.

    A file that holds a label of espeak-ng alone is the demo corpus's.
    Raises SpeechVQError, naming the file, if a label is unknown, or segments are not in the order of time.
    """
    if path.suffix.lower() not in _READERS:
        raise SpeechVQError(f"{path}: labels are {', '.join(LABEL_SUFFIXES)} files")
    segments = _READERS[path.suffix.lower()](path)
    for first, second in itertools.pairwise(segments):
        if second.start < first.end - 1e-6:
            raise SpeechVQError(f"{path}: '{second.label}' at {second.start:g} s begins before '{first.label}' ends")
    espeak = any(s.label in ESPEAK and s.label.lower() not in ARPABET for s in segments)
    try:
        return [Segment(s.start, s.end, arpabet(s.label, espeak)) for s in segments]
    except SpeechVQError as error:
        raise SpeechVQError(f"{path}: {error}") from None

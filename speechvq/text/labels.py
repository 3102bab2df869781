"""Files of phone labels of any kind, read into one inventory of phones."""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from speechvq import SpeechVQError
from speechvq.text.decoding import decoded
from speechvq.text.htk import read_lab, read_phn
from speechvq.text.phones import GLOTTAL_STOP, phones_of
from speechvq.text.segments import Segment
from speechvq.text.textgrid import read_textgrid

LABEL_SUFFIXES = (".textgrid", ".lab", ".phn")  # in lower case


@dataclass(frozen=True)
class LabelReading:
    """How label files are read.

    tier: name of the tier of phones in TextGrids; '' for the usual ones
    symbols: the phones of symbols that speechvq does not know, or knows otherwise
    """

    tier: str = ""
    symbols: Mapping[str, str] = field(default_factory=dict)


USUAL = LabelReading()


def read_labels(path: Path, how: LabelReading = USUAL) -> list[Segment]:
    """Read a .TextGrid, .lab or .phn file, its labels as `phones_of` reads them; what is no phone is a gap.

    Raises SpeechVQError, naming the file, if a label is unknown, or segments are not in the order of time.
    """
    suffix = path.suffix.lower()
    if suffix not in LABEL_SUFFIXES:
        raise SpeechVQError(f"{path}: labels are {', '.join(LABEL_SUFFIXES)} files")
    if suffix == ".textgrid":
        segments = read_textgrid(path, how.tier)
    else:
        segments = read_lab(path) if suffix == ".lab" else read_phn(path)
    for first, second in itertools.pairwise(segments):
        if second.start < first.end - 1e-6:
            raise SpeechVQError(f"{path}: '{second.label}' at {second.start:g} s begins before '{first.label}' ends")
    try:
        phones = phones_of([segment.label for segment in segments], how.symbols)
    except SpeechVQError as error:
        raise SpeechVQError(f"{path}: {error}") from None
    rows = zip(segments, phones, strict=True)
    return [Segment(segment.start, segment.end, phone) for segment, phone in rows if phone is not None]


def read_map(path: Path) -> dict[str, str]:
    """Read a file of lines with a symbol, white space and its phone; `sil` for silence and noise, `-` for no phone.

    Raises SpeechVQError, naming the line, if it holds anything else, or a symbol twice.
    """
    symbols: dict[str, str] = {}
    for i, line in enumerate(decoded(path).split("\n"), 1):
        fields = line.split()
        if not fields:
            continue
        if len(fields) != 2 or fields[0] in symbols:
            raise SpeechVQError(f"{path}, line {i}: not a symbol and its phone, or a symbol twice: {line.strip()!r}")
        symbols[fields[0]] = GLOTTAL_STOP if fields[1] == "-" else fields[1]
    if not symbols:
        raise SpeechVQError(f"{path}: holds no symbols")
    return symbols

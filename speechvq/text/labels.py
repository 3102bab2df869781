"""Files of phone labels of any kind, read into one inventory of phones."""

import itertools
from pathlib import Path

from speechvq import SpeechVQError
from speechvq.text.htk import read_lab, read_phn
from speechvq.text.phones import ARPABET, ESPEAK, arpabet
from speechvq.text.segments import Segment
from speechvq.text.textgrid import read_textgrid

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

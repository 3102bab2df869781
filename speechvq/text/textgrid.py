"""Praat TextGrids."""

import itertools
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from speechvq import SpeechVQError
from speechvq.extras import needed_for
from speechvq.files import atomic_write
from speechvq.text.decoding import decoded
from speechvq.text.segments import Segment

# Tiers of phones, the first that a file has: of the Montreal Forced Aligner, P2FA and FAVE, WebMAUS, and others.
PHONE_TIERS = ("phones", "phone", "mau", "phonemes", "phoneme", "segments", "segment")
WORD_TIERS = ("words", "word", "ort-mau", "kan-mau")
# What Praat reads of a text file: quoted texts, flags, and numbers that stand alone. All else is for people.
TOKEN = re.compile(r'"((?:[^"]|"")*)"|<(\w+)>|(?<!\S)(-?\d+(?:\.\d*)?(?:[eE][-+]?\d+)?)(?!\S)')


class Tier(NamedTuple):
    """A tier of intervals.

    name: as written
    end: where it ends, in seconds
    segments: its intervals
    """

    name: str
    end: float
    segments: list[Segment]

    @property
    def kind(self) -> str:
        """The name in lower case, without the speaker's before it ("p225 - phones")."""
        return self.name.lower().split(" - ")[-1].strip()


def read_textgrid(path: Path, tier: str = "") -> list[Segment]:
    """Read the intervals of a tier of a Praat TextGrid, empty ones too, with the label ''.

    tier: its name, in either case, with or without a speaker's name before it ("p225 - phones"); '' for that of phones
        by a usual name, or the only one of a file, whatever its name
    Raises SpeechVQError if the file is not a TextGrid, has no such tier, or is cut off.
    """
    text = decoded(path)
    try:
        tiers = list(_tiers(text))
    except ValueError as error:
        raise SpeechVQError(f"{path}: cannot be read as a TextGrid ({error})") from None
    chosen = _chosen(tiers, tier.lower())
    if len(chosen) != 1:
        names = ", ".join(one.name for one in tiers) or "none"
        raise SpeechVQError(f"{path}: which tier is '{tier or 'phones'}'? It has {names} (--tier NAME)")
    name, end, segments = chosen[0]
    if not segments or segments[-1].end < end - 1e-3:
        raise SpeechVQError(f"{path}: the tier '{name}' ends before it should: is the file cut off?")
    return segments


def _chosen(tiers: Sequence[Tier], name: str) -> list[Tier]:
    if name:
        return [one for one in tiers if one.name.lower() == name] or [one for one in tiers if one.kind == name]
    for usual in PHONE_TIERS:
        found = [one for one in tiers if one.kind == usual]
        if found:
            return found
    return [one for one in tiers if len(tiers) == 1 and one.kind not in WORD_TIERS]


def _tiers(text: str) -> Iterator[Tier]:
    """The interval tiers of a TextGrid in Praat's long or short form.

    Raises ValueError if it is something else.
    """
    tokens = TOKEN.finditer(text)
    if _texts(tokens, 2) not in (["ooTextFile", "TextGrid"], ["ooTextFile short", "TextGrid"]):
        raise ValueError("not a text file of Praat with a TextGrid")
    _numbers(tokens, 2)
    if (flag := _next(tokens)[2]) != "exists":
        raise ValueError(f"no tiers: '{flag}'" if flag else "no flag <exists>")
    for _ in range(int(_numbers(tokens, 1)[0])):
        kind, name = _texts(tokens, 2)
        _, end, size = _numbers(tokens, 3)
        if kind == "IntervalTier":
            segments = [_segment(tokens, name) for _ in range(int(size))]
            for first, second in itertools.pairwise(segments):
                if second.start < first.end - 1e-6:
                    raise ValueError(f"in the tier '{name}' an interval begins at {second.start:g} s, inside another")
            yield Tier(name, end, segments)
        elif kind == "TextTier":
            for _ in range(int(size)):
                _numbers(tokens, 1)
                _texts(tokens, 1)
        else:
            raise ValueError(f"no kind of tier: '{kind}'")


def _segment(tokens: Iterator[re.Match[str]], name: str) -> Segment:
    start, end = _numbers(tokens, 2)
    (label,) = _texts(tokens, 1)
    if not start <= end:
        raise ValueError(f"an interval of the tier '{name}' is from {start:g} to {end:g} s")
    return Segment(start, end, label.strip())


def _texts(tokens: Iterator[re.Match[str]], count: int) -> list[str]:
    found = [_next(tokens) for _ in range(count)]
    for token in found:
        if token[1] is None:
            raise ValueError(f"'{token[0][:20]}' where a text in quotes belongs")
    return [token[1].replace('""', '"') for token in found]


def _numbers(tokens: Iterator[re.Match[str]], count: int) -> list[float]:
    found = [_next(tokens) for _ in range(count)]
    for token in found:
        if token[3] is None or math.isinf(float(token[3])):
            raise ValueError(f"'{token[0][:20]}' where a number belongs")
    return [float(token[3]) for token in found]


def _next(tokens: Iterator[re.Match[str]]) -> re.Match[str]:
    token = next(tokens, None)
    if token is None:
        raise ValueError("it is cut off")
    return token


def write_textgrid(path: Path, segments: Sequence[Segment], words: Sequence[Segment] | None = None) -> None:
    """Write a Praat TextGrid from 0 to the last end; gaps become empty intervals.

    segments: of the tier `phones`
    words: of the tier `words`; None for no such tier
    Raises SpeechVQError if segments overlap or have no length, or there are none.
    """
    write_tiers(path, ({} if words is None else {"words": words}) | {"phones": segments})


def check_writer() -> None:
    """Raises SpeechVQError if what writes TextGrids is not installed."""
    with needed_for("writing .TextGrid files", "align"):
        import praatio  # noqa: F401


def write_tiers(path: Path, tiers: Mapping[str, Sequence[Segment]]) -> None:
    """Write a Praat TextGrid of tiers of intervals, from 0 to the last end of all; gaps become empty intervals.

    Raises SpeechVQError if segments of a tier overlap or have no length, or the last tier has none.
    """
    with needed_for("writing .TextGrid files", "align"):
        from praatio import textgrid
        from praatio.utilities.errors import PraatioException

    if not [*tiers.values()][-1]:
        raise SpeechVQError(f"{path}: a TextGrid without segments cannot be written")
    end = max(segment.end for tier in tiers.values() for segment in tier)
    grid = textgrid.Textgrid(0.0, end)
    try:
        for name, segments in tiers.items():
            entries = [(s.start, s.end, s.label) for s in segments]
            grid.addTier(textgrid.IntervalTier(name, entries, 0.0, end))
        with atomic_write(path) as temporary:
            # Short: other readers do not take the exponents that praatio writes into the long form.
            grid.save(str(temporary), "short_textgrid", includeBlankSpaces=True, minimumIntervalLength=None)
    except PraatioException as error:
        raise SpeechVQError(f"{path}: {' '.join(str(error).split())}") from None

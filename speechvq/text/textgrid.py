"""Praat TextGrids."""

from collections.abc import Sequence
from pathlib import Path

from speechvq import SpeechVQError
from speechvq.extras import needed_for
from speechvq.files import atomic_write
from speechvq.text.segments import Segment


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

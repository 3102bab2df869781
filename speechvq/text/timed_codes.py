"""Codes with their times, and the phones that they are mapped to, as text: tables and TextGrids."""

import itertools
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from speechvq import SpeechVQError
from speechvq.files import atomic_write
from speechvq.text.decoding import decoded
from speechvq.text.segments import Segment
from speechvq.text.textgrid import write_tiers

TABLE_SUFFIX, GRID_SUFFIX = ".tsv", ".TextGrid"


def code_segments(codes: Sequence[int], step: float, seconds: float) -> list[Segment]:
    """The times of codes, of `step` seconds each; the last one ends with the recording, which lasts `seconds`."""
    rows = ((index * step, min((index + 1) * step, seconds), str(code)) for index, code in enumerate(codes))
    return [Segment(round(start, 7), round(end, 7), label) for start, end, label in rows if end > start]


def runs(segments: Sequence[Segment]) -> list[Segment]:
    """Neighbouring segments of one label, joined."""
    found = []
    for label, group in itertools.groupby(segments, key=lambda segment: segment.label):
        parts = list(group)
        found.append(Segment(parts[0].start, parts[-1].end, label))
    return found


def write_timed_codes(path: Path, codes: Sequence[Segment], phones: Mapping[int, str] | None = None) -> None:
    """Write codes as a table of tab-separated values, a row for each, or as a TextGrid, an interval for each run.

    path: ends in .tsv or .TextGrid, in either case.
    codes: of `code_segments`.
    phones: the phone of each code, for one more column or tier; a code that is not among them has none.

    Raises SpeechVQError if there are no codes.
    """
    named = [Segment(one.start, one.end, (phones or {}).get(int(one.label), "")) for one in codes]
    if path.suffix.lower() == GRID_SUFFIX.lower():
        write_tiers(path, {"codes": runs(codes)} | ({} if phones is None else {"phones": runs(named)}))
        return
    head = ["start", "end", "code"] + ([] if phones is None else ["phone"])
    rows = [
        [f"{one.start:.7g}", f"{one.end:.7g}", one.label] + ([] if phones is None else [phone.label])
        for one, phone in zip(codes, named, strict=True)
    ]
    with atomic_write(path) as temporary:
        temporary.write_text("".join("\t".join(row) + "\n" for row in [head, *rows]), encoding="utf-8")


def read_code_table(path: Path) -> dict[int, str]:
    """The phone of each code, from the table that `evaluate phonemes --table` writes.

    Raises SpeechVQError if the file is missing, has no columns `code` and `phone`, or a code twice.
    """
    if not path.is_file():
        raise SpeechVQError(f"{path}: no such table of codes (`speechvq evaluate phonemes --table`)")
    head, *rows = [line.split("\t") for line in decoded(path).splitlines()] or [[]]
    table: dict[int, str] = {}
    for number, values in enumerate(rows, 2):
        if values == [""]:
            continue
        row = dict(zip(head, values, strict=False))
        code, phone = row.get("code", ""), row.get("phone", "")
        if not re.fullmatch("[0-9]{1,9}", code) or not phone or int(code) in table:
            raise SpeechVQError(f"{path}, line {number}: not a code and its phone, or a code twice")
        table[int(code)] = phone
    if not table:
        raise SpeechVQError(f"{path}: holds no codes")
    return table

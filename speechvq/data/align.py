"""Forced alignment: where the phones and words of a known text lie in speech, by pocketsphinx and its English model."""

import functools
import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from speechvq import SpeechVQError
from speechvq.audio import SAMPLE_RATE
from speechvq.audio.io import read, validate
from speechvq.data.labels import Segment, write_textgrid
from speechvq.data.manifest import Utterance, read_manifest
from speechvq.data.phones import SILENCE, arpabet
from speechvq.data.transcript import words
from speechvq.data.workers import share
from speechvq.extras import needed_for
from speechvq.files import atomic_write
from speechvq.progress import progress

UNALIGNED = "unaligned.tsv"
SUFFIX = ".TextGrid"
HOP = 0.01  # seconds a frame
# A frame's features are of its 25.6 ms window; this takes times to the middle 10 ms of that.
SHIFT = (0.0256 - HOP) / 2
# The paths of a known text are few: weigh no language model, prune none (beams of 0), and take the best path itself,
# not that of its word lattice, whose words of no length the second pass cannot follow.
SETTINGS = {"lm": None, "lw": 1, "silprob": 0.1, "bestpath": False, "loglevel": "FATAL"}
SETTINGS |= {"beam": 0, "wbeam": 0, "pbeam": 0, "maxhmmpf": -1}


@dataclass(frozen=True)
class Alignment:
    """Phones (ARPAbet, `sil` for silence) without gaps from 0 to the end, and the words; in seconds."""

    phones: list[Segment]
    words: list[Segment]


@dataclass
class Report:
    """Ids aligned now, ids found already aligned, and (id, reason) of what could not be."""

    aligned: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    unaligned: list[tuple[str, str]] = field(default_factory=list)


class Aligner:
    """The acoustic model and the dictionary, loaded. SpeechVQError where pocketsphinx is not installed."""

    def __init__(self) -> None:
        self._decoder: Any = _pocketsphinx().Decoder(**SETTINGS)

    def align(self, wav: np.ndarray | Tensor, text: str) -> Alignment:
        """wav (T,) float in [-1, 1] at 16 kHz and the words said in it -> their times.

        SpeechVQError for words that the dictionary does not have, and where the text is too long for the audio. Other
        words than were said are not noticed.
        """
        spoken = words(text)
        if not spoken:
            raise SpeechVQError("no text")
        unknown = [word for word in dict.fromkeys(spoken) if self._decoder.lookup_word(word) is None]
        if unknown:
            raise SpeechVQError(f"unknown words: {', '.join(unknown)}")
        samples = validate(torch.as_tensor(wav), "the speech to align").numpy()
        found = self._search((samples * 32767).round().clip(-32768, 32767).astype("<i2").tobytes(), spoken)
        if [name for name, _ in found if name[0] not in "<["] != spoken:  # those are of pauses and noises
            raise SpeechVQError("cannot be aligned")
        return _alignment(found, len(samples) / SAMPLE_RATE)

    def _search(self, data: bytes, spoken: list[str]) -> list[tuple[str, list[tuple[str, int]]]]:
        """Each word, pauses too, with its phones and the frame in which each begins; none where no path is found."""
        decoder = self._decoder
        decoder.reinit_feat()  # or the result would depend on what was aligned before
        try:
            decoder.set_align_text(" ".join(spoken))
            self._decode(data)
            decoder.set_alignment()  # the second pass looks within the words
            self._decode(data)
            entries = [(word.name, [(phone.name, phone.start) for phone in word]) for word in decoder.get_alignment()]
        except RuntimeError:
            return []
        return [(re.sub(r"\(\d+\)$", "", name), phones) for name, phones in entries]

    def _decode(self, data: bytes) -> None:
        self._decoder.start_utt()
        try:
            self._decoder.process_raw(data, full_utt=True)
        finally:
            self._decoder.end_utt()


def _pocketsphinx() -> Any:
    with needed_for("alignment", "align"):
        import pocketsphinx
    return pocketsphinx


def _alignment(found: list[tuple[str, list[tuple[str, int]]]], duration: float) -> Alignment:
    """Frames to seconds: each phone lasts until the next begins, neighbouring silences are one."""
    marks: list[tuple[float, str, int]] = []  # start, phone, place of the word in `found`
    for place, (_, names) in enumerate(found):
        for name, frame in names:
            phone = arpabet(name)
            if not (marks and phone == SILENCE == marks[-1][1]):
                marks.append((round(frame * HOP + SHIFT, 7) if marks else 0.0, phone, place))
    ends = [start for start, _, _ in marks[1:]] + [duration]
    rows = [(Segment(start, end, phone), place) for (start, phone, place), end in zip(marks, ends, strict=True)]
    spoken = []
    for place, group in itertools.groupby((row for row in rows if row[0].label != SILENCE), key=lambda row: row[1]):
        parts = [segment for segment, _ in group]
        spoken.append(Segment(parts[0].start, parts[-1].end, found[place][0]))
    return Alignment([segment for segment, _ in rows], spoken)


def align_corpus(data: Path, out: Path, *, workers: int, force: bool = False) -> Report:
    """Align a prepared corpus -> OUT/ID.TextGrid (tiers `words`, `phones`) and OUT/unaligned.tsv (id, tab, reason).

    Times are those of the source recording, not of the trimmed audio. What is there already is kept, but with `force`.
    SpeechVQError where no utterance can be aligned.
    """
    _pocketsphinx()  # before the work
    utterances = read_manifest(data)
    missing = [utterance for utterance in utterances if force or not _grid(out, utterance).is_file()]
    todo = {utterance.id for utterance in missing}
    report = Report(kept=[utterance.id for utterance in utterances if utterance.id not in todo])
    for name, reason in progress(_align_all(missing, data, out, workers), len(missing), unit="file"):
        if reason:
            report.unaligned.append((name, reason))
        else:
            report.aligned.append(name)
    report.unaligned.sort()
    with atomic_write(out / UNALIGNED) as temporary:
        lines = [f"{name}\t{reason}\n" for name, reason in report.unaligned]
        temporary.write_text("".join(lines), encoding="utf-8")
    if report.unaligned and not report.aligned and not report.kept:
        name, reason = report.unaligned[0]
        raise SpeechVQError(f"none of {len(report.unaligned)} utterances can be aligned; the first, {name}: {reason}")
    return report


def _grid(out: Path, utterance: Utterance) -> Path:
    return out / f"{utterance.id}{SUFFIX}"


def _align_all(
    utterances: Sequence[Utterance], data: Path, out: Path, workers: int
) -> Iterator[tuple[str, str | None]]:
    jobs = [(utterance, data, out) for utterance in utterances]
    if workers <= 1 or len(jobs) < 2:
        yield from map(_align_one, jobs)
        return
    yield from share(_align_one, jobs, workers)


def _align_one(job: tuple[Utterance, Path, Path]) -> tuple[str, str | None]:
    """Align one utterance -> its id, and why it could not be."""
    utterance, data, out = job
    try:
        found = _aligner().align(read(data / utterance.path), utterance.text)
    except SpeechVQError as error:
        return utterance.id, str(error)
    late = utterance.start / SAMPLE_RATE
    write_textgrid(_grid(out, utterance), _later(found.phones, late), words=_later(found.words, late))
    return utterance.id, None


def _later(segments: Sequence[Segment], seconds: float) -> list[Segment]:
    return [Segment(round(s.start + seconds, 7), round(s.end + seconds, 7), s.label) for s in segments]


@functools.cache
def _aligner() -> Aligner:
    return Aligner()

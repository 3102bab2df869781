"""Forced alignment: the times of the phones and words of a known text, by pocketsphinx and its English model."""

import functools
import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from speechvq import SpeechVQError
from speechvq.audio import SAMPLE_RATE
from speechvq.audio.io import read, validate
from speechvq.data.corpora.espeak import Espeak
from speechvq.data.manifest import Utterance, read_manifest
from speechvq.data.workers import in_processes
from speechvq.extras import needed_for
from speechvq.files import Failure, attempt, file_exists, printable, save_failures
from speechvq.progress import progress
from speechvq.text.phones import SILENCE, arpabet
from speechvq.text.pronunciations import Pronunciation, espeak_pronunciation, read_dictionary
from speechvq.text.segments import Segment
from speechvq.text.textgrid import write_textgrid
from speechvq.text.transcript import words

UNALIGNED_FILE = "unaligned.tsv"  # ids and reasons of those that cannot be aligned
FRAME_STEP = 0.01  # seconds from one frame of pocketsphinx to the next
# A frame's features are those of a window of 25.6 ms: its phone is that of the middle 10 ms.
FRAME_SHIFT = (0.0256 - FRAME_STEP) / 2
# A known text has few paths: no language model, no pruning (beams of 0), and the best path itself, not the one
# through the word lattice, which may hold words of no length that the second pass cannot follow.
DECODER_OPTIONS = {"lm": None, "lw": 1, "silprob": 0.1, "bestpath": False, "loglevel": "FATAL"}
DECODER_OPTIONS |= {"beam": 0, "wbeam": 0, "pbeam": 0, "maxhmmpf": -1}


# The search keeps every way through the text: 0.3 GB for a minute of speech, and four times as much for two.
LONGEST_ALIGNED = 3 * 60 * SAMPLE_RATE  # samples


@dataclass(frozen=True)
class Alignment:
    """The times of an utterance.

    phones: in ARPAbet, `sil` for silence, without gaps from 0 to the end
    words: in lower case, each from its first phone's start to its last phone's end
    """

    phones: list[Segment]
    words: list[Segment]


@dataclass
class AlignmentReport:
    """The outcome of `align_corpus`.

    aligned: ids aligned now
    kept: ids that were aligned already
    unaligned: (id, reason) of those that cannot be aligned
    """

    aligned: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    unaligned: list[tuple[str, str]] = field(default_factory=list)


@dataclass(frozen=True)
class Words:
    """Where the pronunciation of a word comes from that pocketsphinx's dictionary lacks.

    dictionary: a file as of `read_dictionary`; its pronunciations stand beside those of pocketsphinx.
    letter_to_sound: whether espeak-ng gives that of words which are in neither, with an American accent.
    """

    dictionary: Path | None = None
    letter_to_sound: bool = False


class Aligner:
    """The acoustic model and the dictionary of pocketsphinx.

    more: other pronunciations.

    Raises SpeechVQError if pocketsphinx or espeak-ng is needed and not installed, or the dictionary cannot be read.
    """

    def __init__(self, more: Words = Words()) -> None:
        self._espeak = Espeak("letter-to-sound") if more.letter_to_sound else None
        own = read_dictionary(more.dictionary) if more.dictionary else {}
        self._decoder: Any = _pocketsphinx().Decoder(**DECODER_OPTIONS)
        for word, pronunciations in own.items():
            self._add(word, pronunciations)

    def align(self, wav: np.ndarray | Tensor, text: str) -> Alignment:
        """The times of a text in the speech that reads it; a text that differs from the speech is not noticed.

        wav: (T,), float in [-1, 1], at 16 kHz
        text: the words, in any case and punctuation
        Raises SpeechVQError if the dictionary lacks a word, the text is too long for the audio, or the speech is longer
        than LONGEST_ALIGNED.
        """
        spoken = words(text)
        if not spoken:
            raise SpeechVQError("no text")
        unknown = [word for word in dict.fromkeys(spoken) if self._decoder.lookup_word(word) is None]
        if self._espeak:
            unknown = [word for word in unknown if not self._add(word, [self._sounds(word)])]
        if unknown:
            raise SpeechVQError(f"unknown words: {', '.join(unknown)}")
        samples = validate(torch.as_tensor(wav), "the speech to align").numpy()
        _check_duration(len(samples))
        found = self._search((samples * 32767).round().clip(-32768, 32767).astype("<i2").tobytes(), spoken)
        if [name for name, _ in found if name[0] not in "<["] != spoken:  # <sil> and [NOISE] are no words
            raise SpeechVQError("cannot be aligned")
        return _alignment(found, len(samples) / SAMPLE_RATE)

    def _add(self, word: str, pronunciations: Sequence[Pronunciation]) -> bool:
        """Add pronunciations of a word to the dictionary -> whether there are any."""
        for phones in filter(None, pronunciations):
            number = 1
            while self._decoder.lookup_word(f"{word}({number})" if number > 1 else word) is not None:
                number += 1
            name = f"{word}({number})" if number > 1 else word
            self._decoder.add_word(name, " ".join(phones).upper(), True)
        return any(pronunciations)

    def _sounds(self, word: str) -> Pronunciation:
        """The phones of a word by espeak-ng; () if it has none."""
        assert self._espeak is not None
        try:
            return espeak_pronunciation(self._espeak.pronounce(word))
        except SpeechVQError:  # a sound that English does not have
            return ()

    def _search(self, data: bytes, spoken: list[str]) -> list[tuple[str, list[tuple[str, int]]]]:
        """(word, [(phone, first frame), ...]) of each word and pause; [] if there is no path through the text."""
        decoder = self._decoder
        decoder.reinit_feat()  # else the result depends on what was aligned before
        try:
            decoder.set_align_text(" ".join(spoken))
            self._decode(data)
            decoder.set_alignment()  # the second pass aligns the phones within the words
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


def _check_duration(samples: int) -> None:
    if samples > LONGEST_ALIGNED:
        minutes = samples / SAMPLE_RATE / 60
        most = LONGEST_ALIGNED // SAMPLE_RATE // 60
        raise SpeechVQError(
            f"lasts {minutes:.1f} minutes; {most} can be aligned at once: cut it, with its text, at pauses"
        )


def _pocketsphinx() -> Any:
    with needed_for("alignment", "align"):
        import pocketsphinx
    return pocketsphinx


def _alignment(found: list[tuple[str, list[tuple[str, int]]]], duration: float) -> Alignment:
    """Words, phones and frames -> seconds: a phone lasts until the next begins; neighbouring silences are joined."""
    marks: list[tuple[float, str, int]] = []  # start in seconds, phone, index of its word in `found`
    for index, (_, names) in enumerate(found):
        for name, frame in names:
            phone = arpabet(name)
            if not (marks and phone == SILENCE == marks[-1][1]):
                marks.append((round(frame * FRAME_STEP + FRAME_SHIFT, 7) if marks else 0.0, phone, index))
    ends = [start for start, _, _ in marks[1:]] + [duration]
    rows = [(Segment(start, end, phone), index) for (start, phone, index), end in zip(marks, ends, strict=True)]
    spoken = []
    for index, group in itertools.groupby((row for row in rows if row[0].label != SILENCE), key=lambda row: row[1]):
        parts = [segment for segment, _ in group]
        spoken.append(Segment(parts[0].start, parts[-1].end, found[index][0]))
    return Alignment([segment for segment, _ in rows], spoken)


def align_corpus(
    data: Path,
    out: Path,
    *,
    workers: int,
    force: bool = False,
    more: Words = Words(),
) -> AlignmentReport:
    """Align a prepared corpus -> OUT/ID.TextGrid (tiers `words`, `phones`) and OUT/unaligned.tsv (id, tab, reason).

    Times are those of the source recording, not of the trimmed audio. A label file that is there already is kept.

    workers: processes
    force: align again what is there already
    more: pronunciations of words that pocketsphinx does not know
    Raises SpeechVQError if no utterance can be aligned, a package is not installed, or the dictionary cannot be read.
    """
    _aligner(more)  # raises before the work
    utterances = read_manifest(data)
    missing = [utterance for utterance in utterances if force or not file_exists(_label_file(out, utterance))]
    todo = {utterance.id for utterance in missing}
    report = AlignmentReport(kept=[utterance.id for utterance in utterances if utterance.id not in todo])
    jobs = [(utterance, data, out, more) for utterance in missing]
    for name, reason in progress(in_processes(_align_one, jobs, workers), len(jobs), unit="file"):
        if reason:
            report.unaligned.append((name, reason))
        else:
            report.aligned.append(name)
    report.unaligned.sort()
    save_failures(out / UNALIGNED_FILE, report.unaligned)
    if report.unaligned and not report.aligned and not report.kept:
        name, reason = report.unaligned[0]
        raise SpeechVQError(f"none of {len(report.unaligned)} utterances can be aligned; the first, {name}: {reason}")
    return report


def _label_file(out: Path, utterance: Utterance) -> Path:
    return out / f"{utterance.id}.TextGrid"


def _align_one(job: tuple[Utterance, Path, Path, Words]) -> tuple[str, str | None]:
    """Align one utterance -> its id, and the reason if it cannot be aligned."""
    done = attempt(_write_labels, job)
    return job[0].id, printable(done.reason) if isinstance(done, Failure) else None


def _write_labels(job: tuple[Utterance, Path, Path, Words]) -> None:
    utterance, data, out, more = job
    _check_duration(utterance.samples)  # before it is read
    found = _aligner(more).align(read(data / utterance.path), utterance.text)
    offset = utterance.start / SAMPLE_RATE  # of the trimmed audio in its source
    write_textgrid(_label_file(out, utterance), _shifted(found.phones, offset), words=_shifted(found.words, offset))


def _shifted(segments: Sequence[Segment], seconds: float) -> list[Segment]:
    return [Segment(round(s.start + seconds, 7), round(s.end + seconds, 7), s.label) for s in segments]


@functools.cache
def _aligner(more: Words) -> Aligner:
    return Aligner(more)

"""The labels of the utterances of a prepared corpus."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

from speechvq import SpeechVQError
from speechvq.audio import SAMPLE_RATE
from speechvq.data.manifest import Utterance, read_manifest
from speechvq.files import Failure, attempt, utf8, visible_files
from speechvq.text.htk import is_transcript
from speechvq.text.labels import LABEL_SUFFIXES, USUAL, LabelReading, read_labels
from speechvq.text.segments import Segment


@dataclass(frozen=True)
class LabelledUtterance:
    """An utterance and its phones, in the time of the prepared audio."""

    utterance: Utterance
    segments: list[Segment]


@dataclass(frozen=True)
class CorpusLabels:
    """The labels of a corpus.

    labelled: utterances with labels
    unlabelled: ids of those without
    left_out: (id, reason) of those among them that have a label file that cannot be used, or two
    """

    labelled: list[LabelledUtterance]
    unlabelled: list[str]
    left_out: list[tuple[str, str]]


def read_labelled(data: Path, labels: Path, how: LabelReading = USUAL) -> CorpusLabels:
    """The utterances prepared in `data` that have labels in the folder `labels`.

    Label files have the time of the source; the prepared audio begins `start` samples later.
    Raises SpeechVQError as `find_labels` does, or if none of the files found can be used.
    """
    utterances = read_manifest(data)
    files, left_out = find_labels(labels, utterances)
    labelled = []
    for u in (u for u in utterances if u.id in files):
        start, segments = u.start / SAMPLE_RATE, attempt(lambda path: read_labels(path, how), files[u.id])
        if isinstance(segments, Failure):
            left_out.append((u.id, segments.reason))
        elif segments:
            shifted = [Segment(s.start - start, s.end - start, s.label) for s in segments]
            labelled.append(LabelledUtterance(u, shifted))
    if left_out and not labelled:
        name, reason = left_out[0]
        raise SpeechVQError(f"none of {len(left_out)} label files can be used; the first, of {name}: {reason}")
    known = {item.utterance.id for item in labelled}
    return CorpusLabels(labelled, sorted(u.id for u in utterances if u.id not in known), sorted(left_out))


def find_labels(folder: Path, utterances: Sequence[Utterance]) -> tuple[dict[str, Path], list[tuple[str, str]]]:
    """Find the label file of each utterance that has one, anywhere in a folder.

    The file is named after the last part of the utterance's id, with or without VCTK's `_mic1`. Of several such files
    the one is taken whose folders agree the most with the id's (DR1/FCJF0/SA1), then one in a folder of the speaker's
    name. If several utterances share the name, one of the two must be so; and a file in a folder of another speaker's
    name is never taken. A .lab file that holds text without times is a transcript, and passed over.

    Returns the files by utterance id, and (id, reason) of utterances that two files fit. Raises SpeechVQError if no
    file fits any.
    """
    if not folder.is_dir():
        raise SpeechVQError(f"{folder}: no such folder")
    by_stem, transcripts = _label_files(folder)
    stems = {u.id: _stem(u.id.rpartition("/")[2]) for u in utterances}
    shared, speakers = Counter(stems.values()), {u.speaker for u in utterances}
    found, left_out = dict[str, Path](), list[tuple[str, str]]()
    for u in utterances:
        paths = _best(u, by_stem.get(stems[u.id], []), speakers, shared[stems[u.id]] > 1)
        if len(paths) > 1:
            left_out.append((u.id, f"{paths[0]} and {paths[1]} could both be its labels"))
        elif paths:
            found[u.id] = folder / paths[0]
    if not found and not left_out:
        hint = f"; {transcripts} .lab files there hold text without times" if transcripts else ""
        raise SpeechVQError(f"{folder}: no labels of any of the {len(utterances)} utterances{hint}")
    return found, left_out


def _label_files(folder: Path) -> tuple[dict[str, list[Path]], int]:
    """The label files of each stem, relative to the folder, and the number of .lab files that are transcripts."""
    by_stem: dict[str, list[Path]] = defaultdict(list)
    transcripts = 0
    for path in visible_files(folder, LABEL_SUFFIXES):
        if path.suffix.lower() == ".lab" and attempt(is_transcript, path) is True:
            transcripts += 1
        else:
            by_stem[_stem(path.stem)].append(path.relative_to(folder))
    return by_stem, transcripts


def _stem(name: str) -> str:
    return utf8(name).removesuffix("_mic1")


def _best(u: Utterance, paths: Sequence[Path], speakers: set[str], shared: bool) -> list[Path]:
    """The files that fit an utterance best, among those of its name.

    paths: relative to the folder of labels
    shared: whether other utterances have that name, too
    """
    folders, ranks = u.id.split("/")[-2::-1], dict[Path, tuple[int, bool]]()
    for path in paths:
        own = [utf8(part) for part in path.parts[-2::-1]]
        if u.speaker in own or speakers.isdisjoint(own):  # else in the folder of another speaker
            agreed = takewhile(lambda pair: pair[0] == pair[1], zip(folders, own, strict=False))
            ranks[path] = len(list(agreed)), u.speaker in own
    best = max(ranks.values(), default=(0, False))
    return [path for path, rank in ranks.items() if rank == best and (best > (0, False) or not shared)]

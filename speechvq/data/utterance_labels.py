"""The labels of the utterances of a prepared corpus."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from speechvq import SpeechVQError
from speechvq.audio import SAMPLE_RATE
from speechvq.data.manifest import Utterance, read_manifest
from speechvq.files import visible_files
from speechvq.text.labels import LABEL_SUFFIXES, read_labels
from speechvq.text.segments import Segment


@dataclass(frozen=True)
class LabelledUtterance:
    """An utterance and its phones, in the time of the prepared audio."""

    utterance: Utterance
    segments: list[Segment]


def read_labelled(data: Path, labels: Path) -> tuple[list[LabelledUtterance], list[str]]:
    """The utterances prepared in `data` that have labels in the folder `labels`, and the ids of those without.

    Label files have the time of the source; the prepared audio begins `start` samples later.
    """
    utterances = read_manifest(data)
    files = find_labels(labels, utterances)
    labelled = []
    for u in utterances:
        start = u.start / SAMPLE_RATE
        segments = read_labels(files[u.id]) if u.id in files else []
        if segments:
            shifted = [Segment(s.start - start, s.end - start, s.label) for s in segments]
            labelled.append(LabelledUtterance(u, shifted))
    known = {item.utterance.id for item in labelled}
    return labelled, sorted(u.id for u in utterances if u.id not in known)


def find_labels(folder: Path, utterances: Sequence[Utterance]) -> dict[str, Path]:
    """Find the label file of each utterance that has one, anywhere in a folder.

    The file is named after the last part of the utterance's id, with or without VCTK's `_mic1`. If several utterances
    share that name, the file must be in a folder named after the speaker.

    Returns the files by utterance id. Raises SpeechVQError if two files fit an utterance, or none fits any.
    """
    if not folder.is_dir():
        raise SpeechVQError(f"{folder}: no such folder")
    by_stem: dict[str, list[Path]] = {}
    for path in visible_files(folder, LABEL_SUFFIXES):
        by_stem.setdefault(path.stem.removesuffix("_mic1"), []).append(path)
    stems = {u.id: u.id.rpartition("/")[2].removesuffix("_mic1") for u in utterances}
    shared = Counter(stems.values())
    found = {}
    for u in utterances:
        paths = by_stem.get(stems[u.id], [])
        if shared[stems[u.id]] > 1:
            paths = [path for path in paths if u.speaker in path.relative_to(folder).parts[:-1]]
        if len(paths) > 1:
            raise SpeechVQError(f"{paths[0]} and {paths[1]} could both be the labels of {u.id}")
        if paths:
            found[u.id] = paths[0]
    if not found:
        raise SpeechVQError(f"{folder}: no labels of any of the {len(utterances)} utterances")
    return found

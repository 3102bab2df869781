"""Phones of labels, for any part of a corpus."""

import logging
from collections.abc import Iterable
from itertools import chain
from pathlib import Path

import numpy as np

from speechvq import SpeechVQError
from speechvq.audio import SAMPLE_RATE
from speechvq.data.manifest import Utterance
from speechvq.data.utterance_labels import read_labelled
from speechvq.text.frames import frame_labels
from speechvq.text.labels import USUAL, LabelReading
from speechvq.text.phones import INVENTORY

TAUGHT_BY_LABELS = "phones of labels"  # on a card (`Card.taught`)
NUMBERS = {phone: i for i, phone in enumerate(INVENTORY)}

log = logging.getLogger(__name__)


class PhoneLabels:
    """The phones of the utterances of a prepared corpus, as numbers in INVENTORY; -1 where there is no label.

    folder: of label files; one that cannot be used is logged and left out.
    data: folder of the corpus.
    hop_length: samples per phone, which is that of their middle.
    reading: how label files are read.
    Raises SpeechVQError as `read_labelled` does, or if a map names other phones.
    """

    def __init__(self, folder: Path, data: Path, hop_length: int, reading: LabelReading = USUAL) -> None:
        found = read_labelled(data, folder, reading)
        for name, reason in found.left_out:
            log.warning("labels of %s left out: %s", name, reason)
        self.hop_length = hop_length
        self.segments = {item.utterance.id: item.segments for item in found.labelled}
        for segment in chain.from_iterable(self.segments.values()):
            if segment.label and segment.label not in NUMBERS:  # of --map; an evaluation takes any
                raise SpeechVQError(
                    f"{folder}: '{segment.label}' is no phone that can be learned: {' '.join(INVENTORY)}"
                )

    def __call__(self, utterance: Utterance, start: int, samples: int) -> np.ndarray:
        """The phones of `samples` samples from `start` on, (samples // hop_length,) int64."""
        segments, hop = self.segments.get(utterance.id, []), self.hop_length
        row = frame_labels(segments, samples // hop, hop / SAMPLE_RATE, start / SAMPLE_RATE)
        return np.array([NUMBERS[phone] if phone else -1 for phone in row], np.int64)


def require_labels(labels: Path, known: Iterable[tuple[str, bool]]) -> None:
    """Check that there is something to learn, and to validate on; utterances without labels are logged.

    labels: the folder of label files.
    known: of each utterance, its split, and whether it has labels.
    Raises SpeechVQError if no utterance of the split `train`, or of `valid`, has labels: the loss would be 0.
    """
    rows = [*known]
    for split in ("train", "valid"):
        own = [has_labels for name, has_labels in rows if name == split]
        if own and not any(own):
            raise SpeechVQError(f"{labels}: no labels of any of the {len(own)} utterances of the split '{split}'")
        if not all(own):
            log.warning("%d of %d utterances of the split '%s' have no labels", own.count(False), len(own), split)

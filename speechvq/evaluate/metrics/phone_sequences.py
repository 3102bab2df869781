"""Scores of sequences of phones in time: phone error rate, and precision, recall, F1 and R-value of boundaries."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from speechvq.evaluate.metrics.resampling import Resampling, Share
from speechvq.text.segments import Segment

TOLERANCE = 0.020  # s, from a predicted boundary to one of the labels
ROUNDING = 1e-3  # s: labels that are this close to each other touch; rounded times leave no gaps
SLACK = 1e-6  # s: a boundary at the very edge of the tolerance is inside


@dataclass(frozen=True)
class Runs:
    """Stretches of time, each of one phone, neighbours of different phones.

    phones: (R,), numbers
    starts: (R,), seconds
    """

    phones: np.ndarray
    starts: np.ndarray


@dataclass(frozen=True)
class SequenceScores:
    """How well a sequence of phones agrees with the labels.

    phones, predicted_phones: numbers of phones, of the labels and predicted, without silence
    error_rate: edit distance of the two sequences of phones over the number of phones in the labels
    boundaries, predicted_boundaries: numbers of changes of phone, to and from silence, too
    precision: share of the predicted boundaries that are within TOLERANCE of one of the labels, each used once; NaN
        without any
    recall: share of the labels' boundaries that are found
    f1: harmonic mean of the two
    r_value: Rasanen et al. 2009, 1 if all boundaries are right; unlike F1 it is low if too many are predicted
    """

    phones: int
    predicted_phones: int
    error_rate: Share
    boundaries: int
    predicted_boundaries: int
    precision: float
    recall: float
    f1: Share
    r_value: float


def sequence_scores(
    predicted: Sequence[Runs],
    reference: Sequence[Runs],
    speakers: Sequence[str],
    *,
    silence: int,
    unlabelled: int,
    seed: int = 0,
) -> SequenceScores:
    """Score predicted phones against labelled ones.

    predicted, reference: runs of each utterance
    speakers: the speaker of each utterance
    silence: the number of silence, of which boundaries count, but no phones
    unlabelled: the number of stretches without a label, of which neither boundaries nor phones count
    seed: of the resampling of speakers
    """
    ids = np.unique(np.asarray(speakers), return_inverse=True)[1]
    counts = np.zeros((ids.max() + 1, 6), int)  # of each speaker
    pairs = zip(predicted, reference, strict=True)
    np.add.at(counts, ids, np.array([_counts(one, other, (silence, unlabelled)) for one, other in pairs]))
    errors, phones, predicted_phones, hits, boundaries, predicted_boundaries = counts.T
    resampling = Resampling(len(counts), np.random.default_rng(seed))
    precision, recall = (
        float(hits.sum() / some.sum()) if some.any() else math.nan for some in (predicted_boundaries, boundaries)
    )
    return SequenceScores(
        phones=int(phones.sum()),
        predicted_phones=int(predicted_phones.sum()),
        error_rate=resampling.share(errors, phones),
        boundaries=int(boundaries.sum()),
        predicted_boundaries=int(predicted_boundaries.sum()),
        precision=precision,
        recall=recall,
        f1=resampling.share(2 * hits, boundaries + predicted_boundaries),
        r_value=r_value(recall, float(predicted_boundaries.sum() / max(boundaries.sum(), 1)) - 1),
    )


def _counts(predicted: Runs, reference: Runs, not_phones: tuple[int, int]) -> tuple[int, ...]:
    """Errors, phones, predicted phones, found boundaries, boundaries, and predicted boundaries of an utterance."""
    _, unlabelled = not_phones
    phones, predicted_phones = (runs.phones[~np.isin(runs.phones, not_phones)] for runs in (reference, predicted))
    times, predicted_times = (boundaries(runs, unlabelled) for runs in (reference, predicted))
    errors, hits = edit_distance(predicted_phones, phones), matches(predicted_times, times)
    return errors, len(phones), len(predicted_phones), hits, len(times), len(predicted_times)


def collapse(phones: np.ndarray, starts: np.ndarray) -> Runs:
    """The runs of phones (M,) that begin at `starts` (M,), in seconds."""
    first = np.append(True, phones[1:] != phones[:-1])[: len(phones)]
    return Runs(phones[first], starts[first])


def label_runs(segments: Sequence[Segment], numbers: dict[str, int], unlabelled: int, end: float) -> Runs:
    """The runs of labels from 0 to `end` seconds; gaps between them are runs of `unlabelled`.

    segments: in the order of time, without overlaps
    numbers: number of each label
    """
    phones, starts, last = [], [], 0.0
    for segment in segments:
        if segment.end <= 0 or segment.start >= end or segment.end <= segment.start:
            continue
        if segment.start > last + ROUNDING:
            phones.append(unlabelled)
            starts.append(last)
        phones.append(numbers[segment.label])
        starts.append(segment.start)
        last = segment.end
    if last < end - ROUNDING:
        phones.append(unlabelled)
        starts.append(last)
    return collapse(np.array(phones, int), np.array(starts, float))


def boundaries(runs: Runs, unlabelled: int) -> np.ndarray:
    """The times in seconds at which one phone, or silence, follows another."""
    known = runs.phones != unlabelled
    times: np.ndarray = runs.starts[1:][known[1:] & known[:-1]]
    return times


def edit_distance(one: np.ndarray, other: np.ndarray) -> int:
    """The smallest number of substitutions, insertions and deletions between two sequences of numbers."""
    columns = np.arange(len(other) + 1)
    row = columns
    for i, symbol in enumerate(one, 1):
        changed = np.minimum(row[1:] + 1, row[:-1] + (other != symbol))
        # An insertion costs 1 for each step to the right: a running minimum, measured from the diagonal.
        row = np.minimum.accumulate(np.append(i, changed) - columns) + columns
    return int(row[-1])


def matches(predicted: np.ndarray, times: np.ndarray) -> int:
    """The largest number of pairs of a predicted time and one of the others within TOLERANCE, each used once.

    predicted, times: in seconds, in order
    """
    found = i = 0
    for time in times:
        while i < len(predicted) and predicted[i] < time - TOLERANCE - SLACK:
            i += 1
        if i < len(predicted) and predicted[i] <= time + TOLERANCE + SLACK:
            found, i = found + 1, i + 1
    return found


def r_value(recall: float, surplus: float) -> float:
    """The R-value of boundaries (Rasanen et al. 2009, An improved speech segmentation quality measure).

    recall: share of the boundaries that are found
    surplus: number of predicted boundaries over that of boundaries, less 1
    """
    to_ideal = math.hypot(1 - recall, surplus)
    to_no_surplus = abs(recall - 1 - surplus) / math.sqrt(2)
    return 1 - (to_ideal + to_no_surplus) / 2

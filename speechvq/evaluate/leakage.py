"""How much the codes reveal about the speaker, which should be left to the decoder."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from speechvq import SpeechVQError
from speechvq.audio import SAMPLE_RATE
from speechvq.audio.io import read
from speechvq.codec import Codec
from speechvq.data.manifest import Utterance, rank_key, read_manifest, read_treatment
from speechvq.evaluate.labelled import clusters
from speechvq.evaluate.left_out import LeftOut, share_out_usable
from speechvq.evaluate.metrics.phone_mapping import pnmi

FOLDS = 5
PERMUTATIONS = 20
SMOOTHING = 0.5  # added to every count of the classifier


@dataclass(frozen=True)
class Leakage:
    """How much codes reveal about the speaker.

    utterances, speakers: their numbers
    information: I(speaker; code) / H(speaker)
    accuracy: share of utterances whose speaker a classifier predicts from the histogram of their codes
    information_permuted, accuracy_permuted: the means over random assignments of utterances to speakers; the first is
        not zero with few frames, the second is chance
    left_out: (id, reason) of utterances that cannot be read
    """

    utterances: int
    speakers: int
    information: float
    information_permuted: float
    accuracy: float
    accuracy_permuted: float
    left_out: LeftOut = field(default_factory=list)


def leakage(codes: Sequence[np.ndarray], speakers: Sequence[str], *, seed: int = 0) -> Leakage:
    """Measure the leakage of codes.

    codes: for each utterance an integer array (frames,), from 0
    speakers: the speaker of each utterance
    seed: of the folds and the permutations

    The classifier is multinomial naive Bayes in five-fold cross-validation over the utterances of each speaker.

    Raises SpeechVQError without two speakers of five utterances each.
    """
    _check(speakers)
    names, speaker_ids = np.unique(np.asarray(speakers), return_inverse=True)
    size = max(row.max() for row in codes if len(row)) + 1
    histograms = np.stack([np.bincount(row, minlength=size) for row in codes])
    random = np.random.default_rng(seed)
    permuted = [random.permutation(speaker_ids) for _ in range(PERMUTATIONS)]
    return Leakage(
        utterances=len(codes),
        speakers=len(names),
        information=_information(histograms, speaker_ids),
        information_permuted=float(np.mean([_information(histograms, other) for other in permuted])),
        accuracy=_accuracy(histograms, speaker_ids, random),
        accuracy_permuted=float(np.mean([_accuracy(histograms, other, random) for other in permuted])),
    )


def _check(speakers: Sequence[str]) -> None:
    counts = Counter(speakers).values()
    if len(counts) < 2 or min(counts) < FOLDS:
        raise SpeechVQError(f"at least 2 speakers, of {FOLDS} utterances or more each, are needed")


def _information(histograms: np.ndarray, speakers: np.ndarray) -> float:
    """I(speaker; code) / H(speaker) of histograms (U, codes) by speakers (U,)."""
    counts = np.zeros((histograms.shape[1], speakers.max() + 1), int)
    np.add.at(counts.T, speakers, histograms)
    return pnmi(counts)


def _accuracy(histograms: np.ndarray, speakers: np.ndarray, random: np.random.Generator) -> float:
    """The accuracy of `predict_speakers` in cross-validation."""
    fold = _folds(speakers, random)
    predicted = np.empty_like(speakers)
    for i in range(FOLDS):
        test = fold == i
        predicted[test] = predict_speakers(histograms[~test], speakers[~test], histograms[test])
    return float((predicted == speakers).mean())


def _folds(speakers: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """A fold for each utterance (U,), evenly for every speaker."""
    fold = np.empty(len(speakers), int)
    for speaker in range(speakers.max() + 1):
        own = random.permutation(np.flatnonzero(speakers == speaker))
        fold[own] = np.arange(len(own)) % FOLDS
    return fold


def predict_speakers(train: np.ndarray, speakers: np.ndarray, test: np.ndarray) -> np.ndarray:
    """Predict speakers from histograms of codes by multinomial naive Bayes with equal priors.

    train: histograms (U, codes) of known speakers
    speakers: their numbers (U,)
    test: histograms (V, codes)

    Returns the most likely speaker of each (V,).
    """
    counts = np.full((speakers.max() + 1, train.shape[1]), SMOOTHING)
    np.add.at(counts, speakers, train)
    log_likelihood = test @ np.log(counts / counts.sum(1, keepdims=True)).T
    predicted: np.ndarray = log_likelihood.argmax(1)
    return predicted


def evaluate_leakage(codec: Codec, data: Path, *, most: int = 20, codes: int = 128, seed: int = 0) -> Leakage:
    """Measure the leakage of a model on the utterances prepared in `data`.

    most: utterances of each speaker at most, chosen by a hash; speakers with fewer than five are left out
    codes: number of k-means clusters that a model without codes gets
    seed: of the clusters, the folds and the permutations

    Raises SpeechVQError without two speakers of five utterances each.
    """
    if most < FOLDS:
        raise SpeechVQError(f"of each speaker at least {FOLDS} utterances are needed; {most} were asked for")
    by_speaker: dict[str, list[Utterance]] = {}
    for u in sorted(read_manifest(data), key=lambda u: rank_key(u.id)):
        by_speaker.setdefault(u.speaker, []).append(u)
    chosen = [u for own in by_speaker.values() if len(own) >= FOLDS for u in own[:most]]
    _check([u.speaker for u in chosen])  # before the work
    discrete = codec.model.bottleneck.codes
    codec = codec.after_high_pass(read_treatment(data).high_pass)

    def encode(u: Utterance) -> np.ndarray:
        wav = read(data / u.path)
        row = codec.encode(wav, SAMPLE_RATE) if discrete else codec.represent(wav, SAMPLE_RATE).T
        return row.numpy()

    encoded, left_out = share_out_usable(chosen, encode, lambda u: u.id, unit="utterance")
    rows = [row for _, row in encoded]
    rows = rows if discrete else clusters(rows, [True] * len(rows), codes, seed)
    return replace(leakage(rows, [u.speaker for u, _ in encoded], seed=seed), left_out=left_out)

"""What codes tell about who speaks: they should tell what is said, and leave the voice to the decoder."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from speechvq import SpeechVQError
from speechvq.audio import SAMPLE_RATE
from speechvq.audio.io import read
from speechvq.codec import Codec
from speechvq.data.manifest import Utterance, rank_key, read_manifest
from speechvq.evaluate.labelled import clusters
from speechvq.evaluate.metrics.accuracy import pnmi
from speechvq.nn.distributed import share_out

FOLDS = 5
PERMUTATIONS = 20
SMOOTHING = 0.5  # added to every count of the classifier


@dataclass(frozen=True)
class Leakage:
    """information: I(speaker; code) / H(speaker). accuracy: of telling the speaker of an utterance by the histogram of
    its codes. Beside each, the same where the utterances are given to speakers at random: its mean, for the information
    is never zero in few frames, and, for the accuracy, chance."""

    utterances: int
    speakers: int
    information: float
    information_permuted: float
    accuracy: float
    accuracy_permuted: float


def leakage(codes: Sequence[np.ndarray], speakers: Sequence[str], *, seed: int = 0) -> Leakage:
    """codes: an array (frames,) of whole numbers from 0 for each utterance; speakers: that of each.

    The classifier is multinomial naive Bayes, tested on the fifths of each speaker's utterances that it has not seen.
    SpeechVQError where there are not two speakers of five utterances each.
    """
    _check(speakers)
    names, who = np.unique(np.asarray(speakers), return_inverse=True)
    size = max(row.max() for row in codes if len(row)) + 1
    histograms = np.stack([np.bincount(row, minlength=size) for row in codes])
    random = np.random.default_rng(seed)
    permuted = [random.permutation(who) for _ in range(PERMUTATIONS)]
    return Leakage(
        utterances=len(codes),
        speakers=len(names),
        information=_information(histograms, who),
        information_permuted=float(np.mean([_information(histograms, other) for other in permuted])),
        accuracy=_accuracy(histograms, who, random),
        accuracy_permuted=float(np.mean([_accuracy(histograms, other, random) for other in permuted])),
    )


def _check(speakers: Sequence[str]) -> None:
    counts = Counter(speakers).values()
    if len(counts) < 2 or min(counts) < FOLDS:
        raise SpeechVQError(f"at least 2 speakers, of {FOLDS} utterances or more each, are needed")


def _information(histograms: np.ndarray, who: np.ndarray) -> float:
    counts = np.zeros((histograms.shape[1], who.max() + 1), int)
    np.add.at(counts.T, who, histograms)
    return pnmi(counts)


def _accuracy(histograms: np.ndarray, who: np.ndarray, random: np.random.Generator) -> float:
    fold = _folds(who, random)
    told = np.empty_like(who)
    for i in range(FOLDS):
        told[fold == i] = tell(histograms[fold != i], who[fold != i], histograms[fold == i])
    return float((told == who).mean())


def _folds(who: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """A fold for each utterance, every speaker's shared out evenly."""
    fold = np.empty(len(who), int)
    for speaker in range(who.max() + 1):
        own = random.permutation(np.flatnonzero(who == speaker))
        fold[own] = np.arange(len(own)) % FOLDS
    return fold


def tell(known: np.ndarray, who: np.ndarray, histograms: np.ndarray) -> np.ndarray:
    """Histograms (U, codes) of speakers `who` (U,) -> whose others (V, codes) most likely are (V,): multinomial naive
    Bayes with equal priors."""
    counts = np.full((who.max() + 1, known.shape[1]), SMOOTHING)
    np.add.at(counts, who, known)
    return (histograms @ np.log(counts / counts.sum(1, keepdims=True)).T).argmax(1)


def evaluate_leakage(codec: Codec, data: Path, *, most: int = 20, codes: int = 128, seed: int = 0) -> Leakage:
    """Of the utterances prepared in `data`: at most `most` of each speaker who has at least five, chosen by a hash.

    A model without codes gets `codes` of them by k-means.
    """
    if most < FOLDS:
        raise SpeechVQError(f"of each speaker at least {FOLDS} utterances are needed; {most} were asked for")
    by_speaker: dict[str, list[Utterance]] = {}
    for u in sorted(read_manifest(data), key=lambda u: rank_key(u.id)):
        by_speaker.setdefault(u.speaker, []).append(u)
    chosen = [u for rows in by_speaker.values() if len(rows) >= FOLDS for u in rows[:most]]
    _check([u.speaker for u in chosen])  # before the work
    own = codec.model.bottleneck.codes

    def see(u: Utterance) -> np.ndarray:
        wav = read(data / u.path)
        return (codec.encode(wav, SAMPLE_RATE) if own else codec.represent(wav, SAMPLE_RATE).T).numpy()

    seen = share_out(chosen, see, unit="utterance")
    rows = seen if own else clusters(seen, [True] * len(seen), codes, seed)
    return leakage(rows, [u.speaker for u in chosen], seed=seed)

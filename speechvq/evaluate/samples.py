"""Whether codes drawn from a prior follow each other as a corpus' codes do, and as its phones do."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from speechvq import SpeechVQError
from speechvq.audio import SAMPLE_RATE
from speechvq.coding.code_files import CodeFiles
from speechvq.coding.corpus_codes import corpus_codes
from speechvq.data.labels import frame_labels
from speechvq.data.manifest import read_manifest
from speechvq.data.phones import SILENCE
from speechvq.evaluate.labelled import read_labelled
from speechvq.evaluate.metrics.accuracy import mapping, table
from speechvq.wavenet.sampler import Sampling


@dataclass(frozen=True)
class Likeness:
    """Of some sequences of codes to the training set's.

    unigram, bigram: Jensen-Shannon divergence in bits: 0 where codes are used, or follow each other, as often; 1 where
    none is the same. phones: the share of their pairs of neighbouring phones that the corpus has too, each code told as
    its most likely phone; None without labels.
    """

    codes: int
    unigram: float
    bigram: float
    phones: float | None


def evaluate_samples(
    files: CodeFiles, data: Path, labels: Path | None, *, count: int = 64, seconds: float = 10.0, sampling: Sampling
) -> dict[str, Likeness]:
    """Draw `count` sequences of codes over anyone's speech from the prior of `files` and compare them.

    `samples`; beside them `shuffled`, the same in random order, `order 0`, drawn one by one as often as in training,
    and `held out`, real speech of the split `valid`. All are of about as many codes, for few are never alike: fewer
    than `count` sequences are drawn where there is less held out. SpeechVQError without a prior.
    """
    codec, prior = files.codec, files.prior
    if prior is None:
        raise SpeechVQError("samples are drawn from a prior (--prior)")
    utterances = read_manifest(data)
    train = [u for u in utterances if u.split == "train"]
    known = {u.speaker for u in train}
    rows = corpus_codes(codec, data, train)
    held_out = corpus_codes(codec, data, [u for u in utterances if u.split == "valid" and u.speaker in known])
    length = max(round(seconds * SAMPLE_RATE / codec.hop_length), 2)
    count = max(min(count, sum(map(len, held_out)) // length), 1)
    drawn = [*prior.sample(count, length, None, sampling).numpy()]
    random = np.random.default_rng(sampling.seed)
    everything = np.concatenate(rows)
    sets = {
        "samples": drawn,
        "shuffled": [random.permutation(row) for row in drawn],
        "order 0": [random.choice(everything, length) for _ in drawn],
        "held out": _first(held_out, count * length),
    }
    told, pairs = _phones(files, data, labels, dict(zip((u.id for u in train), rows, strict=True)))
    size = codec.alphabet.codes
    return {name: likeness(some, rows, size, told, pairs) for name, some in sets.items()}


def likeness(
    some: Sequence[np.ndarray],
    rows: Sequence[np.ndarray],
    size: int,
    told: np.ndarray | None = None,
    pairs: set[tuple[int, int]] | None = None,
) -> Likeness:
    """Of `some` sequences of codes below `size` to `rows`. told: each code's phone; pairs: of phones in the corpus."""
    unigrams = [np.bincount(np.concatenate(side), minlength=size) for side in (some, rows)]
    bigrams = [_bigrams(side, size) for side in (some, rows)]
    share = None
    if told is not None and pairs is not None:
        heard = [pair for row in some for pair in _pairs(told[row])]
        share = sum(pair in pairs for pair in heard) / max(len(heard), 1)
    return Likeness(sum(map(len, some)), divergence(*unigrams), divergence(*bigrams), share)


def _bigrams(rows: Sequence[np.ndarray], size: int) -> np.ndarray:
    before, after = (np.concatenate([row[part] for row in rows]) for part in (slice(-1), slice(1, None)))
    return table(before, after, (size, size))


def divergence(one: np.ndarray, other: np.ndarray) -> float:
    """Jensen-Shannon divergence in bits between the distributions with these counts (of one shape)."""
    p, q = one.ravel() / one.sum(), other.ravel() / other.sum()
    middle = (p + q) / 2
    return float(sum((side[side > 0] * np.log2(side[side > 0] / middle[side > 0])).sum() for side in (p, q)) / 2)


def _phones(
    files: CodeFiles, data: Path, labels: Path | None, codes: dict[str, np.ndarray]
) -> tuple[np.ndarray | None, set[tuple[int, int]] | None]:
    """The most likely phone of each code, silence among them, and the pairs of neighbours in the labels."""
    if labels is None:
        return None, None
    codec = files.codec
    labelled = [one for one in read_labelled(data, labels)[0] if one.utterance.id in codes]
    names = sorted({segment.label for one in labelled for segment in one.segments} | {SILENCE})
    index = {name: i for i, name in enumerate(names)}
    code, phone, pairs = [np.empty(0, int)], [np.empty(0, int)], set()
    for one in labelled:
        row = codes[one.utterance.id]
        frames = frame_labels(one.segments, len(row), codec.hop_length / SAMPLE_RATE)
        code.append(row)
        phone.append(np.array([index[label or SILENCE] for label in frames]))
        pairs.update(_pairs(np.array([index[segment.label] for segment in one.segments])))
    shape = codec.alphabet.codes, len(names)
    return mapping(table(np.concatenate(code), np.concatenate(phone), shape)), pairs


def _pairs(phones: np.ndarray) -> list[tuple[int, int]]:
    """Neighbours that differ."""
    places = np.flatnonzero(phones[1:] != phones[:-1])
    return [(int(phones[i]), int(phones[i + 1])) for i in places]


def _first(rows: Sequence[np.ndarray], most: int) -> list[np.ndarray]:
    ends = np.cumsum([len(row) for row in rows])
    return list(rows[: max(int(np.searchsorted(ends, most, side="right")), 1)])


def lines(result: dict[str, Likeness]) -> list[str]:
    """The table of `speechvq evaluate samples`."""
    told = [f"{'unlike training, bits':24} {'codes':>8} {'unigram':>8} {'bigram':>8}   pairs of phones that occur, %"]
    for name, one in result.items():
        share = "" if one.phones is None else f"{100 * one.phones:8.1f}"
        told.append(f"{name:24} {one.codes:8} {one.unigram:8.4f} {one.bigram:8.4f}   {share}")
    return told

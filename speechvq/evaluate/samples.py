"""Compare codes drawn from a prior with those of the training set: frequencies of codes, pairs of codes and phones."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from speechvq import SpeechVQError
from speechvq.audio import SAMPLE_RATE
from speechvq.coding.code_files import CodeFiles
from speechvq.coding.corpus_codes import usable_codes
from speechvq.data.manifest import Utterance, read_manifest
from speechvq.data.utterance_labels import CorpusLabels
from speechvq.evaluate.left_out import LeftOut
from speechvq.evaluate.metrics.phone_mapping import contingency, most_likely_phones
from speechvq.text.frames import frame_labels
from speechvq.text.phones import SILENCE
from speechvq.wavenet.sampler import Sampling


@dataclass(frozen=True)
class Divergence:
    """How much sequences of codes differ from those of the training set.

    codes: number of codes compared
    unigram, bigram: Jensen-Shannon divergence in bits of the distributions of codes and of pairs of neighbouring codes;
        0 for equal distributions, 1 for disjoint ones
    phones: share of the pairs of neighbouring phones that occur in the labels, too, if each code stands for its most
        likely phone; None without labels
    """

    codes: int
    unigram: float
    bigram: float
    phones: float | None


@dataclass(frozen=True)
class PhonePairs:
    """phone: the most likely phone of each code (codes,); pairs: the pairs of neighbouring phones in the labels."""

    phone: np.ndarray
    pairs: set[tuple[int, int]]


def evaluate_samples(
    files: CodeFiles,
    data: Path,
    labels: CorpusLabels | None,
    *,
    count: int = 64,
    seconds: float = 10.0,
    sampling: Sampling,
) -> tuple[dict[str, Divergence], LeftOut]:
    """Draw sequences of codes from the prior of `files`, without a given speaker, and compare them with training.

    data: folder of the prepared corpus
    labels: of the corpus, for `Divergence.phones`
    count, seconds: number of sequences and their length; fewer are drawn if there is less held-out speech, since few
        codes always diverge more

    Returns the divergences of the samples, and of as many codes of three references: the samples in random order, codes
    drawn independently by their frequency in training ("order 0"), and real speech of the split `valid` ("held out");
    and (id, reason) of utterances that cannot be read.

    Raises SpeechVQError without a prior, or if no utterance of a split can be read.
    """
    codec, prior = files.codec, files.prior
    if prior is None:
        raise SpeechVQError("samples are drawn from a prior (--prior)")
    utterances = read_manifest(data)
    train = [u for u in utterances if u.split == "train"]
    known = {u.speaker for u in train}
    valid = [u for u in utterances if u.split == "valid" and u.speaker in known]
    train, rows, left_out = _usable(files, data, "train", train)
    _, held_out, others = _usable(files, data, "valid", valid)
    length = max(round(seconds * SAMPLE_RATE / codec.hop_length), 2)
    count = max(min(count, sum(map(len, held_out)) // length), 1)
    drawn = [*prior.sample(count, length, None, sampling).numpy()]
    random = np.random.default_rng(sampling.seed)
    all_codes = np.concatenate(rows)
    sets = {
        "samples": drawn,
        "shuffled": [random.permutation(row) for row in drawn],
        "order 0": [random.choice(all_codes, length) for _ in drawn],
        "held out": _first(held_out, count * length),
    }
    by_id = dict(zip((u.id for u in train), rows, strict=True))
    phones = None if labels is None else _phone_pairs(files, labels, by_id)
    divergences = {name: diverge(some, rows, codec.alphabet.codes, phones) for name, some in sets.items()}
    return divergences, [*left_out, *others]


def _usable(
    files: CodeFiles, data: Path, split: str, utterances: Sequence[Utterance]
) -> tuple[list[Utterance], list[np.ndarray], LeftOut]:
    """`usable_codes` of a split, with the penalty of those that the prior has learned.

    Raises SpeechVQError if there are none.
    """
    if not utterances:
        raise SpeechVQError(f"{data}: no speech of the split '{split}', with which samples are compared")
    usable, rows, left_out = usable_codes(files.codec, data, utterances, files.penalty)
    if not rows:
        name, reason = left_out[0]
        raise SpeechVQError(f"none of {len(left_out)} can be used; the first, {name}: {reason}")
    return usable, rows, left_out


def diverge(
    rows: Sequence[np.ndarray], training: Sequence[np.ndarray], codes: int, phones: PhonePairs | None = None
) -> Divergence:
    """The divergence of `rows` from `training`, both sequences of codes below `codes`."""
    unigrams = [np.bincount(np.concatenate(side), minlength=codes) for side in (rows, training)]
    bigrams = [_bigrams(side, codes) for side in (rows, training)]
    share = None
    if phones is not None:
        found = [pair for row in rows for pair in _neighbours(phones.phone[row])]
        share = sum(pair in phones.pairs for pair in found) / max(len(found), 1)
    return Divergence(sum(map(len, rows)), jensen_shannon(*unigrams), jensen_shannon(*bigrams), share)


def _bigrams(rows: Sequence[np.ndarray], codes: int) -> np.ndarray:
    """Counts (codes, codes) of neighbouring codes."""
    before, after = (np.concatenate([row[part] for row in rows]) for part in (slice(-1), slice(1, None)))
    return contingency(before, after, (codes, codes))


def jensen_shannon(one: np.ndarray, other: np.ndarray) -> float:
    """Jensen-Shannon divergence in bits of the distributions with these counts (arrays of the same shape)."""
    p, q = one.ravel() / one.sum(), other.ravel() / other.sum()
    middle = (p + q) / 2
    return float(sum((side[side > 0] * np.log2(side[side > 0] / middle[side > 0])).sum() for side in (p, q)) / 2)


def _phone_pairs(files: CodeFiles, labels: CorpusLabels, codes: dict[str, np.ndarray]) -> PhonePairs:
    """The mapping from codes to phones, silence among them, and the pairs of phones of labelled utterances.

    codes: codes (frames,) by utterance id
    """
    codec = files.codec
    labelled = [item for item in labels.labelled if item.utterance.id in codes]
    names = sorted({segment.label for item in labelled for segment in item.segments} | {SILENCE})
    index = {name: i for i, name in enumerate(names)}
    code, phone, pairs = [np.empty(0, int)], [np.empty(0, int)], set()
    for item in labelled:
        row = codes[item.utterance.id]
        frames = frame_labels(item.segments, len(row), codec.hop_length / SAMPLE_RATE)
        code.append(row)
        phone.append(np.array([index[label or SILENCE] for label in frames]))
        pairs.update(_neighbours(np.array([index[segment.label] for segment in item.segments])))
    counts = contingency(np.concatenate(code), np.concatenate(phone), (codec.alphabet.codes, len(names)))
    return PhonePairs(most_likely_phones(counts), pairs)


def _neighbours(phones: np.ndarray) -> list[tuple[int, int]]:
    """The pairs of neighbouring phones that differ."""
    changes = np.flatnonzero(phones[1:] != phones[:-1])
    return [(int(phones[i]), int(phones[i + 1])) for i in changes]


def _first(rows: Sequence[np.ndarray], codes: int) -> list[np.ndarray]:
    """The first rows with at most so many codes together, at least one row."""
    ends = np.cumsum([len(row) for row in rows])
    return list(rows[: max(int(np.searchsorted(ends, codes, side="right")), 1)])

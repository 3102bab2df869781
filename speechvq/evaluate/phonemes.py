"""A model's codes against phone labels, by every rule that changes the answer."""

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from speechvq.audio import SAMPLE_RATE
from speechvq.codec import Codec
from speechvq.coding.trained_prior import TrainedPrior
from speechvq.data.labels import frame_labels
from speechvq.data.phones import SILENCE
from speechvq.evaluate.labelled import Spoken, clusters, read_labelled, read_speech, scored_speakers
from speechvq.evaluate.metrics.abx import Abx, abx, tokens
from speechvq.evaluate.metrics.accuracy import Score, mapping, score, table

UNLABELLED = "?"
OFFSETS = range(-80, 90, 10)  # ms
PRIMARY, ALL = "centre", "centre, silence too"
RULES = (PRIMARY, "majority", ALL, "majority, silence too")


@dataclass(frozen=True)
class Mapping:
    """What a model's codes say about phones.

    scores: by rule of RULES. offset_ms: how much later than by its own time a frame's label is read, the best of
    `sweep` (offset: accuracy) on the fitting speakers. mfcc: the primary score of as many clusters of MFCC, which are
    in time by construction, with no offset. gaps: the share of frames without a label. abx and abx_random: of the
    bottleneck's vectors, and of random ones. bits_per_s: nominal, by the entropy of single codes, and of
    the scored speakers under a prior if one is given. confusion
    (phones, phones): how often each phone of the scored speakers is told as each. meetings (codes, phones): how often
    they meet, over all speakers. Both without silence.
    """

    scores: dict[str, Score]
    mfcc: Score
    offset_ms: int
    sweep: dict[int, float]
    fit: list[str]
    scored: list[str]
    unlabelled: list[str]
    gaps: float
    abx: Abx
    abx_random: Abx
    bits_per_s: dict[str, float]
    phones: list[str]
    confusion: np.ndarray
    meetings: np.ndarray


class Join:
    """Utterances whose frames, `hop` seconds each, have the phones of their labels as numbers: first those of speech
    (`phones`), then silence and what is not labelled."""

    def __init__(self, speech: Sequence[Spoken], hop: float) -> None:
        self.speech, self.hop = speech, hop
        self.phones = sorted({segment.label for s in speech for segment in s.segments} - {SILENCE})
        self.index = {name: i for i, name in enumerate([*self.phones, SILENCE, UNLABELLED])}
        self.quiet = {self.index[SILENCE], self.index[UNLABELLED]}

    def numbers(self, offset: int, *, majority: bool = False) -> list[np.ndarray]:
        """The phone of every frame (frames,) of every utterance; offset in ms (see `frame_labels`)."""
        late = offset / 1000
        rows = (frame_labels(s.segments, len(s.vectors), self.hop, late, majority) for s in self.speech)
        return [np.array([self.index[label or UNLABELLED] for label in row], int) for row in rows]


def evaluate_phonemes(
    codec: Codec,
    data: Path,
    labels: Path,
    *,
    scored: Collection[str] = (),
    codes: int = 128,
    prior: TrainedPrior | None = None,
    seed: int = 0,
) -> Mapping:
    """Measure a model on the utterances prepared in `data` that have labels; `unlabelled` are the ids of the others.

    The mapping is fitted on some speakers and scored on the rest: `scored`, or those unseen in training, or half of
    all. A model without codes gets `codes` of them by k-means on the fitting speakers' vectors. prior: of the model's
    codes, for the bit rate of the scored speakers under it.
    """
    labelled, unlabelled = read_labelled(data, labels)
    rest = scored_speakers(labelled, scored)  # before the work
    speech = read_speech(codec, data, labelled)
    fitted = [s.utterance.speaker not in rest for s in speech]
    count = codec.model.bottleneck.codes or codes
    own = [s.codes for s in speech if s.codes is not None] or clusters([s.vectors for s in speech], fitted, count, seed)
    mfcc = clusters([s.features for s in speech], fitted, count, seed)
    result = map_phones(Join(speech, codec.hop_length / SAMPLE_RATE), own, mfcc, rest, count, unlabelled, seed)
    if prior is None:
        return result
    bits = prior.net.bits_per_code([row for row, fit in zip(own, fitted, strict=True) if not fit])
    return replace(result, bits_per_s={**result.bits_per_s, "prior": bits * SAMPLE_RATE / codec.hop_length})


def map_phones(
    join: Join,
    codes: Sequence[np.ndarray],
    mfcc: Sequence[np.ndarray],
    scored: Collection[str],
    count: int,
    unlabelled: Sequence[str] = (),
    seed: int = 0,
) -> Mapping:
    """codes and mfcc: numbers below `count`, an array (frames,) for each utterance of the join."""
    speakers = [s.utterance.speaker for s in join.speech]
    fitted = np.repeat([speaker not in scored for speaker in speakers], [len(row) for row in codes])
    code, fit = np.concatenate(codes), set(speakers) - set(scored)
    sweep = {offset: _accuracy(code[fitted], np.concatenate(join.numbers(offset))[fitted], join) for offset in OFFSETS}
    offset = max(sweep, key=lambda one: (sweep[one], -abs(one)))
    primary = join.numbers(offset)
    scores = {
        rule: score(
            codes,
            join.numbers(offset, majority="majority" in rule),
            speakers,
            fit=fit,
            silence={join.index[UNLABELLED]} if "silence" in rule else join.quiet,
            seed=seed,
        )
        for rule in RULES
    }
    phone = np.concatenate(primary)
    spoken, shape = ~np.isin(phone, [*join.quiet]), (count, len(join.phones))
    told = mapping(table(code[spoken & fitted], phone[spoken & fitted], shape))[code]
    vectors = [s.vectors for s in join.speech]
    found = tokens([s.segments for s in join.speech], join.hop, [len(row) for row in vectors], offset / 1000)
    noise = np.random.default_rng(seed)
    return Mapping(
        scores=scores,
        mfcc=score(mfcc, join.numbers(0), speakers, fit=fit, silence=join.quiet, seed=seed),
        offset_ms=offset,
        sweep=sweep,
        fit=sorted(fit),
        scored=sorted(scored),
        unlabelled=list(unlabelled),
        gaps=float((phone == join.index[UNLABELLED]).mean()),
        abx=abx(vectors, speakers, found, seed=seed),
        abx_random=abx([noise.standard_normal(row.shape) for row in vectors], speakers, found, seed=seed),
        bits_per_s={"nominal": math.log2(count) / join.hop, "unigram": scores[ALL].entropy / join.hop},
        phones=join.phones,
        confusion=table(phone[spoken & ~fitted], told[spoken & ~fitted], (shape[1], shape[1])),
        meetings=table(code[spoken], phone[spoken], shape),
    )


def _accuracy(code: np.ndarray, phone: np.ndarray, join: Join) -> float:
    """Of codes on the frames they are mapped by, silence left out."""
    spoken = ~np.isin(phone, [*join.quiet])
    return float(table(code[spoken], phone[spoken]).max(1).sum() / spoken.sum()) if spoken.any() else 0.0

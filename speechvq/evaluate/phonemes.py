"""Evaluate the codes of a model against phone labels: accuracy, purity, PNMI and ABX, each beside its baselines."""

import math
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from speechvq.audio import SAMPLE_RATE
from speechvq.codec import Codec
from speechvq.coding.trained_prior import TrainedPrior
from speechvq.evaluate.labelled import EncodedUtterance, clusters, encode_labelled, read_labelled, scored_speakers
from speechvq.evaluate.metrics.abx import Abx, abx, tokens
from speechvq.evaluate.metrics.missing import none_for_nan
from speechvq.evaluate.metrics.phone_mapping import PhoneScores, contingency, most_likely_phones, phone_scores
from speechvq.text.frames import frame_labels
from speechvq.text.phones import SILENCE

UNLABELLED = "?"
OFFSETS = range(-80, 90, 10)  # ms
# How the phone of a frame is chosen, and whether silence is scored: keys of `PhonemeEvaluation.scores`.
PRIMARY, WITH_SILENCE = "centre", "centre, silence too"
RULES = (PRIMARY, "majority", WITH_SILENCE, "majority, silence too")


@dataclass(frozen=True)
class PhonemeEvaluation:
    """How well the codes of a model predict phones.

    scores: scores of the codes, by rule of RULES
    mfcc: baseline, the primary scores of as many k-means clusters of MFCC, with no offset
    offset_ms: how much later than its own time the label of a frame is read, the best of `sweep`
    sweep: accuracy on the fitting speakers, by offset in ms
    fit, scored: speakers that the mapping is fitted on, and speakers that it is scored on
    unlabelled: ids of the utterances without labels
    gaps: share of frames without a label
    abx, abx_random: ABX errors of the bottleneck's vectors, and of random vectors
    bits_per_s: bit rate: nominal, by the entropy of single codes, and of the scored speakers under a prior if given
    phones: names of the phones, without silence
    confusion: (phones, phones), frames of the scored speakers by their phone and the predicted phone
    contingency: (codes, phones), frames of all speakers by code and phone
    """

    scores: dict[str, PhoneScores]
    mfcc: PhoneScores
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
    contingency: np.ndarray

    def figures(self) -> dict[str, Any]:
        """All figures for JSON: without the matrices, and None instead of NaN."""
        figures = {key: value for key, value in asdict(self).items() if key not in ("confusion", "contingency")}
        return dict(none_for_nan(figures))


class FramePhones:
    """The phones of the frames of labelled utterances, as numbers.

    utterances: encoded utterances
    hop: seconds per frame
    phones: names of the phones, numbered from 0; silence and unlabelled follow
    ids: number of each phone, of SILENCE and of UNLABELLED
    not_speech: the numbers of silence and unlabelled
    """

    def __init__(self, utterances: Sequence[EncodedUtterance], hop: float) -> None:
        self.utterances, self.hop = utterances, hop
        self.phones = sorted({segment.label for u in utterances for segment in u.segments} - {SILENCE})
        self.ids = {name: i for i, name in enumerate([*self.phones, SILENCE, UNLABELLED])}
        self.not_speech = [self.ids[SILENCE], self.ids[UNLABELLED]]

    def at(self, offset: int, *, majority: bool = False) -> list[np.ndarray]:
        """For each utterance the phone of every frame (frames,), read `offset` ms later (see `frame_labels`)."""
        rows = (frame_labels(u.segments, len(u.vectors), self.hop, offset / 1000, majority) for u in self.utterances)
        return [np.array([self.ids[label or UNLABELLED] for label in row], int) for row in rows]


def evaluate_phonemes(
    codec: Codec,
    data: Path,
    labels: Path,
    *,
    scored: Collection[str] = (),
    codes: int = 128,
    prior: TrainedPrior | None = None,
    seed: int = 0,
) -> PhonemeEvaluation:
    """Evaluate a model on the labelled utterances prepared in `data`.

    labels: folder of label files
    scored: speakers to score; the mapping is fitted on the others (default: see `scored_speakers`)
    codes: number of k-means clusters that a model without codes gets, fitted on the fitting speakers' vectors
    prior: prior over the model's codes, for the bit rate of the scored speakers under it

    Raises SpeechVQError if there are no labels, or no speakers to fit on and to score.
    """
    labelled, unlabelled = read_labelled(data, labels)
    scored_names = scored_speakers(labelled, scored)  # before the work
    utterances = encode_labelled(codec, data, labelled)
    fitted = [u.utterance.speaker not in scored_names for u in utterances]
    count = codec.model.bottleneck.codes or codes
    own = [u.codes for u in utterances if u.codes is not None]
    own = own or clusters([u.vectors for u in utterances], fitted, count, seed)
    mfcc = clusters([u.mfcc for u in utterances], fitted, count, seed)
    frames = FramePhones(utterances, codec.hop_length / SAMPLE_RATE)
    result = score_codes(frames, own, mfcc, scored_names, count, unlabelled, seed)
    if prior is None:
        return result
    bits = prior.net.bits_per_code([row for row, fit in zip(own, fitted, strict=True) if not fit])
    return replace(result, bits_per_s={**result.bits_per_s, "prior": bits * SAMPLE_RATE / codec.hop_length})


def score_codes(
    frames: FramePhones,
    codes: Sequence[np.ndarray],
    mfcc: Sequence[np.ndarray],
    scored: Collection[str],
    count: int,
    unlabelled: Sequence[str] = (),
    seed: int = 0,
) -> PhonemeEvaluation:
    """Score codes and clusters of MFCC against the phones of their frames.

    codes, mfcc: for each utterance an integer array (frames,), from 0 to count - 1
    scored: speakers to score
    """
    speakers = [u.utterance.speaker for u in frames.utterances]
    fitted = np.repeat([speaker not in scored for speaker in speakers], [len(row) for row in codes])
    code, fit = np.concatenate(codes), set(speakers) - set(scored)
    sweep = {
        offset: _fitted_accuracy(code[fitted], np.concatenate(frames.at(offset))[fitted], frames.not_speech)
        for offset in OFFSETS
    }
    offset = max(sweep, key=lambda ms: (sweep[ms], -abs(ms)))
    scores = {
        rule: phone_scores(
            codes,
            frames.at(offset, majority="majority" in rule),
            speakers,
            fit=fit,
            silence=[frames.ids[UNLABELLED]] if "silence" in rule else frames.not_speech,
            seed=seed,
        )
        for rule in RULES
    }
    phone = np.concatenate(frames.at(offset))
    speech, shape = ~np.isin(phone, frames.not_speech), (count, len(frames.phones))
    predicted = most_likely_phones(contingency(code[speech & fitted], phone[speech & fitted], shape))[code]
    scored_speech = speech & ~fitted
    errors, random_errors = _abx_errors(frames, speakers, offset, seed)
    return PhonemeEvaluation(
        scores=scores,
        mfcc=phone_scores(mfcc, frames.at(0), speakers, fit=fit, silence=frames.not_speech, seed=seed),
        offset_ms=offset,
        sweep=sweep,
        fit=sorted(fit),
        scored=sorted(scored),
        unlabelled=list(unlabelled),
        gaps=float((phone == frames.ids[UNLABELLED]).mean()),
        abx=errors,
        abx_random=random_errors,
        bits_per_s={"nominal": math.log2(count) / frames.hop, "unigram": scores[WITH_SILENCE].entropy / frames.hop},
        phones=frames.phones,
        confusion=contingency(phone[scored_speech], predicted[scored_speech], (shape[1], shape[1])),
        contingency=contingency(code[speech], phone[speech], shape),
    )


def _fitted_accuracy(code: np.ndarray, phone: np.ndarray, not_speech: Sequence[int]) -> float:
    """The accuracy of codes on the frames that they are mapped by, silence left out."""
    speech = ~np.isin(phone, not_speech)
    return float(contingency(code[speech], phone[speech]).max(1).sum() / speech.sum()) if speech.any() else 0.0


def _abx_errors(frames: FramePhones, speakers: Sequence[str], offset: int, seed: int) -> tuple[Abx, Abx]:
    """ABX errors of the bottleneck's vectors and of random vectors, with labels read `offset` ms later."""
    vectors = [u.vectors for u in frames.utterances]
    lengths = [len(row) for row in vectors]
    found = tokens([u.segments for u in frames.utterances], frames.hop, lengths, offset / 1000)
    random = np.random.default_rng(seed)
    noise = [random.standard_normal(row.shape) for row in vectors]
    return abx(vectors, speakers, found, seed=seed), abx(noise, speakers, found, seed=seed)

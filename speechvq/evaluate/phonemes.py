"""Evaluate the codes of a model against phone labels: accuracy, phone error rate, boundaries, PNMI, ABX, and what a
linear probe reads, each beside its baselines."""

import math
from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from speechvq import SpeechVQError
from speechvq.audio import SAMPLE_RATE
from speechvq.codec import Codec
from speechvq.coding.trained_prior import TrainedPrior
from speechvq.data.utterance_labels import read_labelled
from speechvq.evaluate.labelled import (
    UNLABELLED,
    EncodedUtterance,
    FramePhones,
    clusters,
    encode_labelled,
    scored_speakers,
)
from speechvq.evaluate.left_out import LeftOut
from speechvq.evaluate.metrics.abx import Abx, abx, tokens
from speechvq.evaluate.metrics.missing import none_for_nan
from speechvq.evaluate.metrics.phone_classes import ClassScore, CodeMeaning, class_scores, code_meanings
from speechvq.evaluate.metrics.phone_mapping import PhoneScores, contingency, most_likely_phones, phone_scores
from speechvq.evaluate.metrics.phone_sequences import SequenceScores, collapse, label_runs, sequence_scores
from speechvq.evaluate.metrics.probe import ProbeScore, linear_probe
from speechvq.text.labels import USUAL, LabelReading
from speechvq.text.phones import SILENCE
from speechvq.train.prior import ngram_bits

OFFSETS = range(-80, 90, 10)  # ms
PAIRED_CODES = 4096  # a table of the pairs of more codes would not fit into memory
# How the phone of a frame is chosen, and whether silence is scored: keys of `PhonemeEvaluation.scores`.
PRIMARY, WITH_SILENCE = "centre", "centre, silence too"
RULES = (PRIMARY, "majority", WITH_SILENCE, "majority, silence too")


@dataclass(frozen=True)
class PhonemeEvaluation:
    """How well the codes of a model predict phones.

    scores: scores of the codes, by rule of RULES
    mfcc: baseline, the primary scores of as many k-means clusters of MFCC, with no offset
    sequences: phone error rate and boundaries of the scored speakers: of `codes`, of their phones in random order
        (`shuffled`), of the clusters (`mfcc`), and of the `labels` themselves where they are read once a frame only,
        which is the best that codes of this rate can do
    classes: accuracy of the codes by class of phone, of the scored speakers
    code_table: what each code that occurs means, on all speakers, silence among the phones
    probes: what a linear classifier reads from `latents`, from `vectors` and from layers of the encoder
    offset_ms: how much later than its own time the label of a frame is read, the best of `sweep`
    sweep: accuracy on the fitting speakers, by offset in ms
    fit, scored: speakers that the mapping is fitted on, and speakers that it is scored on
    unlabelled: ids of the utterances without labels
    gaps: share of frames without a label
    abx, abx_random: ABX errors of the bottleneck's vectors, and of random vectors
    bits_per_s: bit rate: nominal, by the entropy of single codes (`unigram`), and of the scored speakers by pairs of
        codes of the others (`bigram`, up to PAIRED_CODES codes) and under a prior if given
    runs_per_s: number of runs of one code in a second
    squared_distance: mean of the squared distances of latents to their codes, the scale of a penalty for changes; NaN
        for a model without codes
    phones: names of the phones, without silence
    confusion: (phones, phones), frames of the scored speakers by their phone and the predicted phone
    contingency: (codes, phones), frames of all speakers by code and phone
    left_out: (id, reason) of utterances whose labels or audio cannot be used
    """

    scores: dict[str, PhoneScores]
    mfcc: PhoneScores
    sequences: dict[str, SequenceScores]
    classes: dict[str, ClassScore]
    code_table: list[CodeMeaning]
    offset_ms: int
    sweep: dict[int, float]
    fit: list[str]
    scored: list[str]
    unlabelled: list[str]
    gaps: float
    abx: Abx
    abx_random: Abx
    bits_per_s: dict[str, float]
    runs_per_s: float
    squared_distance: float
    phones: list[str]
    confusion: np.ndarray
    contingency: np.ndarray
    probes: dict[str, ProbeScore] = field(default_factory=dict)
    left_out: LeftOut = field(default_factory=list)

    def figures(self) -> dict[str, Any]:
        """All figures for JSON: without the matrices, and None instead of NaN."""
        figures = {key: value for key, value in asdict(self).items() if key not in ("confusion", "contingency")}
        return dict(none_for_nan(figures))


def evaluate_phonemes(
    codec: Codec,
    data: Path,
    labels: Path,
    *,
    scored: Collection[str] = (),
    codes: int = 128,
    prior: TrainedPrior | None = None,
    probe: Sequence[str] = (),
    reading: LabelReading = USUAL,
    penalty: float = 0.0,
    seed: int = 0,
) -> PhonemeEvaluation:
    """Evaluate a model on the labelled utterances prepared in `data`.

    labels: folder of label files
    reading: how they are read
    scored: speakers to score; the mapping is fitted on the others (default: see `scored_speakers`)
    codes: number of k-means clusters that a model without codes gets, fitted on the fitting speakers' vectors
    prior: prior over the model's codes, for the bit rate of the scored speakers under it
    probe: layers of the encoder to probe beside latents and vectors, such as "3", or "0+3+6" for three joined
    penalty: for each change of code, see `Codec.encode`

    Raises SpeechVQError if there are no labels, no speakers to fit on and to score, no such layers, or a penalty for a
    model without codes.
    """
    joined = parse_layers(probe, codec.model.encoder.depth)  # before the work
    if penalty:
        _ = codec.model.discrete
    found = read_labelled(data, labels, reading)
    scored_names = scored_speakers(found.labelled, scored)
    layers = {i for numbers in joined.values() for i in numbers}
    utterances, unread = encode_labelled(codec, data, found.labelled, layers, penalty)
    fitted = [u.utterance.speaker not in scored_names for u in utterances]
    count = codec.model.bottleneck.codes or codes
    own = [u.codes for u in utterances if u.codes is not None]
    own = own or clusters([u.vectors for u in utterances], fitted, count, seed)
    fewest = min(count, sum(len(u.mfcc) for u, fit in zip(utterances, fitted, strict=True) if fit))
    mfcc = clusters([u.mfcc for u in utterances], fitted, fewest, seed)
    frames = FramePhones(utterances, codec.hop_length / SAMPLE_RATE)
    result = score_codes(frames, own, mfcc, scored_names, count, found.unlabelled, seed)
    result = replace(result, left_out=[*found.left_out, *unread])
    result = replace(result, probes=probe_layers(frames, result.offset_ms, scored_names, joined, seed))
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
    fit, code = set(frames.speakers) - set(scored), np.concatenate(codes)
    sweep = _sweep(frames, code, scored)
    offset = max(sweep, key=lambda ms: (sweep[ms], -abs(ms)))
    scores = {
        rule: phone_scores(
            codes,
            frames.at(offset, majority="majority" in rule),
            frames.speakers,
            fit=fit,
            silence=[frames.ids[UNLABELLED]] if "silence" in rule else frames.not_speech,
            seed=seed,
        )
        for rule in RULES
    }
    phone = np.concatenate(frames.at(offset))
    counts = contingency(code, phone, (count, len(frames.ids)))[:, : frames.ids[UNLABELLED]]
    confusion = _confusion(frames, code, phone, scored)
    predicted, random = _mapped(frames, codes, offset, scored), np.random.default_rng(seed)
    errors, random_errors = _abx_errors(frames, offset, seed)
    return PhonemeEvaluation(
        scores=scores,
        mfcc=phone_scores(mfcc, frames.at(0), frames.speakers, fit=fit, silence=frames.not_speech, seed=seed),
        sequences={
            "codes": _sequences(frames, predicted, offset, scored, seed),
            "shuffled": _sequences(frames, [random.permutation(row) for row in predicted], offset, scored, seed),
            "mfcc": _sequences(frames, _mapped(frames, mfcc, 0, scored), 0, scored, seed),
            "labels": _sequences(frames, frames.at(0), 0, scored, seed),
        },
        classes=class_scores(confusion, frames.phones, seed),
        code_table=code_meanings(counts, [*frames.phones, SILENCE]),
        offset_ms=offset,
        sweep=sweep,
        fit=sorted(fit),
        scored=sorted(scored),
        unlabelled=list(unlabelled),
        gaps=float((phone == frames.ids[UNLABELLED]).mean()),
        abx=errors,
        abx_random=random_errors,
        bits_per_s=_bit_rates(frames, codes, scored, count, scores[WITH_SILENCE].entropy),
        runs_per_s=_runs_per_s(codes, frames.hop),
        squared_distance=_mean_distance(frames),
        phones=frames.phones,
        confusion=confusion.sum(0),
        contingency=counts[:, : len(frames.phones)],
    )


def parse_layers(names: Sequence[str], depth: int) -> dict[str, tuple[int, ...]]:
    """The numbers of the layers that each name, such as "0+3+6", joins.

    depth: number of layers of the encoder
    Raises SpeechVQError if there is no such layer.
    """
    if names and not depth:
        raise SpeechVQError("the layers of this encoder cannot be probed (--probe), only those of a causal one")
    joined = {}
    for name in names:
        numbers = [int(part) if part.isdecimal() else depth for part in name.split("+")]
        if max(numbers) >= depth:
            raise SpeechVQError(f"'{name}': layers to probe are 0 to {depth - 1}, or some of them joined, such as 0+1")
        joined[name] = tuple(numbers)
    return joined


def probe_layers(
    frames: FramePhones, offset: int, scored: Collection[str], layers: dict[str, tuple[int, ...]], seed: int = 0
) -> dict[str, ProbeScore]:
    """Probe the latents, the bottleneck's vectors, and layers of the encoder, silence left out.

    offset: how much later the label of a frame is read, in ms
    scored: speakers to score; the probe is fitted on the others
    layers: numbers of the layers to join, by name
    """
    phone, fitted = np.concatenate(frames.at(offset)), frames.of_others(scored)
    speech = ~np.isin(phone, frames.not_speech)
    lengths = [len(u.vectors) for u in frames.utterances]
    speaker, of_speech = np.repeat(frames.speakers, lengths)[speech], np.split(speech, np.cumsum(lengths)[:-1])

    def probe(rows: Iterable[np.ndarray]) -> ProbeScore:
        vectors = np.concatenate([row[kept] for row, kept in zip(rows, of_speech, strict=True)])
        return linear_probe(vectors, phone[speech], speaker, fitted[speech], seed)

    def joined(u: EncodedUtterance, numbers: Sequence[int]) -> np.ndarray:
        return np.concatenate([u.layers[i] for i in numbers], 1)

    return {
        "latents": probe(u.latents for u in frames.utterances),
        "vectors": probe(u.vectors for u in frames.utterances),
        **{f"layer {name}": probe(joined(u, own) for u in frames.utterances) for name, own in layers.items()},
    }


def _sweep(frames: FramePhones, code: np.ndarray, scored: Collection[str]) -> dict[int, float]:
    """The accuracy of codes on the frames that they are mapped by, silence left out, by offset of the labels in ms."""
    fitted, found = frames.of_others(scored), {}
    for offset in OFFSETS:
        phone = np.concatenate(frames.at(offset))
        kept = fitted & ~np.isin(phone, frames.not_speech)
        found[offset] = float(contingency(code[kept], phone[kept]).max(1).sum() / kept.sum()) if kept.any() else 0.0
    return found


def _confusion(frames: FramePhones, code: np.ndarray, phone: np.ndarray, scored: Collection[str]) -> np.ndarray:
    """Frames by scored speaker, phone and predicted phone (speakers, phones, phones), silence left out."""
    speech, fitted, size = ~np.isin(phone, frames.not_speech), frames.of_others(scored), len(frames.phones)
    shape = code.max() + 1, size
    mapping = most_likely_phones(contingency(code[speech & fitted], phone[speech & fitted], shape))
    own, names = speech & ~fitted, np.repeat(frames.speakers, [len(u.vectors) for u in frames.utterances])
    ids = np.unique(names[own], return_inverse=True)[1]
    counts = contingency(ids * size + phone[own], mapping[code[own]], ((ids.max() + 1) * size, size))
    return counts.reshape(-1, size, size)


def _bit_rates(
    frames: FramePhones, codes: Sequence[np.ndarray], scored: Collection[str], count: int, entropy: float
) -> dict[str, float]:
    """Bit rates without a prior; the entropy is that of single codes, in bits."""
    rates = {"nominal": math.log2(count) / frames.hop, "unigram": entropy / frames.hop}
    if count <= PAIRED_CODES:
        own, others = (
            [row for row, name in zip(codes, frames.speakers, strict=True) if (name in scored) == side]
            for side in (True, False)
        )
        rates["bigram"] = ngram_bits(others, own, count)["bigram"] / frames.hop
    return rates


def _runs_per_s(codes: Sequence[np.ndarray], hop: float) -> float:
    changes = sum(np.count_nonzero(row[1:] != row[:-1]) + 1 for row in codes if len(row))
    return float(changes / (hop * sum(map(len, codes))))


def _mean_distance(frames: FramePhones) -> float:
    distances = [u.distances for u in frames.utterances if u.distances is not None]
    return float(np.concatenate(distances).mean()) if distances else math.nan


def _mapped(frames: FramePhones, codes: Sequence[np.ndarray], offset: int, scored: Collection[str]) -> list[np.ndarray]:
    """For each utterance the most likely phone of every code (frames,), silence among them."""
    phone, unlabelled = np.concatenate(frames.at(offset)), frames.ids[UNLABELLED]
    code, known = np.concatenate(codes), frames.of_others(scored) & (phone != unlabelled)
    mapping = most_likely_phones(contingency(code[known], phone[known], (code.max() + 1, unlabelled)))
    return [mapping[row] for row in codes]


def _sequences(
    frames: FramePhones, predicted: Sequence[np.ndarray], offset: int, scored: Collection[str], seed: int
) -> SequenceScores:
    """Scores of the phones of frames, silence among them, on the scored speakers.

    predicted: the phone of every frame (frames,), for each utterance; where there is no label it is not scored
    offset: how much later the label of a frame is read, in ms
    """
    unlabelled = frames.ids[UNLABELLED]
    runs, reference, speakers = [], [], []
    for u, row, label in zip(frames.utterances, predicted, frames.at(offset), strict=True):
        if u.utterance.speaker in scored:
            starts = np.arange(len(row)) * frames.hop + offset / 1000
            runs.append(collapse(np.where(label == unlabelled, unlabelled, row), starts))
            reference.append(label_runs(u.segments, frames.ids, unlabelled, len(row) * frames.hop))
            speakers.append(u.utterance.speaker)
    return sequence_scores(runs, reference, speakers, silence=frames.ids[SILENCE], unlabelled=unlabelled, seed=seed)


def _abx_errors(frames: FramePhones, offset: int, seed: int) -> tuple[Abx, Abx]:
    """ABX errors of the bottleneck's vectors and of random vectors, with labels read `offset` ms later."""
    vectors = [u.vectors for u in frames.utterances]
    lengths = [len(row) for row in vectors]
    found = tokens([u.segments for u in frames.utterances], frames.hop, lengths, offset / 1000)
    random = np.random.default_rng(seed)
    noise = [random.standard_normal(row.shape) for row in vectors]
    return abx(vectors, frames.speakers, found, seed=seed), abx(noise, frames.speakers, found, seed=seed)

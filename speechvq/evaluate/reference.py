"""The natural voices of a corpus, as a reference for converted speech: speaker embeddings, pitch, verification."""

import math
from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from speechvq.audio.io import read
from speechvq.data.manifest import Utterance, rank_key, read_manifest
from speechvq.evaluate.left_out import LeftOut, share_out_usable
from speechvq.evaluate.metrics.acoustics import log_pitch
from speechvq.evaluate.metrics.judges import Judges, centroid, equal_error_rate
from speechvq.evaluate.metrics.missing import known_mean

UTTERANCES_PER_SPEAKER = 20


@dataclass(frozen=True)
class ReferenceVoices:
    """The natural voices that converted speech is compared with.

    centroids: mean embedding (256,) of each speaker; empty without a speaker encoder
    pitch: mean log pitch (see `log_pitch`) of the requested speakers; NaN if unvoiced
    equal_error: equal error rate of verification with two natural utterances; NaN if it cannot be measured
    threshold: similarity from which on two utterances are accepted as of one speaker
    left_out: (id, reason) of utterances that cannot be read
    """

    centroids: dict[str, np.ndarray]
    pitch: dict[str, float]
    equal_error: float
    threshold: float
    left_out: LeftOut


def reference_voices(
    data: Path, judges: Judges, speakers: Collection[str], exclude: Collection[str]
) -> ReferenceVoices:
    """Measure the natural voices of all speakers prepared in `data`, from at most 20 utterances each.

    speakers: those whose pitch is measured
    exclude: ids of utterances to leave out
    """
    by_speaker: dict[str, list[Utterance]] = defaultdict(list)
    for u in sorted(read_manifest(data), key=lambda u: rank_key(u.id)):
        if u.id not in exclude and len(by_speaker[u.speaker]) < UTTERANCES_PER_SPEAKER:
            by_speaker[u.speaker].append(u)
    utterances = [u for own in by_speaker.values() for u in own]

    def measure(u: Utterance) -> tuple[np.ndarray | None, float]:
        wav = read(data / u.path)
        pitch = log_pitch(wav) if u.speaker in speakers else np.zeros(0)
        return judges.speaker_encoder.embed(wav) if judges.speaker_encoder else None, known_mean(pitch)

    embeddings: dict[str, list[np.ndarray]] = defaultdict(list)
    pitches: dict[str, list[float]] = defaultdict(list)
    measured, left_out = share_out_usable(utterances, measure, lambda u: u.id, unit="utterance")
    for u, (embedding, pitch) in measured:
        if embedding is not None:
            embeddings[u.speaker].append(embedding)
        pitches[u.speaker].append(pitch)
    error, threshold = verification(embeddings)
    centroids = {name: centroid(own) for name, own in embeddings.items()}
    mean_pitch = {name: known_mean(np.array(pitches[name])) for name in speakers}
    return ReferenceVoices(centroids, mean_pitch, error, threshold, left_out)


def verification(embeddings: dict[str, list[np.ndarray]]) -> tuple[float, float]:
    """`equal_error_rate` over all pairs of embeddings of natural utterances, by speaker.

    Returns the rate and its threshold; NaN without two utterances of one speaker, or without two speakers.
    """
    vectors = [vector for own in embeddings.values() for vector in own]
    if not vectors:
        return math.nan, math.nan
    speaker = np.repeat(np.arange(len(embeddings)), [len(own) for own in embeddings.values()])
    first, second = np.triu_indices(len(vectors), 1)
    similarity = (np.stack(vectors) @ np.stack(vectors).T)[first, second]
    same = speaker[first] == speaker[second]
    if same.all() or not same.any():
        return math.nan, math.nan
    return equal_error_rate(similarity[same], similarity[~same])

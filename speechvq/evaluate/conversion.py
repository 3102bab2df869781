"""Evaluate reconstruction and conversion of held-out speech: speaker similarity, intelligibility, quality, prosody.

Four kinds of speech are judged alike: the natural recording, its copy through 8-bit mu-law (the ceiling of a WaveNet
without errors), its reconstruction, and its conversions.
"""

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from speechvq import SpeechVQError
from speechvq.audio import SAMPLE_RATE
from speechvq.audio.io import read, write
from speechvq.audio.mulaw import mulaw_decode, mulaw_encode
from speechvq.codec import Codec
from speechvq.config.guarded import read_plain
from speechvq.data.manifest import Utterance, as_part, is_inside, rank_key, read_manifest, read_treatment
from speechvq.evaluate.left_out import LeftOut, share_out_usable
from speechvq.evaluate.metrics.acoustics import cepstral_distortion, compare, log_pitch, pitch_correlation
from speechvq.evaluate.metrics.judges import Judges
from speechvq.evaluate.metrics.missing import known_mean, none_for_nan
from speechvq.evaluate.reference import ReferenceVoices, reference_voices
from speechvq.folder.card import speaker_index
from speechvq.nn.decoder.contract import PitchChange
from speechvq.text.transcript import words
from speechvq.wavenet.sampler import Sampling

SPEECH_KINDS = ("natural", "copy", "reconstruction", "conversion")
DEFAULT_TARGETS = 8  # speakers
SEMITONE = math.log(2) / 12

Pair = tuple[Utterance, str]  # the source utterance, and the target speaker


@dataclass(frozen=True)
class ConversionEvaluation:
    """The result of `evaluate_conversion`.

    speakers: number of speakers with a reference embedding
    equal_error, threshold: of verification with natural speech (see `ReferenceVoices`); None if not measured
    figures: for each kind of speech its figures by name (see `summarize`); None if not measured
    rows: for each recording judged its utterance, text, source speaker, speaker, kind, and all that was measured
    left_out: (id, reason) of utterances that cannot be read
    """

    speakers: int
    equal_error: float | None
    threshold: float | None
    figures: dict[str, dict[str, float | None]]
    rows: list[dict[str, Any]]
    left_out: LeftOut = field(default_factory=list)


def choose_pairs(codec: Codec, data: Path, speakers: Sequence[str], count: int, split: str) -> list[Pair]:
    """Pair `count` utterances of each source speaker, chosen by a hash of their ids, with all other target speakers.

    speakers: targets, and sources in the split `test`; by default the 8 known to the model with the most speech
    count: utterances of each source
    split: `test`, or `unseen` to take all speakers of that split as sources

    Raises SpeechVQError if the model has no decoder, does not know a target, or a source has no utterance in the split.
    """
    _ = codec.model.speech_decoder
    utterances = read_manifest(data)
    samples: dict[str, int] = defaultdict(int)
    for u in utterances:
        samples[u.speaker] += u.samples
    held_out = [u for u in utterances if u.split == split]
    available = {u.speaker for u in held_out} if split != "unseen" else set(codec.speakers)
    by_speech = sorted(available & set(codec.speakers), key=lambda name: (-samples[name], name))
    targets = speakers or by_speech[:DEFAULT_TARGETS]
    for name in targets:
        speaker_index(codec.speakers, name)
    chosen = []
    for source in targets if split != "unseen" else sorted({u.speaker for u in held_out}):
        own = [u for u in held_out if u.speaker == source]
        if not own:
            raise SpeechVQError(f"{data}: no {split} utterance of speaker '{source}'")
        chosen += sorted(own, key=lambda u: rank_key(u.id))[:count]
    pairs = [(u, target) for u in chosen for target in targets if target != u.speaker]
    if not pairs:
        raise SpeechVQError(f"{data}: no {split} utterance to convert to another speaker")
    return pairs


def read_pairs(codec: Codec, data: Path, file: Path) -> list[Pair]:
    """Read pairs from a file with an utterance id, a tab and a target speaker on each line.

    Raises SpeechVQError, with the line, for an unknown utterance or speaker, or a file without pairs.
    """
    known = {u.id: u for u in read_manifest(data)}
    pairs = []
    for i, line in enumerate(read_plain(file).splitlines(), 1):
        name, tab, speaker = line.partition("\t")
        if not line.strip():
            continue
        if not tab or name not in known:
            raise SpeechVQError(f"{file}, line {i}: not the id of an utterance in {data}, a tab and a speaker")
        speaker_index(codec.speakers, speaker.strip())
        pairs.append((known[name], speaker.strip()))
    if not pairs:
        raise SpeechVQError(f"{file}: holds no pairs")
    return pairs


def evaluate_conversion(
    codec: Codec,
    data: Path,
    pairs: Sequence[Pair],
    judges: Judges,
    sampling: Sampling,
    wavs: Path | None = None,
    *,
    keep_pitch: bool = False,
    melody: bool = False,
) -> ConversionEvaluation:
    """Convert utterances and judge the result. Processes launched together share the work.

    data: folder of the prepared corpus
    pairs: utterances with their target speakers
    wavs: folder to write the judged recordings to, named by `wav_name`
    keep_pitch, melody: whether decoded speech has the pitch or the melody of the recording, as of `Codec.convert`

    Raises SpeechVQError if the model's decoder does not make audio.
    """
    codec = codec.after_high_pass(read_treatment(data).high_pass)
    codec.decode([0], codec.speakers[0])  # fails before the work for a decoder without audio
    codec.check_pitch(0.0, keep_pitch or melody)
    targets: dict[str, list[str]] = defaultdict(list)
    utterances = {u.id: u for u, _ in pairs}
    for u, speaker in pairs:
        targets[u.id].append(speaker)
    speakers = {speaker for _, speaker in pairs} | {u.speaker for u, _ in pairs}
    reference = reference_voices(data, judges, speakers, exclude=utterances)

    def judge(u: Utterance) -> list[dict[str, Any]]:
        rows = []
        natural = read(data / u.path)
        pitch = codec.pitch_of(natural, keep_pitch=keep_pitch, melody=melody)
        for kind, speaker, wav in _all_kinds(codec, natural, u.speaker, targets[u.id], sampling, pitch):
            if kind == "natural":
                natural_pitch = log_pitch(wav)
            row: dict[str, Any] = {"utterance": u.id, "text": u.text, "source": u.speaker, "speaker": speaker}
            row |= {"kind": kind} | _acoustic_figures(kind, natural, wav, natural_pitch, reference.pitch[speaker])
            rows.append(row | _judged_figures(judges, reference, wav, u, speaker))
            if wavs:
                write(wavs / wav_name(row), wav[: len(natural)])
        return rows

    judged, left_out = share_out_usable(list(utterances.values()), judge, lambda u: u.id, unit="utterance")
    rows = [row for _, own in judged for row in own]
    figures = {kind: summarize([row for row in rows if row["kind"] == kind]) for kind in SPEECH_KINDS}
    return ConversionEvaluation(
        len(reference.centroids),
        none_for_nan(reference.equal_error),
        none_for_nan(reference.threshold),
        {kind: own for kind, own in figures.items() if own["utterances"]},
        none_for_nan(rows),
        [*reference.left_out, *left_out],
    )


def wav_name(row: dict[str, Any]) -> str:
    """The file of a row's recording: UTTERANCE/natural.wav, copy.wav, reconstruction.wav or as-SPEAKER.wav.

    Raises SpeechVQError if the utterance's name would lead out of the folder that the name is joined to.
    """
    name = f"as-{row['speaker']}" if row["kind"] == "conversion" else row["kind"]
    if not is_inside(row["utterance"]):
        raise SpeechVQError(f"the utterance {row['utterance']!r} is no name of a file inside of a folder")
    return f"{row['utterance']}/{as_part(name)}.wav"


def _all_kinds(
    codec: Codec, natural: Tensor, source: str, targets: Sequence[str], sampling: Sampling, pitch: PitchChange
) -> Iterator[tuple[str, str, Tensor]]:
    """Kind, speaker and wav of the recording, its copy, its reconstruction and its conversions.

    The reconstruction is left out if the model does not know the source speaker.
    """
    yield "natural", source, natural
    yield "copy", source, mulaw_decode(mulaw_encode(natural))
    speakers = [source] * (source in codec.speakers) + [name for name in targets if name != source]
    rows = [codec.encode(natural, SAMPLE_RATE)] * len(speakers)
    decoded = codec.decode_many(rows, speakers, sampling, [pitch] * len(speakers))
    for name, wav in zip(speakers, decoded, strict=True):
        yield "reconstruction" if name == source else "conversion", name, wav


def _acoustic_figures(
    kind: str, natural: Tensor, wav: Tensor, natural_pitch: np.ndarray, speaker_pitch: float
) -> dict[str, float]:
    """Figures of `compare`, of pitch, and the cepstral distortion of copy and reconstruction.

    pitch_difference is that of the mean pitch from the speaker's own, in semitones, without sign.
    """
    pitch = log_pitch(wav[: len(natural)])
    figures = asdict(compare(natural, wav)) | {"pitch_difference": abs(known_mean(pitch) - speaker_pitch) / SEMITONE}
    if kind != "natural":
        figures["pitch_correlation"] = pitch_correlation(natural_pitch, pitch)
    if kind in ("copy", "reconstruction"):
        figures["cepstral_distortion"] = cepstral_distortion(natural, wav)
    return figures


def _judged_figures(
    judges: Judges, reference: ReferenceVoices, wav: Tensor, source: Utterance, speaker: str
) -> dict[str, Any]:
    figures: dict[str, Any] = {}
    if judges.speaker_encoder:
        figures |= _speaker_figures(judges.speaker_encoder.embed(wav), source.speaker, speaker, reference)
    if judges.recognizer and words(source.text):
        figures |= asdict(judges.recognizer.recognize(wav, source.text))
    if judges.dnsmos:
        figures["dnsmos"] = judges.dnsmos.score(wav)
    return figures


def _speaker_figures(embedding: np.ndarray, source: str, speaker: str, reference: ReferenceVoices) -> dict[str, float]:
    """Similarity to the speaker, and 0 or 1: nearest of all, accepted as the speaker, nearer than the source."""
    similarity = {name: float(embedding @ vector) for name, vector in reference.centroids.items()}
    if speaker not in similarity:
        return {}
    result = {"similarity": similarity[speaker], "nearest": float(similarity[speaker] >= max(similarity.values()))}
    if not math.isnan(reference.threshold):
        result["accepted"] = float(similarity[speaker] >= reference.threshold)
    if source != speaker and source in similarity:
        result["nearer"] = float(similarity[speaker] > similarity[source])
    return result


def summarize(rows: Sequence[dict[str, Any]]) -> dict[str, float | None]:
    """Summarize the rows of one kind of speech: error rates over all words, shares and means; None if not measured."""

    def mean(key: str) -> float | None:
        mean: float | None = none_for_nan(known_mean(np.array([row[key] for row in rows if key in row], dtype=float)))
        return mean

    def rate(errors: str, total: str) -> float | None:
        count = sum(row.get(total, 0) for row in rows)
        return sum(row.get(errors, 0) for row in rows) / count if count else None

    return {
        "utterances": len(rows),
        "word_error_rate": rate("word_errors", "words"),
        "character_error_rate": rate("character_errors", "characters"),
        "similarity": mean("similarity"),
        "accepted": mean("accepted"),
        "nearer": mean("nearer"),
        "nearest": mean("nearest"),
        "pitch_difference": mean("pitch_difference"),
        "pitch_correlation": mean("pitch_correlation"),
        "cepstral_distortion": mean("cepstral_distortion"),
        "dnsmos": mean("dnsmos"),
        "energy_correlation": mean("energy_correlation"),
        "energy_correlation_min": min((row["energy_correlation"] for row in rows), default=None),
        "duration_difference_max": max((abs(row["duration_difference"]) for row in rows), default=None),
        "clipped_samples": sum(row["clipped"] for row in rows),
    }

"""Held-out speech spoken with other voices, beside what it could be at best: whose voice, which words, how natural.

Four kinds of speech are judged alike: the natural recording, its copy through 8-bit mu-law (what a WaveNet that made
no mistake would say), its reconstruction, and its conversions.
"""

import math
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from speechvq import SpeechVQError
from speechvq.audio import SAMPLE_RATE
from speechvq.audio.io import read, write
from speechvq.audio.mulaw import mulaw_decode, mulaw_encode
from speechvq.codec import Codec
from speechvq.data.manifest import Utterance, rank_key, read_manifest
from speechvq.data.transcript import words
from speechvq.evaluate.metrics.acoustics import cepstral_distortion, compare, log_pitch, pitch_correlation
from speechvq.evaluate.metrics.judges import Judges, centre, equal_error
from speechvq.folder.card import speaker_index
from speechvq.nn.distributed import share_out
from speechvq.wavenet.sampler import Sampling

KINDS = ("natural", "copy", "reconstruction", "conversion")
TARGETS = 8  # speakers, where none are named
KNOWN_BY = 20  # utterances that tell what a speaker's own voice is like
SEMITONE = math.log(2) / 12

Pair = tuple[Utterance, str]  # what is said, and by whom


@dataclass(frozen=True)
class Reference:
    """The natural voices that speech is compared with.

    centres: the mean embedding of each speaker; pitch: the mean log pitch of the speakers asked for. equal_error and
    threshold: how well two natural utterances are told to be of one speaker, and from which similarity on.
    """

    centres: dict[str, np.ndarray]
    pitch: dict[str, float]
    equal_error: float
    threshold: float


@dataclass(frozen=True)
class Evaluation:
    """figures of each kind of speech (None where nothing was measured), and a row for each utterance spoken."""

    speakers: int
    equal_error: float | None
    threshold: float | None
    figures: dict[str, dict[str, float | None]]
    rows: list[dict[str, Any]]


def choose_pairs(codec: Codec, data: Path, speakers: Sequence[str], count: int, split: str) -> list[Pair]:
    """`count` utterances of a split, by a hash of their ids, of each of `speakers`, to be spoken by all the others.

    No `speakers`: the 8 of the model's that have the most speech. Of the split `unseen`, utterances are of everyone in
    it. SpeechVQError where one has no utterance in the split.
    """
    utterances = read_manifest(data)
    seconds: dict[str, int] = defaultdict(int)
    for u in utterances:
        seconds[u.speaker] += u.samples
    held_out = [u for u in utterances if u.split == split]
    there = {u.speaker for u in held_out} if split != "unseen" else set(codec.speakers)
    targets = speakers or sorted(there & set(codec.speakers), key=lambda name: (-seconds[name], name))[:TARGETS]
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
        raise SpeechVQError(f"{data}: no {split} utterance to be spoken by another speaker")
    return pairs


def read_pairs(codec: Codec, data: Path, file: Path) -> list[Pair]:
    """The pairs of a file: an utterance's id, a tab, the speaker who is to say it, on each line."""
    known = {u.id: u for u in read_manifest(data)}
    pairs = []
    for i, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
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
    codec: Codec, data: Path, pairs: Sequence[Pair], judges: Judges, sampling: Sampling, wavs: Path | None = None
) -> Evaluation:
    """Speak utterances with other voices, and judge what is heard. Processes that run together share the work.

    wavs: a folder to keep all that is heard in, as `heard_file` names it.
    """
    codec.decode([0], codec.speakers[0])  # what cannot speak is refused before the work
    targets: dict[str, list[str]] = defaultdict(list)
    utterances = {u.id: u for u, _ in pairs}
    for u, speaker in pairs:
        targets[u.id].append(speaker)
    wanted = {speaker for _, speaker in pairs} | {u.speaker for u, _ in pairs}
    reference = hear_reference(data, judges, wanted, without=utterances)

    def judge(u: Utterance) -> list[dict[str, Any]]:
        rows = []
        for kind, speaker, wav in _speak(codec, data, u, targets[u.id], sampling):
            if kind == "natural":
                natural, pitch = wav, log_pitch(wav)
            row: dict[str, Any] = {"utterance": u.id, "text": u.text, "source": u.speaker, "speaker": speaker}
            row |= {"kind": kind} | _compare(kind, natural, wav, pitch, reference.pitch[speaker])
            rows.append(row | _judge(judges, reference, wav, u, speaker))
            if wavs:
                write(wavs / heard_file(row), wav[: len(natural)])
        return rows

    rows = [row for some in share_out(list(utterances.values()), judge, unit="utterance") for row in some]
    figures = {kind: summarize([row for row in rows if row["kind"] == kind]) for kind in KINDS}
    return Evaluation(
        len(reference.centres),
        _number(reference.equal_error),
        _number(reference.threshold),
        {kind: one for kind, one in figures.items() if one["utterances"]},
        [{key: _number(value) for key, value in row.items()} for row in rows],
    )


def hear_reference(data: Path, judges: Judges, wanted: Collection[str], without: Collection[str]) -> Reference:
    """What the speakers of a corpus sound like, from (at most 20 each) utterances that are not in `without`."""
    own: dict[str, list[Utterance]] = defaultdict(list)
    for u in sorted(read_manifest(data), key=lambda u: rank_key(u.id)):
        if u.id not in without and len(own[u.speaker]) < KNOWN_BY:
            own[u.speaker].append(u)
    heard = [u for some in own.values() for u in some]

    def listen(u: Utterance) -> tuple[np.ndarray | None, float]:
        wav = read(data / u.path)
        pitch = log_pitch(wav) if u.speaker in wanted else np.zeros(0)
        return judges.voices.embed(wav) if judges.voices else None, _mean(pitch)

    results = share_out(heard, listen, unit="utterance")
    by_speaker: dict[str, list[np.ndarray]] = defaultdict(list)
    pitches: dict[str, list[float]] = defaultdict(list)
    for u, (embedding, pitch) in zip(heard, results, strict=True):
        if embedding is not None:
            by_speaker[u.speaker].append(embedding)
        pitches[u.speaker].append(pitch)
    error, threshold = verification(by_speaker)
    centres = {name: centre(some) for name, some in by_speaker.items()}
    return Reference(centres, {name: _mean(np.array(pitches[name])) for name in wanted}, error, threshold)


def verification(by_speaker: dict[str, list[np.ndarray]]) -> tuple[float, float]:
    """`equal_error` over all pairs of embeddings; NaN where there are no two of one speaker, or no two speakers."""
    vectors = [vector for some in by_speaker.values() for vector in some]
    if not vectors:
        return math.nan, math.nan
    names = np.repeat(np.arange(len(by_speaker)), [len(some) for some in by_speaker.values()])
    first, second = np.triu_indices(len(vectors), 1)
    similar = (np.stack(vectors) @ np.stack(vectors).T)[first, second]
    same = names[first] == names[second]
    return equal_error(similar[same], similar[~same]) if same.any() and not same.all() else (math.nan, math.nan)


def heard_file(row: dict[str, Any]) -> str:
    """Where the speech of a row is kept: UTTERANCE/natural.wav, copy.wav, reconstruction.wav, as-SPEAKER.wav."""
    name = f"as-{row['speaker']}" if row["kind"] == "conversion" else row["kind"]
    return f"{row['utterance']}/{name}.wav"


def _speak(
    codec: Codec, data: Path, utterance: Utterance, targets: Sequence[str], sampling: Sampling
) -> Iterator[tuple[str, str, Tensor]]:
    """Kind, speaker and wav of the recording, its copy, its reconstruction if the model knows its speaker, and each
    conversion."""
    natural, source = read(data / utterance.path), utterance.speaker
    yield "natural", source, natural
    yield "copy", source, mulaw_decode(mulaw_encode(natural))
    speakers = [source] * (source in codec.speakers) + [name for name in targets if name != source]
    made = codec.decode_many([codec.encode(natural, SAMPLE_RATE)] * len(speakers), speakers, sampling)
    for name, wav in zip(speakers, made, strict=True):
        yield "reconstruction" if name == source else "conversion", name, wav


def _compare(kind: str, natural: Tensor, wav: Tensor, pitch: np.ndarray, usual: float) -> dict[str, float]:
    """pitch_difference: of the mean pitch from what is usual for the speaker, in semitones, either way."""
    own = log_pitch(wav[: len(natural)])
    figures = asdict(compare(natural, wav)) | {"pitch_difference": abs(_mean(own) - usual) / SEMITONE}
    if kind != "natural":
        figures["pitch_correlation"] = pitch_correlation(pitch, own)
    if kind in ("copy", "reconstruction"):
        figures["cepstral_distortion"] = cepstral_distortion(natural, wav)
    return figures


def _judge(judges: Judges, reference: Reference, wav: Tensor, said: Utterance, speaker: str) -> dict[str, Any]:
    figures: dict[str, Any] = {}
    if judges.voices:
        figures |= _voice(judges.voices.embed(wav), said.speaker, speaker, reference)
    if judges.recognizer and words(said.text):
        figures |= asdict(judges.recognizer.hear(wav, said.text))
    if judges.quality:
        figures["dnsmos"] = judges.quality.score(wav)
    return figures


def _voice(embedding: np.ndarray, source: str, speaker: str, reference: Reference) -> dict[str, float]:
    similar = {name: float(embedding @ vector) for name, vector in reference.centres.items()}
    if speaker not in similar:
        return {}
    result = {"similarity": similar[speaker], "nearest": float(similar[speaker] >= max(similar.values()))}
    if not math.isnan(reference.threshold):
        result["accepted"] = float(similar[speaker] >= reference.threshold)
    if source != speaker and source in similar:
        result["nearer"] = float(similar[speaker] > similar[source])
    return result


def summarize(rows: Sequence[dict[str, Any]]) -> dict[str, float | None]:
    """Rows of one kind -> error rates over all their words, shares and means; None of what none of them has."""

    def mean(key: str) -> float | None:
        return _number(_mean(np.array([row[key] for row in rows if key in row], dtype=float)))

    def rate(errors: str, of: str) -> float | None:
        total = sum(row.get(of, 0) for row in rows)
        return sum(row.get(errors, 0) for row in rows) / total if total else None

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


TOLD = {
    "utterances": ("utterances", 1, "d"),
    "word_error_rate": ("word errors, %", 100, ".1f"),
    "character_error_rate": ("character errors, %", 100, ".1f"),
    "similarity": ("similarity to the speaker", 1, ".3f"),
    "accepted": ("taken for the speaker, %", 100, ".1f"),
    "nearer": ("nearer to the target than to the source, %", 100, ".1f"),
    "nearest": ("nearest to the speaker of all, %", 100, ".1f"),
    "pitch_difference": ("mean pitch off the speaker's, semitones", 1, ".2f"),
    "pitch_correlation": ("pitch contour: correlation", 1, ".3f"),
    "cepstral_distortion": ("mel-cepstral distortion, dB", 1, ".2f"),
    "dnsmos": ("DNSMOS, overall", 1, ".2f"),
    "energy_correlation": ("energy contour: correlation", 1, ".3f"),
    "energy_correlation_min": ("  lowest", 1, ".3f"),
    "duration_difference_max": ("longer or shorter by at most, samples", 1, "d"),
    "clipped_samples": ("samples at full scale", 1, "d"),
}


def lines(result: Evaluation) -> list[str]:
    """The table of `speechvq evaluate conversion`."""
    kinds = list(result.figures)
    told = [f"{'':44}" + "".join(f"{kind:>16}" for kind in kinds)]
    for key, (text, factor, form) in TOLD.items():
        values = [result.figures[kind][key] for kind in kinds]
        if any(value is not None for value in values):
            told.append(f"{text:44}" + "".join(f"{cell(value, factor, form):>16}" for value in values))
    if result.equal_error is not None and result.threshold is not None:
        told += ["", f"{result.speakers} speakers; two natural utterances are told to be of one at a similarity of"]
        told += [f"{result.threshold:.3f} or more, with an equal error rate of {100 * result.equal_error:.1f} %"]
    return told


def cell(value: float | None, factor: float, form: str) -> str:
    """A figure in a table."""
    return "-" if value is None else f"{value * factor:{form}}"


def _mean(values: np.ndarray) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else math.nan


def _number(value: Any) -> Any:
    """None in rank_key of NaN, which JSON does not know."""
    return None if isinstance(value, float) and math.isnan(value) else value

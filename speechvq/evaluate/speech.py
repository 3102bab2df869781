"""A prepared corpus as a model sees it, frame by frame, joined with its phone labels."""

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from scipy.cluster.vq import kmeans2, vq
from torch.nn import functional as F

from speechvq import SpeechVQError
from speechvq.audio import MFCC, SAMPLE_RATE, read
from speechvq.codec import Codec
from speechvq.corpus import Utterance, place, read_manifest
from speechvq.progress import progress
from speechvq.text import LABEL_SUFFIXES, Segment, read_labels

CLUSTERED = 100_000  # frames: enough to place some hundred centres by


@dataclass(frozen=True)
class Spoken:
    """An utterance. vectors (frames, D): what the bottleneck makes of it. codes (frames,), or None where it has none.
    features (frames, 39): its MFCC, averaged over each frame. segments: its phones, in the prepared audio's time.
    """

    utterance: Utterance
    segments: list[Segment]
    vectors: np.ndarray
    codes: np.ndarray | None
    features: np.ndarray


def read_speech(codec: Codec, data: Path, labels: Path) -> tuple[list[Spoken], list[str]]:
    """The utterances prepared in `data` through a model, and the ids of those without a label file below `labels`."""
    utterances = read_manifest(data)
    files = find_labels(labels, utterances)
    known = [u for u in utterances if u.id in files]
    mfcc = MFCC()
    speech = [_spoken(codec, mfcc, data, u, files[u.id]) for u in progress(known, unit="utterance")]
    return speech, sorted(u.id for u in utterances if u.id not in files)


def find_labels(folder: Path, utterances: Sequence[Utterance]) -> dict[str, Path]:
    """The label file of each utterance that has one: anywhere below the folder, called like the last part of its id,
    with or without the `_mic1` of VCTK's recordings.

    Where files or utterances share that name, the file must lie in a folder called like the speaker. SpeechVQError
    where two files are left, or none is found.
    """
    by_stem: dict[str, list[Path]] = {}
    for path in sorted(folder.rglob("*")):
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if path.suffix.lower() in LABEL_SUFFIXES and not hidden:
            by_stem.setdefault(path.stem.removesuffix("_mic1"), []).append(path)
    stems = {u.id: u.id.rpartition("/")[2].removesuffix("_mic1") for u in utterances}
    shared = Counter(stems.values())
    found = {}
    for u in utterances:
        paths = by_stem.get(stems[u.id], [])
        if len(paths) > 1 or shared[stems[u.id]] > 1:
            paths = [path for path in paths if u.speaker in path.relative_to(folder).parts[:-1]]
        if len(paths) > 1:
            raise SpeechVQError(f"{paths[0]} and {paths[1]} could both be the labels of {u.id}")
        if paths:
            found[u.id] = paths[0]
    if not found:
        raise SpeechVQError(f"{folder}: no labels of any of the {len(utterances)} utterances")
    return found


@torch.inference_mode()
def _spoken(codec: Codec, mfcc: MFCC, data: Path, utterance: Utterance, labels: Path) -> Spoken:
    wav = read(data / utterance.path)
    codes = codec.encode(wav, SAMPLE_RATE).numpy() if codec.model.bottleneck.codes else None
    vectors = codec.represent(wav, SAMPLE_RATE) if codes is None else codec.vectors(codes)
    whole = F.pad(wav, (0, vectors.shape[1] * codec.hop_length - len(wav)))
    features = F.adaptive_avg_pool1d(mfcc(whole[None]), vectors.shape[1])[0]
    return Spoken(utterance, _segments(utterance, labels), vectors.T.numpy(), codes, features.T.numpy())


def _segments(utterance: Utterance, labels: Path) -> list[Segment]:
    """Labels tell the time of the source, of which the prepared audio leaves out the first `start` samples."""
    late = utterance.start / SAMPLE_RATE
    return [Segment(s.start - late, s.end - late, s.label) for s in read_labels(labels)]


def clusters(rows: Sequence[np.ndarray], fitted: Sequence[bool], count: int, seed: int) -> list[np.ndarray]:
    """rows of vectors (frames, D) -> the nearest of `count` centres for each: k-means++ and Lloyd's algorithm, on
    standardised dimensions, fitted on (at most 100 000) frames of the rows that are `fitted`."""
    known = np.concatenate([row for row, fit in zip(rows, fitted, strict=True) if fit])
    mean, std = known.mean(0), known.std(0) + 1e-9
    random = np.random.default_rng(seed)
    some = random.choice(known, min(len(known), CLUSTERED), replace=False)
    centres, _ = kmeans2((some - mean) / std, count, iter=30, minit="++", seed=random)
    return [vq((row - mean) / std, centres)[0] for row in rows]


def scored_speakers(speech: Sequence[Spoken], asked: Collection[str]) -> set[str]:
    """Those on whom a mapping is scored: the ones asked for, else those unseen in training, else a half by hash."""
    names = {s.utterance.speaker for s in speech}
    unknown = sorted(set(asked) - names)
    if unknown:
        raise SpeechVQError(f"no labelled utterance of speaker '{unknown[0]}'")
    unseen = {s.utterance.speaker for s in speech if s.utterance.split == "unseen"}
    ordered = sorted(names, key=place)
    return set(asked) or unseen or set(ordered[: len(ordered) // 2])

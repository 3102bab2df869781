"""A prepared corpus as a model sees it, frame by frame, joined with its phone labels."""

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

from speechvq import SpeechVQError
from speechvq.audio import SAMPLE_RATE
from speechvq.audio.features import MFCC
from speechvq.audio.io import read
from speechvq.codec import Codec
from speechvq.data.labels import LABEL_SUFFIXES, Segment, read_labels
from speechvq.data.manifest import Utterance, rank_key, read_manifest
from speechvq.files import visible_files
from speechvq.nn.distributed import share_out
from speechvq.nn.kmeans import assign, kmeans

CLUSTERED = 100_000  # frames: enough to rank_key some hundred centres by


@dataclass(frozen=True)
class Labelled:
    """An utterance and its phones, in the prepared audio's time."""

    utterance: Utterance
    segments: list[Segment]


@dataclass(frozen=True)
class Spoken(Labelled):
    """vectors (frames, D): what the bottleneck makes of it. codes (frames,), or None where it has none. features
    (frames, 39): its MFCC, averaged over each frame."""

    vectors: np.ndarray
    codes: np.ndarray | None
    features: np.ndarray


def read_labelled(data: Path, labels: Path) -> tuple[list[Labelled], list[str]]:
    """The utterances prepared in `data` that have labels below a folder, and the ids of those that have none.

    Labels tell the time of the source, of which the prepared audio leaves out the first `start` samples.
    """
    utterances = read_manifest(data)
    files = find_labels(labels, utterances)
    labelled = []
    for u in utterances:
        late = u.start / SAMPLE_RATE
        segments = (
            [Segment(s.start - late, s.end - late, s.label) for s in read_labels(files[u.id])] if u.id in files else []
        )
        if segments:
            labelled.append(Labelled(u, segments))
    known = {one.utterance.id for one in labelled}
    return labelled, sorted(u.id for u in utterances if u.id not in known)


def read_speech(codec: Codec, data: Path, labelled: Sequence[Labelled]) -> list[Spoken]:
    """Labelled utterances prepared in `data` through a model. Processes that run together share the work."""
    mfcc = MFCC()
    return share_out(labelled, lambda one: _spoken(codec, mfcc, data, one), unit="utterance")


def find_labels(folder: Path, utterances: Sequence[Utterance]) -> dict[str, Path]:
    """The label file of each utterance that has one: anywhere below the folder, called like the last part of its id,
    with or without the `_mic1` of VCTK's recordings.

    Where utterances share that name, the file must lie in a folder called like the speaker. SpeechVQError where two
    files are left, or none is found.
    """
    if not folder.is_dir():
        raise SpeechVQError(f"{folder}: no such folder")
    by_stem: dict[str, list[Path]] = {}
    for path in visible_files(folder, LABEL_SUFFIXES):
        by_stem.setdefault(path.stem.removesuffix("_mic1"), []).append(path)
    stems = {u.id: u.id.rpartition("/")[2].removesuffix("_mic1") for u in utterances}
    shared = Counter(stems.values())
    found = {}
    for u in utterances:
        paths = by_stem.get(stems[u.id], [])
        if shared[stems[u.id]] > 1:
            paths = [path for path in paths if u.speaker in path.relative_to(folder).parts[:-1]]
        if len(paths) > 1:
            raise SpeechVQError(f"{paths[0]} and {paths[1]} could both be the labels of {u.id}")
        if paths:
            found[u.id] = paths[0]
    if not found:
        raise SpeechVQError(f"{folder}: no labels of any of the {len(utterances)} utterances")
    return found


@torch.inference_mode()
def _spoken(codec: Codec, mfcc: MFCC, data: Path, labelled: Labelled) -> Spoken:
    wav = read(data / labelled.utterance.path)
    codes = codec.encode(wav, SAMPLE_RATE).numpy() if codec.model.bottleneck.codes else None
    vectors = (codec.represent(wav, SAMPLE_RATE) if codes is None else codec.vectors(codes)).T.numpy()
    whole = F.pad(wav, (0, len(vectors) * codec.hop_length - len(wav)))
    cepstrum = mfcc(F.pad(whole, (0, -len(whole) % mfcc.hop))[None])[0].T.numpy()
    edges = np.arange(len(vectors) + 1) * codec.hop_length // mfcc.hop
    sums = np.cumsum(np.pad(cepstrum, ((1, 0), (0, 0))), axis=0, dtype=float)
    ends = np.maximum(edges[1:], edges[:-1] + 1)  # a frame shorter than one of MFCC has that in which it begins
    features = (sums[ends] - sums[edges[:-1]]) / (ends - edges[:-1])[:, None]
    return Spoken(labelled.utterance, labelled.segments, vectors, codes, features)


def clusters(rows: Sequence[np.ndarray], fitted: Sequence[bool], count: int, seed: int) -> list[np.ndarray]:
    """rows of vectors (frames, D) -> the nearest of `count` centres for each: k-means++ and Lloyd's algorithm, on
    standardised dimensions, fitted on (at most 100 000) frames of the rows that are `fitted`."""
    known = np.concatenate([row for row, fit in zip(rows, fitted, strict=True) if fit])
    if count > len(known):
        raise SpeechVQError(f"{count} codes cannot be made of {len(known)} frames")
    mean, std = known.mean(0), known.std(0) + 1e-9
    random = np.random.default_rng(seed)
    some = random.choice(known, min(len(known), CLUSTERED), replace=False)
    generator = torch.Generator().manual_seed(seed)
    centres = kmeans((some - mean) / std, count, init="k-means++", iterations=30, generator=generator)
    return [assign((row - mean) / std, centres).numpy() for row in rows]


def scored_speakers(speech: Sequence[Labelled], asked: Collection[str]) -> set[str]:
    """Those on whom a mapping is scored: the ones asked for, else those unseen in training, else a half by hash."""
    names = {s.utterance.speaker for s in speech}
    unknown = sorted(set(asked) - names)
    if unknown:
        raise SpeechVQError(f"no labelled utterance of speaker '{unknown[0]}'")
    unseen = {s.utterance.speaker for s in speech if s.utterance.split == "unseen"}
    ordered = sorted(names, key=rank_key)
    scored = set(asked) or unseen or set(ordered[: len(ordered) // 2])
    if not scored or scored == names:
        raise SpeechVQError(
            f"a speaker to fit on and another to score are needed; those with labels: {', '.join(ordered)}"
        )
    return scored

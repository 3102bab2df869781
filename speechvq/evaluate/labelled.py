"""Labelled utterances of a prepared corpus, and the output of a model for each of their frames."""

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
from speechvq.data.manifest import rank_key, read_treatment
from speechvq.data.utterance_labels import LabelledUtterance
from speechvq.evaluate.left_out import LeftOut, share_out_usable
from speechvq.nn.kmeans import assign, kmeans
from speechvq.text.frames import frame_labels
from speechvq.text.phones import SILENCE

UNLABELLED = "?"
CLUSTERED = 100_000  # frames: enough to find some hundred centres


@dataclass(frozen=True)
class EncodedUtterance(LabelledUtterance):
    """A labelled utterance and the output of a model.

    latents: (frames, D), output of the encoder
    vectors: (frames, D), output of the bottleneck
    codes: (frames,), or None for a model without codes
    mfcc: (frames, 39), MFCC averaged over each frame of the model
    distances: (frames,), squared distance of each latent to its code; None for a model without codes
    layers: (frames, C) float16, layers of the encoder by their number, averaged over each frame
    """

    latents: np.ndarray
    vectors: np.ndarray
    codes: np.ndarray | None
    mfcc: np.ndarray
    distances: np.ndarray | None
    layers: dict[int, np.ndarray]


class FramePhones:
    """The phones of the frames of labelled utterances, as numbers.

    utterances: encoded utterances
    hop: seconds per frame
    phones: names of the phones, numbered from 0; silence and unlabelled follow
    ids: number of each phone, of SILENCE and of UNLABELLED
    not_speech: the numbers of silence and unlabelled
    speakers: the speaker of each utterance
    """

    def __init__(self, utterances: Sequence[EncodedUtterance], hop: float) -> None:
        self.utterances, self.hop = utterances, hop
        self.phones = sorted({segment.label for u in utterances for segment in u.segments} - {SILENCE})
        self.ids = {name: i for i, name in enumerate([*self.phones, SILENCE, UNLABELLED])}
        self.not_speech = [self.ids[SILENCE], self.ids[UNLABELLED]]
        self.speakers = [u.utterance.speaker for u in utterances]

    def at(self, offset: int, *, majority: bool = False) -> list[np.ndarray]:
        """For each utterance the phone of every frame (frames,), read `offset` ms later (see `frame_labels`)."""
        rows = (frame_labels(u.segments, len(u.vectors), self.hop, offset / 1000, majority) for u in self.utterances)
        return [np.array([self.ids[label or UNLABELLED] for label in row], int) for row in rows]

    def of_others(self, scored: Collection[str]) -> np.ndarray:
        """Which frames of all utterances, one after another, are of speakers that are not scored, (frames,) bool."""
        return np.repeat([name not in scored for name in self.speakers], [len(u.vectors) for u in self.utterances])


def encode_labelled(
    codec: Codec,
    data: Path,
    labelled: Sequence[LabelledUtterance],
    layers: Collection[int] = (),
    penalty: float = 0.0,
) -> tuple[list[EncodedUtterance], LeftOut]:
    """Encode labelled utterances prepared in `data`. Processes launched together share the work.

    layers: numbers of the encoder's layers to keep
    penalty: for each change of code, see `Codec.encode`

    Returns also the ids, with reasons, of the utterances that cannot be read.
    """
    mfcc, numbers, codec = MFCC(), sorted(layers), codec.after_high_pass(read_treatment(data).high_pass)
    encoded, left_out = share_out_usable(
        labelled,
        lambda item: _encode(codec, mfcc, data, item, numbers, penalty),
        lambda item: item.utterance.id,
        unit="utterance",
    )
    return [result for _, result in encoded], left_out


@torch.inference_mode()
def _encode(
    codec: Codec, mfcc: MFCC, data: Path, labelled: LabelledUtterance, layers: Sequence[int], penalty: float
) -> EncodedUtterance:
    wav = read(data / labelled.utterance.path)
    latents = codec.latents(wav, SAMPLE_RATE)
    codes = codec.quantize(latents, penalty) if codec.model.bottleneck.codes else None
    vectors = (codec.represent(wav, SAMPLE_RATE) if codes is None else codec.vectors(codes)).T.numpy()
    kept = codec.layers(wav, SAMPLE_RATE, layers) if layers else []
    # MFCC frames, padded to the length of the model's last frame.
    whole = F.pad(wav, (0, len(vectors) * codec.hop_length - len(wav)))
    cepstrum = mfcc(F.pad(whole, (0, -len(whole) % mfcc.hop))[None])[0].T.numpy()
    # Mean over each frame of the model, as differences of a running sum.
    edges = np.arange(len(vectors) + 1) * codec.hop_length // mfcc.hop
    sums = np.cumsum(np.pad(cepstrum, ((1, 0), (0, 0))), axis=0, dtype=float)
    ends = np.maximum(edges[1:], edges[:-1] + 1)  # a frame shorter than one of MFCC gets the one in which it begins
    means = (sums[ends] - sums[edges[:-1]]) / (ends - edges[:-1])[:, None]
    return EncodedUtterance(
        labelled.utterance,
        labelled.segments,
        latents=latents.T.numpy(),
        vectors=vectors,
        codes=None if codes is None else codes.numpy(),
        mfcc=means,
        distances=None if codes is None else _squared_distances(codec, latents, codes),
        layers={i: layer.T.half().numpy() for i, layer in zip(layers, kept, strict=True)},
    )


def _squared_distances(codec: Codec, latents: torch.Tensor, codes: torch.Tensor) -> np.ndarray:
    """The squared distances (frames,) of latents (D, frames) to their codes (frames,)."""
    to_all = codec.model.discrete.distances(latents[None].to(codec.device))[0].cpu()
    found: np.ndarray = to_all.gather(1, codes[:, None])[:, 0].numpy()
    return found


def clusters(rows: Sequence[np.ndarray], fitted: Sequence[bool], count: int, seed: int) -> list[np.ndarray]:
    """Cluster vectors by k-means (k-means++ and Lloyd's algorithm) on standardised dimensions.

    rows: for each utterance its vectors (frames, D)
    fitted: whether the centres are fitted on the utterance; of all such frames at most 100 000 are drawn
    count: number of clusters
    seed: of the drawing and of k-means

    Returns the cluster of each frame (frames,), for each utterance. Raises SpeechVQError if there are fewer frames than
    clusters.
    """
    known = np.concatenate([row for row, fit in zip(rows, fitted, strict=True) if fit])
    if count > len(known):
        raise SpeechVQError(f"{count} clusters need at least as many frames; there are {len(known)}")
    mean, std = known.mean(0), known.std(0) + 1e-9
    random = np.random.default_rng(seed)
    some = random.choice(known, min(len(known), CLUSTERED), replace=False)
    generator = torch.Generator().manual_seed(seed)
    centres = kmeans((some - mean) / std, count, init="k-means++", iterations=30, generator=generator)
    return [assign((row - mean) / std, centres).numpy() for row in rows]


def scored_speakers(labelled: Sequence[LabelledUtterance], requested: Collection[str]) -> set[str]:
    """The speakers to score a mapping on: those requested, else those unseen in training, else half of all by a hash.

    Raises SpeechVQError if a speaker has no labelled utterance, or none is left to fit on.
    """
    names = {item.utterance.speaker for item in labelled}
    unknown = sorted(set(requested) - names)
    if unknown:
        raise SpeechVQError(f"no labelled utterance of speaker '{unknown[0]}'")
    unseen = {item.utterance.speaker for item in labelled if item.utterance.split == "unseen"}
    ordered = sorted(names, key=rank_key)
    scored = set(requested) or unseen or set(ordered[: len(ordered) // 2])
    if not scored or scored == names:
        raise SpeechVQError(
            f"a speaker to fit on and another to score are needed; those with labels: {', '.join(ordered)}"
        )
    return scored

"""Batches of crops. A training batch is a pure function of (seed, step): resuming needs no state."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import soundfile
import torch
from torch.utils.data import Dataset

from speechvq import SpeechVQError
from speechvq.data.feature_store import FRAMES, FeatureStore
from speechvq.data.manifest import Utterance, rank_key
from speechvq.nn.objective import FeatureBatch
from speechvq.nn.prior import NOTHING, Windows
from speechvq.nn.vqvae import Batch

EVAL_BATCH = 16


def read_crop(root: Path, utterance: Utterance, start: int, length: int) -> np.ndarray:
    """Samples start .. start + length of an utterance as float32 (length,), zero-padded at its end."""
    try:
        wav, _ = soundfile.read(root / utterance.path, length, start, dtype="float32")
    except soundfile.LibsndfileError as error:
        raise SpeechVQError(f"{root / utterance.path}: the manifest names it, but {error.error_string}") from None
    return np.pad(wav, (0, length - len(wav)))


class Crops(Dataset[Batch]):
    """Item `step` is the batch of that training step: utterances drawn by their length, crops uniformly.

    shard (rank, processes): every process takes its own rows of the same global batch.
    """

    def __init__(
        self,
        root: Path,
        utterances: Sequence[Utterance],
        speakers: Sequence[str],
        *,
        crop: int,
        batch_size: int,
        seed: int,
        steps: int,
        shard: tuple[int, int] = (0, 1),
    ) -> None:
        if not utterances:
            raise SpeechVQError(f"{root}: no utterances to train on")
        if batch_size % shard[1]:
            raise SpeechVQError(f"train.batch_size = {batch_size} is not a multiple of the {shard[1]} processes")
        self.root, self.utterances, self.crop = root, utterances, crop
        self.batch_size, self.seed, self.steps, self.shard = batch_size, seed, steps, shard
        self.index = {speaker: i for i, speaker in enumerate(speakers)}
        self.ends = np.cumsum([utterance.samples for utterance in utterances])

    def __len__(self) -> int:
        return self.steps

    def __getitem__(self, step: int) -> Batch:
        random = np.random.default_rng([self.seed, step])
        picks = np.searchsorted(self.ends, random.integers(self.ends[-1], size=self.batch_size), side="right")
        places = random.random(self.batch_size)
        rank, processes = self.shard
        mine = list(zip(picks, places, strict=True))[rank::processes]
        return collate([self._row(self.utterances[i], rank_key) for i, rank_key in mine])

    def _row(self, utterance: Utterance, rank_key: float) -> tuple[np.ndarray, int]:
        start = int(rank_key * max(utterance.samples - self.crop + 1, 1))
        return read_crop(self.root, utterance, start, self.crop), self.index[utterance.speaker]


def held_out_batches(
    root: Path, utterances: Sequence[Utterance], speakers: Sequence[str], crop: int, most: int | None = None
) -> Iterator[Batch]:
    """Held-out speech cut into whole crops, always the same ones, at most `most`, in batches of 16.

    First one crop of each utterance, in an order that mixes the speakers, then the second of each, and so
    on: so that the rows of a batch are of different utterances. Utterances of other speakers are left out.
    """
    index = {speaker: i for i, speaker in enumerate(speakers)}
    known = sorted((u for u in utterances if u.speaker in index), key=lambda u: rank_key(u.id))
    longest = max((u.samples for u in known), default=0)
    rows = [(u, start) for start in range(0, longest, crop) for u in known if start + crop <= u.samples][:most]
    if len(rows) < 2:
        raise SpeechVQError(f"{root}: fewer than 2 held-out utterances of known speakers have {crop} samples")
    for begin in range(0, len(rows), EVAL_BATCH):
        some = rows[begin : begin + EVAL_BATCH]
        if len(some) > 1:  # a single row has no other's codes to be given
            yield collate([(read_crop(root, u, start, crop), index[u.speaker]) for u, start in some])


def collate(rows: Sequence[tuple[np.ndarray, int]]) -> Batch:
    """Rows of (samples, speaker) as a Batch."""
    wavs, speakers = zip(*rows, strict=True)
    return Batch(torch.from_numpy(np.stack(wavs)), torch.tensor(speakers))


class CodeWindows(Dataset[Windows]):
    """Item `step` is that step's batch of windows of codes: utterances drawn by their length, places uniformly.

    rows: codes (N,) of each utterance, speakers: its row. start: the class before the first code. length: of a window,
    in codes; shorter utterances are whole. shard as for `Crops`.
    """

    def __init__(
        self,
        rows: Sequence[np.ndarray],
        speakers: Sequence[int],
        *,
        start: int,
        length: int,
        batch_size: int,
        seed: int,
        steps: int,
        shard: tuple[int, int] = (0, 1),
    ) -> None:
        if batch_size % shard[1]:
            raise SpeechVQError(f"train.batch_size = {batch_size} is not a multiple of the {shard[1]} processes")
        self.rows, self.speakers = [np.append(start, row) for row in rows], speakers
        self.length, self.batch_size, self.seed, self.steps, self.shard = length, batch_size, seed, steps, shard
        self.ends = np.cumsum([len(row) for row in rows])

    def __len__(self) -> int:
        return self.steps

    def __getitem__(self, step: int) -> Windows:
        random = np.random.default_rng([self.seed, step])
        picks = np.searchsorted(self.ends, random.integers(self.ends[-1], size=self.batch_size), side="right")
        places = random.random(self.batch_size)
        rank, processes = self.shard
        picked = zip(picks, places, strict=True)
        whole = pad_windows([(self._window(self.rows[i], rank_key), self.speakers[i]) for i, rank_key in picked])
        return Windows(*(part[rank::processes] for part in whole))  # as long as the longest of all processes

    def _window(self, row: np.ndarray, rank_key: float) -> np.ndarray:
        begin = int(rank_key * max(len(row) - self.length, 1))
        return row[begin : begin + self.length + 1]


def held_out_windows(
    rows: Sequence[np.ndarray], speakers: Sequence[int], start: int, length: int, most: int
) -> Iterator[Windows]:
    """Held-out codes cut into windows, at most `most`, in batches of 16; arguments as for `CodeWindows`."""
    cut = [
        (np.append(row[begin - 1] if begin else start, row[begin : begin + length]), speaker)
        for row, speaker in zip(rows, speakers, strict=True)
        for begin in range(0, len(row), length)
    ]
    for begin in range(0, min(len(cut), most), EVAL_BATCH):
        yield pad_windows(cut[begin : min(begin + EVAL_BATCH, most)])


def pad_windows(rows: Sequence[tuple[np.ndarray, int]]) -> Windows:
    """Rows of (codes, speaker) as Windows, as long as the longest."""
    longest = max(len(codes) for codes, _ in rows)
    padded = [np.pad(codes, (0, longest - len(codes)), constant_values=NOTHING) for codes, _ in rows]
    return Windows(torch.from_numpy(np.stack(padded)), torch.tensor([speaker for _, speaker in rows]))


class FeatureCrops(Dataset[FeatureBatch]):
    """Item `step` is that step's batch of crops of features: speakers drawn by their speech, places uniformly.

    A crop may go on from one utterance of its speaker to the next.
    targets: a code for each latent of the whole store (N,), or None.
    crop: in samples, a whole number of latents.
    shard: as for `Crops`.
    """

    def __init__(
        self,
        store: FeatureStore,
        split: str,
        targets: np.ndarray | None,
        *,
        crop: int,
        batch_size: int,
        seed: int,
        steps: int,
        shard: tuple[int, int] = (0, 1),
    ) -> None:
        if batch_size % shard[1]:
            raise SpeechVQError(f"train.batch_size = {batch_size} is not a multiple of the {shard[1]} processes")
        self.store, self.targets, self.frames = store, targets, crop // store.hop_length
        self.batch_size, self.seed, self.steps, self.shard = batch_size, seed, steps, shard
        self.spans = [span for span in store.spans(split) if span[1] - span[0] >= self.frames]
        if not self.spans:
            raise SpeechVQError(f"no speaker to train on has {crop} samples of speech (train.crop)")
        self.ends = np.cumsum([end - begin - self.frames + 1 for begin, end in self.spans])

    def __len__(self) -> int:
        return self.steps

    def __getitem__(self, step: int) -> FeatureBatch:
        random = np.random.default_rng([self.seed, step])
        picks = random.integers(self.ends[-1], size=self.batch_size)[self.shard[0] :: self.shard[1]]
        return crop_features(self.store, self.targets, [self._start(pick) for pick in picks], self.frames)

    def _start(self, pick: int) -> int:
        """The first frame of the crop of this number, at the start of a latent."""
        span = int(np.searchsorted(self.ends, pick, side="right"))
        begin, before = self.spans[span][0], self.ends[span - 1] if span else 0
        return begin + int(pick - before) // FRAMES * FRAMES


def crop_features(store: FeatureStore, targets: np.ndarray | None, starts: Sequence[int], frames: int) -> FeatureBatch:
    """Crops of so many frames from these on, with their targets if there are any."""
    feats = np.stack([store.frames[start : start + frames] for start in starts]).astype(np.float32)
    rows = np.zeros((len(starts), 0), np.int64)
    if targets is not None:
        ratio = len(store.frames) // len(targets)
        rows = np.stack([targets[start // ratio : (start + frames) // ratio] for start in starts])
    return FeatureBatch(torch.from_numpy(feats).transpose(1, 2), torch.from_numpy(rows))


def held_out_features(
    store: FeatureStore, split: str, targets: np.ndarray | None, crop: int, most: int
) -> Iterator[FeatureBatch]:
    """The speech of a split cut into whole crops, at most `most`, the speakers in turns, in batches of 16.

    Raises SpeechVQError if there are none.
    """
    frames = crop // store.hop_length
    cuts = [[*range(begin, end - frames + 1, frames)] for begin, end in store.spans(split)]
    starts = [row[i] for i in range(max(map(len, cuts), default=0)) for row in cuts if i < len(row)][:most]
    if not starts:
        raise SpeechVQError(f"no held-out speaker has {crop} samples of speech (train.crop)")
    for begin in range(0, len(starts), EVAL_BATCH):
        yield crop_features(store, targets, starts[begin : begin + EVAL_BATCH], frames)

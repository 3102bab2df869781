"""Batches of crops. A training batch is a pure function of (seed, step): resuming needs no state."""

import logging
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
import soundfile
import torch

from speechvq import SpeechVQError
from speechvq.config import TrainConfig
from speechvq.data.feature_store import FRAMES, FeatureStore
from speechvq.data.manifest import Utterance, rank_key
from speechvq.files import not_a_file
from speechvq.nn.objective import FeatureBatch
from speechvq.nn.prior import PADDING, Windows
from speechvq.nn.vqvae import Batch
from speechvq.train.loop import Batches

log = logging.getLogger(__name__)

EVAL_BATCH = 16  # rows

B = TypeVar("B")
Drawn = tuple[int, int, float]
PhonesOf = Callable[[Utterance, int, int], np.ndarray]  # of so many samples from a start on, (N,) int64


class DrawnBatches(Batches[B]):
    """Item `step` is the batch of that training step. Its sources are drawn in proportion to their sizes.

    how: gives the seed, the number of steps, and the rows of a batch of all processes together.
    shard: rank and number of processes; each takes its own rows of the same batch.
    sizes: of the sources.
    Raises SpeechVQError if the processes cannot share a batch evenly.
    """

    def __init__(self, how: TrainConfig, shard: tuple[int, int], sizes: Sequence[int]) -> None:
        if how.batch_size % shard[1]:
            raise SpeechVQError(f"train.batch_size = {how.batch_size} is not a multiple of the {shard[1]} processes")
        self.how, (self.rank, self.processes) = how, shard
        self.ends = np.cumsum(sizes)

    def __len__(self) -> int:
        return self.how.steps

    def draw(self, step: int) -> list[Drawn]:
        """The rows of the batch of all processes, as (source, unit in it from 0 to size - 1, number in 0..1)."""
        random = np.random.default_rng([self.how.seed, step])
        picks = random.integers(self.ends[-1], size=self.how.batch_size)
        shares = random.random(self.how.batch_size)
        sources = np.searchsorted(self.ends, picks, side="right")
        units = picks - np.append(0, self.ends)[sources]
        return list(zip(sources.tolist(), units.tolist(), shares.tolist(), strict=True))

    def draw_own(self, step: int) -> list[Drawn]:
        """The rows of this process."""
        return self.draw(step)[self.rank :: self.processes]


def read_crop(root: Path, utterance: Utterance, start: int, length: int) -> np.ndarray:
    """Samples start .. start + length of an utterance as float32 (length,), zero-padded at its end.

    Raises SpeechVQError if the file cannot be read.
    """
    path = root / utterance.path
    if path.exists() and not path.is_file():  # a pipe would be waited for
        raise SpeechVQError(f"{path}: {not_a_file(path)}")
    try:
        wav, _ = soundfile.read(path, length, start, dtype="float32")
    except soundfile.LibsndfileError as error:
        raise SpeechVQError(f"{path}: the manifest names it, but {error.error_string}") from None
    return np.pad(wav, (0, length - len(wav)))


class Crops(DrawnBatches[Batch]):
    """Batches of crops of audio: utterances drawn by their length, the start of a crop uniformly.

    root: the folder of the prepared corpus.
    speakers: names, in the order of their embeddings.
    phones: of the samples of a crop, for batches that have labels.
    Raises SpeechVQError if there are no utterances.
    """

    def __init__(
        self,
        root: Path,
        utterances: Sequence[Utterance],
        speakers: Sequence[str],
        how: TrainConfig,
        shard: tuple[int, int] = (0, 1),
        phones: PhonesOf | None = None,
    ) -> None:
        if not utterances:
            raise SpeechVQError(f"{root}: no utterances to train on")
        super().__init__(how, shard, [utterance.samples for utterance in utterances])
        self.root, self.utterances, self.phones = root, utterances, phones
        self.index = {speaker: i for i, speaker in enumerate(speakers)}

    def __getitem__(self, step: int) -> Batch:
        rows = [self._row(self.utterances[i], share) for i, _, share in self.draw_own(step)]
        return crop_batch(self.root, rows, self.index, self.how.crop, self.phones)

    def names(self, step: int) -> list[str]:
        return [self.utterances[i].id for i, _, _ in self.draw_own(step)]

    def _row(self, utterance: Utterance, share: float) -> tuple[Utterance, int]:
        return utterance, int(share * max(utterance.samples - self.how.crop + 1, 1))


def crop_batch(
    root: Path,
    rows: Sequence[tuple[Utterance, int]],
    index: dict[str, int],
    crop: int,
    phones: PhonesOf | None,
) -> Batch:
    """The crops of utterances that begin at these samples.

    index: number of each speaker.
    """
    wav = torch.from_numpy(np.stack([read_crop(root, u, start, crop) for u, start in rows]))
    speaker = torch.tensor([index[u.speaker] for u, _ in rows])
    if phones is None:
        return Batch(wav, speaker)
    return Batch(wav, speaker, torch.from_numpy(np.stack([phones(u, start, crop) for u, start in rows])))


def warn_of_padding(train: Sequence[Utterance], held_out: Sequence[Utterance], crop: int) -> None:
    """Log how many utterances are shorter than a crop, and so padded with silence."""
    short = sum(u.samples < crop for u in train)
    if short:
        text = "%d of %d training utterances are shorter than a crop (%d samples) and padded with silence"
        log.warning(text, short, len(train), crop)
    if held_out and all(u.samples < crop for u in held_out):
        log.warning("all %d held-out utterances are shorter than a crop and padded with silence", len(held_out))


def held_out_batches(
    root: Path,
    utterances: Sequence[Utterance],
    speakers: Sequence[str],
    crop: int,
    most: int | None = None,
    phones: PhonesOf | None = None,
) -> Iterator[Batch]:
    """Held-out speech cut into whole crops, always the same ones, at most `most`, in batches of 16.

    First one crop of each utterance, in an order that mixes the speakers, then the second of each, and so
    on, so that the rows of a batch are of different utterances. Utterances of other speakers are left out. Where
    fewer than two are as long as a crop, those of half a crop are taken, and padded with silence.
    Raises SpeechVQError if there are fewer than two crops even so.
    """
    index = {speaker: i for i, speaker in enumerate(speakers)}
    known = sorted((u for u in utterances if u.speaker in index), key=lambda u: rank_key(u.id))
    longest = max((u.samples for u in known), default=0)
    rows = [(u, start) for start in range(0, longest, crop) for u in known if start + crop <= u.samples][:most]
    if len(rows) < 2:
        rows = [(u, 0) for u in known if 2 * u.samples >= crop][:most]
    if len(rows) < 2:
        raise SpeechVQError(f"{root}: fewer than 2 held-out utterances of known speakers have {crop} samples, or half")
    for begin in range(0, len(rows), EVAL_BATCH):
        some = rows[begin : begin + EVAL_BATCH]
        if len(some) > 1:  # a single row cannot be given the codes of another
            yield crop_batch(root, some, index, crop, phones)


class CodeWindows(DrawnBatches[Windows]):
    """Batches of windows of `how.crop` codes: utterances drawn by their length, the start of a window uniformly.

    rows: codes (N,) of each utterance. Shorter ones than a window are whole.
    speakers: the speaker's index for each row.
    start: the class before the first code.
    ids: of the utterance of each row.
    """

    def __init__(
        self,
        rows: Sequence[np.ndarray],
        speakers: Sequence[int],
        start: int,
        how: TrainConfig,
        shard: tuple[int, int] = (0, 1),
        *,
        ids: Sequence[str],
    ) -> None:
        super().__init__(how, shard, [len(row) for row in rows])
        self.rows, self.speakers, self.ids = [np.append(start, row) for row in rows], speakers, ids

    def __getitem__(self, step: int) -> Windows:
        whole = pad_windows([(self._window(self.rows[i], share), self.speakers[i]) for i, _, share in self.draw(step)])
        return Windows(*(part[self.rank :: self.processes] for part in whole))  # as long as the longest of all

    def names(self, step: int) -> list[str]:
        return [self.ids[i] for i, _, _ in self.draw_own(step)]

    def _window(self, row: np.ndarray, share: float) -> np.ndarray:
        begin = int(share * max(len(row) - self.how.crop, 1))
        return row[begin : begin + self.how.crop + 1]


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
    padded = [np.pad(codes, (0, longest - len(codes)), constant_values=PADDING) for codes, _ in rows]
    return Windows(torch.from_numpy(np.stack(padded)), torch.tensor([speaker for _, speaker in rows]))


class FeatureCrops(DrawnBatches[FeatureBatch]):
    """Batches of crops of features: speakers drawn by the length of their speech, the start of a crop uniformly.

    A crop may go on from one utterance of its speaker to the next. Its length is `how.crop` samples.
    targets: a code for each latent of the whole store (N,), or None.
    Raises SpeechVQError if no speaker of the split has so much speech.
    """

    def __init__(
        self,
        store: FeatureStore,
        split: str,
        targets: np.ndarray | None,
        how: TrainConfig,
        shard: tuple[int, int] = (0, 1),
    ) -> None:
        self.store, self.targets, self.frames = store, targets, how.crop // store.hop_length
        spans = [(begin, end) for begin, end in store.spans(split) if end - begin >= self.frames]
        if not spans:
            raise SpeechVQError(f"no speaker to train on has {how.crop} samples of speech (train.crop)")
        self.begins = [begin for begin, _ in spans]
        super().__init__(how, shard, [end - begin - self.frames + 1 for begin, end in spans])

    def __getitem__(self, step: int) -> FeatureBatch:
        return crop_features(self.store, self.targets, self._starts(step), self.frames)

    def names(self, step: int) -> list[str]:
        ends = [(start, start + self.frames - 1) for start in self._starts(step)]
        spans = [np.searchsorted(self.store.starts, pair, side="right") for pair in ends]
        return [u.id for first, last in spans for u in self.store.utterances[first - 1 : last]]

    def _starts(self, step: int) -> list[int]:
        """The first frames of the crops, each at the start of a latent."""
        return [self.begins[i] + frame // FRAMES * FRAMES for i, frame, _ in self.draw_own(step)]


def crop_features(store: FeatureStore, targets: np.ndarray | None, starts: Sequence[int], frames: int) -> FeatureBatch:
    """The crops of `frames` frames that begin at these frames of the store, with their targets if there are any."""
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

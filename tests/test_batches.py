"""Training batches depend on seed and step only; held-out batches are always the same."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from speechvq import SpeechVQError
from speechvq.config import TrainConfig
from speechvq.data.feature_store import feature_store
from speechvq.data.manifest import Utterance, read_manifest
from speechvq.train.batches import Crops, FeatureCrops, held_out_batches, read_crop, warn_of_padding

HOW = TrainConfig(crop=1600, batch_size=6, seed=3, steps=50)


def crops(corpus: Path, shard: tuple[int, int] = (0, 1), **changes: int) -> Crops:
    train = [u for u in read_manifest(corpus) if u.split == "train"]
    return Crops(corpus, train, ["high", "low", "mid"], replace(HOW, **changes), shard)


def equal(one, other) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_a_batch_is_a_function_of_seed_and_step(corpus):
    data, again = crops(corpus), crops(corpus, steps=9)
    torch.manual_seed(1)
    last = data[8]
    np.random.seed(7)  # noqa: NPY002, the global generator must not matter
    assert equal(again[3], data[3])
    assert equal(again[8], last)
    assert not equal(data[3], data[4])
    assert not equal(data[3], crops(corpus, seed=4)[3])
    assert len(data) == 50


def test_shards_together_are_the_global_batch(corpus):
    whole = crops(corpus)[5]
    for processes in (2, 3):
        parts = [crops(corpus, (rank, processes))[5] for rank in range(processes)]
        for column in (0, 1):
            restored = torch.stack([part[column] for part in parts], 1).flatten(0, 1)
            assert torch.equal(restored, whole[column])
    with pytest.raises(SpeechVQError, match="batch_size = 6 is not a multiple of the 4"):
        crops(corpus, (0, 4))


@pytest.fixture
def ramps(tmp_path) -> tuple[Path, list[Utterance]]:
    """Utterances of 100, 900 and 3000 samples, whose values are their positions."""
    utterances = []
    for i, samples in enumerate([100, 900, 3000]):
        path = f"{i}.wav"
        soundfile.write(tmp_path / path, (i * 4000 + np.arange(samples)).astype(np.int16), 16_000)
        utterances.append(Utterance(str(i), f"s{i}", path, samples, 0, "", "train"))
    return tmp_path, utterances


def test_crops_are_uniform_over_the_audio(ramps):
    folder, utterances = ramps
    data = Crops(folder, utterances, ["s0", "s1", "s2"], TrainConfig(crop=200, batch_size=200, steps=20))
    firsts, speakers = [], []
    for step in range(20):
        wav, speaker, _ = data[step]
        for row, index in zip((wav * 32768).round().int(), speaker.tolist(), strict=True):
            first = int(row[0]) - 4000 * index
            length = min(200, utterances[index].samples)
            assert torch.equal(row[:length], 4000 * index + first + torch.arange(length, dtype=torch.int32))
            assert (row[length:] == 0).all()  # zeros after a short one
            firsts.append(first)
            speakers.append(index)
    share = np.bincount(speakers) / 4000
    np.testing.assert_allclose(share, [0.025, 0.225, 0.75], atol=0.03)
    starts = np.array(firsts)[np.array(speakers) == 2]
    assert starts.min() < 10
    assert starts.max() > 2790
    assert starts.max() <= 2800
    assert abs(starts.mean() - 1400) < 60


def test_the_utterances_of_a_batch_are_named(corpus):
    data = crops(corpus)
    wavs = {u.id: read_crop(corpus, u, 0, u.samples).tobytes() for u in read_manifest(corpus)}
    for step in range(5):
        rows = [row.numpy().tobytes() for row in data[step].wav]
        assert all(row in wavs[name] for row, name in zip(rows, data.names(step), strict=True))


def test_held_out_batches_are_fixed_whole_and_of_different_utterances(corpus):
    valid = [u for u in read_manifest(corpus) if u.split == "valid"]
    assert len(valid) >= 4
    speakers = ["high", "low", "mid"]

    def held_out(crop: int, most: int | None = None, utterances=valid) -> Iterator:
        return held_out_batches(corpus, utterances, speakers, crop, most)

    once, again = list(held_out(3200, 20)), list(held_out(3200, 20))
    assert [len(batch.wav) for batch in once] == [16, 4]
    assert all(equal(a, b) for a, b in zip(once, again, strict=True))
    whole = torch.cat([batch.wav for batch in held_out(3200)])
    assert len(whole) == sum(u.samples // 3200 for u in valid)
    wavs = [read_crop(corpus, u, 0, u.samples) for u in valid]
    owners = [[i for i, wav in enumerate(wavs) if row.tobytes() in wav.tobytes()] for row in whole.numpy()]
    assert all(len(owner) == 1 for owner in owners)  # every row is of one utterance, cut nowhere else
    first = [owner[0] for owner in owners[: len(valid)]]
    assert sorted(first) == list(range(len(valid)))  # one crop of each before the second of any
    with pytest.raises(SpeechVQError, match="fewer than 2 held-out"):
        list(held_out(10**7))
    with pytest.raises(SpeechVQError, match="fewer than 2 held-out"):
        list(held_out(3200, None, [replace(u, speaker="stranger") for u in valid]))


def test_clips_shorter_than_a_crop_are_padded_and_reported(corpus, caplog):
    """A corpus of words, say: in training always, held out where no utterance is as long as a crop."""
    utterances = read_manifest(corpus)
    crop = 2 * max(u.samples for u in utterances) - 2
    [batch, *_] = held_out_batches(corpus, utterances, ["high", "low", "mid"], crop)
    ends = [int(row.nonzero().max()) for row in batch.wav]
    assert max(ends) < crop / 2 + 1
    assert min(ends) > crop / 4
    with pytest.raises(SpeechVQError, match="fewer than 2 held-out"):
        list(held_out_batches(corpus, utterances, ["high", "low", "mid"], crop + 4))
    assert crops(corpus, crop=crop)[0].wav.shape == (6, crop)
    warn_of_padding(utterances[:3], utterances[3:5], crop)
    assert f"3 of 3 training utterances are shorter than a crop ({crop} samples)" in caplog.text
    assert "all 2 held-out utterances are shorter than a crop and padded with silence" in caplog.text
    caplog.clear()
    warn_of_padding(utterances, utterances, 1)
    assert not caplog.text


def test_feature_crops_are_of_one_speaker_and_have_the_targets_of_their_latents(corpus):
    store, how = feature_store(corpus), replace(HOW, crop=3200)
    targets = np.arange(len(store.frames) // 2)
    data = FeatureCrops(store, "train", targets, how)
    for step in range(10):
        for feats, row in zip(*data[step], strict=True):
            start = 2 * int(row[0])
            assert torch.equal(row, torch.arange(start // 2, start // 2 + 10))
            np.testing.assert_array_equal(feats.T.numpy(), store.frames[start : start + 20].astype(np.float32))
            assert any(begin <= start and start + 20 <= end for begin, end in store.spans("train"))
        starts = [2 * int(row[0]) for row in data[step].targets]
        pairs = zip(store.utterances, store.starts[:-1], store.starts[1:], strict=True)
        spans = [(u.id, begin, end) for u, begin, end in pairs]
        read = [name for start in starts for name, begin, end in spans if begin < start + 20 and end > start]
        assert data.names(step) == read
    shards = [FeatureCrops(store, "train", targets, how, (rank, 2))[3].targets for rank in range(2)]
    assert torch.equal(torch.stack(shards, 1).flatten(0, 1), data[3].targets)
    assert FeatureCrops(store, "train", None, how)[0].targets.shape == (6, 0)
    with pytest.raises(SpeechVQError, match="no speaker to train on has 160000 samples"):
        FeatureCrops(store, "train", None, replace(HOW, crop=160_000))

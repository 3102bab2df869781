"""Codes with a penalty for changes: the cheapest sequence against all sequences, and the same codes in any pieces."""

import itertools

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given
from hypothesis import strategies as st

from speechvq import SpeechVQError
from speechvq.audio.io import read
from speechvq.codec import Codec
from speechvq.config import AEConfig
from speechvq.data.manifest import read_manifest
from speechvq.nn.bottleneck.continuous import Identity
from speechvq.nn.bottleneck.viterbi import BLOCK_LATENTS, Viterbi, penalized_codes, penalized_paths


def distances(frames: int, codes: int, seed: int = 0) -> np.ndarray:
    """Squared distances of latents that move slowly, as those of speech do."""
    random = np.random.default_rng(seed)
    walk = np.cumsum(random.standard_normal((frames, 2)), 0)
    table = 3 * random.standard_normal((codes, 2))
    return np.square(walk[:, None] - table).sum(2).astype(np.float32)


def search(rows: np.ndarray, penalty: float, delay: int = 1000, pieces: int = 1) -> np.ndarray:
    found = Viterbi(penalty, delay)
    return np.concatenate([*(found.push(part) for part in np.array_split(rows, pieces)), found.finish()])


def cost(rows: np.ndarray, codes: np.ndarray, penalty: float) -> float:
    return float(rows[np.arange(len(codes)), codes].sum() + penalty * np.count_nonzero(codes[1:] != codes[:-1]))


@given(st.integers(0, 10**6), st.integers(1, 6), st.integers(1, 4), st.floats(0, 20))
def test_no_sequence_is_cheaper(seed, frames, codes, penalty):
    rows = distances(frames, codes, seed)
    least = min(cost(rows, np.array(way), penalty) for way in itertools.product(range(codes), repeat=frames))
    assert cost(rows, search(rows, penalty), penalty) == pytest.approx(least, rel=1e-5, abs=1e-5)


def test_a_long_sequence_costs_what_the_textbook_finds():
    """The recursion over all pairs of codes, in O(K^2)."""
    rows, penalty = distances(300, 20), 4.0
    least = rows[0].astype(float)
    for row in rows[1:]:
        least = row + (least[:, None] + penalty * (1 - np.eye(20))).min(0)
    assert cost(rows, search(rows, penalty), penalty) == pytest.approx(least.min(), rel=1e-5)


def test_without_a_penalty_each_code_is_the_nearest_and_with_a_large_one_it_never_changes():
    rows = distances(200, 12)
    assert search(rows, 0.0).tolist() == rows.argmin(1).tolist()
    assert set(search(rows, 1e6)) == {rows.sum(0).argmin()}
    changes = [np.count_nonzero(np.diff(search(rows, penalty))) for penalty in (0, 1, 3, 10, 30, 100)]
    assert changes == sorted(changes, reverse=True)
    assert changes[0] > changes[2] > changes[-1]


def test_crops_side_by_side_are_coded_as_each_alone():
    crops = np.stack([distances(40, 7, seed) for seed in range(4)])
    penalties = np.array([0.0, 0.3, 1.0, 100.0], np.float32)
    codes = penalized_paths(torch.from_numpy(crops), torch.from_numpy(penalties)).numpy()
    for rows, own, penalty in zip(crops, codes, penalties, strict=True):
        assert cost(rows, own, penalty) == pytest.approx(cost(rows, search(rows, penalty), penalty), rel=1e-5)


@pytest.mark.parametrize("delay", [1, 7, 50])
def test_pieces_give_what_the_whole_gives(delay):
    rows = distances(230, 12)
    whole = search(rows, 5.0, delay)
    for pieces in (2, 3, 29, 230):
        assert search(rows, 5.0, delay, pieces).tolist() == whole.tolist()


def test_a_code_is_decided_after_its_delay():
    """What comes later does not change it, and it is out as soon as that much is known."""
    rows, delay = distances(100, 12), 8
    other = np.concatenate([rows[:60], distances(40, 12, seed=1)])
    assert search(rows, 5.0, delay)[: 60 - delay].tolist() == search(other, 5.0, delay)[: 60 - delay].tolist()
    found = Viterbi(5.0, delay)
    assert [len(found.push(row[None])) for row in rows[:20]] == [0] * delay + [1] * (20 - delay)


def test_a_delay_of_a_second_finds_the_cheapest():
    rows = distances(400, 12)
    assert search(rows, 5.0, delay=50).tolist() == search(rows, 5.0).tolist()


@pytest.fixture(scope="module")
def codec(runs) -> Codec:
    return Codec.load(runs["mel"])


@pytest.fixture(scope="module")
def wav(corpus) -> torch.Tensor:
    one = read(corpus / read_manifest(corpus)[0].path)
    return torch.cat([one, 0.3 * one, one.flip(0)])


def test_a_codec_changes_its_codes_less_often(codec, wav):
    plain = codec.encode(wav, 16_000)
    assert torch.equal(codec.encode(wav, 16_000, penalty=0.0), plain)
    latents = codec.latents(wav, 16_000)
    scale = float((latents - codec.vectors(plain)).square().sum(0).mean())
    fewer = codec.encode(wav, 16_000, penalty=scale)
    assert (fewer.shape, fewer.dtype) == (plain.shape, plain.dtype)
    assert fewer.diff().count_nonzero() < 0.8 * plain.diff().count_nonzero()
    rows = codec.model.bottleneck.distances(latents[None])[0].numpy()
    assert cost(rows, fewer.numpy(), scale) < cost(rows, plain.numpy(), scale)
    assert torch.equal(codec.quantize(latents, scale), fewer)
    assert codec.encode(wav, 16_000, penalty=1e9).unique().numel() == 1


def test_a_file_is_encoded_in_windows_like_its_samples(codec, wav, tmp_path, monkeypatch):
    monkeypatch.setattr("speechvq.audio.windows.WINDOW_SAMPLES", 11 * codec.hop_length)
    monkeypatch.setattr("speechvq.audio.decoding.libsndfile.READ_SIZE", 1000)
    soundfile.write(tmp_path / "x.wav", wav.numpy(), 16_000, subtype="FLOAT")
    codes = codec.encode(wav, 16_000, penalty=3.0)
    assert torch.equal(codec.encode_file(tmp_path / "x.wav", penalty=3.0).codes, codes)
    assert not torch.equal(codes, codec.encode(wav, 16_000))


def test_the_latents_may_come_in_pieces(codec):
    z = torch.randn(1, 8, 2 * BLOCK_LATENTS + 9, generator=torch.Generator().manual_seed(0))
    whole = penalized_codes(codec.model.bottleneck, [z], 2.0)
    assert torch.equal(penalized_codes(codec.model.bottleneck, z.split(100, 2), 2.0), whole)


def test_a_model_without_codes_has_no_penalty(codec, wav, monkeypatch):
    monkeypatch.setattr(codec.model, "bottleneck", Identity(AEConfig(dim=8)))
    with pytest.raises(SpeechVQError, match="has no codes"):
        codec.encode(wav, 16_000, penalty=1.0)

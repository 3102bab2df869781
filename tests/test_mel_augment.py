"""Augmentation of log-mel spectrograms: each change alone does what its unit says."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from speechvq.config import MelAugmentConfig
from speechvq.nn.augment import POINTS, MelAugment, interpolation

OFF = {"stretch": 0.0, "filter": 0.0, "gain": 0.0, "snr": 0.0}
DECIBEL = math.log(10) / 20  # nats of magnitude


def changed(feats: Tensor, **limits: float) -> Tensor:
    torch.manual_seed(0)
    return MelAugment(MelAugmentConfig(**OFF | limits)).train()(feats)


@pytest.fixture
def feats() -> Tensor:
    return torch.randn(64, 80, 12, generator=torch.Generator().manual_seed(1))


def test_evaluation_and_zeros_change_nothing(feats):
    assert torch.equal(MelAugment(MelAugmentConfig()).eval()(feats), feats)
    assert torch.equal(changed(feats), feats)


def test_gain_is_one_number_a_row_within_its_limit(feats):
    gains = (changed(feats, gain=6.0) - feats) / DECIBEL
    assert gains.flatten(1).std(1).max() < 1e-3
    assert 4 < gains.abs().max() < 6.001
    assert gains.min() < -4 < 4 < gains.max()


def test_filters_are_constant_in_time_and_of_the_deviation_asked_for(feats):
    gains = (changed(feats, filter=6.5) - feats) / DECIBEL
    assert gains.std(2).max() < 1e-3
    assert gains[:, [0, -1], 0].std().item() == pytest.approx(6.5, rel=0.25)  # at points; between them it is less


def test_noise_only_adds_and_stays_below_the_speech(feats):
    noisy = changed(feats, snr=20.0)
    assert (noisy >= feats).all()
    added = (noisy.exp() - feats.exp()).mean((1, 2)).log() - feats.exp().mean((1, 2)).log()
    assert added.median() < -20 * DECIBEL
    assert torch.equal(changed(feats, snr=0.0), feats)


def test_a_stretch_moves_the_bands():
    peak = torch.zeros(64, 80, 1)
    peak[:, 40] = 1.0
    bands = changed(peak, stretch=0.1).argmax(1).flatten()
    assert bands.min() < 40 < bands.max()
    assert set(bands.tolist()) <= set(range(36, 46))  # a tenth either way


def test_interpolation_is_numpys():
    values, points = torch.randn(POINTS), torch.tensor([-1.0, 0.0, 0.25, 3.5, 7.9, 8.0, 9.0])
    found = interpolation(points, POINTS) @ values
    np.testing.assert_allclose(found, np.interp(points, np.arange(POINTS), values), atol=1e-6)

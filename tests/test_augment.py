"""Augmented speech: changed as much as the configuration asks for, in training alone."""

import math

import numpy as np
import pytest
import torch

from speechvq.config import AugmentConfig, ModelConfig
from speechvq.config.parsing import parse
from speechvq.nn.augment import AUGMENT_BANDS, Augment
from speechvq.nn.vqvae import Batch, build


def speech(rows: int = 200, samples: int = 4000) -> torch.Tensor:
    return 0.1 * torch.randn(rows, samples, generator=torch.Generator().manual_seed(0))


def augmented(wav: torch.Tensor, **what: float) -> torch.Tensor:
    torch.manual_seed(0)
    return Augment(AugmentConfig(**what)).train()(wav)


@pytest.mark.parametrize("what", [{}, {"gain": 6.0, "shift": 9, "noise": 0.1, "filter": 6.0, "voice": 2.0}])
def test_not_in_evaluation_and_not_unasked(what):
    wav = speech(3)
    assert Augment(AugmentConfig(**what)).eval()(wav) is wav
    assert (augmented(wav, **what) is wav) == (what == {})


def test_gain_is_within_its_limits_and_of_each_row():
    wav = speech()
    decibel = 20 * torch.log10(augmented(wav, gain=6.0) / wav)
    assert torch.allclose(decibel, decibel[:, :1], atol=1e-3)
    row = decibel[:, 0]
    assert -6 <= row.min() < -5.5
    assert 5.5 < row.max() <= 6


def test_shift_moves_whole_samples_and_leaves_silence():
    wav = speech(300, 500)
    changed = augmented(wav, shift=10)
    found = set()
    for row, moved in zip(wav, changed, strict=True):
        [by] = [
            k
            for k in range(-10, 11)
            if torch.equal(moved[max(k, 0) : 500 + min(k, 0)], row[max(-k, 0) : 500 - max(k, 0)])
        ]
        assert not (moved[:by].any() if by > 0 else moved[500 + by :].any() if by < 0 else False)
        found.add(by)
    assert found == set(range(-10, 11))


def test_noise_is_a_share_of_the_speech():
    wav = speech()
    wav[:5] *= 0.01
    ratio = ((augmented(wav, noise=0.1) - wav).square().mean(1) / wav.square().mean(1)).sqrt()
    assert 0.00095 < ratio.min() < 0.0015  # from a hundredth of what is asked for
    assert 0.08 < ratio.max() < 0.105


def test_the_voice_goes_up_and_down_in_time():
    """Two tones with silence between them: other frequencies, the same times."""
    time = torch.arange(32_000) / 16_000
    pitch = torch.where(time < 1, 700.0, 1300.0)
    tones = 0.1 * torch.sin(2 * math.pi * pitch * time) * ((time < 0.9) | (time > 1.1))
    changed = augmented(tones.repeat(40, 1), voice=3.0)
    assert changed.shape == (40, 32_000)
    power = changed.square()
    assert (power[:, 15_200:16_800].mean(1) / power.mean(1)).max() < 0.01
    semitones = []
    for begin, was in ((2_000, 700), (20_000, 1300)):
        spectrum = torch.fft.rfft(changed[:, begin : begin + 8_000] * torch.hann_window(8_000), n=64_000).abs()
        semitones.append(12 * torch.log2(spectrum.argmax(1) / 4 / was))
    assert (semitones[0] - semitones[1]).abs().max() < 0.1
    assert -3.1 < semitones[0].min() < -2
    assert 2 < semitones[0].max() < 3.1


def test_the_filter_is_smooth_and_within_its_limits():
    wav = speech(50, 16_000)
    changed = augmented(wav, filter=9.0)
    decibel = 20 * np.log10(np.abs(np.fft.rfft(changed.double().numpy()) / np.fft.rfft(wav.double().numpy())))[:, 1:-1]
    assert np.abs(decibel).max() < 9.01
    assert np.ptp(decibel, 0).max() > 12  # rows differ
    mel = np.log1p(np.linspace(0, 8000, 8001)[1:-1] / 700)
    edges = np.interp(np.linspace(0, np.log1p(8000 / 700), AUGMENT_BANDS + 1)[1:-1], mel, np.arange(len(mel))).astype(
        int
    )
    whole = np.concatenate([[0], edges, [len(mel) - 1]])
    for row in decibel:  # straight in mel between the edges of bands
        np.testing.assert_allclose(row, np.interp(mel, mel[whole], row[whole]), atol=0.1)


def test_the_decoders_target_is_the_recording():
    """With everything but the encoder's input the same, the target of the loss is the clean speech."""
    config = {"encoder": {"kind": "logmel", "channels": 8, "blocks": 1}, "augment": {"gain": 20.0, "noise": 1.0}}
    config |= {"decoder": {"kind": "mel", "conditioner": {"upsample": 4, "channels": 8, "blocks": 1}}}
    config |= {"bottleneck": {"kind": "ae", "dim": 4}}
    model = build(parse(ModelConfig, config), 2).train()
    seen = []
    model.encoder.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    model.decoder.mel.target.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    wav = speech(2, 6400)
    model(Batch(wav, torch.tensor([0, 1])))
    encoded, target = seen
    assert not torch.allclose(encoded, wav, atol=1e-3)
    assert torch.equal(target, wav)

"""Pitch, pulses and filters, each against what is known of them."""

from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import speech
from scipy.fft import dct
from scipy.signal import lfilter

from speechvq.audio import AUDIO_SUFFIXES, SAMPLE_RATE
from speechvq.audio import source_filter as source
from speechvq.audio.io import read
from speechvq.evaluate.metrics.acoustics import log_pitch

HOP = 160
ARCTIC = Path(__file__).resolve().parents[2] / "shared" / "data" / "arctic"


@pytest.mark.parametrize("hertz", [62.0, 97.3, 150.0, 311.0, 480.0])
def test_pitch_of_pulses(hertz):
    pitch, voiced = source.pitch(source.pulses(torch.full((2, 100), hertz), HOP), HOP)
    assert pitch.shape == voiced.shape == (2, 100)
    assert voiced[:, 5:-5].all()
    np.testing.assert_allclose(pitch[:, 5:-5], hertz, rtol=0.015)


def test_pitch_of_a_voice_does_not_depend_on_its_level():
    wav = torch.from_numpy(speech(130.0, [0, 1, 2, 3], np.random.default_rng(0)))[None]
    pitch, voiced = source.pitch(wav[:, : wav.shape[1] // HOP * HOP], HOP)
    softer, _ = source.pitch(0.05 * wav[:, : wav.shape[1] // HOP * HOP], HOP)
    assert voiced.float().mean() > 0.9
    assert (pitch / 130 - 1).abs()[voiced].max() < 0.05
    torch.testing.assert_close(softer, pitch, rtol=1e-3, atol=0.1)


def test_what_has_no_pitch():
    pitch, voiced = source.pitch(torch.zeros(1, 3200), HOP)
    assert not voiced.any()
    assert (pitch == source.DEFAULT_PITCH).all()
    _, voiced = source.pitch(torch.randn(4, 16_000, generator=torch.Generator().manual_seed(0)), HOP)
    assert voiced.float().mean() < 0.02


def test_of_any_signal_the_pitch_is_within_its_limits():
    """Signals that are not speech: levels, ramps, hum, single pulses, and digital noise of one bit."""
    time, random = torch.arange(16_000) / SAMPLE_RATE, torch.Generator().manual_seed(0)
    pulse = torch.zeros(16_000)
    pulse[8_000] = 1.0
    hums = [0.9 * torch.sin(2 * np.pi * hertz * time) for hertz in (0.5, 10, 25, 59, 700, 7_999)]
    bits = torch.randint(0, 2, (16_000,), generator=random) / 32_768
    wavs = torch.stack([0.5 + 0 * time, time, pulse, bits, 0.9 + bits, *hums])
    pitch, _ = source.pitch(wavs, HOP)
    assert pitch.min() > source.MIN_PITCH - 0.01
    assert pitch.max() < source.MAX_PITCH + 0.01
    assert source.pulses(pitch, HOP).isfinite().all()


@pytest.mark.skipif(not ARCTIC.is_dir(), reason="no recorded speech here (../shared/data/arctic)")
@pytest.mark.parametrize("name", ["bdl", "slt"])
def test_pitch_of_recordings_is_that_of_probabilistic_yin(name):
    wav = read(next(path for path in sorted((ARCTIC / name).iterdir()) if path.suffix in AUDIO_SUFFIXES))
    pitch, voiced = source.pitch(wav[None, : len(wav) // HOP * HOP], HOP)
    expected = log_pitch(wav)
    at = (np.arange(len(expected)) * 256 / HOP).round().astype(int).clip(max=pitch.shape[1] - 1)
    both = voiced[0].numpy()[at] & ~np.isnan(expected)
    assert both.mean() > 0.3
    assert (np.abs(pitch[0].log().numpy()[at] - expected)[both] > 0.2).mean() < 0.03


def test_between_voiced_frames_pitch_is_interpolated():
    pitch = torch.tensor([[1.0, 100.0, 7.0, 7.0, 7.0, 1600.0, 9.0], [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]])
    voiced = torch.tensor([[False, True, False, False, False, True, False], [False] * 7])
    expected = [[100.0, 100.0, 200.0, 400.0, 800.0, 1600.0, 1600.0], [source.DEFAULT_PITCH] * 7]
    torch.testing.assert_close(source.interpolate(pitch, voiced), torch.tensor(expected))


def test_pulses_are_harmonics_of_one_power():
    wav = source.pulses(torch.full((1, 50), 400.0), HOP)[0].double()
    phase = 2 * np.pi * 400 / SAMPLE_RATE * torch.arange(1, len(wav) + 1, dtype=torch.float64)
    expected = torch.stack([(k * phase).cos() for k in range(1, 21)]).sum(0) * (2 / 20) ** 0.5
    torch.testing.assert_close(wav, expected, rtol=0, atol=1e-4)
    gliding = source.pulses(torch.linspace(80, 300, 100)[None], HOP)
    assert gliding.square().mean().item() == pytest.approx(1, rel=0.03)
    assert gliding.isfinite().all()


def resonance(a: float) -> torch.Tensor:
    """The gains of y[t] = x[t] + a y[t - 1], which is of minimum phase."""
    w = torch.linspace(0, np.pi, source.FFT_SIZE // 2 + 1, dtype=torch.float64)
    return -(1 - a * torch.exp(-1j * w)).abs().log()


def test_the_filter_of_known_gains_is_the_causal_one():
    response = torch.fft.irfft(source.minimum_phase(resonance(0.9)), source.FFT_SIZE)
    expected = lfilter([1.0], [1.0, -0.9], np.eye(1, source.FFT_SIZE)[0])
    np.testing.assert_allclose(response, expected, atol=1e-6)


def test_speech_through_filters():
    noise = torch.randn(2, 40 * HOP, generator=torch.Generator().manual_seed(0))
    flat = torch.zeros(2, source.FFT_SIZE // 2 + 1, 40)
    torch.testing.assert_close(source.apply_filters(noise, flat, HOP), noise, rtol=0, atol=1e-5)
    torch.testing.assert_close(source.apply_filters(noise, flat + np.log(3), HOP), 3 * noise, rtol=0, atol=1e-5)
    filtered = source.apply_filters(noise, resonance(0.8).float()[None, :, None].expand_as(flat), HOP)
    expected = lfilter([1.0], [1.0, -0.8], noise)
    np.testing.assert_allclose(filtered[:, HOP:], expected[:, HOP:], atol=1e-3)
    rising = torch.linspace(0, 1, 40).expand_as(flat)
    power = source.apply_filters(noise, rising, HOP).square().reshape(2, 4, -1).mean(-1)
    assert (power.diff() > 0).all()


def test_bands_make_a_gain_of_every_frequency():
    weights = source.band_weights(80)
    assert weights.shape == (source.FFT_SIZE // 2 + 1, 80)
    torch.testing.assert_close(weights.sum(1), torch.ones(source.FFT_SIZE // 2 + 1))
    assert (weights @ torch.arange(80.0)).diff().min() >= 0  # higher frequencies, higher bands


def test_emphasis_keeps_level_and_tilt():
    gains = torch.randn(80, generator=torch.Generator().manual_seed(0))
    plain, more = (dct((row @ gains).numpy(), norm="ortho") for row in (torch.eye(80), source.emphasis(80, 1.5)))
    np.testing.assert_allclose(more[:2], plain[:2], atol=1e-4)
    np.testing.assert_allclose(more[2:], 1.5 * plain[2:], atol=1e-4)
    torch.testing.assert_close(source.emphasis(80, 1.0), torch.eye(80), rtol=0, atol=1e-4)

"""Acoustic measures against NumPy, SciPy and by hand."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.fft import dct

from speechvq.audio.features import LogMel
from speechvq.evaluate.metrics.acoustics import (
    FRAME_HOP,
    cepstral_distortion,
    compare,
    log_energy,
    log_pitch,
    pitch_correlation,
)


def syllables(seconds: float = 3.0, seed: int = 0, shift: int = 0) -> torch.Tensor:
    """Noise under bursts at irregular times: 150 ms of every 150 to 450."""
    random = np.random.default_rng(seed)
    envelope = np.zeros(round(seconds * 16_000))
    start = 0
    while start < len(envelope):
        envelope[start : start + 2400] = random.uniform(0.02, 0.15)
        start += 2400 + int(random.integers(0, 4800))
    return torch.from_numpy(np.roll(envelope, shift) * random.standard_normal(len(envelope))).float()


def test_the_same_correlates_with_itself():
    wav = syllables()
    result = compare(wav, wav.clone())
    assert result.energy_correlation == pytest.approx(1)
    assert (result.duration_difference, result.clipped) == (0, 0)
    assert result.peak == wav.abs().max()


def test_gain_polarity_and_timbre_do_not_matter():
    """The contour alone: another carrier under the same envelope is nearly the same, a tenth of the level too."""
    wav = syllables()
    assert compare(wav, -0.5 * wav).energy_correlation > 0.98
    other = wav.abs() * torch.sign(torch.randn(len(wav), generator=torch.Generator().manual_seed(1)))
    assert compare(wav, other).energy_correlation == pytest.approx(1)


def test_the_farther_it_is_shifted_the_less_is_left():
    wav = syllables()
    scores = [compare(wav, torch.roll(wav, shift)).energy_correlation for shift in (0, 400, 800, 1600)]
    assert all(a > b + 0.05 for a, b in itertools.pairwise(scores))
    assert scores[0] == pytest.approx(1)


def test_other_speech_is_far_from_the_same():
    assert abs(compare(syllables(seed=0), syllables(seed=1)).energy_correlation) < 0.5


def test_a_contour_turned_round_correlates_below_zero():
    loud = torch.cat([torch.full((8000,), 0.3), torch.full((8000,), 0.01)])
    assert compare(loud, loud.flip(0)).energy_correlation == pytest.approx(-1, abs=0.05)


def oracle(source: np.ndarray, converted: np.ndarray) -> float:
    """The definition, frame by frame: mean power of the 5 frames around (fewer at the edges, over 5), log, Pearson."""
    frames = min(len(source), len(converted)) // 160
    contours = []
    for wav in (source.astype(float), converted.astype(float)):
        power = [np.mean(wav[160 * i : 160 * (i + 1)] ** 2) for i in range(frames)]
        smooth = [sum(power[max(0, i - 2) : i + 3]) / 5 for i in range(frames)]
        contours.append(np.log(np.sqrt(smooth) + 1e-4))
    a, b = (c - c.mean() for c in contours)
    return float(a @ b / np.sqrt((a @ a) * (b @ b)))


@given(
    st.integers(0, 2**32 - 1), st.integers(5 * FRAME_HOP, 60 * FRAME_HOP), st.integers(5 * FRAME_HOP, 60 * FRAME_HOP)
)
def test_it_is_pearsons_correlation_of_the_contours(seed, first, second):
    random = np.random.default_rng(seed)
    gains = np.repeat(random.uniform(0.001, 1, 61), FRAME_HOP)
    source, converted = ((0.2 * gains[:n] * random.standard_normal(n)).astype(np.float32) for n in (first, second))
    result = compare(torch.from_numpy(source), torch.from_numpy(converted))
    assert result.energy_correlation == pytest.approx(oracle(source, converted), abs=1e-9)
    assert result.duration_difference == second - first


def test_log_energy_of_a_constant_is_its_level():
    contour = log_energy(np.full(10 * FRAME_HOP, 0.1, np.float32))
    np.testing.assert_allclose(contour[2:-2], np.log(0.1 + 1e-4), rtol=1e-6)
    np.testing.assert_allclose(log_energy(np.zeros(10 * FRAME_HOP)), np.log(1e-4))


def test_samples_at_full_scale_are_counted():
    wav = syllables().clamp(-0.9, 0.9)
    hit = wav.clone()
    hit[[10, 500, 900]] = torch.tensor([1.0, -1.0, 32767 / 32768])  # as floats, and as 16 bits read again
    hit[1000] = 32766 / 32768
    result = compare(wav, hit)
    assert result.clipped == 3
    assert result.peak == 1
    assert compare(hit, wav).clipped == 0  # the converted one's, not the source's


@pytest.mark.parametrize("difference", [-5000, -1, 0, 1, 5000])
def test_duration_in_samples_and_the_common_part_compared(difference):
    wav = syllables()
    result = compare(wav[:30_000], wav[: 30_000 + difference])
    assert result.duration_difference == difference
    assert result.energy_correlation == pytest.approx(1)


@pytest.mark.parametrize("samples", [4800, 9600, 16_000, 30_000])
def test_silence_has_no_contour(samples):
    """No correlation, and not the 1 that the rounding errors of two constants can have."""
    wav, silence = syllables()[:samples], torch.zeros(samples)
    for one, two in ((wav, silence), (silence, wav), (silence, silence)):
        assert compare(one, two).energy_correlation == pytest.approx(0, abs=1e-9)
    assert compare(wav, silence).peak == 0


@pytest.mark.parametrize("samples", [1, 159, 160, 161, 700])
def test_a_few_frames_are_a_figure_and_no_crash(samples):
    wav = syllables()[:samples]
    result = compare(wav, 0.5 * wav)
    assert -1 <= result.energy_correlation <= 1.0001
    assert result.peak == pytest.approx(0.5 * wav.abs().max().item())


def voice(pitch: np.ndarray) -> torch.Tensor:
    """Ten harmonics of a pitch in Hz, one value a sample."""
    phase = 2 * np.pi * np.cumsum(pitch) / 16_000
    return torch.from_numpy(0.05 * sum(np.sin(h * phase) / h for h in range(1, 11))).float()


@pytest.mark.parametrize("pitch", [80.0, 130.0, 220.0, 400.0])
def test_the_pitch_of_a_voice(pitch):
    found = log_pitch(voice(np.full(16_000, pitch)))
    assert np.isfinite(found[3:-3]).all()
    np.testing.assert_allclose(np.exp(found[3:-3]), pitch, rtol=0.01)


def test_noise_and_silence_have_no_pitch():
    noise = 0.1 * torch.randn(16_000, generator=torch.Generator().manual_seed(0))
    assert np.isnan(log_pitch(noise)).mean() > 0.9
    assert np.isnan(log_pitch(torch.zeros(16_000))).all()
    assert np.isnan(log_pitch(torch.zeros(1))).all()


def test_pitch_correlates_by_its_contour_not_its_height():
    time = np.arange(32_000) / 16_000
    low, high = (log_pitch(voice(base * 1.2 ** np.sin(2 * np.pi * time))) for base in (100, 190))
    assert pitch_correlation(low, high) > 0.99
    assert pitch_correlation(low, -high) == pytest.approx(-pitch_correlation(low, high))


def test_pitch_correlation_is_over_the_frames_with_two_voices():
    random = np.random.default_rng(0)
    a, b = random.standard_normal((2, 40))
    a[::3], b[1::5] = np.nan, np.nan
    both = ~(np.isnan(a) | np.isnan(b))
    assert pitch_correlation(a, np.append(b, 7)) == pytest.approx(np.corrcoef(a[both], b[both])[0, 1])
    few = np.where(np.arange(40) < 9, 1.0 * np.arange(40), np.nan)
    assert np.isnan(pitch_correlation(few, few))
    assert np.isnan(pitch_correlation(np.ones(40), a))


def test_cepstral_distortion_is_the_formula():
    """By SciPy's cosine transform of the log-mel bands, as the series whose first 12 terms without the 0th count."""
    one, other = syllables(seed=0)[:16_000], syllables(seed=1)[:16_000]
    bands = [LogMel(FRAME_HOP)(wav[None])[0].T.numpy().astype(float) for wav in (one, other)]
    series = [dct(band, type=2, axis=1)[:, 1:13] / band.shape[1] for band in bands]
    wanted = (10 / np.log(10) * np.sqrt(2 * ((series[0] - series[1]) ** 2).sum(1))).mean()
    assert cepstral_distortion(one, other) == pytest.approx(wanted, rel=1e-4)


def test_cepstral_distortion_is_of_timbre():
    wav = voice(np.full(16_000, 120.0)) + 0.01 * torch.randn(16_000, generator=torch.Generator().manual_seed(0))
    assert cepstral_distortion(wav, wav) == 0
    assert cepstral_distortion(wav, 0.3 * wav) < 0.1
    dull = torch.nn.functional.avg_pool1d(wav[None], 5, 1, 2)[0]
    assert cepstral_distortion(wav, dull) > 3
    assert cepstral_distortion(wav, torch.cat([wav, wav])) == 0  # the common part

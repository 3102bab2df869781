"""What is told of a conversion without listening, against NumPy and by hand."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from speechvq.evaluate.conversion import HOP, compare, log_energy, summarize


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


@given(st.integers(0, 2**32 - 1), st.integers(5 * HOP, 60 * HOP), st.integers(5 * HOP, 60 * HOP))
def test_it_is_pearsons_correlation_of_the_contours(seed, first, second):
    random = np.random.default_rng(seed)
    gains = np.repeat(random.uniform(0.001, 1, 61), HOP)
    source, converted = ((0.2 * gains[:n] * random.standard_normal(n)).astype(np.float32) for n in (first, second))
    result = compare(torch.from_numpy(source), torch.from_numpy(converted))
    assert result.energy_correlation == pytest.approx(oracle(source, converted), abs=1e-9)
    assert result.duration_difference == second - first


def test_log_energy_of_a_constant_is_its_level():
    contour = log_energy(np.full(10 * HOP, 0.1, np.float32))
    np.testing.assert_allclose(contour[2:-2], np.log(0.1 + 1e-4), rtol=1e-6)
    np.testing.assert_allclose(log_energy(np.zeros(10 * HOP)), np.log(1e-4))


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


def row(source: str, speaker: str, duration: int, clipped: int, correlation: float) -> dict[str, object]:
    figures = {"duration_difference": duration, "clipped": clipped, "peak": 0.5, "energy_correlation": correlation}
    return {"utterance": "u", "source": source, "speaker": speaker} | figures


def test_summary_by_hand():
    rows = [
        row("a", "a", 0, 1, 0.9),
        row("b", "b", -7, 0, 0.5),
        row("a", "b", 3, 2, 0.8),
        row("b", "a", -5, 4, 0.2),
        row("b", "c", 0, 0, 0.5),
    ]
    wanted = {
        "reconstruction": (2, 7, 1, 0.7, 0.5),
        "conversion": (3, 5, 6, 0.5, 0.2),
    }
    keys = ("utterances", "duration_difference_max", "clipped_samples", "energy_correlation_mean")
    summary = summarize(rows)
    assert summary.keys() == wanted.keys()
    for name, figures in wanted.items():
        assert summary[name] == pytest.approx(dict(zip((*keys, "energy_correlation_min"), figures, strict=True)))


def test_a_summary_of_one_kind_alone():
    assert list(summarize([row("a", "b", 0, 0, 1.0)])) == ["conversion"]
    assert list(summarize([row("a", "a", 0, 0, 1.0)])) == ["reconstruction"]
    assert summarize([]) == {}

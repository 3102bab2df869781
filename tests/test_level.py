"""Loudness and trimming, against torchaudio and librosa."""

from pathlib import Path

import numpy as np
import pytest
import torch
import torchaudio.functional as AF
from signals import noise, sine

from speechvq.audio import SAMPLE_RATE
from speechvq.audio.level import Meter, normalize_loudness, trim
from speechvq.audio.librosa_lock import librosa

SHARED = Path(__file__).resolve().parents[2] / "shared"
LSB = 1 / 32768


# --- trim


@pytest.mark.parametrize(("lead", "tail"), [(0, 0), (4000, 9000), (12_345, 0), (0, 777), (16_000, 16_000)])
def test_trim_says_where_what_is_left_began(lead, tail):
    wav = torch.cat([noise(lead, 1e-4), torch.from_numpy(sine(440, 1.0)), noise(tail, 1e-4, seed=1)])
    cut, start = trim(wav)
    assert torch.equal(cut, wav[start : start + len(cut)])
    assert lead - 1024 <= start <= lead  # all of the tone, and at most a frame before it
    assert lead + 16_000 <= start + len(cut) <= lead + 16_000 + 1024


def test_trim_finds_a_click_and_keeps_pauses_within():
    wav = torch.zeros(40_000)
    wav[10_000] = wav[30_000] = 0.9
    cut, start = trim(wav)
    assert cut[10_000 - start] == cut[30_000 - start] == pytest.approx(0.9)
    assert len(cut) < 20_001 + 2048


def test_trim_by_its_decibels():
    """A lead 40 dB below the tone stays at top_db 60 and goes at 30."""
    wav = torch.from_numpy(np.concatenate([sine(440, 1.0, level=0.005), sine(440, 1.0, level=0.5)]))
    assert trim(wav, 60.0)[1] == 0
    assert trim(wav, 30.0)[1] == pytest.approx(16_000, abs=1024)


@pytest.mark.parametrize("top_db", [20.0, 30.0, 60.0])
@pytest.mark.parametrize("samples", [700, 5_000, 40_001])
def test_trim_is_librosas(samples, top_db):
    level = np.exp(
        np.random.default_rng(samples).normal(size=samples // 256 + 1).cumsum()
    )  # a walk of some 8 dB a step
    wav = noise(samples) * torch.from_numpy(np.repeat(level / level.max(), 256)[:samples]).float()
    _, (start, end) = librosa.effects.trim(wav.numpy(), top_db=top_db, frame_length=1024, hop_length=256)
    cut, begun = trim(wav, top_db)
    assert (begun, begun + len(cut)) == (start, end)


@pytest.mark.parametrize("samples", [1, 100, 20_000])
def test_silence_is_not_trimmed_away(samples):
    cut, start = trim(torch.zeros(samples))
    assert (len(cut), start) == (samples, 0)


# --- loudness


def loudness(wav: torch.Tensor) -> float:
    return float(AF.loudness(wav[None], SAMPLE_RATE))


def speechlike(seconds: float = 3.0, level: float = 0.1) -> torch.Tensor:
    """Noise in syllables, with a pause."""
    wav = noise(round(seconds * SAMPLE_RATE), level)
    time = torch.arange(len(wav)) / SAMPLE_RATE
    return wav * (0.6 + 0.4 * torch.sin(2 * torch.pi * 4 * time)) * (time > 0.5)


@pytest.mark.parametrize("target", [-24.0, -30.0])
@pytest.mark.parametrize("level", [3e-3, 0.05, 0.2])
def test_loudness_measured_again_is_what_was_asked_for(target, level):
    assert loudness(normalize_loudness(speechlike(level=level), target)) == pytest.approx(target, abs=0.1)


def test_loudness_does_not_depend_on_the_gain_before():
    wav = speechlike()
    once = normalize_loudness(wav)
    assert (normalize_loudness(0.05 * wav) - once).abs().max() < 1e-4
    assert (normalize_loudness(once) - once).abs().max() < 1e-4


def test_a_loud_wav_is_not_measured_clipped():
    """The standard's filter lifts 3 kHz by 4 dB: beyond full scale, where torchaudio's filters clip by default."""
    wav = torch.from_numpy(sine(3000, 2.0, level=0.99))
    for gain in (0.1, 1.0, 3.0):  # a float file may go beyond 1
        assert loudness(normalize_loudness(gain * wav)) == pytest.approx(-24, abs=0.1)


def test_a_peak_limits_the_gain():
    wav = speechlike(level=0.01)
    wav[20_000] = 0.9  # a click: -24 LUFS would take it to about 6
    louder = normalize_loudness(wav)
    assert louder.abs().max() == pytest.approx(0.99, abs=1e-4)
    assert loudness(louder) < -24
    torch.testing.assert_close(louder / 0.99 * 0.9, wav, atol=1e-5, rtol=1e-4)  # scaled, not bent


@pytest.mark.parametrize("samples", [1600, 3000, 6399, 6400, 6401])
def test_short_wavs_are_levelled_too(samples):
    """As if they went on: repeated beyond the gate they have the loudness asked for."""
    wav = normalize_loudness(noise(samples, 0.02))
    assert len(wav) == samples
    assert loudness(wav.repeat(20)) == pytest.approx(-24, abs=0.5)
    assert wav.abs().max() <= 0.99


@pytest.mark.parametrize("decibel", [-60, -50, -40, -30, -20, -10, 10, 20])
def test_speech_at_any_level_is_the_same_speech(decibel):
    """Also where all of it is below the standard's gate of -70 LUFS."""
    wav = speechlike() + noise(48_000, 1e-4, seed=1)
    changed = normalize_loudness(wav * 10 ** (decibel / 20))
    torch.testing.assert_close(changed, normalize_loudness(wav), atol=1e-6, rtol=1e-5)
    assert loudness(changed) == pytest.approx(-24, abs=0.1)


def test_dithered_silence_is_silence():
    """Steps of one in 16 bits; speech of the same loudness has peaks."""
    wav = torch.randint(-1, 2, (20_000,), generator=torch.Generator().manual_seed(0)) * LSB
    assert torch.equal(normalize_loudness(wav), wav)


def test_pauses_of_usual_recordings_are_gated_by_the_standard():
    """The gain of old models' audio: a pause at -72 LUFS does not count, though 60 below the speech it would."""
    loud, pause = speechlike(1.0, level=0.05), noise(160_000, 1.4e-4)
    wav = torch.cat([loud, pause])
    assert 20 * np.log10(Meter([wav]).gain()) == pytest.approx(-24 - loudness(wav), abs=0.01)


@pytest.mark.parametrize("wav", [torch.zeros(100), torch.zeros(20_000), noise(20_000, 1e-6), noise(300, 1e-6)])
def test_silence_is_not_made_loud(wav):
    assert torch.equal(normalize_loudness(wav), wav)


@pytest.mark.parametrize("samples", [1, 2, 17])
def test_a_handful_of_samples_is_no_nan(samples):
    wav = normalize_loudness(0.1 * torch.ones(samples))
    assert torch.isfinite(wav).all()
    assert wav.abs().max() <= 0.99

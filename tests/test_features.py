"""Mu-law, log-mel, MFCC and Griffin-Lim, against formulas, librosa and SciPy."""

from pathlib import Path

import numpy as np
import pytest
import scipy.fft
import scipy.signal
import torch
from hypothesis import given
from hypothesis import strategies as st
from signals import loudest_frequency, noise, sine

from speechvq.audio import SAMPLE_RATE
from speechvq.audio.features import MFCC, LogMel, griffin_lim
from speechvq.audio.io import read
from speechvq.audio.level import normalize_loudness, trim
from speechvq.audio.librosa_lock import librosa
from speechvq.audio.mulaw import mulaw_decode, mulaw_encode

SHARED = Path(__file__).resolve().parents[2] / "shared"


# --- mu-law


def curve(x: np.ndarray, mu: int) -> np.ndarray:
    return np.sign(x) * np.log1p(mu * np.abs(x)) / np.log1p(mu)


@pytest.mark.parametrize("classes", [256, 32])
def test_mulaw_is_the_formula(classes):
    """The class nearest on the curve; and back, the inverse of the curve at that class."""
    mu = classes - 1
    wav = np.linspace(-1, 1, 20_001)
    exact = (curve(wav, mu) + 1) / 2 * mu
    codes = mulaw_encode(torch.from_numpy(wav), classes).numpy()
    assert codes.dtype == np.int64
    assert np.abs(codes - exact).max() <= 0.5 + 1e-4  # float32
    assert (codes.min(), codes.max()) == (0, mu)
    levels = np.linspace(-1, 1, classes)
    inverse = np.sign(levels) * ((1 + mu) ** np.abs(levels) - 1) / mu
    np.testing.assert_allclose(mulaw_decode(torch.arange(classes), classes), inverse, atol=1e-6)


@pytest.mark.parametrize("classes", [256, 32])
def test_every_class_comes_back(classes):
    codes = torch.arange(classes)
    assert torch.equal(mulaw_encode(mulaw_decode(codes, classes), classes), codes)


def test_silence_is_the_middle_class_and_nearly_silent():
    codes = mulaw_encode(torch.zeros(3))
    assert codes.tolist() == [128] * 3
    assert mulaw_decode(codes).abs().max() < 1e-4  # -80 dB


def test_beyond_full_scale_is_full_scale():
    assert mulaw_encode(torch.tensor([-7.0, -1.0, 1.0, 7.0])).tolist() == [0, 0, 255, 255]


@given(st.floats(-1, 1, width=32), st.floats(-1, 1, width=32))
def test_mulaw_keeps_the_order_and_is_finer_near_zero(a, b):
    low, high = mulaw_encode(torch.tensor([min(a, b), max(a, b)])).tolist()
    assert low <= high
    back = mulaw_decode(mulaw_encode(torch.tensor([a]))).item()
    # Half a step of 2/255 on the curve, whose slope at x is ln(256) / 255 * (1 + 255 |x|): within 2.3 %.
    assert abs(back - a) <= 0.0225 * (abs(a) + 1 / 255)


# --- LogMel, MFCC


@pytest.mark.parametrize(("hop", "window", "n_mels"), [(160, 400, 80), (200, 800, 40), (256, 1024, 80), (320, 320, 64)])
def test_logmel_is_librosas(hop, window, n_mels):
    wav = noise(20 * hop) + torch.from_numpy(sine(700, 1.0, level=0.3))[: 20 * hop]
    n_fft = 2 ** int(np.ceil(np.log2(max(hop, window))))
    padded = np.pad(wav.numpy(), (n_fft - hop) // 2)
    spectrum = librosa.stft(padded, n_fft=n_fft, hop_length=hop, win_length=window, window="hann", center=False)
    filters = librosa.filters.mel(sr=SAMPLE_RATE, n_fft=n_fft, n_mels=n_mels)
    wanted = np.log(np.maximum(filters @ np.abs(spectrum), 1e-5))
    mine = LogMel(hop, window, n_mels)(wav[None])[0].numpy()
    assert wanted.std() > 0.3
    np.testing.assert_allclose(mine, wanted, atol=1e-3)


@pytest.mark.parametrize(("hop", "window"), [(160, 400), (256, 1024), (160, 160)])
@pytest.mark.parametrize("frame", [0, 1, 7, 15])
def test_an_impulse_in_a_hop_peaks_in_its_frame_and_falls_off_evenly(hop, window, frame):
    wav = torch.zeros(1, 16 * hop)
    wav[0, frame * hop + hop // 2] = 1
    energy = LogMel(hop, window)(wav)[0].exp().sum(0)
    assert energy.argmax() == frame
    for far in range(1, 1 + min(frame, 15 - frame)):
        assert energy[frame - far] == pytest.approx(energy[frame + far].item(), rel=1e-3)
    assert (energy > 80 * 1.01e-5).sum() <= 2 * (window // (2 * hop)) + 1  # nothing beyond the window


def test_a_reversed_wav_has_reversed_frames():
    """The sample on which a frame is centred is one past the middle: shift by one to turn it round."""
    wav = noise(1 + 16 * 160)
    there = LogMel()(wav[None, :-1])[0]
    back = LogMel()(wav[None, 1:].flip(-1))[0]
    torch.testing.assert_close(back.flip(-1)[:, 2:-2], there[:, 2:-2], atol=1e-3, rtol=0)


def test_silence_is_the_floor_and_gain_is_added():
    mel = LogMel()
    assert torch.allclose(mel(torch.zeros(1, 1600)), torch.tensor(1e-5).log())
    wav = noise(1600)[None]
    torch.testing.assert_close(mel(2 * wav) - mel(wav), torch.full((1, 80, 10), float(np.log(2))), atol=1e-4, rtol=0)


def test_one_frame_a_hop_and_no_fraction_of_one():
    assert [LogMel()(torch.zeros(1, 160 * n)).shape[-1] for n in (1, 2, 9)] == [1, 2, 9]
    with pytest.raises(ValueError, match="not a multiple of the hop 160"):
        LogMel()(torch.zeros(1, 161))


def test_mfcc_is_scipys_dct_and_the_regression_of_the_papers():
    wav = noise(40 * 160)[None]
    frames = LogMel()(wav)[0].numpy()
    wanted = scipy.fft.dct(frames, axis=0, norm="ortho")[:13]
    deltas = []
    for _ in range(2):  # sum n (c[t + n] - c[t - n]) / (2 sum n^2), edges repeated
        last = np.pad((wanted, *deltas)[-1] if deltas else wanted, ((0, 0), (2, 2)), mode="edge")
        deltas.append(sum(n * (last[:, 2 + n : 42 + n] - last[:, 2 - n : 42 - n]) for n in (1, 2)) / (2 * (1 + 4)))
    mine = MFCC()(wav)[0].numpy()
    np.testing.assert_allclose(mine, np.concatenate([wanted, *deltas]), atol=2e-3)
    assert np.abs(deltas[1]).max() > 0.05


# --- Griffin-Lim


def burst(frequency: float, at: float, seconds: float = 1.0) -> torch.Tensor:
    wav = torch.zeros(round(seconds * SAMPLE_RATE))
    tone = torch.from_numpy(sine(frequency, 0.1) * np.hanning(1600).astype(np.float32))
    start = round(at * SAMPLE_RATE) - 800
    wav[start : start + 1600] = tone
    return wav


@pytest.mark.parametrize(("hop", "window"), [(160, 400), (256, 1024)])
def test_a_burst_comes_back_at_its_time_and_frequency(hop, window):
    length = 16_000 // hop * hop
    wav = torch.stack([burst(600, 0.25), burst(1500, 0.6)])[:, :length]
    back = griffin_lim(LogMel(hop, window)(wav), hop, window)
    assert back.shape == wav.shape
    for one, was, frequency in zip(back.numpy(), wav.numpy(), (600, 1500), strict=True):
        times = np.arange(length)
        centres = [np.sum(times * x**2) / np.sum(x**2) for x in (one, was)]
        assert abs(centres[0] - centres[1]) < 40  # samples: a quarter of the smaller hop
        middle = one[round(centres[1]) - 500 : round(centres[1]) + 500]
        assert loudest_frequency(middle) == pytest.approx(frequency, abs=40)
        assert np.sum(one**2) == pytest.approx(np.sum(was**2), rel=0.5)


def test_griffin_lim_draws_from_its_seed_alone():
    mel = LogMel()(burst(600, 0.15, 0.3)[None])
    torch.manual_seed(5)
    first = griffin_lim(mel, 160, 400, iterations=5, seed=3)
    drawn = torch.rand(3)
    again = griffin_lim(mel, 160, 400, iterations=5, seed=3)
    assert torch.equal(first, again)
    assert not torch.equal(first, griffin_lim(mel, 160, 400, iterations=5, seed=4))
    torch.manual_seed(5)
    assert torch.equal(drawn, torch.rand(3))


@pytest.mark.parametrize("frames", [1, 2, 3, 7])
@pytest.mark.parametrize(("hop", "window"), [(160, 400), (200, 1024), (320, 800)])
def test_griffin_lim_of_very_short_mels(frames, hop, window):
    mel = LogMel(hop, window)(noise(frames * hop, 0.1)[None])
    wav = griffin_lim(mel, hop, window, iterations=3)
    assert wav.shape == (1, frames * hop)
    assert 0 < wav.abs().max() <= 1


def test_more_iterations_are_nearer():
    wav = noise(8000) * torch.from_numpy(sine(3, 0.5))
    mel = LogMel()
    target = mel(wav[None]).exp()
    errors = [(mel(griffin_lim(target.log(), 160, 400, iterations=n)).exp() - target).norm() for n in (1, 60)]
    assert errors[1] < 0.6 * errors[0]


# --- real speech


def test_real_speech_through_mel_and_back():
    folder = SHARED / "data" / "vctk" / "wav48_silence_trimmed" / "p225"
    paths = sorted(folder.glob("*_mic1.flac"))[:2]
    if not paths:
        pytest.skip(f"{folder} is not here")
    for path in paths:
        wav, _ = trim(read(path))
        wav = normalize_loudness(wav)[: 2 * SAMPLE_RATE]
        wav = wav[: len(wav) // 160 * 160]
        mel = LogMel()(wav[None])
        again = LogMel()(griffin_lim(mel, 160, 400))
        loud = mel > mel.max() - 6
        assert (again - mel)[loud].abs().mean() < 0.6
        coded = mulaw_decode(mulaw_encode(wav))
        assert 10 * torch.log10(wav.square().mean() / (wav - coded).square().mean()) > 30  # G.711's 8 bits: 38 dB

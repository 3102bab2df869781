"""Acoustic comparison of two recordings: duration, level, energy contour, pitch contour and cepstrum."""

import math
from dataclasses import dataclass

import numpy as np
from torch import Tensor
from torch.nn import functional as F

from speechvq.audio import SAMPLE_RATE
from speechvq.audio.features import MFCC
from speechvq.audio.librosa_lock import librosa

FRAME_HOP = 160  # samples: 10 ms
ENERGY_FLOOR = 1e-4  # -80 dB: energy below it is noise
PITCH_RANGE = 60.0, 500.0  # Hz
PITCH_WINDOW = 1024  # samples: more than two periods of a low voice
CEPSTRAL_ORDER = 12


@dataclass(frozen=True)
class Comparison:
    """A converted recording compared with its source.

    duration_difference: samples, converted minus source
    clipped: number of converted samples at full scale
    peak: largest absolute value of the converted samples
    energy_correlation: correlation of the two energy contours (log energy in 10 ms frames), -1 to 1
    """

    duration_difference: int
    clipped: int
    peak: float
    energy_correlation: float


def compare(source: Tensor, converted: Tensor) -> Comparison:
    """Compare source (T,) and converted (T',) at 16 kHz."""
    frames = min(len(source), len(converted)) // FRAME_HOP
    contours = [log_energy(wav[: frames * FRAME_HOP].numpy()) for wav in (source, converted)]
    constant = frames == 0 or any(contour.std() < 1e-6 for contour in contours)  # silence: nothing to correlate
    correlation = 0.0 if constant else float(np.corrcoef(contours)[0, 1])
    level = converted.abs()
    clipped = int((level >= 32767 / 32768).sum())
    return Comparison(len(converted) - len(source), clipped, float(level.max()), correlation)


def log_energy(wav: np.ndarray) -> np.ndarray:
    """The energy contour of wav (F * 160,): log RMS (F,) in 10 ms frames.

    It is smoothed over 50 ms, so that it follows syllables and not pitch periods.
    """
    if len(wav) < FRAME_HOP:
        return np.zeros(0)
    power = np.square(wav.astype(np.float64)).reshape(-1, FRAME_HOP).mean(1)
    smooth = np.convolve(power, np.ones(5) / 5, mode="same")
    contour: np.ndarray = np.log(np.sqrt(smooth) + ENERGY_FLOOR)
    return contour


def log_pitch(wav: Tensor) -> np.ndarray:
    """The pitch contour of wav (T,) at 16 kHz by probabilistic YIN (Mauch and Dixon 2014), 60 to 500 Hz.

    Returns the natural logarithm of the fundamental frequency in Hz (F,), every 16 ms; NaN in unvoiced frames.
    """
    low, high = PITCH_RANGE
    pitch, _, _ = librosa.pyin(wav.numpy(), fmin=low, fmax=high, sr=SAMPLE_RATE, frame_length=PITCH_WINDOW)
    contour: np.ndarray = np.log(pitch)
    return contour


def pitch_correlation(source: np.ndarray, converted: np.ndarray) -> float:
    """The correlation of two contours from `log_pitch`, over frames voiced in both; NaN with fewer than 10 of them."""
    frames = min(len(source), len(converted))
    pair = np.stack([source[:frames], converted[:frames]])
    pair = pair[:, ~np.isnan(pair).any(0)]
    if pair.shape[1] < 10 or (pair.std(1) < 1e-6).any():
        return math.nan
    return float(np.corrcoef(pair)[0, 1])


def cepstral_distortion(source: Tensor, decoded: Tensor) -> float:
    """Mel-cepstral distortion in dB (Kubichek 1993) of source (T,) and decoded (T',), aligned in time, at 16 kHz.

    The mean over 10 ms frames of 10 / ln 10 * sqrt(2 * sum of squared differences) of coefficients 1 to 12 of the
    cepstrum of 80 log-mel bands. Level does not matter. Other definitions of the cepstrum give other values.
    """
    samples = min(len(source), len(decoded))
    mfcc = MFCC(FRAME_HOP)
    padding = (0, -samples % FRAME_HOP)
    pair = [mfcc(F.pad(wav[:samples], padding)[None])[0, 1 : CEPSTRAL_ORDER + 1] for wav in (source, decoded)]
    # An orthonormal coefficient is sqrt(bands / 2) times that of the series sum c_m cos(m w) in the formula.
    squared = (pair[0] - pair[1]).square().sum(0) * 2 / mfcc.mel.channels
    return float((10 / math.log(10) * (2 * squared).sqrt()).mean())

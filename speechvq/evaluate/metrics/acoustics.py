"""What can be measured of a voice without a trained judge: length, level, energy contour, pitch and cepstrum."""

import math
from dataclasses import dataclass

import numpy as np
from torch import Tensor
from torch.nn import functional as F

from speechvq.audio import SAMPLE_RATE
from speechvq.audio.features import MFCC
from speechvq.audio.librosa_lock import librosa

HOP = 160  # 10 ms
FLOOR = 1e-4  # -80 dB: below it, energy is noise
PITCHES = 60.0, 500.0  # Hz
PITCH_FRAME = 1024  # samples: two periods of a low voice


@dataclass(frozen=True)
class Comparison:
    """duration_difference in samples (converted minus source), the number of samples at full scale, the peak of
    the converted wav, and the correlation of the two energy contours (log energy in 10 ms frames, -1..1)."""

    duration_difference: int
    clipped: int
    peak: float
    energy_correlation: float


def compare(source: Tensor, converted: Tensor) -> Comparison:
    """source (T,) and converted (T',) at 16 kHz -> what was kept of the source."""
    frames = min(len(source), len(converted)) // HOP
    contours = [log_energy(wav[: frames * HOP].numpy()) for wav in (source, converted)]
    even = frames == 0 or any(contour.std() < 1e-6 for contour in contours)  # silence: nothing to correlate
    correlation = 0.0 if even else float(np.corrcoef(contours)[0, 1])
    level = converted.abs()
    clipped = int((level >= 32767 / 32768).sum())
    return Comparison(len(converted) - len(source), clipped, float(level.max()), correlation)


def log_energy(wav: np.ndarray) -> np.ndarray:
    """wav (F * 160,) -> log RMS (F,), smoothed over 50 ms: the contour of syllables, not of pitch periods."""
    if len(wav) < HOP:
        return np.zeros(0)
    power = np.square(wav.astype(np.float64)).reshape(-1, HOP).mean(1)
    smooth = np.convolve(power, np.ones(5) / 5, mode="same")
    return np.log(np.sqrt(smooth) + FLOOR)


def log_pitch(wav: Tensor) -> np.ndarray:
    """wav (T,) at 16 kHz -> natural logarithm of the fundamental frequency in Hz (F,), every 16 ms, NaN where there is
    no voice: probabilistic YIN (Mauch and Dixon 2014), 60 to 500 Hz."""
    low, high = PITCHES
    pitch, _, _ = librosa.pyin(wav.numpy(), fmin=low, fmax=high, sr=SAMPLE_RATE, frame_length=PITCH_FRAME)
    return np.log(pitch)


def pitch_correlation(source: np.ndarray, converted: np.ndarray) -> float:
    """Two `log_pitch` -> their correlation over the frames where both have a voice; NaN where fewer than 10 do."""
    frames = min(len(source), len(converted))
    pair = np.stack([source[:frames], converted[:frames]])
    pair = pair[:, ~np.isnan(pair).any(0)]
    if pair.shape[1] < 10 or (pair.std(1) < 1e-6).any():
        return math.nan
    return float(np.corrcoef(pair)[0, 1])


def cepstral_distortion(source: Tensor, made: Tensor) -> float:
    """Mel-cepstral distortion (Kubichek 1993) in dB: source (T,) and made (T',), which are spoken in time.

    10 / ln 10 * sqrt(2 * sum of squared differences), mean over 10 ms frames, of coefficients 1 to 12 of the cepstrum
    of the 80 log-mel bands: level does not matter. Figures of cepstra made otherwise lie elsewhere.
    """
    samples = min(len(source), len(made))
    mfcc = MFCC(HOP)
    pair = [mfcc(F.pad(wav[:samples], (0, -samples % HOP))[None])[0, 1:13] for wav in (source, made)]
    # An orthonormal coefficient is sqrt(bands / 2) times that of the series sum c_m cos(m w) that the formula is of.
    squared = (pair[0] - pair[1]).square().sum(0) * 2 / mfcc.mel.channels
    return float((10 / math.log(10) * (2 * squared).sqrt()).mean())

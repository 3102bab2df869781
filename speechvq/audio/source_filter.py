"""The source-filter model of speech: a voice (pulses at its pitch) and breath (noise), each through a filter.

Frames are as in `LogMel`: frame t is centred on sample t * hop + hop / 2.
"""

import math

import torch
import torchaudio.functional as AF
from torch import Tensor
from torch.nn import functional as F

from speechvq.audio import SAMPLE_RATE
from speechvq.audio.features import mel_filters

LOWEST, HIGHEST = 60.0, 500.0  # Hz
USUAL = 150.0  # Hz: the pitch where there is none
WINDOW = 1024  # samples: two periods of a low voice and more
APERIODIC = 0.4  # of YIN's normalised difference: with less, a frame is voiced
DULL = 9  # samples that are averaged first: what is above 1.8 kHz tells little of the pitch
NEAR = 0.1  # of the lags whose difference is this near to the least, the shortest is the period
FFT = 1024  # samples: a frame of the source, and after it what a filter still says of it


def pitch(wav: Tensor, hop: int) -> tuple[Tensor, Tensor]:
    """wav (B, T) -> pitch in Hz (B, T // hop), and which of its frames are voiced.

    By YIN (de Cheveigne and Kawahara 2002), from 60 to 500 Hz. Between voiced frames, pitch is interpolated.
    """
    shortest, longest = int(SAMPLE_RATE / HIGHEST), math.ceil(SAMPLE_RATE / LOWEST)
    left, part = (WINDOW - hop) // 2, WINDOW - longest
    low = F.avg_pool1d(wav[:, None], DULL, 1, DULL // 2)[:, 0]
    frames = F.pad(low, (left, WINDOW - hop - left)).unfold(-1, WINDOW, hop)
    spectrum, first = torch.fft.rfft(frames), torch.fft.rfft(frames[..., :part], WINDOW)
    shared = torch.fft.irfft(spectrum * first.conj(), WINDOW)[..., : longest + 1]
    sums = F.pad(frames.double().square().cumsum(-1), (1, 0))
    energy = (sums[..., part:] - sums[..., : longest + 1]).float()  # of the part a lag later
    difference = (energy[..., :1] + energy - 2 * shared).clamp(min=0)[..., 1:]
    lags = torch.arange(1, longest + 1, device=wav.device)
    normal = difference * lags / difference.cumsum(-1).clamp(min=1e-9)
    inner = normal[..., 1:-1]
    dips = F.pad((inner <= normal[..., :-2]) & (inner <= normal[..., 2:]), (1, 1))
    dips[..., : shortest - 1] = False
    depth = normal.masked_fill(~dips, 2.0)
    best = (depth <= depth.amin(-1, keepdim=True) + NEAR).float().argmax(-1)
    around = best[..., None] + torch.tensor([-1, 0, 1], device=wav.device)
    low, middle, high = normal.gather(-1, around.clamp(0, longest - 1)).unbind(-1)
    lag = best + 1 + ((low - high) / (2 * (low - 2 * middle + high)).clamp(min=1e-6)).clamp(-0.5, 0.5)
    voiced = (depth.amin(-1) < APERIODIC) & (energy[..., 0] > part * 1e-6)
    return interpolate((SAMPLE_RATE / lag).clamp(LOWEST, HIGHEST), voiced), voiced


def interpolate(pitch: Tensor, voiced: Tensor) -> Tensor:
    """pitch (B, F), linear in its logarithm between the frames that are voiced (B, F); USUAL where none is."""
    end = pitch.shape[-1]
    place = torch.arange(end, device=pitch.device).expand_as(pitch)
    before = place.masked_fill(~voiced, -1).cummax(-1).values
    after = place.masked_fill(~voiced, end).flip(-1).cummin(-1).values.flip(-1)
    before, after = before.where(before >= 0, after), after.where(after < end, before)
    values = pitch.log()
    low, high = (values.gather(-1, at.clamp(0, end - 1)) for at in (before, after))
    share = (place - before) / (after - before).clamp(min=1)
    return torch.lerp(low, high, share).exp().where(voiced.any(-1, keepdim=True), USUAL)


def pulses(pitch: Tensor, hop: int) -> Tensor:
    """pitch in Hz (B, F) -> its harmonics below 8 kHz in phase, a train of pulses (B, F * hop) with a power of 1.

    By their sum's closed form (Stilson and Smith 1996).
    """
    frequency = F.interpolate(pitch[:, None].double(), scale_factor=hop, mode="linear")[:, 0]
    phase = math.pi * ((frequency / SAMPLE_RATE).cumsum(-1) % 1)
    count = (SAMPLE_RATE / 2 / frequency).floor()
    sine = phase.sin()
    peak = sine.abs() < 1e-6  # where the closed form is 0 / 0
    train = ((2 * count + 1) * phase).sin() / (2 * sine.masked_fill(peak, 1.0)) - 0.5
    return (train.where(~peak, count) * (2 / count).sqrt()).float()


def band_weights(bands: int) -> Tensor:
    """What each of `bands` mel bands counts in the gain of each frequency: (FFT / 2 + 1, bands), rows that sum to 1."""
    filters = mel_filters(FFT, bands)
    filters[0], filters[-1] = filters[1], filters[-2]  # 0 Hz and 8 kHz are in no band
    return filters / filters.sum(1, keepdim=True)


def emphasis(bands: int, factor: float) -> Tensor:
    """(bands, bands), by which the gains of mel bands become more pronounced: all of their cepstrum is multiplied by
    `factor`, but for its first two coefficients, level and tilt."""
    cosines = AF.create_dct(bands, bands, norm="ortho")
    factors = torch.full((bands,), factor)
    factors[:2] = 1.0
    return cosines * factors @ cosines.T


def shape(source: Tensor, log_gains: Tensor, hop: int) -> Tensor:
    """source (B, F * hop) by the filter of each frame, log_gains (B, FFT / 2 + 1, F) -> (B, F * hop).

    Frames of two hops, faded into each other.
    """
    gains = F.pad(log_gains, (1, 1), mode="replicate").transpose(1, 2)
    first = hop + hop // 2  # before the source: what fades into its first frame
    window = torch.hann_window(2 * hop, device=source.device)
    frames = F.pad(source, (first, 3 * hop - first)).unfold(-1, 2 * hop, hop) * window
    filtered = torch.fft.irfft(torch.fft.rfft(frames, FFT) * minimum_phase(gains), FFT)
    length = (filtered.shape[1] - 1) * hop + FFT
    added = F.fold(filtered.transpose(1, 2), (1, length), (1, FFT), stride=(1, hop))
    return added[:, 0, 0, first : first + source.shape[1]]


def minimum_phase(log_gains: Tensor) -> Tensor:
    """Logarithms of gains (..., FFT / 2 + 1) -> the response with these gains that comes earliest, by its cepstrum."""
    cepstrum = torch.fft.irfft(log_gains, FFT)
    half = FFT // 2
    causal = torch.cat([cepstrum[..., :1], 2 * cepstrum[..., 1:half], cepstrum[..., half : half + 1]], -1)
    return torch.fft.rfft(causal, FFT).exp()

"""The source-filter model of speech: a voice (pulses at its pitch) and breath (noise), each through a filter.

Frames are as in `LogMel`: frame t is centred on sample t * hop + hop / 2.
"""

import math
from collections.abc import Iterable

import torch
from torch import Tensor
from torch.nn import functional as F

from speechvq.audio import SAMPLE_RATE
from speechvq.audio.features import cosine_matrix, mel_filters
from speechvq.audio.windows import windows

MIN_PITCH, MAX_PITCH = 60.0, 500.0  # Hz
DEFAULT_PITCH = 150.0  # Hz: of speech without any voiced frame
PITCH_WINDOW = 1024  # samples: two periods of a low voice and more
VOICING_THRESHOLD = 0.4  # of YIN's normalised difference; a frame below it is voiced
SMOOTHING = 9  # samples averaged first: what is above 1.8 kHz says little about the pitch
DIP_TOLERANCE = 0.1  # of the lags whose difference is this near to the least, the shortest is the period
FFT_SIZE = 1024  # samples: a frame of the source, followed by the decay of its filter


def pitch(wav: Tensor, hop: int) -> tuple[Tensor, Tensor]:
    """Estimate the pitch by YIN (de Cheveigne and Kawahara 2002).

    wav: (B, T).
    hop: samples per frame.

    Returns the pitch (B, T // hop) in Hz, from MIN_PITCH to MAX_PITCH, interpolated where a frame is not voiced, and a
    mask (B, T // hop) of the frames that are voiced.
    """
    shortest, longest = int(SAMPLE_RATE / MAX_PITCH), math.ceil(SAMPLE_RATE / MIN_PITCH)
    left, part = (PITCH_WINDOW - hop) // 2, PITCH_WINDOW - longest
    low = F.avg_pool1d(wav[:, None], SMOOTHING, 1, SMOOTHING // 2)[:, 0]
    frames = F.pad(low, (left, PITCH_WINDOW - hop - left)).unfold(-1, PITCH_WINDOW, hop)

    # Squared difference between the first part of a frame and the part a lag later: energy + energy - 2 * correlation.
    spectrum, first = torch.fft.rfft(frames), torch.fft.rfft(frames[..., :part], PITCH_WINDOW)
    correlation = torch.fft.irfft(spectrum * first.conj(), PITCH_WINDOW)[..., : longest + 1]
    sums = F.pad(frames.double().square().cumsum(-1), (1, 0))
    energy = (sums[..., part:] - sums[..., : longest + 1]).float()
    difference = (energy[..., :1] + energy - 2 * correlation).clamp(min=0)[..., 1:]

    # Cumulative mean normalised difference: near 0 at a period, near 1 without one.
    lags = torch.arange(1, longest + 1, device=wav.device)
    normalised = difference * lags / difference.cumsum(-1).clamp(min=1e-9)

    # The first of the deepest dips, its lag refined by the parabola through three points.
    inner = normalised[..., 1:-1]
    dips = F.pad((inner <= normalised[..., :-2]) & (inner <= normalised[..., 2:]), (1, 1))
    dips[..., : shortest - 1] = False
    depth = normalised.masked_fill(~dips, 2.0)
    best = (depth <= depth.amin(-1, keepdim=True) + DIP_TOLERANCE).float().argmax(-1)
    around = best[..., None] + torch.tensor([-1, 0, 1], device=wav.device)
    before, at, after = normalised.gather(-1, around.clamp(0, longest - 1)).unbind(-1)
    lag = best + 1 + ((before - after) / (2 * (before - 2 * at + after)).clamp(min=1e-6)).clamp(-0.5, 0.5)

    voiced = (depth.amin(-1) < VOICING_THRESHOLD) & (energy[..., 0] > part * 1e-6)
    return interpolate((SAMPLE_RATE / lag).clamp(MIN_PITCH, MAX_PITCH), voiced), voiced


def pitch_contour(wavs: Iterable[Tensor], hop: int) -> tuple[Tensor, Tensor]:
    """`pitch` of a wav of any length at speech level that comes in pieces (T_i,): (F,) in Hz, and a mask (F,)."""
    found, margin = [], PITCH_WINDOW // hop + 1
    for window in windows(wavs, hop, margin):
        wav = F.pad(window.wav, (0, -len(window.wav) % hop))
        found.append(torch.cat(pitch(wav[None], hop))[:, window.first : window.end])
    values, voiced = torch.cat(found, 1)
    return interpolate(values[None], voiced[None] > 0)[0], voiced > 0


def interpolate(pitch: Tensor, voiced: Tensor) -> Tensor:
    """Pitch (B, F) between the frames that are voiced (B, F), linear in its logarithm; DEFAULT_PITCH where none is."""
    end = pitch.shape[-1]
    frame = torch.arange(end, device=pitch.device).expand_as(pitch)
    # The nearest voiced frame on either side; beyond the first and the last, that one on both.
    before = frame.masked_fill(~voiced, -1).cummax(-1).values
    after = frame.masked_fill(~voiced, end).flip(-1).cummin(-1).values.flip(-1)
    before, after = before.where(before >= 0, after), after.where(after < end, before)
    values = pitch.log()
    low, high = (values.gather(-1, at.clamp(0, end - 1)) for at in (before, after))
    share = (frame - before) / (after - before).clamp(min=1)
    return torch.lerp(low, high, share).exp().where(voiced.any(-1, keepdim=True), DEFAULT_PITCH)


def smoothed(values: Tensor, span: int) -> Tensor:
    """Values (F,) averaged over `span` frames, an odd number, by a Hann window; the first and the last one go on."""
    window = torch.hann_window(span + 2, periodic=False, device=values.device)[1:-1]
    padded = F.pad(values[None, None], (span // 2, span // 2), mode="replicate")
    average: Tensor = F.conv1d(padded, (window / window.sum()).to(values)[None, None])
    return average[0, 0]


def pulses(pitch: Tensor, hop: int) -> Tensor:
    """The harmonics of a pitch below 8 kHz, in phase: a train of pulses with a power of 1.

    pitch: (B, F) in Hz.

    Returns a wav (B, F * hop).
    """
    frequency = sample_frequency(pitch, hop)
    return pulse_train((frequency / SAMPLE_RATE).cumsum(-1), frequency).to(pitch.device)


def exact_device(device: torch.device) -> torch.device:
    """The device itself, or the CPU in place of Apple's GPUs, which have no double precision."""
    return torch.device("cpu") if device.type == "mps" else device


def sample_frequency(pitch: Tensor, hop: int) -> Tensor:
    """The pitch (B, F) at every sample, (B, F * hop) float64: linear between the middles of frames."""
    exact = pitch.to(exact_device(pitch.device)).double()
    return F.interpolate(exact[:, None], scale_factor=hop, mode="linear")[:, 0]


def pulse_train(cycles: Tensor, frequency: Tensor) -> Tensor:
    """The wav (..., T) of `pulses`, by the closed form of the harmonics' sum (Stilson and Smith 1996).

    cycles: (..., T) float64, the phase in cycles.
    frequency: (..., T) float64 in Hz.
    """
    phase = math.pi * (cycles % 1)
    count = (SAMPLE_RATE / 2 / frequency).floor()
    sine = phase.sin()
    peak = sine.abs() < 1e-6  # where the closed form is 0 / 0
    train = ((2 * count + 1) * phase).sin() / (2 * sine.masked_fill(peak, 1.0)) - 0.5
    return (train.where(~peak, count) * (2 / count).sqrt()).float()


def band_weights(bands: int) -> Tensor:
    """The weight of each mel band in the gain of each frequency: (FFT_SIZE / 2 + 1, bands), rows that sum to 1."""
    filters = mel_filters(FFT_SIZE, bands)
    filters[0], filters[-1] = filters[1], filters[-2]  # 0 Hz and 8 kHz are in no band
    return filters / filters.sum(1, keepdim=True)


def emphasis(bands: int, factor: float) -> Tensor:
    """The matrix (bands, bands) that makes the log gains of mel bands more pronounced.

    It multiplies their cepstrum by `factor`, but for the first two coefficients, which are level and tilt.
    """
    cosines = cosine_matrix(bands, bands)
    factors = torch.full((bands,), factor)
    factors[:2] = 1.0
    matrix: Tensor = cosines * factors @ cosines.T
    return matrix


def apply_filters(source: Tensor, log_gains: Tensor, hop: int) -> Tensor:
    """Filter each frame of a source by gains of its own.

    source: wav (B, F * hop).
    log_gains: (B, FFT_SIZE / 2 + 1, F), natural logarithms.

    Returns a wav (B, F * hop). Frames last two hops and fade into each other.
    """
    before, after = margins(hop)
    gains = F.pad(log_gains, (1, 1), mode="replicate")
    return filter_frames(F.pad(source, (before, after)), gains, hop)[:, before : before + source.shape[1]]


def margins(hop: int) -> tuple[int, int]:
    """Samples before and behind a source that belong to its first and last frames.

    Frame t begins at sample t * hop - hop / 2; frames -1 and F fade into the first and out of the last one.
    """
    before = hop + hop // 2
    return before, 3 * hop - before


def filter_frames(source: Tensor, log_gains: Tensor, hop: int) -> Tensor:
    """Filter frames of a source, and add them up.

    source: wav (B, (F + 1) * hop), of frames of two hops that begin every hop.
    log_gains: (B, FFT_SIZE / 2 + 1, F), natural logarithms.

    Returns a wav (B, (F - 1) * hop + FFT_SIZE) from the beginning of the first frame on.
    """
    frames = source.unfold(-1, 2 * hop, hop) * torch.hann_window(2 * hop, device=source.device)
    filtered = torch.fft.irfft(torch.fft.rfft(frames, FFT_SIZE) * minimum_phase(log_gains.transpose(1, 2)), FFT_SIZE)
    # Overlap-add.
    length = (filtered.shape[1] - 1) * hop + FFT_SIZE
    added: Tensor = F.fold(filtered.transpose(1, 2), (1, length), (1, FFT_SIZE), stride=(1, hop))
    return added[:, 0, 0]


def minimum_phase(log_gains: Tensor) -> Tensor:
    """The minimum-phase response of log gains (..., FFT_SIZE / 2 + 1), complex, by their folded cepstrum."""
    cepstrum = torch.fft.irfft(log_gains, FFT_SIZE)
    half = FFT_SIZE // 2
    causal = torch.cat([cepstrum[..., :1], 2 * cepstrum[..., 1:half], cepstrum[..., half : half + 1]], -1)
    response: Tensor = torch.fft.rfft(causal, FFT_SIZE).exp()
    return response

"""Transforms of spectra: mel filters, cosines, deltas, phases from magnitudes, changes of duration.

They give the same bits as those of torchaudio 2.11, with which the packaged models were trained
(`tests/test_spectra.py`), but need none of its libraries, which belong to one build of torch each.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

MEL_STEP = 200 / 3  # Hz of a mel below the break, on Slaney's scale
MEL_BREAK = 1000.0  # Hz, above which mels are logarithmic
MEL_LOG_STEP = math.log(6.4) / 27


def mel_filterbank(bins: int, bands: int, sample_rate: int) -> Tensor:
    """Triangular filters (bins, bands) of equal area, from 0 Hz to half the sample rate (Slaney's mel scale and norm).

    bins: of a spectrum, n_fft / 2 + 1.
    """
    highest = MEL_BREAK / MEL_STEP + math.log(sample_rate / 2 / MEL_BREAK) / MEL_LOG_STEP
    mels = torch.linspace(0.0, highest, bands + 2)
    edges = MEL_STEP * mels
    logarithmic = mels >= MEL_BREAK / MEL_STEP
    edges[logarithmic] = MEL_BREAK * torch.exp(MEL_LOG_STEP * (mels[logarithmic] - MEL_BREAK / MEL_STEP))
    widths = edges.diff()
    offsets = edges[None] - torch.linspace(0, sample_rate // 2, bins)[:, None]
    rising, falling = -1.0 * offsets[:, :-2] / widths[:-1], offsets[:, 2:] / widths[1:]
    return torch.minimum(rising, falling).clamp(min=0) * (2.0 / (edges[2:] - edges[:-2]))


def cosine_matrix(outputs: int, inputs: int) -> Tensor:
    """The orthonormal DCT-II as a matrix (inputs, outputs)."""
    positions, frequencies = torch.arange(float(inputs)), torch.arange(float(outputs))[:, None]
    matrix = torch.cos(math.pi / inputs * (positions + 0.5) * frequencies)
    matrix[0] *= 1.0 / math.sqrt(2.0)
    matrix *= math.sqrt(2.0 / inputs)
    return matrix.T


def deltas(features: Tensor) -> Tensor:
    """The slope of features (B, C, F) over five frames, by least squares; outer frames are repeated at the edges."""
    rows = F.pad(features.reshape(1, -1, features.shape[-1]), (2, 2), mode="replicate")
    kernel = torch.arange(-2, 3, device=features.device, dtype=features.dtype).repeat(rows.shape[1], 1, 1)
    return (F.conv1d(rows, kernel, groups=rows.shape[1]) / 10.0).reshape(features.shape)


def phases_found(
    magnitude: Tensor, window: Tensor, n_fft: int, hop: int, iterations: int, momentum: float = 0.99
) -> Tensor:
    """A wav (B, (F - 1) * hop) with the magnitudes (B, n_fft / 2 + 1, F) of frames that are `hop` samples apart.

    Phases are random at first (from torch's generator), then those of the wav so far (Griffin and Lim 1984), with
    momentum (Perraudin et al. 2013).
    """
    momentum = momentum / (1 + momentum)
    angles = torch.rand(magnitude.shape, dtype=torch.complex64, device=magnitude.device)
    previous = torch.tensor(0.0, device=magnitude.device)
    for _ in range(iterations):
        wav = torch.istft(magnitude * angles, n_fft, hop, len(window), window)
        rebuilt = torch.stft(wav, n_fft, hop, len(window), window, return_complex=True)
        angles = rebuilt - previous.mul_(momentum)
        angles = angles.div(angles.abs().add(1e-16))
        previous = rebuilt
    return torch.istft(magnitude * angles, n_fft, hop, len(window), window)


def stretched(frames: Tensor, rate: float, advance: Tensor) -> Tensor:
    """Complex spectra (C, F) with 1 / rate times as many frames, of the same pitch: a phase vocoder.

    advance: (C, 1), the phase that each frequency gains from frame to frame, in radians.
    """
    if rate == 1.0:
        return frames
    times = torch.arange(0, frames.shape[-1], rate, device=frames.device, dtype=torch.float32)
    between = times % 1.0
    padded = F.pad(frames, [0, 2])
    before, after = padded.index_select(-1, times.long()), padded.index_select(-1, (times + 1).long())
    gained = after.angle() - before.angle() - advance
    gained = gained - 2 * math.pi * torch.round(gained / (2 * math.pi)) + advance
    phase = torch.cat([frames[..., :1].angle(), gained[..., :-1]], -1).cumsum(-1)
    return torch.polar(between * after.abs() + (1 - between) * before.abs(), phase)

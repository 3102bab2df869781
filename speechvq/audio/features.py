"""Log-mel spectrograms and cepstra, and Griffin-Lim back from a spectrogram.

They give the same bits as torchaudio 2.11, with which the packaged models were trained (`tests/test_transforms.py`),
but need none of its libraries, which belong to one build of torch each.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from speechvq.audio import SAMPLE_RATE

MEL_FLOOR = 1e-5  # log-mel below this magnitude is silence
MEL_STEP = 200 / 3  # Hz of a mel below the break, on Slaney's scale
MEL_BREAK = 1000.0  # Hz, above which mels are logarithmic
MEL_LOG_STEP = math.log(6.4) / 27


class LogMel(nn.Module):
    """Log-mel spectrogram with exactly one frame per hop.

    wav (B, T) -> (B, n_mels, T // hop): logarithms of mel magnitudes (Slaney's scale and norm, 0 to 8 kHz), at least
    log(1e-5). Frame t is centred on sample t * hop + hop / 2, with zeros outside the wav.

    hop, window: in samples.
    channels: the number of mel bands.
    receptive_field: samples that a frame depends on.

    Raises ValueError if T is not a multiple of the hop.
    """

    filters: Tensor
    hann: Tensor

    def __init__(self, hop: int = 160, window: int = 400, n_mels: int = 80) -> None:
        super().__init__()
        self.hop, self.channels, self.receptive_field = hop, n_mels, window
        self.n_fft = fft_size(hop, window)
        with torch.device("cpu"):  # constants have values even in a model that is built without memory for its weights
            self.register_buffer("hann", torch.hann_window(window), persistent=False)
            self.register_buffer("filters", mel_filters(self.n_fft, n_mels), persistent=False)

    def forward(self, wav: Tensor) -> Tensor:
        if wav.shape[-1] % self.hop:
            raise ValueError(f"{wav.shape[-1]} samples are not a multiple of the hop {self.hop}")
        left = (self.n_fft - self.hop) // 2
        padded = F.pad(
            wav, (left, self.n_fft - self.hop - left)
        )  # the middle of the first frame is half a hop into wav
        spectrum = torch.stft(
            padded, self.n_fft, self.hop, len(self.hann), self.hann, center=False, return_complex=True
        )
        return (self.filters.T @ spectrum.abs()).clamp(min=MEL_FLOOR).log()


class MFCC(nn.Module):
    """13 mel-frequency cepstral coefficients (the orthonormal DCT-II of the log-mel), their deltas and second deltas.

    wav (B, T) -> (B, 39, T // hop), frames as in `LogMel`.
    """

    channels = 39
    dct: Tensor

    def __init__(self, hop: int = 160, window: int = 400) -> None:
        super().__init__()
        self.mel = LogMel(hop, window)
        self.hop, self.receptive_field = hop, window + 8 * hop  # a delta looks at 2 frames on either side
        with torch.device("cpu"):
            self.register_buffer("dct", cosine_matrix(13, self.mel.channels), persistent=False)

    def forward(self, wav: Tensor) -> Tensor:
        cepstrum = self.dct.T @ self.mel(wav)
        delta = deltas(cepstrum)
        return torch.cat([cepstrum, delta, deltas(delta)], dim=1)


def fft_size(hop: int, window: int) -> int:
    """The smallest power of two that is neither less than the hop nor than the window."""
    return 1 << (max(hop, window) - 1).bit_length()


def mel_filters(n_fft: int, n_mels: int) -> Tensor:
    """Triangular filters (n_fft / 2 + 1, n_mels), Slaney's mel scale and norm, 0 to 8 kHz."""
    return mel_filterbank(n_fft // 2 + 1, n_mels, SAMPLE_RATE)


def griffin_lim(log_mel: Tensor, hop: int, window: int, iterations: int = 60, seed: int = 0) -> Tensor:
    """Invert `LogMel`: log_mel (B, n_mels, F) -> wav (B, F * hop), whose phases are found by Griffin and Lim 1984.

    Magnitudes are the least-squares solution of the mel filters, negative ones set to zero. The search for the phases
    starts at random ones, by the seed, and has momentum (Perraudin et al. 2013).
    """
    n_fft = fft_size(hop, window)
    filters = mel_filters(n_fft, log_mel.shape[1]).to(log_mel)
    magnitude = (torch.linalg.pinv(filters.T) @ log_mel.exp()).clamp(min=0)
    # `LogMel`'s frames begin (n_fft - hop) / 2 before their hop; torch's centred ones n_fft / 2: half a hop off.
    # The silent frames at the end give torch's reflected edge enough to reflect, however short the speech.
    edges = F.pad(magnitude, (1, n_fft // (2 * hop) + 2))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        wav = phases_found(edges, torch.hann_window(window, device=log_mel.device), n_fft, hop, iterations)
    # Frame 0 of `edges` is a hop before the first frame, whose centre lies half a hop into the result.
    start = hop - hop // 2
    return wav[:, start : start + log_mel.shape[2] * hop].clamp(-1, 1)


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

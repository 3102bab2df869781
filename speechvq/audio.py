"""Sound: files, rates, levels, mu-law, features, and Griffin-Lim back from features.

A wav is a float32 tensor (T,) in [-1, 1], mono, at SAMPLE_RATE unless said otherwise.
"""

import math
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path

import numpy as np
import soundfile
import soxr
import torch
import torchaudio.functional as AF
from torch import Tensor, nn
from torch.nn import functional as F

from speechvq import SpeechVQError
from speechvq.checkpoint import atomic_write

SAMPLE_RATE = 16_000
MU_CLASSES = 256
SUFFIXES = (".wav", ".flac", ".ogg", ".opus", ".mp3", ".aiff", ".aif")
MEL_FLOOR = 1e-5  # log-mel below this magnitude is silence
LOUDNESS = -24.0  # LUFS, of all speech that a model is trained on or is given
HOP, BLOCK = 1_600, 6_400  # samples: loudness is measured in blocks of 0.4 s, every 0.1 s
PIECE = 2**20  # samples of a file that are read at a time


def read(path: Path, sample_rate: int = SAMPLE_RATE) -> Tensor:
    """Any file that libsndfile reads, any rate, any number of channels -> wav (T,) at `sample_rate`.

    SpeechVQError for a file that is missing, not audio, empty, or holds NaN or infinite samples.
    """
    return torch.cat([*pieces(path, sample_rate)])


def pieces(path: Path, sample_rate: int = SAMPLE_RATE) -> Iterator[Tensor]:
    """`read` in pieces of half a minute or so, for files that are longer than memory."""
    if not path.is_file():
        raise SpeechVQError(f"{path}: {'is a folder, not a file' if path.is_dir() else 'no such file'}")
    try:
        with soundfile.SoundFile(path) as file:
            blocks = file.blocks(PIECE, dtype="float32", always_2d=True)
            wavs = (_mono(block, path) for block in blocks)
            first = next(wavs, None)
            if first is None:
                raise SpeechVQError(f"{path}: holds no samples")
            yield from resampled(chain([first], wavs), file.samplerate, sample_rate)
    except (soundfile.LibsndfileError, TypeError, OSError, UnicodeError) as error:  # the name may be no UTF-8
        raise SpeechVQError(f"{path}: not audio that can be read ({str(error).rstrip('.')})") from None


def _mono(block: np.ndarray, path: Path) -> Tensor:
    if not np.isfinite(block).all():
        raise SpeechVQError(f"{path}: holds NaN or infinite samples")
    return torch.from_numpy(block.mean(1))


def validate(wav: Tensor, what: str) -> Tensor:
    """wav (T,) or (channels, T) -> mono float32 (T,); SpeechVQError, naming `what`, where it is no audio."""
    if wav.ndim not in (1, 2):
        raise SpeechVQError(f"{what}: audio has the shape (T,) or (channels, T), not {tuple(wav.shape)}")
    if wav.numel() == 0:
        raise SpeechVQError(f"{what}: holds no samples")
    if wav.ndim == 2 and wav.shape[0] > max(wav.shape[1], 8):
        raise SpeechVQError(f"{what}: {wav.shape[0]} channels of {wav.shape[1]} samples; transpose it to (channels, T)")
    if not torch.isfinite(wav).all():
        raise SpeechVQError(f"{what}: holds NaN or infinite samples")
    return (wav if wav.ndim == 1 else wav.float().mean(0)).float()


def write(path: Path, wav: Tensor | Iterable[Tensor], sample_rate: int = SAMPLE_RATE) -> None:
    """Write wav (T,), which may come in pieces, as 16-bit .wav or .flac, clipped to [-1, 1], whole or not at all."""
    if path.suffix.lower() not in (".wav", ".flac"):
        raise SpeechVQError(f"{path}: audio is written as .wav or .flac")
    with atomic_write(path) as temporary:
        try:
            with soundfile.SoundFile(temporary, "w", sample_rate, 1, "PCM_16") as file:
                for piece in [wav] if isinstance(wav, Tensor) else wav:
                    file.write(piece.clamp(-1, 1).numpy())
        except soundfile.LibsndfileError as error:  # a full disk, say: not the fault of what is written
            raise OSError(None, error.error_string, str(path)) from None


def resample(wav: Tensor, old: int, new: int) -> Tensor:
    """wav (T,) from rate `old` to rate `new` (Hz) by the SoX resampler -> (T * new / old,), rounded."""
    return torch.cat([*resampled([wav], old, new)])


def resampled(wavs: Iterable[Tensor], old: int, new: int) -> Iterator[Tensor]:
    """`resample` of a wav that comes in pieces; their lengths make no difference."""
    if old == new:
        yield from wavs
        return
    stream = soxr.ResampleStream(old, new, 1, dtype="float32")
    made = (stream.resample_chunk(wav.numpy()) for wav in wavs)
    last = (stream.resample_chunk(np.empty(0, np.float32), last=True) for _ in range(1))
    samples = 0
    for wav in chain(made, last):
        samples += len(wav)
        if len(wav):
            yield torch.from_numpy(wav)
    if not samples:  # less than half a sample is one
        yield torch.zeros(1)


def trim(wav: Tensor, top_db: float = 30.0) -> tuple[Tensor, int]:
    """Cut the edges that are `top_db` below the loudest frame -> the rest (T',), and its first sample's place.

    As `librosa.effects.trim` does it (frames of 1024 samples, every 256), which takes 150 MB to import.
    """
    power = F.avg_pool1d(wav.square()[None], 1024, 256, padding=512)[0]
    loud = (power > power.max() * 10 ** (-top_db / 10)).nonzero()
    if not len(loud):  # silence, or samples so large that their squares overflow
        return wav, 0
    start = 256 * int(loud[0])
    return wav[start : 256 * (int(loud[-1]) + 1)], start


def normalize_loudness(wav: Tensor, lufs: float = LOUDNESS) -> Tensor:
    """Bring wav (T,) to a loudness (ITU-R BS.1770), or as near as a peak of 0.99 allows; silence stays as it is."""
    return wav * Meter([wav]).gain(lufs)


class Meter:
    """Loudness in LUFS (ITU-R BS.1770-4) and peak of a wav that comes in pieces; their lengths make no difference.

    loudness: -inf for silence. Shorter speech than the standard's block of 0.4 s is measured as if it went on.
    """

    def __init__(self, wavs: Iterable[Tensor]) -> None:
        from scipy.signal import sosfilt  # not at import: training does without it

        weighting = k_weighting()
        state, rest, energies = np.zeros((2, 2)), np.empty(0), [np.empty(0)]
        start = torch.empty(0)
        self.peak = 0.0
        for wav in wavs:
            start = torch.cat([start, wav[: BLOCK - len(start)]])
            self.peak = max(self.peak, wav.abs().max().item())
            filtered, state = sosfilt(weighting, wav.double().numpy(), zi=state)
            rest = np.concatenate([rest, filtered])
            whole = len(rest) // HOP * HOP
            energies.append((rest[:whole].reshape(-1, HOP) ** 2).mean(1))
            rest = rest[whole:]
        if 0 < len(start) < BLOCK:
            long = start.repeat(-(-BLOCK // len(start)))[:BLOCK].double().numpy()
            energies = [(sosfilt(weighting, long).reshape(-1, HOP) ** 2).mean(1)]
        self.loudness = gated_loudness(np.concatenate(energies))

    def gain(self, lufs: float = LOUDNESS) -> float:
        """What brings the wav to a loudness, or to a peak of 0.99 if that is less; 1 for silence."""
        if not self.loudness > -70:  # the standard's gate
            return 1.0
        return min(10 ** ((lufs - self.loudness) / 20), 0.99 / self.peak)


def gated_loudness(energies: np.ndarray) -> float:
    """Mean squares of every 0.1 s of a weighted wav -> its integrated loudness in LUFS (ITU-R BS.1770-4)."""
    blocks = np.convolve(energies, np.full(BLOCK // HOP, HOP / BLOCK), "valid")
    with np.errstate(divide="ignore"):
        levels = 10 * np.log10(blocks) - 0.691
        loud = blocks[levels > -70]
        if not len(loud):
            return -math.inf
        relative = 10 * math.log10(loud.mean()) - 0.691 - 10
        return float(10 * np.log10(blocks[levels > max(relative, -70)].mean()) - 0.691)


def k_weighting() -> np.ndarray:
    """The two filters of BS.1770 at 16 kHz as second-order sections (2, 6).

    A shelf of 4 dB above 1.5 kHz and a high-pass at 38 Hz, as in R. Bristow-Johnson's cookbook, for any sample rate.
    """
    gain = 10 ** (4 / 40)
    w, q = 2 * math.pi * 1500 / SAMPLE_RATE, 1 / math.sqrt(2)
    cos, alpha, root = math.cos(w), math.sin(w) / (2 * q), 2 * math.sqrt(gain)
    up, down = gain + 1, gain - 1
    shelf = [
        gain * (up + down * cos + root * alpha),
        -2 * gain * (down + up * cos),
        gain * (up + down * cos - root * alpha),
        up - down * cos + root * alpha,
        2 * (down - up * cos),
        up - down * cos - root * alpha,
    ]
    w, q = 2 * math.pi * 38 / SAMPLE_RATE, 0.5
    cos, alpha = math.cos(w), math.sin(w) / (2 * q)
    high = [(1 + cos) / 2, -1 - cos, (1 + cos) / 2, 1 + alpha, -2 * cos, 1 - alpha]
    return np.array([np.array(section) / section[3] for section in (shelf, high)])


def mulaw_encode(wav: Tensor, classes: int = MU_CLASSES) -> Tensor:
    """wav in [-1, 1] -> classes (int64), finer near zero (ITU-T G.711's curve, without its segments)."""
    return AF.mu_law_encoding(wav.float().clamp(-1, 1), classes)


def mulaw_decode(codes: Tensor, classes: int = MU_CLASSES) -> Tensor:
    """Classes -> wav in [-1, 1]; `mulaw_encode` gives the same classes again."""
    return AF.mu_law_decoding(codes, classes)


class LogMel(nn.Module):
    """Log-mel spectrogram with exactly one frame a hop.

    wav (B, T) -> (B, n_mels, T // hop): natural log of the mel magnitudes (Slaney's scale and norm, 0 to 8 kHz,
    floor 1e-5). Frame t is centred on sample t * hop + hop / 2, with zeros outside. hop and window in samples.
    """

    filters: Tensor
    hann: Tensor

    def __init__(self, hop: int = 160, window: int = 400, n_mels: int = 80) -> None:
        super().__init__()
        self.hop, self.channels, self.receptive_field = hop, n_mels, window
        self.n_fft = fft_size(hop, window)
        self.register_buffer("hann", torch.hann_window(window), persistent=False)
        self.register_buffer("filters", mel_filters(self.n_fft, n_mels), persistent=False)

    def forward(self, wav: Tensor) -> Tensor:
        if wav.shape[-1] % self.hop:
            raise ValueError(f"{wav.shape[-1]} samples are not a multiple of the hop {self.hop}")
        left = (self.n_fft - self.hop) // 2
        padded = F.pad(wav, (left, self.n_fft - self.hop - left))
        spectrum = torch.stft(
            padded, self.n_fft, self.hop, len(self.hann), self.hann, center=False, return_complex=True
        )
        return (self.filters.T @ spectrum.abs()).clamp(min=MEL_FLOOR).log()


class MFCC(nn.Module):
    """13 mel-frequency cepstral coefficients (orthonormal DCT-II of the log-mel), their deltas and the deltas' deltas.

    wav (B, T) -> (B, 39, T // hop), frames as in `LogMel`.
    """

    channels = 39
    dct: Tensor

    def __init__(self, hop: int = 160, window: int = 400) -> None:
        super().__init__()
        self.mel = LogMel(hop, window)
        self.hop, self.receptive_field = hop, window + 8 * hop  # a delta sees 2 frames on either side
        self.register_buffer("dct", AF.create_dct(13, self.mel.channels, norm="ortho"), persistent=False)

    def forward(self, wav: Tensor) -> Tensor:
        cepstrum = self.dct.T @ self.mel(wav)
        delta = AF.compute_deltas(cepstrum)
        return torch.cat([cepstrum, delta, AF.compute_deltas(delta)], dim=1)


def fft_size(hop: int, window: int) -> int:
    """The power of two that holds both."""
    return 1 << (max(hop, window) - 1).bit_length()


def mel_filters(n_fft: int, n_mels: int) -> Tensor:
    """Triangular filters (n_fft / 2 + 1, n_mels), Slaney's mel scale and norm, 0 to 8 kHz."""
    return AF.melscale_fbanks(n_fft // 2 + 1, 0.0, SAMPLE_RATE / 2, n_mels, SAMPLE_RATE, "slaney", "slaney")


def griffin_lim(log_mel: Tensor, hop: int, window: int, iterations: int = 60, seed: int = 0) -> Tensor:
    """`LogMel` (B, n_mels, F) turned round -> wav (B, F * hop), phases by Griffin-Lim from a seeded start.

    Magnitudes are the least-squares solution of the mel filters, negative ones set to zero.
    """
    n_fft = fft_size(hop, window)
    filters = mel_filters(n_fft, log_mel.shape[1]).to(log_mel)
    magnitude = (torch.linalg.pinv(filters.T) @ log_mel.exp()).clamp(min=0)
    # `LogMel`'s frames begin (n_fft - hop) / 2 before their hop; torch's centred ones n_fft / 2: half a hop off.
    # The silent frames behind give its reflected edge enough to reflect, however short the speech.
    edges = F.pad(magnitude, (1, n_fft // (2 * hop) + 2))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        wav = AF.griffinlim(
            edges,
            torch.hann_window(window, device=log_mel.device),
            n_fft,
            hop,
            window,
            power=1.0,
            n_iter=iterations,
            momentum=0.99,
            length=None,
            rand_init=True,
        )
    # Frame 0 of `edges` is a hop before the first frame, whose centre lies half a hop into the result.
    start = hop - hop // 2
    return wav[:, start : start + log_mel.shape[2] * hop].clamp(-1, 1)

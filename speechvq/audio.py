"""Sound: files, rates, levels, mu-law, features, and Griffin-Lim back from features.

A wav is a float32 tensor (T,) in [-1, 1], mono, at SAMPLE_RATE unless said otherwise.
"""

import math
from pathlib import Path

import soundfile
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
COMMON_RATIO = 1_000  # 44 100 to 16 000 Hz is 441 to 160
GATE = 6_400  # samples in the 0.4 s block of ITU-R BS.1770; a shorter wav has no loudness


def read(path: Path, sample_rate: int = SAMPLE_RATE) -> Tensor:
    """Any file that libsndfile reads, any rate, any number of channels -> wav (T,) at `sample_rate`.

    SpeechVQError for a file that is missing, not audio, empty, or holds NaN or infinite samples.
    """
    if not path.is_file():
        raise SpeechVQError(f"{path}: {'is a folder, not a file' if path.is_dir() else 'no such file'}")
    try:
        data, rate = soundfile.read(path, dtype="float32", always_2d=True)
    except (soundfile.LibsndfileError, TypeError, OSError, UnicodeError) as error:  # the name may be no UTF-8
        raise SpeechVQError(f"{path}: not audio that can be read ({str(error).rstrip('.')})") from None
    return resample(validate(torch.from_numpy(data.T), str(path)), rate, sample_rate)


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


def write(path: Path, wav: Tensor, sample_rate: int = SAMPLE_RATE) -> None:
    """Write wav (T,) as 16-bit .wav or .flac, clipped to [-1, 1], whole or not at all."""
    if path.suffix.lower() not in (".wav", ".flac"):
        raise SpeechVQError(f"{path}: audio is written as .wav or .flac")
    with atomic_write(path) as temporary:
        try:
            soundfile.write(temporary, wav.clamp(-1, 1).numpy(), sample_rate, subtype="PCM_16")
        except soundfile.LibsndfileError as error:  # a full disk, say: not the fault of what is written
            raise OSError(None, error.error_string, str(path)) from None


def resample(wav: Tensor, old: int, new: int) -> Tensor:
    """wav (T,) from rate `old` to rate `new` (Hz) by windowed-sinc interpolation."""
    if old == new:
        return wav
    if max(old, new) // math.gcd(old, new) > COMMON_RATIO:
        import librosa  # torchaudio's filter bank for a rate such as 44101 Hz takes gigabytes

        return torch.from_numpy(librosa.resample(wav.numpy(), orig_sr=old, target_sr=new))
    return AF.resample(wav, old, new)


def trim(wav: Tensor, top_db: float = 30.0) -> tuple[Tensor, int]:
    """Cut the edges that are `top_db` below the loudest frame -> the rest (T',), and its first sample's place."""
    import librosa  # not at import: training does without it

    if not wav.any():
        return wav, 0
    _, (start, end) = librosa.effects.trim(wav.numpy(), top_db=top_db, frame_length=1024, hop_length=256)
    if start >= end:  # samples so large that their squares overflow
        return wav, 0
    return wav[start:end], int(start)


def normalize_loudness(wav: Tensor, lufs: float = LOUDNESS) -> Tensor:
    """Bring wav (T,) to a loudness (ITU-R BS.1770), or as near as a peak of 0.99 allows; silence stays as it is."""
    if not wav.any():
        return wav
    whole = wav.repeat(-(-GATE // len(wav))) if len(wav) < GATE else wav
    peak = wav.abs().max().item()
    quiet = min(0.5 / peak, 1.0)  # the measuring filters lift highs by 4 dB, and clip at 1
    level = AF.loudness(quiet * whole[None], SAMPLE_RATE).item() - 20 * math.log10(quiet)
    if not level > -70:  # the gate of the standard: silence; NaN where all blocks are below it
        return wav
    gain = 10 ** ((lufs - level) / 20)
    return wav * min(gain, 0.99 / peak)


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

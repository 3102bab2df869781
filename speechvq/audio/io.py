"""Audio files and sample rates."""

from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path

import numpy as np
import soundfile
import soxr
import torch
from torch import Tensor

from speechvq import SpeechVQError
from speechvq.audio import SAMPLE_RATE
from speechvq.files import atomic_write

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

"""Audio files and sample rates."""

import os
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

READ_LENGTH = 2**20  # samples per channel of a file that are read at a time


def read(path: Path, sample_rate: int = SAMPLE_RATE) -> Tensor:
    """Read a file in any format of libsndfile, at any rate, with any number of channels.

    Returns the mean of the channels, wav (T,), at `sample_rate` in Hz.
    Raises SpeechVQError if the file is missing, not audio, empty, or holds NaN or infinite samples.
    """
    return torch.cat([*read_pieces(path, sample_rate)])


def read_pieces(path: Path, sample_rate: int = SAMPLE_RATE) -> Iterator[Tensor]:
    """Read as `read` does, but yield pieces of half a minute or so, for files that do not fit into memory.

    Raises SpeechVQError as `read` does, some of it only when the piece is reached.
    """
    if not path.is_file():
        raise SpeechVQError(f"{path}: {'is a folder, not a file' if path.is_dir() else 'no such file'}")
    try:
        with soundfile.SoundFile(native_name(path)) as file:
            blocks = file.blocks(READ_LENGTH, dtype="float32", always_2d=True)
            wavs = (_mono(block, path) for block in blocks)
            first = next(wavs, None)
            if first is None:
                raise SpeechVQError(f"{path}: holds no samples")
            yield from resampled(chain([first], wavs), file.samplerate, sample_rate)
    except (soundfile.LibsndfileError, TypeError, OSError) as error:
        raise SpeechVQError(f"{path}: not audio that can be read ({str(error).rstrip('.')})") from None


def native_name(path: Path) -> str | bytes:
    """A path as soundfile takes it whatever its name, which on POSIX need not be UTF-8."""
    return str(path) if os.name == "nt" else os.fsencode(path)


def _mono(block: np.ndarray, path: Path) -> Tensor:
    if not np.isfinite(block).all():
        raise SpeechVQError(f"{path}: holds NaN or infinite samples")
    return torch.from_numpy(block.mean(1))


def validate(wav: Tensor, what: str) -> Tensor:
    """Check samples that did not come from a file, and average their channels.

    wav: (T,) or (channels, T).
    what: the name of the samples in error messages.

    Returns a mono wav (T,) float32.
    Raises SpeechVQError for another shape, no samples, or NaN or infinite ones.
    """
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
    """Write a wav (T,), or pieces of one, as a 16-bit .wav or .flac, clipped to [-1, 1], completely or not at all.

    Raises SpeechVQError for another suffix.
    """
    if path.suffix.lower() not in (".wav", ".flac"):
        raise SpeechVQError(f"{path}: audio is written as .wav or .flac")
    with atomic_write(path) as temporary:
        try:
            with soundfile.SoundFile(native_name(temporary), "w", sample_rate, 1, "PCM_16") as file:
                for piece in [wav] if isinstance(wav, Tensor) else wav:
                    file.write(piece.clamp(-1, 1).numpy())
        except soundfile.LibsndfileError as error:  # a full disk, say: not bad input
            raise OSError(None, error.error_string, str(path)) from None


def resample(wav: Tensor, old: int, new: int) -> Tensor:
    """Resample a wav (T,) from rate `old` to rate `new`, in Hz, by the SoX resampler -> (T * new / old,), rounded."""
    return torch.cat([*resampled([wav], old, new)])


def resampled(wavs: Iterable[Tensor], old: int, new: int) -> Iterator[Tensor]:
    """Resample a wav that comes in pieces; their lengths make no difference to the samples."""
    if old == new:
        yield from wavs
        return
    stream = soxr.ResampleStream(old, new, 1, dtype="float32")
    pieces = (stream.resample_chunk(wav.numpy()) for wav in wavs)
    last = (stream.resample_chunk(np.empty(0, np.float32), last=True) for _ in range(1))
    samples = 0
    for wav in chain(pieces, last):
        samples += len(wav)
        if len(wav):
            yield torch.from_numpy(wav)
    if not samples:  # half a sample or less becomes one
        yield torch.zeros(1)

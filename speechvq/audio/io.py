"""Audio files and sample rates."""

from collections.abc import Iterable, Iterator
from itertools import chain, groupby
from operator import itemgetter
from pathlib import Path

import numpy as np
import soundfile
import soxr
import torch
from torch import Tensor

from speechvq import SpeechVQError
from speechvq.audio import SAMPLE_RATE
from speechvq.audio.decoding.byte_range import native_name
from speechvq.audio.decoding.downmix import Downmix
from speechvq.audio.decoding.libsndfile import check_sound, decode, stated_samples
from speechvq.audio.decoding.media import decode_media, media_kind
from speechvq.audio.decoding.parts import Part, find_parts
from speechvq.config.shapes import as_path
from speechvq.files import atomic_write, not_a_file

MOST_EXPANSION = 1_000  # samples at 16 kHz for each byte of a file
REST_BYTES = 2**20  # more than what is left on a disk that was full for a piece
LEAST_ALLOWED = 600 * SAMPLE_RATE  # samples that any file may have


def read(path: str | Path, sample_rate: int = SAMPLE_RATE) -> Tensor:
    """Read a file of any format, at any rate, with up to 64 channels.

    Returns the mean of the channels, wav (T,), at `sample_rate` in Hz. Its memory is at most 8 kB for each byte of the
    file (see MOST_EXPANSION).
    Raises SpeechVQError if the file is missing, not audio, empty, or holds NaN or infinite samples. What a file lacks,
    or what cannot be decoded, is logged as a warning.
    """
    return torch.cat([*read_pieces(path, sample_rate)])


def read_pieces(path: str | Path, sample_rate: int = SAMPLE_RATE) -> Iterator[Tensor]:
    """Read as `read` does, but yield pieces of a minute at most, for files that do not fit into memory.

    Raises SpeechVQError as `read` does, some of it only when the piece is reached.
    """
    path = as_path(path, "an audio file")
    check_sound(sample_rate, 1, str(path))
    if not path.is_file():
        raise SpeechVQError(f"{path}: {not_a_file(path)}")
    samples = 0
    try:
        most = _most_samples(path, sample_rate)
        for pieces in _recordings(path):
            for rate, wavs in groupby(pieces, key=itemgetter(0)):
                for wav in resampled(map(itemgetter(1), wavs), rate, sample_rate):
                    samples += len(wav)
                    if samples > most:
                        raise SpeechVQError(f"{path}: more than {MOST_EXPANSION} samples for each byte: no recording")
                    yield wav
    except PermissionError as error:
        raise SpeechVQError(f"{path}: cannot be read ({error.strerror})") from None
    except (soundfile.LibsndfileError, TypeError, OSError, UnicodeError) as error:  # the last: a name that is not UTF-8
        reason = error.error_string if isinstance(error, soundfile.LibsndfileError) else str(error)
        raise SpeechVQError(f"{path}: not audio that can be read ({reason.rstrip('.')})") from None
    if not samples:
        raise SpeechVQError(f"{path}: holds no samples")


def _recordings(path: Path) -> Iterator[Iterator[tuple[int, Tensor]]]:
    """The recordings that a file consists of, each as pieces of sample rate and wav (T,)."""
    kind = media_kind(path)
    if kind is None or stated_samples(Part(path, quiet=True)) is not None:
        for part in find_parts(path, stated_samples):
            yield _mixed(decode(part), path)
    else:
        yield _mixed(decode_media(path, kind), path)


def _mixed(pieces: Iterable[tuple[int, np.ndarray]], path: Path) -> Iterator[tuple[int, Tensor]]:
    mix = Downmix(str(path))
    for rate, piece in pieces:
        if not np.isfinite(piece).all():
            raise SpeechVQError(f"{path}: holds NaN or infinite samples")
        yield rate, torch.from_numpy(mix(piece))


def _most_samples(path: Path, sample_rate: int) -> float:
    """The largest number of samples that a file's size allows: lossless silence is coded with some 700 a byte."""
    return max(MOST_EXPANSION * path.stat().st_size, LEAST_ALLOWED) * sample_rate / SAMPLE_RATE


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
    if wav.ndim == 1:
        return wav.float()
    channels = wav.float()
    cancelling = Downmix(what)
    cancelling.decide(channels.T.numpy())
    return channels.mean(0) if cancelling.channel is None else channels[cancelling.channel].clone()


def write(
    path: str | Path, wav: Tensor | np.ndarray | Iterable[Tensor | np.ndarray], sample_rate: int = SAMPLE_RATE
) -> None:
    """Write a wav (T,), or pieces of one, as a 16-bit .wav or .flac, clipped to [-1, 1], completely or not at all.

    Raises SpeechVQError for another suffix, if no file can be there, for a rate that recordings do not have, or for
    samples that are whole numbers, NaN or infinite.
    """
    path = as_path(path, "an audio file")
    check_sound(sample_rate, 1, str(path))
    if sample_rate != int(sample_rate):
        raise SpeechVQError(f"{path}: a file's sample rate is a whole number in Hz, not {sample_rate}")
    if path.suffix.lower() not in (".wav", ".flac"):
        raise SpeechVQError(f"{path}: audio is written as .wav or .flac")
    with atomic_write(path) as temporary:
        try:
            with soundfile.SoundFile(native_name(temporary), "w", int(sample_rate), 1, "PCM_16") as file:
                for piece in [wav] if isinstance(wav, Tensor | np.ndarray) else wav:
                    file.write(_real_samples(piece, str(path)).clamp(-1, 1).numpy())
        except soundfile.LibsndfileError as error:  # a full disk, say: not bad input
            with temporary.open("ab") as rest:  # the system gives the reason again, of which libsndfile is silent
                rest.write(bytes(REST_BYTES))
            raise OSError(None, error.error_string, str(path)) from None


def resample(wav: Tensor | np.ndarray, old: int, new: int) -> Tensor:
    """Resample a wav (T,) from rate `old` to rate `new`, in Hz, by the SoX resampler -> (T * new / old,), rounded.

    Raises SpeechVQError for rates that recordings do not have, or samples that are whole numbers, NaN or infinite.
    """
    for rate in (old, new):
        check_sound(rate, 1, "audio")
    return torch.cat([*resampled([_real_samples(wav, "audio")], old, new)])


def _real_samples(wav: Tensor | np.ndarray, what: str) -> Tensor:
    """A wav (T,) that a program gives, as float32 on the CPU.

    what: the name of the samples in errors.

    Raises SpeechVQError if it is something else, or has NaN or infinite samples.
    """
    real = isinstance(wav, np.ndarray) and wav.dtype.kind == "f"
    tensor = torch.from_numpy(np.array(wav, np.float32)) if real else wav
    if not isinstance(tensor, Tensor) or not tensor.is_floating_point() or tensor.ndim != 1:
        kind = f"{wav.dtype} {tuple(wav.shape)}" if isinstance(wav, Tensor | np.ndarray) else type(wav).__name__
        raise SpeechVQError(f"{what}: a wav is an array (T,) of real numbers in [-1, 1], not {kind}")
    if not tensor.isfinite().all():
        raise SpeechVQError(f"{what}: holds NaN or infinite samples")
    return tensor.detach().cpu().float()


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

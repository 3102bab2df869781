"""What libsndfile decodes, in order and to the end of what is there."""

import logging
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from numbers import Real
from typing import Any

import numpy as np
import soundfile

from speechvq import SpeechVQError
from speechvq.audio.decoding.byte_range import ByteRange
from speechvq.audio.decoding.parts import Part

READ_SIZE = 2**20  # samples of all channels together that are read at a time
SALVAGE_SIZE = 2**10  # and where the file is damaged
LOWEST_RATE, HIGHEST_RATE = 1_000, 1_000_000  # Hz
MOST_CHANNELS = 64
SHORTFALL = 0.05  # seconds that may be missing without a warning

log = logging.getLogger(__name__)
_stderr = threading.Lock()


class _InOrder(soundfile.SoundFile):  # type: ignore[misc]
    """A sound file that is read in order. soundfile seeks after each read where it can, which not all decoders bear,
    and leaves out what is beyond the length that the header states."""

    def seekable(self) -> bool:
        # After a seek, though it goes nowhere, the last bit of an MP3 file's samples may differ: it stays what it was.
        return bool(self.format == "MP3")


@contextmanager
def _quiet(wanted: bool) -> Iterator[None]:
    """Send what a C library writes on stderr nowhere."""
    if not wanted:
        yield
        return
    with _stderr:
        try:
            kept = os.dup(2)
        except OSError:  # there is no stderr
            yield
            return
        nowhere = os.open(os.devnull, os.O_WRONLY)
        try:
            os.dup2(nowhere, 2)
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)
            os.close(nowhere)


@lru_cache(1024)
def warn(message: str) -> None:
    """Log a warning, once, though a file is read twice."""
    log.warning(message)


def stated_samples(part: Part) -> int | None:
    """The number of samples of each channel that libsndfile states; None if it cannot read the recording."""
    try:
        with _opened(part) as file:
            return int(file.frames)
    except soundfile.LibsndfileError:
        return None


@contextmanager
def _opened(part: Part) -> Iterator[soundfile.SoundFile]:
    source = part.open()
    try:
        with _quiet(part.quiet):
            file = _InOrder(source)
        with file:
            yield file
    finally:
        if isinstance(source, ByteRange):
            source.close()


def decode(part: Part) -> Iterator[tuple[int, np.ndarray]]:
    """The samples of a recording piece by piece: its sample rate in Hz and samples (T, channels) float32.

    Raises SpeechVQError for impossible rates and too many channels, and soundfile.LibsndfileError if libsndfile does
    not read the file, or nothing of it.
    """
    rate, done, error = 0, 0, None
    try:
        with _opened(part) as file:
            rate = file.samplerate
            check_sound(rate, file.channels, str(part.path))
            for piece in _read(part, file, READ_SIZE if file.seekable() else READ_SIZE // file.channels):
                done += len(piece)
                yield rate, piece
    except soundfile.LibsndfileError as found:
        error = found
    if error:
        for piece in _salvaged(part, done):
            done += len(piece)
            yield rate, piece
        if not done:
            raise error
    _report(part, done / rate, damaged=error is not None)


def check_sound(sample_rate: int, channels: int, what: str) -> None:
    """Raise SpeechVQError for a sample rate in Hz or a number of channels that no recording has."""
    given: Any = sample_rate
    if not isinstance(given, Real) and (not hasattr(given, "ndim") or given.ndim):
        raise SpeechVQError(f"{what}: a sample rate is a number in Hz, not {type(sample_rate).__name__}")
    if not LOWEST_RATE <= sample_rate <= HIGHEST_RATE:
        limits = f"{LOWEST_RATE} to {HIGHEST_RATE} Hz"
        raise SpeechVQError(f"{what}: a sample rate of {sample_rate} Hz; those of recordings are {limits}")
    if channels > MOST_CHANNELS:
        raise SpeechVQError(f"{what}: {channels} channels; recordings have at most {MOST_CHANNELS}")


def _read(part: Part, file: soundfile.SoundFile, size: int) -> Iterator[np.ndarray]:
    """The pieces of a file up to its end, or to an error."""
    done = 0
    while part.most is None or done < part.most:
        # A piece ends at the end that a header states, so that it does not fall with what comes after that.
        ends = [end - done for end in (part.most, part.stated) if end is not None and end > done]
        with _quiet(part.quiet):
            piece: np.ndarray = file.read(min([size, *ends]), "float32", always_2d=True)
        if not len(piece):
            return
        done += len(piece)
        yield piece


def _salvaged(part: Part, done: int) -> Iterator[np.ndarray]:
    """What can be read after the first `done` samples, up to a damage: an error takes the whole piece with it."""
    try:
        with _opened(part) as file:
            for piece in _read(part, file, SALVAGE_SIZE):
                skipped = min(done, len(piece))
                done -= skipped
                if skipped < len(piece):
                    yield piece[skipped:]
    except soundfile.LibsndfileError:
        return


def _report(part: Part, seconds: float, damaged: bool) -> None:
    """Warn of what is missing."""
    missing = 0.0 if part.declared is None else part.declared - seconds
    if missing > SHORTFALL:
        warn(f"{part.path}: {missing:.2f} of {part.declared:.2f} s are missing{' or damaged' if damaged else ''}")
    elif damaged and part.declared is None:  # else it is something after the end
        warn(f"{part.path}: damaged after {seconds:.2f} s, and read as far as there")
    if part.left_over:
        after = f"{part.left_over:.2f} s of data after that are left out"
        warn(f"{part.path}: ends after {seconds:.2f} s by its header; {after}")

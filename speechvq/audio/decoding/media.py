"""What libsndfile does not read, through PyAV or the program ffmpeg."""

import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from speechvq import SpeechVQError
from speechvq.audio.decoding.byte_range import ByteRange
from speechvq.audio.decoding.libsndfile import check_sound, warn
from speechvq.extras import needed_for

# By how a file begins, and after how many bytes: the demuxer of FFmpeg, and what to call the format. FFmpeg is not left
# to guess, since some of its demuxers read other files, which the content names.
KINDS: dict[tuple[int, bytes], tuple[str, str]] = {
    (4, b"ftyp"): ("mov", "MPEG-4 audio (m4a, mp4)"),
    (0, b"\x1a\x45\xdf\xa3"): ("matroska", "WebM or Matroska"),
    (0, b"#!AMR"): ("amr", "AMR"),
    (0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11"): ("asf", "Windows Media"),
    (0, b"\xff\xf1"): ("aac", "AAC"),
    (0, b"\xff\xf9"): ("aac", "AAC"),
    (0, b"caff"): ("caf", "CAF"),
}
WITH_DURATION = ("mov", "matroska")  # demuxers that read the duration, where others estimate it
MUCH = 0.5  # seconds that may be missing without a warning: of the duration of all streams
READ_SAMPLES = 2**14  # of each channel, that are read from ffmpeg at a time


def media_kind(path: Path) -> tuple[str, str] | None:
    """The demuxer and the name of a format that is read here; None if it is not one of them."""
    with path.open("rb") as file:
        start = file.read(16)
    return next((kind for (skip, magic), kind in KINDS.items() if start[skip:].startswith(magic)), None)


def decode_media(path: Path, kind: tuple[str, str]) -> Iterator[tuple[int, np.ndarray]]:
    """The samples of a file piece by piece: the sample rate in Hz and samples (T, channels) float32.

    Raises SpeechVQError if it cannot be read, or there is neither PyAV nor ffmpeg.
    """
    demuxer, name = kind
    try:
        with needed_for(name, "formats"):
            import av
    except SpeechVQError as error:
        program = shutil.which("ffmpeg")
        if program is None:
            raise SpeechVQError(f"{path}: {error}; or convert it: ffmpeg -i IN OUT.wav") from None
        yield from _by_program(program, path, demuxer)
        return
    yield from _by_pyav(av, path, demuxer)


def _by_pyav(av: Any, path: Path, demuxer: str) -> Iterator[tuple[int, np.ndarray]]:
    done = 0
    try:
        # A ByteRange, since it takes any seek: PyAV prints the error of another.
        with ByteRange(path, 0, path.stat().st_size) as file, av.open(file, format=demuxer) as container:
            stream = next((one for one in container.streams.audio if one.codec_context is not None), None)
            if stream is None:
                raise SpeechVQError(f"{path}: holds no audio that can be decoded")
            check_sound(stream.rate or 0, stream.channels, str(path))
            for rate, piece in _frames(av, container, stream):
                done += len(piece)
                yield rate, piece
            declared = (container.duration or 0) / 1e6 if demuxer in WITH_DURATION else 0.0
        if done and declared - done / rate > MUCH:
            warn(f"{path}: {declared - done / rate:.2f} of {declared:.2f} s are missing")
    except (av.FFmpegError, EOFError) as error:
        if not done:
            raise SpeechVQError(f"{path}: not audio that can be read ({error})") from None
        warn(f"{path}: damaged after {done / rate:.2f} s, and read as far as there")


def _frames(av: Any, container: Any, stream: Any) -> Iterator[tuple[int, np.ndarray]]:
    resampler = av.AudioResampler(format="fltp", layout=stream.layout, rate=stream.rate)
    for frame in container.decode(stream):
        for converted in resampler.resample(frame):
            yield stream.rate, np.ascontiguousarray(converted.to_ndarray().T)
    for converted in resampler.resample(None):
        yield stream.rate, np.ascontiguousarray(converted.to_ndarray().T)


def _by_program(program: str, path: Path, demuxer: str) -> Iterator[tuple[int, np.ndarray]]:
    output = ("-map", "0:a:0", "-f", "au", "-c:a", "pcm_f32be", "-")  # a header with rate and channels, and the samples
    command = [program, "-nostdin", "-v", "error", "-f", demuxer, "-i", f"file:{path}", *output]
    done, rate = 0, 1
    with (
        tempfile.TemporaryFile() as messages,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=messages) as process,
    ):
        assert process.stdout is not None
        try:
            header = process.stdout.read(24)
            if len(header) == 24:
                begin, _, _, rate, channels = (int.from_bytes(header[i : i + 4], "big") for i in range(4, 24, 4))
                check_sound(rate, channels, str(path))
                process.stdout.read(begin - 24)
                while data := process.stdout.read(READ_SAMPLES * 4 * channels):  # whole, but for the last
                    whole = len(data) // (4 * channels) * 4 * channels
                    piece = np.frombuffer(data[:whole], ">f4").astype(np.float32).reshape(-1, channels)
                    done += len(piece)
                    yield rate, piece
        finally:
            process.stdout.close()  # which ends ffmpeg, too
        process.wait()
        messages.seek(0)
        first = messages.readline(1000).decode("utf-8", "replace").strip()
        reason = re.sub(r"^\[[^]]*\] ", "", first)
    if not done:
        raise SpeechVQError(f"{path}: not audio that can be read ({reason})")
    if reason:
        warn(f"{path}: damaged, and read as far as {done / rate:.2f} s ({reason})")

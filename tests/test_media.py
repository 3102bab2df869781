"""What libsndfile does not read: through PyAV, through ffmpeg, and where there is neither."""

import shutil
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from signals import loudest_frequency, sine

from speechvq import SpeechVQError
from speechvq.audio.io import read

# By suffix: the muxer, the encoder, the sample rate and the number of channels.
FORMATS = {
    "m4a": ("ipod", "aac", 44_100, 1),
    "mp4": ("mp4", "alac", 16_000, 1),
    "aac": ("adts", "aac", 16_000, 2),
    "webm": ("webm", "libopus", 48_000, 2),
    "amr": ("amr", "libopencore_amrnb", 8_000, 1),
}


def encode(path: Path) -> Path:
    """Three seconds of 440 Hz at an amplitude of 0.3."""
    av = pytest.importorskip("av")
    muxer, encoder, rate, channels = FORMATS[path.suffix[1:]]
    layout = "mono" if channels == 1 else "stereo"
    wav = np.tile(sine(440, 3.0, rate, 0.3), (channels, 1))
    try:
        with av.open(str(path), "w", format=muxer) as container:
            stream = container.add_stream(encoder, rate=rate, layout=layout)
            frame = av.AudioFrame.from_ndarray(wav, format="fltp", layout=layout)
            frame.rate, frame.pts, frame.time_base = rate, 0, Fraction(1, rate)
            fifo = av.AudioFifo()
            for piece in av.AudioResampler(stream.codec_context.format.name, layout, rate).resample(frame):
                fifo.write(piece)
            size = stream.codec_context.frame_size or 1024
            while piece := fifo.read(size) or fifo.read():
                container.mux(stream.encode(piece))
            container.mux(stream.encode(None))
    except (av.FFmpegError, ValueError):
        pytest.skip(f"this PyAV does not encode {encoder}")
    return path


@pytest.fixture(params=FORMATS)
def recording(request, tmp_path) -> Path:
    return encode(tmp_path / f"x.{request.param}")


def is_the_tone(path: Path) -> bool:
    wav = read(path).numpy()
    middle = wav[8_000:40_000]
    level = middle.std() * np.sqrt(2)
    return (
        abs(len(wav) - 48_000) < 2_048
        and abs(loudest_frequency(middle) - 440) < 3
        and level == pytest.approx(0.3, abs=0.05)
    )


def test_by_pyav(recording):
    assert is_the_tone(recording)


def test_by_ffmpeg(recording, monkeypatch):
    if not shutil.which("ffmpeg"):
        pytest.skip("there is no ffmpeg here")
    monkeypatch.setitem(sys.modules, "av", None)
    assert is_the_tone(recording)


def test_by_neither(recording, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(SpeechVQError) as error:
        read(recording)
    assert str(error.value).startswith(f"{recording}: ")
    assert str(error.value).endswith('needs av: pip install ".[formats]"; or convert it: ffmpeg -i IN OUT.wav')


@pytest.mark.parametrize("suffix", ["m4a", "webm"])
def test_cut_off(tmp_path, suffix, caplog):
    path = encode(tmp_path / f"x.{suffix}")
    path.write_bytes(path.read_bytes()[:10_000])
    if suffix == "m4a":  # whose index is at its end
        with pytest.raises(SpeechVQError, match=r"^[^\n]*not audio that can be read[^\n]*$"):
            read(path)
    else:
        assert 1_000 < len(read(path)) < 40_000
        assert "s are missing" in caplog.text


def test_a_file_without_audio_is_one_line(tmp_path):
    pytest.importorskip("av")
    for start in (b"\x1a\x45\xdf\xa3", b"\0\0\0\x18ftypM4A ", b"\xff\xf1", b"caff\0\1\0\0"):
        (tmp_path / "x").write_bytes(start + bytes(100))
        with pytest.raises(SpeechVQError, match=r"^[^\n]*x: [^\n]*$"):
            read(tmp_path / "x")

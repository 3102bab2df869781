"""Headers that lie, joined and damaged files, impossible rates and channels, and channels that cancel."""

import logging
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from signals import noise, sine

from speechvq import SpeechVQError
from speechvq.audio.io import read, validate

RATE = 16_000
WAV = noise(2 * RATE).numpy()


@pytest.fixture
def file(tmp_path) -> Callable[..., Path]:
    """Write WAV, or other samples, as a file of a format, change its bytes, and give its path."""

    def write(
        name: str, change: Callable[[bytes], bytes] = lambda data: data, wav: np.ndarray = WAV, **how: object
    ) -> Path:
        path = tmp_path / name
        soundfile.write(path, wav, RATE, **how)
        path.write_bytes(change(path.read_bytes()))
        return path

    return write


def patched(mark: bytes, skip: int, value: bytes) -> Callable[[bytes], bytes]:
    """Overwrite the bytes `skip` after a mark."""

    def change(data: bytes) -> bytes:
        start = data.index(mark) + skip
        return data[:start] + value + data[start + len(value) :]

    return change


def flac_total(samples: int) -> Callable[[bytes], bytes]:
    def change(data: bytes) -> bytes:
        fields = int.from_bytes(data[18:26], "big") >> 36 << 36 | samples
        return data[:18] + fields.to_bytes(8, "big") + data[26:]

    return change


LIES = {
    "wav, size 0": ("x.wav", patched(b"data", 4, bytes(4))),
    "wav, no sizes": ("x.wav", lambda data: patched(b"RIFF", 4, bytes(4))(patched(b"data", 4, bytes(4))(data))),
    "wav of a stream": ("x.wav", patched(b"data", 4, b"\xff\xff\xff\xff")),
    "wav of sox": ("x.wav", patched(b"data", 4, b"\xff\xff\xff\x7f")),
    "flac of a stream": ("x.flac", flac_total(0)),
    "flac, too short": ("x.flac", flac_total(1000)),
    "au, size 0": ("x.au", patched(b".snd", 8, bytes(4))),
    "au of a stream": ("x.au", patched(b".snd", 8, b"\xff\xff\xff\xff")),
    "aiff, size 0": ("x.aiff", patched(b"SSND", 4, bytes(4))),
    "aiff, no frames": ("x.aiff", patched(b"COMM", 10, bytes(4))),
}


@pytest.mark.parametrize("lie", LIES)
def test_all_samples_are_read_whatever_the_header_says(file, lie, caplog):
    name, change = LIES[lie]
    assert np.array_equal(read(file(name, change)), read(file(f"true-{name}")))
    assert not caplog.messages


@pytest.mark.parametrize(
    ("name", "change", "missing"),
    [
        ("x.wav", lambda data: data[: 44 + RATE], "1.50 of 2.00 s are missing"),
        ("x.wav", patched(b"data", 4, struct.pack("<I", 6 * RATE)), "1.00 of 3.00 s are missing"),
        ("x.aiff", lambda data: data[: -2 * RATE], "1.00 of 2.00 s are missing"),
        ("x.flac", flac_total(4 * RATE), "2.00 of 4.00 s are missing"),
        ("x.flac", lambda data: data[: len(data) // 2], "of 2.00 s are missing or damaged"),
        ("x.wav", patched(b"data", 4, struct.pack("<I", 1000)), "ends after 0.03 s by its header; 1.97 s of data"),
    ],
)
def test_what_is_missing_is_said_once(file, name, change, missing, caplog):
    path = file(name, change)
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            read(path)
    [message] = caplog.messages
    assert message.startswith(str(path))
    assert missing in message


def test_after_a_damage_nothing_is_made_up(file, caplog):
    def hole(data: bytes) -> bytes:
        return data[: len(data) // 2] + bytes(300) + data[len(data) // 2 + 300 :]

    before, whole = read(file("x.flac", hole)), read(file("y.flac"))
    assert len(whole) // 2 - 8192 < len(before) <= len(whole) // 2  # a frame of 4096, and a piece
    assert torch.equal(before, whole[: len(before)])
    assert "missing or damaged" in caplog.text


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "aiff", "mp3"])
def test_joined_files_are_read_one_after_the_other(file, tmp_path, suffix):
    """Of different rates and channels, too."""
    first = file(f"a.{suffix}")
    soundfile.write(tmp_path / f"b.{suffix}", np.stack([WAV, 0.5 * WAV], 1), 22_050)
    joined = tmp_path / f"joined.{suffix}"
    joined.write_bytes(first.read_bytes() + (tmp_path / f"b.{suffix}").read_bytes())
    assert torch.equal(read(joined), torch.cat([read(first), read(tmp_path / f"b.{suffix}")]))


def test_tags_after_the_audio_are_no_recording(file, caplog):
    tag = b"TAG" + b"Title".ljust(125, b"\0")
    for suffix in ("flac", "mp3", "ogg"):
        path = file(f"x.{suffix}", lambda data: data + tag)
        assert torch.equal(read(path), read(file(f"y.{suffix}")))
    chunk = b"LIST" + struct.pack("<I", 40_000) + bytes(40_000)
    assert torch.equal(read(file("x.wav", lambda data: data + chunk)), read(file("y.wav")))
    assert not caplog.messages


def test_gsm_of_a_telephone_system_is_as_long_as_its_blocks(file):
    """33 bytes twice make 65, and an odd number of those a padding byte, of which libsndfile makes a block of noise."""
    odd = file("x.wav", wav=WAV[: 320 * 81], subtype="GSM610")
    size = struct.pack("<I", 65 * 81)
    path = odd.with_name("odd.wav")
    path.write_bytes(patched(b"data", 4, size)(odd.read_bytes()))
    assert len(read(path)) == 320 * 81


@pytest.mark.parametrize(
    "start", [b"RIFF", b"FORM", b"fLaC\0\0\0\x22", b"OggS", b".snd", b"\xf0\x7e\0\1", b"ID3", b"\xff\xfb\x90"]
)
def test_a_file_that_only_begins_is_one_line(tmp_path, start):
    (tmp_path / "x").write_bytes(start)
    with pytest.raises(SpeechVQError, match=r"^[^\n]*x: [^\n]*$"):
        read(tmp_path / "x")


@pytest.mark.parametrize("rate", [0, 1, 999, 8_404_608, 2**31 - 1])
def test_impossible_rates_are_one_line(file, rate):
    with pytest.raises(SpeechVQError, match=r"x\.wav: .*(sample rate|not audio)[^\n]*$"):
        read(file("x.wav", patched(b"fmt ", 12, struct.pack("<I", rate))))


def test_many_channels_are_averaged_and_impossibly_many_refused(file):
    channels = np.stack([WAV[:2000] * (i + 1) / 64 for i in range(64)], 1)
    path = file("x.wav", wav=channels, subtype="FLOAT")
    np.testing.assert_allclose(read(path), channels.mean(1), atol=1e-6)
    with pytest.raises(SpeechVQError, match=r"y\.wav: 1024 channels; recordings have at most 64$"):
        read(file("y.wav", wav=np.zeros((10, 1024), np.float32)))


def test_a_small_file_does_not_fill_the_memory(tmp_path):
    """Lossless silence at a low rate: some 5 000 samples at 16 kHz for each byte."""
    soundfile.write(tmp_path / "x.flac", np.zeros(1_200_000, np.int16), 1000)
    assert (tmp_path / "x.flac").stat().st_size < 10_000
    with pytest.raises(SpeechVQError, match="more than 1000 samples for each byte"):
        read(tmp_path / "x.flac")
    soundfile.write(tmp_path / "y.flac", np.zeros(8000 * 1200, np.int16), 8000)  # twenty minutes of silence are fine
    assert len(read(tmp_path / "y.flac")) == 16_000 * 1200


def test_channels_of_opposite_phase_are_noticed(file, caplog):
    left = sine(440, 1.0)
    opposite = np.concatenate([np.zeros((500, 2), np.float32), np.stack([0.95 * left, -left], 1)])
    path = file("x.wav", wav=opposite, subtype="FLOAT")
    assert np.array_equal(read(path), opposite[:, 1])
    assert "channels cancel each other; channel 2 is taken" in caplog.text
    assert torch.equal(validate(torch.from_numpy(opposite.T.copy()), "audio"), torch.from_numpy(opposite[:, 1]))
    caplog.clear()
    for other in (0 * left, 0.5 * left, sine(660, 1.0), -0.5 * left):
        both = np.stack([left, other], 1)
        assert np.array_equal(read(file("y.wav", wav=both, subtype="FLOAT")), both.mean(1))
    assert not caplog.messages

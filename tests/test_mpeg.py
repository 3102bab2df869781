"""MP3 files, whose length no header need say."""

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.signal import correlate
from signals import noise

from speechvq.audio.decoding.mpeg import find_runs, info_frame, parse_frame
from speechvq.audio.io import read

RATES = [8_000, 11_025, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000]


def quiet_and_loud(rate: int) -> np.ndarray:
    """Two seconds of near silence, and one of noise: of few and of many bits."""
    return np.concatenate([noise(2 * rate, 1e-4).numpy(), noise(rate, 0.2).numpy()])


def encode(path, wav: np.ndarray, rate: int) -> bytes:
    soundfile.write(path, wav, rate, format="MP3", bitrate_mode="VARIABLE", compression_level=0.2)
    return path.read_bytes()


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("channels", [1, 2])
def test_frames_are_counted(tmp_path, rate, channels):
    wav = np.stack([quiet_and_loud(rate)] * channels, 1)
    data = encode(tmp_path / "x.mp3", wav, rate)
    [run] = find_runs(data)
    assert run.declared == run.frames
    assert (run.start, run.end, run.first.sample_rate) == (0, len(data), rate)
    assert len(wav) < run.samples < len(wav) + 3 * 1152 + 529
    own = info_frame(data, run)
    frame = parse_frame(own, 0)
    assert len(own) == frame.size
    assert frame.kind == run.first.kind
    assert find_runs(own + data[run.audio :])[0].declared == run.frames


@pytest.mark.parametrize("backwards", [False, True])
def test_a_file_that_does_not_say_its_length_is_read_to_its_end(tmp_path, backwards, capfd):
    """Where the first frames have few bits, libsndfile takes the file for longer; where they have many, for shorter."""
    wav = quiet_and_loud(16_000)[:: -1 if backwards else 1]
    data = encode(tmp_path / "x.mp3", wav, 16_000)
    [run] = find_runs(data)
    (tmp_path / "y.mp3").write_bytes(data[run.audio :])
    first, again = read(tmp_path / "y.mp3"), read(tmp_path / "y.mp3")
    assert torch.equal(first, again)
    assert run.samples - 1152 <= len(first) <= run.samples
    # Without the tag nothing says how many samples the encoder put before the speech.
    same = read(tmp_path / "x.mp3")
    delay = int(np.argmax(correlate(first.numpy(), same.numpy(), "valid")))
    assert (first[delay : delay + len(same)] - same)[2000:-2000].abs().max() < 1e-3
    assert capfd.readouterr().err == ""


def test_a_file_that_begins_or_ends_within_a_frame(tmp_path, caplog, capfd):
    data = encode(tmp_path / "x.mp3", noise(48_000).numpy(), 16_000)
    [run] = find_runs(data)
    (tmp_path / "y.mp3").write_bytes(data[len(data) // 3 :])
    assert len(read(tmp_path / "y.mp3")) == pytest.approx(48_000 * 2 / 3, abs=2 * 1152)
    (tmp_path / "z.mp3").write_bytes(data[: len(data) // 2])
    assert len(read(tmp_path / "z.mp3")) == pytest.approx(24_000, abs=2 * 1152)
    assert f"of {run.samples / 16_000:.2f} s are missing" in caplog.text
    assert capfd.readouterr().err == ""


def test_damaged_frames_are_not_reported_by_the_decoder_on_stderr(tmp_path, capfd):
    data = bytearray(encode(tmp_path / "x.mp3", noise(48_000).numpy(), 16_000))
    data[10_000:10_200] = bytes(200)
    (tmp_path / "y.mp3").write_bytes(data)
    assert len(read(tmp_path / "y.mp3")) == pytest.approx(48_000, abs=4 * 1152)
    assert capfd.readouterr().err == ""


@given(data=st.binary(max_size=3000))
def test_no_bytes_are_too_odd(data):
    for run in find_runs(data) + find_runs(b"\xff\xfb\x90\x00" + data):
        assert 0 <= run.start <= run.audio < run.end <= len(data) + 4
        assert run.frames > 0

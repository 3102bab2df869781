"""Audio files, channels and sample rates, against soundfile and SciPy."""

import resource
from pathlib import Path

import numpy as np
import pytest
import scipy.fft
import scipy.signal
import soundfile
import torch
import torchaudio.functional as AF
from signals import loudest_frequency, noise, sine

from speechvq import SpeechVQError
from speechvq.audio import SAMPLE_RATE
from speechvq.audio.io import read, resample, validate, write
from speechvq.audio.level import normalize_loudness

SHARED = Path(__file__).resolve().parents[2] / "shared"
LSB = 1 / 32768


# --- read


@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100, 48_000])
@pytest.mark.parametrize(
    ("suffix", "format", "subtype", "tolerance"),
    [
        (".wav", "WAV", "PCM_16", 0.002),
        (".wav", "WAV", "FLOAT", 0.002),
        (".wav", "WAV", "PCM_24", 0.002),
        (".flac", "FLAC", "PCM_16", 0.002),
        (".aiff", "AIFF", "PCM_16", 0.002),
        (".ogg", "OGG", "VORBIS", 0.02),
        (".opus", "OGG", "OPUS", 0.02),
        (".mp3", "MP3", "MPEG_LAYER_III", 0.02),
    ],
)
def test_a_tone_is_the_same_tone_from_any_file(tmp_path, rate, suffix, format, subtype, tolerance):
    if subtype not in soundfile.available_subtypes(format):
        pytest.skip(f"this libsndfile has no {subtype}")
    if subtype == "OPUS" and rate == 44_100:
        pytest.skip("Opus has no 44.1 kHz")
    path = tmp_path / f"tone{suffix}"
    soundfile.write(path, sine(1000, 1.0, rate), rate, format=format, subtype=subtype)
    wav = read(path)
    assert wav.dtype == torch.float32
    assert wav.ndim == 1
    assert len(wav) == pytest.approx(SAMPLE_RATE, abs=0.08 * SAMPLE_RATE)  # a coder may pad a frame or two
    middle = wav[4000:12000].numpy()
    assert loudest_frequency(middle) == pytest.approx(1000, abs=2)
    assert middle.std() * np.sqrt(2) == pytest.approx(0.5, abs=tolerance)
    if subtype.startswith("PCM"):
        assert len(wav) == SAMPLE_RATE
        np.testing.assert_allclose(wav[800:-800], sine(1000, 1.0)[800:-800], atol=0.002)  # in phase: no delay


def test_lossless_at_the_same_rate_is_exact(tmp_path):
    samples = np.random.default_rng(0).integers(-32768, 32768, 1000).astype(np.int16)
    for suffix in (".wav", ".flac"):
        soundfile.write(tmp_path / f"x{suffix}", samples, SAMPLE_RATE)
        np.testing.assert_array_equal(read(tmp_path / f"x{suffix}").numpy(), samples / np.float32(32768))


def test_another_rate_can_be_asked_for(tmp_path):
    soundfile.write(tmp_path / "x.wav", sine(500, 0.5, 16_000), 16_000)
    wav = read(tmp_path / "x.wav", 22_050)
    assert len(wav) == 11_025
    assert loudest_frequency(wav.numpy(), 22_050) == pytest.approx(500, abs=2)


def test_channels_are_averaged(tmp_path):
    left, right = sine(440, 0.2), sine(660, 0.2)
    soundfile.write(tmp_path / "x.wav", np.stack([left, right], axis=1), SAMPLE_RATE, subtype="FLOAT")
    np.testing.assert_allclose(read(tmp_path / "x.wav"), (left + right) / 2, atol=1e-7)


def test_what_lies_above_the_new_nyquist_is_gone():
    tone = torch.from_numpy(sine(11_000, 0.5, 48_000))
    assert resample(tone, 48_000, 16_000)[800:-800].abs().max() < 0.005  # -40 dB: it would alias to 5 kHz


def test_resampling_is_scipys_within_the_passband():
    wav = scipy.signal.lfilter(*scipy.signal.butter(6, 3000, fs=44_100), noise(44_100).numpy()).astype(np.float32)
    mine = resample(torch.from_numpy(wav), 44_100, 16_000).numpy()
    theirs = scipy.signal.resample_poly(wav, 160, 441)
    assert len(mine) == len(theirs) == 16_000
    error = np.sqrt(np.mean((mine - theirs)[500:-500] ** 2) / np.mean(theirs**2))
    assert error < 0.01  # two different filters, both flat up to 3 kHz


def test_an_odd_rate_costs_no_gigabytes(tmp_path):
    """Rates without a common factor: a table of all their phases would be gigabytes (12 for 44,101 Hz)."""
    soundfile.write(tmp_path / "x.wav", sine(440, 0.5, 5003), 5003)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    wav = read(tmp_path / "x.wav")
    assert loudest_frequency(wav[1000:7000].numpy()) == pytest.approx(440, abs=3)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 400_000  # KiB


BAD = {
    "missing.wav": None,
    "folder.wav": "folder",
    "text.wav": b"this is not audio at all\nand a second line\n",
    "nothing.wav": b"",
    "cut.flac": b"fLaC\x00\x00\x00\x22",
    "text.txt": b"words\n",
    "headerless.raw": bytes(3200),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_not_audio_is_one_line_that_names_the_file(tmp_path, name):
    path = tmp_path / name
    content = BAD[name]
    if content == "folder":
        path.mkdir()
    elif content is not None:
        path.write_bytes(content)
    with pytest.raises(SpeechVQError) as error:
        read(path)
    message = str(error.value)
    assert message.startswith(str(tmp_path))
    assert len(message.splitlines()) == 1


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("rate", [16_000, 48_000])
def test_one_bad_sample_is_an_error(tmp_path, bad, rate):
    wav = sine(440, 0.1, rate)
    wav[100] = bad
    soundfile.write(tmp_path / "x.wav", wav, rate, subtype="FLOAT")
    with pytest.raises(SpeechVQError, match=r"x\.wav: holds NaN or infinite samples$"):
        read(tmp_path / "x.wav")


def test_an_empty_wav_is_an_error(tmp_path):
    soundfile.write(tmp_path / "x.wav", np.zeros(0, np.float32), SAMPLE_RATE)
    with pytest.raises(SpeechVQError, match=r"x\.wav: holds no samples$"):
        read(tmp_path / "x.wav")


def test_validate_takes_arrays_of_channels_and_nothing_else():
    two = torch.tensor([[1, 0, -1], [0, 0, 1]])
    assert validate(two, "it").tolist() == [0.5, 0, 0]
    assert validate(two[0].double(), "it").dtype == torch.float32
    for shape in ((), (1, 1, 4)):
        with pytest.raises(SpeechVQError, match=r"^it: audio has the shape"):
            validate(torch.zeros(shape), "it")
    with pytest.raises(SpeechVQError, match=r"^it: holds no samples"):
        validate(torch.zeros(2, 0), "it")


# --- write


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".WAV"])
def test_written_is_read_again_within_a_step(tmp_path, suffix):
    wav = noise(5000).clamp(-1, 1)
    path = tmp_path / "new" / "folder" / f"x{suffix}"
    write(path, wav)
    header = soundfile.info(path)
    assert (header.samplerate, header.channels, header.subtype, header.frames) == (SAMPLE_RATE, 1, "PCM_16", 5000)
    # libsndfile multiplies by 32767 and divides by 32768: half a step of rounding and the ratio of the two.
    assert (read(path) - wav).abs().max() <= 1.51 * LSB
    assert [p.name for p in path.parent.iterdir()] == [path.name]
    write(tmp_path / "other.flac", wav, 8000)
    assert soundfile.info(tmp_path / "other.flac").samplerate == 8000


def test_too_loud_is_clipped_and_never_wraps(tmp_path):
    write(tmp_path / "x.wav", torch.tensor([3.0, -3.0, 1.0, -1.0, 1.001, 0.0]))
    wav = read(tmp_path / "x.wav").tolist()
    assert np.abs(np.subtract(wav, [1, -1, 1, -1, 1, 0])).max() <= LSB


@pytest.mark.parametrize("name", ["x.mp3", "x.ogg", "x", "x.wav.bak"])
def test_other_formats_are_refused_and_nothing_is_left(tmp_path, name):
    with pytest.raises(SpeechVQError, match=r"written as \.wav or \.flac"):
        write(tmp_path / name, noise(100))
    assert not list(tmp_path.iterdir())


def test_a_write_that_fails_leaves_what_was_there(tmp_path):
    path = tmp_path / "x.flac"
    write(path, noise(100))
    before = path.read_bytes()
    with pytest.raises(OSError, match="sample rate"):
        write(path, noise(100), sample_rate=700_000)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["x.flac"]


# --- real files


@pytest.mark.parametrize("speaker", ["arctic/bdl", "librispeech/19"])
def test_real_opus_is_read(speaker):
    paths = sorted(p for p in (SHARED / "data" / speaker).rglob("*") if p.suffix in (".ogg", ".opus"))
    if not paths:
        pytest.skip(f"{SHARED / 'data' / speaker} is not here")
    wav = read(paths[0])
    assert len(wav) == pytest.approx(soundfile.info(paths[0]).duration * SAMPLE_RATE, abs=1)
    assert float(AF.loudness(normalize_loudness(wav)[None], SAMPLE_RATE)) == pytest.approx(-24, abs=0.1)


@pytest.mark.parametrize("rate", [0, -16_000, float("nan"), "16000", 10**12, None])
def test_rates_that_no_recording_has(tmp_path, rate):
    wav = torch.zeros(100)
    soundfile.write(tmp_path / "a.wav", wav.numpy(), 16_000)
    for attempt in (
        lambda: write(tmp_path / "x.wav", wav, rate),
        lambda: read(tmp_path / "a.wav", rate),
        lambda: resample(wav, rate, 16_000),
        lambda: resample(wav, 16_000, rate),
    ):
        with pytest.raises(SpeechVQError, match="a sample rate"):
            attempt()
    with pytest.raises(SpeechVQError, match="whole number"):
        write(tmp_path / "x.wav", wav, 16_000.5)
    assert [path.name for path in tmp_path.iterdir()] == ["a.wav"]


def test_any_array_of_real_numbers_is_written_and_resampled(tmp_path):
    tone = sine(500, 0.1)
    write(tmp_path / "tensor.wav", torch.from_numpy(tone).float(), 16_000)
    expected = (tmp_path / "tensor.wav").read_bytes()
    for wav in (tone, tone.astype(">f4"), tone[::-1].copy()[::-1], [tone[:700], torch.from_numpy(tone[700:])]):
        write(tmp_path / "array.wav", wav, 16_000.0)
        assert (tmp_path / "array.wav").read_bytes() == expected
    half = resample(torch.from_numpy(tone).float(), 16_000, 8_000)
    assert torch.equal(resample(tone, 16_000, 8_000), half)
    for wrong in (torch.zeros(2, 9), torch.ones(9, dtype=torch.int16), np.ones(9, int), [0.1, 0.2], "abc"):
        with pytest.raises(SpeechVQError, match=r"array \(T,\) of real numbers"):
            write(tmp_path / "x.wav", wrong)
        with pytest.raises(SpeechVQError, match=r"array \(T,\) of real numbers"):
            resample(wrong, 16_000, 8_000)
    with pytest.raises(SpeechVQError, match="NaN"):
        write(tmp_path / "x.wav", torch.tensor([0.1, float("nan")]))
    assert not (tmp_path / "x.wav").exists()

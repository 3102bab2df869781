"""Audio against scipy, librosa and formulas: files, rates, levels, mu-law, features."""

import resource
from pathlib import Path

import numpy as np
import pytest
import scipy.fft
import scipy.signal
import soundfile
import torch
import torchaudio.functional as AF
from hypothesis import given
from hypothesis import strategies as st

from speechvq import SpeechVQError
from speechvq.audio import SAMPLE_RATE
from speechvq.audio.features import MFCC, LogMel, griffin_lim
from speechvq.audio.io import read, resample, validate, write
from speechvq.audio.level import normalize_loudness, trim
from speechvq.audio.librosa_lock import librosa
from speechvq.audio.mulaw import mulaw_decode, mulaw_encode

SHARED = Path(__file__).resolve().parents[2] / "shared"
LSB = 1 / 32768


def sine(frequency: float, seconds: float, rate: int = SAMPLE_RATE, level: float = 0.5) -> np.ndarray:
    return (level * np.sin(2 * np.pi * frequency * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


def noise(samples: int, level: float = 0.1, seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(level * np.random.default_rng(seed).standard_normal(samples)).float()


def loudest_frequency(wav: np.ndarray, rate: int = SAMPLE_RATE) -> float:
    spectrum = np.abs(np.fft.rfft(wav * np.hanning(len(wav))))
    return float(np.argmax(spectrum)) * rate / len(wav)


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
    path = tmp_path / "x.wav"
    write(path, noise(100))
    before = path.read_bytes()
    with pytest.raises(OSError, match="Format"):
        write(path, noise(100), sample_rate=-1)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["x.wav"]


# --- trim


@pytest.mark.parametrize(("lead", "tail"), [(0, 0), (4000, 9000), (12_345, 0), (0, 777), (16_000, 16_000)])
def test_trim_says_where_what_is_left_began(lead, tail):
    wav = torch.cat([noise(lead, 1e-4), torch.from_numpy(sine(440, 1.0)), noise(tail, 1e-4, seed=1)])
    cut, start = trim(wav)
    assert torch.equal(cut, wav[start : start + len(cut)])
    assert lead - 1024 <= start <= lead  # all of the tone, and at most a frame before it
    assert lead + 16_000 <= start + len(cut) <= lead + 16_000 + 1024


def test_trim_finds_a_click_and_keeps_pauses_within():
    wav = torch.zeros(40_000)
    wav[10_000] = wav[30_000] = 0.9
    cut, start = trim(wav)
    assert cut[10_000 - start] == cut[30_000 - start] == pytest.approx(0.9)
    assert len(cut) < 20_001 + 2048


def test_trim_by_its_decibels():
    """A lead 40 dB below the tone stays at top_db 60 and goes at 30."""
    wav = torch.from_numpy(np.concatenate([sine(440, 1.0, level=0.005), sine(440, 1.0, level=0.5)]))
    assert trim(wav, 60.0)[1] == 0
    assert trim(wav, 30.0)[1] == pytest.approx(16_000, abs=1024)


@pytest.mark.parametrize("top_db", [20.0, 30.0, 60.0])
@pytest.mark.parametrize("samples", [700, 5_000, 40_001])
def test_trim_is_librosas(samples, top_db):
    level = np.exp(
        np.random.default_rng(samples).normal(size=samples // 256 + 1).cumsum()
    )  # a walk of some 8 dB a step
    wav = noise(samples) * torch.from_numpy(np.repeat(level / level.max(), 256)[:samples]).float()
    _, (start, end) = librosa.effects.trim(wav.numpy(), top_db=top_db, frame_length=1024, hop_length=256)
    cut, begun = trim(wav, top_db)
    assert (begun, begun + len(cut)) == (start, end)


@pytest.mark.parametrize("samples", [1, 100, 20_000])
def test_silence_is_not_trimmed_away(samples):
    cut, start = trim(torch.zeros(samples))
    assert (len(cut), start) == (samples, 0)


# --- loudness


def loudness(wav: torch.Tensor) -> float:
    return float(AF.loudness(wav[None], SAMPLE_RATE))


def speechlike(seconds: float = 3.0, level: float = 0.1) -> torch.Tensor:
    """Noise in syllables, with a pause."""
    wav = noise(round(seconds * SAMPLE_RATE), level)
    time = torch.arange(len(wav)) / SAMPLE_RATE
    return wav * (0.6 + 0.4 * torch.sin(2 * torch.pi * 4 * time)) * (time > 0.5)


@pytest.mark.parametrize("target", [-24.0, -30.0])
@pytest.mark.parametrize("level", [3e-3, 0.05, 0.2])
def test_loudness_measured_again_is_what_was_asked_for(target, level):
    assert loudness(normalize_loudness(speechlike(level=level), target)) == pytest.approx(target, abs=0.1)


def test_loudness_does_not_depend_on_the_gain_before():
    wav = speechlike()
    once = normalize_loudness(wav)
    assert (normalize_loudness(0.05 * wav) - once).abs().max() < 1e-4
    assert (normalize_loudness(once) - once).abs().max() < 1e-4


def test_a_loud_wav_is_not_measured_clipped():
    """The standard's filter lifts 3 kHz by 4 dB: beyond full scale, where torchaudio's filters clip by default."""
    wav = torch.from_numpy(sine(3000, 2.0, level=0.99))
    for gain in (0.1, 1.0, 3.0):  # a float file may go beyond 1
        assert loudness(normalize_loudness(gain * wav)) == pytest.approx(-24, abs=0.1)


def test_a_peak_limits_the_gain():
    wav = speechlike(level=0.01)
    wav[20_000] = 0.9  # a click: -24 LUFS would take it to about 6
    louder = normalize_loudness(wav)
    assert louder.abs().max() == pytest.approx(0.99, abs=1e-4)
    assert loudness(louder) < -24
    torch.testing.assert_close(louder / 0.99 * 0.9, wav, atol=1e-5, rtol=1e-4)  # scaled, not bent


@pytest.mark.parametrize("samples", [1600, 3000, 6399, 6400, 6401])
def test_short_wavs_are_levelled_too(samples):
    """As if they went on: repeated beyond the gate they have the loudness asked for."""
    wav = normalize_loudness(noise(samples, 0.02))
    assert len(wav) == samples
    assert loudness(wav.repeat(20)) == pytest.approx(-24, abs=0.5)
    assert wav.abs().max() <= 0.99


@pytest.mark.parametrize("wav", [torch.zeros(100), torch.zeros(20_000), noise(20_000, 1e-6), noise(300, 1e-6)])
def test_silence_is_not_made_loud(wav):
    assert torch.equal(normalize_loudness(wav), wav)


@pytest.mark.parametrize("samples", [1, 2, 17])
def test_a_handful_of_samples_is_no_nan(samples):
    wav = normalize_loudness(0.1 * torch.ones(samples))
    assert torch.isfinite(wav).all()
    assert wav.abs().max() <= 0.99


# --- mu-law


def curve(x: np.ndarray, mu: int) -> np.ndarray:
    return np.sign(x) * np.log1p(mu * np.abs(x)) / np.log1p(mu)


@pytest.mark.parametrize("classes", [256, 32])
def test_mulaw_is_the_formula(classes):
    """The class nearest on the curve; and back, the inverse of the curve at that class."""
    mu = classes - 1
    wav = np.linspace(-1, 1, 20_001)
    exact = (curve(wav, mu) + 1) / 2 * mu
    codes = mulaw_encode(torch.from_numpy(wav), classes).numpy()
    assert codes.dtype == np.int64
    assert np.abs(codes - exact).max() <= 0.5 + 1e-4  # float32
    assert (codes.min(), codes.max()) == (0, mu)
    levels = np.linspace(-1, 1, classes)
    inverse = np.sign(levels) * ((1 + mu) ** np.abs(levels) - 1) / mu
    np.testing.assert_allclose(mulaw_decode(torch.arange(classes), classes), inverse, atol=1e-6)


@pytest.mark.parametrize("classes", [256, 32])
def test_every_class_comes_back(classes):
    codes = torch.arange(classes)
    assert torch.equal(mulaw_encode(mulaw_decode(codes, classes), classes), codes)


def test_silence_is_the_middle_class_and_nearly_silent():
    codes = mulaw_encode(torch.zeros(3))
    assert codes.tolist() == [128] * 3
    assert mulaw_decode(codes).abs().max() < 1e-4  # -80 dB


def test_beyond_full_scale_is_full_scale():
    assert mulaw_encode(torch.tensor([-7.0, -1.0, 1.0, 7.0])).tolist() == [0, 0, 255, 255]


@given(st.floats(-1, 1, width=32), st.floats(-1, 1, width=32))
def test_mulaw_keeps_the_order_and_is_finer_near_zero(a, b):
    low, high = mulaw_encode(torch.tensor([min(a, b), max(a, b)])).tolist()
    assert low <= high
    back = mulaw_decode(mulaw_encode(torch.tensor([a]))).item()
    # Half a step of 2/255 on the curve, whose slope at x is ln(256) / 255 * (1 + 255 |x|): within 2.3 %.
    assert abs(back - a) <= 0.0225 * (abs(a) + 1 / 255)


# --- LogMel, MFCC


@pytest.mark.parametrize(("hop", "window", "n_mels"), [(160, 400, 80), (200, 800, 40), (256, 1024, 80), (320, 320, 64)])
def test_logmel_is_librosas(hop, window, n_mels):
    wav = noise(20 * hop) + torch.from_numpy(sine(700, 1.0, level=0.3))[: 20 * hop]
    n_fft = 2 ** int(np.ceil(np.log2(max(hop, window))))
    padded = np.pad(wav.numpy(), (n_fft - hop) // 2)
    spectrum = librosa.stft(padded, n_fft=n_fft, hop_length=hop, win_length=window, window="hann", center=False)
    filters = librosa.filters.mel(sr=SAMPLE_RATE, n_fft=n_fft, n_mels=n_mels)
    wanted = np.log(np.maximum(filters @ np.abs(spectrum), 1e-5))
    mine = LogMel(hop, window, n_mels)(wav[None])[0].numpy()
    assert wanted.std() > 0.3
    np.testing.assert_allclose(mine, wanted, atol=1e-3)


@pytest.mark.parametrize(("hop", "window"), [(160, 400), (256, 1024), (160, 160)])
@pytest.mark.parametrize("frame", [0, 1, 7, 15])
def test_an_impulse_in_a_hop_peaks_in_its_frame_and_falls_off_evenly(hop, window, frame):
    wav = torch.zeros(1, 16 * hop)
    wav[0, frame * hop + hop // 2] = 1
    energy = LogMel(hop, window)(wav)[0].exp().sum(0)
    assert energy.argmax() == frame
    for far in range(1, 1 + min(frame, 15 - frame)):
        assert energy[frame - far] == pytest.approx(energy[frame + far].item(), rel=1e-3)
    assert (energy > 80 * 1.01e-5).sum() <= 2 * (window // (2 * hop)) + 1  # nothing beyond the window


def test_a_reversed_wav_has_reversed_frames():
    """The sample on which a frame is centred is one past the middle: shift by one to turn it round."""
    wav = noise(1 + 16 * 160)
    there = LogMel()(wav[None, :-1])[0]
    back = LogMel()(wav[None, 1:].flip(-1))[0]
    torch.testing.assert_close(back.flip(-1)[:, 2:-2], there[:, 2:-2], atol=1e-3, rtol=0)


def test_silence_is_the_floor_and_gain_is_added():
    mel = LogMel()
    assert torch.allclose(mel(torch.zeros(1, 1600)), torch.tensor(1e-5).log())
    wav = noise(1600)[None]
    torch.testing.assert_close(mel(2 * wav) - mel(wav), torch.full((1, 80, 10), float(np.log(2))), atol=1e-4, rtol=0)


def test_one_frame_a_hop_and_no_fraction_of_one():
    assert [LogMel()(torch.zeros(1, 160 * n)).shape[-1] for n in (1, 2, 9)] == [1, 2, 9]
    with pytest.raises(ValueError, match="not a multiple of the hop 160"):
        LogMel()(torch.zeros(1, 161))


def test_mfcc_is_scipys_dct_and_the_regression_of_the_papers():
    wav = noise(40 * 160)[None]
    frames = LogMel()(wav)[0].numpy()
    wanted = scipy.fft.dct(frames, axis=0, norm="ortho")[:13]
    deltas = []
    for _ in range(2):  # sum n (c[t + n] - c[t - n]) / (2 sum n^2), edges repeated
        last = np.pad((wanted, *deltas)[-1] if deltas else wanted, ((0, 0), (2, 2)), mode="edge")
        deltas.append(sum(n * (last[:, 2 + n : 42 + n] - last[:, 2 - n : 42 - n]) for n in (1, 2)) / (2 * (1 + 4)))
    mine = MFCC()(wav)[0].numpy()
    np.testing.assert_allclose(mine, np.concatenate([wanted, *deltas]), atol=2e-3)
    assert np.abs(deltas[1]).max() > 0.05


# --- Griffin-Lim


def burst(frequency: float, at: float, seconds: float = 1.0) -> torch.Tensor:
    wav = torch.zeros(round(seconds * SAMPLE_RATE))
    tone = torch.from_numpy(sine(frequency, 0.1) * np.hanning(1600).astype(np.float32))
    start = round(at * SAMPLE_RATE) - 800
    wav[start : start + 1600] = tone
    return wav


@pytest.mark.parametrize(("hop", "window"), [(160, 400), (256, 1024)])
def test_a_burst_comes_back_at_its_time_and_frequency(hop, window):
    length = 16_000 // hop * hop
    wav = torch.stack([burst(600, 0.25), burst(1500, 0.6)])[:, :length]
    back = griffin_lim(LogMel(hop, window)(wav), hop, window)
    assert back.shape == wav.shape
    for one, was, frequency in zip(back.numpy(), wav.numpy(), (600, 1500), strict=True):
        times = np.arange(length)
        centres = [np.sum(times * x**2) / np.sum(x**2) for x in (one, was)]
        assert abs(centres[0] - centres[1]) < 40  # samples: a quarter of the smaller hop
        middle = one[round(centres[1]) - 500 : round(centres[1]) + 500]
        assert loudest_frequency(middle) == pytest.approx(frequency, abs=40)
        assert np.sum(one**2) == pytest.approx(np.sum(was**2), rel=0.5)


def test_griffin_lim_by_its_seed_and_nobody_elses():
    mel = LogMel()(burst(600, 0.15, 0.3)[None])
    torch.manual_seed(5)
    first = griffin_lim(mel, 160, 400, iterations=5, seed=3)
    drawn = torch.rand(3)
    again = griffin_lim(mel, 160, 400, iterations=5, seed=3)
    assert torch.equal(first, again)
    assert not torch.equal(first, griffin_lim(mel, 160, 400, iterations=5, seed=4))
    torch.manual_seed(5)
    assert torch.equal(drawn, torch.rand(3))


@pytest.mark.parametrize("frames", [1, 2, 3, 7])
@pytest.mark.parametrize(("hop", "window"), [(160, 400), (200, 1024), (320, 800)])
def test_griffin_lim_of_very_short_mels(frames, hop, window):
    mel = LogMel(hop, window)(noise(frames * hop, 0.1)[None])
    wav = griffin_lim(mel, hop, window, iterations=3)
    assert wav.shape == (1, frames * hop)
    assert 0 < wav.abs().max() <= 1


def test_more_iterations_are_nearer():
    wav = noise(8000) * torch.from_numpy(sine(3, 0.5))
    mel = LogMel()
    target = mel(wav[None]).exp()
    errors = [(mel(griffin_lim(target.log(), 160, 400, iterations=n)).exp() - target).norm() for n in (1, 60)]
    assert errors[1] < 0.6 * errors[0]


# --- real speech


def test_real_speech_through_mel_and_back():
    folder = SHARED / "data" / "vctk" / "wav48_silence_trimmed" / "p225"
    paths = sorted(folder.glob("*_mic1.flac"))[:2]
    if not paths:
        pytest.skip(f"{folder} is not here")
    for path in paths:
        wav, _ = trim(read(path))
        wav = normalize_loudness(wav)[: 2 * SAMPLE_RATE]
        wav = wav[: len(wav) // 160 * 160]
        mel = LogMel()(wav[None])
        again = LogMel()(griffin_lim(mel, 160, 400))
        loud = mel > mel.max() - 6
        assert (again - mel)[loud].abs().mean() < 0.6
        coded = mulaw_decode(mulaw_encode(wav))
        assert 10 * torch.log10(wav.square().mean() / (wav - coded).square().mean()) > 30  # G.711's 8 bits: 38 dB


@pytest.mark.parametrize("speaker", ["arctic/bdl", "librispeech/19"])
def test_real_opus_is_read(speaker):
    paths = sorted(p for p in (SHARED / "data" / speaker).rglob("*") if p.suffix in (".ogg", ".opus"))
    if not paths:
        pytest.skip(f"{SHARED / 'data' / speaker} is not here")
    wav = read(paths[0])
    assert len(wav) == pytest.approx(soundfile.info(paths[0]).duration * SAMPLE_RATE, abs=1)
    assert loudness(normalize_loudness(wav)) == pytest.approx(-24, abs=0.1)

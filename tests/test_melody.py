"""The melody of speech: the cheapest one is found, files carry it, and decoded speech follows it."""

from dataclasses import replace
from itertools import product
from pathlib import Path
from zlib import crc32

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given
from hypothesis import strategies as st
from test_bitstream import ALPHABET, encoded

from speechvq import SpeechVQError
from speechvq.audio import MELODY_CHUNK, MELODY_HOP
from speechvq.cli import main
from speechvq.codec import Codec, Encoded
from speechvq.codec import melody as melody_module
from speechvq.codec.melody import (
    BIT_PRICE,
    MAX_ERROR,
    MELODY_STEP,
    WEIGHTS,
    from_levels,
    melody_by_frame,
    melody_length,
    melody_of,
    to_levels,
)
from speechvq.coding.bitstream import pack, unpack
from speechvq.coding.coders import Fixed, pack_melody, unpack_melody
from speechvq.coding.header import read_header
from speechvq.evaluate.metrics.acoustics import log_pitch, pitch_correlation
from speechvq.nn.decoder.contract import PitchChange

GOLDEN = Path(__file__).parent / "golden"
LEVELS = st.lists(st.integers(0, 12), max_size=3 * MELODY_CHUNK)
END_BYTES = 5  # of a chunk, by which the range coder may exceed its bits
FRAMES = MELODY_HOP // 160  # of a value


def sung(count: int, seed: int = 0) -> Encoded:
    """An utterance of `count` values of a melody, with its codes."""
    random = np.random.default_rng(seed)
    samples = max(count * MELODY_HOP - int(random.integers(MELODY_HOP)), 0)
    item = encoded(random.integers(0, 12, -(-samples // ALPHABET.hop_length)), samples)
    return replace(item, melody=from_levels(random.integers(0, 13, count)))


# --- finding it


def test_the_melody_found_is_the_cheapest():
    """Beside all melodies of three values."""
    random = np.random.default_rng(0)
    prices = -BIT_PRICE * np.log2(WEIGHTS / WEIGHTS.sum(1, keepdims=True))
    every = np.array([*product(range(13), repeat=3)])
    bits = sum(prices[before, now] for before, now in zip([6, *every.T[:2]], every.T, strict=True))
    for _ in range(10):
        pitch = torch.from_numpy(120 * 2 ** (random.normal(0, 4, 3 * FRAMES) / 12))
        voiced = torch.from_numpy(random.random(3 * FRAMES) < 0.4)
        semitones = 12 * np.log2(pitch.numpy())
        wanted = semitones - semitones[voiced.numpy()].mean()
        melodies = torch.stack([melody_by_frame(from_levels(row), 3 * FRAMES, 160) for row in every]).numpy()
        errors = np.minimum(np.square(melodies - wanted), MAX_ERROR**2)[:, voiced.numpy()].sum(1)
        found = to_levels(melody_of(pitch, voiced, 3 * MELODY_HOP))
        cost = (errors + bits)[(every == found).all(1)].item()
        assert cost == pytest.approx((errors + bits).min(), rel=1e-5)


@pytest.mark.parametrize("hertz", [90, 220])
def test_a_glide_is_followed_whatever_its_register(hertz):
    """An octave in 3 s, relative to its mean."""
    frames = 300
    semitones = np.linspace(-6, 6, frames)
    melody = melody_of(torch.from_numpy(hertz * 2 ** (semitones / 12)), torch.ones(frames, dtype=torch.bool), 48_000)
    assert len(melody) == melody_length(48_000) == 19
    assert np.abs(melody_by_frame(melody, frames, 160).numpy() - semitones).max() < MELODY_STEP
    assert np.corrcoef(melody_by_frame(melody, frames, 160).numpy(), semitones)[0, 1] > 0.97


def test_a_mistaken_octave_does_not_bend_the_melody():
    pitch, voiced = torch.full((200,), 120.0), torch.ones(200, dtype=torch.bool)
    pitch[50:60] = 240.0
    assert not melody_of(pitch, voiced, 32_000).any()


@pytest.mark.parametrize("samples", [1, 2559, 2560, 2561, 40_000])
def test_speech_without_voice_has_a_flat_melody(samples):
    frames = -(-samples // 160)
    melody = melody_of(torch.full((frames,), 150.0), torch.zeros(frames, dtype=torch.bool), samples)
    assert len(melody) == -(-samples // MELODY_HOP)
    assert not melody.any()
    assert sum(map(len, pack_melody(melody))) <= END_BYTES + len(melody) // 4


def test_between_values_the_melody_is_linear():
    """At the middles of values it is they, and it is constant before the first and behind the last."""
    found = melody_by_frame([0.0, 4.0, -4.0], 12, MELODY_HOP // 4)
    assert found.tolist() == pytest.approx([0, 0, 0.5, 1.5, 2.5, 3.5, 3, 1, -1, -3, -4, -4])
    assert melody_by_frame([1.0, np.nan], 4, MELODY_HOP // 2).isnan().tolist() == [False, True, True, True]


# --- files


@given(LEVELS)
def test_every_melody_comes_back(levels):
    melody = from_levels(np.array(levels, np.int64))
    chunks = pack_melody(melody)
    assert len(chunks) == -(-len(levels) // MELODY_CHUNK)
    assert torch.equal(unpack_melody(chunks, len(levels)), melody)
    bits = -np.log2((WEIGHTS / WEIGHTS.sum(1, keepdims=True)).min()) * len(levels)
    assert sum(map(len, chunks)) <= bits / 8 + END_BYTES * len(chunks)


@given(st.lists(st.floats(-40, 40) | st.just(float("nan")), min_size=1, max_size=20))
def test_any_melody_is_written_as_the_nearest(values):
    melody = torch.tensor(values)
    found = unpack_melody(pack_melody(melody), len(values))
    known = melody.nan_to_num().clamp(-12, 12)
    assert (found - known).abs().max() <= MELODY_STEP / 2


@pytest.mark.parametrize("count", [0, 1, 2, 127, 128, 129, 300])
def test_files_keep_the_melody(count):
    item, coder = sung(count), Fixed(12)
    data = pack(item, coder)
    found = unpack(data, lambda _: coder)
    assert torch.equal(found.melody, item.melody)
    assert torch.equal(found.codes, item.codes)
    assert (found.samples, found.lost) == (item.samples, ())
    without = pack(replace(item, melody=None), coder)
    assert data[:3] + without[3:4] == b"svq\x01"
    assert unpack(without, lambda _: coder).melody is None
    chunks = pack_melody(item.melody)
    tables = sum(len(chunk).bit_length() // 8 + 5 for chunk in chunks)
    assert len(data) <= len(without) + sum(map(len, chunks)) + tables
    about = read_header(data).describe()
    assert (about["bytes"], about["melody_bytes"]) == (len(data), sum(map(len, chunks)))


def test_the_melody_is_stored_as_documented():
    data = pack(sung(200), Fixed(12))
    without = pack(replace(sung(200), melody=None), Fixed(12))
    header, plain = read_header(data), read_header(without)
    assert data[3] == 3
    assert data[4 : plain.size - 4] == without[4 : plain.size - 4]
    chunks = pack_melody(sung(200).melody)
    assert [*header.melody] == [(len(chunk), crc32(chunk)) for chunk in chunks]
    assert data[header.size :] == without[plain.size :] + b"".join(chunks)


def test_damage_to_a_melody_costs_that_chunk_alone():
    """Any byte changed, any end cut off: an error of the header, or what is not lost is right."""
    item, coder, random = sung(300), Fixed(12), np.random.default_rng(1)
    data = pack(item, coder)
    header = read_header(data)
    start = header.size + sum(chunk.size for chunk in header.chunks)
    for offset in [*random.integers(0, len(data), 200), *range(start, len(data), 3)]:
        changed = bytearray(data)
        changed[offset] ^= int(random.integers(1, 256))
        for damaged in (bytes(changed), data[:offset]):
            if offset < header.size:
                with pytest.raises(SpeechVQError):
                    unpack(damaged, lambda _: coder)
                continue
            found = unpack(damaged, lambda _: coder)
            lost = found.melody.isnan()
            assert torch.equal(found.melody[~lost], item.melody[~lost])
            if damaged == bytes(changed):
                assert lost.sum() in ((0,) if offset < start else (MELODY_CHUNK, 300 - 2 * MELODY_CHUNK))
                assert bool(found.lost) == (offset < start)
    with pytest.raises(SpeechVQError, match="1 bytes too many"):
        unpack(data + b"x", lambda _: coder)


@given(st.binary(max_size=40), st.integers(1, MELODY_CHUNK))
def test_bytes_that_are_no_melody_are_lost_or_read(chunk, length):
    found = unpack_melody([chunk], length)
    assert len(found) == length
    assert found.isnan().all() or (found.abs() <= 12).all()


def test_the_golden_melody_stays_readable():
    data = (GOLDEN / "melody.svq").read_bytes()
    item = sung(150, seed=5)
    found = unpack(data, lambda _: Fixed(12))
    assert torch.equal(found.melody, item.melody)
    assert pack(item, Fixed(12)) == data


# --- decoding


def test_a_melody_moves_around_a_level():
    """It takes the place of the slow movements of what is predicted, and the quick ones stay."""
    whole = PitchChange(0.0, None, torch.tensor([0.0, 12.0, -12.0, torch.nan]))
    level = whole.level(torch.tensor([100.0, 200.0, 400.0, 9_999.0]))
    assert 2**level == pytest.approx(200)
    monotone = torch.full((4,), 111.0)
    sung = whole.as_contour(monotone, level, 160)
    assert sung.applied(monotone[None])[0].tolist() == pytest.approx([200.0, 400.0, 100.0, 111.0])
    unknown = PitchChange(0.0, None, torch.full((4,), torch.nan))
    kept = unknown.as_contour(monotone, unknown.level(monotone), 160)
    assert torch.equal(kept.applied(monotone[None]), monotone[None])

    slow = 120 * 2 ** torch.linspace(-0.5, 0.5, 400)
    quick = 2 ** (0.02 * torch.sin(torch.arange(400.0)))
    flat = PitchChange(0.0, None, torch.zeros(400))
    left = flat.as_contour(slow * quick, torch.tensor(120.0).log2(), 160).contour
    assert (left / (120 * quick) - 1)[20:-20].abs().max() < 0.01


@pytest.fixture(scope="module")
def packaged() -> Codec:
    return Codec.load("convert-50hz")


def intoned(seconds: float = 3.0, seed: int = 0) -> np.ndarray:
    """Vowels of a voice whose pitch goes up and down by three semitones, with pauses."""
    random = np.random.default_rng(seed)
    time = np.arange(round(seconds * 16_000)) / 16_000
    hertz = 120 * 2 ** (3 * np.sin(2 * np.pi * time / 1.3) / 12)
    phase, wav = 2 * np.pi * np.cumsum(hertz) / 16_000, 1e-3 * random.standard_normal(len(time))
    formants = np.array([(300, 2300), (700, 1200), (350, 800), (500, 1800)])[(time / 0.2).astype(int) % 4]
    for harmonic in range(1, 30):
        gains = np.exp(-(((harmonic * hertz[:, None] - formants) / 150) ** 2)).sum(1) + 0.02
        wav += gains * np.sin(harmonic * phase)
    wav[(time % 1.0) > 0.85] *= 0.001
    return (0.1 * wav).astype(np.float32)


def test_a_conversion_with_the_melody_follows_the_recording(packaged):
    wav = intoned()
    source = log_pitch(torch.from_numpy(wav))
    plain, kept = (packaged.convert(wav, 16_000, packaged.speakers[-1], melody=on) for on in (False, True))
    correlations = [pitch_correlation(source, log_pitch(one)) for one in (plain, kept)]
    assert correlations[1] > max(correlations[0] + 0.1, 0.7)
    means = [np.nanmean(log_pitch(one)) for one in (plain, kept)]
    assert abs(means[0] - means[1]) < 2.5 * np.log(2) / 12  # the voice's own register
    assert torch.equal(packaged.convert(wav, 16_000, packaged.speakers[-1]), plain)


def test_files_convert_as_the_api_does(packaged, tmp_path, capsys):
    """`encode --melody` and `decode`, `convert --melody`, and `Codec`: the same bits."""
    wav, speaker = intoned(1.5), packaged.speakers[-1]
    soundfile.write(tmp_path / "a.wav", wav, 16_000, subtype="FLOAT")
    source, codes = str(tmp_path / "a.wav"), str(tmp_path / "a.svq")
    assert main(["encode", source, codes, "--melody", "--speaker", speaker]) == 0
    assert main(["decode", codes, str(tmp_path / "1.wav")]) == 0
    assert main(["convert", source, str(tmp_path / "2.wav"), "--melody", "--speaker", speaker]) == 0
    first, second = ((tmp_path / name).read_bytes() for name in ("1.wav", "2.wav"))
    assert first == second
    decoded = packaged.decode(packaged.encode(wav, 16_000), speaker, melody=packaged.melody(wav, 16_000))
    said = soundfile.read(tmp_path / "1.wav", dtype="float32")[0]
    assert np.abs(said - decoded[: len(said)].numpy()).max() <= 1 / 32_767
    capsys.readouterr()
    assert main(["info", codes]) == 0
    assert "melody_bytes" in capsys.readouterr().out
    assert main(["encode", source, str(tmp_path / "a.tsv"), "--melody"]) == 2
    assert "--melody is of .svq files" in capsys.readouterr().err


def test_lost_codes_do_not_count_for_the_level(packaged):
    melody = torch.zeros(25)
    change = packaged.pitch_change(200, melody=melody, lost=((0, 100),))
    assert change.melody.isnan().tolist() == [True] * 200 + [False] * 200


def test_pitch_and_melody_are_not_kept_both(packaged):
    with pytest.raises(SpeechVQError, match="the pitch of the recording or its melody, not both"):
        packaged.convert(intoned(0.5), 16_000, packaged.speakers[0], keep_pitch=True, melody=True)


def test_a_price_of_bits_saves_some(packaged, monkeypatch):
    sizes = []
    for price in (1.0, 3.0, 30.0):
        monkeypatch.setattr(melody_module, "BIT_PRICE", price)
        sizes.append(sum(map(len, pack_melody(packaged.melody(intoned(6.0), 16_000)))))
    assert sizes[0] >= sizes[1] > sizes[2]
    assert 8 * sizes[1] / 6 < 35

"""Every format and subtype that libsndfile writes, cut, extended and joined, and compared with a second decoder."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
from signals import sine

from speechvq import SpeechVQError
from speechvq.audio.io import read

BLOCK = 2048  # samples that a coder may need whole: of a cut file the last ones are not compared
CUT = 0.6  # of the bytes
# Containers whose headers say where a recording ends: what follows it is not sound, unless it is another recording.
BOUNDED = {"WAV", "WAVEX", "RF64", "AIFF", "FLAC", "OGG", "MP3"}
# How far two decoders may differ, as a share of the RMS; those not listed are lossless, or decoded alike.
TOLERANCE = {"MPEG_LAYER_III": 1e-3, "VORBIS": 1e-3, "OPUS": 0.02, "MS_ADPCM": 0.02, "IMA_ADPCM": 0.02}
OTHERWISE = {"G721_32", "G723_24", "G723_40"}  # FFmpeg takes their bits in another order
NEEDED = {("WAV", "PCM_16"), ("WAV", "GSM610"), ("FLAC", "PCM_16"), ("OGG", "OPUS"), ("MP3", "MPEG_LAYER_III")}


def pairs() -> list[tuple[str, str]]:
    formats = sorted(soundfile.available_formats().keys() - {"RAW", "SD2"})  # which have no header in the file
    return [(format, subtype) for format in formats for subtype in sorted(soundfile.available_subtypes(format))]


@pytest.fixture(params=pairs(), ids="-".join)
def written(request, tmp_path) -> tuple[Path, str, str]:
    """A file of a second or two; by this format and subtype if soundfile writes them at 16 or 8 kHz."""
    format, subtype = request.param
    random = np.random.default_rng(0)
    for rate in (16_000, 8_000):
        wav = sine(300, 16_000 / rate, rate, 0.3) + 0.02 * random.standard_normal(16_000).astype(np.float32)
        path = tmp_path / f"x.{rate}"
        try:
            soundfile.write(path, wav, rate, subtype, format=format)
        except (soundfile.LibsndfileError, ValueError):
            continue
        return path, format, subtype
    pytest.skip("soundfile does not write it")


def variant(path: Path, name: str, data: bytes) -> Path:
    other = path.with_name(f"{name}-{path.name}")
    other.write_bytes(data)
    return other


def samples(path: Path) -> np.ndarray | None:
    """The wav, or None if the file is refused."""
    try:
        return read(path).numpy()
    except SpeechVQError:
        return None


def test_headers_are_believed_only_as_far_as_the_file_goes(written, capfd):
    path, format, _ = written
    data, whole = path.read_bytes(), read(path).numpy()
    assert np.array_equal(read(path).numpy(), whole)
    part = samples(variant(path, "cut", data[: int(CUT * len(data))]))
    if part is not None:
        sure = max(len(part) - BLOCK, 0)
        assert len(part) <= max(CUT * len(whole) + 2 * BLOCK, BLOCK)
        assert np.array_equal(part[:sure], whole[:sure])
    junk = np.random.default_rng(1).bytes(5000)
    for name, more in (("zeros", bytes(5000)), ("junk", junk), ("itself", data)):
        other = variant(path, name, data + more)
        longer = samples(other)
        if longer is None:
            assert format not in BOUNDED
            continue
        sure = len(whole) if format in BOUNDED else len(whole) - BLOCK
        assert np.array_equal(longer[:sure], whole[:sure])
        assert np.array_equal(read(other).numpy(), longer)
        if format in BOUNDED:
            assert np.array_equal(longer[sure:], whole if name == "itself" else [])
    assert capfd.readouterr().err == ""


def test_a_second_decoder_gives_the_same(written):
    path, format, subtype = written
    av = pytest.importorskip("av")
    if subtype in OTHERWISE or format == "VOC":
        pytest.skip("FFmpeg reads its bits, or its rate, otherwise")
    pieces = []
    try:
        with av.open(str(path)) as container:
            resampler = av.AudioResampler(format="flt", layout="mono", rate=16_000)
            for frame in [*container.decode(audio=0), None]:
                pieces += [piece.to_ndarray()[0] for piece in resampler.resample(frame)]
    except (av.FFmpegError, IndexError):
        assert (format, subtype) not in NEEDED
        pytest.skip("FFmpeg does not read it")
    theirs, ours = np.concatenate(pieces), read(path).numpy()
    if path.suffix == ".8000":
        theirs, ours = theirs[1000:-1000], ours[1000:-1000]  # resamplers differ most at the edges
    common = min(len(theirs), len(ours))
    assert abs(len(theirs) - len(ours)) <= 2 * BLOCK
    error = np.sqrt(np.mean((theirs[:common] - ours[:common]) ** 2) / np.mean(ours**2))
    assert error < max(TOLERANCE.get(subtype, 1e-4), 0.02 if path.suffix == ".8000" else 0)

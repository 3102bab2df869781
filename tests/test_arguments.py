"""The arguments that a program gives to a codec: any kind of array, or one line of error."""

import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from speechvq import SpeechVQError
from speechvq.audio.io import read, write
from speechvq.codec import Codec, Encoded, torch_device
from speechvq.codec.arguments import as_codes, as_samples
from speechvq.coding.code_files import CodeFiles
from speechvq.config.shapes import check_number
from speechvq.data.manifest import read_manifest
from speechvq.folder.card import packaged
from speechvq.train.voice import adapt
from speechvq.wavenet.sampler import Sampling


@pytest.fixture(scope="module")
def codec():
    return Codec.load(packaged()[0])


@pytest.mark.parametrize(
    "codes",
    [
        [3, 0, 7],
        np.array([3, 0, 7], ">i8"),
        np.array([7, 0, 3])[::-1],
        np.array([3, 0, 7], object),
        np.array([3.0, 0.0, 7.0]),
        torch.tensor([3, 0, 7], dtype=torch.int32),
        range(3, 4),
    ],
)
def test_codes_of_any_kind_of_array(codes):
    row = as_codes(codes, 8)
    assert row.dtype == torch.int64
    assert row.tolist() == [int(code) for code in codes]


@pytest.mark.parametrize(
    "codes", [None, "abc", b"\1", [0.5], [np.nan], [np.inf], [8], [-1], [2**64 - 1], [], [[1]], 3, [None], [1j]]
)
def test_what_is_no_code_is_refused(codes):
    with pytest.raises(SpeechVQError, match=r"^codes are"):
        as_codes(codes, 8)


@pytest.mark.parametrize("samples", ["abc", b"abc", [1j], np.zeros(3, "M8[s]"), torch.zeros(3, dtype=torch.complex64)])
def test_what_is_no_sample_is_refused(samples):
    with pytest.raises(SpeechVQError, match="real numbers"):
        as_samples(samples)


def of_other_layouts(values):
    tensor = torch.tensor(values)
    return [tensor.to_sparse(), torch.quantize_per_tensor(tensor, 1.0, 0, torch.qint32)]


def test_tensors_that_are_not_dense_are_refused():
    for tensor in of_other_layouts([3.0, 0.0, 7.0]):
        with pytest.raises(SpeechVQError, match=r"^samples are .* dense"):
            as_samples(tensor)
        with pytest.raises(SpeechVQError, match=r"^codes are .* dense"):
            as_codes(tensor, 8)
    for tensor in (torch.tensor([3 + 0j]), torch.zeros(3, dtype=torch.int64, device="meta")):
        with pytest.raises(SpeechVQError, match=r"^codes are"):
            as_codes(tensor, 8)
    assert as_codes(torch.tensor([3.0, 0.0, 7.0], dtype=torch.bfloat16), 8).tolist() == [3, 0, 7]
    assert as_samples(torch.tensor([0.5, -1.0]).to(torch.float8_e4m3fn)).isfinite().all()


def test_samples_of_another_byte_order_and_direction():
    wav = np.array([0.5, -1.0, 0.25])
    assert torch.equal(as_samples(wav.astype(">f8")[::-1]), torch.tensor([0.25, -1.0, 0.5]))
    assert not as_samples(torch.zeros(3, requires_grad=True)).requires_grad


@pytest.mark.parametrize("three", [np.uint8(3), np.int64(3), np.float16(3), torch.tensor(3)])
def test_numbers_of_other_types_give_the_same_speech(codec, three):
    codes, speaker = [5, 9, 9, 2], codec.speakers[0]
    raised = codec.decode(codes, speaker, semitones=three)
    assert torch.equal(raised, codec.decode(codes, speaker, semitones=3.0))
    if not isinstance(three, np.floating):
        assert torch.equal(codec.decode(codes, speaker, seed=three), codec.decode(codes, speaker, seed=3))


@pytest.mark.parametrize("value", [np.nan, np.inf, -1, 11, "3", None, True, 1j, [3], 10**400])
def test_what_is_no_number_is_refused(value):
    with pytest.raises(SpeechVQError, match="pitch is a number from 0 to 10"):
        check_number(value, "pitch", 0, 10)


@pytest.mark.parametrize("value", [3, np.int16(3), np.float32(3), torch.tensor(3)])
def test_numbers_of_libraries(value):
    check_number(value, "pitch", 0, 10)


def test_a_whole_number():
    check_number(np.int64(3), "seed", 0, 10, whole=True)
    with pytest.raises(SpeechVQError, match="whole number"):
        check_number(3.0, "seed", 0, 10, whole=True)


@pytest.mark.parametrize(
    "options",
    [{"seed": "x"}, {"seed": 2**64}, {"seed": 1.5}, {"semitones": np.nan}, {"semitones": 120}, {"temperature": np.nan}],
)
def test_options_of_decoding_that_are_none(codec, options):
    with pytest.raises(SpeechVQError, match=next(iter(options))):
        codec.decode([0, 1], codec.speakers[0], **options)


@pytest.mark.parametrize(
    "options", [{"gain": np.nan}, {"gain": 1e40}, {"gain": "x"}, {"penalty": np.nan}, {"penalty": 1e300}]
)
def test_options_of_encoding_that_are_none(codec, options):
    with pytest.raises(SpeechVQError, match=next(iter(options))):
        codec.encode(np.zeros(4000), 16_000, **options)


@pytest.mark.parametrize("rate", ["16000", 1j, np.nan, True, 0])
def test_a_sample_rate_that_is_none(codec, rate):
    with pytest.raises(SpeechVQError, match="sample rate"):
        codec.encode(np.zeros(4000), rate)


@pytest.mark.parametrize("speaker", [0, None, b"x"])
def test_a_speaker_is_a_name(codec, speaker):
    with pytest.raises(SpeechVQError, match="by name"):
        codec.decode([0], speaker)


def test_as_many_speakers_as_utterances(codec):
    with pytest.raises(SpeechVQError, match="2 utterances have 1 speakers"):
        codec.convert_many([np.zeros(4000), np.zeros(4000)], 16_000, [codec.speakers[0]])


def test_a_stream_of_speech_refuses_what_are_no_codes_and_goes_on(codec):
    stream, same = (codec.speech_stream(codec.speakers[0]) for _ in range(2))
    codes = [5] * 60
    for wrong in ([-1], [10**6], [0.5], None):
        with pytest.raises(SpeechVQError, match="codes are"):
            stream.push(wrong)
    wav = torch.cat([stream.push(np.array(codes)), stream.flush()])
    assert torch.equal(wav, torch.cat([same.push(torch.tensor(codes)), same.flush()]))
    assert not len(stream.flush())
    with pytest.raises(SpeechVQError, match="ended"):
        stream.push(codes)


def test_a_stream_that_is_ended_twice(codec):
    stream = codec.streamer(codec.speakers[0])
    parts = [stream.push(np.zeros(5000)), stream.flush()]
    assert sum(map(len, parts)) == 5000
    assert not len(stream.flush())
    with pytest.raises(SpeechVQError, match="lookahead"):
        codec.streamer(codec.speakers[0], lookahead=-1)
    small = codec.streamer(codec.speakers[0], lookahead=np.int8(1))  # in which a latency in samples has no room
    assert small.latency == codec.streamer(codec.speakers[0], lookahead=1).latency


@pytest.mark.parametrize("name", ["meta", "mkldnn", "privateuseone", "hpu", "x", "", "CPU"])
def test_a_device_that_cannot_compute(name):
    with pytest.raises(SpeechVQError, match="cannot be used: devices are cpu"):
        torch_device(name)


NO_PATHS = [3, None, b"convert-50hz", ["convert-50hz"], "\0", np.zeros(3)]


def uses_of_a_path(codec):
    """Calls that read, by name, and calls that write."""
    files, encoded = CodeFiles(codec), Encoded(torch.tensor([1, 2]), 640, codec.alphabet)
    reads = {
        "load": Codec.load,
        "from_pretrained": Codec.from_pretrained,
        "encode_file": codec.encode_file,
        "read": read,
        "codes": files.read,
        "corpus": read_manifest,
        "voice": lambda path: adapt(packaged()[0], "x", path, Path("x")),
    }
    writes = {
        "save": codec.save,
        "save_pretrained": codec.save_pretrained,
        "codes": lambda path: files.write(path, encoded, files.coder()),
    }
    return reads, writes


@pytest.mark.parametrize("path", NO_PATHS)
def test_a_path_is_text_or_a_path(codec, path):
    reads, writes = uses_of_a_path(codec)
    for use in (*reads.values(), *writes.values()):
        with pytest.raises(SpeechVQError, match="is given by a path, not as"):
            use(path)


TOO_LONG = ["x" * 256, "\u00fc" * 128, f"new/{'x' * 256}/new", "new/" * 1025]
LONGEST = "new/" * 1020 + "x" * 14  # there may be a file, but no folder with a file in it


@pytest.mark.skipif(sys.platform != "linux", reason="other limits there")
@pytest.mark.parametrize("name", [*TOO_LONG, LONGEST])
def test_a_path_that_is_too_long_is_one_line(codec, name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    reads, writes = uses_of_a_path(codec)
    of_audio = {"encode": codec.encode, "convert": lambda path: codec.convert(path, speaker=codec.speakers[0])}
    for key, use in (reads | of_audio | writes).items():
        if name == LONGEST and key not in ("load", "corpus", "save", "save_pretrained"):
            continue
        with pytest.raises(SpeechVQError, match=r"^[^\n]{1,300}: File name too long$"):
            use(name)
    with pytest.raises(SpeechVQError, match=r"File name too long$"):
        write(f"{name}.wav", torch.zeros(3))
    assert not [*tmp_path.iterdir()]


def test_what_is_no_file_of_audio_or_codes_is_named(codec, tmp_path):
    (tmp_path / "file").write_text("")
    reads, _ = uses_of_a_path(codec)
    for path, reason in ((tmp_path, "is a folder, not a file"), (tmp_path / "file/x", "no such file")):
        for name in ("encode_file", "read", "codes"):
            with pytest.raises(SpeechVQError, match=f"{path.name}: {reason}$"):
                reads[name](path)


def test_a_model_is_saved_where_a_folder_can_be(codec, tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "link").symlink_to("absent")
    (tmp_path / "circle").symlink_to("circle")
    (tmp_path / "model/config.json").mkdir(parents=True)
    _, writes = uses_of_a_path(codec)
    for name, reason in (
        ("file", "is a file, where a folder is to be written"),
        ("file/below", "is a file, where a folder is to be written"),
        ("link", "is a link to nothing"),
        ("link/below", "is a link to nothing"),
        ("circle", "symbolic links"),
        ("model", "is a folder, where a file is to be written"),
    ):
        for use in (writes["save"], writes["save_pretrained"]):
            with pytest.raises(SpeechVQError, match=f": .*{reason}"):
                use(tmp_path / name)
    assert not [*(tmp_path / "model/config.json").iterdir()]
    deep = Path(f"{tmp_path}/" + "d/" * ((3000 - len(str(tmp_path))) // 2))  # more levels than Python has calls
    codec.save(deep)
    assert Codec.load(deep).fingerprint == codec.fingerprint
    for path in deep.iterdir():
        path.unlink()
    for folder in (deep, *deep.parents):  # pytest could not remove them all
        if folder == tmp_path:
            break
        folder.rmdir()


@pytest.mark.parametrize("values", [3, None, "a.wav", b"x", {}])
def test_several_are_a_list(codec, values):
    for use in (
        lambda: codec.encode_many(values, 16_000),
        lambda: codec.convert_many(values, 16_000, codec.speakers[0]),
        lambda: codec.decode_many(values, [codec.speakers[0]], Sampling()),
        lambda: codec.layers(np.zeros(4000), 16_000, values),
    ):
        with pytest.raises(SpeechVQError, match=f"are given as a list, not as {type(values).__name__}"):
            use()


def test_wavs_of_an_iterator(codec):
    wavs = [np.sin(np.arange(4000) * f) for f in (0.1, 0.2)]
    for one, other in zip(codec.encode_many(iter(wavs), 16_000), codec.encode_many(wavs, 16_000), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("value", ["", None, {}, np.zeros(3), "3"])
def test_a_penalty_and_a_pitch_that_are_no_numbers(codec, value):
    wav = np.zeros(4000)
    for name, use in (("penalty", codec.encode), ("semitones", partial(codec.convert, speaker=codec.speakers[0]))):
        with pytest.raises(SpeechVQError, match=f"^{name} is a number"):
            use(wav, 16_000, **{name: value})


@pytest.mark.parametrize("latents", [3, None, np.zeros(3), np.zeros((1, 3)), np.zeros((0, 0))])
def test_what_are_no_latents(codec, latents):
    with pytest.raises(SpeechVQError, match="latents have the shape"):
        codec.quantize(latents)
    z = codec.latents(np.sin(np.arange(8000) / 5), 16_000)
    assert torch.equal(codec.quantize(z.numpy()), codec.quantize(z))


def test_defaults_of_torch_that_would_give_other_bits_are_refused(codec, tmp_path):
    soundfile.write(tmp_path / "a.wav", np.zeros(4000), 16_000)
    speaker, stream = codec.speakers[0], codec.code_stream()
    uses = {
        "load": lambda: Codec.load(packaged()[0]),
        "encode": lambda: codec.encode(np.zeros(4000), 16_000),
        "encode_file": lambda: codec.encode_file(tmp_path / "a.wav"),
        "decode": lambda: codec.decode([1, 2], speaker),
        "stream": lambda: [*codec.stream([1, 2], speaker)],
        "push": lambda: stream.push(np.zeros(4000)),
    }
    torch.set_default_dtype(torch.float64)
    try:
        for use in uses.values():
            with pytest.raises(SpeechVQError, match=r"default dtype float32, not torch\.float64"):
                use()
    finally:
        torch.set_default_dtype(torch.float32)
    for use in uses.values():
        with torch.device("meta"), pytest.raises(SpeechVQError, match="default device is meta"):
            use()
        use()


def test_errors_of_numpy_that_the_caller_has_raised():
    with np.errstate(all="raise"):
        assert as_samples(np.full(3, 1e-45)).tolist() == [pytest.approx(1.4e-45, rel=0.1)] * 3
        assert as_samples(np.full(3, 1e300)).isinf().all()


def test_codes_that_could_not_be_read_again_are_not_written(codec, tmp_path):
    files, path, alphabet = CodeFiles(codec), tmp_path / "a.svq", codec.alphabet
    for name in ("x", 3, ""):
        with pytest.raises(SpeechVQError, match="a coder is one of fixed, static, prior"):
            files.coder(name)
    hop, other = codec.hop_length, replace(alphabet, model="0" * 16)
    for codes, samples, whose, reason in (
        ([1, alphabet.codes], 2 * hop, alphabet, "codes are between 0 and"),
        ([], 0, alphabet, "at least one integer"),
        ([1, 2, 3], 5, alphabet, "3 codes are not those of 5 samples"),
        ([1, 2], -5, alphabet, "the number of samples"),
        ([1, 2], 2 * hop, other, "codes of model 00000000, not of this one"),
    ):
        with pytest.raises(SpeechVQError, match=reason):
            files.write(path, Encoded(torch.tensor(codes, dtype=torch.int64), samples, whose), files.coder())
    assert not path.exists()
    files.write(path, Encoded(np.array([1, 2]), 2 * hop - 1, alphabet), files.coder())
    files.write(path, files.read(path), files.coder("fixed"))
    assert files.read(path).codes.tolist() == [1, 2]
    with pytest.raises(SpeechVQError, match="latents are finite"):
        codec.quantize(torch.full((len(codec.vectors([0])), 3), float("nan")), 1.0)

"""Files of codes: lossless at any length, and damage never goes unnoticed."""

import os
import struct
import subprocess
import sys
import tracemalloc
from pathlib import Path
from zlib import crc32

import numpy as np
import pytest
import torch
from test_prior import make

from speechvq import SpeechVQError
from speechvq.codec import Encoded
from speechvq.coding.bitstream import pack, unpack
from speechvq.coding.coders import Coder, Fixed, Static, UnderPrior
from speechvq.coding.header import CHUNK_CODES, CODER_TAGS, Header, read_header, read_varint, write_varint
from speechvq.coding.trained_prior import TrainedPrior
from speechvq.folder.card import Alphabet
from speechvq.folder.histogram import load_histogram, save_histogram

ALPHABET = Alphabet("0123456789abcdef", 12, 640)
GOLDEN = Path(__file__).parent / "golden"
COUNTS = np.array([0, 1, 5, 1000, 20, 3, 0, 40, 77, 2, 9, 100])


@pytest.fixture(scope="module")
def coders() -> dict[str, Coder]:
    return {"fixed": Fixed(12), "static": Static(COUNTS), "prior": UnderPrior(make(seed=7), b"\1\2\3\4")}


def encoded(
    codes: np.ndarray, samples: int | None = None, speaker: str = "p225", alphabet: Alphabet = ALPHABET
) -> Encoded:
    samples = len(codes) * alphabet.hop_length if samples is None else samples
    return Encoded(torch.from_numpy(codes), samples, alphabet, speaker)


def some(random: np.random.Generator, length: int) -> np.ndarray:
    return random.choice(12, length, p=(COUNTS + 10) / (COUNTS + 10).sum())


@pytest.mark.parametrize("name", CODER_TAGS)
def test_500_files_are_read_as_they_were_written(coders, name):
    """Up to 60 s at 25 Hz; a few with several chunks."""
    random = np.random.default_rng(1)
    lengths = [*random.integers(0, 80, 460), *random.integers(80, 1500, 33), 0, 2, 1023, 1024, 1025, 2048, 3000]
    for length in lengths:
        codes, samples = some(random, length), max(640 * length - int(random.integers(640)), 0)
        item = encoded(codes, samples, random.choice(["", "p225", "Zoë"]))
        assert_same(unpack(pack(item, coders[name]), lambda _: coders[name]), item)


def assert_same(one: Encoded, other: Encoded) -> None:
    assert torch.equal(one.codes, other.codes)
    assert one.codes.dtype == torch.int64
    assert (one.samples, one.speaker, one.lost) == (other.samples, other.speaker, ())
    assert one.alphabet == Alphabet(other.alphabet.model[:8], other.alphabet.codes, other.alphabet.hop_length)


@pytest.mark.parametrize("size", [2, 3, 128, 129, 512, 65_536])
def test_fixed_takes_the_logarithm_rounded_up(size):
    coder, random = Fixed(size), np.random.default_rng(size)
    for length in (1, 7, 8, 100):
        codes = random.integers(0, size, length)
        [chunk] = coder.encode([codes])
        assert len(chunk) == -(-length * int(np.ceil(np.log2(size))) // 8)
        bits = "".join(np.binary_repr(code, coder.width) for code in codes)
        assert np.unpackbits(np.frombuffer(chunk, np.uint8))[: len(bits)].tolist() == [int(bit) for bit in bits]
        assert np.array_equal(coder.decode([chunk], [length])[0], codes)


def test_entropy_coders_reach_the_entropy(coders):
    random = np.random.default_rng(3)
    codes = some(random, 1000)
    share = (2.0 * COUNTS + 1) / (2.0 * COUNTS + 1).sum()
    ideal = -np.log2(share[codes]).sum() / 8
    [chunk] = coders["static"].encode([codes])
    assert ideal - 1 < len(chunk) < ideal + 6
    integer = coders["prior"].prior
    weights = integer.step(np.append(12, codes[:-1])[None], integer.start(1))[0]
    ideal = -np.log2(weights[np.arange(1000), codes] / weights.sum(1)).sum() / 8
    [chunk] = coders["prior"].encode([codes])
    assert ideal - 1 < len(chunk) < ideal + 6


def test_codes_that_training_never_saw_are_coded(coders):
    codes = np.array([0, 6, 0, 6, 6])
    assert COUNTS[codes].sum() == 0
    assert np.array_equal(coders["static"].decode(coders["static"].encode([codes]), [5])[0], codes)


def test_chunks_are_coded_independently(coders):
    random = np.random.default_rng(4)
    chunks = [some(random, length) for length in (1024, 3, 500, 1024, 77)]
    for coder in coders.values():
        written = coder.encode(chunks)
        assert written == [coder.encode([chunk])[0] for chunk in chunks]
        alone = [coder.decode([data], [len(chunk)])[0] for data, chunk in zip(written, chunks, strict=True)]
        for one, other in zip(alone, coder.decode(written, [len(chunk) for chunk in chunks]), strict=True):
            assert np.array_equal(one, other)


def test_the_header_is_as_documented(coders):
    data = pack(encoded(some(np.random.default_rng(5), 1100), 703_999), coders["static"])
    assert data[:5] == b"svq\x01\x01"
    assert data[5:9].hex() == "01234567"
    assert data[9:13] == coders["static"].tag
    assert data[13:22] == bytes([0x80, 0x7D, 0x80, 0x05, 12, 0xFF, 0xFB, 0x2A, 4])  # 16000, 640, 12, 703999, 4
    assert data[22:26] == b"p225"
    header = read_header(data)
    assert header.lengths == [1024, 76]
    first, second = (length for length, _ in header.chunks)
    body = data[header.size :]
    assert len(body) == first + second
    assert [crc for _, crc in header.chunks] == [crc32(body[:first]), crc32(body[first:])]
    assert struct.unpack("<I", data[header.size - 4 : header.size]) == (crc32(data[: header.size - 4]),)
    about = header.describe()
    assert (about["codes"], about["seconds"], about["bytes"]) == (1100, 703_999 / 16_000, len(data))
    assert about["bit_per_s"] == pytest.approx(8 * len(data) / (703_999 / 16_000))


@pytest.mark.parametrize("number", [0, 1, 127, 128, 16_000, 2**40, 2**62])
def test_varints(number):
    assert read_varint(b"x" + write_varint(number) + b"y", 1) == (number, 1 + len(write_varint(number)))


# --- damage


def judged(data: bytes, coder: Coder, true: Encoded) -> str:
    """The outcome of reading: an error, or codes that are right wherever they are not listed as lost."""
    try:
        found = unpack(data, lambda header: coder if header.coder == coder.name else pytest.fail("another coder"))
    except SpeechVQError:
        return "error"
    assert found.samples == true.samples
    right = found.codes == true.codes
    for begin, end in found.lost:
        right[begin:end] = True
    assert right.all()
    return "lost" if found.lost else "whole"


@pytest.mark.parametrize("name", CODER_TAGS)
def test_damage_is_noticed(coders, name):
    """Over 3000 cases for each coder: a byte changed, the end cut off, garbage behind it, parts of it swapped."""
    random = np.random.default_rng(6)
    item = encoded(some(random, 2100 if name == "fixed" else 1060))
    data = pack(item, coders[name])
    header = read_header(data)
    assert judged(data, coders[name], item) == "whole"
    for offset in random.permutation(len(data))[: 700 if name == "prior" else None]:
        changed = bytearray(data)
        changed[offset] ^= int(random.integers(1, 256))
        assert judged(bytes(changed), coders[name], item) == ("error" if offset < header.size else "lost")
    for _ in range(400 if name == "prior" else 1200):
        end = int(random.integers(len(data)))
        assert judged(data[:end], coders[name], item) == ("error" if end < header.size else "lost")
    for _ in range(1000):
        garbage = random.bytes(int(random.integers(1, 100)))
        assert judged(data + garbage, coders[name], item) == "error"
    for _ in range(900):
        changed = bytearray(data)
        begin, end = sorted(random.integers(len(data), size=2))
        changed[begin : end + 1] = random.bytes(int(random.integers(0, 40)))
        if bytes(changed) != data:
            assert judged(bytes(changed), coders[name], item) in ("error", "lost")


def test_one_damaged_chunk_costs_that_chunk(coders):
    item = encoded(some(np.random.default_rng(8), 4000))
    for coder in coders.values():
        data = bytearray(pack(item, coder))
        header = read_header(bytes(data))
        data[header.size + header.chunks[0][0] + header.chunks[1][0] // 2] ^= 1
        found = unpack(bytes(data), lambda _: coder)  # noqa: B023
        assert found.lost == ((1024, 2048),)
        assert torch.equal(found.codes[:1024], item.codes[:1024])
        assert torch.equal(found.codes[2048:], item.codes[2048:])
        assert not found.codes[1024:2048].any()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "not a file of codes"),
        (b"RIFF....WAVE", "not a file of codes"),
        (b"svq", "version ?"),
        (b"svq\x02" + bytes(40), "version 2; this speechvq reads 1"),
        (b"svq\x01" + bytes(3), "damaged or cut off"),
        (b"svq\x01\x09" + bytes(40), "damaged or cut off"),
    ],
)
def test_other_files_are_refused(data, message):
    with pytest.raises(SpeechVQError, match=message.replace("?", r"\?")):
        read_header(data)


def wrong(samples: int, hop: int, lengths: list[tuple[int, int]], coder: int = 0) -> bytes:
    """A file whose header has a valid checksum and wrong contents."""
    head = b"svq\x01" + bytes([coder, 1, 2, 3, 4]) + bytes(0 if coder == 0 else 4)
    for number in (16_000, hop, 12, samples, 0):
        head += write_varint(number)
    head += b"".join(write_varint(length) + struct.pack("<I", crc) for length, crc in lengths)
    return head + struct.pack("<I", crc32(head))


@pytest.mark.parametrize("name", CODER_TAGS)
def test_a_wrong_header_costs_no_memory(coders, name):
    coder = coders[name]
    files = [
        wrong(2**40, 1, [], [*CODER_TAGS].index(name)),
        wrong(2**62, 1, [], [*CODER_TAGS].index(name)),
        wrong(640 * CHUNK_CODES * 300, 640, [(0, 0)] * 300, [*CODER_TAGS].index(name)),
        wrong(640 * 10, 640, [(2**40, 0)], [*CODER_TAGS].index(name)),
        wrong(640 * CHUNK_CODES, 640, [(5, crc32(b"\xff" * 5))], [*CODER_TAGS].index(name)) + b"\xff" * 5,
        wrong(640, 0, [(0, 0)], [*CODER_TAGS].index(name)),
    ]
    tracemalloc.start()
    for data in files[: None if name != "prior" else 2]:
        try:
            found = unpack(data, lambda _: coder)
        except SpeechVQError:
            continue
        assert len(found.codes) == sum(read_header(data).lengths)
    assert tracemalloc.get_traced_memory()[1] < 50e6
    tracemalloc.stop()


# --- compatibility


def golden_codes() -> np.ndarray:
    return np.random.default_rng(11).choice(12, 1300, p=(COUNTS + 50) / (COUNTS + 50).sum())


def golden_coder(header: Header) -> Coder:
    if header.coder == "prior":
        prior = TrainedPrior.load(GOLDEN / "prior")
        return UnderPrior(prior.net, prior.tag)
    return Fixed(12) if header.coder == "fixed" else Static(COUNTS)


@pytest.mark.parametrize("name", CODER_TAGS)
def test_golden_files_stay_readable(name):
    data = (GOLDEN / f"{name}.svq").read_bytes()
    header = read_header(data)
    coder = golden_coder(header)
    assert (header.coder, header.tag) == (name, coder.tag)
    found = unpack(data, golden_coder)
    assert found.codes.tolist() == golden_codes().tolist()
    assert (found.samples, found.speaker, found.lost) == (1300 * 640 - 5, "p225", ())
    assert pack(encoded(golden_codes(), 1300 * 640 - 5), coder) == data


def test_golden_files_in_a_new_process_with_other_arithmetic():
    code = (
        "import sys; sys.path.insert(0, 'tests')\nimport torch; torch.set_num_threads(2)\n"
        "from test_bitstream import *\ntest_golden_files_stay_readable('prior'); print('same')"
    )
    limits = {"OPENBLAS_NUM_THREADS": "2", "OMP_NUM_THREADS": "2", "OPENBLAS_CORETYPE": "Prescott"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={**os.environ, **limits},
        cwd=GOLDEN.parents[1],
    )
    assert done.stdout == "same\n", done.stderr


def test_histograms(tmp_path):
    assert load_histogram(tmp_path, 12) is None
    save_histogram(tmp_path, COUNTS)
    assert np.array_equal(load_histogram(tmp_path, 12), COUNTS)
    for text in (
        "",
        "{}",
        '{"counts": [1, 2]}',
        '{"counts": [-1' + ", 2" * 11 + "]}",
        '{"counts": [0.5' + ", 2" * 11 + "]}",
    ):
        (tmp_path / "histogram.json").write_text(text)
        with pytest.raises(SpeechVQError, match=r"histogram\.json: (not the counts of 12 codes|not JSON|'counts)"):
            load_histogram(tmp_path, 12)


def test_a_speaker_that_no_file_of_codes_can_name(coders):
    codes = np.array([3, 0, 7])
    for name, reason in (
        ("x" * 256, "at most 255 bytes"),
        ("\u00fc" * 128, "at most 255"),
        ("\udce9", r"not UTF-8: '\\u"),
    ):
        with pytest.raises(SpeechVQError, match=reason):
            pack(encoded(codes, speaker=name), coders["fixed"])
    name = "\u00fc" * 127 + "\n"
    assert unpack(pack(encoded(codes, speaker=name), coders["fixed"]), lambda header: coders["fixed"]).speaker == name

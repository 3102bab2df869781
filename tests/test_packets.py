"""Codes as packets: what arrives is exact, what is lost is lost alone, in files and while they arrive."""

import io
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from test_streaming import SPEECH, fresh

from speechvq import SpeechVQError
from speechvq.cli import main
from speechvq.codec import Codec
from speechvq.coding.code_files import CodeFiles
from speechvq.coding.coders import Fixed, Static
from speechvq.coding.packets.decoding import CodeReader
from speechvq.coding.packets.framing import PacketReader, PacketWriter, Payload, StreamHeader, describe_packets
from speechvq.coding.packets.live import PacketDecoder, PacketEncoder
from speechvq.coding.packets.recorded import unpack_packets
from speechvq.folder.card import Alphabet

K, HOP = 100, 640
ALPHABET = Alphabet("0123abcd", K, HOP)
FIXED = StreamHeader("fixed", ALPHABET, b"", 16_000, "ann")
CODES = np.random.default_rng(0).integers(K, size=400)


def packets(codes: np.ndarray = CODES, count: int = 12) -> list[bytes]:
    """The packets of codes under the fixed coder, and the end, 100 samples before that of the last code."""
    writer = PacketWriter(FIXED, Fixed(K))
    rows = [writer.packets(codes[i : i + count]) for i in range(0, len(codes), count)]
    return [*(packet for row in rows for packet in row), writer.end(len(codes) * HOP - 100)]


def choose(header: StreamHeader) -> Fixed:
    assert header == FIXED
    return Fixed(K)


@given(st.integers(1, 40), st.integers(1, 300))
def test_any_packets_are_read_from_bytes_in_any_pieces(count, length):
    data, reader = b"".join(packets(count=count)), CodeReader(choose)
    found = [item for i in range(0, len(data), length) for item in reader.push(data[i : i + length])]
    assert np.array_equal(np.concatenate([item.codes for item in found[:-1]]), CODES)
    assert found[-1].samples == 400 * HOP - 100
    assert not [*reader.flush()]


@given(st.sets(st.integers(1, 30)), st.binary(max_size=30))
def test_what_is_lost_is_lost_alone(lost, noise):
    """Packets that are dropped, with other bytes where they were: of 33 packets of 12 codes and a header."""
    parts = packets()
    ranges, position = [], 0
    for i, packet in enumerate(parts[:-1]):
        size = packet[3] if packet[0] == 0xC5 else 0
        if i in lost and size:
            ranges.append((position, position + size))
            parts[i] = noise
        position += size
    encoded = unpack_packets(b"".join(parts), choose)
    assert encoded.samples == 400 * HOP - 100
    assert encoded.speaker == "ann"
    expected = np.array([code if not any(a <= n < b for a, b in ranges) else 0 for n, code in enumerate(CODES)])
    assert np.array_equal(encoded.codes.numpy(), expected)
    assert {n for a, b in encoded.lost for n in range(a, b)} == {n for a, b in ranges for n in range(a, b)}


def test_damage_anywhere_in_a_packet_costs_that_packet():
    parts = packets()
    for offset in range(len(parts[5])):
        damaged = bytearray(parts[5])
        damaged[offset] ^= 0x41
        encoded = unpack_packets(b"".join([*parts[:5], bytes(damaged), *parts[6:]]), choose)
        assert encoded.lost == ((48, 60),), offset


def test_late_and_repeated_packets_are_left_out():
    parts = packets()
    encoded = unpack_packets(b"".join([*parts[:6], parts[3], parts[5], *parts[7:9], parts[6], *parts[9:]]), choose)
    assert encoded.lost == ((60, 72),)


def test_a_receiver_may_join_at_the_next_header():
    parts = packets(np.tile(CODES, 2))
    headers = [i for i, packet in enumerate(parts) if packet.startswith(b"svq\x02")]
    assert len(headers) == 7  # every 5 s of 32
    encoded = unpack_packets(b"".join(parts[headers[2] - 3 :]), choose)
    assert not encoded.lost
    assert np.array_equal(encoded.codes.numpy(), np.tile(CODES, 2)[264:])
    assert encoded.samples == (800 - 264) * HOP - 100
    with pytest.raises(SpeechVQError, match="header is damaged"):
        unpack_packets(b"".join(parts[1:3]), choose)


def test_positions_begin_again_without_loss():
    """After 2^16 codes."""
    codes = np.random.default_rng(1).integers(K, size=2**16 + 500)
    assert np.array_equal(unpack_packets(b"".join(packets(codes, 100)), choose).codes.numpy(), codes)


def test_codes_that_are_too_many_for_a_packet_become_several():
    for coder in (Fixed(2**16), Static(np.zeros(2**16, np.int64))):
        header = StreamHeader(coder.name, Alphabet("0123abcd", 2**16, HOP), coder.tag, 16_000, "")
        writer, codes = PacketWriter(header, coder), np.random.default_rng(0).integers(2**16, size=600)
        data = b"".join(writer.packets(codes))
        encoded = unpack_packets(data, lambda _, coder=coder: coder)
        assert np.array_equal(encoded.codes.numpy(), codes)


def test_what_cannot_be_is_refused():
    with pytest.raises(SpeechVQError, match="at most 200 bytes"):
        StreamHeader("fixed", ALPHABET, b"", 16_000, "x" * 201).packet(0)
    with pytest.raises(SpeechVQError, match="not UTF-8"):
        StreamHeader("fixed", ALPHABET, b"", 16_000, "\udce9").packet(0)
    other = StreamHeader("fixed", Alphabet("ffffffff", K, HOP), b"", 16_000, "ann")
    with pytest.raises(SpeechVQError, match="another stream"):
        [*PacketReader().push(FIXED.packet(0) + other.packet(0))]
    writer = PacketWriter(FIXED, Fixed(K))
    with pytest.raises(SpeechVQError, match="damaged"):
        unpack_packets(b"".join(writer.packets(CODES[:3])) + writer.end(2**47), choose)


def test_a_few_bytes_do_not_become_hours():
    """A position that is far ahead: as many codes as any link may have lost, besides a pause, and no more."""

    def forged(gaps: int) -> bytes:
        parts, writer = [FIXED.packet(0)], PacketWriter(FIXED, Fixed(K))
        for _ in range(gaps):
            writer.position += 32_000
            parts.append(writer.packets(CODES[:1])[-1])
        return b"".join(parts)

    assert len(unpack_packets(forged(2), choose).codes) == 64_002
    with pytest.raises(SpeechVQError, match=r"^3200100 codes in \d+ bytes: damaged"):
        unpack_packets(forged(100), choose)


def test_noise_of_any_length_is_passed_over():
    """A million bytes, each of which may begin a packet, and a packet."""
    data = FIXED.packet(0) + b"\xc5" * 10**6 + packets()[1]
    assert np.array_equal(unpack_packets(data, choose).codes, CODES[:12])


@given(st.binary(max_size=400))
def test_any_bytes_are_read(data):
    for item in (reader := PacketReader()).push(data + b"svq\x02"):
        assert isinstance(item, Payload)
    [*reader.flush()]


@pytest.mark.parametrize(("count", "bits"), [(12, 410), (50, 325)])
def test_the_overhead_is_small(count, bits):
    """25 codes a second of 10 bits, in packets of half a second and of two, with all headers."""
    header = StreamHeader("fixed", Alphabet("0123abcd", 1024, HOP), b"", 16_000, "p225")
    writer = PacketWriter(header, Fixed(1024))
    data = b"".join(b"".join(writer.packets(np.zeros(count, np.int64))) for _ in range(600 // count))  # 24 s
    assert 8 * len(data) / 24 < bits
    description = describe_packets(data)
    assert (description["codes"], description["lost_codes"], description["packets"]) == (600, 0, 600 // count)
    assert description["bit_per_s"] == pytest.approx(8 * len(data) / 24)


@pytest.fixture(scope="module")
def codec() -> Codec:
    return fresh("causal")


def spoken(codec: Codec, data: bytes, length: int) -> torch.Tensor:
    files = CodeFiles(codec)
    decoder = PacketDecoder(files.coder_of, lambda header: codec.speech_stream(header.speaker))
    parts = [decoder.push(data[i : i + length]) for i in range(0, len(data), length)]
    return torch.cat([*parts, decoder.flush()])


def live(codec: Codec) -> list[bytes]:
    """The packets of SPEECH, 5 codes each."""
    coder = CodeFiles(codec).coder("fixed")
    header = StreamHeader("fixed", codec.alphabet, b"", 16_000, "b")
    encoder = PacketEncoder(codec.code_stream(gain=1.0), PacketWriter(header, coder), 5)
    return [*(packet for piece in SPEECH.split(700) for packet in encoder.push(piece)), *encoder.flush()]


def test_packets_of_live_speech_are_decoded_as_they_arrive(codec):
    parts = live(codec)
    whole = codec.convert(SPEECH, 16_000, "b", gain=1.0)
    for length in (1, 50, 10_000):
        assert torch.equal(spoken(codec, b"".join(parts), length), whole)


@pytest.mark.parametrize("lost", [{2}, {3, 4}, {5}])
def test_the_speech_of_lost_packets_is_silent_and_the_rest_is_in_time(codec, lost):
    parts = live(codec)
    kept = [packet for i, packet in enumerate(parts) if i not in lost]
    assert len(parts) == 8  # header, 6 of codes, end
    wav, whole = spoken(codec, b"".join(kept), 64), codec.convert(SPEECH, 16_000, "b", gain=1.0)
    assert len(wav) == len(whole)
    silent = torch.zeros(len(wav), dtype=torch.bool)
    for i in lost:
        silent[(i - 1) * 5 * HOP : i * 5 * HOP] = True
    assert not wav[silent].any()
    assert wav[~silent].square().mean() > 0.1 * whole[~silent].square().mean()


def test_a_long_gap_is_ten_seconds_of_silence(codec):
    header, coder = StreamHeader("fixed", codec.alphabet, b"", 16_000, "b"), Fixed(32)
    writer = PacketWriter(header, coder)
    first = b"".join(writer.packets(np.arange(20) % 32))
    writer.position += 32_000
    data = first + b"".join(writer.packets(np.arange(20) % 32)) + writer.end((writer.position + 32_000) * HOP)
    wav = spoken(codec, data, 50)
    assert len(wav) == 40 * HOP + 2 * 160_000
    assert wav[: 20 * HOP].any()
    assert not wav[20 * HOP : 20 * HOP + 160_000].any()
    assert wav[20 * HOP + 160_000 : 40 * HOP + 160_000].any()
    assert not wav[40 * HOP + 160_000 :].any()


class Pipe(io.BytesIO):
    """stdin or stdout with a buffer of bytes."""

    @property
    def buffer(self) -> "Pipe":
        return self


def piped(arguments: list[str], data: bytes, monkeypatch) -> bytes:
    out = Pipe()
    monkeypatch.setattr(sys, "stdin", Pipe(data))
    monkeypatch.setattr(sys, "stdout", out)
    assert main([*arguments, "-", "-", "--raw"]) == 0
    return out.getvalue()


def test_the_commands_in_a_pipe(codec, tmp_path, monkeypatch, capfd):
    folder = tmp_path / "model"
    folder.mkdir()
    codec.save(folder)
    model = ["--model", str(folder)]
    samples = (SPEECH * 32768).round().clamp(-32768, 32767)
    raw = samples.numpy().astype("<i2").tobytes()
    converted = piped(["convert", *model, "--speaker", "b", "--gain", "-6"], raw + b"\0", monkeypatch)
    wav = codec.convert(samples / 32768, 16_000, "b", gain=10 ** (-6 / 20))
    assert np.array_equal(np.frombuffer(converted, "<i2"), (wav * 32768).round().clamp(-32768, 32767).numpy())

    coded = piped(["encode", *model, "--gain", "-6", "--packet", "0.2", "--speaker", "b"], raw, monkeypatch)
    assert piped(["decode", *model], coded, monkeypatch) == converted
    assert len(piped(["decode", *model, "--speaker", "a", "--lookahead", "1"], coded, monkeypatch)) == len(converted)
    monkeypatch.undo()

    path = tmp_path / "radio.svq"  # also a file, with a packet lost
    first = coded.index(b"\xc5")
    path.write_bytes(coded[:first] + coded[first + 7 + coded[first + 4] :])
    assert main(["decode", *model, str(path), str(tmp_path / "out.wav")]) == 0
    capfd.readouterr()
    assert main(["info", "--json", str(path)]) == 0
    description = json.loads(capfd.readouterr().out)
    assert description["lost_codes"] == 5
    assert description["seconds"] == pytest.approx(len(SPEECH) / 16_000, abs=0.04)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["convert", "in.wav", "-", "--speaker", "p225"], "IN and OUT are -"),
        (["encode", "-", "-", "--penalty", "1"], "no --penalty"),
        (["decode", "-", "-", "--speaker", "nobody"], "unknown speaker"),
    ],
)
def test_what_a_pipe_cannot_do(arguments, reason, capsys):
    assert main([*arguments, "--raw"]) == 2
    assert reason in capsys.readouterr().err


def test_a_stream_is_described_without_torch(tmp_path):
    path = tmp_path / "x.svq"
    path.write_bytes(b"".join(packets()))
    code = f"import sys; from speechvq.cli import main; assert main(['info', {str(path)!r}]) == 0; "
    subprocess.run([sys.executable, "-c", code + "assert 'torch' not in sys.modules"], check=True, cwd=Path.cwd())

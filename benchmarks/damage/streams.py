"""Streams: packets of codes and raw samples, their damage, and the commands that read them from stdin."""

import contextlib
import io
import random
import sys
from binascii import crc_hqx
from pathlib import Path

import numpy as np
import torch

from damage.mutations import in_bytes
from speechvq.audio import SAMPLE_RATE
from speechvq.cli import main
from speechvq.codec import Codec
from speechvq.coding.code_files import CodeFiles
from speechvq.coding.packets.framing import CODES_MARK, END_MARK, HEADER_MARK, PacketWriter, StreamHeader
from speechvq.config import CodecRun
from speechvq.config.parsing import parse
from speechvq.folder.card import Card
from speechvq.nn.vqvae import build

MODEL = {
    "encoder": {"kind": "causal", "strides": [2, 2], "channels": 8, "pointwise": 1, "dilations": [1], "outputs": [1]},
    "bottleneck": {"kind": "ema", "codes": 32, "dim": 8},
    "decoder": {"kind": "source_filter", "conditioner": {"upsample": 4, "channels": 8, "blocks": 1, "speaker_dim": 4}},
}
CODES_IN_PACKET = 5


class Pipe(io.BytesIO):
    """stdin or stdout of bytes."""

    @property
    def buffer(self) -> "Pipe":
        return self


def write_streams(folder: Path, codec: Codec, prior: Path, wav: np.ndarray) -> None:
    """Write packets of a codec's codes, a model that decodes in streams with packets of its own, and raw samples."""
    files, codes = CodeFiles(codec, prior), codec.encode(wav, SAMPLE_RATE).numpy()
    (folder / "packets").mkdir()
    for name in ("fixed", "static", "prior"):
        (folder / "packets" / f"{name}.svq").write_bytes(_packets(files, name, np.tile(codes, 8)))
    torch.manual_seed(0)
    config = parse(CodecRun, {"model": MODEL})
    net = build(config.model, 2)
    with torch.inference_mode():
        latents = net.eval().latents(torch.from_numpy(wav)[None])[0].T
        net.bottleneck.initialize(latents.repeat(9, 1)[:32] + latents.std() * torch.randn(32, 8))
    streaming = Codec(net, Card(config, ("low", "mid"), high_pass=80.0), {}, torch.device("cpu"))
    (folder / "streaming").mkdir()
    streaming.save(folder / "streaming")
    (folder / "streams").mkdir()
    codes = np.random.default_rng(0).integers(32, size=40)
    (folder / "streams" / "live.svq").write_bytes(_packets(CodeFiles(streaming), "fixed", codes))
    (folder / "streams" / "live.f32").write_bytes(np.tile(wav, 2).astype("<f4").tobytes())
    samples = np.tile((wav * 32767).astype("<i2"), 4)
    for rate in (8_000, 16_000, 44_100):
        (folder / "streams" / f"{rate}.raw").write_bytes(samples.tobytes())


def _packets(files: CodeFiles, name: str, codes: np.ndarray) -> bytes:
    coder, alphabet = files.coder(name), files.codec.alphabet
    writer = PacketWriter(StreamHeader(name, alphabet, coder.tag, SAMPLE_RATE, "low"), coder)
    parts = [writer.packets(codes[i : i + CODES_IN_PACKET]) for i in range(0, len(codes), CODES_IN_PACKET)]
    return b"".join(packet for part in parts for packet in part) + writer.end(len(codes) * alphabet.hop_length)


def in_packets(rng: random.Random, data: bytes) -> bytes:
    """Changes of a stream of packets: of its bytes, of the order of packets, or of one whose checksum is then valid."""
    kind = rng.randrange(3)
    if kind == 0:
        return in_bytes(rng, data)
    whole = _split(data)
    packets = list(whole)
    for _ in range(rng.choice((1, 1, 2, 20))):
        at = rng.randrange(len(packets))
        other = rng.randrange(len(packets))
        if kind == 1:
            changes = (b"", in_bytes(rng, whole[at]), whole[at] * 300, whole[other], rng.randbytes(5000))
            packets[at] = rng.choice(changes)
        else:
            body = bytearray(whole[at][:-2])
            for _ in range(rng.choice((1, 2, 4))):
                body[rng.randrange(len(body))] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))
            packets[at] = bytes(body) + crc_hqx(bytes(body), 0xFFFF).to_bytes(2, "big")
    return b"".join(packets)


def _split(data: bytes) -> list[bytes]:
    """The packets of an undamaged stream."""
    packets = []
    while data:
        assert data.startswith((HEADER_MARK, bytes([CODES_MARK]), bytes([END_MARK])))
        size = 9 if data[0] == END_MARK else 7 + data[4]
        packets.append(data[:size])
        data = data[size:]
    return packets


def decode_raw(folder: Path, path: Path) -> int:
    """The speech of a stream of packets."""
    return _piped(["decode", "--model", str(folder / "streaming"), "--speaker", "mid"], path.read_bytes())[0]


def encode_raw(folder: Path, path: Path) -> int:
    """The packets of a stream of samples, their speech, and the conversion of the stream."""
    options, samples = ["--model", str(folder / "streaming"), "--speaker", "low"], path.read_bytes()
    code, packets = _piped(["encode", *options, "--rate", path.stem, "--packet", "0.1"], samples)
    rest = code or _piped(["decode", *options], packets)[0]
    return rest or _piped(["convert", *options, "--rate", path.stem], samples)[0]


def _piped(arguments: list[str], data: bytes) -> tuple[int, bytes]:
    """The exit code of a command with --raw, and what it writes on stdout."""
    before, out = sys.stdin, Pipe()
    sys.stdin = Pipe(data)  # type: ignore[assignment]
    try:
        with contextlib.redirect_stdout(out):  # type: ignore[type-var]
            code = main([*arguments, "-", "-", "--raw"])
    finally:
        sys.stdin = before
    return code, out.getvalue()

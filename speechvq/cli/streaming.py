"""encode, decode and convert in a pipe: samples and packets as they arrive."""

import argparse
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from speechvq import SpeechVQError
from speechvq.audio import SAMPLE_RATE
from speechvq.cli.arguments import count, decibels, load_codec, natural, positive
from speechvq.files import only_run, temporary_folder

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

STREAM = Path("-")  # stdin or stdout
PACKET_SECONDS = 0.48
OF_RAW = ("rate", "gain", "packet", "lookahead")  # options of streams alone
READ_BYTES = 2**16  # at most, of samples that have arrived
READ_STDIN_BYTES = 2**20  # at once, of what is copied
READ_PACKET_BYTES = 2**10  # of packets, which may stand for much speech
# Options that need the whole of a file, or write another one, and what they are if they are not given.
OF_WHOLE_FILES = {
    **{"keep_pitch": False, "melody": False, "all_speakers": False},
    **{"level": None, "sample_rate": SAMPLE_RATE, "phones": None},
}
FULL_SCALE = 32768  # of 16-bit samples that are read; those that are written are clipped to it


def add_raw(command: Any) -> None:
    """Add --raw."""
    text = "from stdin to stdout as it arrives: audio as 16-bit little-endian samples, mono; codes as packets"
    command.add_argument("--raw", action="store_true", help=text)


def add_input(command: Any) -> None:
    """Add the options of samples that are read with --raw."""
    text = f"of the samples with --raw, in Hz (default: {SAMPLE_RATE}; what comes out has {SAMPLE_RATE})"
    command.add_argument("--rate", type=count, help=text)
    text = "with --raw, amplify by so many dB (default: follow the loudness of the last half minute)"
    command.add_argument("--gain", type=decibels, help=text)


def add_lookahead(command: Any) -> None:
    """Add --lookahead."""
    text = "with --raw, codes that the decoder waits for: the fewer, the less latency, and the less it knows "
    command.add_argument("--lookahead", type=natural, help=text + "(default: all that it was trained to look at)")


def add_packet(command: Any) -> None:
    """Add --packet."""
    text = f"with --raw, length of a packet of codes in seconds (default: {PACKET_SECONDS})"
    command.add_argument("--packet", type=positive, help=text)


def convert_stream(options: argparse.Namespace) -> int:
    """Samples to samples."""
    codec = _codec(options)
    stream = codec.streamer(
        options.speaker,
        options.rate or SAMPLE_RATE,
        gain=_factor(options.gain),
        lookahead=options.lookahead,
        seed=options.seed,
        semitones=options.pitch,
    )
    print(f"latency: {stream.latency / SAMPLE_RATE:.3f} s", file=sys.stderr)
    return _pipe(lambda data: [_bytes(stream.push(data))], lambda: [_bytes(stream.flush())], _samples())


def encode_stream(options: argparse.Namespace) -> int:
    """Samples to packets."""
    if options.penalty:
        raise SpeechVQError("a stream has no --penalty: it would wait for codes that follow")
    if options.format not in (None, "svq"):
        raise SpeechVQError(f"--format {options.format} is of whole files: not with --raw")
    codec = _codec(options)
    from speechvq.coding.code_files import CodeFiles
    from speechvq.coding.packets.framing import PacketWriter, StreamHeader
    from speechvq.coding.packets.live import PacketEncoder, seconds_to_codes

    coder = CodeFiles(codec, options.prior).coder(options.coder)
    header = StreamHeader(coder.name, codec.alphabet, coder.tag, SAMPLE_RATE, options.speaker)
    stream = PacketEncoder(
        codec.code_stream(options.rate or SAMPLE_RATE, gain=_factor(options.gain)),
        PacketWriter(header, coder),
        seconds_to_codes(options.packet or PACKET_SECONDS, codec.hop_length),
    )
    return _pipe(stream.push, stream.flush, _samples())


def decode_stream(options: argparse.Namespace) -> int:
    """Packets to samples."""
    codec = _codec(options)
    from speechvq.coding.code_files import CodeFiles
    from speechvq.coding.packets.framing import StreamHeader
    from speechvq.coding.packets.live import PacketDecoder

    def speech(header: StreamHeader) -> Any:
        name = options.speaker or header.speaker
        if not name:
            raise SpeechVQError("the stream names no speaker to decode it with; give one (--speaker)")
        return codec.speech_stream(name, lookahead=options.lookahead, seed=options.seed, semitones=options.pitch)

    stream = PacketDecoder(CodeFiles(codec, options.prior).coder_of, speech)
    code = _pipe(
        lambda data: [_bytes(stream.push(data))], lambda: [_bytes(stream.flush())], _arriving(READ_PACKET_BYTES)
    )
    if not stream.begun:
        raise SpeechVQError("stdin: no packets of codes, as `speechvq encode - - --raw` writes them")
    return code


def require_raw(options: argparse.Namespace) -> None:
    """Raises SpeechVQError for an option that files do not have."""
    for name in OF_RAW:
        if getattr(options, name, None) is not None:
            raise SpeechVQError(f"--{name} is of streams: with --raw only")


@contextmanager
def streams(options: argparse.Namespace, suffix: str, most: int | None = None) -> Iterator[tuple[Path, Path]]:
    """The input and output files of a command, with temporary files in place of stdin and stdout.

    suffix: of the temporary output.
    most: bytes that stdin may have; by default half of what is free where temporary files are.

    stdin is copied into a file because input is read twice; stdout gets its file when the block ends. Of a folder, no
    other run may write into the output meanwhile. Errors name stdin and stdout, and not their files.
    Raises SpeechVQError if stdin has more bytes.
    """
    source, target = getattr(options, "source", Path()), getattr(options, "target", Path())
    of_folder = "source" in options and source.is_dir()
    with temporary_folder() as folder, only_run(target) if of_folder else nullcontext():
        copy = folder / f"stdout{suffix}"
        try:
            if source == STREAM:
                source = folder / "stdin"
                _copy_stdin(source, most)
            yield source, copy if target == STREAM else target
        except SpeechVQError as error:
            text = str(error).replace(str(folder / "stdin"), "stdin").replace(str(copy), "stdout")
            raise SpeechVQError(text) from None
        if target == STREAM:
            with copy.open("rb") as file:
                shutil.copyfileobj(file, sys.stdout.buffer)


def _copy_stdin(path: Path, most: int | None) -> None:
    left = limit = min(most or sys.maxsize, shutil.disk_usage(path.parent).free // 2)
    try:
        with path.open("wb") as file:
            while data := sys.stdin.buffer.read(READ_STDIN_BYTES):
                left -= len(data)
                if left < 0:
                    raise SpeechVQError(f"stdin: more than {limit >> 20} MB, the most that are copied; give a file")
                file.write(data)
    except OSError as error:  # a full disk, say: not of the user's output
        error.filename = error.filename or f"copy of stdin in {path.parent.parent}"
        raise


def _codec(options: argparse.Namespace) -> Any:
    """The model. Raises SpeechVQError if IN and OUT are not stdin and stdout, or an option is of whole files."""
    if str(options.source) != "-" or str(options.target) != "-":
        raise SpeechVQError("--raw reads stdin and writes stdout: IN and OUT are -")
    given = vars(options)
    for name, usual in OF_WHOLE_FILES.items():
        if given.get(name, usual) not in (usual, None):
            raise SpeechVQError(f"--{name.replace('_', '-')} is of whole files: not with --raw")
    return load_codec(options)


def _pipe(push: Callable[[Any], Any], flush: Callable[[], Any], inputs: Iterator[Any]) -> int:
    """Write what `push` gives for each input, as soon as it is there, and what `flush` gives at the end."""
    for data in inputs:
        _write(push(data))
    _write(flush())
    return 0


def _write(parts: Any) -> None:
    for part in parts:
        sys.stdout.buffer.write(part)
    sys.stdout.buffer.flush()


def _arriving(most: int) -> Iterator[bytes]:
    """The bytes of stdin, as they arrive, at most so many at a time."""
    stdin: Any = sys.stdin.buffer
    while data := stdin.read1(most):
        yield data


def _samples() -> Iterator["np.ndarray"]:
    """The samples of stdin in [-1, 1], as they arrive."""
    import numpy as np

    rest = b""
    for data in _arriving(READ_BYTES):
        whole = (rest + data)[: len(rest + data) // 2 * 2]
        rest = (rest + data)[len(whole) :]
        yield np.frombuffer(whole, "<i2").astype(np.float32) / FULL_SCALE


def _bytes(wav: "Tensor") -> bytes:
    """Samples in [-1, 1] as 16-bit little-endian bytes."""
    scaled = (wav * FULL_SCALE).round().clamp(-FULL_SCALE, FULL_SCALE - 1)
    data: bytes = scaled.numpy().astype("<i2").tobytes()
    return data


def _factor(decibels: float | None) -> float | None:
    """The factor of a gain in dB."""
    return None if decibels is None else float(10 ** (decibels / 20))

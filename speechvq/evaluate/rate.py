"""How many bits a second files of codes have, by each coder, and how fast they are written and read."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import torch

from speechvq import SpeechVQError
from speechvq.audio import SAMPLE_RATE
from speechvq.audio.io import read
from speechvq.codec import Encoded
from speechvq.coding.bitstream import pack, unpack
from speechvq.coding.code_files import CodeFiles
from speechvq.coding.coders import Coder
from speechvq.coding.header import read_header
from speechvq.data.manifest import Utterance, read_manifest
from speechvq.nn.distributed import share_out


@dataclass(frozen=True)
class Rate:
    """Of one coder. In bits a second: `files`, whole, `payload`, without their headers, and the files of each speaker.

    bits_per_code: of the payload. Seconds of speech written (`encoding`) and read (`decoding`) in one second, without
    the model's own work.
    """

    files: float
    payload: float
    bits_per_code: float
    encoding: float
    decoding: float
    speakers: dict[str, float]


@dataclass(frozen=True)
class Rates:
    """Each coder's rate on `count` recordings of `seconds` altogether; `nominal` is log2 K for each code."""

    count: int
    seconds: float
    nominal: float
    coders: dict[str, Rate]


def evaluate_rate(files: CodeFiles, data: Path, split: str = "test", seconds: float = 0.0) -> Rates:
    """Write the recordings prepared in `data` as files by every coder that there is, read them again, and measure.

    seconds: utterances of a speaker are joined to recordings of at least this length; what is left over is not used.
    SpeechVQError where no recording is left.
    """
    codec = files.codec
    utterances = [u for u in read_manifest(data) if u.split == split]
    recordings = [*_recordings(data, utterances, seconds)]
    if not recordings:
        raise SpeechVQError(f"{data}: no speech of the split '{split}'" + (f" of {seconds:g} s" if seconds else ""))

    def encode(recording: tuple[str, list[Path]]) -> tuple[str, Encoded]:
        speaker, paths = recording
        wav = torch.cat([read(path) for path in paths])
        return speaker, Encoded(codec.encode(wav, SAMPLE_RATE), len(wav), codec.alphabet)

    encoded = share_out(recordings, encode, unit="recording")
    names = ["fixed"] + ["static"] * (codec.histogram is not None) + ["prior"] * (files.prior is not None)
    measured = {name: _measure(encoded, files.coder(name)) for name in names}
    whole = sum(item.samples for _, item in encoded) / SAMPLE_RATE
    return Rates(len(encoded), whole, codec.describe()["bit_per_s"], measured)


def _recordings(data: Path, utterances: Sequence[Utterance], seconds: float) -> Iterator[tuple[str, list[Path]]]:
    for speaker, own in groupby(sorted(utterances, key=lambda u: (u.speaker, u.id)), lambda u: u.speaker):
        paths, samples = [], 0
        for u in own:
            paths.append(data / u.path)
            samples += u.samples
            if samples >= seconds * SAMPLE_RATE:
                yield speaker, paths
                paths, samples = [], 0


def _measure(encoded: Sequence[tuple[str, Encoded]], coder: Coder) -> Rate:
    items = [item for _, item in encoded]
    files, encoding = _timed(lambda: [pack(item, coder) for item in items])
    back, decoding = _timed(lambda: [unpack(data, lambda _: coder) for data in files])
    if not all(torch.equal(one.codes, other.codes) for one, other in zip(items, back, strict=True)):
        raise AssertionError("a file of codes gave back others")
    lengths = [item.samples / SAMPLE_RATE for item in items]
    payload = sum(len(data) - read_header(data).size for data in files)
    by_speaker: dict[str, list[float]] = {}
    for (speaker, _), data, length in zip(encoded, files, lengths, strict=True):
        row = by_speaker.setdefault(speaker, [0.0, 0.0])
        row[0] += 8 * len(data)
        row[1] += length
    return Rate(
        files=8 * sum(map(len, files)) / sum(lengths),
        payload=8 * payload / sum(lengths),
        bits_per_code=8 * payload / sum(len(item.codes) for item in items),
        encoding=sum(lengths) / encoding,
        decoding=sum(lengths) / decoding,
        speakers={speaker: bits / length for speaker, (bits, length) in by_speaker.items()},
    )


def _timed(work: Callable[[], list[Any]]) -> tuple[list[Any], float]:
    begun = time.perf_counter()
    result = work()
    return result, time.perf_counter() - begun


def lines(rates: Rates) -> list[str]:
    """The table of `speechvq evaluate rate`."""
    told = [
        f"{rates.count} recordings, {rates.seconds:.0f} s; nominal {rates.nominal:.1f} bit/s",
        f"{'bit/s':12} {'files':>8} {'payload':>8} {'a code':>8} {'lowest, highest speaker':>28} {'x real time':>16}",
    ]
    for name, rate in rates.coders.items():
        ordered = sorted(rate.speakers.items(), key=lambda pair: pair[1])
        ends = ", ".join(f"{speaker} {bits:.1f}" for speaker, bits in (ordered[0], ordered[-1]))
        told.append(
            f"{name:12} {rate.files:8.1f} {rate.payload:8.1f} {rate.bits_per_code:8.3f} {ends:>28} "
            f"{rate.encoding:8.0f} {rate.decoding:7.0f}"
        )
    return told

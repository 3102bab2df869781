"""The bit rate of files of codes with each coder, and the speed of writing and reading them."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
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
from speechvq.data.manifest import Utterance, read_manifest, read_treatment
from speechvq.evaluate.left_out import LeftOut, share_out_usable


@dataclass(frozen=True)
class CoderRate:
    """The bit rate and the speed of one coder.

    files: bit/s of whole files
    payload: bit/s of files without their headers
    bits_per_code: bits per code of the payload
    encoding, decoding: seconds of speech written and read per second, without the work of the model
    speakers: bit/s of whole files, by speaker
    """

    files: float
    payload: float
    bits_per_code: float
    encoding: float
    decoding: float
    speakers: dict[str, float]


@dataclass(frozen=True)
class Rates:
    """The rates of all coders on the same recordings.

    count: number of recordings
    seconds: their duration altogether
    nominal: bit/s with log2 K bits for every code
    coders: rate of each coder
    left_out: (first file, reason) of recordings that cannot be read
    """

    count: int
    seconds: float
    nominal: float
    coders: dict[str, CoderRate]
    left_out: LeftOut = field(default_factory=list)


def evaluate_rate(
    files: CodeFiles,
    data: Path,
    split: str = "test",
    seconds: float = 0.0,
    penalty: float | None = None,
    *,
    melody: bool = False,
) -> Rates:
    """Write recordings prepared in `data` to files with every available coder, read them again, and measure.

    split: of the recordings
    seconds: utterances of a speaker are joined to recordings of at least this length; a shorter rest is left out
    penalty: for each change of code, see `Codec.encode`; None for that of `files`
    melody: whether files have the melody, too

    Raises SpeechVQError if there is no recording.
    """
    codec = files.codec.after_high_pass(read_treatment(data).high_pass)
    penalty = files.penalty if penalty is None else penalty
    utterances = [u for u in read_manifest(data) if u.split == split]
    recordings = [*joined_recordings(data, utterances, seconds)]
    if not recordings:
        raise SpeechVQError(f"{data}: no speech of the split '{split}'" + (f" of {seconds:g} s" if seconds else ""))

    def encode(recording: tuple[str, list[Path]]) -> Encoded:
        wav = torch.cat([read(path) for path in recording[1]])
        kept = codec.melody(wav, SAMPLE_RATE) if melody else None
        return Encoded(codec.encode(wav, SAMPLE_RATE, penalty=penalty), len(wav), codec.alphabet, melody=kept)

    usable, left_out = share_out_usable(recordings, encode, lambda recording: recording[1][0].stem, unit="recording")
    encoded = [(speaker, item) for (speaker, _), item in usable]
    names = ["fixed"] + ["static"] * (codec.histogram is not None) + ["prior"] * (files.prior is not None)
    measured = {name: _measure(encoded, files.coder(name)) for name in names}
    total = sum(item.samples for _, item in encoded) / SAMPLE_RATE
    return Rates(len(encoded), total, codec.describe()["bit_per_s"], measured, left_out)


def joined_recordings(data: Path, utterances: Sequence[Utterance], seconds: float) -> Iterator[tuple[str, list[Path]]]:
    """Speaker and audio files of each recording of at least `seconds`."""
    for speaker, own in groupby(sorted(utterances, key=lambda u: (u.speaker, u.id)), lambda u: u.speaker):
        paths, samples = [], 0
        for u in own:
            paths.append(data / u.path)
            samples += u.samples
            if samples >= seconds * SAMPLE_RATE:
                yield speaker, paths
                paths, samples = [], 0


def _measure(encoded: Sequence[tuple[str, Encoded]], coder: Coder) -> CoderRate:
    items = [item for _, item in encoded]
    files, encoding = _timed(lambda: [pack(item, coder) for item in items])
    decoded, decoding = _timed(lambda: [unpack(data, lambda _: coder) for data in files])
    if not all(torch.equal(one.codes, other.codes) for one, other in zip(items, decoded, strict=True)):
        raise AssertionError("a file of codes did not decode to the codes that were written")
    lengths = [item.samples / SAMPLE_RATE for item in items]
    payload = sum(len(data) - read_header(data).size for data in files)
    by_speaker: dict[str, list[tuple[int, float]]] = {}
    for (speaker, _), data, length in zip(encoded, files, lengths, strict=True):
        by_speaker.setdefault(speaker, []).append((8 * len(data), length))
    return CoderRate(
        files=8 * sum(map(len, files)) / sum(lengths),
        payload=8 * payload / sum(lengths),
        bits_per_code=8 * payload / sum(len(item.codes) for item in items),
        encoding=sum(lengths) / encoding,
        decoding=sum(lengths) / decoding,
        speakers={name: sum(bits for bits, _ in own) / sum(s for _, s in own) for name, own in by_speaker.items()},
    )


def _timed(work: Callable[[], list[Any]]) -> tuple[list[Any], float]:
    """The result of `work`, and the seconds that it takes."""
    begun = time.perf_counter()
    result = work()
    return result, time.perf_counter() - begun

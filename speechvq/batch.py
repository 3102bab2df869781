"""Encode, decode and convert files, or folders of files into folders of the same shape."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from speechvq import SpeechVQError
from speechvq.audio import read, write
from speechvq.codec import BATCH, Codec, Encoded
from speechvq.progress import progress
from speechvq.sampler import Sampling

CODES = (".npz",)


@dataclass(frozen=True)
class Job:
    """An input file and the file to make of it."""

    source: Path
    target: Path


def plan(source: Path, target: Path, suffixes: Sequence[str], made: Sequence[str], force: bool) -> list[Job]:
    """The jobs for a file, or for every file with one of `suffixes` in a folder.

    `made`: what an output may end in; in a folder all end in the first. SpeechVQError before any work where
    an output exists (unless `force`), ends in something else, or there is nothing to do.
    """
    if source.is_dir():
        files = sorted(path for path in source.rglob("*") if path.suffix.lower() in suffixes)
        jobs = [Job(path, (target / path.relative_to(source)).with_suffix(made[0])) for path in files]
        if not jobs:
            raise SpeechVQError(f"{source}: no files ending in {', '.join(suffixes)}")
    else:
        jobs = [Job(source, target / f"{source.stem}{made[0]}" if target.is_dir() else target)]
    targets = [job.target for job in jobs]
    if len(set(targets)) < len(targets):
        raise SpeechVQError(f"{source}: two files would both become {max(targets, key=targets.count)}")
    for path in targets:
        if path.suffix.lower() not in made:
            raise SpeechVQError(f"{path}: the output ends in {' or '.join(dict.fromkeys(made))}")
        if path.exists() and not force:
            raise SpeechVQError(f"{path} exists; --force overwrites it")
    return jobs


def encode_files(codec: Codec, jobs: Sequence[Job]) -> Iterator[tuple[Job, Encoded]]:
    """Audio files to files of codes."""
    for job in progress(jobs, unit="file"):
        wav = read(job.source)
        encoded = Encoded(codec.encode(wav, codec.sample_rate), len(wav), codec.fingerprint)
        encoded.save(job.target)
        yield job, encoded


def decode_files(codec: Codec, jobs: Sequence[Job], speaker: str, sampling: Sampling) -> Iterator[tuple[Job, Encoded]]:
    """Files of codes to audio files; SpeechVQError for codes of another model."""
    yield from _speak(codec, jobs, [_load(codec, job.source) for job in jobs], speaker, sampling)


def convert_files(codec: Codec, jobs: Sequence[Job], speaker: str, sampling: Sampling) -> Iterator[tuple[Job, Encoded]]:
    """Audio files to audio files of the same duration, spoken by `speaker`."""
    encoded = []
    for job in progress(jobs, unit="file"):
        wav = read(job.source)
        encoded.append(Encoded(codec.encode(wav, codec.sample_rate), len(wav), codec.fingerprint))
    yield from _speak(codec, jobs, encoded, speaker, sampling)


def _speak(
    codec: Codec, jobs: Sequence[Job], encoded: Sequence[Encoded], speaker: str, sampling: Sampling
) -> Iterator[tuple[Job, Encoded]]:
    work = sorted(zip(jobs, encoded, strict=True), key=lambda item: item[1].samples)
    for begin in range(0, len(work), BATCH):
        some = work[begin : begin + BATCH]
        wavs = codec.decode_many([item.codes for _, item in some], [speaker] * len(some), sampling)
        for (job, item), wav in zip(some, wavs, strict=True):
            write(job.target, wav[: item.samples], codec.sample_rate)
            yield job, item


def _load(codec: Codec, path: Path) -> Encoded:
    encoded = Encoded.load(path)
    if encoded.model != codec.fingerprint:
        raise SpeechVQError(f"{path}: codes of model {encoded.model}, not of this one ({codec.fingerprint})")
    return encoded

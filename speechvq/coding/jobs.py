"""Encode, decode, convert and sample files. `plan` decides which."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from torch import Tensor

from speechvq import SpeechVQError
from speechvq.audio import SAMPLE_RATE
from speechvq.audio.io import write
from speechvq.codec import UTTERANCES_PER_BATCH, Codec, Encoded
from speechvq.coding.code_files import CodeFiles
from speechvq.coding.plan import CODE_SUFFIXES, Job
from speechvq.progress import progress
from speechvq.wavenet.sampler import Sampling

LONG_FILE = 300 * SAMPLE_RATE  # samples: longer files are decoded in pieces, each written at once


def encode_files(
    files: CodeFiles, jobs: Sequence[Job], speaker: str, coder: str | None = None
) -> Iterator[tuple[Job, Encoded]]:
    """Encode audio files into files of codes.

    speaker: the name to write into the file, as the speaker to decode with; may be empty.
    coder: its name, see `CodeFiles.coder`.

    Raises SpeechVQError if an input is not audio or the coder is not available.
    """
    chosen = files.coder(coder)
    for job in progress(jobs, unit="file"):
        encoded = files.codec.encode_file(job.source, speaker)
        files.write(job.target, encoded, chosen)
        yield job, encoded


def decode_files(
    files: CodeFiles, jobs: Sequence[Job], speaker: str | None, sampling: Sampling
) -> Iterator[tuple[Job, Encoded]]:
    """Decode files of codes into audio files; lost codes become silence.

    speaker: None for the speaker that each file names.

    Raises SpeechVQError if a file cannot be read, is of another model, or names no speaker where none is given.
    """
    yield from _decode(files.codec, jobs, [files.read(job.source) for job in jobs], speaker, sampling)


def convert_files(codec: Codec, jobs: Sequence[Job], speaker: str, sampling: Sampling) -> Iterator[tuple[Job, Encoded]]:
    """Convert audio files into audio files of the same duration with the voice of `speaker`.

    Raises SpeechVQError if an input is not audio.
    """
    encoded = [codec.encode_file(job.source) for job in progress(jobs, unit="file")]
    yield from _decode(codec, jobs, encoded, speaker, sampling)


def sample_files(
    files: CodeFiles,
    targets: Sequence[Path],
    speaker: str,
    *,
    seconds: float,
    sampling: Sampling,
    voice: Sampling,
    anyone: bool = False,
    prefix: Path | None = None,
) -> Iterator[tuple[Job, Encoded]]:
    """Draw codes from the prior and decode them into audio files, or write them as files of codes.

    targets: one file per sample, all with the same suffix.
    speaker: whose voice decodes them. The prior is given the speaker, too, if it was trained with them.
    seconds: length of each sample.
    sampling: of the codes. voice: of the audio.
    anyone: do not give the prior the speaker.
    prefix: file of audio or codes that the samples continue; it is not in them.
    """
    codec, prior = files.codec, files.prior
    assert prior is not None
    before = None
    if prefix is not None:
        is_codes = prefix.suffix.lower() in CODE_SUFFIXES
        before = (files.read(prefix) if is_codes else codec.encode_file(prefix)).codes
    length = max(round(seconds * codec.sample_rate / codec.hop_length), 1)
    given = None if anyone or speaker not in prior.speakers else speaker
    rows = [*prior.sample(len(targets), length, given, sampling, before)]
    encoded = [Encoded(row, length * codec.hop_length, codec.alphabet, speaker) for row in rows]
    jobs = [Job(prefix or Path(), target) for target in targets]
    if targets[0].suffix.lower() not in CODE_SUFFIXES:
        yield from _decode(codec, jobs, encoded, speaker, voice)
        return
    for job, item in zip(jobs, encoded, strict=True):
        files.write(job.target, item, files.coder())
        yield job, item


def _decode(
    codec: Codec, jobs: Sequence[Job], encoded: Sequence[Encoded], speaker: str | None, sampling: Sampling
) -> Iterator[tuple[Job, Encoded]]:
    """Short files in batches, long ones in pieces."""
    for job, item in zip(jobs, encoded, strict=True):
        if not speaker and not item.speaker:
            raise SpeechVQError(f"{job.source}: names no speaker to decode it with; give one (--speaker)")
    work = sorted(zip(jobs, encoded, strict=True), key=lambda pair: pair[1].samples)
    short = [pair for pair in work if pair[1].samples <= LONG_FILE]
    for start in range(0, len(short), UTTERANCES_PER_BATCH):
        batch = short[start : start + UTTERANCES_PER_BATCH]
        speakers = [speaker or item.speaker for _, item in batch]
        wavs = codec.decode_many([item.codes for _, item in batch], speakers, sampling)
        for (job, item), wav in zip(batch, wavs, strict=True):
            write(job.target, _as_long_as_source([wav], item), codec.sample_rate)
            yield job, item
    for job, item in work[len(short) :]:
        pieces = codec.decode_pieces(item.codes, speaker or item.speaker, sampling)
        write(job.target, _as_long_as_source(pieces, item), codec.sample_rate)
        yield job, item


def _as_long_as_source(pieces: Iterable[Tensor], item: Encoded) -> Iterator[Tensor]:
    """Decoded pieces cut to the length of the source, silent where codes are lost."""
    offset, hop = 0, item.alphabet.hop_length
    for piece in pieces:
        kept = piece[: max(item.samples - offset, 0)].clone()
        for first, end in item.lost:
            kept[max(first * hop - offset, 0) : max(end * hop - offset, 0)] = 0
        yield kept
        offset += len(piece)

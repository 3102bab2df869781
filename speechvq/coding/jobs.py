"""Encode, decode, convert and sample files. `plan` decides which."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from torch import Tensor

from speechvq import SpeechVQError
from speechvq.audio import SAMPLE_RATE
from speechvq.audio.io import write
from speechvq.audio.output import AS_DECODED, OutputAudio
from speechvq.codec import UTTERANCES_PER_BATCH, Codec, Encoded
from speechvq.coding.code_files import CodeFiles
from speechvq.coding.plan import CODE_SUFFIXES, Job, Plan
from speechvq.files import Failure, attempt
from speechvq.folder.card import speaker_index
from speechvq.progress import progress, seconds_done
from speechvq.text.timed_codes import code_segments, write_timed_codes
from speechvq.wavenet.sampler import Sampling

LONG_FILE = 300 * SAMPLE_RATE  # samples: longer files are decoded in pieces, each written at once
SAMPLES_PER_BATCH = 4 * LONG_FILE  # of the files that are decoded at once

Outcome = tuple[Job, Encoded | Failure]


@dataclass(frozen=True)
class Voice:
    """How codes become speech.

    speaker: of the model; None for the one that a job or a file of codes names.
    sampling: of the decoder.
    semitones: by which the pitch is raised.
    keep_pitch: whether a conversion has the pitch of the recording, instead of that predicted for the speaker.
    melody: whether it has the melody of the recording, around the mean of the pitch predicted for the speaker.
    output: loudness and sample rate.
    """

    speaker: str | None
    sampling: Sampling
    semitones: float = 0.0
    keep_pitch: bool = False
    melody: bool = False
    output: OutputAudio = AS_DECODED


def encode_files(
    files: CodeFiles,
    plan: Plan,
    speaker: str,
    coder: str | None = None,
    *,
    penalty: float | None = None,
    melody: bool = False,
    phones: Mapping[int, str] | None = None,
) -> Iterator[Outcome]:
    """Encode audio files into files of codes, or of codes with times if that is what their names end in.

    Yields each as soon as it is written, or the reason why it cannot be.

    speaker: the name to write into the file, as the speaker to decode with; may be empty.
    coder: its name, see `CodeFiles.coder`.
    penalty: for each change of code, see `Codec.encode`; None for that of `files`.
    melody: whether files of codes keep the melody.
    phones: the phone of each code, for codes with times.

    Raises SpeechVQError if the coder is not available.
    """
    chosen, codec = files.coder(coder), files.codec
    penalty = files.penalty if penalty is None else penalty

    def encode(job: Job) -> Encoded:
        encoded = codec.encode_file(job.source, speaker, penalty=penalty, melody=melody, show_progress=True)
        plan.begin(job)
        if job.target.suffix.lower() in CODE_SUFFIXES:
            files.write(job.target, encoded, chosen)
        else:
            step, seconds = codec.hop_length / codec.sample_rate, encoded.samples / codec.sample_rate
            write_timed_codes(job.target, code_segments(encoded.codes.tolist(), step, seconds), phones)
        return encoded

    for job in progress(plan.jobs, unit="file"):
        yield job, attempt(encode, job)


def decode_files(files: CodeFiles, plan: Plan, voice: Voice) -> Iterator[Outcome]:
    """Decode files of codes into audio files; lost codes become silence.

    Yields each file as soon as it is written, or the reason why it cannot be: it cannot be read, is of another model,
    or names no speaker where none is given. Raises SpeechVQError if the model has no decoder, or none that the voice
    fits.
    """
    yield from _decode(files.codec, plan, lambda job: files.read(job.source), voice)


def convert_files(codec: Codec, plan: Plan, voice: Voice) -> Iterator[Outcome]:
    """Convert audio files into audio files of the same duration with another voice.

    Yields each file as soon as it is written, or the reason why it cannot be. Raises SpeechVQError if the model has no
    decoder, or none that the voice fits.
    """

    @lru_cache(maxsize=1)  # read once for all speakers
    def read(source: Path) -> Encoded:
        return codec.encode_file(source, keep_pitch=voice.keep_pitch, melody=voice.melody, show_progress=True)

    yield from _decode(codec, plan, lambda job: read(job.source), voice)


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
) -> Iterator[Outcome]:
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
        before = (files.read(prefix) if is_codes else codec.encode_file(prefix, penalty=files.penalty)).codes
    length = max(round(seconds * codec.sample_rate / codec.hop_length), 1)
    given = None if anyone or speaker not in prior.speakers else speaker
    rows = [*prior.sample(len(targets), length, given, sampling, before)]
    encoded = [Encoded(row, length * codec.hop_length, codec.alphabet, speaker) for row in rows]
    rows_of = dict(zip([Job(prefix or Path(), target) for target in targets], encoded, strict=True))
    if targets[0].suffix.lower() not in CODE_SUFFIXES:
        yield from _decode(codec, Plan([*rows_of]), rows_of.__getitem__, Voice(speaker, voice))
        return
    for job, item in rows_of.items():
        files.write(job.target, item, files.coder())
        yield job, item


def _decode(codec: Codec, plan: Plan, read: Callable[[Job], Encoded], voice: Voice) -> Iterator[Outcome]:
    """Decode in the order of the jobs: neighbouring short files in batches, long ones in pieces.

    read: the codes of a job.
    """
    _ = codec.model.speech_decoder  # before the work
    codec.check_pitch(voice.semitones, voice.keep_pitch or voice.melody)

    def checked(job: Job) -> Encoded:
        item = read(job)
        name = job.speaker or voice.speaker or item.speaker
        if not name:
            raise SpeechVQError(f"{job.source}: names no speaker to decode it with; give one (--speaker)")
        speaker_index(codec.speakers, name)
        return replace(item, speaker=name)

    batch, samples = list[Outcome](), 0
    for job in progress(plan.jobs, unit="file"):
        item = attempt(checked, job)
        own = item.samples if isinstance(item, Encoded) else 0
        if own > LONG_FILE or samples + own > SAMPLES_PER_BATCH:
            yield from _decode_batch(codec, plan, batch, voice)
            batch, samples = [], 0
        batch.append((job, item))
        samples += own
        if own > LONG_FILE or len(batch) == UTTERANCES_PER_BATCH:
            yield from _decode_batch(codec, plan, batch, voice)
            batch, samples = [], 0
    yield from _decode_batch(codec, plan, batch, voice)


def _decode_batch(codec: Codec, plan: Plan, batch: Sequence[Outcome], voice: Voice) -> Iterator[Outcome]:
    """Decode and write several short files, or one of any length, with a progress bar."""
    items = {job: item for job, item in batch if isinstance(item, Encoded)}
    wavs: dict[Job, Iterable[Tensor]] = {}
    sings = codec.model.speech_decoder.predicts_pitch  # others leave the melody of a file out
    pitches = [
        codec.pitch_change(len(item.codes), voice.semitones, item.pitch, item.melody if sings else None, item.lost)
        for item in items.values()
    ]
    if len(items) == 1:
        for job, item in items.items():
            quiet = replace(voice.sampling, progress=False)
            pieces = codec.decode_pieces(item.codes, item.speaker, quiet, pitches[0])
            wavs[job] = seconds_done(pieces, codec.sample_rate, item.samples, text="decoding")
    elif items:
        rows, speakers = [item.codes for item in items.values()], [item.speaker for item in items.values()]
        decoded = codec.decode_many(rows, speakers, voice.sampling, pitches)
        wavs = {job: [wav] for job, wav in zip(items, decoded, strict=True)}

    def write_wav(job: Job) -> Encoded:
        plan.begin(job)
        wav = voice.output.finished(_as_long_as_source(wavs[job], items[job]))
        write(job.target, wav, voice.output.sample_rate)
        return items[job]

    for job, outcome in batch:
        yield job, outcome if isinstance(outcome, Failure) else attempt(write_wav, job)


def _as_long_as_source(pieces: Iterable[Tensor], item: Encoded) -> Iterator[Tensor]:
    """Decoded pieces cut to the length of the source, silent where codes are lost."""
    offset, hop = 0, item.alphabet.hop_length
    for piece in pieces:
        kept = piece[: max(item.samples - offset, 0)].clone()
        for first, end in item.lost:
            kept[max(first * hop - offset, 0) : max(end * hop - offset, 0)] = 0
        yield kept
        offset += len(piece)

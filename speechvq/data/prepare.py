"""Prepare a corpus: 16 kHz audio, trimmed and levelled, and its manifest. Parallel, resumable."""

import hashlib
import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from speechvq import SpeechVQError
from speechvq.audio import SAMPLE_RATE
from speechvq.audio.high_pass import high_passed
from speechvq.audio.io import read_pieces, write
from speechvq.audio.level import Meter, loud_span
from speechvq.config.guarded import json_lines, parse_json
from speechvq.config.shapes import check_shape
from speechvq.data.corpora.contract import Source
from speechvq.data.manifest import (
    MANIFEST,
    SPEAKERS,
    TREATMENT_FILE,
    Split,
    Treatment,
    Utterance,
    as_part,
    is_inside,
    read_manifest,
    read_treatment,
    write_manifest,
)
from speechvq.data.workers import in_processes
from speechvq.files import Failure, atomic_write, attempt, printable, save_failures, save_json
from speechvq.folder.card import speaker_index
from speechvq.progress import progress

FINISHED_FILE = "prepared.jsonl"  # a line for each file of audio, written as soon as it is
FINISHED_ROW = {"id": str, "path": str, "samples": int, "start": int, "bytes": int, "digest?": str}
SKIPPED_FILE = "skipped.tsv"  # ids and reasons of those that cannot be read
DUPLICATES_FILE = "duplicates.tsv"  # ids of the same audio, a line for each
KEPT_SAMPLES = 600 * SAMPLE_RATE  # longer recordings are read again for each pass, rather than kept in memory


@dataclass
class PreparationReport:
    """The outcome of `prepare`.

    written: ids prepared now
    reused: ids that were prepared already
    skipped: (id, reason) of files that cannot be read, or share their id with another
    duplicates: ids of the utterances that are the same audio, together
    """

    written: list[str] = field(default_factory=list)
    reused: list[str] = field(default_factory=list)
    skipped: list[tuple[str, str]] = field(default_factory=list)
    duplicates: list[list[str]] = field(default_factory=list)


def prepare(
    sources: Sequence[Source],
    out: Path,
    treatment: Treatment,
    split: Split,
    *,
    speakers: dict[str, dict[str, str]],
    workers: int = 1,
) -> PreparationReport:
    """Write OUT/audio/ID.flac, manifest.jsonl, speakers.json and skipped.tsv, and duplicates.tsv if there are any.

    What an earlier call with the same treatment has finished is kept.

    split: decides where a source does not say its split
    speakers: what is known of each speaker, by name
    workers: processes
    Raises SpeechVQError if a speaker to hold out is unknown, no source can be used, or as `_resume` does.
    """
    written = out.resolve()
    sources = [one for one in sources if not one.path.resolve().is_relative_to(written)]  # OUT may lie in the corpus
    if not sources:
        raise SpeechVQError("no audio files found")
    for name in split.unseen_speakers:
        speaker_index(sorted({source.speaker for source in sources}), name)  # a misspelt name would hold out no speaker
    finished = _resume(out, treatment)
    chosen, skipped = _of_one_id(sources)
    jobs = [(source, out, treatment) for source in chosen if source.id not in finished]
    report = PreparationReport(reused=sorted(finished.keys() & {source.id for source in chosen}), skipped=skipped)
    with (out / FINISHED_FILE).open("a", 1, "utf-8") as log:  # line by line
        for row in progress(in_processes(_treat, jobs, workers, ["scipy.signal"]), len(jobs), unit="file"):
            if "error" in row:
                report.skipped.append((row["id"], row["error"]))
                continue
            report.written.append(row["id"])
            finished[row["id"]] = row
            log.write(json.dumps(row) + "\n")
    report.skipped.sort()
    chosen = [source for source in chosen if source.id in finished]
    if not chosen:
        name, reason = report.skipped[0]
        raise SpeechVQError(f"none of the {len(sources)} files can be used; the first, {name}: {reason}")
    utterances = _utterances(chosen, finished, split, _extra_fields(out))
    write_manifest(out, utterances)
    save_json(out / SPEAKERS, {name: speakers.get(name, {}) for name in sorted({u.speaker for u in utterances})})
    save_failures(out / SKIPPED_FILE, report.skipped)
    report.duplicates = _duplicates([finished[source.id] for source in chosen])
    if report.duplicates:
        _save(out / DUPLICATES_FILE, "".join("\t".join(map(printable, group)) + "\n" for group in report.duplicates))
    else:
        (out / DUPLICATES_FILE).unlink(missing_ok=True)  # of an earlier call
    return report


def _of_one_id(sources: Sequence[Source]) -> tuple[list[Source], list[tuple[str, str]]]:
    """The sources that share their id with no other, and id and reason for the others."""
    by_id: dict[str, list[Source]] = defaultdict(list)
    for source in sources:
        by_id[source.id].append(source)
    alike = {name: [source.path.name for source in group] for name, group in by_id.items() if len(group) > 1}
    skipped = [(printable(name), f"{' and '.join(files)} have the same id") for name, files in alike.items()]
    return [source for source in sources if source.id not in alike], skipped


def _duplicates(rows: Sequence[dict[str, Any]]) -> list[list[str]]:
    """The ids of prepared files whose samples are the same, together."""
    by_digest: dict[str, list[str]] = defaultdict(list)
    for row in rows:
        if "digest" in row:  # another version wrote none
            by_digest[row["digest"]].append(row["id"])
    return [group for group in by_digest.values() if len(group) > 1]


def _extra_fields(out: Path) -> dict[str, dict[str, Any]]:
    """The further fields of an earlier manifest, by id; {} if there is none that can be read."""
    try:
        return {utterance.id: utterance.extra for utterance in read_manifest(out)}
    except SpeechVQError:
        return {}


def _utterances(
    sources: Sequence[Source], finished: dict[str, dict[str, Any]], split: Split, extra: dict[str, dict[str, Any]]
) -> list[Utterance]:
    """The manifest's lines.

    finished: the row of each id in prepared.jsonl
    extra: further fields of an id
    """
    names = split.of_all([(source.id, source.speaker, source.text, source.split) for source in sources])
    utterances = []
    for source, name in zip(sources, names, strict=True):
        row, fields = finished[source.id], extra.get(source.id, {}) | source.extra
        audio = _path(source), row["samples"], row["start"]
        utterances.append(Utterance(source.id, source.speaker, *audio, source.text, name, fields))
    return utterances


def _path(source: Source) -> str:
    parent = "" if source.id.startswith(f"{source.speaker}/") else f"{as_part(source.speaker)}/"
    return f"audio/{parent}{source.id}.flac"


def _save(path: Path, text: str) -> None:
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _resume(out: Path, treatment: Treatment) -> dict[str, dict[str, Any]]:
    """The rows of what is finished: logged, with the same treatment, and its file there in full.

    Raises SpeechVQError if the folder has files of the user where those of a prepared corpus would be.
    """
    path, log = out / TREATMENT_FILE, out / FINISHED_FILE
    for name in (MANIFEST, SPEAKERS):
        if not path.exists() and not log.exists() and (out / name).exists():
            raise SpeechVQError(f"{out / name} is not of `speechvq prepare`; name another folder to write")
    if not path.is_file() or _earlier(out) != treatment:
        log.unlink(missing_ok=True)
        (out / MANIFEST).unlink(missing_ok=True)  # the lengths in it are about to be wrong
        _save(path, json.dumps(asdict(treatment)))
    rows = {}
    for where, line in json_lines(log) if log.is_file() else []:
        try:
            row = parse_json(line, where)
            check_shape(row, FINISHED_ROW, where)
            usable = is_inside(row["path"]) and row["samples"] > 0 <= row["start"]
            if usable and (out / row["path"]).stat().st_size == row["bytes"]:
                rows[row["id"]] = row
        except (SpeechVQError, OSError):
            continue  # a line cut off by a kill, or a file that is gone: prepared again
    _save(log, "".join(json.dumps(row) + "\n" for row in rows.values()))
    return rows


def _earlier(out: Path) -> Treatment | None:
    """The treatment of what an earlier call prepared; None if it cannot be read."""
    try:
        return read_treatment(out)
    except SpeechVQError:
        return None


def _treat(job: tuple[Source, Path, Treatment]) -> dict[str, Any]:
    """Prepare one file -> its row in prepared.jsonl, or its id and the error."""
    row = attempt(_prepared, job)
    return {"id": printable(job[0].id), "error": printable(row.reason)} if isinstance(row, Failure) else row


def _prepared(job: tuple[Source, Path, Treatment]) -> dict[str, Any]:
    source, out, treatment = job
    filtered = _again(lambda: high_passed(read_pieces(source.path), treatment.high_pass))
    start, end = loud_span(filtered(), treatment.trim_db)
    gain = Meter(_part(filtered(), start, end)).gain()
    path, digest = _path(source), hashlib.blake2b(digest_size=8)

    def levelled() -> Iterator[Tensor]:
        for wav in _part(filtered(), start, end):
            part = wav * gain
            digest.update(part.numpy().tobytes())
            yield part

    write(out / path, levelled(), SAMPLE_RATE)
    row = {"id": source.id, "path": path, "samples": end - start, "start": start}
    return row | {"bytes": (out / path).stat().st_size, "digest": digest.hexdigest()}


def _again(wavs: Callable[[], Iterator[Tensor]]) -> Callable[[], Iterable[Tensor]]:
    """A function that returns the wav of `wavs` in pieces whenever it is called; only a long one is read again."""
    pieces, samples = list[Tensor](), 0
    for wav in wavs():
        pieces.append(wav)
        samples += len(wav)
        if samples > KEPT_SAMPLES:
            return wavs
    return lambda: pieces


def _part(wavs: Iterable[Tensor], start: int, end: int) -> Iterator[Tensor]:
    """Samples `start` to `end` of a wav in pieces."""
    offset = 0
    for wav in wavs:
        part = wav[max(start - offset, 0) : max(end - offset, 0)]
        if len(part):
            yield part
        offset += len(wav)

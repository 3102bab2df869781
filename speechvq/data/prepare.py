"""Prepare a corpus: 16 kHz audio, trimmed and levelled, and its manifest. Parallel, resumable."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from speechvq import SpeechVQError
from speechvq.audio import SAMPLE_RATE
from speechvq.audio.high_pass import high_pass
from speechvq.audio.io import read, write
from speechvq.audio.level import normalize_loudness, trim
from speechvq.data.corpora.contract import Source
from speechvq.data.manifest import (
    MANIFEST,
    SPEAKERS,
    TREATMENT_FILE,
    Split,
    Treatment,
    Utterance,
    read_manifest,
    read_treatment,
    write_manifest,
)
from speechvq.data.workers import in_processes
from speechvq.files import atomic_write, save_json
from speechvq.folder.card import speaker_index
from speechvq.progress import progress

FINISHED_FILE = "prepared.jsonl"  # a line for each file of audio, written as soon as it is
SKIPPED_FILE = "skipped.tsv"  # ids and reasons of those that cannot be read


@dataclass
class PreparationReport:
    """The outcome of `prepare`.

    written: ids prepared now
    reused: ids that were prepared already
    skipped: (id, reason) of files that cannot be read
    """

    written: list[str] = field(default_factory=list)
    reused: list[str] = field(default_factory=list)
    skipped: list[tuple[str, str]] = field(default_factory=list)


def prepare(
    sources: Sequence[Source],
    out: Path,
    treatment: Treatment,
    split: Split,
    *,
    speakers: dict[str, dict[str, str]],
    workers: int = 1,
) -> PreparationReport:
    """Write OUT/audio/ID.flac, manifest.jsonl, speakers.json and skipped.tsv.

    What an earlier call with the same treatment has finished is kept.

    split: decides where a source does not say its split
    speakers: what is known of each speaker, by name
    workers: processes
    Raises SpeechVQError if two sources share an id, a speaker to hold out is unknown, or no source can be used.
    """
    ids = [source.id for source in sources]
    if len(set(ids)) < len(ids):
        raise SpeechVQError(f"two utterances have the id '{max(ids, key=ids.count)}'")
    if not sources:
        raise SpeechVQError("no audio files found")
    for name in split.unseen_speakers:
        speaker_index(sorted({source.speaker for source in sources}), name)  # a misspelt name would hold out no speaker
    finished = _resume(out, treatment)
    jobs = [(source, out, treatment) for source in sources if source.id not in finished]
    report = PreparationReport(reused=sorted(finished.keys() & set(ids)))
    with (out / FINISHED_FILE).open("a", encoding="utf-8") as log:
        for row in progress(in_processes(_treat, jobs, workers, ["scipy.signal"]), len(jobs), unit="file"):
            if "error" in row:
                report.skipped.append((row["id"], row["error"]))
                continue
            report.written.append(row["id"])
            finished[row["id"]] = row
            log.write(json.dumps(row) + "\n")
    report.skipped.sort()
    extra = _extra_fields(out)
    utterances = [
        _utterance(source, finished[source.id], split, extra.get(source.id, {}))
        for source in sources
        if source.id in finished
    ]
    if not utterances:
        name, reason = report.skipped[0]
        raise SpeechVQError(f"none of the {len(sources)} files can be used; the first, {name}: {reason}")
    write_manifest(out, utterances)
    save_json(out / SPEAKERS, {name: speakers.get(name, {}) for name in sorted({u.speaker for u in utterances})})
    _save(out / SKIPPED_FILE, "".join(f"{name}\t{reason}\n" for name, reason in report.skipped))
    return report


def _extra_fields(out: Path) -> dict[str, dict[str, Any]]:
    """The further fields of an earlier manifest, by id; {} if there is none that can be read."""
    try:
        return {utterance.id: utterance.extra for utterance in read_manifest(out)}
    except SpeechVQError:
        return {}


def _utterance(source: Source, row: dict[str, Any], split: Split, extra: dict[str, Any]) -> Utterance:
    name = split.of(source.id, source.speaker, source.text, source.split)
    return Utterance(
        source.id, source.speaker, _path(source), row["samples"], row["start"], source.text, name, extra | source.extra
    )


def _path(source: Source) -> str:
    parent = "" if source.id.startswith(f"{source.speaker}/") else f"{source.speaker}/"
    return f"audio/{parent}{source.id}.flac"


def _save(path: Path, text: str) -> None:
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _resume(out: Path, treatment: Treatment) -> dict[str, dict[str, Any]]:
    """The rows of what is finished: logged, with the same treatment, and its file there in full."""
    path, log = out / TREATMENT_FILE, out / FINISHED_FILE
    if not path.is_file() or _earlier(out) != treatment:
        log.unlink(missing_ok=True)
        (out / MANIFEST).unlink(missing_ok=True)  # the lengths in it are about to be wrong
        _save(path, json.dumps(asdict(treatment)))
    rows = {}
    for line in log.read_text(encoding="utf-8").splitlines() if log.is_file() else []:
        try:
            row = json.loads(line)
            if (out / row["path"]).stat().st_size == row["bytes"]:
                rows[row["id"]] = row
        except (ValueError, KeyError, OSError):
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
    source, out, treatment = job
    try:
        wav, start = trim(high_pass(read(source.path), treatment.high_pass), treatment.trim_db)
        path = _path(source)
        write(out / path, normalize_loudness(wav), SAMPLE_RATE)
        size = (out / path).stat().st_size
        return {"id": source.id, "path": path, "samples": len(wav), "start": start, "bytes": size}
    except SpeechVQError as error:
        return {"id": _printable(source.id), "error": _printable(str(error))}


def _printable(text: str) -> str:
    """The text with bytes that are not UTF-8 as escapes, so that it can be written."""
    return text.encode("utf-8", "backslashreplace").decode()

"""Prepare a corpus: 16 kHz audio, trimmed and levelled, and its manifest. Parallel, resumable."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from speechvq import SpeechVQError
from speechvq.audio import SAMPLE_RATE
from speechvq.audio.io import read, write
from speechvq.audio.level import normalize_loudness, trim
from speechvq.data.manifest import MANIFEST, SPEAKERS, Source, Split, Utterance
from speechvq.data.workers import share
from speechvq.files import atomic_write
from speechvq.folder.card import speaker_index
from speechvq.progress import progress

SETTINGS = "prepare.json"
DONE = "prepared.jsonl"
SKIPPED = "skipped.tsv"


@dataclass(frozen=True)
class Treatment:
    """What is done to the audio besides levelling: edges `trim_db` below the peak are cut."""

    trim_db: float = 30.0


@dataclass
class Report:
    """Ids prepared now, ids found already prepared, and (id, reason) of what could not be read."""

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
) -> Report:
    """Write OUT/audio/ID.flac, manifest.jsonl, speakers.json and skipped.tsv.

    What an earlier call with the same treatment has finished is kept. SpeechVQError where two sources share
    an id or no source can be used.
    """
    ids = [source.id for source in sources]
    if len(set(ids)) < len(ids):
        raise SpeechVQError(f"two utterances have the id '{max(ids, key=ids.count)}'")
    if not sources:
        raise SpeechVQError("no audio files found")
    for name in split.unseen_speakers:
        speaker_index(sorted({source.speaker for source in sources}), name)  # a slip would hold out nobody
    done = _resume(out, treatment)
    missing = [source for source in sources if source.id not in done]
    report = Report(reused=sorted(done.keys() & set(ids)))
    with (out / DONE).open("a", encoding="utf-8") as log:
        for row in progress(_treat_all(missing, out, treatment, workers), len(missing), unit="file"):
            if "error" in row:
                report.skipped.append((row["id"], row["error"]))
                continue
            report.written.append(row["id"])
            done[row["id"]] = row
            log.write(json.dumps(row) + "\n")
    report.skipped.sort()
    utterances = [_utterance(source, done[source.id], split) for source in sources if source.id in done]
    if not utterances:
        name, reason = report.skipped[0]
        raise SpeechVQError(f"none of the {len(sources)} files can be used; the first, {name}: {reason}")
    _save(out / MANIFEST, "".join(json.dumps(asdict(u), ensure_ascii=False) + "\n" for u in utterances))
    names = {u.speaker for u in utterances}
    _save(out / SPEAKERS, json.dumps({name: speakers.get(name, {}) for name in sorted(names)}, indent=2) + "\n")
    _save(out / SKIPPED, "".join(f"{name}\t{reason}\n" for name, reason in report.skipped))
    return report


def _utterance(source: Source, row: dict[str, Any], split: Split) -> Utterance:
    where = split.of(source.id, source.speaker, source.text)
    return Utterance(source.id, source.speaker, _path(source), row["samples"], row["start"], source.text, where)


def _path(source: Source) -> str:
    parent = "" if source.id.startswith(f"{source.speaker}/") else f"{source.speaker}/"
    return f"audio/{parent}{source.id}.flac"


def _save(path: Path, text: str) -> None:
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _resume(out: Path, treatment: Treatment) -> dict[str, dict[str, Any]]:
    """What is finished already: noted as done with the same treatment, and there."""
    settings = json.dumps(asdict(treatment))
    path = out / SETTINGS
    if not path.is_file() or path.read_text(encoding="utf-8") != settings:
        (out / DONE).unlink(missing_ok=True)
        (out / MANIFEST).unlink(missing_ok=True)  # its lengths are about to be untrue
        _save(path, settings)
    rows = {}
    for line in (out / DONE).read_text(encoding="utf-8").splitlines() if (out / DONE).is_file() else []:
        try:
            row = json.loads(line)
            if (out / row["path"]).stat().st_size == row["bytes"]:
                rows[row["id"]] = row
        except (ValueError, KeyError, OSError):
            continue  # a line cut off by a kill, or a file that is gone: done again
    _save(out / DONE, "".join(json.dumps(row) + "\n" for row in rows.values()))
    return rows


def _treat_all(sources: Sequence[Source], out: Path, treatment: Treatment, workers: int) -> Iterator[dict[str, Any]]:
    """In the order in which they are finished, roughly; never more than a few per process in memory."""
    jobs = [(source, out, treatment) for source in sources]
    if workers <= 1 or len(jobs) < 2:
        yield from map(_treat, jobs)
        return
    yield from share(_treat, jobs, workers, ("scipy.signal",))


def _treat(job: tuple[Source, Path, Treatment]) -> dict[str, Any]:
    """Prepare one file -> its row in prepared.jsonl, or its id and the error."""
    source, out, treatment = job
    try:
        wav, start = trim(read(source.path), treatment.trim_db)
        path = _path(source)
        write(out / path, normalize_loudness(wav), SAMPLE_RATE)
        size = (out / path).stat().st_size
        return {"id": source.id, "path": path, "samples": len(wav), "start": start, "bytes": size}
    except SpeechVQError as error:
        return {"id": _printable(source.id), "error": _printable(str(error))}


def _printable(text: str) -> str:
    """A name that is no UTF-8, in a form that can be written."""
    return text.encode("utf-8", "backslashreplace").decode()

"""The manifest of a prepared corpus, and how utterances are split."""

import dataclasses
import hashlib
import json
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from speechvq import SpeechVQError
from speechvq.audio import HIGH_PASS
from speechvq.config import HIGHEST_HIGH_PASS
from speechvq.config.guarded import json_lines, parse_json, read_json
from speechvq.config.shapes import Each, as_path, check_shape
from speechvq.files import atomic_write, check_path, file_exists

MANIFEST = "manifest.jsonl"
SPEAKERS = "speakers.json"
TREATMENT_FILE = "prepare.json"  # the treatment that the audio got
# Training; held-out utterances of training speakers (valid, test); speakers held out altogether.
SPLITS = ("train", "valid", "test", "unseen")
WINDOWS = os.name == "nt"


@dataclass(frozen=True)
class Utterance:
    """A line of the manifest.

    id: unique in the corpus
    speaker: the speaker's name
    path: the audio file, relative to the manifest's folder
    samples: length of the audio, in samples at 16 kHz
    start: where the trimmed audio begins in its source recording, in samples at 16 kHz (to shift labels by)
    text: the transcript; '' if there is none
    split: train, valid, test or unseen
    extra: the line's further fields: the official `subset`, or what another version of speechvq wrote
    """

    id: str
    speaker: str
    path: str
    samples: int
    start: int
    text: str
    split: str
    extra: dict[str, Any] = field(default_factory=dict, hash=False)


@dataclass(frozen=True)
class Treatment:
    """The treatment of prepared audio besides levelling.

    trim_db: edges this far below the peak are cut off, in dB
    high_pass: cutoff of the filter that the audio went through, in Hz; 0 for none
    """

    trim_db: float = 30.0
    high_pass: float = HIGH_PASS


def rank_key(name: str) -> float:
    """A number in [0, 1) that depends on nothing but the name."""
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=7).digest(), "big") / 2**56


@dataclass(frozen=True)
class Split:
    """How utterances are split where the corpus does not say it.

    By hashes of the words, so that no sentence is both trained on and held out, and of the id where there are no
    words. Adding files moves none that were there, but for the few that `of_all` moves in a very small corpus.

    valid, test: shares of the training speakers' utterances
    unseen: share of speakers
    unseen_speakers: names, instead of a share
    """

    valid: float = 0.05
    test: float = 0.05
    unseen: float = 0.05
    unseen_speakers: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.valid + self.test > 1:
            raise SpeechVQError(f"valid and test are shares of one whole; {self.valid} + {self.test} is more")

    def of(self, name: str, speaker: str, text: str = "", official: str = "") -> str:
        """The split of an utterance: train, valid, test or unseen.

        official: the split that the corpus gives it; it goes before every share, but not before `unseen_speakers`
        """
        if speaker in self.unseen_speakers:
            return "unseen"
        if official:
            return official
        if not self.unseen_speakers and rank_key(speaker) < self.unseen:
            return "unseen"
        rank = sentence_rank(name, text)
        return "valid" if rank < self.valid else "test" if rank < self.valid + self.test else "train"

    def of_all(self, rows: Sequence[tuple[str, str, str, str]]) -> list[str]:
        """The splits of all utterances of a corpus: as by `of`, but with something in each split that has a share.

        Shares of a few speakers or sentences may by chance be all of them or none. So a share below 1 leaves a speaker
        and a sentence to train on, and one above 0 holds out a sentence if there is another to train on: those whose
        hashes are the nearest to the share.

        rows: the arguments of `of` for each utterance
        """
        splits = [self.of(*row) for row in rows]
        free = [
            i
            for i, (_, speaker, _, official) in enumerate(rows)
            if not official and speaker not in self.unseen_speakers
        ]
        if free and self.unseen < 1 and all(splits[i] == "unseen" for i in free):
            seen, one = dataclasses.replace(self, unseen=0), max((rows[i][1] for i in free), key=rank_key)
            for i in free:
                splits[i] = seen.of(*rows[i]) if rows[i][1] == one else "unseen"
        free = [i for i in free if splits[i] != "unseen"]
        ranks = {i: sentence_rank(rows[i][0], rows[i][2]) for i in free}

        def move(name: str, rank: float) -> None:
            splits[:] = [name if ranks.get(i) == rank else split for i, split in enumerate(splits)]

        if free and self.valid + self.test < 1 and "train" not in splits:
            move("train", max(ranks.values()))
        for name, share in (("valid", self.valid), ("test", self.test)):
            training = {ranks[i] for i in free if splits[i] == "train"}
            if share and name not in splits and len(training) > 1:
                move(name, min(training))
        return splits


def sentence_rank(name: str, text: str) -> float:
    """The `rank_key` of the words of an utterance, or of its name where there are none."""
    return rank_key(" ".join(re.findall(r"\w+", text.casefold())) or name)


def require_prepared(folder: Path) -> None:
    """Raise SpeechVQError if `prepare` did not write this folder."""
    path = as_path(folder, "a prepared corpus") / MANIFEST
    check_path(path)
    if not path.is_file():
        raise SpeechVQError(f"{folder}: not a prepared corpus, {MANIFEST} is missing")


def read_manifest(folder: Path) -> list[Utterance]:
    """The utterances of a prepared corpus.

    Raises SpeechVQError if `prepare` did not write this folder, naming the line that is malformed.
    """
    require_prepared(folder)
    path = folder / MANIFEST
    utterances = [_utterance(line, where) for where, line in json_lines(path)]
    if not utterances:
        raise SpeechVQError(f"{path}: holds no utterances")
    return utterances


def _utterance(line: str, where: str) -> Utterance:
    row = parse_json(line, where)
    if not isinstance(row, dict):
        raise SpeechVQError(f"{where}: not an object with the fields of an utterance")
    known = {one.name: one.type for one in dataclasses.fields(Utterance) if one.name != "extra"}
    for name, kind in known.items():
        if type(row.get(name)) is not kind:
            raise SpeechVQError(f"{where}: '{name}' is missing or of another type")
    if row["samples"] < 1 or row["start"] < 0 or row["split"] not in SPLITS:
        raise SpeechVQError(f"{where}: 'samples' is at least 1, 'start' at least 0, 'split' one of {', '.join(SPLITS)}")
    for name in ("id", "path"):
        if not is_inside(row[name]):
            raise SpeechVQError(f"{where}: '{name}' does not name a file inside of a folder: {row[name]!r}")
    extra = {name: value for name, value in row.items() if name not in known}
    return Utterance(**{name: row[name] for name in known}, extra=extra)


def utterances_digest(folder: Path, utterances: Iterable[Utterance]) -> str:
    """16 hex digits that name prepared utterances and their audio, for what is computed from them and kept.

    Of the audio only the size of each file is read, which another treatment or recording changes.
    """
    digest = hashlib.sha256()
    for u in utterances:
        path = folder / u.path
        size = path.stat().st_size if file_exists(path) else -1
        digest.update(f"{u.id} {u.path} {u.start} {u.samples} {size}\n".encode())
    return digest.hexdigest()[:16]


def read_treatment(folder: Path) -> Treatment:
    """The treatment of a prepared corpus; without a high-pass where prepare.json names none, or is not there.

    Raises SpeechVQError if that file is malformed.
    """
    path = folder / TREATMENT_FILE
    if not path.is_file():
        return Treatment(high_pass=0.0)
    try:
        data = {"high_pass": 0.0, **read_json(path)}
        treatment = Treatment(**{name: float(value) for name, value in data.items()})
        if not 0 <= treatment.high_pass <= HIGHEST_HIGH_PASS:
            raise ValueError
    except (ValueError, TypeError):
        raise SpeechVQError(f"{path}: not the treatment of a prepared corpus") from None
    return treatment


def write_manifest(folder: Path, utterances: Iterable[Utterance]) -> None:
    """Write a manifest, a line of JSON for each utterance, its extra fields among the others."""
    rows = [dataclasses.asdict(utterance) for utterance in utterances]
    lines = [json.dumps(row | extra, ensure_ascii=False) + "\n" for row in rows for extra in [row.pop("extra")]]
    with atomic_write(folder / MANIFEST) as temporary:
        temporary.write_text("".join(lines), encoding="utf-8")


def read_speakers(folder: Path) -> dict[str, dict[str, str]]:
    """Information on each speaker of a prepared corpus (speakers.json), by name.

    Raises SpeechVQError if `prepare` did not write this folder, or that file is malformed.
    """
    path = folder / SPEAKERS
    if not path.is_file():
        raise SpeechVQError(f"{folder}: not a prepared corpus, {SPEAKERS} is missing")
    data: dict[str, dict[str, str]] = read_json(path)
    check_shape(data, Each(Each(str)), str(path))
    return data


def is_inside(name: str) -> bool:
    """Whether a name with slashes, joined to a folder, stays in that folder: relative, without empty parts or dots."""
    foreign = "\0\\:" if WINDOWS else "\0"  # ..\ and C: lead out of a folder of Windows
    return not any(one in name for one in foreign) and all(part not in ("", ".", "..") for part in name.split("/"))


def as_part(name: str) -> str:
    """A name as a part of a path: what no file's name can hold becomes an escape such as %2F."""
    if not name.strip("."):
        return name.replace(".", "%2E") or "%"
    if not WINDOWS:
        return name.replace("/", "%2F").replace("\0", "%00")
    is_device = re.fullmatch(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", name, re.IGNORECASE | re.DOTALL)
    return re.sub(r"^." if is_device else r'[\0-\x1f<>:"/\\|?*]|[. ]$', lambda found: f"%{ord(found[0]):02X}", name)

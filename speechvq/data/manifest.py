"""The manifest of a prepared corpus, what corpora offer, and how they are split."""

import hashlib
import json
import re
from dataclasses import dataclass, fields
from pathlib import Path

from speechvq import SpeechVQError

MANIFEST = "manifest.jsonl"
SPEAKERS = "speakers.json"


@dataclass(frozen=True)
class Source:
    """An utterance of a corpus as it lies on disk; text is '' where there is none."""

    id: str
    speaker: str
    path: Path
    text: str


@dataclass(frozen=True)
class Utterance:
    """A line of the manifest. `path` is relative to the manifest's folder; `samples` at 16 kHz.

    `start`: where in the source (in samples at 16 kHz) the trimmed audio begins, to shift labels by.
    """

    id: str
    speaker: str
    path: str
    samples: int
    start: int
    text: str
    split: str


def rank_key(name: str) -> float:
    """A number in [0, 1) that depends on nothing but the name."""
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=7).digest(), "big") / 2**56


@dataclass(frozen=True)
class Split:
    """Shares of held-out utterances (valid, test) and of held-out speakers (unseen), or their names instead.

    By hashes of the words, so that no sentence is both trained on and held out, and of the id where there are none:
    adding files moves none that were there.
    """

    valid: float = 0.05
    test: float = 0.05
    unseen: float = 0.05
    unseen_speakers: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.valid + self.test > 1:
            raise SpeechVQError(f"valid and test are shares of one whole; {self.valid} + {self.test} is more")

    def of(self, name: str, speaker: str, text: str = "") -> str:
        """train, valid, test or unseen."""
        if speaker in self.unseen_speakers or (not self.unseen_speakers and rank_key(speaker) < self.unseen):
            return "unseen"
        where = rank_key(" ".join(re.findall(r"\w+", text.casefold())) or name)
        return "valid" if where < self.valid else "test" if where < self.valid + self.test else "train"


def read_manifest(folder: Path) -> list[Utterance]:
    """The utterances prepared in a folder; SpeechVQError where it is not one that `prepare` wrote."""
    path = folder / MANIFEST
    try:
        # Not splitlines: an id may hold what Unicode, but not JSON, calls the end of a line.
        lines = path.read_text(encoding="utf-8").removesuffix("\n").split("\n")
    except (OSError, UnicodeDecodeError):
        raise SpeechVQError(f"{folder}: not a prepared corpus, {MANIFEST} is missing or unreadable") from None
    if lines == [""]:
        raise SpeechVQError(f"{path}: holds no utterances")
    known = {field.name: field.type for field in fields(Utterance)}
    utterances = []
    for i, line in enumerate(lines, 1):
        try:
            row = json.loads(line)
            if {key: type(value) for key, value in row.items()} != known:
                raise ValueError("other keys or types than a manifest's")
            utterances.append(Utterance(**row))
        except (ValueError, AttributeError, TypeError) as error:
            raise SpeechVQError(f"{path}, line {i}: {error}") from None
    return utterances


def read_speakers(folder: Path) -> dict[str, dict[str, str]]:
    """What is known of each speaker of a prepared corpus (speakers.json)."""
    try:
        data: dict[str, dict[str, str]] = json.loads((folder / SPEAKERS).read_text(encoding="utf-8"))
        if not all(isinstance(value, str) for info in data.values() for value in info.values()):
            raise ValueError
    except (OSError, ValueError, AttributeError):
        raise SpeechVQError(f"{folder}: not a prepared corpus, {SPEAKERS} is missing or unreadable") from None
    return data

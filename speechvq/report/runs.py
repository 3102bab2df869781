"""What a run folder holds: its card, its log, and what `evaluate --save` and `sample` have left in it."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from speechvq import SpeechVQError
from speechvq.codec import Codec
from speechvq.config import CodecRun
from speechvq.evaluate.conversion import heard_file
from speechvq.folder.card import Card, load_card
from speechvq.train.loop import read_log
from speechvq.train.run import MADE

QUESTIONS = ("reconstruction", "conversion", "phonemes", "leakage", "rate", "samples")
PICTURES = {
    "confusion": "Confusion matrix: a row for each phone of the speakers scored, a column for each phone that a code "
    "stands for; the brighter, the more of the row's frames",
    "codes": "Heat map: a column for each code, a row for each phone; the brighter, the more of the code's frames are "
    "of that phone",
}


@dataclass(frozen=True)
class Clip:
    """Something to be heard, what it is, and what was measured of it."""

    path: Path
    what: str
    figures: dict[str, Any]


@dataclass(frozen=True)
class Utterance:
    """A held-out utterance and all that was made of it, the recording first."""

    id: str
    speaker: str
    clips: list[Clip]


@dataclass(frozen=True)
class Run:
    """A run folder. results: by question, for those that were asked."""

    folder: Path
    name: str
    card: Card
    log: list[dict[str, float]]
    made: list[dict[str, str]]
    results: dict[str, dict[str, Any]]

    @property
    def is_codec(self) -> bool:
        """Or else a prior."""
        return isinstance(self.card.config, CodecRun)

    @cached_property
    def codec(self) -> Codec:
        """The model, loaded."""
        return Codec.load(self.folder)

    @property
    def pictures(self) -> list[tuple[Path, str]]:
        """Those of the phoneme evaluation that there are, each with its text."""
        paths = ((self.folder / f"{name}.png", text) for name, text in PICTURES.items())
        return [(path, text) for path, text in paths if path.is_file()]

    @property
    def samples(self) -> list[Path]:
        """What was drawn from a prior."""
        folder = self.folder / "samples"
        return sorted(path for path in folder.glob("*") if path.suffix in (".wav", ".flac"))

    def utterances(self, count: int) -> list[Utterance]:
        """`count` of those that `evaluate conversion --wavs RUN/wavs` kept, the speakers in turns."""
        by_speaker: dict[str, dict[str, list[Clip]]] = {}
        for row in self.results.get("conversion", {}).get("rows", []):
            path = self.folder / "wavs" / heard_file(row)
            if path.is_file():
                what = f"as {row['speaker']}" if row["kind"] == "conversion" else row["kind"]
                by_speaker.setdefault(row["source"], {}).setdefault(row["utterance"], []).append(Clip(path, what, row))
        turns = [[(speaker, *one) for one in own.items()] for speaker, own in by_speaker.items()]
        longest = max(map(len, turns), default=0)
        ordered = [turn[i] for i in range(longest) for turn in turns if i < len(turn)]
        return [Utterance(name, speaker, clips) for speaker, name, clips in ordered[:count]]


def read_runs(folders: Sequence[Path]) -> list[Run]:
    """Run folders, each under the last part of its path; SpeechVQError for one that is none."""
    return [_read_run(folder, _name(folder, folders)) for folder in folders]


def _name(folder: Path, folders: Sequence[Path]) -> str:
    path = folder.resolve()
    same = [other for other in folders if other.resolve().name == path.name]
    return path.name if len(same) == 1 else "/".join(path.parts[-2:])


def _read_run(folder: Path, name: str) -> Run:
    files = {question: folder / f"{question}.json" for question in QUESTIONS}
    results = {question: _read_json(path) for question, path in files.items() if path.is_file()}
    made = _read_json(folder / MADE) if (folder / MADE).is_file() else []
    return Run(folder, name, load_card(folder), read_log(folder), made, results)


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise SpeechVQError(f"{path}: not JSON ({error})") from None

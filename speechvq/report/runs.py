"""Run folders: the card, the log, and the results that `evaluate --save` and `sample` left in them."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from speechvq.codec import Codec
from speechvq.evaluate.conversion import wav_name
from speechvq.files import file_exists
from speechvq.folder.card import Card, load_card, model_folder
from speechvq.folder.provenance import is_of_another
from speechvq.report.saved import RESULT_SHAPES, read_result, read_starts
from speechvq.train.loop import read_log
from speechvq.train.run import MADE

HEAT_MAPS = {
    "confusion": "Confusion matrix: a row for each phone of the scored speakers, a column for each phone predicted "
    "from a code; the brighter, the more of the row's frames",
    "codes": "Heat map: a column for each code, a row for each phone; the brighter, the more of the code's frames are "
    "of that phone",
}


@dataclass(frozen=True)
class Clip:
    """A recording in a run folder.

    path: audio file
    kind: natural, copy, reconstruction, "as SPEAKER" for a conversion, or the name of the file for a sample
    figures: what was measured of it
    """

    path: Path
    kind: str
    figures: dict[str, Any]


@dataclass(frozen=True)
class Utterance:
    """A held-out utterance and its clips, the natural recording first."""

    id: str
    speaker: str
    clips: list[Clip]


@dataclass(frozen=True)
class Run:
    """A run folder.

    folder: its path
    name: heading of its section
    card: configuration and speakers
    log: rows of held-out figures while training
    provenance: how training was started, and resumed
    results: saved results, by question of RESULT_SHAPES
    device: where its model computes
    """

    folder: Path
    name: str
    card: Card
    log: list[dict[str, float]]
    provenance: list[dict[str, str]]
    results: dict[str, dict[str, Any]]
    device: str = "cpu"

    @property
    def kind(self) -> str:
        """The kind of run, such as codec or prior."""
        return self.card.config.kind

    @cached_property
    def codec(self) -> Codec:
        """The model, loaded."""
        return Codec.load(self.folder, self.device)

    @property
    def foreign(self) -> list[str]:
        """The questions whose saved results are of another model than that of the folder."""
        return [question for question, result in self.results.items() if is_of_another(result, self.folder)]

    @property
    def heat_maps(self) -> list[tuple[Path, str]]:
        """The pictures of the phoneme evaluation in the folder, each with what it shows."""
        paths = ((self.folder / f"{name}.png", text) for name, text in HEAT_MAPS.items())
        return [(path, text) for path, text in paths if path.is_file()]

    @property
    def samples(self) -> list[Path]:
        """Audio files drawn from a prior."""
        folder = self.folder / "samples"
        return sorted(path for path in folder.glob("*") if path.suffix in (".wav", ".flac"))

    def utterances(self, count: int) -> list[Utterance]:
        """At most `count` utterances kept by `evaluate conversion --wavs RUN/wavs`, of the speakers in turn."""
        by_speaker: dict[str, dict[str, list[Clip]]] = {}
        for row in self.results.get("conversion", {}).get("rows", []):
            path = self.folder / "wavs" / wav_name(row)
            if file_exists(path):
                kind = f"as {row['speaker']}" if row["kind"] == "conversion" else row["kind"]
                by_speaker.setdefault(row["source"], {}).setdefault(row["utterance"], []).append(Clip(path, kind, row))
        of_speakers = [[(speaker, *item) for item in own.items()] for speaker, own in by_speaker.items()]
        longest = max(map(len, of_speakers), default=0)
        ordered = [own[i] for i in range(longest) for own in of_speakers if i < len(own)]
        return [Utterance(name, speaker, clips) for speaker, name, clips in ordered[:count]]


def read_runs(folders: Sequence[Path], device: str = "cpu") -> list[Run]:
    """Read run folders, each named by the last part of its path, or by the last two if names would be equal.

    device: where their models compute

    Raises SpeechVQError if a folder is not a run, or a result in it is damaged.
    """
    folders = [model_folder(folder) for folder in folders]
    return [_read_run(folder, _name(folder, folders), device) for folder in folders]


def _name(folder: Path, folders: Sequence[Path]) -> str:
    path = folder.resolve()
    same = [other for other in folders if other.resolve().name == path.name]
    return path.name if len(same) == 1 else "/".join(path.parts[-2:])


def _read_run(folder: Path, name: str, device: str) -> Run:
    files = {question: folder / f"{question}.json" for question in RESULT_SHAPES}
    results = {question: read_result(path, question) for question, path in files.items() if path.is_file()}
    starts = read_starts(folder / MADE)
    return Run(folder, name, load_card(folder), read_log(folder), starts, results, device)

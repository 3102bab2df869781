"""What corpora offer, how they are split, and the manifest of a prepared one."""

import hashlib
import json
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from speechvq import SpeechVQError
from speechvq.audio import SUFFIXES

MANIFEST = "manifest.jsonl"
SPEAKERS = "speakers.json"
VCTK = "VCTK-Corpus-0.92"


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


def download_vctk(root: Path, url: str | None = None) -> Path:
    """VCTK 0.92 (11 GB) by torchaudio's downloader -> ROOT/VCTK-Corpus-0.92, whole; nothing is done if it is there.

    url: another place of the archive. SpeechVQError where it cannot be had.
    """
    from torchaudio.datasets import vctk

    done, partial = root / VCTK, root / "incomplete"
    if done.is_dir():
        return done
    shutil.rmtree(partial / VCTK, ignore_errors=True)  # unpacked in part; an archive that is there is whole
    partial.mkdir(parents=True, exist_ok=True)
    try:
        vctk.VCTK_092(str(partial), "mic1", download=True, url=url or vctk.URL)
    except (OSError, RuntimeError) as error:
        raise SpeechVQError(
            f"VCTK cannot be downloaded ({error}); fetch {VCTK}.zip by other means, unpack it into {done}"
        ) from None
    (partial / VCTK).rename(done)
    shutil.rmtree(partial)
    return done


def read_vctk(root: Path) -> list[Source]:
    """The utterances of VCTK, release 0.92 (first microphone) or 0.80."""
    new, old = root / "wav48_silence_trimmed", root / "wav48"
    if not (new.is_dir() or old.is_dir()):
        raise SpeechVQError(f"{root}: no VCTK here (neither {new.name}/ nor {old.name}/)")
    paths = sorted(new.glob("*/*_mic1.flac") if new.is_dir() else old.glob("*/*.wav"))
    return [_vctk_source(root, path) for path in _visible(paths, root)]


def _vctk_source(root: Path, path: Path) -> Source:
    name, speaker = path.stem.removesuffix("_mic1"), path.parent.name
    text = root / "txt" / speaker / f"{name}.txt"
    return Source(name, speaker, path, _one_line(text.read_bytes()) if text.is_file() else "")


def read_vctk_speakers(root: Path) -> dict[str, dict[str, str]]:
    """age, sex, accent and region of each speaker, from speaker-info.txt; empty where there is no such file.

    Columns are ID AGE GENDER ACCENTS REGION; release 0.80 leaves the p out of the ID, the region may be missing.
    """
    path = root / "speaker-info.txt"
    rows = path.read_text(encoding="utf-8", errors="replace").splitlines()[1:] if path.is_file() else []
    result = {}
    for row in rows:
        columns = row.split(maxsplit=4)
        if len(columns) >= 4:
            name = columns[0] if not columns[0].isdigit() else f"p{columns[0]}"
            region = re.sub(r"\(.*", "", columns[4]).strip() if len(columns) > 4 else ""
            result[name] = {
                "age": columns[1],
                "sex": columns[2],
                "accent": columns[3],
                "region": " ".join(region.split()),
            }
    return result


def read_folder(root: Path) -> list[Source]:
    """Every audio file below a folder of speakers (DIR/SPEAKER/**), its id the path without the suffix.

    transcripts.tsv (file stem, tab, text) is read from DIR and from each speaker's folder.
    """
    if not root.is_dir():
        raise SpeechVQError(f"{root}: no such folder")
    sources = []
    common = _transcripts(root)
    for folder in sorted(path for path in root.iterdir() if path.is_dir()):
        texts = common | _transcripts(folder)
        files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
        for path in _visible(files, root):
            name = path.relative_to(root).with_suffix("").as_posix()
            sources.append(Source(name, folder.name, path, texts.get(path.stem, "")))
    return sources


def _transcripts(folder: Path) -> dict[str, str]:
    path = folder / "transcripts.tsv"
    lines = path.read_bytes().splitlines() if path.is_file() else []
    rows = (line.partition(b"\t") for line in lines)
    return {stem.decode("utf-8", "replace"): _one_line(text) for stem, _, text in rows}


def _visible(paths: Sequence[Path], root: Path) -> list[Path]:
    """Without hidden files and what lies in hidden folders."""
    return [path for path in paths if not any(part.startswith(".") for part in path.relative_to(root).parts)]


def _one_line(text: bytes) -> str:
    return " ".join(text.decode("utf-8", "replace").split())


def place(name: str) -> float:
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
        if speaker in self.unseen_speakers or (not self.unseen_speakers and place(speaker) < self.unseen):
            return "unseen"
        where = place(" ".join(re.findall(r"\w+", text.casefold())) or name)
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


def read_folder_speakers(root: Path) -> dict[str, dict[str, str]]:
    """What DIR/speakers.json tells of each speaker: {"NAME": {"sex": "F", ...}}; empty where there is no such file."""
    return read_speakers(root) if (root / SPEAKERS).exists() else {}


def read_speakers(folder: Path) -> dict[str, dict[str, str]]:
    """What is known of each speaker of a prepared corpus (speakers.json)."""
    try:
        data: dict[str, dict[str, str]] = json.loads((folder / SPEAKERS).read_text(encoding="utf-8"))
        if not all(isinstance(value, str) for info in data.values() for value in info.values()):
            raise ValueError
    except (OSError, ValueError, AttributeError):
        raise SpeechVQError(f"{folder}: not a prepared corpus, {SPEAKERS} is missing or unreadable") from None
    return data

"""A folder of recordings: DIR/SPEAKER/**, with optional transcripts.tsv and speakers.json."""

from collections.abc import Sequence
from pathlib import Path

from speechvq import SpeechVQError
from speechvq.audio.io import SUFFIXES
from speechvq.data.manifest import SPEAKERS, Source, read_speakers


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
        for path in visible(files, root):
            name = path.relative_to(root).with_suffix("").as_posix()
            sources.append(Source(name, folder.name, path, texts.get(path.stem, "")))
    return sources


def _transcripts(folder: Path) -> dict[str, str]:
    path = folder / "transcripts.tsv"
    lines = path.read_bytes().splitlines() if path.is_file() else []
    rows = (line.partition(b"\t") for line in lines)
    return {stem.decode("utf-8", "replace"): one_line(text) for stem, _, text in rows}


def visible(paths: Sequence[Path], root: Path) -> list[Path]:
    """Without hidden files and what lies in hidden folders."""
    return [path for path in paths if not any(part.startswith(".") for part in path.relative_to(root).parts)]


def one_line(text: bytes) -> str:
    return " ".join(text.decode("utf-8", "replace").split())


def read_folder_speakers(root: Path) -> dict[str, dict[str, str]]:
    """What DIR/speakers.json tells of each speaker: {"NAME": {"sex": "F", ...}}; empty where there is no such file."""
    return read_speakers(root) if (root / SPEAKERS).exists() else {}

"""A folder of recordings, one folder a speaker, with optional transcripts.tsv and speakers.json."""

from pathlib import Path

from speechvq.audio import AUDIO_SUFFIXES
from speechvq.data.corpora.contract import Corpus, Source
from speechvq.data.manifest import SPEAKERS, read_speakers
from speechvq.files import visible_files
from speechvq.text.transcript import read_transcripts

TRANSCRIPTS = "transcripts.tsv"


def _find(root: Path) -> list[Source]:
    """Every audio file below the speakers' folders, at any depth; its id is the path without the suffix.

    transcripts.tsv (file stem, tab, text) is read from the root and from each speaker's folder.
    """
    sources = []
    common = read_transcripts(root / TRANSCRIPTS)
    for folder in sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith(".")):
        texts = common | read_transcripts(folder / TRANSCRIPTS)
        for path in visible_files(folder, AUDIO_SUFFIXES):
            name = path.relative_to(root).with_suffix("").as_posix()
            sources.append(Source(name, folder.name, path, texts.get(path.stem, "")))
    return sources


def _speakers(root: Path) -> dict[str, dict[str, str]]:
    """The content of the root's speakers.json, {"NAME": {"sex": "F", ...}}; {} if there is no such file."""
    return read_speakers(root) if (root / SPEAKERS).exists() else {}


FOLDER = Corpus(
    "a folder for each speaker, with optional transcripts.tsv and speakers.json",
    (f"SPEAKER/**/*{{{','.join(AUDIO_SUFFIXES)}}}",),
    _find,
    _speakers,
)

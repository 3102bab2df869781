"""A folder of recordings, one folder a speaker, with optional transcripts.tsv and speakers.json."""

import logging
from functools import partial
from pathlib import Path

from speechvq.audio import AUDIO_SUFFIXES
from speechvq.data.corpora.contract import Corpus, Source
from speechvq.data.corpora.timit import TIMIT, is_timit
from speechvq.data.manifest import SPEAKERS, read_speakers
from speechvq.files import utf8, visible_files
from speechvq.text.transcript import read_transcripts

TRANSCRIPTS = "transcripts.tsv"

log = logging.getLogger(__name__)


def folder_corpus(speaker_level: int = 1) -> Corpus:
    """The corpus of a folder.

    speaker_level: how far below the root the speakers' folders are: 1 for SPEAKER/FILE, 2 for X/SPEAKER/FILE; 0 if all
        recordings are of one speaker, who has the root's name
    """
    speaker = "*/" * (speaker_level - 1) + "SPEAKER/" if speaker_level else ""
    layout = f"{speaker}**/*{{{','.join(AUDIO_SUFFIXES)}}}"
    if speaker_level:
        layout += " (--speaker-level 0: all of one speaker)"
    return Corpus(
        "a folder for each speaker, with optional transcripts.tsv and speakers.json",
        (layout,),
        partial(_find, speaker_level),
        partial(_speakers, speaker_level),
    )


def _find(level: int, root: Path) -> list[Source]:
    """Every audio file below the speakers' folders, at any depth; its id is the path without the suffix.

    transcripts.tsv (file stem, tab, text) is read from the root and from each speaker's folder. TIMIT's own tree, in
    which the speakers are a level below the dialect regions, is read as TIMIT.
    """
    if level == 1 and is_timit(root):
        log.warning("%s: TIMIT's tree; its speakers are the folders below the dialect regions", root)
        return TIMIT.find(root)
    sources, lost = [], 0
    texts = {root: read_transcripts(root / TRANSCRIPTS)}
    for path in visible_files(root, AUDIO_SUFFIXES):
        parts = path.relative_to(root).parts
        if len(parts) <= level:
            lost += 1
            continue
        folder = root.joinpath(*parts[:level])
        if folder not in texts:
            texts[folder] = texts[root] | read_transcripts(folder / TRANSCRIPTS)
        name = utf8(path.relative_to(root).with_suffix("").as_posix())
        speaker = utf8((folder if level else root.resolve()).name)
        sources.append(Source(name, speaker, path, texts[folder].get(path.stem, "")))
    if lost and sources:
        log.warning("%s: %d recordings above the speakers' folders are left out, as of no speaker", root, lost)
    return sources


def _speakers(level: int, root: Path) -> dict[str, dict[str, str]]:
    """The content of the root's speakers.json, {"NAME": {"sex": "F", ...}}; {} if there is no such file."""
    if level == 1 and is_timit(root):
        return TIMIT.speakers(root)
    return read_speakers(root) if (root / SPEAKERS).exists() else {}


FOLDER = folder_corpus()

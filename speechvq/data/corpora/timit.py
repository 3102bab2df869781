"""TIMIT (Garofolo et al. 1993): its own tree, with hand-made phone labels beside the recordings.

The speakers of TEST are in no training set: here they are `unseen`, speakers held out altogether. The utterances of the
speakers of TRAIN are split by hashes of their sentences. SA1 and SA2 are read by all 630 speakers; they are kept in
the split of their speaker, so that these two sentences, and no others, are in both TRAIN and TEST. The labels are read
from where they are: `speechvq evaluate phonemes --labels TIMIT`.
"""

import re
from pathlib import Path

from speechvq.audio import AUDIO_SUFFIXES
from speechvq.data.corpora.contract import Corpus, Source, nearest_folders
from speechvq.files import visible_files
from speechvq.text.transcript import read_text

# Dialect regions DR1 to DR8.
REGIONS = [
    "New England",
    "Northern",
    "North Midland",
    "South Midland",
    "Southern",
    "New York City",
    "Western",
    "Army Brat",
]
# A row of SPKRINFO.TXT: ID, sex, region, set, dates (month, day, year) of recording and birth, and others.
# An unknown date is ??/??/??; a speaker's name is sex and ID.
ROW = re.compile(r"^(\w+) +([MF]) +\d +\w+ +(\d+)/(\d+)/(\d+) +(\d+)/(\d+)/(\d+) ", re.MULTILINE)


def _speaker_folders(root: Path) -> list[Path]:
    """The folders TRAIN|TEST/DRn/SPEAKER of a corpus, of which `root` is the folder, one above it, or one set."""
    return nearest_folders(root, "[Dd][Rr][1-8]/[FMfm]*", depth=3)


def is_timit(root: Path) -> bool:
    """Whether a folder is TIMIT, or one of its sets, by its dialect regions with folders of speakers."""
    return bool(nearest_folders(root, "[Dd][Rr][1-8]/[FMfm]*", depth=1))


def _find(root: Path) -> list[Source]:
    sources = []
    for folder in _speaker_folders(root):
        subset = folder.parents[1].name.upper()
        texts = {path.stem: path for path in visible_files(folder, [".txt"], below=False)}
        # Of SA1.WAV (NIST SPHERE) and its copy SA1.WAV.wav (RIFF), the last in the order of names: the copy.
        recordings = {path.name.partition(".")[0]: path for path in visible_files(folder, AUDIO_SUFFIXES, below=False)}
        for name, path in recordings.items():
            text = re.sub(r"^\d+ \d+ ", "", read_text(texts[name])) if name in texts else ""  # first and last sample
            split = "unseen" if subset == "TEST" else ""
            sources.append(Source(f"{folder.name}/{name}", folder.name, path, text, split, {"subset": subset}))
    return sources


def _speakers(root: Path) -> dict[str, dict[str, str]]:
    """sex and dialect region of each speaker, and age in years if SPKRINFO.TXT has it."""
    folders = _speaker_folders(root)
    ages = _ages(folders[0].parents[2]) if folders else {}
    result = {}
    for folder in folders:
        name = folder.name.upper()
        info = {"sex": name[0], "region": REGIONS[int(folder.parent.name[2]) - 1]}
        result[folder.name] = info | ({"age": ages[name]} if name in ages else {})
    return result


def _ages(corpus: Path) -> dict[str, str]:
    """The age of each speaker, from the SPKRINFO.TXT beside the sets, in DOC, or in a DOC one folder above."""
    folders = [corpus, *corpus.glob("[Dd][Oo][Cc]"), *corpus.parent.glob("[Dd][Oo][Cc]")]
    paths = [path for folder in folders for path in folder.iterdir() if path.name.upper() == "SPKRINFO.TXT"]
    text = paths[0].read_text(encoding="utf-8", errors="replace") if paths else ""
    result = {}
    for row in ROW.finditer(text):
        month, day, year, birth_month, birth_day, birth_year = (int(number) for number in row.groups()[2:])
        age = year - birth_year - ((month, day) < (birth_month, birth_day))
        result[f"{row[2]}{row[1]}".upper()] = str(age)
    return result


TIMIT = Corpus("TIMIT", ("TRAIN|TEST/DRn/SPEAKER/*.WAV",), _find, _speakers)

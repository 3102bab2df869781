"""LibriSpeech (Panayotov et al. 2015), in whole or in part.

The readers of the official dev and test sets are in no training set: here they are `unseen`, speakers held out
altogether. `valid` and `test` are utterances of the training readers, chosen by hashes. The official name of the set
("dev-clean") is the manifest's field `subset`. All training readers are trained on with `--unseen 0`.
"""

import shutil
import tarfile
from pathlib import Path

from speechvq import SpeechVQError
from speechvq.audio import AUDIO_SUFFIXES
from speechvq.data.corpora.contract import Corpus, Source, nearest_folders
from speechvq.extras import needed_for
from speechvq.files import visible_files
from speechvq.text.transcript import read_transcripts

ROOT = "LibriSpeech"
DOWNLOADED = ("train-clean-100", "dev-clean", "test-clean")


def download(folder: Path, count: int | None = None) -> Path:
    """Download the sets DOWNLOADED by torchaudio's downloader -> the root; a set that is there already is kept.

    folder: the root will be LibriSpeech in it; archives (dev-clean.tar.gz) that lie in its folder `incomplete` are used
    Raises SpeechVQError if a set cannot be downloaded, or a number of sentences is asked for.
    """
    if count is not None:
        raise SpeechVQError("LibriSpeech is downloaded by whole sets, not by a number of sentences")
    with needed_for("downloading LibriSpeech", "corpora"):
        from torchaudio.datasets import LIBRISPEECH

    root, partial = folder / ROOT, folder / "incomplete"
    for subset in DOWNLOADED:
        if (root / subset).is_dir():
            continue
        shutil.rmtree(partial / ROOT, ignore_errors=True)  # unpacked in part; an archive that is there is whole
        partial.mkdir(parents=True, exist_ok=True)
        try:
            LIBRISPEECH(str(partial), subset, download=True)
        except (OSError, RuntimeError, EOFError, tarfile.TarError) as error:
            raise SpeechVQError(
                f"LibriSpeech cannot be downloaded ({error}); put {subset}.tar.gz into {partial} by other means"
            ) from None
        root.mkdir(exist_ok=True)
        for path in [path for path in (partial / ROOT).iterdir() if path.is_file()]:  # SPEAKERS.TXT and the like
            path.replace(root / path.name)
        (partial / ROOT / subset).rename(root / subset)
    shutil.rmtree(partial, ignore_errors=True)
    return root


def chapters(root: Path) -> list[Path]:
    """The folders SUBSET/SPEAKER/CHAPTER of a corpus, of which `root` is the folder, its parent, or one subset."""
    return nearest_folders(root, "[0-9]*/[0-9]*", depth=2)


def reading(path: Path, text: str) -> Source:
    """The source of SUBSET/SPEAKER/CHAPTER/ID.*, in the split of its subset."""
    _, speaker, subset = (folder.name for folder in path.parents[:3])
    held_out = subset.startswith(("dev", "test"))
    return Source(path.stem, speaker, path, text, "unseen" if held_out else "", {"subset": subset})


def readers(root: Path) -> dict[str, dict[str, str]]:
    """sex and name of each reader, from SPEAKERS.TXT (ID | SEX | SUBSET | MINUTES | NAME) or speakers.tsv; {} without.

    speakers.tsv has the same columns, but for the minutes.
    """
    result = {}
    for folder in sorted({chapter.parents[2] for chapter in chapters(root)}):
        for path in [path for path in folder.iterdir() if path.name.lower() in ("speakers.txt", "speakers.tsv")]:
            for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
                columns = [one.strip() for one in (line.split("\t", 3) if "\t" in line else line.split("|", 4))]
                if len(columns) >= 4 and columns[0].isdigit():
                    result[columns[0]] = {"sex": columns[1], "name": columns[-1]}
    return result


def _find(root: Path) -> list[Source]:
    sources = []
    for chapter in chapters(root):
        texts = read_transcripts(chapter / f"{chapter.parent.name}-{chapter.name}.trans.txt", b" ")
        sources += [
            reading(path, texts.get(path.stem, "")) for path in visible_files(chapter, AUDIO_SUFFIXES, below=False)
        ]
    return sources


LIBRISPEECH = Corpus(
    f"LibriSpeech ({', '.join(DOWNLOADED)} to download: 7 GB)",
    ("SUBSET/SPEAKER/CHAPTER/SPEAKER-CHAPTER-NNNN.flac",),
    _find,
    readers,
    download,
)

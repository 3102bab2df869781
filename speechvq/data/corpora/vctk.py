"""The CSTR VCTK Corpus, release 0.92 (first microphone, else second) or 0.80, in all its copies."""

import logging
import re
import shutil
from pathlib import Path

from speechvq import SpeechVQError
from speechvq.audio import AUDIO_SUFFIXES
from speechvq.data.corpora.contract import Corpus, Source
from speechvq.extras import needed_for
from speechvq.files import utf8, visible_files
from speechvq.text.transcript import read_text

log = logging.getLogger(__name__)

RELEASE = "VCTK-Corpus-0.92"
AUDIO_FOLDERS = ("wav48_silence_trimmed", "wav48", "wav16")  # the first that has recordings is read; in either case


def download(folder: Path, count: int | None = None, url: str | None = None) -> Path:
    """Download release 0.92 by torchaudio's downloader -> its root; what is there already is kept.

    folder: the root will be VCTK-Corpus-0.92 in it, and is there only when it is whole
    url: another address of the archive
    Raises SpeechVQError if it cannot be downloaded, or a number of sentences is asked for.
    """
    if count is not None:
        raise SpeechVQError("VCTK is downloaded whole, not by a number of sentences")
    with needed_for("downloading VCTK", "corpora"):
        from torchaudio.datasets import vctk

    root, partial = folder / RELEASE, folder / "incomplete"
    if root.is_dir():
        return root
    shutil.rmtree(partial / RELEASE, ignore_errors=True)  # unpacked in part; an archive that is there is whole
    partial.mkdir(parents=True, exist_ok=True)
    try:
        vctk.VCTK_092(str(partial), "mic1", download=True, url=url or vctk.URL)
    except (OSError, RuntimeError) as error:
        raise SpeechVQError(
            f"VCTK cannot be downloaded ({error}); fetch {RELEASE}.zip by other means, unpack it into {root}"
        ) from None
    (partial / RELEASE).rename(root)
    shutil.rmtree(partial)
    return root


def _audio_folders(root: Path) -> list[Path]:
    """The AUDIO_FOLDERS of a corpus, of which `root` is the folder, one or two above it, or one of them itself."""
    if root.name.lower() in AUDIO_FOLDERS:
        return [root]
    for level in range(3):
        paths = [path for path in root.glob("[!.]*/" * level + "[Ww][Aa][Vv]*") if path.name.lower() in AUDIO_FOLDERS]
        if paths:
            return sorted(paths, key=lambda path: (AUDIO_FOLDERS.index(path.name.lower()), path))
    return []


def _find(root: Path) -> list[Source]:
    for folder in _audio_folders(root):
        paths = [path for path in visible_files(folder, AUDIO_SUFFIXES) if path.parent.parent == folder]
        for mic in ("_mic1", "_mic2", ""):
            chosen = [path for path in paths if path.stem.lower().endswith(mic)]
            if chosen:
                texts = _texts(folder.parent)
                sources = [_source(path, mic, texts) for path in chosen]
                _warn_of_what_is_missing(folder, sources, paths)
                return sources
    return []


def _source(path: Path, mic: str, texts: dict[str, Path]) -> Source:
    name, speaker = utf8(path.stem[: len(path.stem) - len(mic)]), utf8(path.parent.name)
    text = texts.get(f"{speaker}/{name}".lower())
    return Source(name, speaker, path, read_text(text) if text else "")


def _texts(root: Path) -> dict[str, Path]:
    """The files txt/SPEAKER/NAME.txt, in any case, by speaker and name in lower case."""
    paths = [path for path in root.glob("[Tt][Xx][Tt]/[!.]*/[!.]*") if path.suffix.lower() == ".txt"]
    return {utf8(f"{path.parent.name}/{path.stem}").lower(): path for path in paths}


def _warn_of_what_is_missing(folder: Path, sources: list[Source], paths: list[Path]) -> None:
    """Log how many recordings there are of another microphone alone, and whether there is no transcript."""
    taken = {(source.path.parent, source.id) for source in sources}
    others = {(path.parent, utf8(re.sub(r"(?i)_mic[12]$", "", path.stem))) for path in paths} - taken
    if others:
        mic = sources[0].path.stem[len(sources[0].id) :] or "no microphone's name"
        log.warning("%s: %d recordings without one of %s are left out", folder, len(others), mic)
    if not any(source.text for source in sources):
        log.warning("%s: no transcripts, which are looked for in txt/SPEAKER", folder.parent)


def _speakers(root: Path) -> dict[str, dict[str, str]]:
    """age, sex, accent and region of each speaker, from speaker-info.txt; {} if there is no such file.

    Its columns are ID AGE GENDER ACCENTS REGION. Release 0.80 leaves the p out of the ID; the region may be missing.
    """
    path = next((folder.parent for folder in _audio_folders(root)), root) / "speaker-info.txt"
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


SUFFIXES = f"{{{','.join(AUDIO_SUFFIXES)}}}"
VCTK = Corpus(
    "VCTK, release 0.92 (11 GB to download) or 0.80",
    (f"wav48_silence_trimmed/SPEAKER/*_mic[12]{SUFFIXES}", f"wav48|wav16/SPEAKER/*{SUFFIXES}"),
    _find,
    _speakers,
    download,
)

"""The CSTR VCTK Corpus, release 0.92 (first microphone) or 0.80."""

import re
import shutil
from pathlib import Path

from speechvq import SpeechVQError
from speechvq.data.corpora.contract import Corpus, Source
from speechvq.files import visible_files
from speechvq.text.transcript import read_text

RELEASE = "VCTK-Corpus-0.92"


def download(folder: Path, count: int | None = None, url: str | None = None) -> Path:
    """Download release 0.92 by torchaudio's downloader -> its root; what is there already is kept.

    folder: the root will be VCTK-Corpus-0.92 in it, and is there only when it is whole
    url: another address of the archive
    Raises SpeechVQError if it cannot be downloaded, or a number of sentences is asked for.
    """
    if count is not None:
        raise SpeechVQError("VCTK is downloaded whole, not by a number of sentences")
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


def _find(root: Path) -> list[Source]:
    paths = visible_files(root, [".flac"], "wav48_silence_trimmed/*/*_mic1.flac")
    return [_source(root, path) for path in paths or visible_files(root, [".wav"], "wav48/*/*.wav")]


def _source(root: Path, path: Path) -> Source:
    name, speaker = path.stem.removesuffix("_mic1"), path.parent.name
    return Source(name, speaker, path, read_text(root / "txt" / speaker / f"{name}.txt"))


def _speakers(root: Path) -> dict[str, dict[str, str]]:
    """age, sex, accent and region of each speaker, from speaker-info.txt; {} if there is no such file.

    Its columns are ID AGE GENDER ACCENTS REGION. Release 0.80 leaves the p out of the ID; the region may be missing.
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


VCTK = Corpus(
    "VCTK, release 0.92 (11 GB to download) or 0.80",
    ("wav48_silence_trimmed/SPEAKER/*_mic1.flac", "wav48/SPEAKER/*.wav"),
    _find,
    _speakers,
    download,
)

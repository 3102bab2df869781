"""VCTK, release 0.92 or 0.80."""

import re
import shutil
from pathlib import Path

from speechvq import SpeechVQError
from speechvq.data.corpora.folder import one_line, visible
from speechvq.data.manifest import Source

VCTK = "VCTK-Corpus-0.92"


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
    return [_vctk_source(root, path) for path in visible(paths, root)]


def _vctk_source(root: Path, path: Path) -> Source:
    name, speaker = path.stem.removesuffix("_mic1"), path.parent.name
    text = root / "txt" / speaker / f"{name}.txt"
    return Source(name, speaker, path, one_line(text.read_bytes()) if text.is_file() else "")


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

"""Link the speakers of several corpora into one folder that `speechvq prepare folder` reads.

    python recipes/models/corpus.py DATA OUT [NAME ...]

DATA/vctk is VCTK; every folder in DATA/NAME is a speaker's, with a transcripts.tsv in it. The names are arctic and
librispeech if none is given.
"""

import json
import sys
from collections import defaultdict
from pathlib import Path

import soundfile

from speechvq import SpeechVQError
from speechvq.audio import AUDIO_SUFFIXES
from speechvq.data.corpora.vctk import VCTK

OTHERS = {
    "bdl": {"sex": "M", "accent": "American"},
    "slt": {"sex": "F", "accent": "American"},
    "19": {"sex": "F"},
    "26": {"sex": "M"},
    "27": {"sex": "M"},
}


def main(data: Path, out: Path, names: list[str]) -> None:
    """Write the links, transcripts.tsv and speakers.json: sex, accent, minutes and corpus of each speaker."""
    out.mkdir(parents=True, exist_ok=True)
    sources = VCTK.read(data / "vctk")
    folders = {source.path.parent: "vctk" for source in sources}
    folders |= {path: name for name in names for path in (data / name).iterdir() if path.is_dir()}
    known = VCTK.speakers(data / "vctk")
    info = {name: {key: known[name][key] for key in ("sex", "accent")} for name in known} | OTHERS
    seconds: dict[str, float] = defaultdict(float)
    kinds: dict[str, str] = {}
    for folder, kind in folders.items():
        kinds[folder.name] = kind
        link = out / folder.name
        link.unlink(missing_ok=True)
        link.symlink_to(folder.resolve())
        for path in folder.iterdir():
            if path.suffix.lower() in AUDIO_SUFFIXES:
                seconds[folder.name] += soundfile.info(path).duration
    described = {
        name: info.get(name, {}) | {"minutes": f"{whole / 60:.1f}", "corpus": kinds[name]}
        for name, whole in sorted(seconds.items())
    }
    (out / "speakers.json").write_text(json.dumps(described, indent=2) + "\n")
    (out / "transcripts.tsv").write_text("".join(f"{source.path.stem}\t{source.text}\n" for source in sources))


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    try:
        main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:] or ["arctic", "librispeech"])
    except (SpeechVQError, OSError) as error:
        sys.exit(f"corpus.py: error: {error}")

"""The contract of a corpus: from its files on disk to the sources that `prepare` reads."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from speechvq import SpeechVQError
from speechvq.audio import AUDIO_SUFFIXES
from speechvq.files import walk

LOOKED_AT = 10_000  # files of a folder that is no corpus, to say what it holds


@dataclass(frozen=True)
class Source:
    """An utterance of a corpus on disk.

    id: unique in its corpus
    speaker: the speaker's name
    path: the audio file
    text: the transcript; '' if there is none
    split: train, valid, test or unseen, where the corpus itself decides it; '' leaves it to `Split`
    extra: further fields for the manifest, such as the official `subset`
    """

    id: str
    speaker: str
    path: Path
    text: str = ""
    split: str = ""
    extra: dict[str, str] = field(default_factory=dict, hash=False)


@dataclass(frozen=True)
class Corpus:
    """How a corpus is read, and how it is got.

    summary: name and release, in the help of the command line
    layout: the files that are looked for below the root, for people
    find: root -> its utterances, in a fixed order; [] if there are none
    speakers: root -> what is known of each speaker (sex, age, accent, ...), by name; {} if nothing is
    download: folder, number of sentences (None for all) -> the corpus's root in it; None if it cannot be got.
        Raises SpeechVQError if it cannot be downloaded, or not in part.
    """

    summary: str
    layout: tuple[str, ...]
    find: Callable[[Path], list[Source]]
    speakers: Callable[[Path], dict[str, dict[str, str]]]
    download: Callable[[Path, int | None], Path] | None = None

    def read(self, root: Path) -> list[Source]:
        """The utterances of the corpus that lies in a folder.

        Raises SpeechVQError if there is no such folder, or it holds none: what was looked for, and what is there.
        """
        if not root.is_dir():
            raise SpeechVQError(f"{root}: {'not a' if root.exists() else 'no such'} folder")
        sources = self.find(root)
        if not sources:
            looked = f"looked for {' and '.join(self.layout)}"
            raise SpeechVQError(f"{root}: no recordings found; {looked}; {_contents(root)}")
        return sources


def _contents(root: Path) -> str:
    """What a folder holds, in a few words: its recordings, else its other files."""
    files = list(islice(walk(root), LOOKED_AT))
    shown = [path for path in files if path.suffix.lower() in AUDIO_SUFFIXES] or files
    if not shown:
        return "it is empty"
    counts = Counter(path.suffix or path.name for path in shown).most_common(3)
    examples = ", ".join(path.relative_to(root).as_posix() for path in shown[:2])
    return f"it holds {' and '.join(f'{count} {suffix}' for suffix, count in counts)}, such as {examples}"


def nearest_folders(root: Path, pattern: str, depth: int) -> list[Path]:
    """The folders that match a glob pattern in `root`, or else in the folders one, two, ... `depth` levels below it.

    They are sorted, and all of the first level at which there are any; hidden folders are not entered.
    """
    for level in range(depth + 1):
        found = [path for path in root.resolve().glob("[!.]*/" * level + pattern) if path.is_dir()]
        if found:
            return sorted(found)
    return []

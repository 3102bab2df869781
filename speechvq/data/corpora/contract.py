"""The contract of a corpus: from its files on disk to the sources that `prepare` reads."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from speechvq import SpeechVQError


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

        Raises SpeechVQError if there is no such folder, or it holds none.
        """
        if not root.is_dir():
            raise SpeechVQError(f"{root}: no such folder")
        sources = self.find(root)
        if not sources:
            raise SpeechVQError(f"{root}: no recordings found; looked for {' and '.join(self.layout)}")
        return sources

"""LibriTTS (Zen et al. 2019) and LibriTTS-R, in whole or in part: LibriSpeech's readers and sets, split by sentences.

The readers of the official dev and test sets are `unseen`, as those of LibriSpeech are.
"""

from pathlib import Path

from speechvq.audio import AUDIO_SUFFIXES
from speechvq.data.corpora.contract import Corpus, Source
from speechvq.data.corpora.librispeech import chapters, readers, reading
from speechvq.files import visible_files
from speechvq.text.transcript import read_text


def _find(root: Path) -> list[Source]:
    paths = [path for chapter in chapters(root) for path in visible_files(chapter, AUDIO_SUFFIXES, below=False)]
    return [reading(path, _text(path)) for path in paths]


def _text(path: Path) -> str:
    """The normalized text of a recording, else the original one, else ''."""
    return read_text(path.with_suffix(".normalized.txt")) or read_text(path.with_suffix(".original.txt"))


LIBRITTS = Corpus(
    "LibriTTS or LibriTTS-R",
    ("SUBSET/SPEAKER/CHAPTER/SPEAKER_CHAPTER_NNNNNN_NNNNNN.wav",),
    _find,
    readers,
)

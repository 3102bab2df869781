"""Small trees of files, one for each corpus, laid out as the corpus is published."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile


def tone(path: Path, seconds: float = 0.3, lead: float = 0.0, rate: int = 16_000, frequency: float = 440) -> Path:
    """Write a tone after `lead` seconds of silence."""
    wav = 0.3 * np.sin(2 * np.pi * frequency * np.arange(round(seconds * rate)) / rate)
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.concatenate([np.zeros(round(lead * rate)), wav]), rate)
    return path


def text(path: Path, content: str | bytes) -> None:
    """Write a file of text and the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)


def vctk(root: Path) -> None:
    """VCTK 0.92: p280 has no second microphone, p315 no text."""
    audio = root / "wav48_silence_trimmed"
    for name in ("p225/p225_002_mic2", "p225/p225_002_mic1", "p225/p225_001_mic1", "p280/p280_001_mic1"):
        tone(audio / f"{name}.flac", rate=48_000)
    tone(audio / "p315" / "p315_007_mic1.flac")
    (audio / "p225" / "._p225_003_mic1.flac").write_bytes(b"\0\5\26\7")  # what macOS leaves in archives
    (audio / "log.txt").write_text("p300 ...")
    text(root / "txt" / "p225" / "p225_001.txt", "Please call\r\n  Stella. \n")
    text(root / "txt" / "p225" / "p225_002.txt", b"caf\xe9 and caf\xc3\xa9\n")
    text(root / "txt" / "p280" / "p280_001.txt", "Ask her.")
    text(
        root / "speaker-info.txt",
        "ID  AGE  GENDER  ACCENTS  REGION COMMENTS \n"
        "p225  23  F    English    Southern  England\n"
        "p280  25  F    French    France (mic2 files unavailable)\n"
        "p315  18  M    American    New England (txt files unavailable)\n",
    )


def folder(root: Path) -> None:
    """Two speakers, transcripts of both and of one, and files that are not recordings."""
    for name in ("b/2.wav", "b/deep/er/x.y.flac", "a/1.WAV", "a/été.ogg", ".cache/1.wav", "a/.trash/2.wav"):
        tone(root / name)
    tone(root / "b" / ".hidden.wav")
    tone(root / "beside.wav")  # of no speaker
    text(root / "b" / "notes.txt", "not audio")
    text(root / "transcripts.tsv", "1\tOne, common\n2\tTwo, common\nété\tsummer\r\n")
    text(root / "b" / "transcripts.tsv", "2\tTwo\t own\nx.y\t  Deep. \nmissing\tnothing\n\nwithout a tab\n")
    text(root / "speakers.json", '{"a": {"sex": "F"}, "b": {}}')


def librispeech(root: Path) -> None:
    """A training set and both kinds of held-out sets, the file of speakers, and what macOS leaves in archives."""
    for name in ("train-clean-100/19/198/19-198-0000", "train-clean-100/19/198/19-198-0001"):
        tone(root / f"{name}.flac")
    tone(root / "train-clean-100" / "60" / "121082" / "60-121082-0000.flac")
    tone(root / "dev-clean" / "84" / "121123" / "84-121123-0000.flac")
    tone(root / "test-other" / "1688" / "142285" / "1688-142285-0000.flac")
    text(root / "dev-clean" / "84" / "121123" / "._84-121123-0000.flac", b"\0\5\26\7")
    text(
        root / "train-clean-100/19/198/19-198.trans.txt",
        "19-198-0000 NORTHANGER ABBEY\n19-198-0001 THIS  LITTLE WORK\n",
    )
    text(root / "dev-clean/84/121123/84-121123.trans.txt", "84-121123-0000 GO\n")
    text(
        root / "SPEAKERS.TXT",
        "; Some pipe(|) separated metadata about all LibriVox readers\n;ID  |SEX| SUBSET           |MINUTES| NAME\n"
        "19   | F | train-clean-100  | 25.19 | Kara Shallenberg\n60   | M | train-clean-100  | 20.18 | |CBW|Simon\n"
        "84   | F | dev-clean        | 8.02  | Christie Nowak\n1688 | M | test-other       | 8.02  | O'Neil\n",
    )


def libritts(root: Path) -> None:
    """Two sets, texts normalized and original, the table of the package beside that of LibriSpeech."""
    first = root / "train-clean-100" / "19" / "198"
    for name in ("19_198_000000_000000", "19_198_000000_000002"):
        tone(first / f"{name}.wav", rate=24_000)
    text(first / "19_198_000000_000000.original.txt", "CHAPTER 1.\n")
    text(first / "19_198_000000_000000.normalized.txt", "CHAPTER one.\n")
    text(first / "19_198_000000_000002.original.txt", "Northanger\n Abbey")
    text(first / "19_198.trans.tsv", "19_198_000000_000000\tCHAPTER 1.\tCHAPTER one.\n")
    tone(root / "dev-clean" / "84" / "121123" / "84_121123_000007_000001.wav", rate=24_000)
    tone(root / "dev-clean" / "84" / "121123" / "._84_121123_000007_000001.wav")
    text(
        root / "speakers.tsv",
        "READER\tGENDER\tSUBSET\tNAME\n19\tF\ttrain-clean-100\tKara Shallenberg\n84\tF\tdev-clean\tChristie Nowak\n",
    )


def sphere(path: Path) -> None:
    """Write a tone as NIST SPHERE, whatever the suffix."""
    path.parent.mkdir(parents=True, exist_ok=True)
    wav = 0.3 * np.sin(2 * np.pi * 440 * np.arange(4800) / 16_000)
    soundfile.write(path, wav, 16_000, format="NIST", subtype="PCM_16")


def timit(root: Path) -> None:
    """Two dialect regions, both sets, SA sentences of all, one recording with the RIFF copy that some packages have."""
    for speaker in ("TRAIN/DR1/FCJF0", "TRAIN/DR2/MARC0", "TEST/DR1/MDAB1"):
        for name, words in (("SA1", "She had your dark suit."), (f"SX{len(speaker)}", f"Sentence of {speaker[-5:]}.")):
            sphere(root / speaker / f"{name}.WAV")
            text(root / speaker / f"{name}.TXT", f"0 4800 {words}\n")
            text(root / speaker / f"{name}.PHN", "0 1600 h#\n1600 3200 iy\n3200 4800 h#\n")
    tone(root / "TRAIN" / "DR1" / "FCJF0" / "SA1.WAV.wav", frequency=300)
    text(root / "TRAIN" / "DR1" / "FCJF0" / "._SA1.WAV", b"\0\5\26\7")
    text(
        root / "DOC" / "SPKRINFO.TXT",
        ";ID    Sex DR Use  RecDate   BirthDate  Ht    Race Edu  Comments\n"
        "CJF0   F   1  TRN  03/03/87  06/17/60  5'11\"  WHT  BS\n"
        "ARC0   M   2  TRN  03/03/86  03/03/46  5'11\"  WHT  BS   some words\n"
        "DAB1   M   1  TST  03/03/86  ??/??/??  5'11\"  ???  ??\n",
    )


TREES: dict[str, Callable[[Path], None]] = {
    "vctk": vctk,
    "folder": folder,
    "demo": vctk,
    "librispeech": librispeech,
    "libritts": libritts,
    "timit": timit,
}

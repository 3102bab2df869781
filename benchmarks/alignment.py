"""Accuracy of forced alignment, by voice, against the exact phone times of espeak-ng's speech.

    python benchmarks/alignment.py [--count 10]

Measures the share of 10 ms frames of speech that are aligned to the phone that was spoken. In the second column the
schwa, which CMUdict does not have, counts as the vowel of "but".
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np

from speechvq import SpeechVQError
from speechvq.audio.io import read
from speechvq.data.align import Aligner
from speechvq.data.corpora.demo_speech import speak_corpus
from speechvq.data.corpora.vctk import VCTK
from speechvq.text.frames import frame_labels
from speechvq.text.labels import read_labels
from speechvq.text.phones import SILENCE
from speechvq.text.segments import Segment

FRAME = 0.01  # seconds


def agreement(found: list[Segment], exact: list[Segment]) -> list[tuple[bool, bool]]:
    """For each frame of speech, whether both have the same phone, and whether they do with the schwa as "ah"."""
    frames = int(exact[-1].end / FRAME)
    pairs = zip(frame_labels(found, frames, FRAME), frame_labels(exact, frames, FRAME), strict=True)
    return [(one == phone, one == ("ah" if phone == "ax" else phone)) for one, phone in pairs if phone != SILENCE]


def main() -> None:
    """Synthesise, align, and print a line for each voice."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=10, help="sentences of each voice (default: 10)")
    options = parser.parse_args()
    rows: dict[str, list[tuple[bool, bool]]] = {}
    aligner, failed = Aligner(), 0
    with tempfile.TemporaryDirectory() as folder:
        speak_corpus(Path(folder), count=options.count)
        for source in VCTK.read(Path(folder)):
            exact = read_labels(Path(folder) / "lab" / source.speaker / f"{source.id}.lab")
            try:
                found = aligner.align(read(source.path), source.text).phones
            except SpeechVQError as error:
                print(f"{source.id}: {error}")
                failed += 1
                continue
            rows.setdefault(source.speaker, []).extend(agreement(found, exact))
    print(f"{'voice':6} {'frames':>7} {'agree %':>8} {'ax = ah':>8}")
    for speaker, same in [*rows.items(), ("all", [frame for row in rows.values() for frame in row])]:
        print(f"{speaker:6} {len(same):7} {100 * np.mean(same, 0)[0]:8.1f} {100 * np.mean(same, 0)[1]:8.1f}")
    print(f"{failed} utterances could not be aligned")


if __name__ == "__main__":
    main()

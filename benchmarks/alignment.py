"""How well forced alignment finds phones: against the exact times of speech from espeak-ng, by voice.

python benchmarks/alignment.py [--count 10]

The share of 10 ms frames of speech that get the phone that is spoken; in the second column the schwa, which CMUdict
does not have, counts as the vowel of `but`.
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
from speechvq.data.labels import frame_labels, read_labels
from speechvq.data.phones import SILENCE

HOP = 0.01


def main() -> None:
    """Print a line for each voice."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=10, help="sentences of each voice (default: 10)")
    options = parser.parse_args()
    aligner, rows, failed = Aligner(), {}, 0
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
            frames = int(exact[-1].end / HOP)
            pairs = zip(frame_labels(found, frames, HOP), frame_labels(exact, frames, HOP), strict=True)
            spoken = [(told, phone) for told, phone in pairs if phone != SILENCE]
            alike = [(told == phone, told == {"ax": "ah"}.get(phone, phone)) for told, phone in spoken]
            rows.setdefault(source.speaker, []).extend(alike)
    print(f"{'voice':6} {'frames':>7} {'agree %':>8} {'ax = ah':>8}")
    for speaker, alike in [*rows.items(), ("all", [one for row in rows.values() for one in row])]:
        print(f"{speaker:6} {len(alike):7} {100 * np.mean(alike, 0)[0]:8.1f} {100 * np.mean(alike, 0)[1]:8.1f}")
    print(f"{failed} utterances could not be aligned")


if __name__ == "__main__":
    main()

"""Convert one recording to every voice that a model knows well.

python examples/voices.py my.wav voices
"""

import argparse
from pathlib import Path

from speechvq import Codec
from speechvq.audio.io import read, write

GOOD_MINUTES = 5  # of training speech; the card has each speaker's


def main() -> None:
    """Parse the command line, and convert."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("recording", type=Path)
    parser.add_argument("folder", type=Path, help="for the conversions, VOICE.wav each")
    parser.add_argument("--model", default="convert-50hz", help="packaged model or model folder (default: %(default)s)")
    options = parser.parse_args()
    codec = Codec.load(options.model)
    wav = read(options.recording)
    codes = codec.encode(wav, codec.sample_rate)
    info = codec.card.speaker_info
    for speaker in codec.speakers:
        if float(info.get(speaker, {}).get("minutes", GOOD_MINUTES)) >= GOOD_MINUTES:
            write(options.folder / f"{speaker}.wav", codec.decode(codes, speaker)[: len(wav)])


if __name__ == "__main__":
    main()

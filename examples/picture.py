"""Draw spectrograms of a recording and of its conversion above the codes between them.

python examples/picture.py my.wav picture.png --speaker p225
"""

import argparse
from pathlib import Path

from speechvq import Codec
from speechvq.audio.io import read
from speechvq.audio.level import normalize_loudness
from speechvq.report.pictures import spectrograms


def main() -> None:
    """Parse the command line, and draw."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("recording", type=Path)
    parser.add_argument("picture", type=Path, help="a .png to write")
    parser.add_argument("--model", default="convert-50hz", help="packaged model or model folder (default: %(default)s)")
    parser.add_argument("--speaker", required=True, help="a voice of the model")
    options = parser.parse_args()
    codec = Codec.load(options.model)
    wav = read(options.recording)
    codes = codec.encode(wav, codec.sample_rate)
    converted = codec.decode(codes, options.speaker)[: len(wav)]
    wavs = {"recording": normalize_loudness(wav), f"as {options.speaker}": converted}
    options.picture.write_bytes(spectrograms(wavs, codes.tolist(), codec.hop_length, []))


if __name__ == "__main__":
    main()

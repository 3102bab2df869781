"""How much conversions suffer from what recordings suffer from: level, noise, a telephone, a dull microphone.

python benchmarks/robustness.py --data DATA --model MODEL [--model MODEL] [--count 12]

For each kind of recording: the words misunderstood in it, and of each model the share of codes that stay as they were
and the words misunderstood in conversions to three other speakers. Utterances are of the test and unseen splits.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from speechvq.audio import SAMPLE_RATE
from speechvq.audio.io import read, resample
from speechvq.codec import Codec
from speechvq.data.manifest import Utterance, rank_key, read_manifest
from speechvq.evaluate.metrics.judges import Recognition, Recognizer
from speechvq.progress import progress
from speechvq.wavenet.sampler import Sampling

Change = Callable[[Tensor], Tensor]


def noisy(decibel: float) -> Change:
    """White noise, so far below the speech."""

    def add(wav: Tensor) -> Tensor:
        noise = torch.randn(wav.shape, generator=torch.Generator().manual_seed(len(wav)))
        return wav + noise * wav.square().mean().sqrt() * 10 ** (-decibel / 20)

    return add


def dull(wav: Tensor) -> Tensor:
    """6 dB less an octave, above 1 kHz."""
    spectrum = torch.fft.rfft(wav)
    frequency = torch.linspace(0, SAMPLE_RATE / 2, len(spectrum))
    return torch.fft.irfft(spectrum * (1000 / frequency.clamp(min=1000)), n=len(wav))


CHANGES: dict[str, Change] = {
    "as recorded": lambda wav: wav,
    "30 dB softer": lambda wav: wav * 10 ** (-30 / 20),
    "noise 20 dB below": noisy(20),
    "noise 10 dB below": noisy(10),
    "8 kHz telephone": lambda wav: resample(resample(wav, SAMPLE_RATE, 8000), 8000, SAMPLE_RATE)[: len(wav)],
    "dull microphone": dull,
}


def main() -> None:
    """Print a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder written by `speechvq prepare`")
    parser.add_argument("--model", type=Path, action="append", required=True)
    parser.add_argument("--speakers", default="p225,bdl,p239", help="to convert to")
    parser.add_argument("--count", type=int, default=12, help="utterances (default: 12)")
    options = parser.parse_args()
    codecs = [Codec.load(path) for path in options.model]
    held_out = [u for u in read_manifest(options.data) if u.split in ("test", "unseen") and u.text]
    utterances = sorted(held_out, key=lambda u: rank_key(u.id))[: options.count]
    names = " | ".join(f"codes kept, {path.name} % | words wrong, {path.name} %" for path in options.model)
    print(f"| | words wrong, recording % | {names} |\n|---|---{'|---|---' * len(codecs)}|")
    recognizer = Recognizer()
    for name, change in progress(list(CHANGES.items()), unit="change"):
        heard = [measure(recognizer, codecs, options, u, change) for u in utterances]
        cells = [rate([h for row in heard for h in row[0]])]
        for i in range(len(codecs)):
            kept = torch.cat([row[1][i] for row in heard])
            cells += [f"{100 * kept.float().mean():.1f}", rate([h for row in heard for h in row[2][i]])]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


def measure(
    recognizer: Recognizer, codecs: list[Codec], options: argparse.Namespace, utterance: Utterance, change: Change
) -> tuple[list[Recognition], list[Tensor], list[list[Recognition]]]:
    """What is heard in the changed recording; for each codec which codes are kept, and what is heard in conversions."""
    natural = read(options.data / utterance.path)
    wav = change(natural)
    targets = [name for name in options.speakers.split(",") if name != utterance.speaker]
    kept, conversions = [], []
    for codec in codecs:
        codes = codec.encode(wav, SAMPLE_RATE)
        kept.append(codes == codec.encode(natural, SAMPLE_RATE))
        made = codec.decode_many([codes] * len(targets), targets, Sampling())
        conversions.append([recognizer.recognize(one, utterance.text) for one in made])
    return [recognizer.recognize(wav, utterance.text)], kept, conversions


def rate(heard: list[Recognition]) -> str:
    """Word errors in percent."""
    return f"{100 * sum(h.word_errors for h in heard) / sum(h.words for h in heard):.1f}"


if __name__ == "__main__":
    main()

"""Robustness of conversion to bad recordings: low level, noise, a telephone line, a dull microphone.

    python benchmarks/robustness.py --data PREPARED --model MODEL [--model MODEL] [--count 12]

Measures, for each kind of recording, its word error rate and, for each model, the share of codes that do not change and
the word error rate of conversions to three other speakers. Utterances are of the test and unseen splits.
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
    """Add white noise at a level this far below the speech."""

    def add(wav: Tensor) -> Tensor:
        noise = torch.randn(wav.shape, generator=torch.Generator().manual_seed(len(wav)))
        return wav + noise * wav.square().mean().sqrt() * 10 ** (-decibel / 20)

    return add


def dull(wav: Tensor) -> Tensor:
    """Attenuate by 6 dB per octave above 1 kHz."""
    spectrum = torch.fft.rfft(wav)
    frequency = torch.linspace(0, SAMPLE_RATE / 2, len(spectrum))
    filtered: Tensor = torch.fft.irfft(spectrum * (1000 / frequency.clamp(min=1000)), n=len(wav))
    return filtered


def telephone(wav: Tensor) -> Tensor:
    """Leave out what is above 4 kHz, as 8000 samples a second do."""
    return resample(resample(wav, SAMPLE_RATE, 8000), 8000, SAMPLE_RATE)[: len(wav)]


CHANGES: dict[str, Change] = {
    "as recorded": lambda wav: wav,
    "30 dB softer": lambda wav: wav * 10 ** (-30 / 20),
    "offset of 0.3": lambda wav: wav + 0.3,
    "noise 20 dB below": noisy(20),
    "noise 10 dB below": noisy(10),
    "8 kHz telephone": telephone,
    "dull microphone": dull,
}


def main() -> None:
    """Measure all kinds of recordings and print a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder written by `speechvq prepare`")
    parser.add_argument("--model", type=Path, action="append", required=True, help="model folder; may be repeated")
    parser.add_argument(
        "--speakers", default="p225,bdl,p239", help="targets of the conversions (default: p225,bdl,p239)"
    )
    parser.add_argument("--count", type=int, default=12, help="utterances (default: 12)")
    options = parser.parse_args()
    codecs = [Codec.load(path) for path in options.model]
    held_out = [u for u in read_manifest(options.data) if u.split in ("test", "unseen") and u.text]
    utterances = sorted(held_out, key=lambda u: rank_key(u.id))[: options.count]
    names = " | ".join(f"codes kept, {path.name}, % | WER, {path.name}, % " for path in options.model)
    print(f"| | WER, recording, % | {names} |\n|---|---{'|---|---' * len(codecs)}|")
    recognizer = Recognizer()
    for name, change in progress(list(CHANGES.items()), unit="change"):
        rows = [measure(recognizer, codecs, options, u, change) for u in utterances]
        cells = [word_error_rate([result for row in rows for result in row[0]])]
        for i in range(len(codecs)):
            kept = torch.cat([row[1][i] for row in rows])
            results = [result for row in rows for result in row[2][i]]
            cells += [f"{100 * kept.float().mean():.1f}", word_error_rate(results)]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


def measure(
    recognizer: Recognizer, codecs: list[Codec], options: argparse.Namespace, utterance: Utterance, change: Change
) -> tuple[list[Recognition], list[Tensor], list[list[Recognition]]]:
    """Recognise the changed recording and its conversions.

    Returns what is recognised in the recording and, for each codec, which codes do not change (N,) and what is
    recognised in the conversions.
    """
    natural = read(options.data / utterance.path)
    wav = change(natural)
    targets = [name for name in options.speakers.split(",") if name != utterance.speaker]
    kept, conversions = [], []
    for codec in codecs:
        codes = codec.encode(wav, SAMPLE_RATE)
        kept.append(codes == codec.encode(natural, SAMPLE_RATE))
        converted = codec.decode_many([codes] * len(targets), targets, Sampling())
        conversions.append([recognizer.recognize(one, utterance.text) for one in converted])
    return [recognizer.recognize(wav, utterance.text)], kept, conversions


def word_error_rate(results: list[Recognition]) -> str:
    """The word error rate over all words, in percent."""
    return f"{100 * sum(one.word_errors for one in results) / sum(one.words for one in results):.1f}"


if __name__ == "__main__":
    main()

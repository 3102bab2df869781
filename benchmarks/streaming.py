"""Latency and speed of streams, chunk by chunk, beside the conversion of the whole file in the same run.

    python benchmarks/streaming.py [--audio FILE] [--model M] [--speaker S] [--chunk 320] [--lookahead 1 all]

Prints a line for the whole file, and one for each number of codes that the decoder waits for: the algorithmic latency
as the stream states it, the latest sample by the count of those that went in and came out (computation left out), CPU
time for each second of audio, the slowest chunk, and the share of samples that differ from those of one chunk.
"""

import argparse
import time
from pathlib import Path

import numpy as np
import torch

from speechvq.audio.io import read
from speechvq.codec import Codec

SAMPLE_RATE = 16_000


def vowels(seconds: int = 10) -> torch.Tensor:
    """Synthetic vowels (T,)."""
    moment = np.arange(seconds * SAMPLE_RATE) / SAMPLE_RATE
    phase = 2 * np.pi * (120 * moment + 3 * np.sin(2 * np.pi * moment))
    gains = [np.exp(-(((120 * n - 700 - 400 * np.sin(7 * moment)) / 300) ** 2)) for n in range(1, 30)]
    return torch.from_numpy(0.1 * sum(gain * np.sin(n * phase) for n, gain in enumerate(gains, 1))).float()


def whole_file(codec: Codec, wav: torch.Tensor, speaker: str) -> None:
    """Print the line of the whole file."""
    begin = time.process_time()
    codec.convert(wav, SAMPLE_RATE, speaker)
    spent = (time.process_time() - begin) * SAMPLE_RATE / len(wav)
    print(f"{'whole file':>10} {len(wav) * 1000 / SAMPLE_RATE:12.1f} {'':12} {spent:9.3f}")


def stream(codec: Codec, wav: torch.Tensor, speaker: str, chunk: int, lookahead: int | None) -> None:
    """Print the line of a stream."""
    streamer = codec.streamer(speaker, gain=1.0, lookahead=lookahead)
    given, worst, slowest, parts = 0, 0, 0.0, []
    begin = time.process_time()
    for i, samples in enumerate(wav.split(chunk)):
        worst = max(worst, i * chunk + len(samples) - given)
        start = time.perf_counter()
        parts.append(streamer.push(samples))
        slowest = max(slowest, time.perf_counter() - start)
        given += len(parts[-1])
    parts.append(streamer.flush())
    spent = (time.process_time() - begin) * SAMPLE_RATE / len(wav)
    again = codec.streamer(speaker, gain=1.0, lookahead=lookahead)
    whole = torch.cat([again.push(wav), again.flush()])
    differing = (torch.cat(parts) != whole).float().mean().item()
    name = "all" if lookahead is None else str(lookahead)
    stated, measured = (1000 * samples / SAMPLE_RATE for samples in (streamer.latency, worst))
    print(f"{name:>10} {stated:12.1f} {measured:12.1f} {spent:9.3f} {1000 * slowest:10.1f} {100 * differing:9.1f}")


def main() -> None:
    """Convert in every way."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--audio", type=Path, help="speech to convert (default: 10 s of synthetic vowels)")
    parser.add_argument("--model", default="convert-50hz", help="folder or name (default: convert-50hz)")
    parser.add_argument("--speaker", help="(default: the model's first)")
    parser.add_argument("--chunk", type=int, default=320, help="samples that are pushed at once (default: 320)")
    text = "codes that the decoder waits for (default: 1 and all)"
    parser.add_argument("--lookahead", nargs="+", default=["1", "all"], help=text)
    options = parser.parse_args()
    torch.set_num_threads(1)
    codec = Codec.load(options.model)
    speaker, wav = options.speaker or codec.speakers[0], read(options.audio) if options.audio else vowels()
    codec.convert(wav[:SAMPLE_RATE], SAMPLE_RATE, speaker, gain=1.0)  # the first call is slower
    print(f"{options.model}, {len(wav) / SAMPLE_RATE:.1f} s in chunks of {options.chunk} samples, one thread")
    heads = ("look-ahead", "latency ms", "measured ms", "CPU s / s", "slowest ms", "differ %")
    print("{:>10} {:>12} {:>12} {:>9} {:>10} {:>9}".format(*heads))
    whole_file(codec, wav, speaker)
    for lookahead in options.lookahead:
        stream(codec, wav, speaker, options.chunk, None if lookahead == "all" else int(lookahead))


if __name__ == "__main__":
    main()

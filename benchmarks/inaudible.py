"""What nobody hears should change nothing: an offset, hum, the level, and whether pauses stay pauses.

    python benchmarks/inaudible.py --data PREPARED --model MODEL [--model MODEL] [--count 24] [--speaker NAME]

Prints, for each model, the share of codes that each change changes, and how far pauses lie below the speech: pauses of
pink noise and of digital silence that are put before and after each utterance, in the input and in its reconstruction.
The exit code is 1 if a model misses one of the bars. Utterances are of the test and unseen splits.
"""

import argparse
import math
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from speechvq.audio import SAMPLE_RATE
from speechvq.audio.io import read
from speechvq.codec import Codec
from speechvq.data.manifest import Utterance, rank_key, read_manifest
from speechvq.progress import progress

Change = Callable[[Tensor], Tensor]

HUM = 10 ** (-40 / 20)  # amplitude: 40 dB below full scale
PAUSE = 24_000  # samples before and after the speech
EDGE = 2_400  # samples beside the speech that are not measured
NOISE_BELOW = 40.0  # dB, of a noisy pause below the speech


def hum(frequency: float) -> Change:
    """Add a tone at the frequency in Hz."""

    def add(wav: Tensor) -> Tensor:
        phase = 2 * math.pi * frequency * torch.arange(len(wav), dtype=torch.float64) / SAMPLE_RATE
        return wav + (HUM * phase.sin()).float()

    return add


def offset(value: float) -> Change:
    """Add a constant."""
    return lambda wav: wav + value


def gain(decibel: float) -> Change:
    """Amplify; samples beyond 1 are not clipped."""
    return lambda wav: wav * 10 ** (decibel / 20)


# With the largest share of codes that may change, where there is a bar.
CHANGES: dict[str, tuple[Change, float | None]] = {
    "offset 0.02": (offset(0.02), None),
    "offset 0.1": (offset(0.1), 0.05),
    "offset 0.3": (offset(0.3), None),
    "hum at 50 Hz": (hum(50), 0.05),
    "hum at 60 Hz": (hum(60), 0.05),
    **{f"{decibel:+d} dB": (gain(decibel), 0.05) for decibel in (-60, -40, -20, 10, 20)},
}
LEAST_BELOW = 30.0  # dB: the bar of both kinds of pause


def pink_noise(samples: int) -> Tensor:
    """Noise whose power falls by 3 dB an octave, at an RMS of 1, the same at each call."""
    white = torch.fft.rfft(torch.randn(samples, generator=torch.Generator().manual_seed(0)))
    bins = torch.arange(len(white)).clamp(min=max(20 * samples // SAMPLE_RATE, 1))  # flat below 20 Hz
    noise: Tensor = torch.fft.irfft(white / bins.sqrt(), n=samples)
    return noise / rms(noise)


def rms(wav: Tensor) -> float:
    """The root of the mean square."""
    return wav.double().square().mean().sqrt().item()


def with_pauses(wav: Tensor, below: float) -> Tensor:
    """The speech between two pauses of noise this far below it, in dB."""
    noise = pink_noise(2 * PAUSE) * rms(wav) * 10 ** (-below / 20)
    return torch.cat([noise[:PAUSE], wav, noise[PAUSE:]])


def pause_below_speech(wav: Tensor) -> float:
    """How far the pauses of `with_pauses`, or of its reconstruction, lie below the speech, in dB."""
    speech = wav[PAUSE:-PAUSE]
    pauses = torch.cat([wav[: PAUSE - EDGE], wav[len(wav) - PAUSE + EDGE :]])
    return 20 * math.log10(max(rms(speech), 1e-9) / max(rms(pauses), 1e-9))


def main() -> int:
    """Measure all changes and pauses for each model, and print tables in Markdown; 1 if a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder written by `speechvq prepare`")
    parser.add_argument("--model", action="append", required=True, help="model folder, or name; may be repeated")
    parser.add_argument("--count", type=int, default=24, help="utterances (default: 24)")
    parser.add_argument("--speaker", help="whose voice speaks pauses of others' speech (default: the model's first)")
    options = parser.parse_args()
    held_out = [u for u in read_manifest(options.data) if u.split in ("test", "unseen")]
    utterances = sorted(held_out, key=lambda u: rank_key(u.id))[: options.count]
    missed = False
    for name in options.model:
        codec = Codec.load(name)
        print(f"{name}, {len(utterances)} utterances, high-pass {codec.high_pass:g} Hz\n\n| | codes changed, % | bar |")
        print("|---|---|---|")
        wavs = [read(options.data / u.path) for u in utterances]
        before = [codec.encode(wav, SAMPLE_RATE) for wav in wavs]
        for change, (apply, most) in progress(list(CHANGES.items()), unit="change"):
            after = [codec.encode(apply(wav), SAMPLE_RATE) for wav in wavs]
            share = (torch.cat(after) != torch.cat(before)).float().mean().item()
            missed |= most is not None and share > most
            print(f"| {change} | {100 * share:.1f} | {'' if most is None else f'{100 * most:g}'} |", flush=True)
        if codec.speakers:
            missed |= not measure_pauses(codec, utterances, wavs, options.speaker)
        print()
    return int(missed)


def measure_pauses(codec: Codec, utterances: list[Utterance], wavs: list[Tensor], speaker: str | None) -> bool:
    """Print how far pauses lie below the speech, the median over utterances -> whether that is the bar or more."""
    print("\n| pauses below the speech, dB | input | reconstruction | bar |\n|---|---|---|---|")
    reached = True
    for kind, below in (("pink noise", NOISE_BELOW), ("digital silence", math.inf)):
        sources = [with_pauses(wav, below) for wav in wavs]
        voices = [u.speaker if u.speaker in codec.speakers else speaker or codec.speakers[0] for u in utterances]
        spoken = [codec.convert(wav, SAMPLE_RATE, voice) for wav, voice in zip(sources, voices, strict=True)]
        before, after = (
            torch.tensor([pause_below_speech(wav) for wav in group]).median() for group in (sources, spoken)
        )
        reached &= bool(after >= LEAST_BELOW)
        print(f"| {kind} | {before:.1f} | {after:.1f} | {LEAST_BELOW:g} |", flush=True)
    return reached


if __name__ == "__main__":
    sys.exit(main())

"""How long commands take to start, in CPU-seconds, beside `import torch`.

    python benchmarks/startup.py [--audio FILE] [--model convert-50hz] [--speaker p225] [--rounds 5]

Each is the median of `--rounds` runs in turn, user and system time of the process. The targets are 1.2 s more than
`import torch` to convert 5 s of speech, 0.5 s for `info` and 0.2 s for `--help`.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import soundfile

SECONDS, SAMPLE_RATE = 5, 16_000


def cpu_seconds(command: list[str]) -> float:
    """User and system time of a command."""
    before = os.times()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    after = os.times()
    return after.children_user + after.children_system - before.children_user - before.children_system


def vowels(path: Path) -> None:
    """Write 5 s of synthetic vowels."""
    time = np.arange(SECONDS * SAMPLE_RATE) / SAMPLE_RATE
    phase = 2 * np.pi * (120 * time + 3 * np.sin(2 * np.pi * time))
    gains = [np.exp(-(((120 * n - 700 - 400 * np.sin(7 * time)) / 300) ** 2)) for n in range(1, 30)]
    wav = sum(gain * np.sin(n * phase) for n, gain in enumerate(gains, 1))
    soundfile.write(path, 0.1 * np.asarray(wav), SAMPLE_RATE)


def main() -> None:
    """Print a line for each command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--audio", type=Path, help="the speech to convert (default: 5 s of synthetic vowels)")
    parser.add_argument("--model", default="convert-50hz", help="of convert (default: convert-50hz)")
    parser.add_argument("--speaker", default="p225", help="of convert (default: p225)")
    parser.add_argument("--rounds", type=int, default=5, help="runs of each command (default: 5)")
    options = parser.parse_args()
    speechvq = [sys.executable, "-m", "speechvq.cli"]
    with tempfile.TemporaryDirectory() as folder:
        audio = options.audio or Path(folder) / "in.wav"
        if not options.audio:
            vowels(audio)
        convert = ["convert", str(audio), str(Path(folder) / "out.wav"), "--force", "--model", options.model]
        commands = {
            "import torch": [sys.executable, "-c", "import torch"],
            "convert": [*speechvq, *convert, "--speaker", options.speaker],
            "info": [*speechvq, "info"],
            "--help": [*speechvq, "--help"],
        }
        times: dict[str, list[float]] = {name: [] for name in commands}
        for command in commands.values():  # from a warm disk
            cpu_seconds(command)
        for _ in range(options.rounds):
            for name, command in commands.items():
                times[name].append(cpu_seconds(command))
    medians = {name: statistics.median(row) for name, row in times.items()}
    for name, median in medians.items():
        print(f"{name:24} {median:6.2f}")
    print(f"{'convert - import torch':24} {medians['convert'] - medians['import torch']:6.2f}")


if __name__ == "__main__":
    main()

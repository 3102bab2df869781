"""Peak memory of encode, decode and convert by the length of the recording, and by the number of recordings.

    python benchmarks/memory.py --speech DIR [--model MODEL] [--minutes 10 60 300] [--files 300 3000]
        [--commands encode decode convert]

Repeats the recordings of DIR to a WAV file of each length, and to folders of so many files of a second, and runs each
command on them in a process of its own. Prints the largest resident size of that process, and the seconds of audio that
it works through in a second. (Of a FLAC, Ogg or MP3 file all bytes are looked at through a mapping, whose pages count,
too, until the system takes them back.)
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from itertools import cycle
from pathlib import Path

import soundfile

from speechvq.audio import AUDIO_SUFFIXES, SAMPLE_RATE
from speechvq.files import visible_files

COMMANDS = ("encode", "decode", "convert")
FILE_SAMPLES = SAMPLE_RATE  # of each recording in a folder


def write_speech(path: Path, recordings: list[Path], samples: int) -> None:
    """Write a WAV file of `samples` samples: the recordings one after another, as if they all had its rate."""
    with soundfile.SoundFile(path, "w", SAMPLE_RATE, 1, "PCM_16") as out:
        for recording in cycle(recordings):
            wav = soundfile.read(recording, samples, dtype="int16", always_2d=True)[0][:, 0]
            out.write(wav)
            samples -= len(wav)
            if not samples:
                return


def write_folder(folder: Path, recordings: list[Path], count: int) -> None:
    """Write a second of each recording, over and over, as WAV files of a new folder."""
    folder.mkdir()
    for number, recording in zip(range(count), cycle(recordings), strict=False):
        write_speech(folder / f"{number:05}.wav", [recording], FILE_SAMPLES)


def measure(command: list[str]) -> tuple[float, float]:
    """Run `speechvq` with these arguments -> its peak memory in MB, and seconds."""
    begin = time.monotonic()
    process = subprocess.Popen([sys.executable, "-m", "speechvq.cli", *command], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"speechvq {' '.join(command)}: failed")
    return usage.ru_maxrss * 1024 / 1e6, time.monotonic() - begin


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--speech", type=Path, required=True, help="folder of recordings at any rate")
    parser.add_argument("--model", default="convert-50hz")
    parser.add_argument("--speaker", default="p225")
    parser.add_argument("--minutes", type=int, nargs="*", default=[10, 60, 300])
    parser.add_argument("--files", type=int, nargs="*", default=[300, 3000])
    parser.add_argument("--commands", nargs="+", choices=COMMANDS, default=list(COMMANDS))
    options = parser.parse_args()
    recordings = visible_files(options.speech, AUDIO_SUFFIXES)
    print("| input | command | peak MB | times real time |\n|---|---|---|---|")
    for minutes in options.minutes:
        with tempfile.TemporaryDirectory() as folder:
            wav, codes, out = (Path(folder) / name for name in ("in.wav", "in.svq", "out.wav"))
            write_speech(wav, recordings, minutes * 60 * SAMPLE_RATE)
            measure_commands(options, f"{minutes} minutes", minutes * 60, wav, codes, out)
    for count in options.files:
        with tempfile.TemporaryDirectory() as folder:
            wavs, codes, out = (Path(folder) / name for name in ("in", "codes", "out"))
            write_folder(wavs, recordings, count)
            measure_commands(options, f"{count} files", count * FILE_SAMPLES / SAMPLE_RATE, wavs, codes, out)


def measure_commands(
    options: argparse.Namespace, name: str, seconds: float, source: Path, codes: Path, out: Path
) -> None:
    """Run the commands on a file or folder of audio of so many seconds, and print a row for each."""
    voice = ["--speaker", options.speaker, "--model", options.model, "--force"]
    jobs = {
        "encode": ["encode", str(source), str(codes), "--model", options.model, "--force"],
        "decode": ["decode", str(codes), str(out), *voice],
        "convert": ["convert", str(source), str(out), *voice],
    }
    for command in COMMANDS:
        if command in options.commands:
            peak, taken = measure(jobs[command])
            print(f"| {name} | {command} | {peak:.0f} | {seconds / taken:.0f} |", flush=True)


if __name__ == "__main__":
    main()

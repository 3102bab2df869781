"""Time and memory of preparing a corpus with as many files as VCTK, with one process and with two.

    python benchmarks/preparation.py [--speakers 110] [--files 100]

Synthesises a corpus in VCTK's layout (48 kHz FLAC, two microphones; p315 has no text, p280 no second microphone),
prepares it with one process and then with two, and prints seconds, the peak memory of all processes, and whether both
manifests are equal.
"""

import argparse
import subprocess
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import soundfile


def make_corpus(root: Path, speakers: int, files: int) -> None:
    """Write harmonics with the envelope of syllables, 2 to 5 s, a different duration for each file."""
    random = np.random.default_rng(0)
    names = [f"p{225 + i}" for i in range(speakers)]
    for name in names:
        pitch = random.uniform(80, 250)
        audio, text = root / "wav48_silence_trimmed" / name, root / "txt" / name
        audio.mkdir(parents=True)
        for i in range(files):
            time = np.arange(int(random.uniform(2, 5) * 48_000)) / 48_000
            wav = sum(np.sin(2 * np.pi * pitch * h * time) / h for h in range(1, 12))
            wav = 0.05 * wav * (0.3 + np.abs(np.sin(2 * np.pi * 3 * time))) + 1e-3 * random.standard_normal(len(time))
            soundfile.write(audio / f"{name}_{i:03}_mic1.flac", wav, 48_000)
            if name != "p280" and i == 0:  # never read, so that one for each speaker is enough
                soundfile.write(audio / f"{name}_{i:03}_mic2.flac", wav, 48_000)
            if name != "p315":
                text.mkdir(parents=True, exist_ok=True)
                (text / f"{name}_{i:03}.txt").write_text(f"Sentence {i} of {name}.\n")


def memory(pid: int) -> int:
    """Bytes of memory of a process and its children, shared pages counted once (PSS)."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    own = next(int(line.split()[1]) for line in rollup if line.startswith("Pss:"))
    return 1024 * own + sum(memory(int(child)) for child in children)


def prepare(root: Path, out: Path, workers: int) -> tuple[float, int]:
    """Run `speechvq prepare` -> seconds, and the peak memory in bytes."""
    peak = 0
    begun = time.monotonic()
    command = ["speechvq", "prepare", "vctk", str(root), str(out), "--workers", str(workers)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def watch() -> None:
        nonlocal peak
        while process.poll() is None:
            with suppress(OSError, StopIteration):  # a process has just ended
                peak = max(peak, memory(process.pid))
            time.sleep(0.2)

    watcher = threading.Thread(target=watch)
    watcher.start()
    assert process.wait() == 0
    watcher.join()
    return time.monotonic() - begun, peak


def main() -> None:
    """Write the corpus, prepare it twice, and print the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--speakers", type=int, default=110, help="default: 110")
    parser.add_argument("--files", type=int, default=100, help="of each speaker (default: 100)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "VCTK"
        make_corpus(root, options.speakers, options.files)
        seconds = {}
        for workers in (1, 2):
            seconds[workers], peak = prepare(root, Path(folder) / f"out-{workers}", workers)
            print(f"{workers} processes: {seconds[workers]:.0f} s, {peak / 2**20:.0f} MiB at most")
        print(f"two are {seconds[1] / seconds[2]:.2f} times as fast as one")
        same = [(Path(folder) / f"out-{workers}" / "manifest.jsonl").read_bytes() for workers in (1, 2)]
        print(f"the same manifest: {same[0] == same[1]}; {same[0].count(10)} utterances")


if __name__ == "__main__":
    main()

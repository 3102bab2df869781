"""SIGKILLs at seeded moments: the same command, started again, must end as if it had never been killed.

    python benchmarks/kills.py [--seed 0] [--kills 100] [--commands prepare,train]

Each command works on a small synthetic corpus. It is killed once to three times in a row, then left to end. Killed is
its main process, before a file operation of its own or of a worker, or at any time; or all of its processes; or a
worker, after which it must end with one line. Wrong is a run that is refused, has other bits than an undisturbed one
(times and TensorBoard's files aside), or leaves a temporary file. Prints a table in Markdown.
"""

import argparse
import hashlib
import importlib
import json
import os
import pkgutil
import re
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import speechvq

OPERATIONS = {"os.rename", "os.remove", "os.mkdir", "os.chmod", "shutil.rmtree", "tempfile.mkstemp", "tempfile.mkdtemp"}
KILL = "SPEECHVQ_KILL"  # of the environment: the number of a file operation, its folder, and the process to kill then
CODEC = """[model.encoder]
kind = "logmel"
strides = [2]
channels = 24
blocks = 1
[model.bottleneck]
kind = "ema"
codes = 16
dim = 8
[model.decoder]
kind = "mel"
conditioner = { upsample = 2, channels = 24, blocks = 1 }
"""
PRIOR = "[prior]\nwavenet = { cycles = 1, layers = 4, residual = 16, gate = 16, skip = 16 }\nshifts = 2\n"
ENCODER = """[encoder]
strides = [2, 1]
channels = 16
pointwise = 1
dilations = [1, 2]
outputs = [2]
[objective]
kind = "cpc"
steps = 3
warm = 4
"""
TRAIN = "[train]\nsteps = 9\nbatch_size = 4\ncrop = {crop}\neval_every = 3\neval_crops = 8\n"
COMMANDS = {
    "prepare": "prepare folder {base}/raw {out}/data --workers 1 --valid 0.3 --test 0.2 --unseen 0",
    "prepare with 2 workers": "prepare folder {base}/raw {out}/data --workers 2 --valid 0.3 --test 0.2 --unseen 0",
    "train": "train {base}/codec.toml --data {base}/data --out {out}/run",
    "train with 2 workers": "train {base}/codec.toml --data {base}/data --out {out}/run --set train.workers=2",
    "extract codes, train a prior": "train {base}/prior.toml --data {out}/data --out {out}/run --model {base}/run",
    "extract features, train an encoder": "train {base}/encoder.toml --data {out}/data --out {out}/run",
    "encode": "encode {base}/raw {out}/codes --model {base}/run",
    "convert": "convert {base}/raw {out}/wavs --model {base}/run --speaker s1",
    "align": "align {base}/data {out}/labels --workers 1",
    "align with 2 workers": "align {base}/data {out}/labels --workers 2",
    "evaluate": "evaluate phonemes --data {base}/data --labels {base}/labels --model {base}/run --scored s1 "
    "--save {out}/phonemes.json --table {out}/codes.tsv",
    "report": "report {base}/run --out {out}/page --data {base}/data --count 1 --force",
}


@dataclass
class Tally:
    """What was done to a command: its kills by what was killed, the runs that were left to end, and what went wrong."""

    kills: Counter[str]
    ended: int
    wrong: list[str]


class Operations:
    """Counts the operations of this process on files of a folder, and kills a process before one of them.

    last: number of that operation, from 1; 0 for none.
    """

    def __init__(self, last: int, folder: str, process: int) -> None:
        self.count = 0
        self.last, self.folder, self.process = last, folder, process
        sys.addaudithook(self.note)

    def note(self, event: str, values: tuple[Any, ...]) -> None:
        writes = event == "open" and isinstance(values[2], int) and values[2] & (os.O_WRONLY | os.O_RDWR)
        if (writes or event in OPERATIONS) and str(values[0]).startswith(self.folder):
            self.count += 1
            if self.count == self.last:
                os.kill(self.process, signal.SIGKILL)


def start(arguments: list[str], out: Path, last: int = 0, *, of_worker: bool = False) -> int:
    """Run a command in a process of its own, which has imported what commands need -> its process id.

    last: number of the file operation before which it is killed; 0 for none.
    of_worker: it is killed before this operation of a worker.
    """
    process = os.fork()
    if process:
        return process
    code = 99
    try:
        os.setpgid(0, 0)
        log = os.open(out.with_suffix(".log"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(log, 1)
        os.dup2(log, 2)
        tempfile.tempdir = os.environ["TMPDIR"] = str(out / "tmp")
        sys.argv = ["speechvq", *arguments]
        if of_worker:
            os.environ[KILL] = f"{last}\n{out}\n{os.getpid()}"
        operations = Operations(0 if of_worker else last, str(out), os.getpid())
        from speechvq.cli import main

        code = main(arguments)
        out.with_suffix(".count").write_text(str(operations.count))
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def finish(process: int) -> int:
    """Wait for the end of a process -> its exit code, or the negative number of the signal that ended it."""
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def contents(folder: Path) -> dict[str, str]:
    """A digest of each file, by name, without times, TensorBoard's files, and how often a run was started."""
    from speechvq.folder.weights import load_tensors

    digests = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        name, data = path.relative_to(folder).as_posix(), path.read_bytes()
        if path.name == "made.json" or path.name.startswith("events.out"):
            continue
        if path.name == "log.jsonl":
            rows = [json.loads(line) for line in data.splitlines()]
            data = json.dumps([row | {"seconds": 0} for row in rows]).encode()
        if path.suffix == ".safetensors":
            tensors, metadata = load_tensors(path)
            data = json.dumps(metadata | {"seconds": 0}).encode()
            data += b"".join(name.encode() + tensors[name].numpy().tobytes() for name in sorted(tensors))
        if path.name == ".speechvq.jsonl":
            data = b"".join(sorted(data.splitlines()))
        digests[name] = hashlib.sha256(data).hexdigest()
    return digests


def make_inputs(base: Path) -> None:
    """Three speakers of harmonics with changing formants, prepared, labelled, and a codec of them."""
    random, vowels = np.random.default_rng(0), [(300, 2300), (700, 1200), (350, 800)]
    for number in range(3):
        folder, pitch = base / "raw" / f"s{number}", 90 + 50 * number
        folder.mkdir(parents=True)
        texts = []
        for i in range(6):
            seconds = np.arange(19_200) / 16_000
            wav = 1e-3 * random.standard_normal(len(seconds))
            for part, vowel in enumerate(random.integers(3, size=6)):
                now = slice(3_200 * part, 3_200 * (part + 1))
                for h in range(1, 4000 // pitch):
                    gain = sum(np.exp(-(((h * pitch - formant) / 150) ** 2)) for formant in vowels[vowel])
                    wav[now] += (gain + 0.02) * np.sin(2 * np.pi * h * pitch * seconds[now])
            write_wav(folder / f"u{number}{i}.wav", 0.1 * wav)
            texts.append(f"u{number}{i}\tone of {['two', 'three', 'four'][i % 3]}\n")
        (folder / "transcripts.tsv").write_text("".join(texts))
    for name, text, crop in (("codec", CODEC, 3200), ("prior", PRIOR, 24), ("encoder", ENCODER, 6400)):
        (base / f"{name}.toml").write_text(text + TRAIN.format(crop=crop))
    for line in (
        COMMANDS["prepare"].format(base=base, out=base),
        f"align {base}/data {base}/labels --workers 1",
        f"train {base}/codec.toml --data {base}/data --out {base}/run",
    ):
        code = finish(start(line.split(), base / "inputs"))
        assert code == 0, (base / "inputs.log").read_text()


def write_wav(path: Path, wav: np.ndarray) -> None:
    """A wav (T,) at 16 kHz as a file of 16 bits."""
    import soundfile

    soundfile.write(path, wav, 16_000)


def fresh(base: Path, out: Path) -> None:
    """An empty folder for a command, with a corpus of its own to keep codes and features in."""
    shutil.rmtree(out, ignore_errors=True)
    (out / "tmp").mkdir(parents=True)
    if out.name.startswith("extract"):
        shutil.copytree(base / "data", out / "data")


def descendants(process: int) -> list[int]:
    """The children of a process, their children, and so on."""
    with suppress(OSError):
        children = [int(one) for one in Path(f"/proc/{process}/task/{process}/children").read_text().split()]
        return children + [one for child in children for one in descendants(child)]
    return []


def kill_once(
    arguments: list[str], out: Path, seconds: float, operations: int, random: np.random.Generator, wrong: list[str]
) -> str:
    """Start a command and kill it -> what was killed and when; empty if the command ended before.

    wrong: gets a line if a command whose worker is killed ends otherwise than with one line.
    """
    workers = arguments[-1] in ("2", "train.workers=2")
    ways = ["at an operation", "at a time", "all at a time"]
    ways += ["at a worker's operation", "a worker"] if workers and arguments[0] != "train" else ["a worker"] * workers
    way, share = str(random.choice(ways)), float(random.random())
    if "operation" in way:
        of_worker = "worker" in way
        last = 1 + int(share * operations / (4 if of_worker else 1))
        return way if finish(start(arguments, out, last, of_worker=of_worker)) == -signal.SIGKILL else ""
    process = start(arguments, out)
    time.sleep(share * seconds)
    if way == "a worker":
        killed = descendants(process)[-1:]
        for worker in killed:
            os.kill(worker, signal.SIGKILL)
        code = finish(process)
        if code not in (0, 2):
            wrong.append(f"{' '.join(arguments)}, killed a worker: {out.with_suffix('.log').read_text()[-500:]}")
        return way if killed else ""
    (os.killpg if way == "all at a time" else os.kill)(process, signal.SIGKILL)
    return way if finish(process) == -signal.SIGKILL else ""


def try_command(name: str, base: Path, kills: int, seed: int) -> Tally:
    """Run a command undisturbed, then kill it so many times, and compare every run that is left to end."""
    out = base / "out" / re.sub(r"\W+", "-", name)
    arguments = COMMANDS[name].format(base=base, out=out).split()
    random = np.random.default_rng([seed, *name.encode()])
    fresh(base, out)
    begun = time.monotonic()
    expected_code = finish(start(arguments, out))
    seconds, expected = time.monotonic() - begun, contents(out)
    assert expected_code == 0, out.with_suffix(".log").read_text()
    operations = int(out.with_suffix(".count").read_text())
    tally = Tally(Counter(), 0, [])
    while tally.kills.total() < kills:
        fresh(base, out)
        ways: list[str] = []
        in_a_row = min(int(random.integers(1, 4)), kills - tally.kills.total())
        while len(ways) < in_a_row:
            way = kill_once(arguments, out, seconds, operations, random, tally.wrong)
            if not way:
                break
            ways.append(way)
        tally.kills.update(ways)
        tally.ended += 1
        code = finish(start(arguments, out))
        left = [path.name for path in out.rglob(".speechvq-*")]
        found = contents(out)
        differing = sorted(key for key in expected.keys() | found.keys() if expected.get(key) != found.get(key))
        if code or left or differing:
            said = out.with_suffix(".log").read_text().splitlines()[-1:]
            tally.wrong.append(f"{name}, killed {ways}: exit code {code} {said}, left {left}, other bits {differing}")
    return tally


def main() -> int:
    """Kill every command and print a table -> the exit code, 1 if anything went wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0, help="of the moments (default: 0)")
    parser.add_argument("--kills", type=int, default=100, help="of all commands together (default: 100)")
    parser.add_argument("--commands", default="", metavar="A,B", help="those that begin so (default: all)")
    options = parser.parse_args()
    wanted = tuple(options.commands.split(","))
    names = [name for name in COMMANDS if name.startswith(wanted)]
    import_all()
    print("| command | kills | left to end | wrong |\n|---|---|---|---|")
    tallies = []
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder)
        (base / "out").mkdir()
        make_inputs(base)
        for i, name in enumerate(names):
            kills = options.kills // len(names) + (i < options.kills % len(names))
            tallies.append(try_command(name, base, kills, options.seed))
            print(f"| {name} | {kills} | {tallies[-1].ended} | {len(tallies[-1].wrong)} |", flush=True)
    ways = sum((tally.kills for tally in tallies), Counter())
    print(f"\n{ways.total()} kills: {', '.join(f'{count} {way}' for way, count in ways.most_common())}")
    wrong = [line for tally in tallies for line in tally.wrong]
    print("\n".join(wrong) or "nothing went wrong")
    return 1 if wrong else 0


def import_all() -> None:
    """Import all that the commands need, once for all of their processes."""
    import accelerate  # noqa: F401
    import pocketsphinx  # noqa: F401
    import torch.utils.tensorboard  # noqa: F401

    for module in pkgutil.walk_packages(speechvq.__path__, "speechvq."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)


if __name__ == "__main__":
    sys.exit(main())
elif KILL in os.environ and __name__ == "__mp_main__":  # a worker
    last, folder, process = os.environ[KILL].split("\n")
    Operations(int(last), folder, int(process))

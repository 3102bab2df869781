"""Options that commands share, the types of their numbers, and the printing of results."""

import argparse
import dataclasses
import json
import math
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from speechvq import SpeechVQError
from speechvq.config import HIGHEST_HIGH_PASS
from speechvq.files import check_output, message_line, printable
from speechvq.text.labels import LabelReading, read_map

LISTED = 10  # failures that are listed on the terminal


def add_command(commands: Any, name: str, run: Any, text: str) -> argparse.ArgumentParser:
    """Add a command.

    commands: what `add_subparsers` returned.
    run: function that is called with the parsed options.
    text: its help.
    """
    result: argparse.ArgumentParser = commands.add_parser(name, help=text, description=text)
    result.set_defaults(run=run)
    result.add_argument("--json", action="store_true", help="print the result as JSON on stdout")
    return result


def add_model(command: Any) -> None:
    """Add --model."""
    text = "model folder, or a packaged model by name (default: convert-50hz)"
    command.add_argument("--model", type=Path, default=Path("convert-50hz"), help=text)


def add_prior(command: Any, required: bool = False) -> None:
    """Add --prior."""
    text = "folder of a prior of the model's codes" + ("" if required else " (default: none)")
    command.add_argument("--prior", type=Path, required=required, help=text)


def add_seed(command: Any) -> None:
    """Add --seed."""
    command.add_argument("--seed", type=natural, default=0, help="of the random numbers (default: 0)")


def add_device(command: Any) -> None:
    """Add --device."""
    text = "where the model computes: cpu; cuda or cuda:1, a GPU of NVIDIA or AMD; mps, that of a Mac (default: cpu)"
    command.add_argument("--device", default="cpu", metavar="NAME", help=text)


def add_training_device(command: Any) -> None:
    """Add --device to a command that trains."""
    text = "where to train: cpu; cuda or cuda:1, a GPU of NVIDIA or AMD; mps, that of a Mac (default: a GPU if there "
    command.add_argument("--device", metavar="NAME", help=f"{text}is one)")


def choose_training_device(options: argparse.Namespace) -> None:
    """Train on the device of --device.

    Raises SpeechVQError if it cannot be used.
    """
    if options.device:
        from speechvq.codec.devices import torch_device

        os.environ["ACCELERATE_TORCH_DEVICE"] = str(torch_device(options.device))
        if options.device == "cpu":
            os.environ["ACCELERATE_USE_CPU"] = "true"


def add_melody(command: Any) -> None:
    """Add --melody of files of codes."""
    text = "keep the melody in the file, for about 20 bit/s: `decode` has the voice's pitch go up and down as recorded"
    command.add_argument("--melody", action="store_true", help=text)


def add_kept_pitch(command: Any) -> None:
    """Add --keep-pitch and --melody of conversions, of which there may be one."""
    kept = command.add_mutually_exclusive_group()
    text = "keep the pitch of the recording, instead of that predicted for the speaker; --pitch then raises it"
    kept.add_argument("--keep-pitch", action="store_true", help=text)
    text = "keep the melody: the pitch goes up and down as in the recording, around the mean predicted for the speaker"
    kept.add_argument("--melody", action="store_true", help=text)


def add_penalty(command: Any, default: float | None = 0.0) -> None:
    """Add --penalty.

    default: None for that of the codes that the prior has learned.
    """
    text = "for each change of code, in squared distances of the codebook: the higher, the longer codes stay the same "
    text += "(default: 0, each code by itself)" if default == 0 else "(default: that of --prior, or 0)"
    command.add_argument("--penalty", type=nonnegative, default=default, help=text)


def add_sampling(command: Any) -> None:
    """Add the options of commands that sample."""
    text = "of sampling, a divisor of the logits; 0 takes the most likely value (default: 1)"
    command.add_argument("--temperature", type=nonnegative, default=1.0, help=text)
    add_seed(command)
    text = "of a WaveNet: bfloat16 decodes up to twice as fast on a CPU, less exactly (default: float32)"
    command.add_argument("--weights", choices=("float32", "bfloat16"), default="float32", help=text)


def add_truncation(command: Any) -> None:
    """Add the options of commands that sample codes."""
    command.add_argument(
        "--top-k", type=natural, default=0, help="sample from the K most likely codes (default: 0, all)"
    )
    text = "sample from the most likely codes whose probabilities add up to P (default: 1, all)"
    command.add_argument("--top-p", type=share, default=1.0, help=text)


def add_label_reading(command: Any) -> None:
    """Add --tier and --map, which say how label files are read."""
    text = "tier of the phones in TextGrids (default: phones, phone, MAU, ..., or the only one)"
    command.add_argument("--tier", default="", metavar="NAME", help=text)
    text = "file of label symbols that speechvq does not know: on each line a symbol and its phone, or - for none "
    text += "(default: no file)"
    command.add_argument("--map", type=Path, metavar="FILE", help=text)


def label_reading(options: argparse.Namespace) -> LabelReading:
    """The `LabelReading` of the options that `add_label_reading` added."""
    return LabelReading(options.tier, read_map(options.map) if options.map else {})


def check_model(options: argparse.Namespace) -> None:
    """Check --model, --speaker and --prior without importing torch.

    Raises SpeechVQError if the folder is not a codec's, it does not have the speaker, or --prior is not a prior's.
    """
    from speechvq.folder.card import load_card, model_folder, speaker_index

    card = load_card(model_folder(options.model), "codec")
    if getattr(options, "prior", None):
        load_card(model_folder(options.prior), "prior")
    if getattr(options, "speaker", None):
        speaker_index(card.speakers, options.speaker)


def load_codec(options: argparse.Namespace) -> Any:
    """The model of --model, checked first with what belongs to it; raises SpeechVQError as `check_model` does."""
    check_model(options)
    from speechvq.codec import Codec

    return Codec.load(options.model, options.device)


def sampling(options: argparse.Namespace) -> Any:
    """The `Sampling` of the options that `add_sampling` and `add_truncation` added."""
    from speechvq.wavenet.sampler import Sampling

    result = Sampling(options.temperature, options.seed, progress=True, weights=options.weights)
    return dataclasses.replace(result, top_k=options.top_k, top_p=options.top_p) if "top_k" in options else result


def report(options: argparse.Namespace, result: Any, lines: Sequence[str]) -> None:
    """Print a result, and write it to the file of --save, together with where it comes from.

    result: printed with --json.
    lines: printed without.

    Of several processes that were launched together only the first prints.
    """
    if os.environ.get("RANK", "0") != "0":
        return
    print(json.dumps(result, indent=2) if options.json else "\n".join(map(printable, lines)), flush=True)
    if getattr(options, "save", None):  # after it has been printed: a full disk does not lose it
        from speechvq.folder.card import model_folder
        from speechvq.folder.provenance import save_result

        save_result(options.save, result, model_folder(options.model))


def report_failures(failures: Sequence[tuple[str, str]], verb: str, file: Path | None) -> int:
    """List the files that could not be used on stderr, with the reasons -> the exit code: 1 if there are any, else 0.

    verb: what happened to them, before each name.
    file: where all are listed; if there is one, the first ten are enough here.
    """
    for name, reason in failures[: LISTED if file else None]:
        print(f"{printable(f'{verb} {name}')}: {message_line(reason)}", file=sys.stderr)
    if file and len(failures) > LISTED:
        print(printable(f"... {len(failures)} in all, listed in {file}"), file=sys.stderr)
    return 1 if failures else 0


def require_output(path: Path | None, *, folder: bool = False) -> None:
    """Check before the work that a result can be written.

    path: of a file or, with `folder`, of a folder; it need not exist. None is passed over.

    Raises SpeechVQError as `check_output` does, or if nothing may be written there.
    """
    if path is None:
        return
    above = check_output(path, folder=folder)
    if not os.access(above, os.W_OK | os.X_OK):
        raise SpeechVQError(f"{above}: nothing may be written into it")


def names(text: str) -> list[str]:
    """The names in a text such as A,B,C."""
    return [name.strip() for name in text.split(",") if name.strip()]


def table(values: dict[str, Any]) -> list[str]:
    """One line per value."""
    return [f"{key:16} {plain(value)}" for key, value in values.items()]


def plain(value: Any) -> str:
    """A value as text for a reader: four digits of a number, no brackets."""
    if isinstance(value, dict):
        return ", ".join(_named(key, item) for key, item in value.items())
    if isinstance(value, list | tuple):
        return " ".join(map(str, value))
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _named(key: str, value: Any) -> str:
    if isinstance(value, dict):  # of a speaker: sex, accent, ...
        return f"{key} ({plain(list(value.values()))})" if value else key
    return f"{key} {plain(value)}"


def positive(text: str) -> float:
    """A number above 0."""
    return _float(text, 0, above=True)


def duration(text: str) -> float:
    """A number of seconds, up to a day."""
    return _float(text, 0, 86_400, above=True)


def cutoff(text: str) -> float:
    """The cutoff of a high-pass in Hz, 0 for none."""
    return _float(text, 0, HIGHEST_HIGH_PASS)


def semitones(text: str) -> float:
    """A change of pitch, an octave at most."""
    return _float(text, -12, 12)


def lufs(text: str) -> float:
    """A loudness in LUFS."""
    return _float(text, -60, 0)


def rate(text: str) -> int:
    """A sample rate in Hz."""
    return _int(text, 4_000, 192_000)


def nonnegative(text: str) -> float:
    """A number from 0."""
    return _float(text, 0)


def decibels(text: str) -> float:
    """A gain in dB."""
    return _float(text, -100, 100)


def share(text: str) -> float:
    """A number from 0 to 1."""
    return _float(text, 0, 1)


def count(text: str) -> int:
    """A whole number from 1."""
    return _int(text, 1, 2**31)


def draws(text: str) -> int:
    """A number of samples, which are drawn together: each takes up to some megabytes."""
    return _int(text, 1, 1000)


def weight(text: str) -> float:
    """A weight beside others."""
    return _float(text, 0, 1e6)


def natural(text: str) -> int:
    """A whole number from 0."""
    return _int(text, 0, 2**63 - 1)


def level(text: str) -> int:
    """A level of folders below another."""
    return _int(text, 0, 32)


def port(text: str) -> int:
    """A port of TCP, 0 for any that is free."""
    return _int(text, 0, 2**16 - 1)


def _float(text: str, low: float, high: float = math.inf, *, above: bool = False) -> float:
    """A finite number from `low` to `high`, or `above` `low`."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not low <= number <= high or (above and number == low) or number == math.inf:
        limit = f" to {high:g}" if high < math.inf else ""
        raise argparse.ArgumentTypeError(f"'{text}' is not a number {'above' if above else 'from'} {low:g}{limit}")
    return number


def _int(text: str, low: int, high: int) -> int:
    try:
        number = int(text)
    except ValueError:
        number = low - 1
    if not low <= number <= high:
        raise argparse.ArgumentTypeError(f"'{text}' is not a whole number from {low} to {high:g}")
    return number

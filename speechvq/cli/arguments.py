"""What commands share: kinds of numbers, options, and how a result is told."""

import argparse
import dataclasses
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def add_command(commands: Any, name: str, run: Any, text: str) -> argparse.ArgumentParser:
    """A command that `run` carries out."""
    result: argparse.ArgumentParser = commands.add_parser(name, help=text, description=text)
    result.set_defaults(run=run)
    result.add_argument("--json", action="store_true", help="print the result as JSON on stdout")
    return result


def add_model(command: Any) -> None:
    """The option of commands that use a model."""
    text = "model folder, or a packaged model by name (default: convert-50hz)"
    command.add_argument("--model", type=Path, default=Path("convert-50hz"), help=text)


def add_prior(command: Any, required: bool = False) -> None:
    """The option of commands that use a prior."""
    command.add_argument("--prior", type=Path, required=required, help="folder of a prior over the model's codes")


def add_sampling(command: Any) -> None:
    """The options of commands that sample."""
    command.add_argument("--temperature", type=nonnegative, default=1.0, help="0 takes the likeliest sample")
    command.add_argument("--seed", type=natural, default=0)
    text = "bfloat16 decodes up to twice as fast on a CPU, with a rounding (benchmarks/precision.py)"
    command.add_argument("--weights", choices=("float32", "bfloat16"), default="float32", help=text)


def add_truncation(command: Any) -> None:
    """The options of commands that draw codes."""
    command.add_argument("--top-k", type=natural, default=0, help="only the likeliest so many codes (0: all)")
    text = "only the likeliest codes that have this probability together"
    command.add_argument("--top-p", type=share, default=1.0, help=text)


def load_codec(options: argparse.Namespace) -> Any:
    """The model of --model. A speaker that it does not have is refused first, before torch is imported.

    Raises SpeechVQError if the folder is not a model's or the model does not have the speaker of --speaker.
    """
    from speechvq.folder.card import load_card, model_folder, speaker_index

    card = load_card(model_folder(options.model))
    if getattr(options, "speaker", None):
        speaker_index(card.speakers, options.speaker)
    from speechvq.codec import Codec

    return Codec.load(options.model, options.device)


def sampling(options: argparse.Namespace) -> Any:
    """The sampling that is asked for: of audio, or of codes."""
    from speechvq.wavenet.sampler import Sampling

    how = Sampling(options.temperature, options.seed, progress=True, weights=options.weights)
    return dataclasses.replace(how, top_k=options.top_k, top_p=options.top_p) if "top_k" in options else how


def report(options: argparse.Namespace, result: Any, lines: Sequence[str]) -> None:
    """Print the result, as JSON if asked, else as lines; once, where several processes were launched together.

    What is saved tells how it was made.
    """
    if os.environ.get("RANK", "0") != "0":
        return
    if getattr(options, "save", None):
        from speechvq.folder.provenance import save_result

        save_result(options.save, result)
    print(json.dumps(result, indent=2) if options.json else "\n".join(lines))


def names(text: str) -> list[str]:
    """The names in A,B,C."""
    return [name.strip() for name in text.split(",") if name.strip()]


def table(values: dict[str, Any]) -> list[str]:
    """A line for each value."""
    return [f"{key:16} {plain(value)}" for key, value in values.items()]


def plain(value: Any) -> str:
    """A value for people."""
    if isinstance(value, dict):
        return ", ".join(_named(key, item) for key, item in value.items())
    if isinstance(value, list | tuple):
        return " ".join(map(str, value))
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _named(key: str, value: Any) -> str:
    if isinstance(value, dict):  # what is known of a speaker, if anything
        return f"{key} ({plain(list(value.values()))})" if value else key
    return f"{key} {plain(value)}"


def _number(text: str, low: float, high: float = float("inf"), *, whole: bool = False, open_low: bool = False) -> Any:
    try:
        number = int(text) if whole else float(text)
    except ValueError:
        number = float("nan")
    if not low <= number <= high or (open_low and number == low) or number == float("inf"):
        kind = "a whole number" if whole else "a number"
        raise argparse.ArgumentTypeError(
            f"'{text}' is not {kind} {'above' if open_low else 'from'} {low:g}"
            + (f" to {high:g}" if high < float("inf") else "")
        )
    return number


def positive(text: str) -> float:
    """A number above 0."""
    return _number(text, 0, open_low=True)


def duration(text: str) -> float:
    """Seconds, up to a day."""
    return _number(text, 0, 86_400, open_low=True)


def nonnegative(text: str) -> float:
    """A number from 0."""
    return _number(text, 0)


def share(text: str) -> float:
    """A number from 0 to 1."""
    return _number(text, 0, 1)


def count(text: str) -> int:
    """A whole number from 1."""
    return _number(text, 1, 2**31, whole=True)


def natural(text: str) -> int:
    """A whole number from 0."""
    return _number(text, 0, 2**63 - 1, whole=True)

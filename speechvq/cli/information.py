"""The commands info, which describes models and files of codes, and export, which writes a model for other programs."""

import argparse
from pathlib import Path
from typing import Any

from speechvq import SpeechVQError
from speechvq.cli.arguments import add_command, add_model, report, table
from speechvq.cli.streaming import streams
from speechvq.coding.header import MAX_BYTES, parse_file, read_header
from speechvq.coding.packets.framing import describe_packets, is_packets

EXPORTED = ("encoder.onnx", "decoder.onnx", "export.json")


def add_commands(commands: Any) -> None:
    """Add the command to the parser."""
    text = "Describe a model, a prior or a file of codes; without PATH, the packaged models."
    command = add_command(commands, "info", _info, text)
    text = "folder of a model or prior, name of a packaged model, .svq file, or - for stdin (default: the packaged)"
    command.add_argument("source", metavar="PATH", type=Path, nargs="?", help=text)

    text = "Write a model as ONNX files, for programs without PyTorch, and check them by ONNX Runtime."
    command = add_command(commands, "export", _export, text)
    text = f"folder for {', '.join(EXPORTED)}"
    command.add_argument("target", metavar="OUT", type=Path, help=text)
    add_model(command)
    command.add_argument("--force", action="store_true", help="overwrite existing files")


def _export(options: argparse.Namespace) -> None:
    for name in EXPORTED:
        if (options.target / name).exists() and not options.force:
            raise SpeechVQError(f"{options.target / name} exists; --force overwrites it")
    from speechvq.codec import Codec
    from speechvq.codec.export import export_codec

    figures = export_codec(Codec.load(options.model), options.target)
    report(options, figures, table(figures))


def _info(options: argparse.Namespace) -> None:
    from speechvq.folder.card import PACKAGED, model_folder, packaged
    from speechvq.folder.description import describe_folder, voices

    if options.source is None:
        each = {name: describe_folder(PACKAGED / name) for name in packaged()}
        report(options, each, [line for name, values in each.items() for line in (name, *_summary(name, values))])
        return
    folder = model_folder(options.source)
    if folder.is_dir():
        result = describe_folder(folder)
    else:
        with streams(options, "", MAX_BYTES) as (source, _):
            result = parse_file(source, _describe_codes)
    speakers = result.get("speakers")
    if not isinstance(speakers, dict):
        report(options, result, table(result))
        return
    others = table({key: value for key, value in result.items() if key != "speakers"})
    report(options, result, [*others, "", *voices(speakers)] if speakers else others)


def _describe_codes(data: bytes) -> dict[str, Any]:
    """The description of a file of codes or of a recorded stream of them."""
    if is_packets(data):
        return describe_packets(data)
    header = read_header(data)
    result, difference = header.describe(), len(data) - header.stated_size
    if difference:
        text = f"{abs(difference)} of its bytes are missing" if difference < 0 else f"{difference} bytes too many"
        return {**result, "damaged": text}
    return result


def _summary(model: str, values: dict[str, Any]) -> list[str]:
    """A packaged model; of its voices those that it knows well."""
    from speechvq.folder.description import known

    speakers = values["speakers"]
    good = {name: info for name, info in speakers.items() if known(info) == "well"}
    lines = [f"  {line}" for line in table(values | {"speakers": good})]
    return [*lines, f"  {'':16} and {len(speakers) - len(good)} with little speech: speechvq info {model}", ""]

"""encode, decode, convert, info: what is done with a model."""

import argparse
import json
from pathlib import Path
from typing import Any

from speechvq.cli.arguments import add_command, add_sampling, load_codec, report, sampling, table


def add_commands(commands: Any) -> None:
    """Add these to the parser."""
    _add_coding(commands)
    _add_info(commands)


def _add_coding(commands: Any) -> None:
    encode = add_command(commands, "encode", _encode, "Turn audio into files of codes (.npz).")
    decode = add_command(commands, "decode", _decode, "Turn files of codes into speech.")
    convert = add_command(commands, "convert", _convert, "Speak the words of a recording with another voice.")
    for command in (encode, decode, convert):
        command.add_argument("source", metavar="IN", type=Path, help="a file, or a folder of files")
        command.add_argument("target", metavar="OUT", type=Path, help="a file, or a folder")
        command.add_argument("--model", type=Path, required=True, help="model folder")
        command.add_argument("--device", default="cpu", help="torch device (default: cpu)")
        command.add_argument("--force", action="store_true", help="overwrite existing files")
    for command in (decode, convert):
        command.add_argument("--speaker", required=True, help="a speaker of the model (see `speechvq info`)")
        add_sampling(command)
        command.add_argument("--format", choices=("wav", "flac"), default="wav", help="of files in a folder")


def _add_info(commands: Any) -> None:
    command = add_command(commands, "info", _info, "Say what a model folder or a file of codes holds.")
    command.add_argument("path", metavar="PATH", type=Path)


def _encode(options: argparse.Namespace) -> None:
    from speechvq import batch
    from speechvq.audio import SUFFIXES

    jobs = batch.plan(options.source, options.target, SUFFIXES, batch.CODES, options.force)
    codec = load_codec(options)
    _report_files(options, batch.encode_files(codec, jobs))


def _decode(options: argparse.Namespace) -> None:
    from speechvq import batch

    jobs = batch.plan(options.source, options.target, batch.CODES, _formats(options), options.force)
    codec = load_codec(options)
    _report_files(options, batch.decode_files(codec, jobs, options.speaker, sampling(options)))


def _convert(options: argparse.Namespace) -> None:
    from speechvq import batch
    from speechvq.audio import SUFFIXES

    jobs = batch.plan(options.source, options.target, SUFFIXES, _formats(options), options.force)
    codec = load_codec(options)
    _report_files(options, batch.convert_files(codec, jobs, options.speaker, sampling(options)))


def _info(options: argparse.Namespace) -> None:
    if options.path.is_dir():
        from speechvq.codec import Codec

        about = Codec.load(options.path).describe()
    else:
        from speechvq.codec import Encoded

        about = Encoded.load(options.path).describe()
    report(options, about, table(about))


def _formats(options: argparse.Namespace) -> tuple[str, ...]:
    return (f".{options.format}", ".wav", ".flac")


def _report_files(options: argparse.Namespace, made: Any) -> None:
    """One line a file as it is made, or a list of all of them."""
    from speechvq.audio import SAMPLE_RATE

    rows = []
    for job, encoded in made:
        rows.append({"source": str(job.source), "file": str(job.target), "codes": len(encoded.codes)})
        if not options.json:
            print(f"{job.target} ({encoded.samples / SAMPLE_RATE:.2f} s, {len(encoded.codes)} codes)", flush=True)
    if options.json:
        print(json.dumps(rows, indent=2))

"""encode, decode, convert, sample, info: what is done with a model."""

import argparse
import json
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from speechvq.audio import AUDIO_SUFFIXES
from speechvq.cli.arguments import (
    add_command,
    add_model,
    add_prior,
    add_sampling,
    add_truncation,
    count,
    duration,
    load_codec,
    nonnegative,
    report,
    sampling,
    table,
)
from speechvq.coding.plan import CODE_SUFFIXES, plan_files, plan_samples, require_input

PIPE = Path("-")


def add_commands(commands: Any) -> None:
    """Add these to the parser."""
    _add_coding(commands)
    _add_sample(commands)
    _add_info(commands)


def _add_coding(commands: Any) -> None:
    encode = add_command(commands, "encode", _encode, "Turn audio into files of codes (.svq).")
    decode = add_command(commands, "decode", _decode, "Turn files of codes into speech.")
    convert = add_command(commands, "convert", _convert, "Speak the words of a recording with another voice.")
    for command in (encode, decode, convert):
        command.add_argument("source", metavar="IN", type=Path, help="a file, a folder of files, or - for stdin")
        command.add_argument("target", metavar="OUT", type=Path, help="a file, a folder, or - for stdout")
        add_model(command)
        command.add_argument("--device", default="cpu", help="torch device (default: cpu)")
        command.add_argument("--force", action="store_true", help="overwrite existing files")
    for command in (encode, decode):
        add_prior(command)
    text = "bits: as many for every code, by how often it was used in training, or under the prior (default: the best)"
    encode.add_argument("--coder", choices=("fixed", "static", "prior"), help=text)
    encode.add_argument("--speaker", default="", help="a speaker of the model, to decode with if nothing else is said")
    decode.add_argument("--speaker", help="a speaker of the model (default: the file's)")
    convert.add_argument("--speaker", required=True, help="a speaker of the model (see `speechvq info`)")
    for command in (decode, convert):
        add_sampling(command)
        command.add_argument("--format", choices=("wav", "flac"), default="wav", help="of files in a folder")


def _add_sample(commands: Any) -> None:
    command = add_command(commands, "sample", _sample, "Make up speech: codes from a prior, audio from the model.")
    command.add_argument("target", metavar="OUT", type=Path, help=".wav, .flac, .svq (codes alone), or - for stdout")
    add_model(command)
    add_prior(command, required=True)
    command.add_argument("--speaker", required=True, help="a speaker of the model")
    command.add_argument("--anyone", action="store_true", help="do not tell the prior who the speaker is")
    command.add_argument("--seconds", type=duration, default=3.0, help="how long (default: 3)")
    command.add_argument("--count", type=count, default=1, help="how many: OUT-1.wav, OUT-2.wav, ... if more than one")
    command.add_argument("--prefix", type=Path, help="audio or a .svq file to go on from; it is not in the output")
    add_truncation(command)
    text = "of the voice, if a WaveNet speaks (default: 1); --temperature, --top-k and --top-p are of the codes"
    command.add_argument("--voice-temperature", type=nonnegative, default=1.0, help=text)
    command.add_argument("--device", default="cpu", help="torch device (default: cpu)")
    command.add_argument("--force", action="store_true", help="overwrite existing files")
    command.add_argument("--format", choices=("wav", "flac", "svq"), default="wav", help="of what goes to stdout")
    add_sampling(command)


def _add_info(commands: Any) -> None:
    text = "Say what a model, a prior or a file of codes is; without any, what the packaged models are."
    command = add_command(commands, "info", _info, text)
    text = "a folder, a packaged model by name, a .svq file, or - for stdin"
    command.add_argument("source", metavar="PATH", type=Path, nargs="?", help=text)


def _encode(options: argparse.Namespace) -> None:
    with pipes(options, CODE_SUFFIXES[0]) as (source, target):
        jobs = plan_files(source, target, AUDIO_SUFFIXES, CODE_SUFFIXES, options.force)
        codec = load_codec(options)
        from speechvq.coding.code_files import CodeFiles
        from speechvq.coding.jobs import encode_files

        files = CodeFiles(codec, options.prior)
        _report_files(options, encode_files(files, jobs, options.speaker, options.coder))


def _decode(options: argparse.Namespace) -> None:
    with pipes(options, f".{options.format}") as (source, target):
        jobs = plan_files(source, target, CODE_SUFFIXES, _formats(options), options.force)
        codec = load_codec(options)
        from speechvq.coding.code_files import CodeFiles
        from speechvq.coding.jobs import decode_files

        files = CodeFiles(codec, options.prior)
        _report_files(options, decode_files(files, jobs, options.speaker, sampling(options)))


def _convert(options: argparse.Namespace) -> None:
    with pipes(options, f".{options.format}") as (source, target):
        jobs = plan_files(source, target, AUDIO_SUFFIXES, _formats(options), options.force)
        codec = load_codec(options)
        from speechvq.coding.jobs import convert_files

        _report_files(options, convert_files(codec, jobs, options.speaker, sampling(options)))


def _sample(options: argparse.Namespace) -> None:
    with pipes(options, f".{options.format}") as (_, target):
        targets = plan_samples(target, options.count, options.force)
        if options.prefix:
            require_input(options.prefix)
        codec = load_codec(options)
        from speechvq.coding.code_files import CodeFiles
        from speechvq.coding.jobs import sample_files
        from speechvq.wavenet.sampler import Sampling

        done = sample_files(
            CodeFiles(codec, options.prior),
            targets,
            options.speaker,
            seconds=options.seconds,
            sampling=sampling(options),
            voice=Sampling(options.voice_temperature, options.seed, progress=True, weights=options.weights),
            anyone=options.anyone,
            prefix=options.prefix,
        )
        _report_files(options, done)


def _info(options: argparse.Namespace) -> None:
    from speechvq.coding.header import parse_file, read_header
    from speechvq.folder.card import PACKAGED, model_folder, packaged
    from speechvq.folder.description import describe_folder

    if options.source is None:
        each = {name: describe_folder(PACKAGED / name) for name in packaged()}
        report(options, each, [line for name, values in each.items() for line in (name, *_indented(values))])
        return
    folder = model_folder(options.source)
    if folder.is_dir():
        result = describe_folder(folder)
    else:
        with pipes(options, "") as (source, _):
            result = parse_file(source, read_header).describe()
    report(options, result, table(result))


def _indented(values: dict[str, Any]) -> list[str]:
    return [f"  {line}" for line in table(values)] + [""]


@contextmanager
def pipes(options: argparse.Namespace, suffix: str) -> Iterator[tuple[Path, Path]]:
    """The input and output of a command, where - stands for stdin and stdout: files, for input is read twice."""
    source, target = getattr(options, "source", Path()), getattr(options, "target", Path())
    with tempfile.TemporaryDirectory(prefix="speechvq-") as folder:
        if source == PIPE:
            source = Path(folder) / "stdin"
            with source.open("wb") as file:
                shutil.copyfileobj(sys.stdin.buffer, file)
        yield source, Path(folder) / f"stdout{suffix}" if target == PIPE else target
        if target == PIPE:
            with (Path(folder) / f"stdout{suffix}").open("rb") as file:
                shutil.copyfileobj(file, sys.stdout.buffer)


def _formats(options: argparse.Namespace) -> tuple[str, ...]:
    return (f".{options.format}", ".wav", ".flac")


def _report_files(options: argparse.Namespace, made: Any) -> None:
    """One line a file as it is made, or a list of all of them; on stderr where the file goes to stdout."""
    from speechvq.audio import SAMPLE_RATE

    rows, told = [], sys.stderr if options.target == PIPE else sys.stdout
    for job, encoded in made:
        rows.append({"source": str(job.source), "file": str(job.target), "codes": len(encoded.codes)})
        if not options.json:
            text = f"{job.target} ({encoded.samples / SAMPLE_RATE:.2f} s, {len(encoded.codes)} codes)"
            print(text, file=told, flush=True)
    if options.json:
        print(json.dumps(rows, indent=2), file=told)

"""The commands encode, decode, convert, sample and info, which use a model."""

import argparse
import json
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from speechvq.audio import AUDIO_SUFFIXES, SAMPLE_RATE
from speechvq.cli.arguments import (
    add_command,
    add_device,
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
from speechvq.coding.header import CODER_TAGS, parse_file, read_header
from speechvq.coding.plan import CODE_SUFFIXES, Job, plan_files, plan_samples, require_input

if TYPE_CHECKING:
    from speechvq.codec import Encoded

STREAM = Path("-")  # stdin or stdout


def add_commands(commands: Any) -> None:
    """Add the commands of this module."""
    _add_coding(commands)
    _add_sample(commands)
    _add_info(commands)


def _add_coding(commands: Any) -> None:
    encode = add_command(commands, "encode", _encode, "Encode audio into files of codes (.svq).")
    decode = add_command(commands, "decode", _decode, "Decode files of codes into speech.")
    convert = add_command(commands, "convert", _convert, "Convert speech to another speaker's voice.")
    for command in (encode, decode, convert):
        command.add_argument("source", metavar="IN", type=Path, help="a file, a folder of files, or - for stdin")
        command.add_argument("target", metavar="OUT", type=Path, help="a file, a folder, or - for stdout")
        add_model(command)
        add_device(command)
        _add_force(command)
    for command in (encode, decode):
        add_prior(command)
    text = "fixed: as many bits for every code; static: by its frequency in training; prior: under the prior"
    encode.add_argument("--coder", choices=tuple(CODER_TAGS), help=f"{text} (default: the last that is available)")
    text = "a speaker of the model, kept in the file as the one to decode with (default: none)"
    encode.add_argument("--speaker", default="", help=text)
    decode.add_argument("--speaker", help="a speaker of the model (default: the one that the file names)")
    convert.add_argument("--speaker", required=True, help="a speaker of the model (see `speechvq info`)")
    for command in (decode, convert):
        add_sampling(command)
        text = "of the files in a folder, and of stdout (default: wav)"
        command.add_argument("--format", choices=("wav", "flac"), default="wav", help=text)


def _add_sample(commands: Any) -> None:
    text = "Sample new speech: codes from a prior, decoded by the model."
    command = add_command(commands, "sample", _sample, text)
    command.add_argument("target", metavar="OUT", type=Path, help="a .wav, .flac or .svq (codes) file, or - for stdout")
    add_model(command)
    add_prior(command, required=True)
    command.add_argument("--speaker", required=True, help="a speaker of the model")
    command.add_argument("--anyone", action="store_true", help="do not condition the prior on the speaker")
    command.add_argument("--seconds", type=duration, default=3.0, help="length of a sample (default: 3)")
    text = "number of samples; several are written to OUT-1.wav, OUT-2.wav, ... (default: 1)"
    command.add_argument("--count", type=count, default=1, help=text)
    text = "audio or .svq file that the samples continue; it is not in the output"
    command.add_argument("--prefix", type=Path, metavar="FILE", help=text)
    add_truncation(command)
    text = "temperature of a WaveNet's audio; --temperature, --top-k and --top-p are of the codes (default: 1)"
    command.add_argument("--voice-temperature", type=nonnegative, default=1.0, help=text)
    add_device(command)
    _add_force(command)
    command.add_argument("--format", choices=("wav", "flac", "svq"), default="wav", help="of stdout (default: wav)")
    add_sampling(command)


def _add_info(commands: Any) -> None:
    text = "Describe a model, a prior or a file of codes; without PATH, the packaged models."
    command = add_command(commands, "info", _info, text)
    text = "a model's or a prior's folder, the name of a packaged model, a .svq file, or - for stdin"
    command.add_argument("source", metavar="PATH", type=Path, nargs="?", help=text)


def _add_force(command: Any) -> None:
    command.add_argument("--force", action="store_true", help="overwrite existing files")


def _encode(options: argparse.Namespace) -> None:
    with streams(options, CODE_SUFFIXES[0]) as (source, target):
        jobs = plan_files(source, target, AUDIO_SUFFIXES, CODE_SUFFIXES, options.force)
        codec = load_codec(options)
        from speechvq.coding.code_files import CodeFiles
        from speechvq.coding.jobs import encode_files

        files = CodeFiles(codec, options.prior)
        _report_files(options, encode_files(files, jobs, options.speaker, options.coder))


def _decode(options: argparse.Namespace) -> None:
    with streams(options, f".{options.format}") as (source, target):
        jobs = plan_files(source, target, CODE_SUFFIXES, _formats(options), options.force)
        codec = load_codec(options)
        from speechvq.coding.code_files import CodeFiles
        from speechvq.coding.jobs import decode_files

        files = CodeFiles(codec, options.prior)
        _report_files(options, decode_files(files, jobs, options.speaker, sampling(options)))


def _convert(options: argparse.Namespace) -> None:
    with streams(options, f".{options.format}") as (source, target):
        jobs = plan_files(source, target, AUDIO_SUFFIXES, _formats(options), options.force)
        codec = load_codec(options)
        from speechvq.coding.jobs import convert_files

        _report_files(options, convert_files(codec, jobs, options.speaker, sampling(options)))


def _sample(options: argparse.Namespace) -> None:
    with streams(options, f".{options.format}") as (_, target):
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
        with streams(options, "") as (source, _):
            result = parse_file(source, read_header).describe()
    report(options, result, table(result))


def _indented(values: dict[str, Any]) -> list[str]:
    return [f"  {line}" for line in table(values)] + [""]


@contextmanager
def streams(options: argparse.Namespace, suffix: str) -> Iterator[tuple[Path, Path]]:
    """The input and output files of a command, with temporary files in place of stdin and stdout.

    suffix: of the temporary output.

    stdin is copied into a file because input is read twice; stdout gets its file when the block ends.
    """
    source, target = getattr(options, "source", Path()), getattr(options, "target", Path())
    with tempfile.TemporaryDirectory(prefix="speechvq-") as folder:
        if source == STREAM:
            source = Path(folder) / "stdin"
            with source.open("wb") as file:
                shutil.copyfileobj(sys.stdin.buffer, file)
        yield source, Path(folder) / f"stdout{suffix}" if target == STREAM else target
        if target == STREAM:
            with (Path(folder) / f"stdout{suffix}").open("rb") as file:
                shutil.copyfileobj(file, sys.stdout.buffer)


def _formats(options: argparse.Namespace) -> tuple[str, ...]:
    return (f".{options.format}", ".wav", ".flac")


def _report_files(options: argparse.Namespace, done: Iterator[tuple[Job, "Encoded"]]) -> None:
    """Print a line for each finished file, or a list of all as JSON; on stderr if stdout gets the file itself."""
    rows, output = [], sys.stderr if options.target == STREAM else sys.stdout
    for job, encoded in done:
        rows.append({"source": str(job.source), "file": str(job.target), "codes": len(encoded.codes)})
        if not options.json:
            text = f"{job.target} ({encoded.samples / SAMPLE_RATE:.2f} s, {len(encoded.codes)} codes)"
            print(text, file=output, flush=True)
    if options.json:
        print(json.dumps(rows, indent=2), file=output)

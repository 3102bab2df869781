"""The commands encode, decode, convert, sample and info, which use a model."""

import argparse
import hashlib
import json
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from speechvq import SpeechVQError
from speechvq.audio import AUDIO_SUFFIXES, SAMPLE_RATE
from speechvq.cli.arguments import (
    add_command,
    add_device,
    add_model,
    add_penalty,
    add_prior,
    add_sampling,
    add_truncation,
    count,
    duration,
    load_codec,
    nonnegative,
    report,
    report_failures,
    sampling,
    table,
)
from speechvq.cli.streaming import (
    add_input,
    add_lookahead,
    add_packet,
    add_raw,
    convert_stream,
    decode_stream,
    encode_stream,
)
from speechvq.coding.header import CODER_TAGS, parse_file, read_header
from speechvq.coding.packets.framing import describe_packets, is_packets
from speechvq.coding.plan import CODE_SUFFIXES, FAILED_FILE, Plan, plan_files, plan_samples, require_input
from speechvq.files import Failure, printable, save_failures

if TYPE_CHECKING:
    from speechvq.coding.jobs import Outcome

STREAM = Path("-")  # stdin or stdout
# What the content of outputs does not depend on, or not by its name: of model and prior, it is the files that count.
WITHOUT_EFFECT = {"run", "source", "target", "model", "prior", "device", "force", "skip_existing", "json"}


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
        text = "keep existing files, however they were made (those of the same command and options are kept anyway)"
        command.add_argument("--skip-existing", action="store_true", help=text)
        add_raw(command)
    for command in (encode, convert):
        add_input(command)
    for command in (encode, decode):
        add_prior(command)
    text = "fixed: as many bits for every code; static: by its frequency in training; prior: under the prior"
    encode.add_argument("--coder", choices=tuple(CODER_TAGS), help=f"{text} (default: the last that is available)")
    text = "a speaker of the model, kept in the file as the one to decode with (default: none)"
    encode.add_argument("--speaker", default="", help=text)
    add_penalty(encode)
    add_packet(encode)
    decode.add_argument("--speaker", help="a speaker of the model (default: the one that the file names)")
    convert.add_argument("--speaker", required=True, help="a speaker of the model (see `speechvq info`)")
    for command in (decode, convert):
        add_sampling(command)
        add_lookahead(command)
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


def _encode(options: argparse.Namespace) -> int:
    if options.raw:
        return encode_stream(options)
    with streams(options, CODE_SUFFIXES[0]) as (source, target):
        plan = _plan("encode", options, source, target, AUDIO_SUFFIXES, CODE_SUFFIXES)
        codec = load_codec(options)
        from speechvq.coding.code_files import CodeFiles
        from speechvq.coding.jobs import encode_files

        files = CodeFiles(codec, options.prior)
        done = encode_files(files, plan, options.speaker, options.coder, penalty=options.penalty)
        return _report_files(options, source, plan, done)


def _decode(options: argparse.Namespace) -> int:
    if options.raw:
        return decode_stream(options)
    with streams(options, f".{options.format}") as (source, target):
        plan = _plan("decode", options, source, target, CODE_SUFFIXES, _formats(options))
        codec = load_codec(options)
        from speechvq.coding.code_files import CodeFiles
        from speechvq.coding.jobs import decode_files

        files = CodeFiles(codec, options.prior)
        return _report_files(options, source, plan, decode_files(files, plan, options.speaker, sampling(options)))


def _convert(options: argparse.Namespace) -> int:
    if options.raw:
        return convert_stream(options)
    with streams(options, f".{options.format}") as (source, target):
        plan = _plan("convert", options, source, target, AUDIO_SUFFIXES, _formats(options))
        codec = load_codec(options)
        from speechvq.coding.jobs import convert_files

        return _report_files(options, source, plan, convert_files(codec, plan, options.speaker, sampling(options)))


def _plan(
    command: str,
    options: argparse.Namespace,
    source: Path,
    target: Path,
    suffixes: Sequence[str],
    outputs: Sequence[str],
) -> Plan:
    """The plan of a command."""
    made_with = _made_with(command, options) if source.is_dir() else ""
    keep = {"force": options.force, "skip_existing": options.skip_existing}
    return plan_files(source, target, suffixes, outputs, options=made_with, **keep)


def _made_with(command: str, options: argparse.Namespace) -> str:
    """16 hex digits that name all that outputs depend on besides their inputs: model, prior and options."""
    from speechvq.folder.card import model_folder
    from speechvq.folder.fingerprint import files_digest

    given = vars(options)
    values: list[Any] = [command, {name: value for name, value in sorted(given.items()) if name not in WITHOUT_EFFECT}]
    values += [files_digest(model_folder(given[name])) for name in ("model", "prior") if given.get(name)]
    return hashlib.sha256(json.dumps(values).encode()).hexdigest()[:16]


def _sample(options: argparse.Namespace) -> int:
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
        return _report_files(options, Path(), Plan([]), done)


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
            result = parse_file(source, _describe_codes)
    report(options, result, table(result))


def _describe_codes(data: bytes) -> dict[str, Any]:
    """The description of a file of codes or of a recorded stream of them."""
    return describe_packets(data) if is_packets(data) else read_header(data).describe()


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


def _report_files(options: argparse.Namespace, source: Path, plan: Plan, done: Iterator["Outcome"]) -> int:
    """Print a line for each finished file, or a list of all as JSON; on stderr if stdout gets the file itself.

    Of a folder, the files that could not be used are listed at the end, and in a file beside the outputs.

    Returns the exit code. Raises SpeechVQError if the only file could not be used.
    """
    output = sys.stderr if options.target == STREAM else sys.stdout
    rows = [{"source": str(job.source), "file": str(job.target), "kept": True} for job in plan.kept]
    failed: dict[Path, str] = {}
    written = 0
    try:
        for job, item in chain(plan.failed, done):
            if isinstance(item, Failure):
                if plan.folder is None:
                    raise SpeechVQError(item.reason)
                failed[job.source] = item.reason.removeprefix(f"{job.source}: ")
                continue
            written += 1
            rows.append({"source": str(job.source), "file": str(job.target), "codes": len(item.codes)})
            if not options.json:
                text = f"{job.target} ({item.samples / SAMPLE_RATE:.2f} s, {len(item.codes)} codes)"
                print(printable(text), file=output, flush=True)
    finally:
        listed = [(str(path.relative_to(source)), failed[path]) for path in sorted(failed)]
        if listed and plan.folder is not None:
            save_failures(plan.folder / FAILED_FILE, listed)
        elif plan.folder is not None:
            (plan.folder / FAILED_FILE).unlink(missing_ok=True)  # of an earlier run
    if options.json:
        rows += [{"source": str(path), "error": reason} for path, reason in failed.items()]
        print(json.dumps(sorted(rows, key=lambda row: row["source"]), indent=2), file=output)
    elif plan.folder is not None or plan.kept:
        print(f"{written} written, {len(plan.kept)} were there, {len(failed)} failed", file=output)
    return report_failures(listed, "failed", None if plan.folder is None else plan.folder / FAILED_FILE)

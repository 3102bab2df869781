"""The commands encode, decode, convert and sample, which use a model."""

import argparse
import hashlib
import json
import sys
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from speechvq import SpeechVQError
from speechvq.audio import AUDIO_SUFFIXES, SAMPLE_RATE
from speechvq.cli.arguments import (
    add_command,
    add_device,
    add_kept_pitch,
    add_melody,
    add_model,
    add_penalty,
    add_prior,
    add_sampling,
    add_truncation,
    draws,
    duration,
    load_codec,
    lufs,
    nonnegative,
    rate,
    report_failures,
    sampling,
    semitones,
)
from speechvq.cli.streaming import (
    STREAM,
    add_input,
    add_lookahead,
    add_packet,
    add_raw,
    convert_stream,
    decode_stream,
    encode_stream,
    require_raw,
    streams,
)
from speechvq.coding.header import CODER_TAGS, MAX_BYTES
from speechvq.coding.plan import CODE_SUFFIXES, FAILED_FILE, Plan, plan_files, plan_samples, require_input
from speechvq.files import Failure, printable, save_failures
from speechvq.text.textgrid import check_writer
from speechvq.text.timed_codes import GRID_SUFFIX, TABLE_SUFFIX, read_code_table

if TYPE_CHECKING:
    from speechvq.coding.jobs import Outcome

# Options on which outputs do not depend; the files of model and prior count, but not their names.
WITHOUT_EFFECT = {"run", "source", "target", "model", "prior", "device", "force", "skip_existing", "json"}
FORMATS = {"svq": CODE_SUFFIXES[0], "tsv": TABLE_SUFFIX, "textgrid": GRID_SUFFIX}  # suffixes of what `encode` writes
PHONE_TABLE = Path("phones.tsv")  # of a model folder: the phones that its codes are mapped to


def add_commands(commands: Any) -> None:
    """Add the commands of this module."""
    _add_coding(commands)
    _add_sample(commands)


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
    add_penalty(encode, None)
    add_melody(encode)
    add_packet(encode)
    text = "of the files in a folder, and of stdout; a file is what OUT ends in. svq: a file of codes; tsv, textgrid: "
    text += "codes with times, which `decode` does not read (default: svq)"
    encode.add_argument("--format", choices=tuple(FORMATS), help=text)
    text = (
        "with the times, the phone that each code is mapped to, by a table of `evaluate phonemes --table` (default: no "
    )
    text += f"phones; without FILE: {PHONE_TABLE} in the model folder)"
    encode.add_argument("--phones", type=Path, nargs="?", const=PHONE_TABLE, metavar="FILE", help=text)
    _add_voices(decode, "a speaker of the model (default: the one that the file names)", required=False)
    _add_voices(convert, "a speaker of the model (see `speechvq info`)", required=True)
    add_kept_pitch(convert)
    for command in (decode, convert):
        add_sampling(command)
        add_lookahead(command)
        text = "raise the pitch by so many semitones, -12 to 12, of a source_filter or vocoder decoder (default: 0)"
        command.add_argument("--pitch", type=semitones, default=0.0, metavar="N", help=text)
        text = "loudness of the speech in LUFS, from -60 to 0 (default: as it is decoded, about -24)"
        command.add_argument("--level", type=lufs, metavar="LUFS", help=text)
        text = f"of the audio, in Hz; the model's speech ends at 8000 Hz (default: {SAMPLE_RATE})"
        command.add_argument("--sample-rate", type=rate, default=SAMPLE_RATE, metavar="HZ", help=text)
        text = "of the files in a folder, and of stdout (default: wav)"
        command.add_argument("--format", choices=("wav", "flac"), default="wav", help=text)


def _add_voices(command: Any, text: str, *, required: bool) -> None:
    voices = command.add_mutually_exclusive_group(required=required)
    voices.add_argument("--speaker", help=text)
    text = "every speaker of the model: a file becomes OUT/SPEAKER.wav, a folder OUT/SPEAKER/*"
    voices.add_argument("--all-speakers", action="store_true", help=text)


def _add_sample(commands: Any) -> None:
    text = "Sample new speech: codes from a prior, decoded by the model."
    command = add_command(commands, "sample", _sample, text)
    command.add_argument("target", metavar="OUT", type=Path, help="a .wav, .flac or .svq (codes) file, or - for stdout")
    add_model(command)
    add_prior(command, required=True)
    command.add_argument("--speaker", required=True, help="a speaker of the model")
    command.add_argument("--anyone", action="store_true", help="do not condition the prior on the speaker")
    command.add_argument("--seconds", type=duration, default=3.0, help="length of a sample, in seconds (default: 3)")
    text = "number of samples; several are written to OUT-1.wav, OUT-2.wav, ... (default: 1)"
    command.add_argument("--count", type=draws, default=1, help=text)
    text = "audio or .svq file that the samples continue; it is not in the output (default: none)"
    command.add_argument("--prefix", type=Path, metavar="FILE", help=text)
    add_truncation(command)
    text = "temperature of a WaveNet's audio, a divisor of its logits; that of the codes is --temperature (default: 1)"
    command.add_argument("--voice-temperature", type=nonnegative, default=1.0, help=text)
    add_device(command)
    _add_force(command)
    command.add_argument("--format", choices=("wav", "flac", "svq"), default="wav", help="of stdout (default: wav)")
    add_sampling(command)


def _add_force(command: Any) -> None:
    command.add_argument("--force", action="store_true", help="overwrite existing files")


def _encode(options: argparse.Namespace) -> int:
    if options.raw:
        return encode_stream(options)
    require_raw(options)
    suffix = FORMATS[options.format or "svq"]
    with streams(options, suffix) as (source, target):
        plan = _plan("encode", options, source, target, AUDIO_SUFFIXES, (suffix, *FORMATS.values()))
        if any(job.target.suffix.lower() == GRID_SUFFIX.lower() for job in plan.jobs):
            check_writer()
        if options.phones and any(job.target.suffix.lower() in CODE_SUFFIXES for job in plan.jobs):
            raise SpeechVQError("--phones is of codes with times (--format tsv or textgrid), not of .svq files")
        if options.melody and any(job.target.suffix.lower() not in CODE_SUFFIXES for job in plan.jobs):
            raise SpeechVQError("--melody is of .svq files, not of codes with times (--format tsv or textgrid)")
        phones = _code_phones(options)
        codec = load_codec(options)
        from speechvq.coding.code_files import CodeFiles
        from speechvq.coding.jobs import encode_files

        files = CodeFiles(codec, options.prior)
        how = {"penalty": options.penalty, "melody": options.melody}
        done = encode_files(files, plan, options.speaker, options.coder, **how, phones=phones)
        return _report_files(options, source, plan, done)


def _code_phones(options: argparse.Namespace) -> dict[int, str] | None:
    """The phone of each code by the table of --phones."""
    if options.phones is None:
        return None
    from speechvq.folder.card import model_folder

    own = options.phones == PHONE_TABLE and not PHONE_TABLE.exists()
    return read_code_table(model_folder(options.model) / PHONE_TABLE if own else options.phones)


def _decode(options: argparse.Namespace) -> int:
    if options.raw:
        return decode_stream(options)
    require_raw(options)
    with streams(options, f".{options.format}", MAX_BYTES) as (source, target):
        plan = _plan("decode", options, source, target, CODE_SUFFIXES, _formats(options))
        codec = load_codec(options)
        from speechvq.coding.code_files import CodeFiles
        from speechvq.coding.jobs import decode_files

        files = CodeFiles(codec, options.prior)
        return _report_files(options, source, plan, decode_files(files, plan, _voice(options)))


def _convert(options: argparse.Namespace) -> int:
    if options.raw:
        return convert_stream(options)
    require_raw(options)
    with streams(options, f".{options.format}") as (source, target):
        plan = _plan("convert", options, source, target, AUDIO_SUFFIXES, _formats(options))
        codec = load_codec(options)
        from speechvq.coding.jobs import convert_files

        return _report_files(options, source, plan, convert_files(codec, plan, _voice(options)))


def _voice(options: argparse.Namespace) -> Any:
    """The `Voice` of the options of decode and convert."""
    from speechvq.audio.output import OutputAudio
    from speechvq.coding.jobs import Voice

    output = OutputAudio(options.sample_rate, options.level)
    keep_pitch, melody = (getattr(options, name, False) for name in ("keep_pitch", "melody"))  # of convert
    return Voice(options.speaker, sampling(options), options.pitch, keep_pitch, melody, output)


def _plan(
    command: str,
    options: argparse.Namespace,
    source: Path,
    target: Path,
    suffixes: Sequence[str],
    outputs: Sequence[str],
) -> Plan:
    """The plan of a command."""
    speakers = _all_speakers(options) if getattr(options, "all_speakers", False) else ()
    made_with = _made_with(command, options) if source.is_dir() or speakers else ""
    keep = {"force": options.force, "skip_existing": options.skip_existing}
    return plan_files(source, target, suffixes, outputs, options=made_with, speakers=speakers, **keep)


def _all_speakers(options: argparse.Namespace) -> tuple[str, ...]:
    """The speakers of the model, for --all-speakers."""
    from speechvq.folder.card import load_card, model_folder

    speakers = load_card(model_folder(options.model), "codec").speakers
    if not speakers:
        raise SpeechVQError(f"{options.model}: this model has no speakers (--all-speakers)")
    if options.target == STREAM or options.target.is_file():
        raise SpeechVQError(f"{options.target}: --all-speakers writes a folder")
    return speakers


def _made_with(command: str, options: argparse.Namespace) -> str:
    """16 hex digits that name all that outputs depend on besides their inputs: model, prior and options."""
    from speechvq.folder.card import model_folder
    from speechvq.folder.fingerprint import files_digest

    given = vars(options)
    named = {name: str(value) if isinstance(value, Path) else value for name, value in sorted(given.items())}
    values: list[Any] = [command, {name: value for name, value in named.items() if name not in WITHOUT_EFFECT}]
    values += [files_digest(model_folder(given[name])) for name in ("model", "prior") if given.get(name)]
    return hashlib.sha256(json.dumps(values).encode()).hexdigest()[:16]


def _sample(options: argparse.Namespace) -> int:
    if options.target == STREAM and options.count > 1:
        raise SpeechVQError(f"stdout takes one sample, not {options.count}: name a file")
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
    above = source if source.is_dir() else source.parent
    try:
        for job, item in chain(plan.failed, done):
            if isinstance(item, Failure):
                if plan.folder is None:
                    raise SpeechVQError(item.reason)
                failed[job.source] = item.reason.removeprefix(f"{job.source}: ")
                continue
            written += 1
            name = "stdout" if options.target == STREAM else str(job.target)
            input_name = "stdin" if getattr(options, "source", None) == STREAM else str(job.source)
            rows.append({"source": input_name, "file": name, "codes": len(item.codes)})
            if not options.json:
                text = f"{name} ({item.samples / SAMPLE_RATE:.2f} s, {len(item.codes)} codes)"
                print(printable(text), file=output, flush=True)
    finally:
        listed = [(str(path.relative_to(above)), failed[path]) for path in sorted(failed)]
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

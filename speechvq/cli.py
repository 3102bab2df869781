"""The command line: parsing and messages only. Heavy imports wait until a command needs them."""

import argparse
import dataclasses
import json
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from speechvq import SpeechVQError, __version__


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command -> exit code: 0, 2 for a mistake that the user can mend, 130 when interrupted."""
    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    options = parser().parse_args(arguments)
    try:
        options.run(options)
    except SpeechVQError as error:
        print(f"speechvq: error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("speechvq: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader of stdout went away (`speechvq info | head`); keep Python from failing again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except OSError as error:
        print(f"speechvq: error: {error.filename or ''}: {error.strerror or error}", file=sys.stderr)
        return 2
    return 0


def parser() -> argparse.ArgumentParser:
    """The parser of all commands; `run` in its result is the command's function."""
    top = argparse.ArgumentParser(prog="speechvq", description="Speech codecs with a discrete bottleneck.")
    top.add_argument("--version", action="version", version=f"speechvq {__version__}")
    commands = top.add_subparsers(metavar="COMMAND", required=True)
    _add_demo(commands)
    _add_prepare(commands)
    _add_train(commands)
    _add_coding(commands)
    _add_evaluate(commands)
    _add_info(commands)
    return top


def _command(commands: Any, name: str, run: Any, text: str) -> argparse.ArgumentParser:
    command: argparse.ArgumentParser = commands.add_parser(name, help=text, description=text)
    command.set_defaults(run=run)
    command.add_argument("--json", action="store_true", help="print the result as JSON on stdout")
    return command


def _add_demo(commands: Any) -> None:
    text = "Speak a corpus with espeak-ng, train two small models on it, reconstruct and convert, measure."
    command = _command(commands, "demo", _demo, text)
    command.add_argument("--out", type=Path, default=Path("demo"), help="folder to work in (default: demo)")
    command.add_argument("--minutes", type=_positive, default=15.0, help="training time, both models (default: 15)")
    command.add_argument("--seed", type=_natural, default=0)
    command.add_argument("--force", action="store_true", help="start over in a folder that holds an earlier demo")


def _add_prepare(commands: Any) -> None:
    command = _command(commands, "prepare", _prepare, "Turn a corpus into 16 kHz audio and a manifest.")
    command.add_argument("kind", choices=("vctk", "folder", "demo"), help="demo speaks the corpus into SRC first")
    command.add_argument("source", metavar="SRC", type=Path)
    command.add_argument("out", metavar="OUT", type=Path)
    command.add_argument("--workers", type=_count, default=os.cpu_count() or 1, help="processes (default: all cores)")
    command.add_argument("--trim-db", type=_positive, default=30.0, help="trim edges this far below the peak")
    command.add_argument("--valid", type=_share, default=0.05, help="share of held-out utterances for validation")
    command.add_argument("--test", type=_share, default=0.05, help="share of held-out utterances for testing")
    command.add_argument("--unseen", type=_share, default=0.05, help="share of speakers held out altogether")
    command.add_argument("--unseen-speakers", default="", metavar="A,B", help="hold out exactly these speakers")


def _add_train(commands: Any) -> None:
    command = _command(commands, "train", _train, "Train a model on a prepared corpus.")
    command.add_argument("config", metavar="CONFIG.toml", type=Path)
    command.add_argument("--data", type=Path, required=True, help="folder written by `speechvq prepare`")
    command.add_argument("--out", type=Path, required=True, help="run folder, also the model folder")
    command.add_argument("--init", type=Path, help="model folder to take parts from (init.path)")
    command.add_argument(
        "--set", action="append", default=[], metavar="KEY.NAME=VALUE", help="change the configuration"
    )
    command.add_argument("--resume", action="store_true", help="go on where this run stopped")
    command.add_argument("--force", action="store_true", help="start over in a folder that holds a run")


def _add_coding(commands: Any) -> None:
    encode = _command(commands, "encode", _encode, "Turn audio into files of codes (.npz).")
    decode = _command(commands, "decode", _decode, "Turn files of codes into speech.")
    convert = _command(commands, "convert", _convert, "Speak the words of a recording with another voice.")
    for command in (encode, decode, convert):
        command.add_argument("source", metavar="IN", type=Path, help="a file, or a folder of files")
        command.add_argument("target", metavar="OUT", type=Path, help="a file, or a folder")
        command.add_argument("--model", type=Path, required=True, help="model folder")
        command.add_argument("--device", default="cpu", help="torch device (default: cpu)")
        command.add_argument("--force", action="store_true", help="overwrite existing files")
    for command in (decode, convert):
        command.add_argument("--speaker", required=True, help="a speaker of the model (see `speechvq info`)")
        _add_sampling(command)
        command.add_argument("--format", choices=("wav", "flac"), default="wav", help="of files in a folder")


def _add_sampling(command: Any) -> None:
    command.add_argument("--temperature", type=_nonnegative, default=1.0, help="0 takes the likeliest sample")
    command.add_argument("--seed", type=_natural, default=0)
    text = "bfloat16 decodes up to twice as fast on a CPU, with a rounding (benchmarks/precision.py)"
    command.add_argument("--weights", choices=("float32", "bfloat16"), default="float32", help=text)


def _add_evaluate(commands: Any) -> None:
    group = commands.add_parser("evaluate", help="measure a model on held-out speech")
    questions = group.add_subparsers(metavar="QUESTION", required=True)
    text = "Predict held-out speech from its codes: losses, the cost of shuffled codes, codes in use."
    reconstruction = _command(questions, "reconstruction", _evaluate_reconstruction, text)
    reconstruction.add_argument("--split", choices=("valid", "test"), default="test")
    reconstruction.add_argument("--crop", type=_count, default=16_000, help="samples predicted in one go")
    text = "Speak test utterances with other voices; compare duration, level and energy contour with the source."
    conversion = _command(questions, "conversion", _evaluate_conversion, text)
    conversion.add_argument("--speakers", required=True, metavar="A,B", help="each is source and target")
    conversion.add_argument("--count", type=_count, default=2, help="test utterances of each speaker (default: 2)")
    _add_sampling(conversion)
    for command in (reconstruction, conversion):
        command.add_argument("--model", type=Path, required=True, help="model folder")
        command.add_argument("--data", type=Path, required=True, help="folder written by `speechvq prepare`")
        command.add_argument("--device", default="cpu")


def _add_info(commands: Any) -> None:
    command = _command(commands, "info", _info, "Say what a model folder or a file of codes holds.")
    command.add_argument("path", metavar="PATH", type=Path)


def _demo(options: argparse.Namespace) -> None:
    from speechvq.demo.pipeline import run_demo

    summary = run_demo(options.out, minutes=options.minutes, seed=options.seed, force=options.force)
    lines = [f"{name}: {_plain(figures)}" for name, figures in summary["models"].items()]
    lines += [f"{options.out / 'wavs'}: originals, reconstructions and conversions"]
    _report(options, summary, [*lines, f"{options.out / 'summary.json'}: all that was measured"])


def _prepare(options: argparse.Namespace) -> None:
    from speechvq import corpus
    from speechvq.prepare import Treatment, prepare

    unseen = tuple(name for name in options.unseen_speakers.split(",") if name)
    split = corpus.Split(options.valid, options.test, options.unseen, unseen)
    treatment = Treatment(options.trim_db)
    if options.kind == "demo":
        from speechvq.demo.corpus import speak_corpus

        speak_corpus(options.source)
    vctk = options.kind != "folder"
    sources = corpus.read_vctk(options.source) if vctk else corpus.read_folder(options.source)
    speakers = corpus.read_vctk_speakers(options.source) if vctk else {}
    report = prepare(sources, options.out, treatment, split, speakers=speakers, workers=options.workers)
    lines = [f"{len(report.written)} prepared, {len(report.reused)} were there, {len(report.skipped)} skipped"]
    lines += [f"skipped {name}: {reason}" for name, reason in report.skipped[:10]]
    if len(report.skipped) > 10:
        lines.append(f"... all in {options.out / 'skipped.tsv'}")
    _report(options, dataclasses.asdict(report), lines)


def _train(options: argparse.Namespace) -> None:
    from speechvq.config import load_config
    from speechvq.training import train

    overrides = [*options.set] + ([f"init.path={json.dumps(str(options.init))}"] if options.init else [])
    config = load_config(options.config, overrides)
    figures = train(config, options.data, options.out, resume=options.resume, force=options.force)
    _report(options, figures, [f"{options.out}: the last held-out figures", *_lines(figures)])


def _encode(options: argparse.Namespace) -> None:
    from speechvq import batch
    from speechvq.audio import SUFFIXES

    jobs = batch.plan(options.source, options.target, SUFFIXES, batch.CODES, options.force)
    codec = _codec(options)
    _report_files(options, batch.encode_files(codec, jobs))


def _decode(options: argparse.Namespace) -> None:
    from speechvq import batch

    jobs = batch.plan(options.source, options.target, batch.CODES, _formats(options), options.force)
    codec = _codec(options)
    _report_files(options, batch.decode_files(codec, jobs, options.speaker, _sampling(options)))


def _convert(options: argparse.Namespace) -> None:
    from speechvq import batch
    from speechvq.audio import SUFFIXES

    jobs = batch.plan(options.source, options.target, SUFFIXES, _formats(options), options.force)
    codec = _codec(options)
    _report_files(options, batch.convert_files(codec, jobs, options.speaker, _sampling(options)))


def _evaluate_reconstruction(options: argparse.Namespace) -> None:
    from speechvq.evaluate.reconstruction import evaluate_reconstruction

    figures = evaluate_reconstruction(_codec(options), options.data, options.split, options.crop)
    _report(options, figures, _lines(figures))


def _evaluate_conversion(options: argparse.Namespace) -> None:
    from speechvq.evaluate.conversion import evaluate_conversion, summarize

    speakers = options.speakers.split(",")
    rows = evaluate_conversion(_codec(options), options.data, speakers, options.count, _sampling(options))
    summary = summarize(rows)
    lines = [f"{name}: {_plain(figures)}" for name, figures in summary.items()]
    _report(options, {**summary, "rows": rows}, lines)


def _info(options: argparse.Namespace) -> None:
    if options.path.is_dir():
        from speechvq.codec import Codec

        about = Codec.load(options.path).describe()
    else:
        from speechvq.codec import Encoded

        about = Encoded.load(options.path).describe()
    _report(options, about, _lines(about))


def _codec(options: argparse.Namespace) -> Any:
    from speechvq.checkpoint import speaker_index
    from speechvq.codec import Codec

    codec = Codec.load(options.model, options.device)
    if "speaker" in options:
        speaker_index(codec.speakers, options.speaker)  # before the work
    return codec


def _formats(options: argparse.Namespace) -> tuple[str, ...]:
    return (f".{options.format}", ".wav", ".flac")


def _sampling(options: argparse.Namespace) -> Any:
    from speechvq.sampler import Sampling

    return Sampling(options.temperature, options.seed, progress=True, weights=options.weights)


def _report(options: argparse.Namespace, result: Any, lines: Sequence[str]) -> None:
    print(json.dumps(result, indent=2) if options.json else "\n".join(lines))


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


def _lines(values: dict[str, Any]) -> list[str]:
    return [f"{key:16} {_plain(value)}" for key, value in values.items()]


def _plain(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_plain(item)}" for key, item in value.items())
    if isinstance(value, list | tuple):
        return " ".join(map(str, value))
    return f"{value:.4g}" if isinstance(value, float) else str(value)


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


def _positive(text: str) -> float:
    return _number(text, 0, open_low=True)


def _nonnegative(text: str) -> float:
    return _number(text, 0)


def _share(text: str) -> float:
    return _number(text, 0, 1)


def _count(text: str) -> int:
    return _number(text, 1, 2**31, whole=True)


def _natural(text: str) -> int:
    return _number(text, 0, 2**63 - 1, whole=True)


if __name__ == "__main__":
    sys.exit(main())

"""demo, get, prepare, align, train, adapt: from a corpus to models."""

import argparse
import dataclasses
import json
import os
from pathlib import Path
from typing import Any

from speechvq.cli.arguments import add_command, add_model, count, names, natural, plain, positive, report, share, table


def add_commands(commands: Any) -> None:
    """Add these to the parser."""
    _add_demo(commands)
    _add_get(commands)
    _add_prepare(commands)
    _add_align(commands)
    _add_train(commands)
    _add_adapt(commands)


def _add_demo(commands: Any) -> None:
    text = "Speak a corpus with espeak-ng, train two small models on it, reconstruct and convert, measure."
    command = add_command(commands, "demo", _demo, text)
    command.add_argument("--out", type=Path, default=Path("demo"), help="folder to work in (default: demo)")
    command.add_argument("--minutes", type=positive, default=15.0, help="training time, both models (default: 15)")
    command.add_argument("--seed", type=natural, default=0)
    command.add_argument("--force", action="store_true", help="start over in a folder that holds an earlier demo")


def _add_get(commands: Any) -> None:
    text = "Get a corpus: VCTK 0.92 from where it is published (11 GB), or our own sentences spoken by espeak-ng."
    command = add_command(commands, "get", _get, text)
    command.add_argument("corpus", choices=("vctk", "demo"))
    command.add_argument("out", metavar="DIR", type=Path)
    command.add_argument("--count", type=count, help="sentences of the demo (default: all)")


def _add_prepare(commands: Any) -> None:
    command = add_command(commands, "prepare", _prepare, "Turn a corpus into 16 kHz audio and a manifest.")
    command.add_argument("kind", choices=("vctk", "folder"), help="the layout of SRC; the demo's is VCTK's")
    command.add_argument("source", metavar="SRC", type=Path)
    command.add_argument("out", metavar="OUT", type=Path)
    command.add_argument("--workers", type=count, default=os.cpu_count() or 1, help="processes (default: all cores)")
    command.add_argument("--trim-db", type=positive, default=30.0, help="trim edges this far below the peak")
    command.add_argument("--valid", type=share, default=0.05, help="share of held-out utterances for validation")
    command.add_argument("--test", type=share, default=0.05, help="share of held-out utterances for testing")
    command.add_argument("--unseen", type=share, default=0.05, help="share of speakers held out altogether")
    command.add_argument("--unseen-speakers", default="", metavar="A,B", help="hold out exactly these speakers")


def _add_align(commands: Any) -> None:
    text = "Make phone labels (Praat TextGrid) of a prepared corpus by forced alignment with its transcripts."
    command = add_command(commands, "align", _align, text)
    command.add_argument("data", metavar="DATA", type=Path, help="folder written by `speechvq prepare`")
    command.add_argument("out", metavar="OUT", type=Path, help="folder of labels; what is there is kept")
    command.add_argument("--force", action="store_true", help="align again what is there")
    command.add_argument("--workers", type=count, default=os.cpu_count() or 1, help="processes (default: all cores)")


def _add_train(commands: Any) -> None:
    command = add_command(commands, "train", _train, "Train a model on a prepared corpus.")
    command.add_argument("config", metavar="CONFIG.toml", type=Path)
    command.add_argument("--data", type=Path, required=True, help="folder written by `speechvq prepare`")
    command.add_argument("--out", type=Path, required=True, help="run folder, also the model folder")
    command.add_argument("--init", type=Path, help="model folder to take parts from (init.path)")
    command.add_argument("--model", type=Path, help="model folder whose codes a prior learns")
    command.add_argument(
        "--set", action="append", default=[], metavar="KEY.NAME=VALUE", help="change the configuration"
    )
    command.add_argument("--resume", action="store_true", help="go on where this run stopped")
    command.add_argument("--force", action="store_true", help="start over in a folder that holds a run")


def _add_adapt(commands: Any) -> None:
    text = "Teach a model one more voice, from a minute of recordings; its codes and other voices stay as they are."
    command = add_command(commands, "adapt", _adapt, text)
    command.add_argument("source", metavar="DIR", type=Path, help="folder of recordings of one speaker")
    add_model(command)
    command.add_argument("--speaker", required=True, metavar="NAME", help="what to call the voice")
    command.add_argument("--out", type=Path, required=True, help="the new model folder")
    command.add_argument("--steps", type=count, default=300, help="(default: 300)")
    command.add_argument("--seed", type=natural, default=0)
    command.add_argument("--force", action="store_true", help="start over in a folder that holds a run")


def _adapt(options: argparse.Namespace) -> None:
    from speechvq.train.voice import adapt

    how = {"steps": options.steps, "seed": options.seed, "force": options.force}
    figures = adapt(options.model, options.speaker, options.source, options.out, **how)
    report(options, figures, [f"{options.out}: the last held-out figures", *table(figures)])


def _demo(options: argparse.Namespace) -> None:
    from speechvq.demo.pipeline import run_demo

    summary = run_demo(options.out, minutes=options.minutes, seed=options.seed, force=options.force)
    lines = [f"{name}: {plain(figures)}" for name, figures in summary["models"].items()]
    lines += [f"{options.out / 'summary.json'}: all that was measured", f"{summary['page']}: to listen and to look"]
    report(options, summary, lines)


def _get(options: argparse.Namespace) -> None:
    if options.corpus == "vctk":
        from speechvq.data.corpora.vctk import download_vctk

        path = download_vctk(options.out)
    else:
        from speechvq.data.corpora.demo import speak_corpus

        speak_corpus(options.out, count=options.count)
        path = options.out
    report(options, {"corpus": str(path)}, [str(path)])


def _prepare(options: argparse.Namespace) -> None:
    from speechvq.data.corpora import folder, vctk
    from speechvq.data.manifest import Split
    from speechvq.data.prepare import Treatment, prepare

    split = Split(options.valid, options.test, options.unseen, tuple(names(options.unseen_speakers)))
    treatment = Treatment(options.trim_db)
    sources = vctk.read_vctk(options.source) if options.kind == "vctk" else folder.read_folder(options.source)
    speakers = (vctk.read_vctk_speakers if options.kind == "vctk" else folder.read_folder_speakers)(options.source)
    done = prepare(sources, options.out, treatment, split, speakers=speakers, workers=options.workers)
    lines = [f"{len(done.written)} prepared, {len(done.reused)} were there, {len(done.skipped)} skipped"]
    lines += [f"skipped {name}: {reason}" for name, reason in done.skipped[:10]]
    if len(done.skipped) > 10:
        lines.append(f"... all in {options.out / 'skipped.tsv'}")
    report(options, dataclasses.asdict(done), lines)


def _align(options: argparse.Namespace) -> None:
    from speechvq.data.align import align_corpus

    done = align_corpus(options.data, options.out, workers=options.workers, force=options.force)
    lines = [f"{len(done.aligned)} aligned, {len(done.kept)} were there, {len(done.unaligned)} cannot be aligned"]
    lines += [f"not aligned {name}: {reason}" for name, reason in done.unaligned[:10]]
    if len(done.unaligned) > 10:
        lines.append(f"... all in {options.out / 'unaligned.tsv'}")
    report(options, dataclasses.asdict(done), lines)


def _train(options: argparse.Namespace) -> None:
    from speechvq.parsing import load_config

    overrides = [*options.set] + ([f"init.path={json.dumps(str(options.init))}"] if options.init else [])
    config = load_config(options.config, overrides)
    from speechvq.codec import Codec
    from speechvq.train.kinds import train

    codec = Codec.load(options.model) if options.model else None
    figures = train(config, options.data, options.out, codec=codec, resume=options.resume, force=options.force)
    report(options, figures, [f"{options.out}: the last held-out figures", *table(figures)])

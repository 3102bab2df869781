"""demo, get, prepare, align, train, targets, codebook, adapt: from a corpus to models."""

import argparse
import dataclasses
import json
import os
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from speechvq import SpeechVQError
from speechvq.audio import HIGH_PASS
from speechvq.cli.arguments import (
    add_command,
    add_device,
    add_label_reading,
    add_model,
    add_seed,
    add_training_device,
    choose_training_device,
    count,
    cutoff,
    label_reading,
    level,
    names,
    natural,
    plain,
    positive,
    report,
    report_failures,
    require_output,
    share,
    table,
    weight,
)
from speechvq.data.corpora import CORPORA
from speechvq.data.corpora.contract import Corpus
from speechvq.data.corpora.folder import folder_corpus
from speechvq.data.manifest import SPLITS, Split, Treatment, read_manifest
from speechvq.files import only_run


def add_commands(commands: Any) -> None:
    """Add these to the parser."""
    _add_demo(commands)
    _add_get(commands)
    _add_prepare(commands)
    _add_align(commands)
    _add_train(commands)
    _add_targets(commands)
    _add_codebook(commands)
    _add_adapt(commands)


def _add_demo(commands: Any) -> None:
    text = "Speak a corpus with espeak-ng, train two small models on it, reconstruct and convert, measure."
    command = add_command(commands, "demo", _demo, text)
    command.add_argument("--out", type=Path, default=Path("demo"), help="folder to work in (default: demo)")
    command.add_argument("--minutes", type=positive, default=15.0, help="training time, both models (default: 15)")
    add_seed(command)
    add_training_device(command)
    command.add_argument("--force", action="store_true", help="start over in a folder that holds an earlier demo")


def _add_get(commands: Any) -> None:
    command = add_command(commands, "get", _get, "Download a corpus from its publisher, or speak the demo corpus.")
    downloads = {name: corpus for name, corpus in CORPORA.items() if corpus.download}
    command.add_argument("corpus", choices=tuple(downloads), help=_summaries(downloads))
    command.add_argument("out", metavar="DIR", type=Path, help="folder to put it in")
    command.add_argument("--count", type=count, help="number of sentences of the demo corpus (default: all)")


def _add_prepare(commands: Any) -> None:
    command = add_command(commands, "prepare", _prepare, "Turn a corpus into 16 kHz audio and a manifest.")
    command.add_argument("corpus", choices=tuple(CORPORA), help=_summaries(CORPORA))
    command.add_argument("source", metavar="SRC", type=Path, help="folder that holds the corpus")
    command.add_argument("out", metavar="OUT", type=Path, help="folder to write; files that it holds already are kept")
    command.add_argument("--workers", type=count, default=os.cpu_count() or 1, help="processes (default: all cores)")
    command.add_argument(
        "--trim-db", type=positive, default=30.0, help="cut edges this many dB below the peak (default: 30)"
    )
    text = f"cut off below this many Hz: offset, rumble, hum; 0 for no filter (default: {HIGH_PASS:g})"
    command.add_argument("--high-pass", type=cutoff, default=HIGH_PASS, metavar="HZ", help=text)
    text = "share of the training speakers' utterances held out for {} (default: 0.05)"
    command.add_argument("--valid", type=share, default=0.05, help=text.format("validation"))
    command.add_argument("--test", type=share, default=0.05, help=text.format("testing"))
    text = "share of speakers held out, of those that the corpus does not hold out itself (default: 0.05)"
    command.add_argument("--unseen", type=share, default=0.05, help=text)
    text = "of the corpus `folder`: which level of folders are the speakers; 0: all of one speaker (default: 1)"
    command.add_argument("--speaker-level", type=level, metavar="N", help=text)
    text = "hold out these speakers instead of a share (default: none)"
    command.add_argument("--unseen-speakers", default="", metavar="A,B", help=text)


def _add_align(commands: Any) -> None:
    text = "Label the phones and words of a prepared corpus (Praat TextGrid) by forced alignment with its transcripts."
    command = add_command(commands, "align", _align, text)
    command.add_argument("data", metavar="DATA", type=Path, help="folder written by `speechvq prepare`")
    command.add_argument("out", metavar="OUT", type=Path, help="folder of labels; files that it holds already are kept")
    command.add_argument("--force", action="store_true", help="align again what OUT holds already")
    text = "more pronunciations, as in CMUdict: on each line a word and its phones in ARPAbet (default: none)"
    command.add_argument("--dictionary", type=Path, metavar="FILE", help=text)
    text = "let espeak-ng say words that no dictionary has, numbers too, with an American accent (default: not aligned)"
    command.add_argument("--letter-to-sound", action="store_true", help=text)
    command.add_argument("--workers", type=count, default=os.cpu_count() or 1, help="processes (default: all cores)")


def _add_train(commands: Any) -> None:
    command = add_command(commands, "train", _train, "Train a model on a prepared corpus.")
    command.add_argument("config", metavar="CONFIG.toml", type=Path, help="what to train; recipes/ has some")
    command.add_argument("--data", type=Path, required=True, help="folder written by `speechvq prepare`")
    command.add_argument("--out", type=Path, required=True, help="run folder, also the model folder")
    command.add_argument("--init", type=Path, help="model folder to take parts from, as init.path (default: none)")
    text = "model folder whose codes are learned, by a prior or masked prediction (default: none)"
    command.add_argument("--model", type=Path, help=text)
    text = "file of `speechvq targets`, for masked prediction without --model (default: none)"
    command.add_argument("--targets", type=Path, metavar="FILE", help=text)
    text = (
        "folder of label files (`speechvq align`) whose phones an encoder or a codec (model.content) learns, or an "
        "encoder is measured by (default: none)"
    )
    command.add_argument("--labels", type=Path, help=text)
    add_label_reading(command)
    text = "change the configuration (default: as it is)"
    command.add_argument("--set", action="append", default=[], metavar="KEY.NAME=VALUE", help=text)
    command.add_argument("--resume", action="store_true", help="go on where this run stopped")
    command.add_argument("--force", action="store_true", help="start over in a folder that holds a run")
    add_training_device(command)


def _add_targets(commands: Any) -> None:
    text = "Cluster the frames of a corpus by their neighbours of other speakers: targets of masked prediction."
    command = add_command(commands, "targets", _targets, text)
    command.add_argument("encoder", metavar="RUN", type=Path, help="folder of a pretrained encoder")
    command.add_argument("--data", type=Path, required=True, help="folder written by `speechvq prepare`")
    command.add_argument("--out", type=Path, required=True, metavar="FILE.npz", help="file to write")
    command.add_argument("--clusters", type=count, default=512, help="number of clusters (default: 512)")
    _add_layers(command)
    command.add_argument("--neighbours", type=count, default=20, help="neighbours of each frame (default: 20)")
    text = "frames of the graph; more follow their neighbours in it (default: 200000)"
    command.add_argument("--frames", type=count, default=200_000, help=text)
    add_seed(command)
    add_device(command)
    command.add_argument("--force", action="store_true", help="overwrite an existing file")


def _targets(options: argparse.Namespace) -> None:
    from speechvq.train.targets import Neighbourhood, make_targets

    how = Neighbourhood(
        clusters=options.clusters,
        outputs=_layers("--layers", options.layers),
        stride=options.stride,
        neighbours=options.neighbours,
        frames=options.frames,
        seed=options.seed,
    )
    require_output(options.out)
    figures = make_targets(options.encoder, options.data, options.out, how, options.force, options.device)
    report(options, figures, table(figures))


def _add_layers(command: argparse.ArgumentParser) -> None:
    text = "joined layers of the encoder: 0 its local latents, i the output of block i; '' for none (default: 0,3,6)"
    command.add_argument("--layers", default="0,3,6", metavar="A,B", help=text)
    text = "steps of the encoder for each code or target: 2 halves its rate (default: 2)"
    command.add_argument("--stride", type=count, default=2, help=text)


def _layers(option: str, text: str) -> tuple[int, ...]:
    try:
        return tuple(int(name) for name in names(text))
    except ValueError:
        raise SpeechVQError(f"{option} are whole numbers with commas between; got '{text}'") from None


def _add_codebook(commands: Any) -> None:
    text = "Cluster the layers of a pretrained encoder into a codebook: a codec without a decoder, which encodes."
    command = add_command(commands, "codebook", _codebook, text)
    command.add_argument("encoder", metavar="RUN", type=Path, help="folder of a pretrained encoder")
    command.add_argument("--data", type=Path, required=True, help="folder written by `speechvq prepare`")
    command.add_argument("--out", type=Path, required=True, help="the codec's folder")
    command.add_argument("--codes", type=count, default=128, help="codes in the codebook (default: 128)")
    _add_layers(command)
    text = (
        "weight of the square roots of its classifier's probabilities beside the layers; 0 leaves them out (default: 0)"
    )
    command.add_argument("--posteriors", type=weight, default=0.0, help=text)
    text = "layers that are joined with weights of zero, so that a later training may take from them (default: none)"
    command.add_argument("--more-layers", default="", metavar="A,B", help=text)
    text = "share of the quiet frames that are clustered, too (default: 0)"
    command.add_argument("--quiet", type=share, default=0.0, help=text)
    command.add_argument("--dim", type=count, default=64, help="numbers in a vector of the codebook (default: 64)")
    text = "rounds of discriminant analysis on clusters (default: 2)"
    command.add_argument("--rounds", type=natural, default=2, help=text)
    command.add_argument("--clusters", type=count, default=400, help="clusters in these rounds (default: 400)")
    add_seed(command)
    add_device(command)
    command.add_argument("--force", action="store_true", help="overwrite a model that is there")


def _codebook(options: argparse.Namespace) -> None:
    from speechvq.train.codebook import Clustering, make_codebook

    sizes = (
        options.codes,
        _layers("--layers", options.layers),
        options.posteriors,
        options.stride,
        options.dim,
        options.rounds,
        options.clusters,
    )
    more = _layers("--more-layers", options.more_layers)
    how = Clustering(*sizes, quiet=options.quiet, seed=options.seed, more=more)
    with only_run(options.out):
        figures = make_codebook(options.encoder, options.data, options.out, how, options.force, options.device)
    report(options, figures, table(figures))


def _add_adapt(commands: Any) -> None:
    text = "Teach a model one more voice, from a minute of recordings; its codes and other voices stay as they are."
    command = add_command(commands, "adapt", _adapt, text)
    command.add_argument("source", metavar="DIR", type=Path, help="folder of recordings of one speaker")
    add_model(command)
    command.add_argument("--speaker", required=True, metavar="NAME", help="what to call the voice")
    command.add_argument("--out", type=Path, required=True, help="the new model folder")
    command.add_argument("--steps", type=count, default=300, help="steps of training (default: 300)")
    add_seed(command)
    add_training_device(command)
    command.add_argument("--force", action="store_true", help="start over in a folder that holds a run")


def _adapt(options: argparse.Namespace) -> None:
    choose_training_device(options)
    from speechvq.train.voice import adapt

    how = {"steps": options.steps, "seed": options.seed, "force": options.force}
    figures = adapt(options.model, options.speaker, options.source, options.out, **how)
    report(options, figures, [f"{options.out}: the last held-out figures", *table(figures)])


def _demo(options: argparse.Namespace) -> None:
    choose_training_device(options)
    from speechvq.demo.pipeline import run_demo

    with only_run(options.out):
        summary = run_demo(options.out, minutes=options.minutes, seed=options.seed, force=options.force)
    lines = [f"{name}: {plain(figures)}" for name, figures in summary["models"].items()]
    lines += [f"{options.out / 'summary.json'}: all that was measured", f"{summary['page']}: to listen and to look"]
    report(options, summary, lines)


def _summaries(corpora: Mapping[str, Corpus]) -> str:
    return "; ".join(f"{name}: {corpus.summary}" for name, corpus in corpora.items())


def _get(options: argparse.Namespace) -> None:
    download = CORPORA[options.corpus].download
    assert download is not None  # argparse offers no others
    path = download(options.out, options.count)
    report(options, {"corpus": str(path)}, [str(path)])


def _prepare(options: argparse.Namespace) -> None:
    corpus = _corpus(options.corpus, options.speaker_level)
    if options.out.exists() and options.source.exists() and options.out.samefile(options.source):
        raise SpeechVQError(f"{options.out}: holds the recordings; name another folder to write")
    split = Split(options.valid, options.test, options.unseen, tuple(names(options.unseen_speakers)))
    sources, speakers = corpus.read(options.source), corpus.speakers(options.source)
    from speechvq.data.prepare import DUPLICATES_FILE, SKIPPED_FILE, prepare  # torch: not before the corpus is found

    treatment = Treatment(options.trim_db, options.high_pass)
    with only_run(options.out):
        done = prepare(sources, options.out, treatment, split, speakers=speakers, workers=options.workers)
    counts = Counter(utterance.split for utterance in read_manifest(options.out))
    lines = [f"{len(done.written)} prepared, {len(done.reused)} were there, {len(done.skipped)} skipped"]
    lines.append("utterances: " + ", ".join(f"{counts[name]} {name}" for name in SPLITS))
    report(options, dataclasses.asdict(done), lines)
    report_failures(done.skipped, "skipped", options.out / SKIPPED_FILE)
    same = [(" = ".join(group), "the same audio") for group in done.duplicates]
    report_failures(same, "duplicates", options.out / DUPLICATES_FILE)


def _corpus(name: str, speaker_level: int | None) -> Corpus:
    if speaker_level is None:
        return CORPORA[name]
    if name != "folder":
        raise SpeechVQError(f"--speaker-level is of the corpus 'folder'; '{name}' has its speakers where it has them")
    return folder_corpus(speaker_level)


def _align(options: argparse.Namespace) -> int:
    from speechvq.data.align import UNALIGNED_FILE, Words, align_corpus

    more = Words(options.dictionary, options.letter_to_sound)
    read_manifest(options.data)  # refused before anything is written
    with only_run(options.out):
        done = align_corpus(options.data, options.out, workers=options.workers, force=options.force, more=more)
    lines = [f"{len(done.aligned)} aligned, {len(done.kept)} were there, {len(done.unaligned)} cannot be aligned"]
    report(options, dataclasses.asdict(done), lines)
    return report_failures(done.unaligned, "not aligned", options.out / UNALIGNED_FILE)


def _train(options: argparse.Namespace) -> None:
    from speechvq.config.parsing import load_config

    overrides = [*options.set] + ([f"init.path={json.dumps(str(options.init))}"] if options.init else [])
    config, reading = load_config(options.config, overrides), label_reading(options)
    choose_training_device(options)
    from speechvq.codec import Codec
    from speechvq.train.kinds import train

    codec = Codec.load(options.model) if options.model else None
    how = {"targets": options.targets, "labels": options.labels, "reading": reading}
    how |= {"resume": options.resume, "force": options.force}
    figures = train(config, options.data, options.out, codec=codec, **how)
    report(options, figures, [f"{options.out}: the last held-out figures", *table(figures)])

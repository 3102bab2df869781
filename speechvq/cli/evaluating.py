"""evaluate, report: what is measured of a model, and the page that shows it."""

import argparse
import atexit
import dataclasses
import os
from pathlib import Path
from typing import Any

from speechvq import SpeechVQError
from speechvq.cli.arguments import (
    add_command,
    add_model,
    add_prior,
    add_sampling,
    add_truncation,
    count,
    duration,
    load_codec,
    names,
    natural,
    nonnegative,
    report,
    sampling,
    table,
)


def add_commands(commands: Any) -> None:
    """Add these to the parser."""
    _add_report(commands)
    group = commands.add_parser("evaluate", help="measure a model on held-out speech")
    questions = group.add_subparsers(metavar="QUESTION", required=True)
    text = "Predict held-out speech from its codes: losses, the cost of shuffled codes, codes in use."
    reconstruction = add_command(questions, "reconstruction", _evaluate_reconstruction, text)
    reconstruction.add_argument("--split", choices=("valid", "test"), default="test")
    reconstruction.add_argument("--crop", type=count, default=16_000, help="samples predicted in one go")
    _add_conversion(questions)
    text = "Map codes to phones on some speakers and score them on others, beside what knows nothing."
    phonemes = add_command(questions, "phonemes", _evaluate_phonemes, text)
    phonemes.add_argument("--labels", type=Path, required=True, help="folder of .TextGrid, .lab or .phn files")
    phonemes.add_argument("--scored", default="", metavar="A,B", help="speakers to score (default: the unseen ones)")
    add_prior(phonemes)
    phonemes.add_argument("--figures", type=Path, metavar="DIR", help="draw confusion.png and codes.png there")
    text = "How much codes tell about the speaker: information, and a classifier of code histograms."
    leakage = add_command(questions, "leakage", _evaluate_leakage, text)
    leakage.add_argument("--most", type=count, default=20, help="utterances of each speaker (default: 20)")
    text = "How many bits a second files of codes have, by each coder, and how fast they are written and read."
    rate = add_command(questions, "rate", _evaluate_rate, text)
    add_prior(rate)
    rate.add_argument("--split", choices=("valid", "test", "unseen"), default="test")
    text = "join utterances of a speaker to recordings of at least this length (default: each by itself)"
    rate.add_argument("--seconds", type=nonnegative, default=0.0, help=text)
    text = "Whether codes drawn from a prior follow each other as a corpus' codes do, and its phones."
    samples = add_command(questions, "samples", _evaluate_samples, text)
    add_prior(samples, required=True)
    add_sampling(samples)
    add_truncation(samples)
    samples.add_argument("--labels", type=Path, help="folder of labels, for phones")
    samples.add_argument("--count", type=count, default=64, help="sequences to draw (default: 64)")
    samples.add_argument("--seconds", type=duration, default=10.0, help="length of each (default: 10)")
    for command in (phonemes, leakage):
        command.add_argument("--codes", type=count, help="clusters of a model without codes (default: 128)")
        command.add_argument("--seed", type=natural, default=0)
    for command in (questions.choices["conversion"], reconstruction, phonemes, leakage, rate, samples):
        add_model(command)
        command.add_argument("--data", type=Path, required=True, help="folder written by `speechvq prepare`")
        command.add_argument("--device", default="cpu")
        text = "keep the result in a file, too: MODEL/QUESTION.json is where `speechvq report` looks"
        command.add_argument("--save", type=Path, metavar="FILE", help=text)


def _add_report(commands: Any) -> None:
    text = (
        "One page of runs, to be looked at and listened to: what `evaluate --save` and `sample` left in their folders."
    )
    command = add_command(commands, "report", _report, text)
    command.add_argument("runs", metavar="RUN", type=Path, nargs="+", help="folder of a model or of a prior")
    command.add_argument("--out", type=Path, required=True, metavar="DIR", help="writes DIR/index.html")
    command.add_argument("--data", type=Path, help="folder written by `speechvq prepare`; with --labels, for phones")
    command.add_argument("--labels", type=Path, help="folder of labels, to be shown below spectrograms")
    command.add_argument("--count", type=natural, default=4, help="utterances of each run (default: 4)")
    command.add_argument("--force", action="store_true", help="overwrite a page that is there")


def _report(options: argparse.Namespace) -> None:
    from speechvq.report.page import check_destination, write_report

    check_destination(options.out, options.force)
    path = write_report(options.runs, options.out, options.data, options.labels, options.count)
    report(options, {"page": str(path)}, [str(path)])


def _add_conversion(questions: Any) -> None:
    text = "Speak held-out utterances with other voices: whose voice is heard, which words, what is kept of the source."
    command = add_command(questions, "conversion", _evaluate_conversion, text)
    text = "each is a target, and a source in the split test (default: the 8 with most speech)"
    command.add_argument("--speakers", default="", metavar="A,B", help=text)
    command.add_argument("--count", type=count, default=2, help="utterances of each source (default: 2)")
    text = "where sources are from; unseen: everyone whom the model never heard (default: test)"
    command.add_argument("--split", choices=("test", "unseen"), default="test", help=text)
    text = "lines of an utterance's id, a tab and who is to say it, in place of --speakers, --count and --split"
    command.add_argument("--pairs", type=Path, metavar="FILE", help=text)
    text = "Whisper model for word errors: a folder, or the name of one downloaded before (default: a packaged tiny.en)"
    command.add_argument("--recognizer", default="", metavar="MODEL", help=text)
    command.add_argument("--wavs", type=Path, metavar="DIR", help="keep there all that is heard")
    add_sampling(command)


def _evaluate_reconstruction(options: argparse.Namespace) -> None:
    from speechvq.evaluate.reconstruction import evaluate_reconstruction

    figures = evaluate_reconstruction(_load(options), options.data, options.split, options.crop)
    report(options, figures, table(figures))


def _evaluate_conversion(options: argparse.Namespace) -> None:
    from speechvq.evaluate.conversion import choose_pairs, evaluate_conversion, lines, read_pairs
    from speechvq.evaluate.metrics.judges import installed

    codec = _load(options)
    if options.pairs:
        pairs = read_pairs(codec, options.data, options.pairs)
    else:
        speakers = names(options.speakers)
        pairs = choose_pairs(codec, options.data, speakers, options.count, options.split)
    judges = installed(options.recognizer)
    result = evaluate_conversion(codec, options.data, pairs, judges, sampling(options), options.wavs)
    report(options, dataclasses.asdict(result), lines(result))


def _evaluate_phonemes(options: argparse.Namespace) -> None:
    from speechvq.coding.trained_prior import TrainedPrior
    from speechvq.evaluate import tables as tell
    from speechvq.evaluate.phonemes import evaluate_phonemes
    from speechvq.nn.distributed import rank_and_count

    scored = set(names(options.scored))
    if options.figures:
        options.figures.mkdir(parents=True, exist_ok=True)
    codec = _load(options)
    prior = TrainedPrior.load(options.prior, options.device, codec.alphabet) if options.prior else None
    mapping = evaluate_phonemes(
        codec,
        options.data,
        options.labels,
        scored=scored,
        codes=_clusters(options, codec),
        prior=prior,
        seed=options.seed,
    )
    report(options, tell.summary(mapping), tell.lines(mapping))
    if options.figures and rank_and_count()[0] == 0:
        tell.draw(mapping, options.figures)


def _evaluate_leakage(options: argparse.Namespace) -> None:
    from speechvq.evaluate.leakage import evaluate_leakage

    codec = _load(options)
    figures = evaluate_leakage(
        codec, options.data, most=options.most, codes=_clusters(options, codec), seed=options.seed
    )
    report(options, dataclasses.asdict(figures), table(dataclasses.asdict(figures)))


def _evaluate_rate(options: argparse.Namespace) -> None:
    from speechvq.coding.code_files import CodeFiles
    from speechvq.evaluate.rate import evaluate_rate, lines

    files = CodeFiles(_load(options), options.prior)
    rates = evaluate_rate(files, options.data, options.split, options.seconds)
    report(options, dataclasses.asdict(rates), lines(rates))


def _evaluate_samples(options: argparse.Namespace) -> None:
    from speechvq.coding.code_files import CodeFiles
    from speechvq.evaluate.samples import evaluate_samples, lines

    files = CodeFiles(_load(options), options.prior)
    how = {"count": options.count, "seconds": options.seconds, "sampling": sampling(options)}
    result = evaluate_samples(files, options.data, options.labels, **how)
    report(options, {name: dataclasses.asdict(one) for name, one in result.items()}, lines(result))


def _load(options: argparse.Namespace) -> Any:
    """The model, in every process of those that were launched together."""
    if "WORLD_SIZE" in os.environ:
        from speechvq.nn.distributed import leave
        from speechvq.train.loop import processes

        processes()
        atexit.register(leave)
    return load_codec(options)


def _clusters(options: argparse.Namespace, codec: Any) -> int:
    own = codec.model.bottleneck.codes
    if own and options.codes:
        raise SpeechVQError(f"this model has {own} codes of its own; --codes is for models that have none")
    return options.codes or 128

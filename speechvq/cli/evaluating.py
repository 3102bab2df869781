"""evaluate: what is measured of a model."""

import argparse
import dataclasses
from pathlib import Path
from typing import Any

from speechvq import SpeechVQError
from speechvq.cli.arguments import (
    add_command,
    add_prior,
    add_sampling,
    add_truncation,
    count,
    duration,
    load_codec,
    natural,
    nonnegative,
    plain,
    report,
    sampling,
    table,
)


def add_commands(commands: Any) -> None:
    """Add these to the parser."""
    group = commands.add_parser("evaluate", help="measure a model on held-out speech")
    questions = group.add_subparsers(metavar="QUESTION", required=True)
    text = "Predict held-out speech from its codes: losses, the cost of shuffled codes, codes in use."
    reconstruction = add_command(questions, "reconstruction", _evaluate_reconstruction, text)
    reconstruction.add_argument("--split", choices=("valid", "test"), default="test")
    reconstruction.add_argument("--crop", type=count, default=16_000, help="samples predicted in one go")
    text = "Speak test utterances with other voices; compare duration, level and energy contour with the source."
    conversion = add_command(questions, "conversion", _evaluate_conversion, text)
    conversion.add_argument("--speakers", required=True, metavar="A,B", help="each is source and target")
    conversion.add_argument("--count", type=count, default=2, help="test utterances of each speaker (default: 2)")
    add_sampling(conversion)
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
    for command in (reconstruction, conversion, phonemes, leakage, rate, samples):
        command.add_argument("--model", type=Path, required=True, help="model folder")
        command.add_argument("--data", type=Path, required=True, help="folder written by `speechvq prepare`")
        command.add_argument("--device", default="cpu")


def _evaluate_reconstruction(options: argparse.Namespace) -> None:
    from speechvq.evaluate.reconstruction import evaluate_reconstruction

    figures = evaluate_reconstruction(load_codec(options), options.data, options.split, options.crop)
    report(options, figures, table(figures))


def _evaluate_conversion(options: argparse.Namespace) -> None:
    from speechvq.evaluate.conversion import evaluate_conversion, summarize

    speakers = options.speakers.split(",")
    rows = evaluate_conversion(load_codec(options), options.data, speakers, options.count, sampling(options))
    summary = summarize(rows)
    lines = [f"{name}: {plain(figures)}" for name, figures in summary.items()]
    report(options, {**summary, "rows": rows}, lines)


def _evaluate_phonemes(options: argparse.Namespace) -> None:
    from speechvq.evaluate import tell
    from speechvq.evaluate.mapping import evaluate_phonemes
    from speechvq.prior import TrainedPrior

    scored = {name.strip() for name in options.scored.split(",") if name.strip()}
    if options.figures:
        options.figures.mkdir(parents=True, exist_ok=True)
    codec = load_codec(options)
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
    if options.figures:
        tell.draw(mapping, options.figures)


def _evaluate_leakage(options: argparse.Namespace) -> None:
    from speechvq.evaluate.leakage import evaluate_leakage

    codec = load_codec(options)
    figures = evaluate_leakage(
        codec, options.data, most=options.most, codes=_clusters(options, codec), seed=options.seed
    )
    report(options, dataclasses.asdict(figures), table(dataclasses.asdict(figures)))


def _evaluate_rate(options: argparse.Namespace) -> None:
    from speechvq.batch import Coders
    from speechvq.evaluate.rate import evaluate_rate, lines

    coders = Coders(load_codec(options), options.prior)
    rates = evaluate_rate(coders, options.data, options.split, options.seconds)
    report(options, dataclasses.asdict(rates), lines(rates))


def _evaluate_samples(options: argparse.Namespace) -> None:
    from speechvq.batch import Coders
    from speechvq.evaluate.samples import evaluate_samples, lines

    coders = Coders(load_codec(options), options.prior)
    how = {"count": options.count, "seconds": options.seconds, "sampling": sampling(options)}
    result = evaluate_samples(coders, options.data, options.labels, **how)
    report(options, {name: dataclasses.asdict(one) for name, one in result.items()}, lines(result))


def _clusters(options: argparse.Namespace, codec: Any) -> int:
    own = codec.model.bottleneck.codes
    if own and options.codes:
        raise SpeechVQError(f"this model has {own} codes of its own; --codes is for models that have none")
    return options.codes or 128

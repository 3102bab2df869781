"""The commands `evaluate` and `report`."""

import argparse
import atexit
import dataclasses
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from speechvq import SpeechVQError
from speechvq.cli.arguments import (
    add_command,
    add_device,
    add_kept_pitch,
    add_label_reading,
    add_melody,
    add_model,
    add_penalty,
    add_prior,
    add_sampling,
    add_seed,
    add_truncation,
    check_model,
    count,
    draws,
    duration,
    label_reading,
    load_codec,
    names,
    natural,
    nonnegative,
    report,
    report_failures,
    require_output,
    sampling,
    table,
)
from speechvq.files import atomic_write

SPLIT = "part of the corpus that is measured (default: test)"
# By the option of a result: what is near the beginning of each such file, and of hardly another.
RESULT_MARKS = {"save": b'"made_by"', "table": b"code\t"}
MARK_BYTES = 100


def add_commands(commands: Any) -> None:
    """Add the commands to the parser."""
    _add_report(commands)
    group = commands.add_parser("evaluate", help="measure a model on held-out speech")
    questions = group.add_subparsers(metavar="QUESTION", required=True)
    for add_question in (_add_reconstruction, _add_conversion, _add_phonemes, _add_leakage, _add_rate, _add_samples):
        command = add_question(questions)
        add_model(command)
        command.add_argument("--data", type=Path, required=True, help="folder written by `speechvq prepare`")
        add_device(command)
        text = "also write the result to a file; `speechvq report` reads MODEL/QUESTION.json (default: nowhere)"
        command.add_argument("--save", type=Path, metavar="FILE", help=text)
        command.set_defaults(run=partial(_evaluate, command.get_default("run")))


def _add_reconstruction(questions: Any) -> argparse.ArgumentParser:
    text = "Predict held-out speech from its codes: losses, the cost of shuffled codes, codes in use."
    command = add_command(questions, "reconstruction", _evaluate_reconstruction, text)
    command.add_argument("--split", choices=("valid", "test"), default="test", help=SPLIT)
    command.add_argument("--crop", type=count, default=16_000, help="samples predicted at once (default: 16000)")
    return command


def _add_conversion(questions: Any) -> argparse.ArgumentParser:
    text = (
        "Convert held-out utterances to other speakers: speaker similarity, word error rate, DNSMOS, pitch and energy, "
        "beside natural speech."
    )
    command = add_command(questions, "conversion", _evaluate_conversion, text)
    text = "target speakers, in the split test also the sources (default: the 8 with the most speech)"
    command.add_argument("--speakers", default="", metavar="A,B", help=text)
    command.add_argument("--count", type=count, default=2, help="utterances of each source (default: 2)")
    text = "split of the sources; unseen: all speakers not seen in training (default: test)"
    command.add_argument("--split", choices=("test", "unseen"), default="test", help=text)
    text = "a file with an utterance id, a tab and a target speaker on each line, instead of the above (default: none)"
    command.add_argument("--pairs", type=Path, metavar="FILE", help=text)
    text = "Whisper model for word error rates: a folder, or the name of one downloaded before (default: a packaged "
    text += "tiny.en)"
    command.add_argument("--recognizer", default="", metavar="MODEL", help=text)
    text = "write all judged recordings there; `speechvq report` plays those in MODEL/wavs (default: nowhere)"
    command.add_argument("--wavs", type=Path, metavar="DIR", help=text)
    add_kept_pitch(command)
    add_sampling(command)
    return command


def _add_phonemes(questions: Any) -> argparse.ArgumentParser:
    text = (
        "Map codes to phones on some speakers and score the mapping on others, beside baselines: accuracy, phone error "
    )
    text += "rate, boundaries; PNMI, ABX, and what a linear probe reads."
    command = add_command(questions, "phonemes", _evaluate_phonemes, text)
    command.add_argument("--labels", type=Path, required=True, help="folder of .TextGrid, .lab or .phn files")
    add_label_reading(command)
    command.add_argument("--scored", default="", metavar="A,B", help="speakers to score (default: the unseen ones)")
    add_prior(command)
    text = "draw confusion.png and codes.png there (default: nowhere)"
    command.add_argument("--figures", type=Path, metavar="DIR", help=text)
    text = "write what each code means, how often it is used, and its second phone, tab-separated (default: nowhere)"
    command.add_argument("--table", type=Path, metavar="FILE", help=text)
    text = "layers of a causal encoder to probe beside latents and vectors, such as 0,3,6,0+3+6, where + joins layers "
    text += "(default: none)"
    command.add_argument("--probe", default="", metavar="A,B", help=text)
    add_penalty(command)
    _add_clusters(command)
    return command


def _add_leakage(questions: Any) -> argparse.ArgumentParser:
    text = "Measure how much codes reveal about the speaker: mutual information, and a classifier of code histograms."
    command = add_command(questions, "leakage", _evaluate_leakage, text)
    command.add_argument("--most", type=count, default=20, help="utterances of each speaker at most (default: 20)")
    _add_clusters(command)
    return command


def _add_rate(questions: Any) -> argparse.ArgumentParser:
    text = "Measure the bit rate of files of codes with each coder, and the speed of writing and reading them."
    command = add_command(questions, "rate", _evaluate_rate, text)
    add_prior(command)
    command.add_argument("--split", choices=("valid", "test", "unseen"), default="test", help=SPLIT)
    text = "join utterances of a speaker to recordings of at least so many seconds (default: 0, each by itself)"
    command.add_argument("--seconds", type=nonnegative, default=0.0, help=text)
    add_penalty(command, None)
    add_melody(command)
    return command


def _add_samples(questions: Any) -> argparse.ArgumentParser:
    text = "Compare codes drawn from a prior with those of the training set: frequencies of codes, of pairs, of phones."
    command = add_command(questions, "samples", _evaluate_samples, text)
    add_prior(command, required=True)
    add_sampling(command)
    add_truncation(command)
    text = "folder of label files, to compare pairs of phones, too (default: none)"
    command.add_argument("--labels", type=Path, help=text)
    add_label_reading(command)
    command.add_argument("--count", type=draws, default=64, help="sequences to draw (default: 64)")
    command.add_argument("--seconds", type=duration, default=10.0, help="length of each, in seconds (default: 10)")
    return command


def _add_clusters(command: argparse.ArgumentParser) -> None:
    command.add_argument("--codes", type=count, help="k-means clusters of a model without codes (default: 128)")
    add_seed(command)


def _add_report(commands: Any) -> None:
    text = "Write a page of runs with audio, pictures and tables, of what `evaluate --save` and `sample` left in them."
    command = add_command(commands, "report", _report, text)
    command.add_argument("runs", metavar="RUN", type=Path, nargs="+", help="folder of a model or of a prior")
    command.add_argument("--out", type=Path, required=True, metavar="DIR", help="writes DIR/index.html")
    command.add_argument("--data", type=Path, help="folder written by `speechvq prepare`, for --labels (default: none)")
    text = "folder of label files, for the phones below spectrograms (default: none)"
    command.add_argument("--labels", type=Path, help=text)
    add_label_reading(command)
    command.add_argument("--count", type=natural, default=4, help="utterances of each run (default: 4)")
    add_device(command)
    command.add_argument("--force", action="store_true", help="overwrite an existing page")


def _report(options: argparse.Namespace) -> None:
    from speechvq.report.page import check_destination, write_report

    check_destination(options.out, options.force)
    require_output(options.out, folder=True)
    reading = label_reading(options)
    inputs = options.data, options.labels, options.count, reading, options.device
    path = write_report(options.runs, options.out, *inputs)
    report(options, {"page": str(path)}, [str(path)])


def _require_result(path: Path | None, mark: bytes) -> None:
    """Check that a file which is about to be replaced is an earlier result, or empty.

    mark: near the beginning of every result.
    Raises SpeechVQError if it is another file.
    """
    if path is not None and path.is_file():
        with path.open("rb") as file:
            start = file.read(MARK_BYTES)
        if start and mark not in start:
            raise SpeechVQError(f"{path} is there, and no earlier result; name another file")


def _evaluate(question: Callable[[argparse.Namespace], int], options: argparse.Namespace) -> int:
    """Answer a question; a wrong folder ends it before torch is imported."""
    from speechvq.data.manifest import require_prepared

    check_model(options)
    require_prepared(options.data)
    for name, mark in RESULT_MARKS.items():
        require_output(getattr(options, name, None))
        _require_result(getattr(options, name, None), mark)
    given = [path.resolve() for name in RESULT_MARKS if (path := getattr(options, name, None)) is not None]
    if len({*given}) < len(given):
        raise SpeechVQError(f"{given[0]}: two results cannot be the same file (--{', --'.join(RESULT_MARKS)})")
    for name in ("wavs", "figures"):
        require_output(getattr(options, name, None), folder=True)
    return question(options)


def _evaluate_reconstruction(options: argparse.Namespace) -> int:
    from speechvq.evaluate.reconstruction import evaluate_reconstruction

    figures, left_out = evaluate_reconstruction(_load(options), options.data, options.split, options.crop)
    report(options, figures | ({"left_out": left_out} if left_out else {}), table(figures))
    return _report_left_out(options, left_out)


def _evaluate_conversion(options: argparse.Namespace) -> int:
    from speechvq.evaluate.conversion import choose_pairs, evaluate_conversion, read_pairs
    from speechvq.evaluate.metrics.judges import installed_judges
    from speechvq.evaluate.tables import conversion_table

    codec = _load(options)
    if options.pairs:
        pairs = read_pairs(codec, options.data, options.pairs)
    else:
        speakers = names(options.speakers)
        pairs = choose_pairs(codec, options.data, speakers, options.count, options.split)
    judges = installed_judges(options.recognizer)
    how = {"keep_pitch": options.keep_pitch, "melody": options.melody}
    result = evaluate_conversion(codec, options.data, pairs, judges, sampling(options), options.wavs, **how)
    report(options, dataclasses.asdict(result), conversion_table(result))
    return _report_left_out(options, result.left_out)


def _evaluate_phonemes(options: argparse.Namespace) -> int:
    from speechvq.coding.trained_prior import TrainedPrior
    from speechvq.evaluate.phonemes import evaluate_phonemes
    from speechvq.evaluate.tables import code_table, phoneme_table
    from speechvq.nn.distributed import rank_and_count

    if options.figures:
        from speechvq.report.heat_maps import draw_heat_maps  # fails before the work without matplotlib

        options.figures.mkdir(parents=True, exist_ok=True)
    reading = label_reading(options)  # fails before the work
    codec = _load(options)
    prior = TrainedPrior.load(options.prior, options.device, codec.alphabet) if options.prior else None
    result = evaluate_phonemes(
        codec,
        options.data,
        options.labels,
        scored=names(options.scored),
        codes=_clusters(options, codec),
        prior=prior,
        probe=names(options.probe),
        reading=reading,
        penalty=options.penalty,
        seed=options.seed,
    )
    report(options, result.figures(), phoneme_table(result))
    first = not rank_and_count()[0]
    if first and options.figures:
        draw_heat_maps(result, options.figures)
    if first and options.table:
        with atomic_write(options.table) as temporary:
            temporary.write_text(code_table(result.code_table), encoding="utf-8")
    return _report_left_out(options, result.left_out)


def _evaluate_leakage(options: argparse.Namespace) -> int:
    from speechvq.evaluate.leakage import evaluate_leakage

    codec = _load(options)
    result = evaluate_leakage(
        codec, options.data, most=options.most, codes=_clusters(options, codec), seed=options.seed
    )
    figures = {key: value for key, value in dataclasses.asdict(result).items() if key != "left_out"}
    report(options, dataclasses.asdict(result), table(figures))
    return _report_left_out(options, result.left_out)


def _evaluate_rate(options: argparse.Namespace) -> int:
    from speechvq.coding.code_files import CodeFiles
    from speechvq.evaluate.rate import evaluate_rate
    from speechvq.evaluate.tables import rate_table

    files = CodeFiles(_load(options), options.prior)
    how = {"penalty": options.penalty, "melody": options.melody}
    rates = evaluate_rate(files, options.data, options.split, options.seconds, **how)
    report(options, dataclasses.asdict(rates), rate_table(rates))
    return _report_left_out(options, rates.left_out)


def _evaluate_samples(options: argparse.Namespace) -> int:
    from speechvq.coding.code_files import CodeFiles
    from speechvq.data.utterance_labels import read_labelled
    from speechvq.evaluate.samples import evaluate_samples
    from speechvq.evaluate.tables import sample_table

    reading = label_reading(options)
    labels = read_labelled(options.data, options.labels, reading) if options.labels else None
    files = CodeFiles(_load(options), options.prior)
    result, left_out = evaluate_samples(
        files,
        options.data,
        labels,
        count=options.count,
        seconds=options.seconds,
        sampling=sampling(options),
    )
    left_out = [*(labels.left_out if labels else []), *left_out]
    figures = {name: dataclasses.asdict(one) for name, one in result.items()}
    report(options, figures | ({"left_out": left_out} if left_out else {}), sample_table(result))
    return _report_left_out(options, left_out)


def _report_left_out(options: argparse.Namespace, left_out: list[tuple[str, str]]) -> int:
    """List what an evaluation left out -> the exit code."""
    if os.environ.get("RANK", "0") != "0":
        return 1 if left_out else 0
    return report_failures(left_out, "left out", options.save)


def _load(options: argparse.Namespace) -> Any:
    """Load the model, in every process of those launched together."""
    if "WORLD_SIZE" in os.environ:
        from speechvq.nn.distributed import leave
        from speechvq.train.loop import processes

        processes()
        atexit.register(leave)
    return load_codec(options)


def _clusters(options: argparse.Namespace, codec: Any) -> int:
    """The number of k-means clusters for a model without codes."""
    own = codec.model.bottleneck.codes
    if own and options.codes:
        raise SpeechVQError(f"this model has {own} codes of its own; --codes is for models that have none")
    return options.codes or 128

"""Tables of the page: saved results of one run, and all runs beside the paper."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from speechvq.evaluate.metrics.phone_sequences import TOLERANCE
from speechvq.evaluate.tables import SEQUENCES, conversion_rows, degradation_rows, intelligibility_rows
from speechvq.report.media import SPEECH_NAMES
from speechvq.report.runs import Run

PAPER_PHONEMES = "49.3 %, against 7.2 % for the most likely phone (128 codes at 25 Hz, 41 phones)"
PAPER_PRIOR = "clear words and parts of sentences, by ear"
PAPER_SPEECH = {
    "reconstruction": "the same words, another waveform, prosody altered, by ear (512 codes at 250 Hz)",
    "conversion": "the same words in another voice, by ear",
}


@dataclass(frozen=True)
class Table:
    """A table of the page.

    title: caption
    head: names of the columns
    rows: cells; the first of a row is its name
    command: the command that measured it, '' if unknown
    folded: whether a reader must open it, since it is long
    """

    title: str
    head: list[str]
    rows: list[list[str]]
    command: str = ""
    folded: bool = False


def result_tables(run: Run) -> list[Table]:
    """The tables of everything that was measured of a run."""
    tables = [_conversion_table(run), *_phoneme_tables(run), _rate_table(run), _training_table(run)]
    return [table for table in tables if table] + _intelligibility_tables(run)


def _command(result: dict[str, Any]) -> str:
    provenance = result.get("made_by", {})
    return f"{provenance['command']} (on {provenance['machine']})" if provenance else ""


def _conversion_table(run: Run) -> Table | None:
    result = run.results.get("conversion")
    if not result:
        return None
    rows = [[name.strip(), *values] for name, values in conversion_rows(result["figures"])]
    title = "Reconstruction and conversion"
    if result["threshold"] is not None:
        title += (
            f" (accepted as a speaker from a similarity of {result['threshold']:.3f}, equal error rate "
            f"{percent(result['equal_error'])})"
        )
    return Table(title, ["", *(SPEECH_NAMES.get(kind, kind) for kind in result["figures"])], rows, _command(result))


def _phoneme_tables(run: Run) -> list[Table]:
    result = run.results.get("phonemes")
    if not result:
        return []
    score, mfcc = result["scores"]["centre"], result["mfcc"]
    accuracies = {
        "codes": score["codes"],
        "k-means of MFCC": mfcc["codes"],
        "shuffled codes": score["shuffled"],
        "random codes": score["random"],
        "the most likely phone": score["most_likely"],
    }
    rows = [[name, percent(one["same"]), percent(one["held_out"])] for name, one in accuracies.items()]
    title = f"Accuracy of phones from codes: {score['frames']} frames without silence, {len(result['phones'])} phones"
    others = [["PNMI", f"{score['pnmi']:.3f}", f"{mfcc['pnmi']:.3f} (k-means of MFCC)"]]
    for key, name in (("within", "one speaker"), ("across", "two speakers")):
        random = f"{percent(result['abx_random'][key])} (random vectors)"
        others.append([f"ABX error, {name}", percent(result["abx"][key]), random])
    if "runs_per_s" in result:
        others.append(["runs of codes a second", f"{result['runs_per_s']:.2f}", "-"])
    return [
        Table(title, ["", "fitted on the same frames", "held-out speakers"], rows),
        *(table for table in (_sequence_table(result), _class_table(result), _probe_table(result)) if table.rows),
        Table("Phones in codes, without a mapping", ["", "codes", "baseline"], others, _command(result)),
        *([_code_table(result)] if result.get("code_table") else []),
    ]


def _sequence_table(result: dict[str, Any]) -> Table:
    """Phone error rate and boundaries; without rows if an earlier version saved the result."""
    rows = [
        [SEQUENCES.get(key, key), _share(one["error_rate"]), _share(one["f1"])]
        + [percent(one[figure]) for figure in ("precision", "recall", "r_value")]
        for key, one in result.get("sequences", {}).items()
    ]
    head = ["", "phone error rate", "F1 of boundaries", "precision", "recall", "R-value"]
    title = f"Runs of one phone: errors, and boundaries within {1000 * TOLERANCE:.0f} ms, of held-out speakers (95 %)"
    return Table(title, head, rows)


def _class_table(result: dict[str, Any]) -> Table:
    rows = [
        [name, str(one["frames"]), _share(one["phone"]), percent(one["phone_class"]["value"])]
        for name, one in result.get("classes", {}).items()
    ]
    return Table("Accuracy by class of phone, of held-out speakers", ["", "frames", "right phone", "right class"], rows)


def _probe_table(result: dict[str, Any]) -> Table:
    rows = [
        [name, str(one["dimensions"]), percent(one["fitted"]), _share(one["held_out"])]
        for name, one in result.get("probes", {}).items()
    ]
    head = ["", "dimensions", "its own frames", "held-out speakers"]
    return Table("Frames whose phone a linear classifier reads", head, rows)


def _code_table(result: dict[str, Any]) -> Table:
    """What each code means."""
    rows = [
        [
            str(one["code"]),
            percent(one["share"]),
            f"{one['phone']} {percent(one['phone_share'])}",
            f"{one['runner_up']} {percent(one['runner_up_share'])}" if one["runner_up"] else "-",
        ]
        for one in result["code_table"]
    ]
    title = "What each code means, silence among the phones, of all speakers"
    return Table(title, ["code", "share of frames", "phone", "runner-up"], rows, folded=True)


def _share(share: dict[str, Any]) -> str:
    """A share and its interval over speakers."""
    if share["low"] is None or share["high"] is None:
        return percent(share["value"])
    return f"{percent(share['value'])} ({100 * share['low']:.1f} to {100 * share['high']:.1f})"


def _intelligibility_tables(run: Run) -> list[Table]:
    """What `benchmarks/intelligibility.py --save` measured, for each kind of speakers."""
    result = run.results.get("intelligibility")
    if not result:
        return []
    tables = []
    for kind, one in result["kinds"].items():
        title = f"Intelligibility, unseen speakers, {kind}: {one['sentences']} sentences, {one['speakers']} speakers"
        tables.append(Table(title, *intelligibility_rows(one["systems"]), _command(result)))
        degraded = degradation_rows(result["degraded"].get(kind, {}))
        if len(degraded[0]) > 2:
            tables.append(Table(f"The same after degradations of the input, {kind}", *degraded, _command(result)))
    return tables


def _rate_table(run: Run) -> Table | None:
    result = run.results.get("rate")
    if not result:
        return None
    rows = [
        [name, f"{one['files']:.1f}", f"{one['payload']:.1f}", f"{one['bits_per_code']:.2f}"]
        for name, one in result["coders"].items()
    ]
    title = f"Bit rate of files of codes, bit/s (nominal {result['nominal']:.0f})"
    return Table(title, ["coder", "whole files", "payload", "bits per code"], rows, _command(result))


def _training_table(run: Run) -> Table | None:
    if not run.log:
        return None
    first, last = run.log[0], run.log[-1]
    rows = [[key.replace("_", " "), f"{first.get(key, math.nan):.4g}", f"{value:.4g}"] for key, value in last.items()]
    command = f"{run.provenance[0]['command']} (on {run.provenance[0]['machine']})" if run.provenance else ""
    return Table("Held-out speech while training", ["", "first", "last"], rows, command)


def paper_table(runs: Sequence[Run]) -> Table:
    """The figures of the paper for each experiment, beside those of these runs."""
    rows = []
    for run in runs:
        if "phonemes" in run.results:
            score = run.results["phonemes"]["scores"]["centre"]
            same, held_out = percent(score["codes"]["same"]), percent(score["codes"]["held_out"])
            ours = f"{same} on the same frames, {held_out} held out, against {percent(score['most_likely']['same'])}"
            rows.append([f"phones from codes: {run.name}", PAPER_PHONEMES, ours])
        if "conversion" in run.results:
            rows += _paper_conversion(run)
        last = run.log[-1] if run.log else {}
        if "bits_per_code" in last and "nominal" in last:
            ours = f"{last['bits_per_code']:.2f} bits per code, where {last['nominal']:g} are nominal"
            rows.append([f"prior: {run.name}", PAPER_PRIOR, ours])
    return Table("The paper, and here", ["", "van den Oord et al. 2017", "here"], rows)


def _paper_conversion(run: Run) -> list[list[str]]:
    figures, rows = run.results["conversion"]["figures"], []
    unknown = dict.fromkeys(("word_error_rate", "nearest"))
    for kind, paper in PAPER_SPEECH.items():
        if kind not in figures:
            continue
        own, natural = figures[kind], figures.get("natural", unknown)
        compared = {
            "word error rate": (own["word_error_rate"], natural["word_error_rate"]),
            "nearest to its speaker of all": (own["nearest"], natural["nearest"]),
        }
        ours = [
            f"{name} {percent(value)}, natural {percent(of_natural)}"
            for name, (value, of_natural) in compared.items()
            if value is not None and of_natural is not None
        ]
        if own["energy_correlation"] is not None:
            ours.append(f"correlation of energy contours {own['energy_correlation']:.2f}")
        rows.append([f"{kind}: {run.name}", paper, "; ".join(ours)])
    return rows


def percent(share: float | None) -> str:
    """A share from 0 to 1 in percent; '-' for None."""
    return "-" if share is None else f"{100 * share:.1f} %"

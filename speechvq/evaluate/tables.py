"""Results of evaluations as printed tables."""

import math
from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from speechvq.evaluate.conversion import ConversionEvaluation
from speechvq.evaluate.metrics.phone_classes import CodeMeaning
from speechvq.evaluate.metrics.phone_mapping import ENOUGH_FRAMES, Accuracy
from speechvq.evaluate.metrics.phone_sequences import TOLERANCE
from speechvq.evaluate.metrics.resampling import Share
from speechvq.evaluate.phonemes import PRIMARY, PhonemeEvaluation
from speechvq.evaluate.rate import Rates
from speechvq.evaluate.samples import Divergence

FREQUENT_CODES = 8  # of which the printed result says what they mean
# The names of `PhonemeEvaluation.sequences`.
SEQUENCES = {
    "codes": "codes",
    "shuffled": "their phones, shuffled",
    "mfcc": "k-means of MFCC",
    "labels": "labels, read once a frame",
}
# For each figure of a conversion: its name, the factor for its unit, and its number format.
CONVERSION_FIGURES = {
    "utterances": ("utterances", 1, "d"),
    "word_error_rate": ("word error rate, %", 100, ".1f"),
    "character_error_rate": ("character error rate, %", 100, ".1f"),
    "similarity": ("similarity to the speaker", 1, ".3f"),
    "accepted": ("accepted as the speaker, %", 100, ".1f"),
    "nearer": ("nearer to the target than to the source, %", 100, ".1f"),
    "nearest": ("nearest to the speaker of all, %", 100, ".1f"),
    "pitch_difference": ("mean pitch off the speaker's, semitones", 1, ".2f"),
    "pitch_correlation": ("pitch contour: correlation", 1, ".3f"),
    "cepstral_distortion": ("mel-cepstral distortion, dB", 1, ".2f"),
    "dnsmos": ("DNSMOS, overall", 1, ".2f"),
    "energy_correlation": ("energy contour: correlation", 1, ".3f"),
    "energy_correlation_min": ("  the lowest of them", 1, ".3f"),
    "duration_difference_max": ("largest difference in duration, samples", 1, "d"),
    "clipped_samples": ("samples at full scale", 1, "d"),
}

# For each figure of `benchmarks/intelligibility.py`: its name, the factor for its unit, and its number format.
INTELLIGIBILITY_FIGURES = {
    "bits_per_s": ("bit/s", 1, ".0f"),
    "word_error_rate": ("word errors, % (95 %)", 100, ".1f"),
    "character_error_rate": ("character errors, %", 100, ".1f"),
    "phone_error_rate": ("phone errors, % (95 %)", 100, ".1f"),
    "dnsmos": ("DNSMOS", 1, ".2f"),
    "source_similarity": ("similarity to source", 1, ".3f"),
    "target_similarity": ("to target", 1, ".3f"),
}


def intelligibility_rows(systems: dict[str, dict[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """Head and rows of a table, a row for each system.

    systems: its figures by name, each with value, low and high, the bounds of 95 %; None for what was not measured
    """
    rows = []
    for system, figures in systems.items():
        row = [system]
        for key, (name, factor, form) in INTELLIGIBILITY_FIGURES.items():
            one = figures.get(key, {})
            cell = "-" if one.get("value") is None else f"{one['value'] * factor:{form}}"
            if "(95 %)" in name and one.get("low") is not None and one.get("high") is not None:
                cell += f" ({one['low'] * factor:{form}} to {one['high'] * factor:{form}})"
            row.append(cell)
        rows.append(row)
    return ["", *(name for name, _, _ in INTELLIGIBILITY_FIGURES.values())], rows


def degradation_rows(systems: dict[str, dict[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """Head and rows of a table of word errors in percent, a column for each degradation of the input.

    systems: for each its word error rates (value, low, high) by degradation; "" is the input as it was
    """
    names = list(dict.fromkeys(name for rates in systems.values() for name in rates))
    rows = [
        [
            system,
            *(
                "-" if one is None else f"{100 * one:.1f}"
                for one in (rates.get(name, {}).get("value") for name in names)
            ),
        ]
        for system, rates in systems.items()
    ]
    return ["word errors, %", *(name or "clean" for name in names)], rows


def conversion_rows(figures: dict[str, dict[str, float | None]]) -> list[tuple[str, list[str]]]:
    """Name and formatted values of each figure that was measured, one value for each kind of speech in `figures`."""
    rows = []
    for key, (name, factor, form) in CONVERSION_FIGURES.items():
        values = [of_kind[key] for of_kind in figures.values()]
        if any(value is not None for value in values):
            rows.append((name, ["-" if value is None else f"{value * factor:{form}}" for value in values]))
    return rows


def conversion_table(result: ConversionEvaluation) -> list[str]:
    """The lines printed by `speechvq evaluate conversion`."""
    lines = [f"{'':44}" + "".join(f"{kind:>16}" for kind in result.figures)]
    lines += [
        f"{name:44}" + "".join(f"{value:>16}" for value in values) for name, values in conversion_rows(result.figures)
    ]
    if result.equal_error is not None and result.threshold is not None:
        lines += ["", f"{result.speakers} speakers; two natural utterances are accepted as of one speaker at a"]
        lines += [f"similarity of {result.threshold:.3f}, with an equal error rate of {100 * result.equal_error:.1f} %"]
    return lines


def phoneme_table(result: PhonemeEvaluation) -> list[str]:
    """The lines printed by `speechvq evaluate phonemes`."""
    best = result.scores[PRIMARY]
    baselines = {
        "k-means of MFCC": result.mfcc.codes,
        "shuffled codes": best.shuffled,
        "random codes": best.random,
        "the most likely phone": best.most_likely,
    }
    other_rules = [(rule, score) for rule, score in result.scores.items() if rule != PRIMARY]
    lines = [
        f"fitted on {best.fitted_frames} frames of {len(result.fit)} speakers, scored on "
        f"{best.frames - best.fitted_frames} of {len(result.scored)} others; {len(result.phones)} phones",
        f"labels read {result.offset_ms:+} ms from the centre of a frame: the best of {min(result.sweep)} to "
        f"{max(result.sweep)} ms on the fitting speakers",
        f"left out: {len(result.unlabelled)} utterances without labels, and {100 * result.gaps:.1f} % of the frames of "
        "the others",
        "",
        f"{'accuracy, %':28} {'held out':>8}  {'95 % of speakers':16}  same frames",
        _accuracy_row("codes, labels at the centre", best.codes),
        *(_accuracy_row(name, accuracy) for name, accuracy in baselines.items()),
        "",
        *(_accuracy_row(f"codes, {rule}", score.codes) for rule, score in other_rules),
        *(_accuracy_row(f"  most likely, {rule}", score.most_likely) for rule, score in other_rules if "," in rule),
        *(f"codes and {width} on either side {100 * share:9.1f}" for width, share in best.context.items()),
        "",
        *_measures(result),
        "",
        *_sequence_lines(result),
        "",
        *_class_lines(result),
        "",
        *_probe_lines(result),
        "",
        *_code_lines(result),
    ]
    if result.offset_ms in (min(result.sweep), max(result.sweep)):
        lines.append("WARNING: the best offset is at the end of its range: are these the labels of these recordings?")
    if not best.enough:
        lines.append(f"WARNING: fewer than {ENOUGH_FRAMES} frames to fit on: 'same frames' is too optimistic")
    return lines


def _accuracy_row(name: str, accuracy: Accuracy) -> str:
    held_out = Share(accuracy.held_out, accuracy.low, accuracy.high)
    return f"{name:28} {_share(held_out)}    {_percent(accuracy.same):>8}"


def _measures(result: PhonemeEvaluation) -> list[str]:
    """Lines of the measures that need no mapping."""
    best, abx, noise, rates = result.scores[PRIMARY], result.abx, result.abx_random, result.bits_per_s
    distance = result.squared_distance
    return [
        f"PNMI                 {best.pnmi:.3f}   "
        f"(k-means of MFCC {result.mfcc.pnmi:.3f}, random codes {best.pnmi_random:.3f})",
        f"phone purity         {best.phone_purity:.3f}   (code purity: {best.code_purity:.3f})",
        f"one-to-one accuracy  {best.one_to_one:.3f}",
        f"ABX error, %         {100 * abx.within:.1f} within, {100 * abx.across:.1f} across speakers"
        f"   (random vectors: {100 * noise.within:.1f}, {100 * noise.across:.1f}; "
        f"{abx.within_cells} and {abx.across_cells} cells)",
        f"codes in use         {best.used_codes}, perplexity {best.perplexity:.1f}",
        f"runs of codes        {result.runs_per_s:.2f} a second"
        + ("" if math.isnan(distance) else f"; mean squared distance of a latent to its code {distance:.4g}"),
        f"bit/s                {rates['nominal']:.1f} nominal, {rates['unigram']:.1f} by the entropy of single codes"
        + (f", {rates['bigram']:.1f} by pairs of codes" if "bigram" in rates else "")
        + (f", {rates['prior']:.1f} under the prior" if "prior" in rates else ""),
    ]


def _sequence_lines(result: PhonemeEvaluation) -> list[str]:
    """Phone error rates and boundaries of the scored speakers."""
    errors = [f"{'phone error rate, %':28} {'PER':>8}  {'95 % of speakers':16}  predicted  labelled phones"]
    found = [
        f"{f'boundaries, {1000 * TOLERANCE:.0f} ms, %':28} {'F1':>8}  {'95 % of speakers':16}  precision  "
        f"{'recall':>8}  {'R-value':>8}  predicted  labelled"
    ]
    for key, one in result.sequences.items():
        errors.append(f"{SEQUENCES[key]:28} {_share(one.error_rate)}    {one.predicted_phones:9}  {one.phones:8}")
        found.append(
            f"{SEQUENCES[key]:28} {_share(one.f1)}    {_percent(one.precision):>9}  {_percent(one.recall):>8}  "
            f"{_percent(one.r_value):>8}  {one.predicted_boundaries:9}  {one.boundaries:8}"
        )
    return [*errors, "", *found]


def _class_lines(result: PhonemeEvaluation) -> list[str]:
    """Accuracy by class of phone."""
    head = f"{'accuracy by class, %':28} {'phone':>8}  {'95 % of speakers':16}  {'class':>8}  {'frames':>8}"
    return [head] + [
        f"{name:28} {_share(one.phone)}    {_percent(one.phone_class.value):>8}  {one.frames:8}"
        for name, one in result.classes.items()
    ]


def _probe_lines(result: PhonemeEvaluation) -> list[str]:
    """The accuracies of a linear classifier."""
    if not result.probes:
        return []
    head = f"{'linear probe, %':28} {'held out':>8}  {'95 % of speakers':16}  fitted on  dimensions"
    return [head] + [
        f"{name:28} {_share(one.held_out)}    {_percent(one.fitted):>8}  {one.dimensions:10}"
        for name, one in result.probes.items()
    ]


def _code_lines(result: PhonemeEvaluation) -> list[str]:
    """The most frequent codes."""
    lines = ["the most frequent codes, silence too (all: --table FILE)"]
    for one in result.code_table[:FREQUENT_CODES]:
        second = f", {one.runner_up} {_percent(one.runner_up_share)}" if one.runner_up else ""
        lines.append(
            f"  {one.code:5} {_percent(one.share):>5} % of frames: {one.phone} {_percent(one.phone_share)}{second} %"
        )
    return lines


def _share(share: Share) -> str:
    return f"{_percent(share.value):>8}  {_interval(share):14}"


def _interval(share: Share) -> str:
    return "" if math.isnan(share.low) else f"{100 * share.low:6.1f} to {100 * share.high:4.1f}"


def _percent(value: float) -> str:
    return "-" if math.isnan(value) else f"{100 * value:.1f}"


def code_table(meanings: Sequence[CodeMeaning]) -> str:
    """The table of codes as tab-separated values, a line for each code; shares are from 0 to 1."""
    names = [one.name for one in fields(CodeMeaning)]
    rows = [names] + [[_cell(getattr(one, name)) for name in names] for one in meanings]
    return "".join("\t".join(row) + "\n" for row in rows)


def _cell(value: float | int | str) -> str:
    return f"{value:.6f}" if isinstance(value, float) else str(value)


def rate_table(rates: Rates) -> list[str]:
    """The lines printed by `speechvq evaluate rate`."""
    lines = [
        f"{rates.count} recordings, {rates.seconds:.0f} s; nominal {rates.nominal:.1f} bit/s",
        f"{'bit/s':12} {'files':>8} {'payload':>8} {'bit/code':>8} {'lowest, highest speaker':>28} {'x real time':>16}",
    ]
    for name, rate in rates.coders.items():
        ordered = sorted(rate.speakers.items(), key=lambda pair: pair[1])
        extremes = ", ".join(f"{speaker} {bits:.1f}" for speaker, bits in (ordered[0], ordered[-1]))
        lines.append(
            f"{name:12} {rate.files:8.1f} {rate.payload:8.1f} {rate.bits_per_code:8.3f} {extremes:>28} "
            f"{rate.encoding:8.0f} {rate.decoding:7.0f}"
        )
    return lines


def sample_table(result: dict[str, Divergence]) -> list[str]:
    """The lines printed by `speechvq evaluate samples`."""
    lines = [f"{'divergence, bits':24} {'codes':>8} {'unigram':>8} {'bigram':>8}   phone pairs that occur, %"]
    for name, row in result.items():
        share = "" if row.phones is None else f"{100 * row.phones:8.1f}"
        lines.append(f"{name:24} {row.codes:8} {row.unigram:8.4f} {row.bigram:8.4f}   {share}")
    return lines

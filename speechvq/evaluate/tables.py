"""A Mapping told to people and to programs."""

import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from speechvq.evaluate.metrics.accuracy import ENOUGH, Accuracy, Score
from speechvq.evaluate.phonemes import PRIMARY, Mapping
from speechvq.extras import needed_for
from speechvq.files import atomic_write


def summary(result: Mapping) -> dict[str, Any]:
    """All figures of a mapping, for JSON: its matrices left out, and null for what cannot be measured."""
    return _without_nan({key: value for key, value in asdict(result).items() if key not in ("confusion", "meetings")})


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    return None if isinstance(value, float) and math.isnan(value) else value


def lines(result: Mapping) -> list[str]:
    """The table of `speechvq evaluate phonemes`."""
    best = result.scores[PRIMARY]
    baselines = {
        "k-means of MFCC": result.mfcc.codes,
        "shuffled codes": best.shuffled,
        "random codes": best.random,
        "the most likely phone": best.most_likely,
    }
    told = [
        f"fitted on {best.fitted_frames} frames of {len(result.fit)} speakers, scored on "
        f"{best.frames - best.fitted_frames} of {len(result.scored)} others; {len(result.phones)} phones",
        f"labels read {result.offset_ms:+} ms from a frame's own time: the best of {min(result.sweep)} to "
        f"{max(result.sweep)} ms on the fitting speakers",
        f"{len(result.unlabelled)} utterances have no labels and are left out, as are {100 * result.gaps:.1f} % of the "
        "frames of the others",
        "",
        f"{'accuracy, %':28} {'held out':>8}  {'95 % of speakers':16}  same frames",
        _row("codes, labels at the centre", best.codes),
        *(_row(name, accuracy) for name, accuracy in baselines.items()),
        "",
        *(_row(f"codes, {rule}", score.codes) for rule, score in result.scores.items() if rule != PRIMARY),
        *(
            _row(f"  the most likely, {rule}", score.most_likely)
            for rule, score in result.scores.items()
            if "," in rule
        ),
        *(f"codes and {width} on either side {100 * share:9.1f}" for width, share in best.context.items()),
        "",
        *_measures(best, result),
    ]
    if result.offset_ms in (min(result.sweep), max(result.sweep)):
        told.append("WARNING: the best offset is at the end of its range: are these the labels of these recordings?")
    if not best.enough:
        told.append(f"WARNING: fewer than {ENOUGH} frames to fit on: the accuracies of 'same frames' flatter")
    return told


def _row(name: str, accuracy: Accuracy) -> str:
    low, high = 100 * accuracy.low, 100 * accuracy.high
    interval = "" if math.isnan(low) else f"{low:6.1f} to {high:4.1f}"
    return f"{name:28} {100 * accuracy.held_out:8.1f}  {interval:14}    {100 * accuracy.same:8.1f}"


def _measures(best: Score, result: Mapping) -> list[str]:
    abx, noise, rates = result.abx, result.abx_random, result.bits_per_s
    return [
        f"PNMI                 {best.pnmi:.3f}   "
        f"(k-means of MFCC {result.mfcc.pnmi:.3f}, random codes {best.pnmi_random:.3f})",
        f"purity of codes      {best.phone_purity:.3f}   (clusters: {best.code_purity:.3f})",
        f"one-to-one accuracy  {best.one_to_one:.3f}",
        f"ABX error, %         {100 * abx.within:.1f} within, {100 * abx.across:.1f} across speakers"
        f"   (random vectors: {100 * noise.within:.1f}, {100 * noise.across:.1f}; "
        f"{abx.within_cells} and {abx.across_cells} cells)",
        f"codes in use         {best.used_codes}, perplexity {best.perplexity:.1f}",
        f"bit/s                {rates['nominal']:.1f} nominal, {rates['unigram']:.1f} by the entropy of single codes"
        + (f", {rates['prior']:.1f} under the prior" if "prior" in rates else ""),
    ]


def draw(result: Mapping, folder: Path) -> None:
    """FOLDER/confusion.png, the scored speakers' phones by what they are told as, and FOLDER/codes.png, the phones of
    each code, codes that mean the same side by side."""
    rows = result.confusion / np.maximum(result.confusion.sum(1, keepdims=True), 1)
    _heat_map(folder / "confusion.png", rows, result.phones, result.phones, ("told as", "phone"), "phone")
    shares = result.meetings / np.maximum(result.meetings.sum(1, keepdims=True), 1)
    order = np.lexsort((-shares.max(1), shares.argmax(1)))
    order = order[result.meetings.sum(1)[order] > 0]
    _heat_map(folder / "codes.png", shares[order].T, result.phones, [str(i) for i in order], ("code", "phone"), "code")


def _heat_map(
    path: Path, shares: np.ndarray, rows: list[str], columns: list[str], names: tuple[str, str], of: str
) -> None:
    with needed_for("drawing", "report"):
        from matplotlib.figure import Figure

    height, width = shares.shape
    figure = Figure((2.5 + 0.16 * width, 1.5 + 0.16 * height), layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(shares, aspect="auto", cmap="viridis", vmin=0)
    axes.set_xticks(range(width), columns, rotation=90, fontsize=7)
    axes.set_yticks(range(height), rows, fontsize=7)
    axes.set_xlabel(names[0])
    axes.set_ylabel(names[1])
    figure.colorbar(
        image, label="share of the frames of a phone" if names[0] == "told as" else "share of the code's frames"
    )
    with atomic_write(path) as temporary:
        figure.savefig(temporary, dpi=120, format="png")

"""Heat maps of a phoneme evaluation: phones by predicted phones, and phones by codes."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from speechvq.evaluate.phonemes import PhonemeEvaluation
from speechvq.extras import needed_for
from speechvq.files import atomic_write

with needed_for("drawing", "report"):
    from matplotlib.figure import Figure

MOST_NAMED = 400  # columns; more have no names
CELL = 0.16  # inches
UNNAMED = 6.8  # inches of columns without names: the picture fits the page


@dataclass(frozen=True)
class _HeatMap:
    """A heat map to draw.

    shares: (rows, columns), 0 to 1
    rows, columns: their names
    x_label, y_label, colours: what columns, rows and colours are
    """

    shares: np.ndarray
    rows: list[str]
    columns: list[str]
    x_label: str
    y_label: str
    colours: str


def draw_heat_maps(result: PhonemeEvaluation, folder: Path) -> None:
    """Write two pictures to a folder.

    confusion.png: phones of the scored speakers by predicted phone
    codes.png: phones of all speakers by code; codes with the same most frequent phone are side by side
    """
    confusion = result.confusion / np.maximum(result.confusion.sum(1, keepdims=True), 1)
    names = "predicted phone", "phone", "share of the frames of a phone"
    _draw(_HeatMap(confusion, result.phones, result.phones, *names), folder / "confusion.png")
    shares = result.contingency / np.maximum(result.contingency.sum(1, keepdims=True), 1)
    order = np.lexsort((-shares.max(1), shares.argmax(1)))
    order = order[result.contingency.sum(1)[order] > 0]
    codes = [str(code) for code in order]
    names = "code", "phone", "share of the frames of a code"
    _draw(_HeatMap(shares[order].T, result.phones, codes, *names), folder / "codes.png")


def _draw(heat_map: _HeatMap, path: Path) -> None:
    height, width = heat_map.shares.shape
    named = width <= MOST_NAMED
    inches = 2.5 + (CELL * width if named else UNNAMED)
    figure = Figure((inches, 1.5 + CELL * height), layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(heat_map.shares, aspect="auto", cmap="viridis", vmin=0)
    if named:
        axes.set_xticks(range(width), heat_map.columns, rotation=90, fontsize=7)
    else:
        axes.set_xticks([])
    axes.set_yticks(range(height), heat_map.rows, fontsize=7)
    axes.set_xlabel(heat_map.x_label)
    axes.set_ylabel(heat_map.y_label)
    figure.colorbar(image, label=heat_map.colours, fraction=min(0.15, 1 / inches))
    with atomic_write(path) as temporary:
        figure.savefig(temporary, dpi=120, format="png")

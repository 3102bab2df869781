"""Draw the pictures of the page as PNG: transparent, in greys that can be read on a light and on a dark page."""

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor

from speechvq.audio import SAMPLE_RATE
from speechvq.audio.librosa_lock import librosa
from speechvq.extras import needed_for
from speechvq.text.segments import Segment

with needed_for("a report", "report"):
    from matplotlib import rc_context
    from matplotlib.figure import Figure

GREY, BLUE, ORANGE = "#7f7f7f", "#3987c5", "#d9822b"
STYLE: Any = {
    **dict.fromkeys(("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"), GREY),
    **dict.fromkeys(("figure.facecolor", "axes.facecolor", "savefig.facecolor"), "none"),
    "axes.spines.right": False,
    "axes.spines.top": False,
    "font.size": 9,
}
FFT_SIZE = 512  # of spectrograms
MAX_WIDTH = 40.0  # inches
SMALL = (3.0, 2.3)  # inches: as wide as a phone
STRIPES = ("#3987c533", "#d9822b33")


def spectrograms(wavs: dict[str, Tensor], codes: Sequence[int], hop: int, phones: Sequence[Segment]) -> bytes:
    """Draw spectrograms above codes and phones, with a common time axis.

    wavs: wav (T,) at 16 kHz by name
    codes: codes of the first wav, `hop` samples each
    phones: labels of the first wav; none if empty

    Returns a PNG.
    """
    seconds = len(next(iter(wavs.values()))) / SAMPLE_RATE
    step = hop / SAMPLE_RATE
    strips = 2 if phones else 1
    inches_per_second = min(max(3.2, 0.12 / step), 6.5)  # as many as the labels of codes need
    with rc_context(STYLE):
        size = min(1 + inches_per_second * seconds, MAX_WIDTH), 0.6 + 1.9 * len(wavs) + 0.35 * strips
        figure = Figure(size, layout="constrained")
        axes = figure.subplots(len(wavs) + strips, 1, sharex=True, height_ratios=[6] * len(wavs) + [1] * strips)
        for panel, (name, wav) in zip(axes, wavs.items(), strict=False):
            padded = np.pad(wav.numpy(), (0, max(FFT_SIZE - len(wav), 0)))  # of less, librosa warns
            level = librosa.amplitude_to_db(np.abs(librosa.stft(padded, n_fft=FFT_SIZE, hop_length=128)), ref=np.max)
            extent = (0, len(padded) / SAMPLE_RATE, 0, SAMPLE_RATE / 2000)
            panel.imshow(level, aspect="auto", origin="lower", cmap="magma", extent=extent, vmin=-80)
            panel.set_ylabel(f"{name}\nkHz")
        points_per_second = 72 * (size[0] - 1) / seconds
        code_spans = [(i * step, (i + 1) * step, str(code)) for i, code in enumerate(codes)]
        _strip(axes[len(wavs)], "code", code_spans, points_per_second, 90)
        if phones:
            phone_spans = [(max(s.start, 0), s.end, s.label) for s in phones if s.end > 0]
            _strip(axes[-1], "phone", phone_spans, points_per_second, 0)
        axes[0].set_xlim(0, seconds)
        axes[-1].set_xlabel("seconds")
        return _png(figure)


def _strip(
    axes: Any, name: str, spans: Sequence[tuple[float, float, str]], points_per_second: float, rotation: int
) -> None:
    """Draw labelled spans (start, end, label) in alternating colours.

    rotation: of the labels, in degrees; a label without room is left out
    """
    for i, (begin, end, label) in enumerate(spans):
        axes.axvspan(begin, end, color=STRIPES[i % 2], linewidth=0)
        font_size = min((end - begin) * points_per_second / (1 if rotation else max(0.65 * len(label), 1)), 8)
        if font_size >= 4:
            style = {"ha": "center", "va": "center", "rotation": rotation, "clip_on": True}
            axes.text((begin + end) / 2, 0.5, label, fontsize=font_size, **style)
    axes.set_yticks([])
    axes.set_ylabel(name, rotation=0, ha="right", va="center")
    axes.spines[:].set_visible(False)


def curve(log: Sequence[dict[str, float]], key: str) -> bytes:
    """Draw the held-out figure `key` of a log by step, without the untrained model; returns a PNG."""
    rows = [row for row in log if key in row and (row["step"] or len(log) == 1)]
    with rc_context(STYLE):
        figure = Figure(SMALL, layout="constrained")
        axes = figure.subplots()
        axes.plot([row["step"] for row in rows], [row[key] for row in rows], color=BLUE, marker=".")
        axes.set_title(key.replace("_", " "))
        axes.set_xlabel("step")
        return _png(figure)


def usage(counts: np.ndarray) -> bytes:
    """Draw counts (codes,) as shares in descending order on a log scale, beside equal use; returns a PNG."""
    shares = 100 * np.sort(counts)[::-1] / counts.sum()
    with rc_context(STYLE):
        figure = Figure(SMALL, layout="constrained")
        axes = figure.subplots()
        axes.bar(np.arange(len(shares)), shares, width=1.0, color=BLUE)
        axes.axhline(100 / len(shares), color=ORANGE, linestyle="--")
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter("{x:g}")
        axes.set_title("use of codes, and equal use")
        axes.set_xlabel("codes, by frequency")
        axes.set_ylabel("% of all frames")
        return _png(figure)


def _png(figure: Figure) -> bytes:
    stream = io.BytesIO()
    figure.savefig(stream, dpi=120, format="png")
    return stream.getvalue()

"""A headless browser for tests of pages, what its microphone hears, and where screenshots are kept."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import soxr

PATIENCE = 240_000  # ms, on a busy machine
ARTEFACTS = Path(__file__).parents[1] / "test-artefacts"
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@contextmanager
def chromium(*flags: str) -> Iterator[Any]:
    """Chromium, started with flags; skips the test where there is none."""
    if CHROMIUM is None:
        pytest.skip("no browser here (chromium)")
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", *flags], timeout=120_000)
        yield browser
        browser.close()


def artefact(name: str) -> Path:
    """Where a screenshot is kept."""
    ARTEFACTS.mkdir(exist_ok=True)
    return ARTEFACTS / name


def serious(view: Any) -> list[tuple[str, str]]:
    """What axe finds on a page that is serious or worse: the rule and how bad."""
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(view).response["violations"]
    return [(one["id"], one["impact"]) for one in found if one["impact"] in ("serious", "critical")]


def alert_text(view: Any) -> str:
    """The sentence of an alert, when it has come."""
    alert = view.get_by_role("alert")
    alert.wait_for()
    text: str = alert.inner_text()
    return text


def heard(wav: np.ndarray, path: Path, rate: int) -> bool:
    """Whether a wav has most pieces of a file, which the microphone repeats; a busy machine loses some."""
    source, source_rate = soundfile.read(path)
    pieces = soxr.resample(source, source_rate, rate).reshape(-1, rate // 20)
    found = 0
    for piece in pieces:
        match = np.correlate(wav, piece, "valid") / np.linalg.norm(piece)
        energy = np.sqrt(np.convolve(wav**2, np.ones(len(piece)), "valid"))
        found += (match / np.maximum(energy, 1e-6)).max() > 0.9
    return found > len(pieces) / 2

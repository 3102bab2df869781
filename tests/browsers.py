"""A headless browser for tests of pages, and where their screenshots are kept."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

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


def serious(view: Any) -> list[tuple[str, str]]:
    """What axe finds on a page that is serious or worse: the rule and how bad."""
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(view).response["violations"]
    return [(one["id"], one["impact"]) for one in found if one["impact"] in ("serious", "critical")]

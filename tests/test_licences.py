"""The pages on security and licences, and the lock: every package once, as it says itself; nothing without a hash."""

import importlib.metadata
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LOCK = (ROOT / "requirements.lock").read_text(encoding="utf-8")
PAGE = (ROOT / "docs" / "licences.md").read_text(encoding="utf-8")
TABLE = PAGE.partition("| licence | packages |")[2].partition("| part |")[0]
ROWS = {row.split(" | ")[0].strip("| "): row.split(" | ")[1].strip("| ").split(", ") for row in TABLE.split("\n")[2:-2]}
# A word in a package's own statement, and the word in the table that it must have.
OBLIGING = {
    "LGPL": "LGPL",
    "LESSER": "LGPL",
    "GPL": "GPL",
    "GNU GENERAL": "GPL",
    "MPL": "MPL",
    "MOZILLA": "MPL",
    "PROPRIETARY": "NVIDIA",
}


def locked() -> dict[str, str]:
    """The requirements of the lock by name, each with its hashes; without those of browsers alone."""
    entries = re.split(r"\n(?=\S)", LOCK.strip())
    return {entry.partition("==")[0]: entry for entry in entries if "sys_platform == 'emscripten'" not in entry}


def test_every_locked_package_has_one_row():
    listed = sorted(name for names in ROWS.values() for name in names)
    assert listed == sorted(locked())


@pytest.mark.parametrize("row", ROWS)
def test_a_package_is_in_the_row_of_the_licence_that_it_states(row):
    """As far as it is installed, and says so: what obliges is not hidden among what does not."""
    for name in ROWS[row]:
        try:
            stated = importlib.metadata.metadata(name)
        except importlib.metadata.PackageNotFoundError:
            continue
        classifiers = [text for text in stated.get_all("Classifier", []) if text.startswith("License ::")]
        text = " ".join([stated.get("License-Expression") or "", *classifiers]).upper()
        for word, wanted in OBLIGING.items():
            assert word not in text or wanted in row, (name, text)


def test_every_file_of_the_lock_is_named_by_its_hash_and_none_by_where_it_came_from():
    for name, entry in locked().items():
        assert re.fullmatch(r"[\w.-]+==[\w.+]+( ; [^\\]+)?( \\\n    --hash=sha256:[0-9a-f]{64})+", entry), name
    assert "://" not in LOCK
    assert not re.search(r"^\s*(-|#)(?!-hash)", LOCK, re.MULTILINE)  # no index, no folder of wheels


def test_security_is_said_in_ten_lines():
    lines = [line for line in (ROOT / "SECURITY.md").read_text(encoding="utf-8").splitlines()[1:] if line]
    assert len(lines) <= 10
    said = " ".join(lines)
    assert all(word in said for word in ("trusted", "Not trusted", "Report", "requirements.lock"))

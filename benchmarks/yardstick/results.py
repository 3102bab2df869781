"""Measurements kept in a file of JSON lines, so that a stopped run goes on where it was."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

Figures = dict[str, Any]


class Results:
    """What was measured, each row found again by its key.

    path: the file; rows that it holds are not measured again
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._rows: dict[str, Figures] = {}
        text = path.read_text(encoding="utf-8") if path.is_file() else ""
        for line in text.split("\n"):
            try:
                row = json.loads(line)
                self._rows[_name(row["key"])] = row["figures"]
            except ValueError:  # the end of a file whose writer was killed
                continue
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as file:
            file.write("\n" if text and not text.endswith("\n") else "")

    def find(self, key: dict[str, str], measure: Callable[[], Figures]) -> Figures:
        """The figures of a key; measured, and written at once, if the file does not have them."""
        name = _name(key)
        if name not in self._rows:
            self._rows[name] = measure()
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"key": key, "figures": self._rows[name]}) + "\n")
        return self._rows[name]


def _name(key: dict[str, str]) -> str:
    return json.dumps(key, sort_keys=True)

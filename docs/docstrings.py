"""An extension of griffe: fields of docstrings, one a line (`name: meaning`), become lists."""

import re
from typing import Any

import griffe

FIELD = re.compile(r"((?:\w+(?:, )?)+): (.*)")


class Fields(griffe.Extension):
    """Rewrites every docstring that is read."""

    def on_instance(self, *, obj: Any, **_: Any) -> None:
        """Called for each module, class, function and attribute."""
        if obj.docstring:
            obj.docstring.value = as_markdown(obj.docstring.value)


def as_markdown(text: str) -> str:
    """Fields as a list, examples as a block of code; the rest as it is."""
    lines: list[str] = []
    kind = ""
    for line in text.splitlines():
        field = FIELD.fullmatch(line)
        now = "code" if line.startswith((">>>", "...")) else "field" if field else ""
        if kind == "field" and line.startswith("    "):  # the field goes on
            lines.append(line)
            continue
        if kind != now:
            lines += ["```"] * (kind == "code") + [""] + ["```python"] * (now == "code")
        kind = now
        lines.append(f"- **{field[1]}**: {field[2]}" if field and now == "field" else line)
    return "\n".join(lines + ["```"] * (kind == "code"))

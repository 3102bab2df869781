"""README.md of a model folder, in the manner of the Hugging Face hub: its head is metadata."""

import re
from pathlib import Path
from typing import Any

from speechvq.files import atomic_write

README = "README.md"
HEAD = re.compile(r"\s*---[ \t]*\r?\n(.*?)\r?\n---[ \t]*\r?(?:\n|$)", re.DOTALL)  # YAML between two lines of dashes


def read_readme(folder: Path) -> dict[str, Any]:
    """`licence`, `training_data` and `measured` (figures by the name of the metric) from the head of README.md.

    Empty if it has no head, or one that is not of the hub's kind.
    """
    data = _head(folder / README)
    found = {"licence": data.get("license"), "training_data": data.get("datasets"), "measured": _measured(data)}
    return {key: value for key, value in found.items() if value}


def _head(path: Path) -> dict[str, Any]:
    """The metadata; huggingface_hub would read them, too, but takes longer to import than all else of `info`."""
    import yaml

    try:
        match = HEAD.match(path.read_text(encoding="utf-8-sig"))
        data = yaml.safe_load(match[1]) if match else {}
    except (OSError, ValueError, yaml.YAMLError):
        return {}
    return data if isinstance(data, dict) else {}


def _measured(data: dict[str, Any]) -> dict[str, Any]:
    """The values of the metrics in the hub's `model-index`, by name, or by type where there is none."""
    try:
        metrics = [metric for model in data["model-index"] for row in model["results"] for metric in row["metrics"]]
        return {metric.get("name") or metric["type"]: metric["value"] for metric in metrics}
    except (LookupError, TypeError, AttributeError):
        return {}


def readme_text(folder: Path) -> str:
    """README.md as it is written; '' if there is none."""
    path = folder / README
    return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""


def save_readme(folder: Path, text: str) -> None:
    """Write README.md."""
    with atomic_write(folder / README) as temporary:
        temporary.write_text(text, encoding="utf-8")


def derived_readme(original: str, text: str) -> str:
    """The README.md of a model that was made of another one.

    original: that of the other model, whose licence and data stay in the head; its figures do not, since they were not
        measured of this one.
    text: what the model is, above the text of the other one.
    """
    from huggingface_hub import ModelCard, ModelCardData

    card = ModelCard(original or "---\nlibrary_name: speechvq\n---\n", ignore_metadata_errors=True)
    known: dict[str, Any] = card.data.to_dict()  # type: ignore[no-untyped-call]
    head = {key: value for key, value in known.items() if key not in ("model-index", "model_name")}
    below = f"\n\n# The model that it was made of\n\n{card.text.strip()}\n" if card.text.strip() else "\n"
    return f"---\n{ModelCardData(**head).to_yaml()}\n---\n\n{text.strip()}{below}"

"""README.md of a model folder, in the manner of the Hugging Face hub: its head is metadata."""

from pathlib import Path
from typing import Any

from speechvq.files import atomic_write

README = "README.md"


def read_readme(folder: Path) -> dict[str, Any]:
    """`licence`, `training_data` and `measured` (figures by the name of the metric) from the head of README.md.

    Empty if it has no head, or one that is not of the hub's kind.
    """
    if not (folder / README).is_file():
        return {}
    from huggingface_hub import ModelCardData, metadata_load  # here: it takes as long as converting a sentence
    from yaml import YAMLError

    try:
        data = ModelCardData(ignore_metadata_errors=True, **(metadata_load(folder / README) or {}))
    except (OSError, YAMLError, ValueError, TypeError):
        return {}
    measured = {result.metric_name or result.metric_type: result.metric_value for result in data.eval_results or []}
    found = {"licence": data.license, "training_data": data.datasets, "measured": measured}
    return {key: value for key, value in found.items() if value}


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

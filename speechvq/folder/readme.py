"""README.md of a model folder, in the manner of the Hugging Face hub: its head is metadata."""

import logging
from pathlib import Path
from typing import Any

from speechvq import SpeechVQError
from speechvq.config.guarded import parse_yaml_head, read_yaml_head
from speechvq.config.shapes import Maybe, check_shape
from speechvq.files import atomic_write

README = "README.md"
METRIC = {"type": str, "name?": Maybe(str), "value": (str, float)}
HEAD = {
    "license?": Maybe((str, list)),
    "datasets?": Maybe((str, list)),
    "model-index?": Maybe([{"results": [{"metrics": [METRIC]}]}]),
}

log = logging.getLogger(__name__)


def read_readme(folder: Path) -> dict[str, Any]:
    """`licence`, `training_data` and `measured` (figures by the name of the metric) from the head of README.md.

    Empty if it has no head; one that is not of the hub's kind is logged as a warning.
    """
    path = folder / README
    if not path.is_file():
        return {}
    try:
        head = read_yaml_head(path)
        check_shape(head, HEAD, str(path))
    except SpeechVQError as error:
        log.warning("%s", error)
        return {}
    results = [result for model in head.get("model-index") or [] for result in model["results"]]
    metrics = [metric for result in results for metric in result["metrics"]]
    measured = {metric.get("name") or metric["type"]: metric["value"] for metric in metrics}
    found = {"licence": head.get("license"), "training_data": head.get("datasets"), "measured": measured}
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
    try:
        parse_yaml_head(original, README)
    except SpeechVQError as error:
        log.warning("left out: %s", error)
        original = ""
    from huggingface_hub import ModelCard, ModelCardData

    card = ModelCard(original or "---\nlibrary_name: speechvq\n---\n", ignore_metadata_errors=True)
    known: dict[str, Any] = card.data.to_dict()  # type: ignore[no-untyped-call]
    head = {key: value for key, value in known.items() if key not in ("model-index", "model_name")}
    below = f"\n\n# The model that it was made of\n\n{card.text.strip()}\n" if card.text.strip() else "\n"
    return f"---\n{ModelCardData(**head).to_yaml()}\n---\n\n{text.strip()}{below}"

"""README.md of a model folder, in the manner of the Hugging Face hub: its head is metadata."""

from pathlib import Path
from typing import Any

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

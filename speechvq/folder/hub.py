"""Model folders in the manner of the Hugging Face hub: saved, loaded from here or from there, and described.

A model's README.md begins with the hub's metadata: licence, training data, and what was measured.
"""

from pathlib import Path
from typing import Any, Self

from huggingface_hub import ModelCard, ModelCardData, ModelHubMixin, metadata_load, snapshot_download
from yaml import YAMLError

README = "README.md"
TAGS = ["audio", "speech-codec", "voice-conversion", "vq-vae"]
TEXT = """---
{{ card_data }}
---

# A speech codec of speechvq

{{ about }}

```python
from speechvq.codec import Codec

codec = Codec.from_pretrained("a folder with these files, or the name of this repository")
wav = codec.convert(wav, sample_rate, "{{ speaker }}")
```
"""


class Pretrained(ModelHubMixin):
    """`save_pretrained`, `from_pretrained` and `push_to_hub` for a class with `load(folder, device)`, `save(folder)`
    and `describe()`. The hub's errors are its own."""

    def _save_pretrained(self, save_directory: Path) -> None:
        self.save(save_directory)  # type: ignore[attr-defined]

    @classmethod
    def _from_pretrained(  # type: ignore[override]
        cls,
        *,
        model_id: str,
        revision: str | None,
        cache_dir: str | Path | None,
        force_download: bool,
        local_files_only: bool,
        token: str | bool | None,
        device: str = "cpu",
    ) -> Self:
        folder = model_id
        if not Path(model_id).is_dir():
            folder = snapshot_download(
                model_id,
                revision=revision,
                cache_dir=cache_dir,
                force_download=force_download,
                local_files_only=local_files_only,
                token=token,
            )
        return cls.load(folder, device)  # type: ignore[attr-defined]

    def generate_model_card(self) -> ModelCard:
        """README.md, for a model that has none."""
        about = self.describe()  # type: ignore[attr-defined]
        about["speakers"] = ", ".join(about["speakers"])
        return ModelCard.from_template(
            ModelCardData(library_name="speechvq", tags=TAGS),
            template_str=TEXT,
            about="\n".join(f"- {key}: {value}" for key, value in about.items()),
            speaker=about["speakers"].partition(",")[0],
        )


def read_card(folder: Path) -> dict[str, Any]:
    """What a model's README.md says at its head: licence, training data, and figures by the name of the metric.

    Empty where it has no head, or one that is not of the hub's kind.
    """
    try:
        data = ModelCardData(ignore_metadata_errors=True, **(metadata_load(folder / README) or {}))
    except (OSError, YAMLError, ValueError, TypeError):
        return {}
    measured = {result.metric_name or result.metric_type: result.metric_value for result in data.eval_results or []}
    about = {"licence": data.license, "training_data": data.datasets, "measured": measured}
    return {key: value for key, value in about.items() if value}

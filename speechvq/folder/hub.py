"""Model folders on the Hugging Face hub: saved, loaded and described."""

from pathlib import Path
from typing import Self

from huggingface_hub import ModelCard, ModelCardData, ModelHubMixin, snapshot_download

TAGS = ["audio", "speech-codec", "voice-conversion", "vq-vae"]
TEXT = """---
{{ card_data }}
---

# A speech codec of speechvq

{{ description }}

```python
from speechvq import Codec

codec = Codec.from_pretrained("a folder with these files, or the name of this repository")
{{ example }}
```
"""


class Pretrained(ModelHubMixin):
    """`save_pretrained`, `from_pretrained` and `push_to_hub`, for a class with `load`, `save` and `describe`.

    The hub's errors are not turned into SpeechVQError.
    """

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
        model: Self = cls.load(folder, device)  # type: ignore[attr-defined]
        return model

    def generate_model_card(self) -> ModelCard:
        """README.md of a model that has none yet."""
        description = self.describe()  # type: ignore[attr-defined]
        speakers = list(description["speakers"])
        description["speakers"] = ", ".join(speakers)
        convert, encode = 'wav = codec.convert(wav, sample_rate, "{}")', "codes = codec.encode(wav, sample_rate)"
        card: ModelCard = ModelCard.from_template(
            ModelCardData(library_name="speechvq", tags=TAGS),
            template_str=TEXT,
            description="\n".join(f"- {key}: {value}" for key, value in description.items()),
            example=convert.format(speakers[0]) if speakers else encode,
        )
        return card

"""Model folders on the Hugging Face hub: saved, loaded and described."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Self

from speechvq.config.shapes import as_path
from speechvq.folder.readme import README

if TYPE_CHECKING:
    from huggingface_hub import ModelCard

from speechvq.folder.card import model_folder

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


class Pretrained:
    """`save_pretrained`, `from_pretrained` and `push_to_hub`, for a class with `load`, `save` and `describe`.

    They are those of huggingface_hub's ModelHubMixin, which is no base class because importing it takes longer than
    converting a sentence. The hub's errors are not turned into SpeechVQError.
    """

    def save_pretrained(self, save_directory: str | Path) -> None:
        """Write a model folder, with a README.md if there is none."""
        folder = as_path(save_directory, "a model")
        folder.mkdir(parents=True, exist_ok=True)
        self.save(folder)  # type: ignore[attr-defined]
        if not (folder / README).exists():
            self.generate_model_card().save(folder / README)

    def push_to_hub(
        self,
        repo_id: str,
        *,
        commit_message: str = "A codec of speechvq",
        private: bool | None = None,
        token: str | None = None,
        branch: str | None = None,
        create_pr: bool | None = None,
    ) -> str:
        """Upload the model to a repository of the hub, which is created if it is not there.

        private: whether a new repository is private; None for the default of its organization.
        token: for the hub; None for the stored one.
        branch: to upload to; None for the main one.
        create_pr: whether to open a pull request.

        Returns the address of the commit.
        """
        from huggingface_hub import HfApi

        api = HfApi(token=token)
        repository = api.create_repo(repo_id, private=private, exist_ok=True).repo_id
        with TemporaryDirectory(prefix="speechvq-") as folder:
            self.save_pretrained(folder)
            commit = api.upload_folder(
                repo_id=repository,
                folder_path=folder,
                commit_message=commit_message,
                revision=branch,
                create_pr=create_pr,
            )
        return str(commit)

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | Path,
        *,
        force_download: bool = False,
        token: str | bool | None = None,
        cache_dir: str | Path | None = None,
        local_files_only: bool = False,
        revision: str | None = None,
        device: str = "cpu",
    ) -> Self:
        """The model of a folder, the packaged model of that name, or that of a repository of the hub.

        pretrained_model_name_or_path: a folder, or the name of a packaged model or of a repository.
        device: as of `load`.
        Other arguments as of huggingface_hub's `snapshot_download`.
        """
        folder = model_folder(pretrained_model_name_or_path)
        if not folder.is_dir():
            from huggingface_hub import snapshot_download

            downloaded: str = snapshot_download(
                folder.as_posix(),  # USER/MODEL, on Windows, too
                revision=revision,
                cache_dir=cache_dir,
                force_download=force_download,
                local_files_only=local_files_only,
                token=token,
            )
            folder = Path(downloaded)
        model: Self = cls.load(folder, device)  # type: ignore[attr-defined]
        return model

    def generate_model_card(self) -> "ModelCard":
        """README.md of a model that has none yet."""
        from huggingface_hub import ModelCard, ModelCardData

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

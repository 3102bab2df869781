"""Model folders on the Hugging Face hub: saved, loaded and described."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Self

from speechvq import SpeechVQError
from speechvq.config.shapes import as_path
from speechvq.files import message_line
from speechvq.folder.readme import README

if TYPE_CHECKING:
    from huggingface_hub import ModelCard

from speechvq.folder.card import model_folder, packaged

TAGS = ["audio", "speech-codec", "voice-conversion", "vq-vae"]
LONGEST_REASON = 300  # characters of an error of the hub
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
    converting a sentence.
    """

    def save_pretrained(self, save_directory: str | Path) -> None:
        """Write a model folder, with a README.md if there is none. Raises SpeechVQError if no folder can be there."""
        folder = as_path(save_directory, "a model")
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
        Raises SpeechVQError if that is no name of a repository, or the hub cannot be reached or refuses it.
        """
        from huggingface_hub import HfApi

        with TemporaryDirectory(prefix="speechvq-") as folder:
            self.save_pretrained(folder)
            with _errors_of_hub(f"{repo_id} cannot be uploaded"):
                api = HfApi(token=token)
                commit = api.upload_folder(
                    repo_id=api.create_repo(repo_id, private=private, exist_ok=True).repo_id,
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

        Raises SpeechVQError as `load` does, or if the hub cannot be reached or has no such repository.
        """
        folder = model_folder(pretrained_model_name_or_path)
        if not folder.is_dir():
            from huggingface_hub import snapshot_download

            name = folder.as_posix()  # USER/MODEL, on Windows, too
            with _errors_of_hub(f"{name}: no folder, nor a packaged model ({', '.join(packaged())})"):
                downloaded: str = snapshot_download(
                    name,
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


@contextmanager
def _errors_of_hub(failed: str) -> Iterator[None]:
    """Raises SpeechVQError, with what has failed, for any error of huggingface_hub.

    They have no class in common, and those of its HTTP client, which change with its version, come through it.
    """
    try:
        yield
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise SpeechVQError(f"{failed}; of the Hugging Face hub: {message_line(reason, LONGEST_REASON)}") from None

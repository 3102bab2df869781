"""What a model folder says of itself: config.json, and the models that come with the package."""

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from speechvq import SpeechVQError, __version__
from speechvq.config import Run
from speechvq.files import save_json
from speechvq.parsing import parse, parse_run

FORMAT = 1
CONFIG = "config.json"
WEIGHTS = "model.safetensors"
PACKAGED = Path(__file__).parents[1] / "models"


@dataclass(frozen=True)
class Alphabet:
    """Whose codes they are: the model's fingerprint, how many kinds it has, and samples a code at 16 kHz."""

    model: str
    codes: int
    hop_length: int


@dataclass(frozen=True)
class Card:
    """What a model folder says of itself: the configuration, the speakers in the order of their embedding, what else
    is known of each (sex, accent, ...), and whose codes a prior knows."""

    config: Run
    speakers: tuple[str, ...]
    speaker_info: dict[str, dict[str, str]] = dataclasses.field(default_factory=dict)
    alphabet: Alphabet | None = None


def save_card(folder: Path, card: Card) -> None:
    """Write config.json."""
    save_json(folder / CONFIG, {"format": FORMAT, "speechvq": __version__, **dataclasses.asdict(card)})


def packaged() -> list[str]:
    """The names of the models that come with the package."""
    return sorted(path.parent.name for path in PACKAGED.glob(f"*/{CONFIG}"))


def model_folder(name: str | Path) -> Path:
    """The folder of a model, given itself or the name of a packaged model (or NAME/prior, of its prior).

    A folder that is there goes before a name.
    """
    path, inside = Path(name), PACKAGED / name
    named = not path.exists() and ".." not in path.parts and inside.is_dir()
    return inside if named else path


def load_card(folder: Path) -> Card:
    """Read config.json; SpeechVQError for what is missing, malformed or from a newer format."""
    path = folder / CONFIG
    if not folder.is_dir():
        raise SpeechVQError(f"{folder}: no such model folder, nor a packaged model ({', '.join(packaged())})")
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        if data["format"] != FORMAT:
            raise SpeechVQError(
                f"{path}: format {data['format']}, written by speechvq {data.get('speechvq')}; "
                f"this version ({__version__}) reads format {FORMAT}"
            )
        config, speakers, info = data["config"], data["speakers"], data["speaker_info"]
        fine = isinstance(config, dict) and isinstance(speakers, list) and isinstance(info, dict)
        if not (fine and all(isinstance(s, str) for s in speakers) and all(isinstance(i, dict) for i in info.values())):
            raise ValueError("other types than a model's")
    except FileNotFoundError:
        raise SpeechVQError(f"{folder}: not a model folder, {CONFIG} is missing") from None
    except (ValueError, KeyError, TypeError, AttributeError, OSError) as error:
        raise SpeechVQError(f"{path}: not a model's configuration ({error!r})") from None
    alphabet = parse(Alphabet, data["alphabet"], "alphabet.") if data.get("alphabet") else None
    return Card(parse_run(config), tuple(speakers), info, alphabet)


def speaker_index(speakers: Sequence[str], name: str) -> int:
    """The embedding's row of a speaker; SpeechVQError naming the nearest for one that is not there."""
    import difflib

    if name in speakers:
        return speakers.index(name)
    near = ", ".join(difflib.get_close_matches(name, speakers, n=3, cutoff=0.0))
    raise SpeechVQError(f"unknown speaker '{name}'; the nearest of {len(speakers)}: {near}")

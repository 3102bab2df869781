"""config.json of a model folder, and where the packaged models are."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from speechvq import SpeechVQError, __version__
from speechvq.config import HIGHEST_HIGH_PASS, Run
from speechvq.config.guarded import read_json
from speechvq.config.parsing import parse, parse_run
from speechvq.config.shapes import Each, Maybe, as_path, check_shape
from speechvq.files import check_path, file_exists, save_json

FORMAT = 2  # the newest; 1 if the audio goes through no high-pass, of which readers of 1 do not know
CONFIG = "config.json"
WEIGHTS = "model.safetensors"
PACKAGED = Path(__file__).parents[1] / "models"
CARD_SHAPE = {
    "config": Each(dict),
    "speakers": [str],
    "speaker_info": Each(Each((str, float))),
    "alphabet?": Maybe({"model": str, "codes": int, "hop_length": int}),
    "high_pass?": float,
    "taught?": str,
}


@dataclass(frozen=True)
class Alphabet:
    """The codes of a model, as files and priors of them name it.

    model: the model's fingerprint.
    codes: number of different codes K.
    hop_length: samples per code at 16 kHz.
    """

    model: str
    codes: int
    hop_length: int


@dataclass(frozen=True)
class Card:
    """The content of config.json.

    config: the configuration that the model was trained with.
    speakers: names, in the order of their embeddings.
    speaker_info: for each speaker, what is known of them, such as sex and accent.
    alphabet: of a prior, the codes that it is a prior of.
    high_pass: of a codec or an encoder, the cutoff of the filter that its audio goes through, in Hz; 0 for none.
    taught: what other than audio its encoder was trained with, such as the phones of labels; empty for nothing.
    """

    config: Run
    speakers: tuple[str, ...]
    speaker_info: dict[str, dict[str, str]] = dataclasses.field(default_factory=dict)
    alphabet: Alphabet | None = None
    high_pass: float = 0.0
    taught: str = ""


def save_card(folder: Path, card: Card) -> None:
    """Write config.json."""
    fields = dataclasses.asdict(card)
    if not card.high_pass:
        del fields["high_pass"]
    if not card.taught:
        del fields["taught"]
    save_json(folder / CONFIG, {"format": FORMAT if card.high_pass else 1, "speechvq": __version__, **fields})


def file_of_no_model(folder: Path, names: Sequence[str]) -> Path | None:
    """A file of the user that would be replaced if files of these names were written into a folder; None for none.

    A folder with a card is a model's, also that of a run which was killed before it wrote weights.
    """
    there = [folder / name for name in names if file_exists(folder / name)]
    try:
        if there:
            load_card(folder)
    except SpeechVQError:
        return there[0]
    return None


def packaged() -> list[str]:
    """Names of the models that come with the package."""
    return sorted(path.parent.name for path in PACKAGED.glob(f"*/{CONFIG}"))


def model_folder(name: str | Path) -> Path:
    """The folder of a model.

    name: a folder, the name of a packaged model, or NAME/prior for its prior; an existing folder goes first.

    Raises SpeechVQError if it is no path, or one that no folder can have.
    """
    path = as_path(name, "a model")
    check_path(path / WEIGHTS)  # the longest name in it
    inside = PACKAGED / path
    is_packaged = not path.exists() and ".." not in path.parts and inside.is_dir()
    return inside if is_packaged else path


def load_card(folder: Path, kind: str | None = None) -> Card:
    """Read config.json.

    kind: of the run that it must be from, such as "codec" or "prior".

    Raises SpeechVQError if it is missing, malformed, of a newer format or of another kind of run.
    """
    path = folder / CONFIG
    if not folder.is_dir():
        raise SpeechVQError(f"{folder}: no such model folder, nor a packaged model ({', '.join(packaged())})")
    if not path.is_file():
        raise SpeechVQError(f"{folder}: not a model folder, {CONFIG} is missing")
    data = read_json(path)
    check_shape(data, {"format": int}, str(path))
    if data["format"] not in (1, FORMAT):
        raise SpeechVQError(
            f"{path}: format {data['format']}, written by speechvq {str(data.get('speechvq'))[:20]}; "
            f"this version ({__version__}) reads formats up to {FORMAT}"
        )
    check_shape(data, CARD_SHAPE, str(path))
    cutoff = float(data.get("high_pass", 0.0))
    if not 0 <= cutoff <= HIGHEST_HIGH_PASS:
        raise SpeechVQError(f"{path}: 'high_pass' is between 0 and {HIGHEST_HIGH_PASS:g}")
    try:
        alphabet = parse(Alphabet, data["alphabet"], "alphabet.") if data.get("alphabet") else None
        config = parse_run(data["config"])
    except (SpeechVQError, TypeError) as error:
        raise SpeechVQError(f"{path}: {error}") from None
    card = Card(config, tuple(data["speakers"]), data["speaker_info"], alphabet, cutoff, data.get("taught", ""))
    if kind not in (None, card.config.kind):
        raise SpeechVQError(f"{folder}: not a {kind}, but the result of a run of kind '{card.config.kind}'")
    if card.config.kind == "prior" and alphabet is None:
        raise SpeechVQError(f"{path}: does not name the codes that the prior is of (alphabet)")
    return card


def speaker_index(speakers: Sequence[str], name: str) -> int:
    """The index of a speaker's embedding.

    Raises SpeechVQError, with the most similar names, if there is no such speaker.
    """
    import difflib

    if not speakers:
        raise SpeechVQError(f"this model has no speakers, not '{name}' either: it gives codes, and no speech")
    if not isinstance(name, str):
        raise SpeechVQError(f"a speaker is given by name, not as {type(name).__name__}")
    if name in speakers:
        return speakers.index(name)
    near = ", ".join(difflib.get_close_matches(name, speakers, n=3, cutoff=0.0))
    raise SpeechVQError(f"unknown speaker '{name}'; the nearest of {len(speakers)}: {near}")

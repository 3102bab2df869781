"""Files that are whole or absent, and model folders without pickle.

A model folder holds `config.json` (format, library version, configuration, speakers, and for a prior whose codes
it knows) and `model.safetensors` (weights; step and held-out figures in its metadata). A run of the
trainer is such a folder, so that `Codec.load` reads it while it trains.
"""

import dataclasses
import hashlib
import json
import os
import re
import shlex
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from speechvq import SpeechVQError, __version__
from speechvq.config import Config, PriorRun
from speechvq.parsing import parse, parse_run

FORMAT = 1
CONFIG = "config.json"
WEIGHTS = "model.safetensors"
PACKAGED = Path(__file__).parent / "models"


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yield a temporary path (same folder, same suffix) that becomes `path` when the block ends well.

    On any exception, Ctrl-C included, the temporary file is removed and `path` is left as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.stem}-", suffix=path.suffix, dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _umask() -> int:
    """The process's umask, which can only be read by setting it. `mkstemp` ignores it (mode 600)."""
    mask = os.umask(0)
    os.umask(mask)
    return mask


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

    config: Config | PriorRun
    speakers: tuple[str, ...]
    speaker_info: dict[str, dict[str, str]] = dataclasses.field(default_factory=dict)
    alphabet: Alphabet | None = None


def save_json(path: Path, data: Any) -> None:
    """Write a file of JSON atomically."""
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(data, indent=2) + "\n", encoding="utf-8")


def save_result(path: Path, result: dict[str, Any]) -> None:
    """Write what was measured, and how."""
    save_json(path, {"made_by": made_by(), **result})


def made_by() -> dict[str, str]:
    """How what this process makes is made: command, versions, machine."""
    import platform

    path = Path("/proc/cpuinfo")
    found = re.search(r"model name\s*: (.+)", path.read_text(encoding="utf-8") if path.is_file() else "")
    machine = f"{found[1] if found else platform.machine()}, {os.cpu_count()} cores"
    if torch.cuda.is_available():
        machine += f"; {torch.cuda.device_count()} x {torch.cuda.get_device_name()}"
    return {
        "command": shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "speechvq": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "machine": machine,
    }


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


def save_tensors(path: Path, tensors: dict[str, Tensor], metadata: dict[str, Any]) -> None:
    """Write a safetensors file atomically, metadata values as JSON."""
    # Clones: safetensors refuses tensors that share memory.
    whole = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    with atomic_write(path) as temporary:
        save_file(whole, temporary, {key: json.dumps(value) for key, value in metadata.items()})


def load_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what `save_tensors` wrote; SpeechVQError for a missing, truncated or corrupt file."""
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118, not a dict
            return tensors, {key: json.loads(value) for key, value in (file.metadata() or {}).items()}
    except FileNotFoundError:
        raise SpeechVQError(f"{path.parent}: incomplete, {path.name} is missing") from None
    except (SafetensorError, ValueError, OSError) as error:
        raise SpeechVQError(f"{path}: truncated or corrupt ({error})") from None


def load_weights(module: nn.Module, path: Path) -> dict[str, Any]:
    """Fill a module from a file of weights -> the file's metadata; SpeechVQError where the two do not fit."""
    tensors, metadata = load_tensors(path)
    fill(module, tensors, str(path))
    return metadata


def fill(module: nn.Module, tensors: dict[str, Tensor], source: str) -> None:
    """Copy tensors into a module that has exactly these names and shapes; SpeechVQError otherwise."""
    own = module.state_dict()
    odd = sorted(own.keys() ^ tensors.keys()) or [name for name in own if own[name].shape != tensors[name].shape]
    if odd:
        raise SpeechVQError(f"{source}: the weights do not fit the configuration, first at '{odd[0]}'")
    module.load_state_dict(tensors)


def fingerprint(*parts: nn.Module) -> str:
    """16 hex digits that name the weights of these modules: SHA-256 of names, shapes and values."""
    digest = hashlib.sha256()
    for part in parts:
        for name, tensor in sorted(part.state_dict().items()):
            digest.update(f"{name} {tuple(tensor.shape)}\n".encode())
            digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def speaker_index(speakers: Sequence[str], name: str) -> int:
    """The embedding's row of a speaker; SpeechVQError naming the nearest for one that is not there."""
    import difflib

    if name in speakers:
        return speakers.index(name)
    near = ", ".join(difflib.get_close_matches(name, speakers, n=3, cutoff=0.0))
    raise SpeechVQError(f"unknown speaker '{name}'; the nearest of {len(speakers)}: {near}")

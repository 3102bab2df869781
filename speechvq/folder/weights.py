"""Weights without pickle: safetensors files, and fingerprints of modules."""

import hashlib
import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from speechvq import SpeechVQError
from speechvq.files import atomic_write


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

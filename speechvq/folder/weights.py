"""Weights without pickle: tensors and modules in safetensors files."""

import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor, nn

from speechvq import SpeechVQError
from speechvq.files import atomic_write
from speechvq.folder.fingerprint import fingerprint_of, open_weights, read_metadata


def save_tensors(path: Path, tensors: dict[str, Tensor], metadata: dict[str, Any]) -> None:
    """Write a safetensors file atomically, metadata values as JSON."""
    # Clones: safetensors refuses tensors that share memory.
    whole = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    with atomic_write(path) as temporary:
        try:
            save_file(whole, temporary, {key: json.dumps(value) for key, value in metadata.items()})
        except SafetensorError as error:  # a full disk, say
            raise OSError(None, str(error), str(path)) from None


def load_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors and the metadata that `save_tensors` wrote.

    Raises SpeechVQError if the file is missing, truncated or corrupt.
    """
    with open_weights(path, "pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}, read_metadata(file)  # noqa: SIM118, not a dict


def load_weights(module: nn.Module, path: Path) -> dict[str, Any]:
    """Fill a module from a file of weights -> the file's metadata.

    Raises SpeechVQError if the file cannot be read or does not fit the module.
    """
    tensors, metadata = load_tensors(path)
    fill(module, tensors, str(path))
    return metadata


def fill(module: nn.Module, tensors: dict[str, Tensor], source: str) -> None:
    """Copy tensors into a module.

    source: what the tensors are called in errors.

    Raises SpeechVQError if the module has other names or shapes.
    """
    own = module.state_dict()
    odd = sorted(own.keys() ^ tensors.keys()) or [name for name in own if own[name].shape != tensors[name].shape]
    if odd:
        raise SpeechVQError(f"{source}: the weights do not fit the configuration, first at '{odd[0]}'")
    module.load_state_dict(tensors)


def fingerprint(*parts: nn.Module) -> str:
    """16 hex digits that name the weights of these modules."""
    return fingerprint_of(
        *(
            {name: tensor.detach().cpu().contiguous().numpy() for name, tensor in part.state_dict().items()}
            for part in parts
        )
    )


def count_parameters(module: nn.Module) -> int:
    """Number of trained values."""
    return sum(parameter.numel() for parameter in module.parameters())

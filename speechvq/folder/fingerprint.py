"""A file of weights as it lies on disk: its metadata, size and fingerprint, without a model and without torch."""

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from safetensors import SafetensorError, safe_open

from speechvq import SpeechVQError
from speechvq.config.guarded import parse_json

# Float tensors that are state, but not parameters, by the last part of their names: of batches, and of an EMA codebook.
STATISTICS = frozenset({"running_mean", "running_var", "sums", "counts"})


@dataclass(frozen=True)
class WeightsSummary:
    """The summary of a file of weights.

    fingerprint: 16 hex digits that name some of its weights.
    parameters: number of trained values in all of it.
    metadata: what was saved with the weights, such as held-out figures.
    """

    fingerprint: str
    parameters: int
    metadata: dict[str, Any]


def summarize_weights(path: Path, parts: Sequence[str]) -> WeightsSummary:
    """Read a safetensors file without building its model.

    parts: names of the submodules that make up the fingerprint, in this order; none for the whole model.

    Raises SpeechVQError if the file is missing, truncated or corrupt.
    """
    with open_weights(path, "numpy") as file:
        names, parameters = sorted(file.keys()), 0
        for name in names:
            tensor = file.get_slice(name)
            if tensor.get_dtype().startswith(("F", "BF")) and name.rpartition(".")[2] not in STATISTICS:
                parameters += math.prod(tensor.get_shape())
        prefixes = [f"{part}." for part in parts] or [""]
        chosen = [
            {name.removeprefix(prefix): _loaded(file, name, path) for name in names if name.startswith(prefix)}
            for prefix in prefixes
        ]
        return WeightsSummary(fingerprint_of(*chosen), parameters, read_metadata(file, path))


def fingerprint_of(*parts: Mapping[str, np.ndarray]) -> str:
    """16 hex digits that name the weights of these modules: SHA-256 of names, shapes and values.

    parts: for each module, its state by name.
    """
    digest = hashlib.sha256()
    for part in parts:
        for name, values in sorted(part.items()):
            digest.update(f"{name} {values.shape}\n".encode())
            digest.update(values.tobytes())
    return digest.hexdigest()[:16]


def files_digest(folder: Path) -> str:
    """16 hex digits that name the configuration, weights and histogram of a model folder, those that are there.

    Unlike a fingerprint, it changes with anything that decoded audio or a file of codes depends on.
    """
    digest = hashlib.sha256()
    for name in ("config.json", "model.safetensors", "histogram.json"):
        path = folder / name
        data = path.read_bytes() if path.is_file() else b""
        digest.update(f"{name} {len(data)}\n".encode() + data)
    return digest.hexdigest()[:16]


def _loaded(file: Any, name: str, path: Path) -> np.ndarray:
    """A tensor as a model holds it: floats of any size are loaded into float32."""
    values: np.ndarray = file.get_tensor(name)
    values = values.astype(np.float32) if values.dtype.kind == "f" else values
    if not np.isfinite(values).all():
        raise not_finite(path, name)
    return values


def not_finite(path: Path, name: str) -> SpeechVQError:
    """The error for weights that are NaN or infinite."""
    return SpeechVQError(f"{path}: not weights that can be used, '{name}' is NaN or infinite")


@contextmanager
def open_weights(path: Path, framework: Literal["numpy", "pt"]) -> Iterator[Any]:
    """An open safetensors file, whose tensors are arrays of the framework.

    Raises SpeechVQError if the file is missing, truncated or corrupt.
    """
    if path.exists() and not path.is_file():  # a pipe, say, for which one would wait
        raise SpeechVQError(f"{path}: not a file")
    try:
        with safe_open(path, framework=framework) as file:
            yield file
    except FileNotFoundError:
        if path.is_file():  # safetensors says this of what it must not read, too
            raise SpeechVQError(f"{path}: cannot be read") from None
        raise SpeechVQError(f"{path.parent}: incomplete, {path.name} is missing") from None
    except (SafetensorError, ValueError, OSError) as error:
        raise SpeechVQError(f"{path}: truncated or corrupt ({error})") from None


def read_metadata(file: Any, path: Path) -> dict[str, Any]:
    """The metadata of an open safetensors file, in the order of their names; the values are JSON.

    Raises SpeechVQError if they are not.
    """
    entries = sorted((file.metadata() or {}).items())
    return {key: parse_json(value, f"{path}: metadata {key[:20]!r}") for key, value in entries}

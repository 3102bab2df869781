"""Weights without pickle: tensors and modules in safetensors files."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from speechvq import SpeechVQError
from speechvq.files import atomic_write
from speechvq.folder.fingerprint import fingerprint_of, not_finite, open_weights, read_metadata

Made = TypeVar("Made", bound=nn.Module)


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

    Raises SpeechVQError if the file is missing, truncated or corrupt, or a tensor has NaN or infinite values.
    """
    with open_weights(path, "pt") as file:
        # Clones: safetensors maps the file into memory, and Windows does not replace a file that is mapped.
        tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118, not a dict
        for name, tensor in tensors.items():
            if not tensor.float().isfinite().all():
                raise not_finite(path, name)
        return tensors, read_metadata(file, path)


def load_weights(module: nn.Module, path: Path) -> dict[str, Any]:
    """Fill a module from a file of weights -> the file's metadata.

    Raises SpeechVQError if the file cannot be read or does not fit the module.
    """
    tensors, metadata = load_tensors(path)
    fill(module, tensors, str(path))
    return metadata


class _WithoutValues(TorchFunctionMode):
    """Leaves out what would set the values of tensors without memory. On them, torch takes a second for the first."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        changed = args[0] if args else kwargs.get("tensor")
        changes = func.__name__ == "__setitem__" or func.__name__.rstrip("_") + "_" == func.__name__
        return changed if changes and isinstance(changed, Tensor) and changed.is_meta else func(*args, **kwargs)


@contextmanager
def without_memory() -> Iterator[None]:
    """Modules that are built inside have weights with names and shapes, but neither memory nor values."""
    with torch.device("meta"), _WithoutValues():
        yield


def load_module(make: Callable[[], Made], path: Path) -> tuple[Made, dict[str, Any]]:
    """Build a module and fill it from a file of weights -> the module, and the file's metadata.

    make: builds it. It is called for its names and shapes first, without memory for its weights, which must be those in
        the head of the file. So a configuration cannot ask for more memory than its weights take.

    Raises SpeechVQError as `load_weights` does.
    """
    with without_memory():
        shapes = _shapes(make().state_dict())
    with open_weights(path, "pt") as file:
        found = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118, not a dict
    _check_fit(shapes, found, str(path))
    module = make()
    return module, load_weights(module, path)


def fill(module: nn.Module, tensors: dict[str, Tensor], source: str) -> None:
    """Copy tensors into a module.

    source: what the tensors are called in errors.

    Raises SpeechVQError if the module has other names or shapes.
    """
    own = module.state_dict()
    _check_fit(_shapes(own), _shapes(tensors), source)
    module.load_state_dict(tensors)


def adam_state(tensors: Mapping[str, Tensor], parameters: Sequence[Tensor]) -> dict[int, dict[str, Tensor]]:
    """The state of an Adam optimizer of parameters, by their index.

    tensors: by `INDEX.KEY`; a parameter that had no gradient has none.

    Raises ValueError or LookupError if no optimizer of these parameters can have had this state.
    """
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        number, key = name.split(".", 1)
        state.setdefault(int(number), {})[key] = tensor
    for index, own in state.items():
        shape = parameters[index].shape
        shapes = {"step": torch.Size(), "exp_avg": shape, "exp_avg_sq": shape}
        if {key: tensor.shape for key, tensor in own.items()} != shapes:
            raise ValueError(f"the state of parameter {index} has other names or shapes")
        if not all(tensor.is_floating_point() for tensor in own.values()):
            raise ValueError(f"the state of parameter {index} is not of real numbers")
        if own["step"] < 1 or (own["exp_avg_sq"] < 0).any():
            raise ValueError(f"the state of parameter {index} has negative numbers")
    return state


def _shapes(tensors: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in tensors.items()}


def _check_fit(shapes: Mapping[str, Sequence[int]], found: Mapping[str, Sequence[int]], source: str) -> None:
    odd = sorted(shapes.keys() ^ found.keys()) or [name for name in shapes if shapes[name] != found[name]]
    if odd:
        raise SpeechVQError(f"{source}: the weights do not fit the configuration, first at '{odd[0][:100]}'")


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

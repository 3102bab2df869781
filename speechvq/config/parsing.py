"""Read configurations from TOML or JSON; wrong keys and numbers are refused by name."""

import dataclasses
import difflib
import tomllib
import types
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from speechvq import SpeechVQError
from speechvq.config import RUNS, CodecRun, Run
from speechvq.config.guarded import check_value, read_toml

D = TypeVar("D")

MAX_ITEMS = 256  # of a list in a configuration
SHOWN = 60  # characters of a wrong key or value that an error repeats


def load_config(path: Path, overrides: Sequence[str] = ()) -> Run:
    """Read a TOML file and apply overrides such as `train.steps=100`, with values in TOML's syntax.

    The tables in it decide the kind of run (`config.RUNS`).
    Raises SpeechVQError for a missing or malformed file, an unknown key (naming the nearest), a wrong type or an
    impossible number.
    """
    data = read_toml(path)
    for override in overrides:
        _override(data, override)
    check_value(data, "the configuration")
    return parse_run(data)


def parse_run(data: dict[str, Any]) -> Run:
    """Build the configuration of a run from nested dicts; a table of `RUNS` decides its class.

    Raises SpeechVQError as `load_config` does.
    """
    named = [RUNS[table] for table in RUNS if table in data]
    return parse(named[-1] if named else CodecRun, data)


def parse(cls: type[D], data: dict[str, Any], where: str = "") -> D:
    """Build a dataclass from nested dicts.

    where: its dotted name in error messages, with a dot at the end.
    Raises SpeechVQError as `load_config` does.
    """
    hints = get_type_hints(cls)
    for key in data:
        if key not in hints:
            near = difflib.get_close_matches(key[:SHOWN], hints, n=1, cutoff=0.0)[0]
            raise SpeechVQError(f"unknown configuration key '{where}{key[:SHOWN]}'; the nearest is '{where}{near}'")
    usual = {item.name: item.metadata for item in dataclasses.fields(cls)}  # type: ignore[arg-type]
    values = {}
    for key, value in data.items():
        whole = {**usual[key], **value} if isinstance(value, dict) else value
        values[key] = _convert(hints[key], whole, f"{where}{key}")
    result = cls(**values)
    _check(result, where)
    return result


def _override(data: dict[str, Any], text: str) -> None:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise SpeechVQError(f"an override is written key.name=value, not '{text}'")
    *tables, key = name.strip().split(".")
    for table in tables:
        data = data.setdefault(table, {})
        if not isinstance(data, dict):
            raise SpeechVQError(f"configuration key '{table}' in '{name}' is not a table")
    try:
        data[key] = tomllib.loads(f"value = {value}")["value"]
    except (ValueError, RecursionError):
        data[key] = value  # a bare word is a string


def _convert(hint: Any, value: Any, name: str) -> Any:
    origin, args = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return _convert_variant(args, value, name)
    if dataclasses.is_dataclass(hint):
        if not isinstance(value, dict):
            raise SpeechVQError(f"configuration key '{name}' is a table, not {_shown(value)}")
        return parse(hint, value, f"{name}.")  # type: ignore[arg-type]
    if origin is Literal:
        if value not in args:
            raise SpeechVQError(f"configuration key '{name}' is one of {', '.join(args)}; got {_shown(value)}")
        return value
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise SpeechVQError(f"configuration key '{name}' is a list, not {_shown(value)}")
        if len(value) > MAX_ITEMS:
            raise SpeechVQError(f"configuration key '{name}' is a list of at most {MAX_ITEMS}")
        if args[-1] is not Ellipsis and len(args) != len(value):
            raise SpeechVQError(f"configuration key '{name}' is a list of {len(args)}; got {_shown(value)}")
        return tuple(_convert(args[0], item, f"{name}[{i}]") for i, item in enumerate(value))
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if type(value) is not hint:
        raise SpeechVQError(f"configuration key '{name}' is of type {hint.__name__}; got {_shown(value)}")
    return value


def _convert_variant(variants: tuple[Any, ...], value: Any, name: str) -> Any:
    """Parse a table as the dataclass of its `kind`."""
    if not isinstance(value, dict):
        raise SpeechVQError(f"configuration key '{name}' is a table, not {_shown(value)}")
    by_kind = {kind: variant for variant in variants for kind in get_args(get_type_hints(variant)["kind"])}
    kind = value.get("kind")
    if not isinstance(kind, str) or kind not in by_kind:
        raise SpeechVQError(f"configuration key '{name}.kind' is one of {', '.join(by_kind)}; got {_shown(kind)}")
    return parse(by_kind[kind], value, f"{name}.")


# The lowest and highest value of a number, by its name, which means the same in every table.
_LIMITS: dict[str, tuple[float, float]] = {
    **dict.fromkeys(("channels", "dim", "upsample", "speaker_dim", "residual", "gate", "skip"), (1, 2**16)),
    **dict.fromkeys(("steps", "batch_size", "crop", "eval_every", "skips"), (1, 2**40)),
    "blocks": (0, 256),
    "cycles": (1, 256),
    "hop_length": (1, 2**16),
    **dict.fromkeys(("warmup", "workers", "minutes", "beta", "weight", "weight_decay", "penalty"), (0, 2**40)),
    **dict.fromkeys(("mel_weight", "transposed_weight", "speaker_weight"), (0, 2**40)),
    **dict.fromkeys(("decay", "restart", "average", "jitter", "corrupt"), (0, 0.999999)),
    "anyone": (0, 1),
    **dict.fromkeys(("gain", "filter"), (0, 60)),
    **dict.fromkeys(("noise", "voice"), (0, 12)),
    "shift": (0, 2**16),
    **dict.fromkeys(("learning_rate", "clip", "rate"), (1e-12, 1e12)),
    "eval_crops": (2, 2**40),
    **dict.fromkeys(("codes", "levels"), (2, 2**16)),
    "kernel": (2, 16),
    "layers": (1, 16),
    **dict.fromkeys(("ahead", "shifts"), (1, 64)),
    "seed": (0, 2**63 - 1),
    **dict.fromkeys(("pointwise", "outputs", "lookahead"), (0, 64)),
    **dict.fromkeys(("dilations", "span"), (1, 2**12)),
    "warm": (0, 2**12),
    **dict.fromkeys(("mean", "classes"), (0, 2**12)),
    **dict.fromkeys(("start", "unmasked", "smoothing"), (0, 1)),
    "stretch": (0, 0.5),
    "snr": (0, 100),
    "temperature": (1e-3, 1e3),
    "strides": (1, 64),
    **dict.fromkeys(("bands", "components"), (1, 16)),
}


def _check(config: Any, where: str) -> None:
    for name in dict.fromkeys([*(item.name for item in dataclasses.fields(config)), "hop_length"]):
        value = getattr(config, name, ())
        low, high = _LIMITS.get(name, (float("-inf"), float("inf")))
        for number in value if isinstance(value, tuple) else (value,):
            if isinstance(number, int | float) and not low <= number <= high:
                raise SpeechVQError(
                    f"configuration key '{where}{name}' is between {low:g} and {high:g}; got {_shown(number)}"
                )


def _shown(value: Any) -> str:
    """A value as an error repeats it."""
    text = repr(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."

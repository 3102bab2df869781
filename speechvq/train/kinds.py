"""The kinds of run that there are, in one table, and the function that trains any of them."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from speechvq import SpeechVQError
from speechvq.codec import Codec
from speechvq.config import Run
from speechvq.train.codec import assemble_codec
from speechvq.train.prior import assemble_prior
from speechvq.train.run import Training, check_run, run


@dataclass(frozen=True)
class Kind:
    """A kind of run.

    assemble: its parts, from the configuration and a prepared corpus, and a codec if it learns from one's codes.
    needs_codec: whether it does.
    """

    assemble: Callable[..., Training]
    needs_codec: bool = False


# By the `kind` of its configuration, which the TOML table named in `config.RUNS` decides.
KINDS: dict[str, Kind] = {
    "codec": Kind(assemble_codec),
    "prior": Kind(assemble_prior, needs_codec=True),
}


def train(
    config: Run, data: Path, out: Path, *, codec: Codec | None = None, resume: bool = False, force: bool = False
) -> dict[str, float]:
    """Train what is configured on the corpus prepared in `data`, into the folder `out` -> the last held-out figures.

    codec: the model whose codes a prior learns.
    Raises SpeechVQError if `out` holds another run and neither `resume` nor `force` is given, or if configuration,
    data, and models do not fit.
    """
    kind = KINDS[config.kind]
    if kind.needs_codec != (codec is not None):
        raise SpeechVQError("--model names the model whose codes a prior learns: it needs one, and nothing else does")
    check_run(out, resume, force)
    inputs: tuple[Any, ...] = (config, data) if codec is None else (config, data, codec)
    return run(kind.assemble(*inputs), out, resume=resume, force=force)

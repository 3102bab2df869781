"""All kinds of run in one table, and the function that trains any of them."""

from collections.abc import Callable
from pathlib import Path

from speechvq import SpeechVQError
from speechvq.codec import Codec
from speechvq.config import Run
from speechvq.text.labels import USUAL, LabelReading
from speechvq.train.codec import assemble_codec
from speechvq.train.encoder import assemble_encoder
from speechvq.train.prior import assemble_prior
from speechvq.train.run import Training, check_run, run

# By the `kind` of a configuration. Each takes the configuration, the folder of a prepared corpus and, if the
# configuration `needs_codec` or `needs_labels`, the `codec` whose codes or the `labels` whose phones are learned.
KINDS: dict[str, Callable[..., Training]] = {
    "codec": assemble_codec,
    "prior": assemble_prior,
    "encoder": assemble_encoder,
}


def train(
    config: Run,
    data: Path,
    out: Path,
    *,
    codec: Codec | None = None,
    targets: Path | None = None,
    labels: Path | None = None,
    reading: LabelReading = USUAL,
    resume: bool = False,
    force: bool = False,
) -> dict[str, float]:
    """Train a configuration on the corpus prepared in `data`, into the folder `out` -> the last held-out figures.

    A run that was ended early goes on if it began with the same configuration, weights and first batch.
    codec: the model whose codes are learned, by a prior or by masked prediction.
    targets: a file of `speechvq targets`, in place of a codec for masked prediction.
    labels: a folder of label files, whose phones an encoder or a codec learns, or an encoder is measured by.
    reading: how they are read.
    Raises SpeechVQError if `out` holds another run and neither `resume` nor `force` is given, or if configuration,
    data, and models do not fit.
    """
    of_codec = (codec is not None) + (targets is not None and config.kind == "encoder")
    if of_codec != config.needs_codec or (targets is not None and config.kind != "encoder"):
        raise SpeechVQError(
            "--model names the model whose codes are learned; a prior and masked prediction need one, "
            "masked prediction alone can have --targets instead, other runs take none"
        )
    of_labels = config.needs_labels or config.kind == "encoder"
    if (config.needs_labels and labels is None) or (labels is not None and not of_labels):
        raise SpeechVQError(
            "--labels names label files whose phones an encoder or a codec (model.content) learns, "
            "or an encoder is measured by"
        )
    if config.train.keep == "phone_accuracy" and (labels is None or config.kind != "encoder"):
        raise SpeechVQError("train.keep = 'phone_accuracy' is of an encoder's run with --labels")
    check_run(out, resume, force, config)
    parts = {"codec": codec, "targets": targets, "labels": labels, "reading": reading if labels else None}
    given = {name: part for name, part in parts.items() if part is not None}
    return run(KINDS[config.kind](config, data, **given), out, resume=resume, force=force)

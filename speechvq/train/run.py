"""The parts of a run, its folder and its training, the same for all kinds of run."""

import hashlib
import logging
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from speechvq import SpeechVQError
from speechvq.config import InitConfig, Run, TrainConfig
from speechvq.config.guarded import read_json
from speechvq.config.shapes import check_shape
from speechvq.data.manifest import read_treatment
from speechvq.files import only_run, save_json
from speechvq.folder.card import CONFIG, WEIGHTS, Card, file_of_no_model, load_card, model_folder, save_card
from speechvq.folder.histogram import HISTOGRAM
from speechvq.folder.provenance import provenance
from speechvq.folder.weights import fingerprint, load_tensors
from speechvq.nn.distributed import object_from_first
from speechvq.nn.trainable import Trainable, submodule
from speechvq.nn.vqvae import TRAINING_PARTS
from speechvq.train.loop import LAST, LOG, SKIPPED_STEPS, Batches, Trainer, processes

MADE = "made.json"
SPEAKERS = "decoder.speakers.weight"  # the embeddings in a model's weights
MAY_CHANGE = ("steps", "minutes", "eval_every", "eval_crops", "workers", "skips")

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Training:
    """The parts of a run.

    card: the description of the model, written into its folder.
    model: what is trained.
    data: item `step` is the batch of that step.
    held_out: gives the batches to measure on.
    how: the options of the loop.
    finish: is given the folder after training, and writes what else follows from the trained model.
    measure: gives further held-out figures of the model.
    """

    card: Card
    model: Trainable
    data: Batches[Any]
    held_out: Callable[[], Iterator[Any]]
    how: TrainConfig
    finish: Callable[[Path], None] = lambda out: None
    measure: Callable[[Any], dict[str, float]] = lambda model: {}


def run(training: Training, out: Path, *, resume: bool = False, force: bool = False) -> dict[str, float]:
    """Train into the folder `out` -> the last held-out figures. A run that was ended early goes on.

    Raises SpeechVQError if `out` holds another run and neither `resume` nor `force` is given, if a run is at work in
    it, or if nothing can be measured.
    """
    next(training.held_out())  # refused before anything is written
    is_first = processes()[0] == 0
    with only_run(out) if is_first else nullcontext():
        if is_first:
            resume = open_run(out, training.card, resume, force, _beginning(training))
        resume = object_from_first(resume)
        parts = training.model, training.data, training.held_out, training.how, out
        figures = Trainer(*parts, training.measure).run(resume)
        if is_first:
            training.finish(out)
    return figures


def _beginning(training: Training) -> str:
    """16 hex digits that name what a run begins with: its card, its weights and its first batch."""
    digest = hashlib.sha256(f"{training.card} {fingerprint(training.model)}".encode())
    for tensor in training.data[0]:
        digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()[:16]


def check_crop(config: TrainConfig, hop_length: int) -> None:
    """Raise SpeechVQError if a crop is not a whole number of codes."""
    if config.crop % hop_length:
        near = max(round(config.crop / hop_length), 1) * hop_length
        raise SpeechVQError(
            f"train.crop = {config.crop} is not a multiple of the hop length {hop_length} "
            f"(the encoder's strides); the nearest is {near}"
        )


def check_high_pass(folder: Path, card: Card, data: Path) -> float:
    """The high-pass of a model and of the prepared corpus that its parts are trained on further, in Hz.

    Raises SpeechVQError if they differ.
    """
    cutoff = read_treatment(data).high_pass
    if card.high_pass != cutoff:
        raise SpeechVQError(
            f"{folder}: a model of audio with a high-pass of {card.high_pass:g} Hz, but that of {data} is of "
            f"{cutoff:g} Hz; prepare it with --high-pass {card.high_pass:g}"
        )
    return cutoff


def taught(config: InitConfig) -> str:
    """What other than audio the model was trained with that a run takes parts from; empty for nothing."""
    return load_card(model_folder(config.path)).taught if config.path else ""


def initialize(model: Trainable, config: InitConfig, data: Path, speakers: tuple[str, ...] = ()) -> None:
    """Copy `config.parts` from another model folder and freeze `config.freeze`.

    data: the prepared corpus to train on.
    speakers: of the model, in the order of their embeddings. One whom the other model does not know begins with the
        mean of those whom it knows.
    Raises SpeechVQError if that folder's parts are of other shapes or of another high-pass, if embeddings are to be
    frozen some of which it does not have, or if nothing is left to train.
    """
    if config.path:
        folder = model_folder(config.path)
        card = load_card(folder)
        check_high_pass(folder, card, data)
        tensors, _ = load_tensors(folder / WEIGHTS)
        if speakers and SPEAKERS in tensors:
            unknown = sorted({*speakers} - {*card.speakers})
            if unknown and {"decoder", "decoder.speakers"} & {*config.freeze}:
                raise SpeechVQError(f"{folder} has no speaker {unknown[0]}, whose embedding is frozen (init.freeze)")
            table = tensors[SPEAKERS].float()
            rows = {name: table[i] for i, name in enumerate(card.speakers)}
            tensors[SPEAKERS] = torch.stack([rows.get(name, table.mean(0)) for name in speakers])
        for part in config.parts:
            chosen, own = (_of_part(part, named) for named in (tensors, model.state_dict()))
            odd = sorted(own.keys() ^ chosen.keys()) or [key for key in own if own[key].shape != chosen[key].shape]
            if odd:
                raise SpeechVQError(
                    f"{folder}: its '{part}' is not as configured here, first at '{odd[0]}' (init.parts)"
                )
            submodule(model, part).load_state_dict(chosen, strict=False)
    elif config.freeze:
        raise SpeechVQError("init.freeze without init.path would freeze untrained parts")
    model.freeze(config.freeze)
    if not all(any(p.requires_grad for p in model.parameters_of(turn)) for turn in model.turns):
        raise SpeechVQError("nothing is left to train: all parts are frozen (init.freeze)")


def _of_part(part: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Those of a part, by the rest of their names, without what within it only losses of training need."""
    start = f"{part}."
    left_out = tuple(name for name in TRAINING_PARTS if not start.startswith(name))
    chosen = {key: value for key, value in tensors.items() if key.startswith(start) and not key.startswith(left_out)}
    return {key.removeprefix(start): value for key, value in chosen.items()}


def check_run(out: Path, resume: bool, force: bool, config: Run | None = None) -> None:
    """Raise SpeechVQError if there is nothing to resume in `out`, or if it holds a run that must not be overwritten.

    config: of a run that goes on if it is the one in `out`; `open_run` compares the rest.
    """
    if resume and not (out / LAST).is_file():
        raise SpeechVQError(f"{out}: nothing to resume, {LAST} is missing; leave out --resume")
    if not resume and not force and not _holds_run(out):
        other = file_of_no_model(out, (CONFIG, LOG, SKIPPED_STEPS, HISTOGRAM, MADE))
        if other:
            raise SpeechVQError(f"{other} is of no run; --force overwrites it")
    if resume or force or not _holds_run(out):
        return
    if config is None:
        raise SpeechVQError(f"{out} holds a run; --force overwrites it, and a training goes on with --resume")
    if load_card(out).config != config:
        raise _holds_another(out)


def _holds_run(out: Path) -> bool:
    return any((out / name).exists() for name in (LAST, WEIGHTS))


def _holds_another(out: Path) -> SpeechVQError:
    return SpeechVQError(
        f"{out} holds another run; --force overwrites it; it goes on with --resume, or with the command that began it"
    )


def _fixed(card: Card) -> dict[str, object]:
    """The settings that must not change when training is resumed."""
    parts = {key: value for key, value in asdict(card).items() if key not in ("config", "speaker_info")}
    config = {key: value for key, value in asdict(card.config).items() if key != "init"}
    train = {key: value for key, value in config.pop("train").items() if key not in MAY_CHANGE}
    return {**parts, **config, **train}


def open_run(out: Path, card: Card, resume: bool, force: bool, beginning: str = "") -> bool:
    """Make the run folder and remove another run's files from it, or check the run that is to be resumed.

    beginning: names what the run begins with. The same run in the folder goes on.
    Returns whether it goes on from its last state. Raises SpeechVQError if the run to resume is of another
    configuration, or as `check_run` does.
    """
    check_run(out, resume, force, card.config if beginning else None)
    if resume and _fixed(load_card(out)) != _fixed(card):
        raise SpeechVQError(
            f"{out}: cannot resume, because model, speakers or training differ from the run's own; "
            f"only train.{', train.'.join(MAY_CHANGE)} may change"
        )
    if not (resume or force) and _holds_run(out):
        if [start.get("beginning") for start in _starts(out)[-1:]] != [beginning]:
            raise _holds_another(out)
        resume = (out / LAST).is_file()  # killed before: from the start
        log.warning("%s: the run that this command began goes on", out)
    if not resume:
        files = (LAST, LOG, SKIPPED_STEPS, WEIGHTS, HISTOGRAM, MADE)
        for path in [*out.glob("events.out.tfevents.*"), *(out / name for name in files)]:
            path.unlink(missing_ok=True)
    save_card(out, card)
    save_json(out / MADE, [*_starts(out), provenance() | {"beginning": beginning}])
    return resume


def _starts(out: Path) -> list[dict[str, str]]:
    """The command, versions and machine of each start of a run, and what it began with, from RUN/made.json.

    Raises SpeechVQError if that is damaged.
    """
    path = out / MADE
    try:
        starts: list[dict[str, str]] = read_json(path) if path.is_file() else []
        check_shape(starts, [dict], str(path))
    except SpeechVQError as error:
        raise SpeechVQError(f"{error}; remove it to go on without a record of earlier starts") from None
    return starts

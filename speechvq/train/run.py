"""One assembly for all trainings: the parts of a run, its folder, and the loop."""

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch.utils.data import Dataset

from speechvq import SpeechVQError
from speechvq.config import TrainConfig
from speechvq.files import save_json
from speechvq.folder.card import WEIGHTS, Card, load_card, save_card
from speechvq.folder.histogram import HISTOGRAM
from speechvq.folder.provenance import provenance
from speechvq.nn.trainable import Trainable
from speechvq.train.loop import LAST, LOG, Trainer, processes

MADE = "made.json"
MAY_CHANGE = ("steps", "minutes", "eval_every", "eval_crops", "workers")


@dataclass(frozen=True)
class Training:
    """The parts of a run.

    card: what its folder will say of it.
    model: what is trained.
    data: item `step` is the batch of that step.
    held_out: gives the batches to measure on.
    how: the options of the loop.
    finish: writes into the folder what else follows from the trained model.
    """

    card: Card
    model: Trainable
    data: Dataset[Any]
    held_out: Callable[[], Iterator[Any]]
    how: TrainConfig
    finish: Callable[[Path], None] = lambda out: None


def run(training: Training, out: Path, *, resume: bool = False, force: bool = False) -> dict[str, float]:
    """Train into the folder `out` -> the last held-out figures.

    Raises SpeechVQError if `out` holds another run and neither `resume` nor `force` is given, or if nothing can be
    measured.
    """
    next(training.held_out())  # refused before anything is written
    first = processes()[0] == 0
    if first:
        open_run(out, training.card, resume, force)
    figures = Trainer(training.model, training.data, training.held_out, training.how, out).run(resume)
    if first:
        training.finish(out)
    return figures


def check_run(out: Path, resume: bool, force: bool) -> None:
    """Raise SpeechVQError if there is nothing to resume in `out`, or if it holds a run that is not to be touched."""
    if resume and not (out / LAST).is_file():
        raise SpeechVQError(f"{out}: nothing to resume, {LAST} is missing")
    if not (resume or force) and any((out / name).exists() for name in (LAST, WEIGHTS)):
        raise SpeechVQError(f"{out} holds a run; --resume goes on with it, --force starts over")


def _lasting(card: Card) -> dict[str, object]:
    """What must not change when training is resumed."""
    parts = {key: value for key, value in asdict(card).items() if key not in ("config", "speaker_info")}
    config = {key: value for key, value in asdict(card.config).items() if key != "init"}
    train = {key: value for key, value in config.pop("train").items() if key not in MAY_CHANGE}
    return {**parts, **config, **train}


def open_run(out: Path, card: Card, resume: bool, force: bool) -> None:
    """Make the run folder, empty of another run's files, or check that the one to resume is of this configuration."""
    check_run(out, resume, force)
    if resume and _lasting(load_card(out)) != _lasting(card):
        raise SpeechVQError(
            f"{out}: cannot resume, model, speakers or training differ from its own; "
            f"only train.{', train.'.join(MAY_CHANGE)} may change"
        )
    if not resume:
        files = (LAST, LOG, WEIGHTS, HISTOGRAM, MADE)
        for path in [*out.glob("events.out.tfevents.*"), *(out / name for name in files)]:
            path.unlink(missing_ok=True)
    save_card(out, card)
    _note(out)


def _note(out: Path) -> None:
    """Add to RUN/made.json how this part of the training was started."""
    path = out / MADE
    before = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []
    save_json(path, [*before, provenance()])

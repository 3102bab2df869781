"""A run folder: opened, resumed, or refused."""

import json
from dataclasses import asdict
from pathlib import Path

from speechvq import SpeechVQError
from speechvq.files import save_json
from speechvq.folder.card import WEIGHTS, Card, load_card, save_card
from speechvq.folder.histogram import HISTOGRAM
from speechvq.folder.provenance import made_by
from speechvq.train.loop import LAST, LOG

MADE = "made.json"
MAY_CHANGE = ("steps", "minutes", "eval_every", "eval_crops", "workers")


def _lasting(card: Card) -> dict[str, object]:
    """What must not change when training is resumed."""
    parts = {key: value for key, value in asdict(card).items() if key not in ("config", "speaker_info")}
    config = {key: value for key, value in asdict(card.config).items() if key != "init"}
    train = {key: value for key, value in config.pop("train").items() if key not in MAY_CHANGE}
    return {**parts, **config, **train}


def open_run(out: Path, card: Card, resume: bool, force: bool) -> None:
    """Make the run folder, empty of another run's files."""
    if resume:
        if not (out / LAST).is_file():
            raise SpeechVQError(f"{out}: nothing to resume, {LAST} is missing")
        old = load_card(out)
        if _lasting(old) != _lasting(card):
            raise SpeechVQError(
                f"{out}: cannot resume, model, speakers or training differ from its own; "
                f"only train.{', train.'.join(MAY_CHANGE)} may change"
            )
        save_card(out, card)
        _note(out)
        return
    if any((out / name).exists() for name in (LAST, WEIGHTS)) and not force:
        raise SpeechVQError(f"{out} holds a run; --resume goes on with it, --force starts over")
    for path in [*out.glob("events.out.tfevents.*"), *(out / name for name in (LAST, LOG, WEIGHTS, HISTOGRAM, MADE))]:
        path.unlink(missing_ok=True)
    save_card(out, card)
    _note(out)


def _note(out: Path) -> None:
    """Add to RUN/made.json how training was begun, or gone on with."""
    path = out / MADE
    before = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []
    save_json(path, [*before, made_by()])

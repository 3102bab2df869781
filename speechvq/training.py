"""From a configuration and a prepared corpus to a run of the trainer."""

import json
from dataclasses import asdict
from functools import partial
from pathlib import Path

import numpy as np
import torch

from speechvq import SpeechVQError
from speechvq.checkpoint import WEIGHTS, Card, load_card, load_tensors, load_weights, made_by, save_card, save_json
from speechvq.coders import HISTOGRAM, save_histogram
from speechvq.config import Config, InitConfig, TrainConfig
from speechvq.corpus import read_manifest, read_speakers
from speechvq.dataset import Crops, held_out_batches
from speechvq.model import VQVAE, build, submodule
from speechvq.trainer import LAST, LOG, Trainer, processes

COUNTED = 100  # batches
MADE = "made.json"
MAY_CHANGE = ("steps", "minutes", "eval_every", "eval_crops", "workers")


def train(config: Config, data: Path, out: Path, *, resume: bool = False, force: bool = False) -> dict[str, float]:
    """Train the configured model on the corpus prepared in `data` -> the last held-out figures.

    The run folder `out` becomes a model folder. SpeechVQError where it holds another run and neither `resume` nor
    `force` is given, or where configuration, data and initial model do not fit.
    """
    utterances = read_manifest(data)
    speakers = sorted({u.speaker for u in utterances if u.split == "train"})
    card = Card(config, tuple(speakers), {key: value for key, value in read_speakers(data).items() if key in speakers})
    torch.manual_seed(config.train.seed)
    model = build(config.model, len(speakers))
    check_crop(config.train, model.hop_length)
    initialize(model, config.init, card.speakers)
    rank, count = processes()
    crops = Crops(
        data,
        [u for u in utterances if u.split == "train"],
        speakers,
        crop=config.train.crop,
        batch_size=config.train.batch_size,
        seed=config.train.seed,
        steps=config.train.steps,
        shard=(rank, count),
    )
    valid = [u for u in utterances if u.split == "valid"]
    held_out = partial(held_out_batches, data, valid, speakers, config.train.crop, config.train.eval_crops)
    next(held_out())  # what cannot be measured is refused before anything is written
    if rank == 0:
        open_run(out, card, resume, force)
    figures = Trainer(model, crops, held_out, config.train, out).run(resume)
    if rank == 0 and model.bottleneck.codes:
        load_weights(model, out / WEIGHTS)
        save_histogram(out, count_codes(model.eval(), crops))
    return figures


@torch.inference_mode()
def count_codes(model: VQVAE, crops: Crops) -> np.ndarray:
    """How often each code occurs in the first hundred batches: (K,) int64."""
    counts = torch.zeros(model.bottleneck.codes, dtype=torch.int64)
    for step in range(min(len(crops), COUNTED)):
        wav = crops[step].wav.to(next(model.parameters()).device)
        counts += torch.bincount(model.encode(wav).flatten().cpu(), minlength=len(counts))
    return counts.numpy()


def check_crop(config: TrainConfig, hop_length: int) -> None:
    """SpeechVQError where a crop is not a whole number of codes."""
    if config.crop % hop_length:
        near = max(round(config.crop / hop_length), 1) * hop_length
        raise SpeechVQError(
            f"train.crop = {config.crop} is not a multiple of the hop length {hop_length} "
            f"(model.encoder.strides); the nearest is {near}"
        )


def initialize(model: VQVAE, config: InitConfig, speakers: tuple[str, ...]) -> None:
    """Take `config.parts` from another model folder and freeze `config.freeze`."""
    if config.path:
        folder = Path(config.path)
        if load_card(folder).speakers != speakers and any(part.startswith("decoder") for part in config.parts):
            raise SpeechVQError(f"{folder}: a model of other speakers cannot give its decoder's parts (init.parts)")
        tensors, _ = load_tensors(folder / WEIGHTS)
        for part in config.parts:
            chosen = {
                key.removeprefix(f"{part}."): value for key, value in tensors.items() if key.startswith(f"{part}.")
            }
            own = submodule(model, part).state_dict()
            if own.keys() != chosen.keys() or any(own[key].shape != chosen[key].shape for key in own):
                raise SpeechVQError(f"{folder}: its '{part}' has other shapes than this configuration's")
            submodule(model, part).load_state_dict(chosen)
    elif config.freeze:
        raise SpeechVQError("init.freeze without init.path would freeze untrained parts")
    model.freeze(config.freeze)


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

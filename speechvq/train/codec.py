"""The run of a codec: its model, started from another one if asked, and crops of a prepared corpus."""

from functools import partial
from pathlib import Path

import numpy as np
import torch

from speechvq import SpeechVQError
from speechvq.config import CodecRun, InitConfig, TrainConfig
from speechvq.data.manifest import read_manifest, read_speakers
from speechvq.folder.card import WEIGHTS, Card, load_card
from speechvq.folder.histogram import save_histogram
from speechvq.folder.weights import load_tensors, load_weights
from speechvq.nn.trainable import Trainable, submodule
from speechvq.nn.vqvae import VQVAE, build
from speechvq.train.batches import Crops, held_out_batches
from speechvq.train.loop import processes
from speechvq.train.run import Training

COUNTED = 100  # batches


def assemble_codec(config: CodecRun, data: Path) -> Training:
    """The run of a codec on the corpus prepared in `data`.

    Raises SpeechVQError if configuration, data and initial model do not fit.
    """
    utterances = read_manifest(data)
    train = [u for u in utterances if u.split == "train"]
    speakers = tuple(sorted({u.speaker for u in train}))
    info = {key: value for key, value in read_speakers(data).items() if key in speakers}
    torch.manual_seed(config.train.seed)
    model = build(config.model, len(speakers))
    check_crop(config.train, model.hop_length)
    initialize(model, config.init, speakers)
    how = config.train
    crops = Crops(
        data,
        train,
        speakers,
        crop=how.crop,
        batch_size=how.batch_size,
        seed=how.seed,
        steps=how.steps,
        shard=processes(),
    )
    valid = [u for u in utterances if u.split == "valid"]
    held_out = partial(held_out_batches, data, valid, speakers, how.crop, how.eval_crops)

    def finish(out: Path) -> None:
        if model.bottleneck.codes:
            load_weights(model, out / WEIGHTS)
            save_histogram(out, count_codes(model.eval(), crops))

    return Training(Card(config, speakers, info), model, crops, held_out, how, finish)


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


def initialize(model: Trainable, config: InitConfig, speakers: tuple[str, ...] = ()) -> None:
    """Copy `config.parts` from another model folder and freeze `config.freeze`.

    Raises SpeechVQError if that folder's parts are of other shapes, or of other speakers.
    """
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

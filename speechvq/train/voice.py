"""A new voice for a trained model: one more speaker embedding, learned from a minute of speech, all else as it was."""

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch

from speechvq import SpeechVQError
from speechvq.audio import AUDIO_SUFFIXES
from speechvq.codec import Codec
from speechvq.config import CodecRun, TrainConfig
from speechvq.data.corpora.contract import Source
from speechvq.data.manifest import Split, Utterance, rank_key, read_manifest
from speechvq.data.prepare import Treatment, prepare
from speechvq.files import visible_files
from speechvq.folder.card import Card
from speechvq.folder.histogram import save_histogram
from speechvq.nn.vqvae import VQVAE, build
from speechvq.train.batches import Crops, held_out_batches
from speechvq.train.run import Training, run

HELD_OUT = 0.15  # of the speech: it tells which step was the best
EVALUATIONS = 6


def adapt(
    folder: Path, speaker: str, source: Path, out: Path, *, steps: int = 300, seed: int = 0, force: bool = False
) -> dict[str, float]:
    """Teach the model in `folder` the voice of the recordings below `source` -> the last held-out figures.

    `out` becomes a model folder with one more speaker, and the same codes and voices besides. SpeechVQError where the
    speaker is known already, or there is too little speech, or `out` holds a run and `force` is not given.
    """
    codec = Codec.load(folder)
    if speaker in codec.speakers:
        raise SpeechVQError(f"{folder} knows a speaker '{speaker}' already")
    assert isinstance(codec.card.config, CodecRun)
    speakers = (*codec.speakers, speaker)
    model = with_one_more(codec)
    with tempfile.TemporaryDirectory(prefix="speechvq-") as name:
        data = Path(name)
        learned, kept = _speech(source, speaker, data)
        train = _how(codec.card.config.train, steps, seed)
        crops = Crops(
            data, learned, speakers, crop=train.crop, batch_size=train.batch_size, seed=train.seed, steps=steps
        )
        held_out = partial(held_out_batches, data, kept, speakers, train.crop, train.eval_crops)
        try:
            next(held_out())
        except SpeechVQError:
            raise SpeechVQError(f"{source}: too little speech to learn a voice from; a minute is enough") from None

        def finish(out: Path) -> None:
            if codec.histogram is not None:
                save_histogram(out, codec.histogram)

        torch.manual_seed(seed)
        card = Card(codec.card.config, speakers, codec.card.speaker_info)
        return run(Training(card, model, crops, held_out, train, finish), out, force=force)


def with_one_more(codec: Codec) -> VQVAE:
    """The codec's model with a speaker more, at the mean of all others, which alone can be trained."""
    assert isinstance(codec.card.config, CodecRun)
    model = build(codec.card.config.model, len(codec.speakers) + 1)
    state = codec.model.state_dict()
    table = state["decoder.speakers.weight"]
    model.load_state_dict(state | {"decoder.speakers.weight": torch.cat([table, table.mean(0, keepdim=True)])})
    parts = [name for name, _ in model.named_children() if name != "decoder"]
    model.freeze([*parts, *(f"decoder.{name}" for name, _ in model.voice.named_children() if name != "speakers")])
    alone = torch.zeros(len(table) + 1, 1)
    alone[-1] = 1
    model.voice.speakers.weight.register_hook(lambda gradient: gradient * alone.to(gradient.device))
    return model


def _speech(source: Path, speaker: str, data: Path) -> tuple[list[Utterance], list[Utterance]]:
    """The recordings below a folder, prepared: those to learn from, and those to measure on."""
    sources = [Source(f"{i:05}", speaker, path) for i, path in enumerate(visible_files(source, AUDIO_SUFFIXES))]
    if not sources:
        raise SpeechVQError(f"{source}: no recordings here")
    prepare(sources, data, Treatment(), Split(valid=0, test=0, unseen=0), speakers={})
    return _divide(read_manifest(data))


def _divide(utterances: Sequence[Utterance]) -> tuple[list[Utterance], list[Utterance]]:
    """By a hash of their ids, a share of the speech and at least one utterance to measure on."""
    ordered = sorted(utterances, key=lambda u: rank_key(u.id))
    whole, samples, count = sum(u.samples for u in ordered), 0, 0
    while count < len(ordered) - 1 and samples < HELD_OUT * whole:
        samples += ordered[count].samples
        count += 1
    return ordered[count:], ordered[:count]


def _how(train: TrainConfig, steps: int, seed: int) -> TrainConfig:
    """As the model itself was trained, but for what a few numbers need: few steps, and large ones."""
    every = max(steps // EVALUATIONS, 1)
    return replace(
        train, steps=steps, minutes=0.0, seed=seed, learning_rate=0.02, warmup=10, average=0.0, eval_every=every
    )

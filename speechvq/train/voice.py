"""Add a speaker to a trained codec: one more speaker embedding is learned, and nothing else changes."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch

from speechvq import SpeechVQError
from speechvq.audio import AUDIO_SUFFIXES, SAMPLE_RATE
from speechvq.codec import Codec
from speechvq.config import CodecRun, TrainConfig
from speechvq.config.shapes import as_path
from speechvq.data.corpora.contract import Source
from speechvq.data.manifest import Split, Treatment, Utterance, rank_key, read_manifest
from speechvq.data.prepare import prepare
from speechvq.files import temporary_folder, visible_files
from speechvq.folder.histogram import save_histogram
from speechvq.folder.readme import derived_readme, save_readme
from speechvq.nn.vqvae import VQVAE, build
from speechvq.train.batches import Crops, held_out_batches
from speechvq.train.run import Training, run

log = logging.getLogger(__name__)

ADAPTED = """# {name} with the voice {speaker}

One more voice, `{speaker}`, learned by `speechvq adapt` from {minutes} minutes of recordings, in {steps} steps, seed
{seed}. Codes and the other voices are those of `{name}`, and so are its licence and what it was trained on; the
recordings of `{speaker}` come under the terms of whoever made them. Nothing has been measured of this voice but the
losses that `speechvq info` prints.
"""
HELD_OUT = 0.15  # of the speech, to find the best step
EVALUATIONS = 6


def adapt(
    folder: Path, speaker: str, source: Path, out: Path, *, steps: int = 300, seed: int = 0, force: bool = False
) -> dict[str, float]:
    """Add a speaker to the codec in `folder`, from the recordings below `source` -> the last held-out figures.

    `out` becomes a model folder with one more speaker, and the same codes and other voices.
    Raises SpeechVQError if the model has no decoder, or the speaker already, if the name is empty or has control
    characters, if there is too little speech, or if `out` holds another run and `force` is not given.
    """
    codec, source = Codec.load(folder), as_path(source, "a folder of recordings")
    if not speaker.strip() or not speaker.isprintable():
        raise SpeechVQError(f"a voice needs a name without control characters, not {speaker!a} (--speaker)")
    if not source.is_dir():
        raise SpeechVQError(f"{source}: {'not a folder' if source.exists() else 'no such folder'}")
    if speaker in codec.speakers:
        raise SpeechVQError(f"{folder} has a speaker '{speaker}' already")
    assert isinstance(codec.card.config, CodecRun)
    speakers = (*codec.speakers, speaker)
    model = with_new_speaker(codec)
    with temporary_folder() as data:
        train, valid = _prepared(source, speaker, data, codec.high_pass)
        how = _few_steps(codec.card.config.train, steps, seed)
        crops = Crops(data, train, speakers, how)
        held_out = partial(held_out_batches, data, valid, speakers, how.crop, how.eval_crops)
        try:
            next(held_out())
        except SpeechVQError:
            raise SpeechVQError(f"{source}: too little speech to learn a speaker from; a minute is enough") from None

        def finish(out: Path) -> None:
            if codec.histogram is not None:
                save_histogram(out, codec.histogram)
            save_readme(out, derived_readme(codec.readme, text))

        torch.manual_seed(seed)
        minutes = f"{sum(u.samples for u in train) / SAMPLE_RATE / 60:.1f}"
        info = codec.card.speaker_info | {speaker: {"minutes": minutes}}
        config = replace(codec.card.config, model=codec.card.config.model.trained)
        card = replace(codec.card, config=config, speakers=speakers, speaker_info=info)
        text = ADAPTED.format(speaker=speaker, name=folder.resolve().name, minutes=minutes, steps=steps, seed=seed)
        return run(Training(card, model, crops, held_out, how, finish), out, force=force)


def with_new_speaker(codec: Codec) -> VQVAE:
    """The codec's model with one more speaker embedding, the mean of the others; only this one can be trained.

    Raises SpeechVQError if the model has no decoder.
    """
    assert isinstance(codec.card.config, CodecRun)
    model = build(codec.card.config.model.trained, len(codec.speakers) + 1)
    own = model.state_dict().keys()
    decoder, state = model.speech_decoder, {key: value for key, value in codec.model.state_dict().items() if key in own}
    table = state["decoder.speakers.weight"]
    model.load_state_dict(state | {"decoder.speakers.weight": torch.cat([table, table.mean(0, keepdim=True)])})
    parts = [name for name, _ in model.named_children() if name != "decoder"]
    model.freeze([*parts, *(f"decoder.{name}" for name, _ in decoder.named_children() if name != "speakers")])
    is_new = torch.zeros(len(table) + 1, 1)
    is_new[-1] = 1
    decoder.speakers.weight.register_hook(lambda gradient: gradient * is_new.to(gradient.device))
    return model


def _prepared(source: Path, speaker: str, data: Path, high_pass: float) -> tuple[list[Utterance], list[Utterance]]:
    """Prepare the recordings below a folder -> the utterances to train on, and those to measure on.

    high_pass: of the model, in Hz.
    Raises SpeechVQError if there are none.
    """
    sources = [Source(f"{i:05}", speaker, path) for i, path in enumerate(visible_files(source, AUDIO_SUFFIXES))]
    if not sources:
        raise SpeechVQError(f"{source}: no recordings here")
    report = prepare(sources, data, Treatment(high_pass=high_pass), Split(valid=0, test=0, unseen=0), speakers={})
    for _, reason in report.skipped:
        log.warning("left out: %s", reason)
    return _divide(read_manifest(data))


def _divide(utterances: Sequence[Utterance]) -> tuple[list[Utterance], list[Utterance]]:
    """Divide by a hash of their ids -> utterances to train on, and at least one, `HELD_OUT` of them, to measure on."""
    ordered = sorted(utterances, key=lambda u: rank_key(u.id))
    whole, samples, count = sum(u.samples for u in ordered), 0, 0
    while count < len(ordered) - 1 and samples < HELD_OUT * whole:
        samples += ordered[count].samples
        count += 1
    return ordered[count:], ordered[:count]


def _few_steps(train: TrainConfig, steps: int, seed: int) -> TrainConfig:
    """The options of the model's own training, with few and large steps, which are enough for one embedding."""
    every = max(steps // EVALUATIONS, 1)
    return replace(
        train, steps=steps, minutes=0.0, seed=seed, learning_rate=0.02, warmup=10, average=0.0, eval_every=every
    )

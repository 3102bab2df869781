"""The run of an encoder without a decoder, on features of a prepared corpus."""

from functools import partial
from pathlib import Path

import numpy as np
import torch

from speechvq import SpeechVQError
from speechvq.audio import SAMPLE_RATE
from speechvq.codec import Codec
from speechvq.coding.corpus_codes import corpus_codes
from speechvq.config import EncoderRun
from speechvq.data.feature_store import FRAMES, FeatureStore, feature_store
from speechvq.data.manifest import read_treatment
from speechvq.data.utterance_labels import read_labelled
from speechvq.folder.card import Card
from speechvq.nn.objective.pretraining import build_pretraining
from speechvq.text.frames import frame_labels
from speechvq.text.phones import INVENTORY
from speechvq.train.batches import FeatureCrops, held_out_features
from speechvq.train.loop import processes
from speechvq.train.run import Training, check_crop, initialize, taught


def assemble_encoder(
    config: EncoderRun, data: Path, codec: Codec | None = None, labels: Path | None = None
) -> Training:
    """The run of an encoder on the corpus prepared in `data`, on all its speakers but the unseen ones.

    codec: the model whose codes are predicted, for objectives that predict codes.
    labels: a folder of label files, for objectives that predict phones.
    Raises SpeechVQError if configuration, data, codec, labels and initial model do not fit.
    """
    how, hop = config.train, config.encoder.hop_length
    check_crop(how, hop)
    torch.manual_seed(how.seed)
    model = build_pretraining(config, codec.alphabet.codes if codec else len(INVENTORY))
    initialize(model, config.init, data)
    shard = processes()
    store = feature_store(data)
    targets = None
    if codec is not None:
        targets = code_targets(codec, data, store, hop)
    elif labels is not None:
        targets = phone_targets(labels, data, store, hop)
    crops = FeatureCrops(store, "train", targets, how, shard)
    held_out = partial(held_out_features, store, "valid", targets, how.crop, how.eval_crops)
    alphabet = codec.alphabet if codec else None
    text = "phones of labels" if labels is not None else codec.card.taught if codec else ""
    cutoff = read_treatment(data).high_pass
    card = Card(config, (), alphabet=alphabet, high_pass=cutoff, taught=text or taught(config.init))
    return Training(card, model, crops, held_out, how)


def code_targets(codec: Codec, data: Path, store: FeatureStore, hop_length: int) -> np.ndarray:
    """The codec's codes of the whole store, one for every `hop_length` samples, (N,) int64.

    Raises SpeechVQError if the codec's codes are of another rate, or utterances do not begin with a whole code.
    """
    if codec.hop_length != hop_length:
        raise SpeechVQError(
            f"the model has a code every {codec.hop_length} samples, the encoder a latent every {hop_length} "
            "(encoder.strides)"
        )
    check_latents(store, hop_length)
    rows = corpus_codes(codec, data, store.utterances)
    counts = np.diff(store.starts) * store.hop_length // hop_length
    padded = [np.pad(row, (0, count - len(row)), mode="edge") for row, count in zip(rows, counts, strict=True)]
    return np.concatenate(padded)


def phone_targets(labels: Path, data: Path, store: FeatureStore, hop_length: int) -> np.ndarray:
    """The phone in the middle of every latent of the whole store, as its number in INVENTORY; -1 without a label, (N,).

    Raises SpeechVQError as `read_labelled` does, or if utterances do not begin with a whole latent.
    """
    check_latents(store, hop_length)
    known = {item.utterance.id: item.segments for item in read_labelled(data, labels)[0]}
    numbers = {phone: i for i, phone in enumerate(INVENTORY)}
    rows = []
    for utterance, frames in zip(store.utterances, np.diff(store.starts), strict=True):
        count = frames * store.hop_length // hop_length
        row = frame_labels(known.get(utterance.id, []), count, hop_length / SAMPLE_RATE)
        rows.append([numbers[phone] if phone else -1 for phone in row])
    return np.concatenate(rows)


def check_latents(store: FeatureStore, hop_length: int) -> None:
    """Raise SpeechVQError if utterances do not begin with a whole latent."""
    if FRAMES * store.hop_length % hop_length:
        raise SpeechVQError(
            f"encoder.strides: latents of {hop_length} samples do not divide {FRAMES} frames of features"
        )

"""The run of an encoder without a decoder, on features of a prepared corpus."""

import logging
from functools import partial
from pathlib import Path

import numpy as np
import torch

from speechvq import SpeechVQError
from speechvq.audio import SAMPLE_RATE
from speechvq.codec import Codec
from speechvq.coding.corpus_codes import corpus_codes
from speechvq.config import EncoderRun
from speechvq.data.feature_store import FeatureStore, feature_store
from speechvq.data.manifest import read_treatment
from speechvq.data.utterance_labels import read_labelled
from speechvq.folder.card import Card
from speechvq.nn.objective.pretraining import build_pretraining
from speechvq.text.frames import frame_labels
from speechvq.text.labels import USUAL, LabelReading
from speechvq.text.phones import INVENTORY
from speechvq.train.batches import FeatureCrops, held_out_features
from speechvq.train.loop import processes
from speechvq.train.run import Training, check_crop, initialize, taught
from speechvq.train.targets import read_targets

log = logging.getLogger(__name__)


def assemble_encoder(
    config: EncoderRun,
    data: Path,
    codec: Codec | None = None,
    labels: Path | None = None,
    targets: Path | None = None,
    reading: LabelReading = USUAL,
) -> Training:
    """The run of an encoder on the corpus prepared in `data`, on all its speakers but the unseen ones.

    codec: the model whose codes are predicted, for objectives that predict codes.
    targets: a file of `speechvq targets` that is predicted in place of a codec's codes.
    labels: a folder of label files, for objectives that predict phones.
    reading: how label files are read.
    Raises SpeechVQError if configuration, data, codec, targets, labels and initial model do not fit.
    """
    how, hop = config.train, config.encoder.hop_length
    check_crop(how, hop)
    torch.manual_seed(how.seed)
    store, teacher, classes, rows = feature_store(data), "", 0, None
    if codec is not None:
        teacher, classes = codec.card.taught, codec.alphabet.codes
        rows = code_targets(codec, data, store, hop)
    elif targets is not None:
        saved = read_targets(targets, data, store, hop)
        teacher, classes, rows = saved.taught, saved.classes, saved.numbers
    elif labels is not None:
        teacher, classes = "phones of labels", len(INVENTORY)
        rows = phone_targets(labels, data, store, hop, reading)
    model = build_pretraining(config, classes)
    initialize(model, config.init, data)
    crops = FeatureCrops(store, "train", rows, how, processes())
    held_out = partial(held_out_features, store, "valid", rows, how.crop, how.eval_crops)
    card = Card(
        config,
        (),
        alphabet=codec.alphabet if codec else None,
        high_pass=read_treatment(data).high_pass,
        taught=teacher or taught(config.init),
    )
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
    store.check_hop(hop_length)
    rows = corpus_codes(codec, data, store.utterances)
    counts = np.diff(store.starts) * store.hop_length // hop_length
    padded = [np.pad(row, (0, count - len(row)), mode="edge") for row, count in zip(rows, counts, strict=True)]
    return np.concatenate(padded)


def phone_targets(
    labels: Path, data: Path, store: FeatureStore, hop_length: int, reading: LabelReading = USUAL
) -> np.ndarray:
    """The phone in the middle of every latent of the whole store, as its number in INVENTORY; -1 without a label, (N,).

    Raises SpeechVQError as `read_labelled` does, or if utterances do not begin with a whole latent.
    """
    store.check_hop(hop_length)
    found = read_labelled(data, labels, reading)
    for name, reason in found.left_out:
        log.warning("labels of %s left out: %s", name, reason)
    known = {item.utterance.id: item.segments for item in found.labelled}
    numbers = {phone: i for i, phone in enumerate(INVENTORY)}
    rows = []
    for utterance, frames in zip(store.utterances, np.diff(store.starts), strict=True):
        count = frames * store.hop_length // hop_length
        row = frame_labels(known.get(utterance.id, []), count, hop_length / SAMPLE_RATE)
        rows.append([numbers[phone] if phone else -1 for phone in row])
    return np.concatenate(rows)

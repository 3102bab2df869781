"""The run of an encoder without a decoder, on features of a prepared corpus."""

from functools import partial
from pathlib import Path

import numpy as np
import torch

from speechvq import SpeechVQError
from speechvq.codec import Codec
from speechvq.coding.corpus_codes import corpus_codes
from speechvq.config import EncoderRun
from speechvq.data.feature_store import FRAMES, FeatureStore, feature_store
from speechvq.data.manifest import read_treatment
from speechvq.folder.card import Card
from speechvq.nn.objective.pretraining import build_pretraining
from speechvq.train.batches import FeatureCrops, held_out_features
from speechvq.train.loop import processes
from speechvq.train.run import Training, check_crop, initialize


def assemble_encoder(config: EncoderRun, data: Path, codec: Codec | None = None) -> Training:
    """The run of an encoder on the corpus prepared in `data`, on all its speakers but the unseen ones.

    codec: the model whose codes are predicted, for objectives that predict codes.
    Raises SpeechVQError if configuration, data, codec and initial model do not fit.
    """
    how, hop = config.train, config.encoder.hop_length
    check_crop(how, hop)
    torch.manual_seed(how.seed)
    model = build_pretraining(config, codec.alphabet.codes if codec else 0)
    initialize(model, config.init, data)
    shard = processes()
    store = feature_store(data)
    targets = None if codec is None else code_targets(codec, data, store, hop)
    crops = FeatureCrops(store, "train", targets, how, shard)
    held_out = partial(held_out_features, store, "valid", targets, how.crop, how.eval_crops)
    alphabet = codec.alphabet if codec else None
    card = Card(config, (), alphabet=alphabet, high_pass=read_treatment(data).high_pass)
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
    if FRAMES * store.hop_length % hop_length:
        raise SpeechVQError(
            f"encoder.strides: latents of {hop_length} samples do not divide {FRAMES} frames of features"
        )
    rows = corpus_codes(codec, data, store.utterances)
    counts = np.diff(store.starts) * store.hop_length // hop_length
    padded = [np.pad(row, (0, count - len(row)), mode="edge") for row, count in zip(rows, counts, strict=True)]
    return np.concatenate(padded)

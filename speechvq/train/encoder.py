"""The run of an encoder without a decoder, on features of a prepared corpus."""

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from speechvq import SpeechVQError
from speechvq.codec import Codec
from speechvq.coding.corpus_codes import corpus_codes
from speechvq.config import EncoderRun
from speechvq.data.feature_store import FeatureStore, feature_store
from speechvq.data.manifest import rank_key, read_treatment
from speechvq.folder.card import Card
from speechvq.nn.encoder.causal import CausalEncoder
from speechvq.nn.kmeans import assign, kmeans
from speechvq.nn.objective.pretraining import Pretraining, build_pretraining
from speechvq.text.labels import USUAL, LabelReading
from speechvq.text.phones import INVENTORY, SILENCE
from speechvq.train.batches import FeatureCrops, held_out_features
from speechvq.train.codebook import joined_layers
from speechvq.train.labels import TAUGHT_BY_LABELS, PhoneLabels, require_labels
from speechvq.train.loop import processes
from speechvq.train.run import Training, check_crop, initialize, taught
from speechvq.train.targets import read_targets

QUICK_CODES = 128  # clusters of the phone accuracy while training
QUICK_FRAMES = 4_000  # that are clustered, and as many that are scored


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
    labels: a folder of label files, for objectives that predict phones; the phone accuracy is measured by them.
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
    phones = phone_targets(labels, data, store, hop, reading) if labels is not None else None
    if config.needs_labels and labels is not None and phones is not None:
        known = np.maximum.reduceat(phones, store.starts[:-1] * store.hop_length // hop) >= 0
        require_labels(labels, zip((u.split for u in store.utterances), known.tolist(), strict=True))
        teacher, classes, rows = TAUGHT_BY_LABELS, len(INVENTORY), phones
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
    training = Training(card, model, crops, held_out, how)
    if phones is None or (config.needs_labels and how.keep == "loss"):  # whose objective has an accuracy of its own
        return training
    halves = measured_halves(store, phones, hop)
    return replace(training, measure=partial(quick_phone_accuracy, store=store, halves=halves))


Labelled = list[tuple[int, np.ndarray]]  # numbers of utterances, and the phones of their latents (N,), -1 for none


def measured_halves(store: FeatureStore, phones: np.ndarray, hop_length: int) -> tuple[Labelled, Labelled]:
    """The utterances of the split `valid`, every other one apart, in an order that mixes the speakers.

    phones: of every latent of the store, as `phone_targets` gives them; silence does not count.
    Raises SpeechVQError if either half has no labelled speech.
    """
    spoken = np.where(phones == INVENTORY.index(SILENCE), -1, phones)
    starts = store.starts * store.hop_length // hop_length
    ids = {i: utterance.id for i, utterance in enumerate(store.utterances) if utterance.split == "valid"}
    rows = [(i, spoken[starts[i] : starts[i + 1]]) for i in sorted(ids, key=lambda i: rank_key(ids[i]))]
    halves = rows[::2], rows[1::2]
    if not all(any((own >= 0).any() for _, own in half) for half in halves):
        raise SpeechVQError("too few held-out utterances have labels to measure the phone accuracy (--labels)")
    return halves


@torch.inference_mode()
def quick_phone_accuracy(
    model: Pretraining, store: FeatureStore, halves: tuple[Labelled, Labelled]
) -> dict[str, float]:
    """The share of held-out frames whose phone is the likeliest of their cluster, as `phone_accuracy`.

    The joined layers of the first half are clustered, always with the same random numbers; each cluster stands for the
    phone that is most frequent in it. The second half is scored.
    """
    (rows, phones), (scored, expected) = (labelled_rows(model.encoder, store, half) for half in halves)
    mean, deviation = rows.mean(0), rows.std(0, correction=0).clamp(min=1e-5)
    rows, scored = (rows - mean) / deviation, (scored - mean) / deviation
    generator = torch.Generator().manual_seed(0)
    centres = kmeans(rows, QUICK_CODES, init="k-means++", iterations=15, generator=generator)
    counts = torch.zeros(QUICK_CODES, len(INVENTORY))
    counts.index_put_((assign(rows, centres), phones), torch.ones(()), accumulate=True)
    predicted = counts.argmax(1)[assign(scored, centres)]
    return {"phone_accuracy": (predicted == expected).float().mean().item()}


def labelled_rows(encoder: CausalEncoder, store: FeatureStore, half: Labelled) -> tuple[Tensor, Tensor]:
    """The joined layers of labelled frames, at most QUICK_FRAMES, (M, C), and their phones (M,)."""
    rows, phones = [], []
    for i, own in half:
        layers = joined_layers(encoder, store.features(i), encoder.config.outputs, encoder.config.strides[1])
        kept = torch.from_numpy(own >= 0)
        rows.append(layers[0].T[kept])
        phones.append(torch.from_numpy(own)[kept])
        if sum(map(len, phones)) >= QUICK_FRAMES:
            break
    return torch.cat(rows)[:QUICK_FRAMES], torch.cat(phones)[:QUICK_FRAMES]


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
    phones = PhoneLabels(labels, data, hop_length, reading)
    samples = np.diff(store.starts) * store.hop_length
    return np.concatenate([phones(u, 0, length) for u, length in zip(store.utterances, samples, strict=True)])

"""The run of a codec on crops of a prepared corpus."""

from functools import partial
from pathlib import Path

import numpy as np
import torch

from speechvq import SpeechVQError
from speechvq.config import CodecRun
from speechvq.data.manifest import read_manifest, read_speakers, read_treatment
from speechvq.folder.card import WEIGHTS, Card
from speechvq.folder.histogram import save_histogram
from speechvq.folder.weights import load_weights
from speechvq.nn.vqvae import VQVAE, build
from speechvq.text.labels import USUAL, LabelReading
from speechvq.train.batches import Crops, held_out_batches, warn_of_padding
from speechvq.train.labels import TAUGHT_BY_LABELS, PhoneLabels, require_labels
from speechvq.train.loop import processes
from speechvq.train.run import Training, check_crop, initialize, taught

COUNTED_BATCHES = 100


def assemble_codec(config: CodecRun, data: Path, labels: Path | None = None, reading: LabelReading = USUAL) -> Training:
    """The run of a codec on the corpus prepared in `data`.

    labels: a folder of label files, for the loss on the phones of codes (model.content). reading: how they are read.
    Raises SpeechVQError if configuration, data, labels and initial model do not fit.
    """
    utterances = read_manifest(data)
    how, train = config.train, [u for u in utterances if u.split == "train"]
    speakers = tuple(sorted({u.speaker for u in train}))
    info = {key: value for key, value in read_speakers(data).items() if key in speakers}
    torch.manual_seed(how.seed)
    model = build(config.model, len(speakers))
    if model.decoder is None:
        raise SpeechVQError("a codec is trained by its decoder, which model.decoder.kind = 'none' does not have")
    check_crop(how, model.hop_length)
    initialize(model, config.init, data, speakers)
    phones = PhoneLabels(labels, data, model.hop_length, reading) if labels is not None else None
    if labels is not None and phones:
        require_labels(labels, ((u.split, u.id in phones.segments) for u in utterances))
    crops = Crops(data, train, speakers, how, processes(), phones)
    valid = [u for u in utterances if u.split == "valid"]
    if processes()[0] == 0:
        warn_of_padding(train, valid, how.crop)
    held_out = partial(held_out_batches, data, valid, speakers, how.crop, how.eval_crops, phones)

    def finish(out: Path) -> None:
        if model.bottleneck.codes:
            load_weights(model, out / WEIGHTS)
            save_histogram(out, count_codes(model.eval(), crops))

    teacher = TAUGHT_BY_LABELS if phones else taught(config.init)
    card = Card(config, speakers, info, high_pass=read_treatment(data).high_pass, taught=teacher)
    return Training(card, model, crops, held_out, how, finish)


@torch.inference_mode()
def count_codes(model: VQVAE, crops: Crops) -> np.ndarray:
    """How often each code occurs in the first hundred training batches, (K,) int64."""
    counts = torch.zeros(model.bottleneck.codes, dtype=torch.int64)
    for step in range(min(len(crops), COUNTED_BATCHES)):
        wav = crops[step].wav.to(next(model.parameters()).device)
        counts += torch.bincount(model.encode(wav).flatten().cpu(), minlength=len(counts))
    return counts.numpy()

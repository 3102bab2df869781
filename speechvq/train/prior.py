"""The run of a prior over the codes of a prepared corpus."""

import math
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch

from speechvq import SpeechVQError
from speechvq.codec import Codec
from speechvq.coding.corpus_codes import corpus_codes
from speechvq.config import PriorRun
from speechvq.data.manifest import read_manifest, read_speakers
from speechvq.folder.card import Card
from speechvq.nn.prior import Prior
from speechvq.train.batches import CodeWindows, held_out_windows
from speechvq.train.loop import processes
from speechvq.train.run import Training


def ngram_bits(rows: Sequence[np.ndarray], scored: Sequence[np.ndarray], size: int) -> dict[str, float]:
    """Bits per code of `scored` under n-grams that are counted in `rows`.

    rows, scored: codes (N,) of each utterance.
    size: K.
    Returns `nominal` (log2 K), `unigram`, and `bigram`, which backs off to the unigram (Witten and Bell 1991).
    """
    counts = np.full(size, 0.5)
    pairs = np.zeros((size + 1, size))  # the last row counts first codes
    for row in rows:
        counts += np.bincount(row, minlength=size)
        np.add.at(pairs, (np.append(size, row[:-1]), row), 1)
    unigram = counts / counts.sum()
    successors, total = np.maximum((pairs > 0).sum(1, keepdims=True), 1), pairs.sum(1, keepdims=True)
    bigram = (pairs + successors * unigram) / (total + successors)
    bits = np.zeros(2)
    for row in scored:
        before = np.append(size, row[:-1])
        bits -= np.log2(unigram[row]).sum(), np.log2(bigram[before, row]).sum()
    by_unigram, by_bigram = bits / sum(map(len, scored))
    return {"nominal": math.log2(size), "unigram": float(by_unigram), "bigram": float(by_bigram)}


def assemble_prior(config: PriorRun, data: Path, codec: Codec) -> Training:
    """The run of a prior over the codec's codes of the corpus prepared in `data`.

    Its held-out figures are those of `Prior.held_out` on the split `valid`, and `ngram_bits` on the same codes.
    Raises SpeechVQError if the split `train` or `valid` has no utterances.
    """
    utterances = read_manifest(data)
    train = [u for u in utterances if u.split == "train"]
    speakers = tuple(sorted({u.speaker for u in train}))
    valid = [u for u in utterances if u.split == "valid" and u.speaker in speakers]
    if not train or not valid:
        raise SpeechVQError(f"{data}: no utterances to {'validate' if train else 'train'} on")
    info = {key: value for key, value in read_speakers(data).items() if key in speakers}
    torch.manual_seed(config.train.seed)
    prior = Prior(config.prior, codec.alphabet.codes, len(speakers))
    shard, shifts, how = processes(), config.prior.shifts, config.train
    codes = partial(corpus_codes, codec, data, penalty=config.prior.penalty)
    versions = [codes(train, codec.hop_length * i // shifts) for i in range(shifts)]
    rows, held_out = [row for version in versions for row in version], codes(valid)
    prior.baselines = ngram_bits(rows, held_out, prior.codes)
    ids = [u.id for u in train] * shifts
    windows = CodeWindows(rows, [speakers.index(u.speaker) for u in train] * shifts, prior.codes, how, shard, ids=ids)
    known = [speakers.index(u.speaker) for u in valid]
    batches = partial(held_out_windows, held_out, known, prior.codes, how.crop, how.eval_crops)
    return Training(Card(config, speakers, info, codec.alphabet), prior, windows, batches, how)

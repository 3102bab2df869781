"""The codes of a corpus, their n-grams, and the windows that a prior is trained on."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from speechvq import SpeechVQError
from speechvq.audio.io import read
from speechvq.codec import Codec
from speechvq.coding.corpus_codes import corpus_codes
from speechvq.config import PriorConfig, PriorRun, TrainConfig, WaveNetConfig
from speechvq.config.parsing import load_config
from speechvq.data.manifest import read_manifest
from speechvq.folder.card import load_card
from speechvq.nn.prior import PADDING
from speechvq.train.batches import CodeWindows, held_out_windows
from speechvq.train.kinds import train
from speechvq.train.loop import read_log
from speechvq.train.prior import ngram_bits


@pytest.fixture(scope="module")
def codec(runs) -> Codec:
    return Codec.load(runs["mel"])


def test_codes_are_extracted_once_for_each_model_and_corpus(codec, corpus, monkeypatch):
    utterances = read_manifest(corpus)
    rows = corpus_codes(codec, corpus, utterances)
    own = codec.after_high_pass(80)  # the corpus has been through it
    for row, utterance in zip(rows, utterances, strict=True):
        assert row.tolist() == own.encode(read(corpus / utterance.path), 16_000).tolist()
    late = corpus_codes(codec, corpus, utterances[:2], cut=100)
    assert late[0].tolist() == own.encode(read(corpus / utterances[0].path)[100:], 16_000).tolist()
    files = set((corpus / "codes").iterdir())
    monkeypatch.setattr(Codec, "encode", lambda *_, **__: pytest.fail("encoded again"))
    assert all(map(np.array_equal, corpus_codes(codec, corpus, utterances), rows))
    assert set((corpus / "codes").iterdir()) == files
    with pytest.raises(BaseException, match="encoded again"):
        corpus_codes(codec, corpus, [replace(utterances[0], samples=utterances[0].samples - 1)])


def test_ngrams_against_a_loop():
    random = np.random.default_rng(0)
    rows, scored = ([random.integers(0, 5, n) for n in lengths] for lengths in ((30, 4, 50), (20, 7)))
    bits = ngram_bits(rows, scored, 6)
    singles = [sum(int((row == k).sum()) for row in rows) + 0.5 for k in range(6)]
    unigram = [count / sum(singles) for count in singles]
    single = double = 0.0
    for row in scored:
        for i, code in enumerate(row):
            before = row[i - 1] if i else None
            after = [r[j] for r in rows for j in range(len(r)) if (r[j - 1] if j else None) == before]
            kinds = max(len(set(after)), 1)
            share = (after.count(code) + kinds * unigram[code]) / (len(after) + kinds)
            single -= np.log2(unigram[code]) / 27
            double -= np.log2(share) / 27
    assert bits["nominal"] == np.log2(6)
    assert bits["unigram"] == pytest.approx(single, abs=1e-9)
    assert bits["bigram"] == pytest.approx(double, abs=1e-9)


def test_training_windows_are_parts_of_utterances_with_the_code_before():
    rows = [np.arange(100, 130), np.arange(200, 205)]
    how = TrainConfig(crop=8, batch_size=16, seed=1, steps=9)
    dataset = CodeWindows(rows, [4, 7], 999, how, ids=["a", "b"])
    seen = set()
    for step in range(len(dataset)):
        codes, speakers = dataset[step]
        for row, speaker in zip(codes.numpy(), speakers.tolist(), strict=True):
            row = row[row != PADDING]
            seen.add((speaker, int(row[0])))
            assert speaker == (7 if 200 <= row[1] < 300 else 4)
            assert row[0] in (999, row[1] - 1)
            assert (row[0] == 999) == (row[1] % 100 == 0)
            assert (np.diff(row[1:]) == 1).all()
            assert len(row) == (6 if speaker == 7 else 9)
        assert dataset.names(step) == [{4: "a", 7: "b"}[speaker] for speaker in speakers.tolist()]
    assert {(7, 999), (4, 999), (4, 121)} <= seen
    shards = [CodeWindows(rows, [4, 7], 999, how, (rank, 2), ids=["a", "b"])[3].speaker for rank in range(2)]
    assert torch.equal(torch.stack(shards, 1).flatten(), dataset[3].speaker)
    with pytest.raises(SpeechVQError, match="not a multiple of the 3 processes"):
        CodeWindows(rows, [4, 7], 999, how, (0, 3), ids=["a", "b"])


def test_held_out_windows_have_every_code_once():
    rows = [np.arange(100, 130), np.arange(200, 205)]
    batches = list(held_out_windows(rows, [4, 7], 999, 8, 100))
    predicted = np.concatenate([codes[:, 1:].numpy().ravel() for codes, _ in batches])
    assert predicted[predicted != PADDING].tolist() == [*range(100, 130), *range(200, 205)]
    assert torch.cat([codes[:, 0] for codes, _ in batches]).tolist() == [999, 107, 115, 123, 999]
    assert len(next(held_out_windows(rows, [4, 7], 999, 8, 2)).codes) == 2


def run(**changes: object) -> PriorRun:
    wavenet = WaveNetConfig(cycles=1, layers=2, residual=16, gate=16, skip=16)
    train = TrainConfig(steps=4, batch_size=2, crop=8, warmup=1, eval_every=2)
    return PriorRun(PriorConfig(wavenet, speaker_dim=4, shifts=1), replace(train, **changes))


def test_resumed_is_as_in_one_go(codec, corpus, tmp_path):
    train(run(), corpus, tmp_path / "whole", codec=codec)
    train(run(steps=2), corpus, tmp_path / "parts", codec=codec)
    with pytest.raises(SpeechVQError, match="goes on with --resume"):
        train(run(), corpus, tmp_path / "parts", codec=codec)
    train(run(), corpus, tmp_path / "parts", codec=codec, resume=True)
    whole, parts = (read_log(tmp_path / name)[-1] for name in ("whole", "parts"))
    assert whole["loss"] == pytest.approx(parts["loss"], abs=5e-3)  # the first part's cosine was shorter
    assert load_card(tmp_path / "parts").alphabet == codec.alphabet
    assert whole.keys() >= {"bits_per_code", "nominal", "unigram", "bigram"}


def test_a_run_is_not_resumed_with_another_models_codes(codec, corpus, tmp_path):
    train(run(), corpus, tmp_path, codec=codec)
    card = json.loads((tmp_path / "config.json").read_text())
    card["alphabet"]["model"] = "0" * 16
    (tmp_path / "config.json").write_text(json.dumps(card))
    with pytest.raises(SpeechVQError, match="cannot resume"):
        train(run(), corpus, tmp_path, codec=codec, resume=True)


def test_a_configuration_with_a_prior_table_is_a_prior_run(tmp_path):
    (tmp_path / "p.toml").write_text("[prior]\nanyone = 1\n[train]\nsteps = 5\n")
    config = load_config(tmp_path / "p.toml", ["prior.wavenet.cycles=3"])
    assert isinstance(config, PriorRun)
    assert (config.prior.anyone, config.prior.wavenet.cycles, config.train.steps) == (1.0, 3, 5)
    with pytest.raises(SpeechVQError, match="unknown configuration key 'model'"):
        load_config(tmp_path / "p.toml", ["model.jitter=0.5"])

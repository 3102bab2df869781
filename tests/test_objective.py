"""Objectives that train an encoder without a decoder: contract, oracles, and tiny real trainings."""

import dataclasses
import math
import re
import shutil

import numpy as np
import pytest
import torch
from conftest import VOICES
from torch.nn import functional as F

from speechvq import SpeechVQError
from speechvq.audio.io import read, write
from speechvq.cli import main
from speechvq.codec import Codec
from speechvq.config import CPCConfig, EncoderRun
from speechvq.config.parsing import parse
from speechvq.data.feature_store import feature_store
from speechvq.folder.card import WEIGHTS
from speechvq.folder.weights import load_tensors
from speechvq.nn.encoder.causal import CausalEncoder
from speechvq.nn.objective import OBJECTIVES, FeatureBatch
from speechvq.nn.objective.cpc import CPC
from speechvq.nn.objective.pretraining import build_pretraining
from speechvq.nn.trainable import total
from speechvq.text.labels import LabelReading, read_map
from speechvq.text.phones import INVENTORY
from speechvq.text.segments import Segment
from speechvq.text.textgrid import write_textgrid
from speechvq.train.encoder import phone_targets
from speechvq.train.kinds import train
from speechvq.train.loop import read_log

ENCODER = {"strides": [2, 1], "channels": 16, "pointwise": 1, "dilations": [1, 2], "outputs": [2]}
TRAIN = {"steps": 12, "batch_size": 4, "crop": 6400, "learning_rate": 3e-3, "warmup": 2, "eval_every": 6}


def run(kind: str, **train: object) -> EncoderRun:
    objective = {"cpc": {"steps": 3, "warm": 4}, "masked": {"start": 0.2, "span": 2}}.get(kind, {})
    return parse(
        EncoderRun, {"encoder": ENCODER, "objective": {"kind": kind, **objective}, "train": {**TRAIN, **train}}
    )


def batch(codes: int = 16) -> FeatureBatch:
    random = torch.Generator().manual_seed(0)
    return FeatureBatch(torch.randn(3, 80, 40, generator=random), torch.randint(codes, (3, 20), generator=random))


@pytest.mark.parametrize("kind", OBJECTIVES)
def test_every_objective_names_its_losses_and_trains_all_of_its_weights(kind):
    torch.manual_seed(0)
    model = build_pretraining(run(kind), codes=16).train()
    losses = model(batch())
    assert model.reconstruction in losses
    total(losses).backward()
    assert not [name for name, p in model.named_parameters() if p.grad is None or not p.grad.isfinite().all()]
    figures = model.eval().held_out([batch(), batch()])
    assert figures["loss"] == figures[model.reconstruction] > 0
    assert figures == model.held_out([batch()])  # the same whenever it is measured


@pytest.mark.parametrize("kind", OBJECTIVES)
def test_every_objective_is_learned(kind, corpus, runs, vowel_labels, tmp_path):
    codec = Codec.load(runs["mel"]) if run(kind).needs_codec else None
    labels = vowel_labels if run(kind).needs_labels else None
    figures = train(run(kind, steps=60, learning_rate=1e-2), corpus, tmp_path, codec=codec, labels=labels)
    untrained = read_log(tmp_path)[0]["loss"]
    assert figures["loss"] < 0.9 * untrained
    names = load_tensors(tmp_path / WEIGHTS)[0]
    assert {name.split(".")[0] for name in names} == {"encoder", "objective"}
    assert not [name for name in names if name.startswith("encoder.project")]


def test_infonce_by_hand():
    torch.manual_seed(0)
    encoder = CausalEncoder(run("cpc").encoder, dim=0).eval()
    cpc = CPC(CPCConfig(steps=2, warm=3, temperature=0.5), encoder, 0)
    latents, context = torch.randn(2, 16, 9), torch.randn(2, 16, 9)
    losses, accuracies = cpc._steps(latents, context)
    z = F.normalize(latents, dim=1).detach().double().numpy()
    for k in (1, 2):
        linear, nats, right = cpc.predict[k - 1], [], []
        for row in range(2):
            for t in range(3, 9 - k):
                predicted = F.normalize(linear(context[row, :, t]), dim=0).detach().double().numpy()
                scores = predicted @ z[row] / 0.5
                nats.append(np.log(np.exp(scores).sum()) - scores[t + k])
                right.append(scores.argmax() == t + k)
        assert losses[k - 1].item() == pytest.approx(np.mean(nats), rel=1e-5)
        assert accuracies[k - 1].item() == pytest.approx(np.mean(right))


def test_an_untrained_prediction_is_near_chance():
    torch.manual_seed(0)
    model = build_pretraining(run("cpc")).eval()
    random = FeatureBatch(torch.randn(8, 80, 80), torch.zeros(8, 0, dtype=torch.int64))
    assert abs(model.held_out([random])["infonce"] - math.log(40)) < 2


def test_masked_features_have_no_effect():
    torch.manual_seed(0)
    model = build_pretraining(run("masked"), codes=16).eval()
    objective, one = model.objective, batch()
    hidden = objective.hidden(one.targets)
    assert hidden.any(1).all()
    assert not hidden.all(1).any()
    changed = one.feats + 5 * hidden.repeat_interleave(2, 1)[:, None]
    assert torch.equal(*(objective.logits(model.encoder, feats, hidden) for feats in (one.feats, changed)))


def test_resumed_is_as_in_one_go(corpus, tmp_path):
    train(run("cpc"), corpus, tmp_path / "whole")
    train(run("cpc", steps=6), corpus, tmp_path / "parts")
    train(run("cpc"), corpus, tmp_path / "parts", resume=True)
    whole, parts = (load_tensors(tmp_path / name / WEIGHTS)[0] for name in ("whole", "parts"))
    # The first part's cosine was shorter: the bits differ, what is learned does not.
    assert whole.keys() == parts.keys()
    assert read_log(tmp_path / "whole")[-1]["loss"] == pytest.approx(read_log(tmp_path / "parts")[-1]["loss"], rel=0.2)


def test_its_encoder_starts_a_codec(corpus, tiny, tmp_path):
    train(run("cpc"), corpus, tmp_path / "cpc")
    encoder = parse(type(tiny.model), {"encoder": {"kind": "causal", **ENCODER}}).encoder
    init = dataclasses.replace(tiny.init, path=str(tmp_path / "cpc"), parts=("encoder.local", "encoder.blocks"))
    config = dataclasses.replace(tiny, model=dataclasses.replace(tiny.model, encoder=encoder), init=init)
    train(dataclasses.replace(config, init=dataclasses.replace(init, freeze=init.parts)), corpus, tmp_path / "codec")
    cpc, codec = (load_tensors(tmp_path / name / WEIGHTS)[0] for name in ("cpc", "codec"))
    assert torch.equal(cpc["encoder.local.0.weight"], codec["encoder.local.0.weight"])
    assert len(Codec.load(tmp_path / "codec").encode(torch.randn(4800), 16_000)) == 15
    with pytest.raises(SpeechVQError, match=r"'encoder' is not as configured here, first at 'project\.bias'"):
        train(dataclasses.replace(config, init=dataclasses.replace(init, parts=("encoder",))), corpus, tmp_path / "x")


def test_its_encoder_starts_another_one(corpus, tmp_path):
    train(run("cpc"), corpus, tmp_path / "first")
    init = {"path": str(tmp_path / "first"), "freeze": ["encoder"]}
    train(parse(EncoderRun, {**dataclasses.asdict(run("cpc", seed=1)), "init": init}), corpus, tmp_path / "second")
    first, second = (load_tensors(tmp_path / name / WEIGHTS)[0] for name in ("first", "second"))
    own = [name for name in first if name.startswith("encoder.")]
    assert own
    assert all(torch.equal(first[name], second[name]) for name in own)
    assert not torch.equal(first["objective.predict.0.weight"], second["objective.predict.0.weight"])


def test_models_and_crops_that_do_not_fit_are_refused(corpus, tiny, runs, tmp_path):
    with pytest.raises(SpeechVQError, match="--model names the model"):
        train(run("masked"), corpus, tmp_path)
    with pytest.raises(SpeechVQError, match="--model names the model"):
        train(run("cpc"), corpus, tmp_path, codec=Codec.load(runs["mel"]))
    with pytest.raises(SpeechVQError, match="--labels names label files"):
        train(run("phones"), corpus, tmp_path)
    with pytest.raises(SpeechVQError, match="--labels names label files"):
        train(tiny, corpus, tmp_path, labels=tmp_path)
    with pytest.raises(SpeechVQError, match=r"train\.keep = 'phone_accuracy' is of an encoder's run with --labels"):
        train(run("cpc", keep="phone_accuracy"), corpus, tmp_path)
    with pytest.raises(SpeechVQError, match=r"train\.crop is too short"):
        train(run("cpc", crop=1280), corpus, tmp_path)
    slow = dataclasses.replace(run("masked").encoder, strides=(2, 2))
    with pytest.raises(SpeechVQError, match="a code every 320 samples, the encoder a latent every 640"):
        train(dataclasses.replace(run("masked"), encoder=slow), corpus, tmp_path, codec=Codec.load(runs["mel"]))
    odd = dataclasses.replace(slow, strides=(3, 1))
    three = Codec.load(runs["mel"])
    three.model.encoder.hop_length = 480
    with pytest.raises(SpeechVQError, match=r"latents of 480 samples do not divide"):
        train(dataclasses.replace(run("masked", crop=4800), encoder=odd), corpus, tmp_path, codec=three)
    with pytest.raises(SpeechVQError, match="no speaker to train on has 160000 samples"):
        train(run("cpc", crop=160_000), corpus, tmp_path)


def test_info_describes_it(corpus, tmp_path, capsys):
    train(run("cpc"), corpus, tmp_path)
    assert main(["info", str(tmp_path)]) == 0
    assert "objective        cpc" in capsys.readouterr().out


def test_stored_features_are_computed_once_and_are_those_of_the_encoder(corpus):
    store = feature_store(corpus)
    assert store.frames.dtype == np.float16
    assert {u.speaker for u in store.utterances} == set(VOICES)
    files = list((corpus / "features").iterdir())
    before = [file.stat().st_mtime_ns for file in files]
    again = feature_store(corpus)
    assert [file.stat().st_mtime_ns for file in files] == before
    assert np.array_equal(again.frames, store.frames)
    encoder, i = CausalEncoder(run("cpc").encoder, 4), 5
    utterance, start, end = store.utterances[i], store.starts[i], store.starts[i + 1]
    wav = read(corpus / utterance.path)
    feats = encoder.features(F.pad(wav, (0, int(end - start) * 160 - len(wav)))[None])[0].T
    assert np.abs(store.frames[start:end] - feats.numpy()).max() < 0.01
    begins = [begin for begin, _ in store.spans("train")]
    assert begins == sorted(begins)
    assert sum(end - begin for split in ("train", "valid", "test") for begin, end in store.spans(split)) == len(
        store.frames
    )


def test_what_is_not_masked_has_a_weight_of_its_own():
    torch.manual_seed(0)
    plain = run("masked")
    weighted = dataclasses.replace(plain, objective=dataclasses.replace(plain.objective, unmasked=0.5))
    model = build_pretraining(weighted, codes=16).eval()
    losses, figures = model(batch()), model.held_out([batch()])
    assert losses.keys() == {"masked", "unmasked"}
    assert losses["unmasked"].item() == pytest.approx(0.5 * figures["unmasked"], rel=1e-5)
    assert build_pretraining(plain, codes=16).eval()(batch()).keys() == {"masked"}


def test_other_audio_of_the_same_utterances_has_features_of_its_own(corpus, tmp_path):
    shutil.copytree(corpus, tmp_path / "data")
    before = np.array(feature_store(tmp_path / "data").frames)
    utterance = feature_store(tmp_path / "data").utterances[0]
    write(tmp_path / "data" / utterance.path, torch.zeros(utterance.samples))
    assert np.abs(feature_store(tmp_path / "data").frames - before).max() > 1


def test_phones_are_those_in_the_middle_of_latents_and_unlabelled_ones_do_not_count(corpus, vowel_labels, tmp_path):
    store = feature_store(corpus)
    first = store.utterances[0]
    (tmp_path / first.speaker).mkdir()
    name = f"{first.id.rpartition('/')[2]}.lab"
    (tmp_path / first.speaker / name).write_text("0 3000000 aa\n3000000 4000000 iy\n")
    row = phone_targets(tmp_path, corpus, store, 320)
    expected = [INVENTORY.index("aa")] * 15 + [INVENTORY.index("iy")] * 5
    assert row[:20].tolist() == expected
    assert set(row[20:]) == {-1}
    model = build_pretraining(run("phones"), codes=len(INVENTORY)).eval()
    one = batch(len(INVENTORY))
    blank = FeatureBatch(one.feats, torch.full_like(one.targets, -1))
    assert model.held_out([blank])["phones"] == 0
    half = one.targets.clone()
    half[:, ::2] = -1
    logits = model.objective.classify(model.encoder.layers(one.feats)[-1])
    nats = F.cross_entropy(logits, one.targets, reduction="none")[:, 1::2].mean()
    assert model.held_out([FeatureBatch(one.feats, half)])["phones"] == pytest.approx(nats.item(), rel=1e-5)
    with pytest.raises(SpeechVQError, match="do not divide"):
        phone_targets(vowel_labels, corpus, store, 480)


def test_labels_in_other_symbols_are_read_by_tier_and_map(corpus, vowel_labels, tmp_path, capsys):
    (tmp_path / "run.toml").write_text(
        "encoder = {strides = [2, 1], channels = 16, pointwise = 1, dilations = [1], outputs = [1]}\n"
        "objective = {kind = 'phones'}\n"
        "train = {steps = 2, batch_size = 4, crop = 6400, eval_every = 2}\n"
    )
    symbols = {"iy": "one", "aa": "two", "uw": "three", "eh": "four"}
    for path in vowel_labels.glob("*/*.lab"):
        rows = [line.split() for line in path.read_text().splitlines()]
        segments = [Segment(int(start) / 1e7, int(end) / 1e7, symbols[phone]) for start, end, phone in rows]
        write_textgrid(tmp_path / path.parent.name / f"{path.stem}.TextGrid", segments, words=segments)
    (tmp_path / "map").write_text("".join(f"{symbol} {phone}\n" for phone, symbol in symbols.items()))
    arguments = ["train", str(tmp_path / "run.toml"), "--data", str(corpus), "--labels", str(tmp_path)]
    assert main([*arguments, "--out", str(tmp_path / "run")]) == 2
    assert "is not a known phone (--map" in capsys.readouterr().err
    reading = ["--map", str(tmp_path / "map"), "--tier", "words"]
    assert main([*arguments, *reading, "--out", str(tmp_path / "run")]) == 0
    (tmp_path / "other").write_text((tmp_path / "map").read_text().replace("uw", "qq"))
    assert main([*arguments, "--map", str(tmp_path / "other"), *reading[2:], "--out", str(tmp_path / "qq")]) == 2
    assert "'qq' is no phone that can be learned: aa ae " in capsys.readouterr().err
    known = LabelReading("words", read_map(tmp_path / "map"))
    store = feature_store(corpus)
    assert np.array_equal(
        phone_targets(tmp_path, corpus, store, 320, known), phone_targets(vowel_labels, corpus, store, 320)
    )
    assert main([*arguments, *reading[:3], "none", "--out", str(tmp_path / "other")]) == 2
    assert "none" in capsys.readouterr().err


@pytest.mark.parametrize("split", ["train", "valid"])
def test_training_needs_labels_of_utterances_to_train_and_to_validate_on(corpus, vowel_labels, tmp_path, split, caplog):
    """Else the loss is 0 from the first step on."""
    utterances = [u for u in feature_store(corpus).utterances if u.split in ("train", "valid")]
    for left_out in (split, ""):
        for utterance in utterances:
            speaker, name = utterance.id.split("/")
            if utterance.split != left_out:
                (tmp_path / "labels" / speaker).mkdir(parents=True, exist_ok=True)
                shutil.copy(vowel_labels / speaker / f"{name}.lab", tmp_path / "labels" / speaker)
        if left_out:
            with pytest.raises(SpeechVQError, match=rf"no labels of any of the \d+ utterances of the split '{split}'"):
                train(run("phones", steps=1), corpus, tmp_path / "run", labels=tmp_path / "labels")
    (tmp_path / "labels" / speaker / f"{name}.lab").unlink()
    train(run("phones", steps=1), corpus, tmp_path / "run", labels=tmp_path / "labels")
    assert re.search(rf"1 of \d+ utterances of the split '{utterance.split}' have no labels", caplog.text)

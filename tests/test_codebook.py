"""A codebook on an encoder's layers: discriminant analysis against scikit-learn, and the resulting codec."""

import dataclasses
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from test_objective import run

from speechvq import SpeechVQError
from speechvq.audio import SAMPLE_RATE
from speechvq.audio.io import read
from speechvq.audio.level import normalize_loudness
from speechvq.cli import main
from speechvq.codec import Codec
from speechvq.data.feature_store import feature_store
from speechvq.data.manifest import read_manifest
from speechvq.folder.card import WEIGHTS
from speechvq.folder.weights import load_tensors, save_tensors
from speechvq.train.codebook import (
    Clustering,
    discriminant,
    layer_rows,
    load_encoder,
    loud,
    make_codebook,
    principal,
)
from speechvq.train.kinds import train
from speechvq.train.loop import read_log

HOW = Clustering(codes=8, outputs=(0, 2), stride=1, dim=6, rounds=1, clusters=12)


@pytest.fixture(scope="module")
def pretrained(corpus, tmp_path_factory) -> Path:
    """An encoder after a few steps."""
    out = tmp_path_factory.mktemp("runs") / "cpc"
    train(run("cpc"), corpus, out)
    return out


@pytest.fixture(scope="module")
def codec(pretrained, corpus, tmp_path_factory) -> Codec:
    out = tmp_path_factory.mktemp("codecs") / "codec"
    figures = make_codebook(pretrained, corpus, out, HOW)
    assert figures["used_codes"] == 8
    return Codec.load(out)


def test_discriminant_analysis_is_scikit_learns():
    random = np.random.default_rng(0)
    classes = random.integers(5, size=3000)
    rows = random.normal(size=(5, 10))[classes] + random.normal(size=(3000, 10)) @ random.normal(size=(10, 10))
    ours = discriminant(torch.from_numpy(rows).float(), torch.from_numpy(classes), 4)
    theirs = LinearDiscriminantAnalysis(solver="eigen", n_components=4).fit(rows, classes)
    found = (rows - ours.mean.numpy()) @ ours.matrix.numpy()
    expected = theirs.transform(rows)
    for k in range(4):  # theirs come in the order of falling, ours of rising eigenvalues
        assert abs(np.corrcoef(found[:, 3 - k], expected[:, k])[0, 1]) > 0.999
    within = sum(np.cov(found[classes == c].T, bias=True) * np.mean(classes == c) for c in range(5))
    assert np.abs(within - np.eye(4)).max() < 0.1  # but for the ridge


def test_the_layers_of_a_codec_are_averaged_over_the_steps_of_a_code(codec, corpus):
    wav = read(corpus / read_manifest(corpus)[0].path)[:-100]  # not a whole number of codes
    codec = codec.after_high_pass(80)  # the corpus's
    first, last = codec.layers(wav, SAMPLE_RATE, [0, 2])
    encoder = codec.model.encoder
    padded = torch.nn.functional.pad(normalize_loudness(wav), (0, -len(wav) % codec.hop_length))
    with torch.inference_mode():
        layers = encoder.layers(encoder.features(padded[None]))
    steps = layers[0].shape[2] // len(codec.encode(wav, SAMPLE_RATE))
    for found, layer in ((first, layers[0]), (last, layers[2])):
        torch.testing.assert_close(found, layer[0].unfold(1, steps, steps).mean(2))


def test_the_codec_encodes_what_was_clustered(codec, pretrained, corpus):
    """The projection is part of its encoder, and its codes are the nearest centres in the discriminant space."""
    utterance = next(u for u in read_manifest(corpus) if u.split == "train")
    wav = read(corpus / utterance.path)
    codes = codec.encode(wav, 16_000)
    assert len(codes) == -(-len(wav) // 320)
    counts = np.bincount(codes.numpy(), minlength=8)
    assert (counts > 0).sum() > 1
    rows = layer_rows(load_encoder(pretrained, HOW), feature_store(corpus), HOW)
    assert rows.shape[1] == 2 * 16
    assert codec.histogram is not None
    assert codec.histogram.sum() == len(rows)


def test_it_makes_no_speech(codec):
    with pytest.raises(SpeechVQError, match="no decoder"):
        codec.decode([1, 2, 3], "low")
    assert codec.describe()["decoder"] == "none"
    card = str(codec.generate_model_card())
    assert "codec.encode(wav, sample_rate)" in card
    assert "convert" not in card


def test_commands_that_need_speech_are_refused_in_one_line(codec, corpus, tmp_path, capsys):
    codec.save(tmp_path / "codec")
    model, out = ["--model", str(tmp_path / "codec")], str(tmp_path / "out")
    wav = str(corpus / read_manifest(corpus)[0].path)
    assert main(["encode", wav, f"{out}.svq", *model]) == 0
    assert main(["encode", wav, f"{out}2.svq", *model, "--speaker", "low"]) == 2
    assert "has no speakers" in capsys.readouterr().err
    for command in (
        ["convert", wav, f"{out}.wav", *model, "--speaker", "low"],
        ["decode", f"{out}.svq", f"{out}.wav", *model, "--speaker", "low"],
        ["adapt", str(Path(wav).parent), *model, "--speaker", "new", "--out", out],
        ["evaluate", "reconstruction", "--data", str(corpus), *model],
        ["evaluate", "conversion", "--data", str(corpus), *model],
    ):
        assert main(command) == 2
        assert "gives codes, and no speech" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"codes": 1}, "bottleneck.codes' is between 2 and"),
        ({"stride": 65}, "encoder.strides"),
        ({"stride": 64}, "no utterances to learn a codebook from"),  # of 1.28 s each
    ],
)
def test_sizes_that_no_codebook_has_are_refused(pretrained, corpus, tmp_path, change, message):
    with pytest.raises(SpeechVQError, match=message):
        make_codebook(pretrained, corpus, tmp_path / "out", replace(HOW, **change))
    assert not (tmp_path / "out").exists()


def test_the_encoder_is_never_overwritten(pretrained, corpus):
    before = (pretrained / WEIGHTS).read_bytes()
    with pytest.raises(SpeechVQError, match="--out names another folder"):
        make_codebook(pretrained, corpus, pretrained, HOW, force=True)
    assert (pretrained / WEIGHTS).read_bytes() == before


def test_a_weight_that_is_rounded_to_zero_has_no_sign(pretrained, corpus, tmp_path):
    """The average of a training loses the sign of a zero, and the fingerprint of the same codes would be another."""
    run = shutil.copytree(pretrained, tmp_path / "run")
    tensors, metadata = load_tensors(run / WEIGHTS)
    weight = tensors["encoder.blocks.0.dilated.weight"]
    weight[0, :3] = torch.tensor([-1e-9, 1e-9, -0.0])[:, None]
    save_tensors(run / WEIGHTS, tensors, metadata)
    make_codebook(run, corpus, tmp_path / "codec", HOW)
    rounded, _ = load_tensors(tmp_path / "codec" / WEIGHTS)
    zeros = rounded["encoder.blocks.0.dilated.weight"][0, :3]
    assert (zeros == 0).all()
    assert not zeros.signbit().any()


def test_features_that_were_cut_off_are_named(corpus, tmp_path):
    data = tmp_path / "data"
    shutil.copytree(corpus, data)
    feature_store(data)
    for path in (data / "features").glob("*.npy"):
        path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(SpeechVQError, match=r"\.npy: not the features of this corpus; remove it"):
        feature_store(data)


def test_pauses_are_not_clustered():
    feats = torch.full((80, 40), -8.0)
    feats[:, 8:24] = 0.0
    assert loud(feats, 4).tolist() == [False] * 2 + [True] * 4 + [False] * 4


def test_its_codes_are_targets_of_masked_prediction(codec, corpus, tmp_path):
    figures = train(run("masked", steps=20, learning_rate=1e-2), corpus, tmp_path, codec=codec)
    assert figures["loss"] < read_log(tmp_path)[0]["loss"]


def test_the_command(pretrained, corpus, tmp_path, capsys):
    out = tmp_path / "codec"
    arguments = ["codebook", str(pretrained), "--data", str(corpus), "--out", str(out), "--layers", "2"]
    arguments += ["--codes", "6", "--stride", "2", "--dim", "5", "--rounds", "0", "--posteriors", "0", "--quiet", "0.1"]
    assert main(arguments) == 0
    assert Codec.load(out).hop_length == 640
    assert main([*arguments, "--force", "--more-layers", "1"]) == 0
    assert Codec.load(out).model.encoder.config.outputs == (1, 2)
    assert main(arguments) == 2
    assert "holds a run" in capsys.readouterr().err
    assert main([*arguments, "--force", "--layers", "0,3"]) == 2
    assert "0 to 2" in capsys.readouterr().err
    assert main([*arguments, "--force", "--layers", "x"]) == 2
    assert "whole numbers" in capsys.readouterr().err
    for option, reason in (("--dim=99", "16 dimensions"), ("--layers=-1", "0 to 2"), ("--codes=60000", "too few")):
        assert main([*arguments, "--force", option]) == 2
        assert reason in capsys.readouterr().err
    assert main(["codebook", str(corpus), "--data", str(corpus), "--out", str(tmp_path / "x")]) == 2


def test_no_more_frames_are_clustered_than_asked(pretrained, corpus):
    rows = layer_rows(load_encoder(pretrained, HOW), feature_store(corpus), dataclasses.replace(HOW, frames=50))
    assert len(rows) == 50


def test_a_codebook_on_the_probabilities_of_a_classifier(corpus, vowel_labels, tmp_path):
    """Latents are a projection of their square roots and of the layers, folded into the encoder."""
    taught = tmp_path / "phones"
    train(run("phones", steps=40, learning_rate=1e-2), corpus, taught, labels=vowel_labels)
    for outputs, dim in (((), 7), ((2,), 12)):
        how = replace(HOW, outputs=outputs, posteriors=2.0, dim=dim, quiet=0.5, rounds=0)
        make_codebook(taught, corpus, tmp_path / str(dim), how)
        codec, encoder = Codec.load(tmp_path / str(dim)), load_encoder(taught, how)
        assert codec.describe()["taught"] == "phones of labels"
        feats = torch.randn(1, 80, 40)
        with torch.inference_mode():
            layers = encoder.layers(feats)
            scores = load_tensors(taught / WEIGHTS)[0]
            weight, bias = scores["objective.classify.weight"], scores["objective.classify.bias"]
            roots = torch.nn.functional.conv1d(layers[2], weight, bias).softmax(1).sqrt()
            rows = torch.cat([*(layers[i] for i in outputs), 2 * roots], 1)[0].T
            z = codec.model.encoder.from_features(feats)[0].T
        stored, columns = layer_rows(encoder, feature_store(corpus), how), rows.shape[1]
        assert stored.shape[1] == columns
        mapped = principal(stored, dim)
        scale = ((stored - mapped.mean) @ mapped.matrix).std()
        torch.testing.assert_close(z, (rows - mapped.mean) @ mapped.matrix / scale, atol=1e-4, rtol=1e-3)
    with pytest.raises(SpeechVQError, match="no classifier at 2 steps"):
        load_encoder(taught, replace(HOW, posteriors=1.0, stride=2))


def test_further_layers_are_joined_with_weights_of_zero(pretrained, corpus, tmp_path):
    plain, wide = replace(HOW, outputs=(2,), dim=5, rounds=0), replace(HOW, outputs=(2,), dim=5, rounds=0, more=(0, 1))
    for name, how in (("plain", plain), ("wide", wide)):
        make_codebook(pretrained, corpus, tmp_path / name, how)
    one, other = (Codec.load(tmp_path / name).model for name in ("plain", "wide"))
    assert other.encoder.config.outputs == (0, 1, 2)
    channels = other.encoder.config.channels
    assert not other.encoder.project.weight[:, : 2 * channels].any()
    assert torch.equal(other.encoder.project.weight[:, 2 * channels :], one.encoder.project.weight)
    wav = 0.1 * torch.randn(1, 6_400)
    torch.testing.assert_close(other.latents(wav), one.latents(wav))


def test_what_cannot_be_clustered(pretrained, corpus, tmp_path, monkeypatch):
    with pytest.raises(SpeechVQError, match=r"no layer is named .* \(--layers\)"):
        make_codebook(pretrained, corpus, tmp_path / "none", replace(HOW, outputs=()))
    with pytest.raises(SpeechVQError, match=r"too few for 60000 codes$"):
        make_codebook(pretrained, corpus, tmp_path / "many", replace(HOW, codes=60_000, rounds=0))
    monkeypatch.setattr("speechvq.train.codebook.layer_rows", lambda *_: torch.ones(100, 64))
    with pytest.raises(SpeechVQError, match="all frames of speech are alike"):
        make_codebook(pretrained, corpus, tmp_path / "alike", HOW)
    assert not [*tmp_path.iterdir()]


def test_a_layer_that_is_named_twice_has_the_codes_that_were_learned(pretrained, corpus, tmp_path):
    """With `more`, the projection joins each layer once: half of it was lost."""
    twice = replace(HOW, outputs=(0, 0, 2))
    make_codebook(pretrained, corpus, tmp_path / "as-named", twice)
    make_codebook(pretrained, corpus, tmp_path / "once", replace(twice, more=(1,)))
    named, once = Codec.load(tmp_path / "as-named"), Codec.load(tmp_path / "once")
    assert once.card.config.model.encoder.outputs == (0, 1, 2)
    wav = read(corpus / read_manifest(corpus)[0].path)
    torch.testing.assert_close(once.latents(wav, SAMPLE_RATE), named.latents(wav, SAMPLE_RATE), atol=1e-4, rtol=1e-4)

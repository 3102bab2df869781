"""The whole model: its figures, freezing, and configurations that cannot be built."""

import math
from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from torch import nn

from speechvq import SpeechVQError
from speechvq.config import (
    ConditionerConfig,
    MelDecoderConfig,
    TrainConfig,
    VQConfig,
    WaveNetConfig,
    WaveNetDecoderConfig,
)
from speechvq.data.manifest import read_manifest
from speechvq.nn.trainable import total
from speechvq.nn.vqvae import VQVAE, Batch, build, perplexity
from speechvq.train.batches import Crops, held_out_batches
from speechvq.wavenet.sampler import Sampling

SPEAKERS = ["high", "low", "mid"]


def batches(hop: int) -> list[Batch]:
    """Two held-out batches of different sizes."""
    generator = torch.Generator().manual_seed(0)
    return [
        Batch(0.1 * torch.randn(rows, 6 * hop, generator=generator), torch.arange(rows) % len(SPEAKERS))
        for rows in (4, 2)
    ]


def initialized(model: VQVAE) -> VQVAE:
    config = model.bottleneck.config
    model.bottleneck.initialize(torch.randn(config.codes, config.dim))
    return model.eval()


@pytest.fixture(scope="module")
def wavenet_config(tiny):
    conditioner = replace(tiny.model.decoder.conditioner, channels=8)
    wavenet = WaveNetConfig(cycles=1, layers=3, residual=8, gate=8, skip=8)
    return replace(tiny.model, decoder=WaveNetDecoderConfig(conditioner=conditioner, wavenet=wavenet, mel_weight=0.5))


@pytest.fixture(scope="module")
def trained(tiny, corpus) -> tuple[VQVAE, list[Batch]]:
    """A model after 100 steps on the corpus, and its held-out batches."""
    utterances = read_manifest(corpus)
    torch.manual_seed(0)
    model = build(tiny.model, 3).train()
    train = [u for u in utterances if u.split == "train"]
    crops = Crops(corpus, train, SPEAKERS, TrainConfig(crop=6400, batch_size=8))
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    for step in range(100):
        optimizer.zero_grad()
        total(model(crops[step])).backward()
        optimizer.step()
    valid = [u for u in utterances if u.split == "valid"]
    return model.eval(), list(held_out_batches(corpus, valid, SPEAKERS, 6400, 32))


def test_in_training_alone_changes_of_code_are_penalized(tiny):
    """Held codes are farther from the latents than the nearest ones; also with a frozen codebook."""
    held = replace(tiny.model, bottleneck=replace(tiny.model.bottleneck, penalty=1e6))
    torch.manual_seed(0)
    model = initialized(build(held, 3))
    [batch, _] = batches(model.hop_length)
    nearest = model.held_out([batch])["commitment"]
    model.freeze(["bottleneck"])
    assert model.train()(batch)["commitment"] > 1.2 * nearest


def test_losses_are_named_and_one_is_the_reconstruction(tiny, wavenet_config):
    torch.manual_seed(0)
    for config, names in ((tiny.model, ["mel", "commitment"]), (wavenet_config, ["nll", "mel", "commitment"])):
        model = build(config, 3)
        losses = model(batches(320)[0])
        assert [*losses] == names
        assert model.reconstruction == names[0]
        assert total(losses).item() == pytest.approx(sum(loss.item() for loss in losses.values()), rel=1e-6)
    losses = build(replace(tiny.model, bottleneck=VQConfig(codes=4, dim=8)), 3)(batches(320)[0])
    assert set(losses) == {"mel", "commitment", "codebook"}


def test_held_out_figures_by_hand(wavenet_config):
    torch.manual_seed(0)
    model = initialized(build(wavenet_config, 3))
    held_out = batches(320)
    figures = model.held_out(held_out)
    rows, seen = [], []
    with torch.no_grad():
        for wav, speaker, _ in held_out:
            z = model.encoder(wav)
            codes = model.encode(wav)
            z_q, others = model.bottleneck.lookup(codes), model.bottleneck.lookup(codes[[-1, *range(len(codes) - 1)]])
            true, shuffled = model.decoder.losses(z_q, speaker, wav), model.decoder.losses(others, speaker, wav)
            commitment = 0.25 * (z - z_q).square().mean()
            rows.append([true["nll"], true["mel"], commitment, shuffled["nll"] - true["nll"]])
            seen += codes.flatten().tolist()
    nll, mel, commitment, gap = np.average(np.array(rows, dtype=float), axis=0, weights=[4, 2])
    counts = np.bincount(seen)
    expected = {
        "loss": nll,
        "nll": nll,
        "mel": mel,
        "commitment": commitment,
        "gap": gap,
        "bits_per_sample": nll / math.log(2),
        "used_codes": len(set(seen)),
        "perplexity": math.exp(stats.entropy(counts)),
    }
    assert figures == pytest.approx(expected, rel=1e-4, abs=1e-6)


@given(st.lists(st.integers(0, 1000), min_size=1, max_size=50).filter(any))
def test_perplexity_against_scipy(counts):
    assert perplexity(torch.tensor(counts, dtype=torch.float32)) == pytest.approx(
        math.exp(stats.entropy(counts)), rel=1e-4
    )


def test_measuring_changes_nothing(tiny):
    torch.manual_seed(0)
    model = initialized(build(tiny.model, 3))
    before = {key: value.clone() for key, value in model.state_dict().items()}
    assert model.held_out(batches(320)) == model.held_out(batches(320))
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_a_trained_decoder_needs_its_codes(trained):
    model, held_out = trained
    figures = model.held_out(held_out)
    assert figures["gap"] > 0.05
    assert figures["used_codes"] >= 8
    assert model.concerns(figures) == []


def test_a_decoder_that_ignores_its_codes_is_reported(trained):
    model, held_out = deepcopy(trained[0]), trained[1]
    nn.init.zeros_(model.decoder.conditioner.codes.weight)
    figures = model.held_out(held_out)
    assert figures["gap"] == pytest.approx(0, abs=1e-6)
    [concern] = model.concerns(figures)
    assert "hardly uses its codes" in concern


def test_jitter_only_in_training(tiny):
    torch.manual_seed(0)
    model = initialized(build(replace(tiny.model, jitter=0.9), 3))
    batch = batches(320)[0]
    assert model(batch)["mel"] == model(batch)["mel"]
    model.train()
    assert model(batch)["mel"] != model(batch)["mel"]


@pytest.mark.parametrize("kind", ["vq", "ema"])
def test_frozen_parts_stay_bit_for_bit(tiny, kind):
    torch.manual_seed(0)
    quantizer = VQConfig(codes=16, dim=8) if kind == "vq" else tiny.model.bottleneck
    model = initialized(build(replace(tiny.model, bottleneck=quantizer), 3))
    before = {key: value.clone() for key, value in model.state_dict().items()}
    model.freeze(["encoder", "bottleneck", "decoder.conditioner.net"])
    model.train()
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], 1e-2, weight_decay=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        total(model(batches(320)[0])).backward()
        optimizer.step()
    frozen = ("encoder.", "bottleneck.", "decoder.conditioner.net.")
    for key, value in model.state_dict().items():
        assert torch.equal(value, before[key]) == key.startswith(frozen), key


def test_freezing_outlasts_train_and_eval(tiny):
    model = build(tiny.model, 3)
    model.freeze(["encoder"])
    model.eval().train()
    assert not any(module.training for module in model.encoder.modules())
    assert model.decoder.training
    assert model.jitter.training


def test_utterances_of_different_lengths_decode_together(tiny):
    torch.manual_seed(0)
    model = initialized(build(tiny.model, 3))
    codes = [torch.tensor([3, 1]), torch.tensor([5, 5, 2, 0])]
    with torch.inference_mode():
        wavs = model.decode(codes, torch.tensor([0, 2]), Sampling(), [0, 1])
    assert [len(wav) for wav in wavs] == [2 * 320, 4 * 320]


def test_a_hop_that_does_not_divide_is_refused(tiny):
    config = replace(tiny.model, decoder=MelDecoderConfig(conditioner=ConditionerConfig(upsample=3, channels=8)))
    with pytest.raises(SpeechVQError, match=r"320 samples .*upsample = 3"):
        build(config, 3)


def test_an_unknown_part_is_refused_by_name(tiny):
    with pytest.raises(SpeechVQError, match=r"no part 'decoder.wavenet'; its parts: .*decoder\.conditioner"):
        build(tiny.model, 3).freeze(["decoder.wavenet"])

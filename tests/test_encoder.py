"""The strided encoder at 64 to 640 samples per latent; latents are centred on their own samples."""

import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from speechvq.config import EMAConfig, ModelConfig, StridedEncoderConfig
from speechvq.nn.encoder.contract import INPUTS
from speechvq.nn.encoder.strided import StridedEncoder
from speechvq.nn.vqvae import build

STRIDES = {64: (2,) * 6, 128: (2,) * 7, 320: (2,) * 6 + (5,), 640: (2,) * 7 + (5,)}
FEATURE_STRIDES = {320: (2,), 640: (2, 2)}
CASES = [("wave", rate) for rate in STRIDES] + [(kind, rate) for kind in ("logmel", "mfcc") for rate in FEATURE_STRIDES]


def config(kind: str, rate: int, **settings) -> StridedEncoderConfig:
    strides = STRIDES if kind == "wave" else FEATURE_STRIDES
    return StridedEncoderConfig(kind=kind, strides=strides[rate], channels=6, **{"blocks": 1, **settings})


@pytest.mark.parametrize(("kind", "rate"), CASES)
def test_one_code_for_each_hop_even_if_incomplete(kind, rate):
    torch.manual_seed(0)
    model = build(ModelConfig(config(kind, rate), EMAConfig(codes=8, dim=4)), speakers=1).eval()
    model.bottleneck.initialize(torch.randn(8, 4))
    assert model.hop_length == rate
    for samples in (1, rate - 1, rate, rate + 1, 5 * rate + 7):
        wav = 0.1 * torch.randn(2, samples)
        codes = model.encode(wav)
        assert codes.shape == (2, math.ceil(samples / rate))
        padded = torch.cat([wav, torch.zeros(2, -samples % rate)], dim=1)
        assert torch.equal(codes, model.encode(padded))


def open_up(net: nn.Module) -> None:
    """Change weights and biases so that every ReLU is open, and the gradient shows all connections."""
    for name, parameter in net.named_parameters():
        parameter.data.abs_()
        if name.endswith("bias"):
            parameter.data += 1000.0


@pytest.mark.parametrize(("kind", "rate"), CASES)
def test_a_latent_is_centred_on_its_samples(kind, rate):
    torch.manual_seed(0)
    encoder = StridedEncoder(config(kind, rate), 4).eval()
    open_up(encoder)
    wav = (0.1 * torch.randn(1, 24 * rate)).requires_grad_()
    n = 12
    encoder(wav)[0, :, n].sum().backward()
    seen = wav.grad[0].nonzero().flatten()
    first, last = int(seen[0]), int(seen[-1])
    assert first > 0
    assert last < wav.shape[1] - 1
    assert encoder.receptive_field - 2 <= last - first + 1 <= encoder.receptive_field
    assert 0 <= encoder.margin * rate - (encoder.receptive_field - rate) / 2 < rate
    # One sample of tolerance, since a Hann window begins with a zero.
    assert abs(first + last - (2 * n * rate + rate - 1)) <= 1
    assert first <= n * rate - rate // 2  # and depends on its neighbours


@pytest.mark.parametrize(("kind", "rate"), CASES)
def test_a_latent_depends_on_each_of_its_samples(kind, rate):
    torch.manual_seed(0)
    encoder = StridedEncoder(replace(config(kind, rate), channels=48), 4).train()  # normalised over this batch
    wav = (0.1 * torch.randn(2, 9 * rate)).requires_grad_()
    z = encoder(wav)
    (z[0, :, 4] * torch.randn(4)).sum().backward()
    own = wav.grad[0, 4 * rate : 5 * rate].abs()
    assert own.min() > 0
    with torch.no_grad():
        other = wav.clone()
        other[0, 4 * rate : 5 * rate] = 0
        assert (encoder(other) - z)[0, :, 4].abs().max() > 0.1 * z.std()


def test_batch_normalization_keeps_latents_on_one_scale():
    torch.manual_seed(0)
    wav = 0.1 * torch.randn(4, 3200)
    normed = StridedEncoder(config("logmel", 320), 4).train()(wav)
    torch.testing.assert_close(normed.mean((0, 2)), torch.zeros(4), atol=1e-4, rtol=0)
    torch.testing.assert_close(normed.std((0, 2)), torch.ones(4), atol=0.05, rtol=0)
    free = StridedEncoder(config("logmel", 320, batch_norm=False), 4).train()(wav)
    assert (free.std((0, 2)) - 1).abs().max() > 0.2


@pytest.mark.parametrize("kind", ["wave", "logmel", "mfcc"])
def test_no_strides_give_one_code_a_frame(kind):
    encoder = StridedEncoder(StridedEncoderConfig(kind=kind, strides=(), channels=6, blocks=1), 4).eval()
    wav = torch.randn(1, 4 * encoder.hop_length)
    assert encoder.hop_length == INPUTS[kind]().hop
    assert encoder(wav).shape == (1, 4, 4)


def test_more_blocks_have_a_larger_receptive_field():
    def reach(blocks: int) -> int:
        encoder = StridedEncoder(config("wave", 64, blocks=blocks), 4).eval()
        open_up(encoder)
        wav = (0.1 * torch.randn(1, 64 * 60)).requires_grad_()
        encoder(wav)[0, :, 30].sum().backward()
        return int((wav.grad[0] != 0).sum())

    # Dilations 1, 3, 9: each block adds its dilation to both sides, in latents.
    assert [reach(blocks) - reach(0) for blocks in (1, 2, 3)] == [2 * 64, 8 * 64, 26 * 64]

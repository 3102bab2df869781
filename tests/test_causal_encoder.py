"""The causal encoder: the samples on which a latent depends, and the same latents in a stream."""

import numpy as np
import pytest
import torch

from speechvq import SpeechVQError
from speechvq.config import CausalEncoderConfig
from speechvq.nn.encoder.causal import PRIOR_FRAMES, CausalEncoder, RunningMean

CASES = [
    CausalEncoderConfig(channels=8, dilations=(1, 2, 4), outputs=(0, 3)),
    CausalEncoderConfig(channels=8, dilations=(1, 2, 4), outputs=(1, 2, 3), lookahead=1, strides=(2, 1)),
    CausalEncoderConfig(channels=8, dilations=(2, 1), outputs=(2,), lookahead=2, strides=(4, 1), pointwise=0),
    CausalEncoderConfig(channels=8, dilations=(1, 2), outputs=(2,), mean=9),
]


def encoder(config: CausalEncoderConfig) -> CausalEncoder:
    torch.manual_seed(0)
    net = CausalEncoder(config, 4)
    net.train()(0.1 * torch.randn(4, 16_000))  # statistics for the normalisations
    return net.eval()


@pytest.mark.parametrize("config", CASES)
def test_a_latent_depends_on_its_memory_and_its_lookahead_and_no_more(config):
    net = encoder(config)
    hop, n = net.hop_length, 8_000 // net.hop_length
    wav = (0.1 * torch.randn(1, 16_000 // hop * hop)).requires_grad_()
    net(wav)[0, :, n].square().sum().backward()
    seen = wav.grad[0].nonzero().flatten()
    first, last = int(seen[0]), int(seen[-1])
    # One sample of tolerance, since a Hann window begins with a zero.
    assert 0 <= net.memory - (n * hop - first) <= 1
    assert 0 <= net.lookahead - (last - ((n + 1) * hop - 1)) <= 1


def test_the_default_has_a_lookahead_of_280_samples():
    """Half of a frame's window beyond its hop, and the first convolution."""
    assert encoder(CausalEncoderConfig()).lookahead == 280


@pytest.mark.parametrize("config", CASES)
def test_a_window_with_its_margin_gives_the_same_latents(config):
    net = encoder(config)
    hop, margin = net.hop_length, net.margin
    wav = 0.1 * torch.randn(1, 40 * hop)
    whole = net(wav)
    begin, end = margin + 1, margin + 5
    window = net(wav[:, (begin - margin) * hop : (end + margin) * hop])
    torch.testing.assert_close(window[..., margin:-margin], whole[..., begin:end], rtol=1e-4, atol=1e-5)


def test_an_encoder_without_projection_has_layers():
    net = CausalEncoder(CASES[0], 0)
    layers = net.layers(torch.randn(2, 80, 40))
    assert [layer.shape for layer in layers] == [(2, 8, 20)] * 4
    assert len(net.layers(torch.randn(2, 80, 40), 1)) == 2
    assert not [name for name in net.state_dict() if "project" in name]


def test_the_running_mean_is_that_of_the_last_loud_frames():
    feats = torch.randn(2, 5, 30, generator=torch.Generator().manual_seed(0))
    found = RunningMean(7)(feats).numpy()
    rows = feats.double().numpy()
    for b in range(2):
        for t in range(30):
            past = rows[b, :, max(t - 6, 0) : t + 1]
            weight = np.exp(past.mean(0))
            mean = (past * weight).sum(1) / (weight.sum() + PRIOR_FRAMES)
            np.testing.assert_allclose(found[b, :, t], rows[b, :, t] - mean, atol=1e-5)


def test_a_running_mean_takes_out_a_level_and_a_filter():
    """Of long speech, all but what the frames before the first leave; and pauses do not move it."""
    feats = torch.randn(1, 80, 900, generator=torch.Generator().manual_seed(0))
    filtered = feats + torch.linspace(-1, 1, 80)[:, None]
    net = RunningMean(300)
    assert (net(filtered) - net(feats))[..., 400:].abs().mean() < 0.1 * (filtered - feats).abs().mean()
    paused = torch.cat([feats, feats.new_full((1, 80, 100), -6.0)], 2)
    speech, pause = net(paused)[..., 890].mean(), net(paused)[..., -1].mean()
    assert (net(feats)[..., 890].mean() - speech).abs() < 1e-4
    assert pause < -5


def test_more_lookahead_than_blocks_is_refused():
    with pytest.raises(SpeechVQError, match="3 blocks, not 4"):
        CausalEncoder(CausalEncoderConfig(dilations=(1, 1, 1), lookahead=4), 0)

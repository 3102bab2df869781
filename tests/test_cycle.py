"""A loss on what is decoded for another speaker and encoded again."""

from dataclasses import replace

import pytest
import torch

from speechvq import SpeechVQError
from speechvq.config import CycleConfig, VocoderDecoderConfig
from speechvq.nn.decoder.vocoder import log_mel
from speechvq.nn.objective.cycle import cycle_loss
from speechvq.nn.vqvae import Batch, build


@pytest.fixture
def config(tiny):
    """A codec with the loss; a latent is of two frames of 10 ms."""
    conditioner = replace(tiny.model.decoder.conditioner, upsample=2)
    decoder = VocoderDecoderConfig(conditioner=conditioner, vocoder_channels=8, vocoder_blocks=1)
    return replace(tiny.model, decoder=decoder, jitter=0.0, cycle=CycleConfig(weight=0.5))


def test_the_latents_are_those_of_the_spectrum_that_is_predicted_for_the_speaker_of_the_row_before(config):
    torch.manual_seed(0)
    model = build(config, 3).eval()
    z_q, z, speaker = torch.randn(3, 8, 10), torch.randn(3, 8, 10), torch.tensor([0, 2, 1])
    decoder = model.decoder
    predicted = log_mel(decoder.predicted(z_q, torch.tensor([1, 0, 2])))
    expected = (model.encoder.from_features(predicted) - z).square().mean()
    torch.testing.assert_close(cycle_loss(model.encoder, decoder, z, z_q, speaker), expected)


def test_the_decoder_learns_and_the_encoder_that_hears_it_does_not(config):
    torch.manual_seed(0)
    model = build(config, 3).train()
    z = torch.randn(3, 8, 10, requires_grad=True)
    statistics = {name: buffer.clone() for name, buffer in model.encoder.named_buffers()}
    cycle_loss(model.encoder, model.decoder, z, z, torch.arange(3)).backward()
    assert all(weight.grad is None for weight in model.encoder.parameters())
    assert all(buffer.equal(statistics[name]) for name, buffer in model.encoder.named_buffers())
    assert model.decoder.project.weight.grad.abs().sum() > 0
    assert z.grad.abs().sum() > 0


def test_it_is_a_weighted_loss_of_training(config):
    torch.manual_seed(0)
    model = build(config, 3).train()
    batch = Batch(0.1 * torch.randn(3, 3200), torch.arange(3))
    losses = model(batch)
    torch.manual_seed(0)
    double = build(replace(config, cycle=CycleConfig(weight=1.0)), 3).train()
    torch.manual_seed(0)
    batch = Batch(0.1 * torch.randn(3, 3200), torch.arange(3))
    assert 0 < losses["cycle"] < double(batch)["cycle"]
    assert "cycle" not in model.eval().held_out([batch])


def test_a_decoder_that_predicts_no_spectrum_or_other_frames_is_refused(config, tiny):
    for other in (
        replace(config, decoder=tiny.model.decoder),
        replace(config, decoder=replace(config.decoder, conditioner=replace(config.decoder.conditioner, upsample=1))),
        replace(config, encoder=replace(config.encoder, kind="mfcc")),
    ):
        with pytest.raises(SpeechVQError, match=r"model\.cycle is for an encoder of log-mel and a vocoder decoder"):
            build(other, 3)

"""The bottlenecks without codes, against torch.distributions."""

import math

import pytest
import torch
from torch.distributions import Normal, kl_divergence

from speechvq.config import AEConfig, VAEConfig
from speechvq.config.parsing import parse
from speechvq.nn.bottleneck.continuous import Gaussian, Identity
from speechvq.nn.vqvae import Batch, build

D = 5


def latents() -> torch.Tensor:
    return torch.randn(3, D, 40, generator=torch.Generator().manual_seed(0))


def gaussian(**options: float) -> Gaussian:
    torch.manual_seed(0)
    return Gaussian(parse(VAEConfig, {"dim": D, **options}))


def posterior(bottleneck: Gaussian, z: torch.Tensor) -> Normal:
    mean, log_var = bottleneck.project(z).chunk(2, dim=1)
    return Normal(mean, (log_var / 2).exp())


def test_the_autoencoder_changes_nothing():
    z = latents()
    latent = Identity(AEConfig(dim=D))(z)
    assert latent.z is z
    assert latent.codes is None
    assert latent.losses == {}
    assert Identity(AEConfig(dim=D)).represent(z) is z


@torch.no_grad()
def test_divergence_against_torch():
    bottleneck = gaussian(beta=0.5, warmup=0)
    bottleneck.train()(latents())  # the first step of training weighs nothing
    latent = bottleneck.eval()(latents())
    expected = kl_divergence(posterior(bottleneck, latents()), Normal(0.0, 1.0))
    assert latent.losses["kl"].item() == pytest.approx(0.5 * expected.mean().item(), rel=1e-5)
    assert latent.bits is not None
    assert latent.bits.item() == pytest.approx(expected.sum(1).mean().item() / math.log(2), rel=1e-5)


@torch.no_grad()
def test_draws_have_the_moments_of_the_posterior():
    bottleneck = gaussian()
    z = latents()[:1, :, :1].expand(20_000, D, 1)
    drawn, expected = bottleneck(z).z[..., 0], posterior(bottleneck, z[:1])
    torch.testing.assert_close(drawn.mean(0), expected.mean[0, :, 0], atol=0.05, rtol=0)
    torch.testing.assert_close(drawn.std(0), expected.stddev[0, :, 0], atol=0.05, rtol=0)
    assert torch.equal(bottleneck.represent(z[:1]), expected.mean)


def test_divergence_is_warmed_up_in_training_alone():
    bottleneck = gaussian(warmup=4)
    weights = []
    for _ in range(7):
        latent = bottleneck.train()(latents())
        before = bottleneck.step.item()
        bottleneck.eval()(latents())
        assert bottleneck.step.item() == before
        weights.append((latent.losses["kl"] / latent.bits).item())
    share = [weight / weights[-1] for weight in weights]
    assert share == pytest.approx([0, 0.25, 0.5, 0.75, 1, 1, 1], rel=1e-5)


def test_a_gaussian_reports_its_bits(tiny):
    torch.manual_seed(0)
    model = build(type(tiny.model)(tiny.model.encoder, VAEConfig(dim=8), tiny.model.decoder), 3).eval()
    figures = model.held_out([Batch(0.1 * torch.randn(4, 3200), torch.zeros(4, dtype=torch.int64))])
    assert figures["bits_per_latent"] > 0

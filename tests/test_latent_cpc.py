"""The loss of predicted latents, against a loop, and on sequences with and without order."""

import math

import pytest
import torch

from speechvq.config import PredictorConfig
from speechvq.nn.objective.latent_cpc import LatentCPC

D, N = 6, 20


def train(sequences: torch.Tensor, steps: int = 150) -> float:
    """The loss on held-out sequences after training."""
    torch.manual_seed(0)
    predictor = LatentCPC(PredictorConfig(weight=1.0, ahead=2, channels=32), D)
    optimizer = torch.optim.Adam(predictor.parameters(), 1e-2)
    for _ in range(steps):
        optimizer.zero_grad()
        predictor(sequences[:-8]).backward()
        optimizer.step()
    with torch.no_grad():
        return predictor(sequences[-8:]).item()


def test_against_a_loop():
    torch.manual_seed(0)
    predictor, z = LatentCPC(PredictorConfig(ahead=3, channels=5), D), torch.randn(2, D, N)
    context, _ = predictor.context(z.transpose(1, 2))
    by_step = []
    for k, linear in enumerate(predictor.ahead, 1):
        losses = []
        for row in range(2):
            for t in range(N - k):
                scores = torch.stack([linear(context[row, t]) @ z[row, :, other] for other in range(N)]) / math.sqrt(D)
                losses.append(-scores.log_softmax(0)[t + k])
        by_step.append(torch.stack(losses).mean())
    assert predictor(z).item() == pytest.approx(torch.stack(by_step).mean().item(), rel=1e-5)


def test_the_context_does_not_depend_on_later_latents():
    torch.manual_seed(0)
    predictor, z = LatentCPC(PredictorConfig(ahead=1, channels=5), D), torch.randn(1, D, N)
    context, _ = predictor.context(z.transpose(1, 2))
    z[..., 10:] = 0
    later, _ = predictor.context(z.transpose(1, 2))
    assert torch.equal(context[:, :10], later[:, :10])


def test_order_is_predicted_and_noise_is_not():
    generator = torch.Generator().manual_seed(1)
    noise = torch.randn(32, D, N, generator=generator)
    starts = torch.randint(N, (32, 1), generator=generator)
    points = torch.randn(N, D, generator=generator)
    ordered = points[(starts + torch.arange(N)) % N].transpose(1, 2)  # a fixed cycle, entered anywhere
    assert train(ordered) < 0.3 * math.log(N)
    assert train(noise, 30) > 0.9 * math.log(N)


def test_the_loss_reaches_the_latents():
    torch.manual_seed(0)
    z = torch.randn(2, D, N).requires_grad_()
    LatentCPC(PredictorConfig(), D)(z).backward()
    assert z.grad is not None
    assert z.grad.abs().sum((0, 1)).min() > 0

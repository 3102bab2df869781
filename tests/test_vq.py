"""What all vector quantizers share, and the two ways of learning a codebook, against NumPy oracles."""

from dataclasses import replace
from typing import get_args, get_type_hints

import numpy as np
import pytest
import torch

from speechvq.config import EMAConfig, ModelConfig, VQConfig
from speechvq.nn.bottleneck import BOTTLENECKS
from speechvq.nn.bottleneck.vq import EMAVQ, GradientVQ, VectorQuantizer

VARIANTS = {variant.kind: variant for variant in get_args(get_type_hints(ModelConfig)["bottleneck"])}
QUANTIZERS = {kind: kept for kind, kept in BOTTLENECKS.items() if issubclass(kept, VectorQuantizer)}
CONFIGS = {kind: VARIANTS[kind] for kind in QUANTIZERS}
K, D = 7, 3


def fresh(kind: str) -> VectorQuantizer:
    torch.manual_seed(0)
    return QUANTIZERS[kind](CONFIGS[kind](codes=K, dim=D)).train()


@pytest.fixture(params=QUANTIZERS)
def quantizer(request) -> VectorQuantizer:
    result = fresh(request.param)
    result.initialize(torch.randn(K, D))
    return result


def latents(batch: int = 4, length: int = 11) -> torch.Tensor:
    return torch.randn(batch, D, length, generator=torch.Generator().manual_seed(1)).requires_grad_()


def brute_force(vectors: np.ndarray, table: np.ndarray) -> np.ndarray:
    """All squared distances, in float64."""
    return ((vectors[:, None].astype(np.float64) - table[None]) ** 2).sum(-1)


def test_a_row_of_the_codebook_has_its_own_code(quantizer):
    codes = torch.arange(K)[None]
    assert torch.equal(quantizer.lookup(codes)[0].T, quantizer.table)
    assert torch.equal(quantizer.encode(quantizer.lookup(codes)), codes)


def test_codes_are_the_nearest_ones(quantizer):
    z = latents()
    rows = z.detach().transpose(1, 2).reshape(-1, D).numpy()
    expected = brute_force(rows, quantizer.table.detach().numpy()).argmin(1)
    assert quantizer(z).codes.flatten().tolist() == expected.tolist()


@pytest.mark.parametrize("kind", QUANTIZERS)
def test_with_a_penalty_codes_change_less_often(kind):
    """In training, also with a frozen codebook; files are encoded with a penalty of their own."""
    quantizer = QUANTIZERS[kind](CONFIGS[kind](codes=K, dim=D, penalty=1e6)).train()
    quantizer.initialize(torch.randn(K, D, generator=torch.Generator().manual_seed(0)))
    for mode in (True, False):
        held = quantizer.train(mode)(latents(), penalized=True).codes
        assert (held == held[:, :1]).all()
    assert quantizer(latents()).codes.equal(quantizer.encode(latents()))


def test_straight_through_gradient_is_the_decoders(quantizer):
    z = latents()
    decoder = torch.nn.Sequential(torch.nn.Conv1d(D, 5, 3), torch.nn.Tanh(), torch.nn.Conv1d(5, 1, 1))
    quantized = quantizer(z)
    decoder(quantized.z).square().sum().backward()  # no commitment in it
    z_q = quantized.z.detach().requires_grad_()
    decoder(z_q).square().sum().backward()
    assert z_q.grad.abs().min() > 0
    assert torch.equal(z.grad, z_q.grad)
    assert all(parameter.grad is None for parameter in quantizer.parameters())


def test_commitment_moves_only_z(quantizer):
    z = latents()
    table = quantizer.table.detach().clone()
    quantized = quantizer(z)
    quantized.losses["commitment"].backward()
    chosen = table[quantized.codes].transpose(1, 2)
    difference = (z.detach() - chosen).double().numpy()
    beta = quantizer.config.beta
    assert quantized.losses["commitment"].item() == pytest.approx(beta * (difference**2).mean(), rel=1e-5)
    np.testing.assert_allclose(z.grad.numpy(), beta * 2 * difference / difference.size, rtol=1e-4, atol=1e-8)
    assert all(parameter.grad is None for parameter in quantizer.parameters())


def test_codebook_loss_moves_only_the_codebook():
    quantizer, z = fresh("vq"), latents()
    quantizer.initialize(torch.randn(K, D))
    quantized = quantizer(z)
    quantized.losses["codebook"].backward()
    rows = z.detach().transpose(1, 2).reshape(-1, D).double().numpy()
    codes, table = quantized.codes.flatten().numpy(), quantizer.table.detach().double().numpy()
    gradient = np.zeros((K, D))
    np.add.at(gradient, codes, 2 * (table[codes] - rows) / rows.size)
    np.testing.assert_allclose(quantizer.codebook.grad.numpy(), gradient, rtol=1e-4, atol=1e-7)
    assert quantized.losses["codebook"].item() == pytest.approx(((table[codes] - rows) ** 2).mean(), rel=1e-5)
    assert z.grad is None


@pytest.mark.parametrize("kind", QUANTIZERS)
def test_evaluation_does_not_initialize(kind):
    quantizer = fresh(kind).eval()
    quantizer(latents())
    assert not quantizer.initialized


@pytest.mark.parametrize("kind", QUANTIZERS)
def test_a_random_codebook_does_not_look_at_the_batch(kind):
    torch.manual_seed(0)
    quantizer = QUANTIZERS[kind](CONFIGS[kind](codes=200, dim=D, init="random")).train()
    quantizer(latents() + 50)
    # The codes near the batch may have moved in that one step; the most have not.
    assert quantizer.initialized
    assert quantizer.table.median().abs() < 0.2


@pytest.mark.parametrize("rate", [1.0, 10.0])
def test_a_codebook_of_its_own_rate(rate):
    """One step of Adam moves every element by the learning rate: here by `rate` times as much."""
    torch.manual_seed(0)
    quantizer = GradientVQ(VQConfig(codes=K, dim=D, rate=rate)).train()
    table = torch.randn(K, D)
    quantizer.initialize(table)
    torch.testing.assert_close(quantizer.table.detach(), table)
    optimizer = torch.optim.Adam(quantizer.parameters(), 1e-3)
    used = quantizer(latents(64)).codes.unique()
    sum(quantizer(latents(64)).losses.values()).backward()
    optimizer.step()
    moved = (quantizer.table.detach() - table)[used].abs()
    torch.testing.assert_close(moved, torch.full_like(moved, 1e-3 * rate), rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("kind", QUANTIZERS)
def test_the_first_training_batch_sets_the_codebook(kind):
    quantizer = fresh(kind)
    z = latents(batch=8) + 50
    first = quantizer(z)
    assert quantizer.initialized
    rows = z.detach().transpose(1, 2).reshape(-1, D)
    assert (quantizer.table >= rows.min(0).values - 0.1).all()
    assert (quantizer.table <= rows.max(0).values + 0.1).all()
    assert len(first.codes.unique()) >= K - 1
    # 7 centres for 88 vectors of 3 dimensions explain much of the variance.
    assert (first.z - z).square().mean() < 0.6 * rows.var(0).mean()
    elsewhere = latents() - 50
    quantizer(elsewhere)
    assert quantizer.table.detach().median() > 40  # not again by a later batch


def test_initialized_survives_a_checkpoint(quantizer):
    other = type(quantizer)(quantizer.config)
    assert not other.initialized
    other.load_state_dict(quantizer.state_dict())
    assert other.initialized
    assert torch.equal(other.encode(latents()), quantizer.encode(latents()))


def test_ema_against_numpy():
    config = EMAConfig(codes=K, dim=D, decay=0.8, restart=0.0)
    quantizer = EMAVQ(config).train()
    table = np.random.default_rng(0).standard_normal((K, D))
    quantizer.initialize(torch.from_numpy(table).float())
    sums, counts = table.copy(), np.ones(K)
    for seed in range(6):
        z = torch.randn(3, D, 9, generator=torch.Generator().manual_seed(seed))
        rows = z.transpose(1, 2).reshape(-1, D).double().numpy()
        codes = brute_force(rows, sums / counts[:, None]).argmin(1)
        assert quantizer(z).codes.flatten().tolist() == codes.tolist()
        hits = np.eye(K)[codes]
        sums = 0.8 * sums + 0.2 * hits.T @ rows
        counts = 0.8 * counts + 0.2 * hits.sum(0)
        np.testing.assert_allclose(quantizer.table.numpy(), sums / counts[:, None], rtol=1e-4, atol=1e-5)


def test_ema_has_nothing_for_the_optimizer():
    assert not list(fresh("ema").parameters())
    assert set(dict(fresh("ema").named_buffers())) == {"sums", "counts"}  # the only state


def test_an_unused_code_stays_where_it_is():
    quantizer = EMAVQ(EMAConfig(codes=2, dim=D, decay=0.5, restart=0.0)).train()
    quantizer.initialize(torch.tensor([[0.0] * D, [1e3] * D]))
    for seed in range(200):
        quantizer(torch.randn(1, D, 8, generator=torch.Generator().manual_seed(seed)))
    torch.testing.assert_close(quantizer.table[1], torch.full((D,), 1e3), rtol=1e-4, atol=0)


def test_a_dead_code_comes_back_and_stays():
    quantizer = EMAVQ(EMAConfig(codes=K, dim=D, decay=0.9, restart=0.1)).train()
    torch.manual_seed(0)
    table = torch.randn(K, D)
    table[3] = 1e4
    quantizer.initialize(table)
    batches = torch.randn(120, 4, D, 32)
    used = [bool((quantizer(z).codes == 3).any()) for z in batches]
    # Its count shrinks to 0.9^n while the mean grows to 128 / 7: below a tenth of it after a few steps.
    assert not any(used[:3])
    back = used.index(True)
    assert back < 20
    assert np.mean(used[back:]) > 0.9
    assert quantizer.table[3].abs().max() < 5


def test_a_restarted_code_is_not_taken_back_by_the_next_update():
    quantizer = EMAVQ(EMAConfig(codes=2, dim=D, decay=0.99, restart=0.5)).train()
    quantizer.initialize(torch.tensor([[0.0] * D, [1e4] * D]))
    quantizer.counts.copy_(torch.tensor([10.0, 0.1]))
    quantizer.sums.copy_(torch.tensor([[0.0] * D, [1e3] * D]))  # the dead code is still at 1e4
    z = torch.randn(2, D, 64)
    quantizer(z)
    moved = quantizer.table[1].clone()
    rows = z.transpose(1, 2).reshape(-1, D)
    assert brute_force(moved[None].numpy(), rows.numpy()).min() < 1e-6  # onto a vector of the batch
    quantizer(z)
    assert (quantizer.table[1] - moved).norm() < 0.2


def test_restart_leaves_used_codes_alone():
    quantizer = EMAVQ(EMAConfig(codes=2, dim=1, decay=0.99, restart=0.1)).train()
    quantizer.initialize(torch.tensor([[-1.0], [1.0]]))
    z = torch.tensor([[[-1.0] * 9 + [1.0] * 3]])  # a quarter of the vectors: rare, not dead
    for _ in range(400):
        quantizer(z)
    torch.testing.assert_close(quantizer.table, torch.tensor([[-1.0], [1.0]]), rtol=1e-5, atol=0)
    torch.testing.assert_close(quantizer.counts, torch.tensor([9.0, 3.0]), rtol=0.05, atol=0)


def test_gradient_codebook_descends_to_the_means():
    quantizer = GradientVQ(VQConfig(codes=2, dim=1)).train()
    quantizer.initialize(torch.tensor([[-0.2], [0.3]]))
    optimizer = torch.optim.SGD(quantizer.parameters(), 0.5)
    z = torch.tensor([[[-2.0, -1.0, 1.0, 3.0]]])
    for _ in range(100):
        optimizer.zero_grad()
        sum(quantizer(z).losses.values()).backward()
        optimizer.step()
    torch.testing.assert_close(quantizer.table.detach(), torch.tensor([[-1.5], [2.0]]), rtol=1e-4, atol=1e-4)


def test_beta_zero_switches_commitment_off():
    for kind, config in CONFIGS.items():
        quantizer = QUANTIZERS[kind](replace(config(codes=K, dim=D), beta=0.0)).train()
        assert quantizer(latents()).losses["commitment"].item() == 0

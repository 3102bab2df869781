"""The contracts of any bottleneck and of any discrete one: what stands in the table is tested."""

from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest
import torch
from accelerate import PartialState
from test_distributed import launch
from torch import Tensor

from speechvq import SpeechVQError
from speechvq.config import ModelConfig
from speechvq.config.parsing import parse
from speechvq.nn.bottleneck import BOTTLENECKS, Bottleneck, Discrete
from speechvq.nn.distributed import leave, rank_and_count
from speechvq.nn.trainable import total
from speechvq.nn.vqvae import Batch, build

CONFIGS = {variant.kind: variant for variant in get_args(get_type_hints(ModelConfig)["bottleneck"])}
DISCRETE = [kind for kind, cls in BOTTLENECKS.items() if issubclass(cls, Discrete)]
D = 6
SETTINGS: dict[str, Any] = {"dim": D, "codes": 12, "levels": [4, 3]}


def settings(kind: str) -> dict[str, Any]:
    """SETTINGS, as far as the configuration has them."""
    return {"kind": kind} | {key: value for key, value in SETTINGS.items() if key in get_type_hints(CONFIGS[kind])}


def fresh(kind: str, seed: int = 0) -> Bottleneck:
    torch.manual_seed(seed)
    return BOTTLENECKS[kind](parse(CONFIGS[kind], settings(kind)))


def trained(kind: str) -> Bottleneck:
    """After three batches, in evaluation mode."""
    bottleneck = fresh(kind).train()
    for seed in range(3):
        bottleneck(latents(seed=seed))
    return bottleneck.eval()


def latents(batch: int = 4, length: int = 11, seed: int = 1) -> Tensor:
    return torch.randn(batch, D, length, generator=torch.Generator().manual_seed(seed))


def forward_in_training(bottleneck: Bottleneck, z: Tensor) -> list[Tensor]:
    """z and losses of a step that draws its random numbers from one start."""
    torch.manual_seed(3)
    latent = bottleneck.train()(z)
    return [latent.z, *latent.losses.values()]


@pytest.fixture(params=BOTTLENECKS)
def bottleneck(request) -> Bottleneck:
    return trained(request.param)


@pytest.fixture(params=DISCRETE)
def discrete(request) -> Discrete:
    result = trained(request.param)
    assert isinstance(result, Discrete)
    return result


def test_every_kind_has_a_configuration_and_a_class():
    assert set(CONFIGS) == set(BOTTLENECKS)
    assert {kind: fresh(kind).codes for kind in CONFIGS} == {
        kind: parse(cls, settings(kind)).codes for kind, cls in CONFIGS.items()
    }


# --- any bottleneck


@pytest.mark.parametrize("mode", [True, False])
def test_the_decoder_gets_as_many_latents_as_the_encoder_gave(bottleneck, mode):
    latent = bottleneck.train(mode)(latents())
    assert (latent.z.shape, latent.z.dtype) == ((4, D, 11), torch.float32)
    assert all(loss.shape == () and torch.isfinite(loss) for loss in latent.losses.values())
    assert (latent.codes is not None) == isinstance(bottleneck, Discrete) == (bottleneck.codes > 0)
    assert bottleneck.represent(latents()).shape == (4, D, 11)


def test_evaluation_never_moves_the_state(bottleneck):
    before = {key: value.clone() for key, value in bottleneck.state_dict().items()}
    bottleneck(latents(seed=7) + 3)
    bottleneck.represent(latents(seed=8) - 3)
    assert all(torch.equal(value, before[key]) for key, value in bottleneck.state_dict().items())


@pytest.mark.parametrize("kind", BOTTLENECKS)
def test_the_state_is_all_there_is(kind):
    one, other = trained(kind), fresh(kind, seed=1).eval()
    other.load_state_dict(one.state_dict())
    assert torch.equal(one.represent(latents()), other.represent(latents()))
    results = [forward_in_training(bottleneck, latents(seed=9)) for bottleneck in (one, other)]
    assert all(torch.equal(*pair) for pair in zip(*results, strict=True))


def test_a_latent_is_represented_alone(bottleneck):
    """Not its company in the batch nor its neighbours in time matter: chunks give what the whole gives."""
    whole = bottleneck.represent(latents())
    for part in (bottleneck.represent(latents()[1:2])[0], bottleneck.represent(latents()[1:2, :, 3:7])[0]):
        torch.testing.assert_close(part, whole[1] if part.shape[1] == 11 else whole[1, :, 3:7], atol=1e-6, rtol=1e-6)


def test_the_gradient_reaches_every_latent(bottleneck):
    z = latents().requires_grad_()
    target = torch.randn(4, D, 11)
    (bottleneck.train()(z).z * target).sum().backward()
    assert torch.isfinite(z.grad).all()
    assert z.grad.abs().sum(1).min() > 0


def test_mixed_precision_does_not_reach_it(bottleneck):
    results = []
    for enabled in (True, False):
        torch.manual_seed(0)
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            latent = bottleneck(latents())
        results.append(latent)
    assert torch.equal(results[0].z, results[1].z)
    assert results[0].codes is None or torch.equal(results[0].codes, results[1].codes)


@pytest.mark.parametrize("kind", BOTTLENECKS)
def test_it_trains_in_a_model(tiny, kind):
    torch.manual_seed(0)
    config = parse(ModelConfig, {"bottleneck": settings(kind)})
    model = build(ModelConfig(tiny.model.encoder, config.bottleneck, tiny.model.decoder), 3).train()
    batch = Batch(0.1 * torch.randn(4, 3200), torch.zeros(4, dtype=torch.int64))
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    losses = []
    for _ in range(30):
        optimizer.zero_grad()
        loss = model(batch)
        total(loss).backward()
        optimizer.step()
        losses.append(loss["mel"].item())
    assert losses[-1] < 0.7 * losses[0]
    figures = model.eval().held_out([batch])
    assert ("used_codes" in figures) == (model.bottleneck.codes > 0)
    with torch.inference_mode():
        assert model.represent(batch.wav).shape == (4, D, 10)
        if not model.bottleneck.codes:
            with pytest.raises(SpeechVQError, match="has no codes"):
                model.encode(batch.wav)


# --- any discrete bottleneck


def test_codes_are_whole_numbers_below_their_count(discrete):
    codes = discrete.encode(30 * latents())
    assert (codes.shape, codes.dtype) == ((4, 11), torch.int64)
    assert 0 <= codes.min() <= codes.max() < discrete.codes <= 2**16


def test_what_is_represented_are_the_vectors_of_the_codes(discrete):
    latent, codes = discrete(latents()), discrete.encode(latents())
    assert torch.equal(latent.codes, codes)
    assert torch.equal(discrete.represent(latents()), discrete.lookup(codes))
    # 1e-6: with a straight-through gradient the vectors are z + (z_q - z), rounded.
    torch.testing.assert_close(latent.z, discrete.lookup(codes), atol=1e-6, rtol=1e-6)


def test_a_training_step_returns_the_codes_of_before_the_step(discrete):
    codes, vectors = discrete.encode(latents()), discrete.represent(latents()).clone()
    latent = discrete.train()(latents())
    assert torch.equal(latent.codes, codes)
    torch.testing.assert_close(latent.z, vectors, atol=1e-6, rtol=1e-6)


def test_every_code_has_a_vector_of_its_own(discrete):
    vectors = discrete.lookup(torch.arange(discrete.codes)[None])
    assert vectors.shape == (1, D, discrete.codes)
    assert len(vectors[0].T.detach().unique(dim=0)) == discrete.codes


def test_vectors_looked_up_part_by_part_are_those_of_the_whole(discrete):
    codes = torch.randint(discrete.codes, (5000,), generator=torch.Generator().manual_seed(0))
    vectors, whole = discrete.vectors(codes), discrete.lookup(codes[None])[0]
    assert vectors.shape == whole.shape == (D, 5000)
    for part in (slice(None), slice(0, 1), slice(7, 1645), slice(3000, None), slice(4990, 6000)):
        assert torch.equal(vectors[:, part], whole[:, part])


def test_the_code_is_the_nearest(discrete):
    """Also in pieces of an utterance."""
    found = discrete.distances(latents())
    assert (found.shape, found.dtype) == ((4, 11, discrete.codes), torch.float32)
    assert found.min() >= 0
    assert torch.equal(found.argmin(2), discrete.encode(latents()))
    for part in (slice(0, 1), slice(3, 8)):
        torch.testing.assert_close(discrete.distances(latents()[1:2, :, part])[0], found[1, part])


# --- several processes


def three_steps(kind: str, bottleneck: Bottleneck) -> dict[str, Tensor]:
    """The state after three training batches, of which this process has its rows, and the vectors of a fourth."""
    rank, count = rank_and_count()
    torch.manual_seed(5)
    for seed in range(3):
        bottleneck.train()(latents(seed=seed)[rank::count])
    return bottleneck.state_dict() | {"represented": bottleneck.eval().represent(latents(seed=4))}


def compare_two(folder: Path) -> None:
    """Run in both processes by the test below."""
    assert PartialState(cpu=True).num_processes == 2
    states = torch.load(folder / "expected.pt", weights_only=True)
    for kind in BOTTLENECKS:
        for key, value in three_steps(kind, fresh(kind)).items():
            torch.testing.assert_close(value, states[kind][key], atol=1e-5, rtol=1e-5, msg=lambda m: f"{kind} {m}")  # noqa: B023
    leave()


def test_two_processes_with_half_the_rows_each_are_one(tmp_path):
    torch.save({kind: three_steps(kind, fresh(kind)) for kind in BOTTLENECKS}, tmp_path / "expected.pt")
    launch(compare_two, tmp_path)

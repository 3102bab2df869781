"""Drawing: random numbers that depend on nothing else, and classes of the right distribution."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from speechvq.config import WaveNetConfig
from speechvq.wavenet.net import WaveNet
from speechvq.wavenet.sampler import Sampler, Sampling, chances, draw

CLASSES = 9


@pytest.fixture(scope="module")
def net() -> WaveNet:
    torch.manual_seed(0)
    result = WaveNet(WaveNetConfig(cycles=1, layers=4, residual=8, gate=8, skip=16), CLASSES, 3, 2)
    for parameter in result.head.parameters():
        parameter.data *= 3  # clear preferences
    return result


@pytest.fixture(scope="module")
def table(net) -> torch.Tensor:
    return net.table(torch.randn(4, 3, 6), torch.randn(4, 2)).detach()


def uniform(seed: int, utterances, steps: int) -> torch.Tensor:
    return torch.from_numpy(np.stack([chances(seed, utterance).random(steps) for utterance in utterances]))


def sample(net: WaveNet, first, steps, table, chance, sampling: Sampling, state=None):
    return Sampler(net, sampling).sample(first, chance[:, :steps], table, state or net.start(len(first)))


def test_chances_are_a_function_of_seed_utterance_and_step():
    both = uniform(7, [3, 12], 50)
    assert torch.equal(both[1], uniform(7, [12], 50)[0])
    assert torch.equal(both[:, :20], uniform(7, [3, 12], 20))
    assert not torch.equal(both[0], both[1])
    assert not torch.equal(both, uniform(8, [3, 12], 50))
    assert both.min() >= 0
    assert both.max() < 1


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("utterance", [2**53, 2**63 + 4, 2**64 - 2])
@pytest.mark.parametrize("seed", [0, 2**63 - 1])
def test_neighbours_among_64_bit_streams_differ(seed, utterance):
    chances = uniform(seed, [utterance, utterance + 1], 4)
    assert not torch.equal(chances[0], chances[1])


def test_chances_are_uniform_within_and_across_utterances():
    assert stats.kstest(uniform(0, [5], 20_000)[0].numpy(), "uniform").pvalue > 1e-3
    assert stats.kstest(uniform(0, range(2_000), 1)[:, 0].numpy(), "uniform").pvalue > 1e-3


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 2**32), st.integers(2, 40), st.floats(0.1, 3.0))
def test_draw_inverts_the_cumulative_distribution(seed, classes, temperature):
    random = np.random.default_rng(seed)
    logits, chance = 3 * random.standard_normal((20, classes)), random.random(20)
    drawn = draw(torch.from_numpy(logits), torch.from_numpy(chance), Sampling(temperature)).numpy()
    weights = np.exp((logits - logits.max(1, keepdims=True)) / temperature)
    cumulative = np.cumsum(weights / weights.sum(1, keepdims=True), axis=1)
    below = np.take_along_axis(np.pad(cumulative, ((0, 0), (1, 0))), drawn[:, None], 1)[:, 0]
    above = np.take_along_axis(cumulative, drawn[:, None], 1)[:, 0]
    assert (below <= chance + 1e-9).all()
    assert (chance <= above + 1e-9).all()


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_draws_follow_the_tempered_distribution(temperature):
    logits = torch.tensor([0.0, 1.0, -1.0, 2.0, 0.5])
    drawn = draw(logits.expand(20_000, -1), uniform(1, [0], 20_000)[0], Sampling(temperature))
    expected = torch.softmax(logits.double() / temperature, 0).numpy() * 20_000
    assert stats.chisquare(torch.bincount(drawn, minlength=5).numpy(), expected).pvalue > 1e-3


def test_draw_never_takes_what_is_impossible():
    logits = torch.tensor([-torch.inf, 0.0, -torch.inf, 0.0, -torch.inf]).expand(3, -1)
    chance = torch.tensor([0.0, 0.5, 1 - 2**-53], dtype=torch.float64)
    assert draw(logits, chance, Sampling()).tolist() == [1, 3, 3]


@pytest.mark.parametrize(("top_k", "top_p"), [(0, 0.0), (0, 0.3), (0, 0.9), (1, 1.0), (3, 1.0), (3, 0.6), (99, 0.5)])
def test_only_the_likely_are_drawn_and_in_proportion(top_k, top_p):
    logits = torch.randn(7, generator=torch.Generator().manual_seed(1))
    share = torch.softmax(logits.double() / 0.8, 0).numpy()
    order = np.argsort(-share)[: top_k or None]
    before = np.cumsum(share[order]) - share[order]
    kept = order[: max((before < top_p * share[order].sum()).sum(), 1)]
    drawn = draw(logits.expand(20_000, -1), uniform(1, [0], 20_000)[0], Sampling(0.8, top_k=top_k, top_p=top_p))
    assert set(drawn.tolist()) == set(kept.tolist())
    counts = np.bincount(drawn, minlength=7)[kept]
    expected = 20_000 * share[kept] / share[kept].sum()
    assert (np.abs(counts - expected) < 5 * np.sqrt(expected) + 1).all()


def test_equals_are_drawn_together():
    logits = torch.tensor([[0.0, 1.0, 1.0, 1.0]]).expand(500, -1)
    assert set(draw(logits, uniform(1, [0], 500)[0], Sampling(top_k=1)).tolist()) == {1, 2, 3}


def test_temperature_zero_takes_the_likeliest_and_small_ones_nearly_always():
    logits = torch.randn(50, CLASSES, generator=torch.Generator().manual_seed(0))
    chance = uniform(0, range(50), 1)[:, 0]
    assert torch.equal(draw(logits, chance, Sampling(0.0)), logits.argmax(1))
    assert torch.equal(draw(logits, chance, Sampling(1e-4)), logits.argmax(1))


def test_greedy_samples_are_the_fixed_point_of_the_whole_forward(net, table):
    first = torch.arange(4)
    drawn = sample(net, first, 24, table, uniform(0, range(4), 24), Sampling(temperature=0.0))
    inputs = torch.cat([first[:, None], drawn[:, :-1]], 1)
    assert torch.equal(net(inputs, table).argmax(-1), drawn)


def test_samples_follow_the_nets_own_distribution(net, table):
    """Sampled, then scored by the whole forward: the chances drawn fall into the classes' own intervals."""
    chances = uniform(3, range(4), 24)
    first = torch.zeros(4, dtype=torch.int64)
    drawn = sample(net, first, 24, table, chances, Sampling())
    logits = net(torch.cat([first[:, None], drawn[:, :-1]], 1), table).detach()
    again = draw(logits.flatten(0, 1), chances.flatten(), Sampling()).view(4, 24)
    assert torch.equal(again, drawn)
    assert len(drawn.unique()) > 3


def test_going_on_from_a_state_equals_one_go(net, table):
    first, chances, sampling = torch.zeros(4, dtype=torch.int64), uniform(0, range(4), 24), Sampling()
    whole = sample(net, first, 24, table, chances, sampling)
    state = net.start(4)
    begin = sample(net, first, 8, table[:, :2], chances[:, :8], sampling, state)
    end = sample(net, begin[:, -1], 16, table[:, 2:], chances[:, 8:], sampling, state)
    assert torch.equal(torch.cat([begin, end], 1), whole)


def test_company_does_not_change_an_utterance(net, table):
    first, sampling = torch.zeros(4, dtype=torch.int64), Sampling(seed=5)
    together = sample(net, first, 24, table, uniform(5, [8, 1, 4, 2], 24), sampling)
    for i, utterance in enumerate([8, 1, 4, 2]):
        alone = sample(net, first[:1], 24, table[:, :, i : i + 1], uniform(5, [utterance], 24), sampling)
        assert torch.equal(alone[0], together[i])


LENGTHS = [7, 2, 0, 31, 7]


def streamed(net: WaveNet, lengths, hop: int, utterances, frames, sampling: Sampling) -> list[list[torch.Tensor]]:
    speaker = torch.zeros(1, 2)

    def table(i: int, begin: int, end: int) -> torch.Tensor:
        return net.table(frames[i][None, :, begin:end], speaker)

    first = torch.zeros(len(lengths), dtype=torch.int64)
    return list(Sampler(net, sampling).stream(first, lengths, hop, utterances, table))


@pytest.mark.parametrize("engine", ["torch", "compiled"])
@pytest.mark.parametrize("hop", [1, 160])
def test_a_stream_of_many_is_each_alone_and_in_one_go(net, engine, hop):
    """Pieces of some 2000 steps, utterances of other lengths beside: the same to the last class."""
    sampling = Sampling(seed=5, engine=engine)
    torch.manual_seed(1)
    frames = [torch.randn(3, length) for length in LENGTHS]
    pieces = streamed(net, LENGTHS, hop, range(5), frames, sampling)
    assert len(pieces) == (1 if hop == 1 else 3)
    whole = [torch.cat(parts) for parts in zip(*pieces, strict=True)]
    assert [len(row) for row in whole] == [length * hop for length in LENGTHS]
    for i, length in enumerate(LENGTHS):
        if length:
            table, chance = net.table(frames[i][None], torch.zeros(1, 2)), uniform(5, [i], length * hop)
            alone = sample(net, torch.zeros(1, dtype=torch.int64), length * hop, table, chance, sampling)
            assert torch.equal(alone[0], whole[i])
            [own] = zip(*streamed(net, [length], hop, [i], [frames[i]], sampling), strict=True)
            assert torch.equal(torch.cat(own), whole[i])

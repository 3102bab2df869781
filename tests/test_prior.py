"""The prior: its loss, its samples, and the files that are no priors."""

import json

import numpy as np
import pytest
import torch

from speechvq import SpeechVQError
from speechvq.coding.trained_prior import TrainedPrior
from speechvq.config import PriorConfig, WaveNetConfig
from speechvq.nn.prior import HIGHEST_TEMPERATURE, PADDING, Prior, Windows
from speechvq.wavenet.sampler import Sampling


def make(codes: int = 12, speakers: int = 3, seed: int = 0, **changes: float) -> Prior:
    torch.manual_seed(seed)
    wavenet = WaveNetConfig(cycles=1, layers=4, residual=16, gate=16, skip=16)
    return Prior(PriorConfig(wavenet, speaker_dim=4, **changes), codes, speakers).eval()


def windows(rows: list[list[int]], speakers: list[int]) -> Windows:
    return Windows(torch.tensor(rows), torch.tensor(speakers))


def test_the_loss_is_the_mean_over_codes_without_padding():
    prior = make()
    batch = windows([[12, 3, 4, 5], [2, 7, PADDING, PADDING]], [0, 2])
    logits = prior.logits(batch.codes[:, :-1].clamp(min=0), batch.speaker).double()
    shares = torch.softmax(logits, -1)
    likelihood = [shares[0, 0, 3], shares[0, 1, 4], shares[0, 2, 5], shares[1, 0, 7]]
    expected = -torch.stack(likelihood).log().mean()
    torch.testing.assert_close(prior(batch)["nll"].double(), expected, atol=1e-6, rtol=0)


def test_held_out_bits_are_those_of_one_sequence_after_another():
    prior = make(anyone=0.5)
    first, second = windows([[12, 3, 4, 5]], [0]), windows([[2, 7]], [2])
    together = prior.held_out([first, second])
    losses = []
    unknown = torch.tensor([prior.unknown_speaker])
    for known in (True, False):
        rows = [b if known else b._replace(speaker=unknown) for b in (first, second)]
        losses.append((3 * prior(rows[0])["nll"] + prior(rows[1])["nll"]).item() / 4 / np.log(2))
    assert together["bits_per_code_told"] == pytest.approx(losses[0], abs=1e-5)
    assert together["bits_per_code"] == pytest.approx(losses[1], abs=1e-5)
    assert together["loss"] == pytest.approx(losses[1] * np.log(2), abs=1e-5)
    assert "bits_per_code_told" not in make(anyone=1.0).held_out([first])


def test_training_hides_codes_and_speakers():
    prior = make(anyone=1.0, corrupt=0.0).train()
    batch = windows([[12, 3, 4, 5]], [0])
    torch.testing.assert_close(prior(batch), prior.eval()(batch._replace(speaker=torch.tensor([3]))))
    with_speaker = make(anyone=0.0, corrupt=0.0).train()
    torch.testing.assert_close(with_speaker(batch), with_speaker.eval()(batch))
    noisy = make(anyone=0.0, corrupt=0.9).train()
    assert noisy(batch)["nll"] != noisy(batch)["nll"]


def test_the_start_is_never_drawn_and_never_learned():
    prior = make().train()
    before = prior.net.head[3].bias[12].item()
    optimizer = torch.optim.Adam(prior.parameters(), lr=0.1)
    for _ in range(5):
        prior(windows([[12, 3, 4, 5]], [0]))["nll"].backward()
        optimizer.step()
    assert prior.net.head[3].bias[12].item() == before
    drawn = prior.eval().requires_grad_(False).sample(8, 200, prior.unknown_speaker, Sampling(temperature=5.0))
    assert drawn.min() >= 0
    assert drawn.max() < 12


def test_samples_do_not_depend_on_their_number():
    prior = make().requires_grad_(False)
    many = prior.sample(5, 40, 1, Sampling(seed=3))
    assert torch.equal(prior.sample(2, 40, 1, Sampling(seed=3)), many[:2])
    assert not torch.equal(many[0], many[1])
    assert not torch.equal(prior.sample(2, 40, 1, Sampling(seed=4)), many[:2])
    assert not torch.equal(prior.sample(2, 40, 2, Sampling(seed=3)), many[:2])


@pytest.mark.parametrize("engine", ["torch", "compiled"])
def test_a_prefix_is_continued(engine):
    """At temperature 0, every code is the most probable one after the whole sequence before it."""
    prior = make().requires_grad_(False)
    prefix = torch.tensor([3, 1, 4, 1, 5])
    sampling = Sampling(temperature=0.0, engine=engine)
    drawn = prior.sample(2, 10, 1, sampling, prefix)
    codes = [12, *prefix.tolist()]
    for code in drawn[0].tolist():
        assert prior.logits(torch.tensor([codes]), torch.tensor([1]))[0, -1].argmax() == code
        codes.append(code)
    assert torch.equal(drawn[0], drawn[1])
    with torch.inference_mode():
        none = prior.sample(1, 10, 1, sampling, torch.empty(0, dtype=torch.int64))
    assert torch.equal(none, prior.sample(1, 10, 1, sampling))


def test_a_trained_prior_is_better_than_the_histogram_and_names_the_model_of_its_codes(prior, runs):
    from speechvq.codec import Codec

    trained = TrainedPrior.load(prior)
    assert trained.alphabet == Codec.load(runs["wavenet"]).alphabet
    assert trained.figures["bits_per_code"] < trained.figures["unigram"] < trained.figures["nominal"] == 4
    assert trained.speakers == ("high", "low", "mid")
    drawn = trained.sample(2, 9, "mid", Sampling())
    assert torch.equal(drawn, trained.net.sample(2, 9, 2, Sampling()))
    assert torch.equal(trained.sample(2, 9, None, Sampling()), trained.net.sample(2, 9, 3, Sampling()))
    with pytest.raises(SpeechVQError, match="the nearest of 3: high"):
        trained.sample(1, 9, "hihg", Sampling())


def test_other_folders_are_refused(prior, runs, tmp_path):
    from speechvq.codec import Codec

    with pytest.raises(SpeechVQError, match="not a prior"):
        TrainedPrior.load(runs["mel"])
    with pytest.raises(SpeechVQError, match="not a codec, but the result of a run of kind 'prior'"):
        Codec.load(prior)
    card = json.loads((prior / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(card | {"alphabet": None}))
    with pytest.raises(SpeechVQError, match="does not name the codes"):
        TrainedPrior.load(tmp_path)


@pytest.mark.parametrize("engine", ["torch", "compiled"])
def test_the_start_class_is_never_drawn_at_the_highest_temperature(engine):
    prior = make()
    drawn = prior.sample(2, 400, 0, Sampling(HIGHEST_TEMPERATURE, engine=engine))
    assert set(drawn.flatten().tolist()) == set(range(prior.codes))  # every code, but not the start
    with pytest.raises(SpeechVQError, match="temperature of codes is a number from 0 to 100"):
        prior.sample(1, 1, 0, Sampling(2 * HIGHEST_TEMPERATURE, engine=engine))

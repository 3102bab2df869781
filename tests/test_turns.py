"""Two optimizers take turns; only the exported part of a trainable is averaged and written."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from torch import Tensor, nn

from speechvq.config import TrainConfig
from speechvq.folder.card import WEIGHTS
from speechvq.folder.weights import load_tensors
from speechvq.nn.trainable import Trainable
from speechvq.train.loop import LAST, Batches, Trainer

HOW = TrainConfig(steps=20, learning_rate=0.05, schedule="constant", warmup=0, average=0.0, eval_every=5, clip=0.7)


class Row(NamedTuple):
    """A batch of the toy task."""

    x: Tensor


class Generator(Trainable):
    """A weight that scales the input; its target is 2."""

    reconstruction = "error"

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def held_out(self, batches: Iterable[Row]) -> dict[str, float]:
        return {"loss": abs(self.scale.item() - 2.0)}


class Adversarial(Trainable):
    """A generator, and a critic that is not exported."""

    turns = ("generator", "critic")
    reconstruction = "error"

    def __init__(self) -> None:
        super().__init__()
        self.generator, self.critic = Generator(), nn.Linear(1, 1)
        with torch.no_grad():
            self.critic.weight.fill_(0.3)
            self.critic.bias.fill_(0.0)

    @property
    def exported(self) -> Generator:
        return self.generator

    def parameters_of(self, turn: str) -> Iterator[nn.Parameter]:
        return (self.generator if turn == "generator" else self.critic).parameters()

    def forward(self, batch: Row, turn: str = "generator") -> dict[str, Tensor]:
        real, fake = 2.0 * batch.x, self.generator.scale * batch.x
        if turn == "generator":
            return {"error": (fake - real).square().mean(), "fooled": -0.1 * self.critic(fake).mean()}
        wrong = (self.critic(real) - 1).square().mean() + self.critic(fake.detach()).square().mean()
        return {"critic": wrong}


class Rows(Batches[Row]):
    """Batches that depend on the step only."""

    def __getitem__(self, step: int) -> Row:
        return Row(torch.randn(4, 1, generator=torch.Generator().manual_seed(step)))


def run(out: Path, how: TrainConfig, resume: bool = False) -> Adversarial:
    out.mkdir(exist_ok=True)
    torch.manual_seed(0)  # of the weights, and of the state that is kept
    model = Adversarial()
    Trainer(model, Rows(), lambda: iter([Row(torch.ones(1, 1))]), how, out).run(resume)
    return model


def test_turns_are_those_of_two_optimizers_written_out(tmp_path):
    model, by_hand = run(tmp_path, HOW), Adversarial()
    generator = torch.optim.Adam(by_hand.generator.parameters(), 0.05)
    critic = torch.optim.Adam(by_hand.critic.parameters(), 0.05)
    for step in range(HOW.steps):
        for turn, optimizer in (("generator", generator), ("critic", critic)):
            by_hand.zero_grad()
            sum(by_hand(Rows()[step], turn).values()).backward()
            nn.utils.clip_grad_norm_(by_hand.parameters_of(turn), HOW.clip)
            optimizer.step()
    for name, value in by_hand.state_dict().items():
        torch.testing.assert_close(model.state_dict()[name], value, rtol=1e-5, atol=1e-6, msg=name)
    assert model.critic.bias.item() != 0
    assert abs(model.generator.scale.item() - 2) < 0.5


@pytest.mark.parametrize("average", [0.0, 0.9])
def test_only_the_exported_part_is_averaged_and_written(tmp_path, average):
    run(tmp_path, replace(HOW, average=average))
    assert set(load_tensors(tmp_path / WEIGHTS)[0]) == {"scale"}
    last = load_tensors(tmp_path / LAST)[0]
    assert {"model.generator.scale", "model.critic.weight", "averaged.module.scale"} <= set(last)
    assert not [name for name in last if name.startswith("averaged") and "critic" in name]
    assert {name.split(".")[1] for name in last if name.startswith("optimizer")} == {"generator", "critic"}


def test_two_optimizers_resume_bit_for_bit(tmp_path):
    run(tmp_path / "whole", HOW)
    run(tmp_path / "parts", replace(HOW, steps=10))
    run(tmp_path / "parts", HOW, resume=True)
    whole, parts = (load_tensors(tmp_path / name / LAST)[0] for name in ("whole", "parts"))
    assert whole.keys() == parts.keys()
    assert all(torch.equal(whole[name], parts[name]) for name in whole)

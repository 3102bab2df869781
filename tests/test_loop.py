"""The training loop resumes bit for bit, keeps the best weights, and follows its schedule."""

import json
import math
import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from speechvq import SpeechVQError
from speechvq.config import CodecRun, InitConfig, TrainConfig, VQConfig
from speechvq.folder.card import WEIGHTS, load_card
from speechvq.folder.weights import load_tensors, save_tensors
from speechvq.nn.trainable import Trainable
from speechvq.train.batches import Crops
from speechvq.train.kinds import train
from speechvq.train.loop import LAST, LOG, Batches, Trainer, learning_rate, read_log


class Row(NamedTuple):
    """A batch of the toy task."""

    x: Tensor


class Toy(Trainable):
    """A weight that goes from 1 to 0 in training; its held-out loss is lowest at `target`."""

    def __init__(self, target: float = 0.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))
        self.target = target

    reconstruction = "error"

    def forward(self, batch: Row, turn: str = "model") -> dict[str, Tensor]:
        return {"error": (self.weight * batch.x).square().mean()}

    def held_out(self, batches: Iterable[Row]) -> dict[str, float]:
        return {"loss": abs(self.weight.item() - self.target), "rows": float(len(list(batches)))}


class Ones(Batches[Row]):
    """Batches of ones, or of the value that `visit` returns for the step."""

    def __init__(self, visit: Callable[[int], float | None] = lambda step: None) -> None:
        self.visit = visit

    def __getitem__(self, step: int) -> Row:
        value = self.visit(step)
        return Row(torch.full((2,), 1.0 if value is None else value))

    def names(self, step: int) -> list[str]:
        return [f"one-{step}", "two"]


def toy_run(out: Path, config: TrainConfig, model: Toy, data: Batches[Row] | None = None) -> dict[str, float]:
    out.mkdir(exist_ok=True)
    return Trainer(model, data or Ones(), lambda: iter([Row(torch.ones(2))]), config, out).run()


TOY = TrainConfig(steps=40, learning_rate=0.05, schedule="constant", warmup=0, average=0.0, eval_every=4)


def log_of(out: Path) -> list[dict[str, float]]:
    """The rows of the log without their times."""
    return [{key: value for key, value in row.items() if key != "seconds"} for row in read_log(out)]


def assert_same_run(one: Path, other: Path) -> None:
    """Weights, averages, optimizer, random state, best model and log are the same, bit for bit."""
    for name in (LAST, WEIGHTS):
        (tensors, metadata), (others, other_metadata) = load_tensors(one / name), load_tensors(other / name)
        assert tensors.keys() == others.keys()
        unequal = [key for key in tensors if not torch.equal(tensors[key], others[key])]
        assert not unequal
        metadata.pop("seconds")
        other_metadata.pop("seconds")
        assert metadata == other_metadata
    assert log_of(one) == log_of(other)


@pytest.fixture(scope="module")
def whole(tiny, corpus, tmp_path_factory) -> Path:
    """A run of 8 steps in one go."""
    out = tmp_path_factory.mktemp("runs") / "whole"
    train(tiny, corpus, out)
    return out


def train_and_die(config: CodecRun, corpus: Path, out: Path, step: int, threads: int) -> None:
    """Train until the batch of `step` is read; then the process is killed."""
    get = Crops.__getitem__

    def killed(self: Crops, index: int):
        if index == step:
            os.kill(os.getpid(), signal.SIGKILL)
        return get(self, index)

    Crops.__getitem__ = killed  # type: ignore[method-assign]
    torch.set_num_threads(threads)  # sums in another order have other bits
    train(config, corpus, out)


def test_killed_and_resumed_equals_one_go(whole, tiny, corpus, tmp_path):
    """Killed in step 6 of 8, it is resumed from the last state, that of step 3."""
    out = tmp_path / "killed"
    arguments = (tiny, corpus, out, 5, torch.get_num_threads())
    process = multiprocessing.get_context("spawn").Process(target=train_and_die, args=arguments)
    process.start()
    process.join(900)
    assert process.exitcode == -signal.SIGKILL
    assert load_tensors(out / LAST)[1]["step"] == 3
    train(tiny, corpus, out, resume=True)
    assert_same_run(whole, out)
    assert not list(out.glob(".*"))


@pytest.mark.parametrize("bottleneck", ["vq", "ema"])
@pytest.mark.parametrize("optimizer", ["adam", "adamw"])
def test_interrupted_twice_equals_one_go(tiny, corpus, tmp_path, monkeypatch, bottleneck, optimizer):
    model = replace(tiny.model, bottleneck=VQConfig(codes=16, dim=8)) if bottleneck == "vq" else tiny.model
    config = CodecRun(model, tiny.init, replace(tiny.train, optimizer=optimizer, weight_decay=0.1))
    train(config, corpus, tmp_path / "whole")
    get, stops = Crops.__getitem__, [4, 7]

    def interrupted(self: Crops, index: int):
        if stops and index == stops[0]:
            stops.pop(0)
            raise KeyboardInterrupt
        return get(self, index)

    monkeypatch.setattr(Crops, "__getitem__", interrupted)
    for resume in (False, True):
        with pytest.raises(KeyboardInterrupt):
            train(config, corpus, tmp_path / "parts", resume=resume)
        torch.manual_seed(99)  # what the process did before must not matter
    train(config, corpus, tmp_path / "parts", resume=True)
    assert_same_run(tmp_path / "whole", tmp_path / "parts")


def test_rows_of_the_log_after_the_last_state_are_removed(whole, tiny, corpus, tmp_path, monkeypatch):
    """Killed between the log's row of step 6 and the state, and while another row was written."""
    get = Crops.__getitem__

    def interrupted(self: Crops, index: int):
        if index == 5:
            raise KeyboardInterrupt
        return get(self, index)

    monkeypatch.setattr(Crops, "__getitem__", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train(tiny, corpus, tmp_path / "run")
    monkeypatch.setattr(Crops, "__getitem__", get)
    with (tmp_path / "run" / LOG).open("a") as file:
        file.write(json.dumps({"step": 6, "seconds": 1, "loss": 7.0}) + '\n{"step": 8, "sec')
    train(tiny, corpus, tmp_path / "run", resume=True)
    assert_same_run(whole, tmp_path / "run")


def test_worker_processes_change_nothing(whole, tiny, corpus, tmp_path):
    train(replace(tiny, train=replace(tiny.train, workers=1)), corpus, tmp_path / "run")
    assert_same_run(whole, tmp_path / "run")


def test_how_often_it_is_measured_does_not_change_training(whole, tiny, corpus, tmp_path):
    train(replace(tiny, train=replace(tiny.train, eval_every=2)), corpus, tmp_path / "run")
    one, other = load_tensors(whole / LAST)[0], load_tensors(tmp_path / "run" / LAST)[0]
    assert all(torch.equal(one[key], other[key]) for key in one)


class Noisy(Toy):
    """Draws random numbers in training and in measuring."""

    def forward(self, batch: Row, turn: str = "model") -> dict[str, Tensor]:
        return super().forward(Row(batch.x * torch.rand(2)))

    def held_out(self, batches: Iterable[Row]) -> dict[str, float]:
        torch.rand(5)
        return super().held_out(batches)


def test_random_numbers_of_an_evaluation_do_not_change_those_of_training(tmp_path):
    weights = []
    for eval_every in (3, 40):
        model = Noisy()
        torch.manual_seed(0)
        toy_run(tmp_path / str(eval_every), replace(TOY, eval_every=eval_every), model)
        weights.append(model.weight.item())
    assert weights[0] == weights[1]


def test_a_run_is_a_model_folder_that_learned(whole, tiny):
    card = load_card(whole)
    assert card.config == tiny
    assert card.speakers == ("high", "low", "mid")
    rows = read_log(whole)
    assert [row["step"] for row in rows] == [0, 3, 6, 8]
    assert rows[-1]["loss"] < rows[0]["loss"]
    weights, metadata = load_tensors(whole / WEIGHTS)
    assert metadata["loss"] == min(row["loss"] for row in rows)
    state = load_tensors(whole / LAST)[0]
    assert weights.keys() == {key.removeprefix("model.") for key in state if key.startswith("model.")}


def test_curves_are_logged(whole):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    curves = EventAccumulator(str(whole))
    curves.Reload()
    assert {"train/total", "train/mel", "held_out/gap", "held_out/perplexity"} <= set(curves.Tags()["scalars"])
    logged = [(event.step, event.value) for event in curves.Scalars("held_out/gap")]
    assert logged == [(row["step"], pytest.approx(row["gap"])) for row in read_log(whole)]


def test_the_best_is_kept_not_the_last(tmp_path):
    toy_run(tmp_path, TOY, Toy(target=0.5))
    rows = read_log(tmp_path)
    best = min(rows, key=lambda row: row["loss"])
    tensors, metadata = load_tensors(tmp_path / WEIGHTS)
    assert 0 < best["step"] < 40
    assert metadata["step"] == best["step"]
    assert abs(tensors["weight"].item() - 0.5) == best["loss"]
    assert load_tensors(tmp_path / LAST)[0]["model.weight"].item() < 0.3


def test_of_equally_good_weights_the_last_are_kept(tmp_path):
    toy_run(tmp_path, TOY, Toy(target=math.inf))
    assert load_tensors(tmp_path / WEIGHTS)[1]["step"] == 40


def test_the_average_of_the_weights_is_evaluated_and_exported(tmp_path):
    seen: list[float] = []
    model = Toy()

    def note(step: int) -> None:
        seen.append(model.weight.item())

    toy_run(tmp_path, replace(TOY, learning_rate=0.01, average=0.8), model, Ones(note))
    weights = [*seen[1:], model.weight.item()]  # after each step
    mean = weights[0]
    for n, weight in enumerate(weights[1:], 1):
        decay = min(0.8, (1 + n) / (10 + n))
        mean = decay * mean + (1 - decay) * weight
    state = load_tensors(tmp_path / LAST)[0]
    assert state["averaged.module.weight"].item() == pytest.approx(mean, rel=1e-5)
    assert read_log(tmp_path)[-1]["loss"] == pytest.approx(mean, rel=1e-5)
    assert load_tensors(tmp_path / WEIGHTS)[0]["weight"].item() == pytest.approx(mean, rel=1e-5)
    assert mean > model.weight.item() + 0.01


@pytest.mark.parametrize("kind", ["adam", "adamw"])
def test_a_step_is_that_of_the_optimizer_on_the_clipped_gradient(tmp_path, kind):
    """Adam by hand, for one weight with gradients 2 w x^2, clipped; decay is added to the gradient, or to the step."""
    config = replace(TOY, steps=5, optimizer=kind, weight_decay=0.1, clip=0.5)
    model = Toy()
    toy_run(tmp_path, config, model, Ones(lambda step: [0.3, 1.0, 2.0, 0.1, 0.7][step]))
    weight, mean, square = 1.0, 0.0, 0.0
    for t, x in enumerate([0.3, 1.0, 2.0, 0.1, 0.7], 1):
        gradient = min(2 * weight * x**2, 0.5)
        if kind == "adam":
            gradient += 0.1 * weight
        else:
            weight -= 0.05 * 0.1 * weight
        mean, square = 0.9 * mean + 0.1 * gradient, 0.999 * square + 0.001 * gradient**2
        weight -= 0.05 * (mean / (1 - 0.9**t)) / (math.sqrt(square / (1 - 0.999**t)) + 1e-8)
    assert model.weight.item() == pytest.approx(weight, rel=1e-5)


def test_minutes_limit_a_run_and_its_schedule(tmp_path):
    def slow(step: int) -> None:
        time.sleep(0.01)

    config = replace(TOY, steps=10**6, minutes=0.01, schedule="cosine", eval_every=10**6)
    model = Toy()
    started = time.monotonic()
    figures = toy_run(tmp_path, config, model, Ones(slow))
    assert 0.5 < time.monotonic() - started < 60  # a step takes 10 ms, on a busy machine more; all would take 3 hours
    last = read_log(tmp_path)[-1]
    assert 0 < last["step"] < 70
    assert last["loss"] == figures["loss"] == abs(model.weight.item())
    assert load_tensors(tmp_path / LAST)[1]["step"] == last["step"]


@pytest.mark.parametrize("schedule", ["constant", "cosine"])
def test_learning_rate(schedule):
    config = TrainConfig(steps=1000, learning_rate=2.0, warmup=9, schedule=schedule)
    rates = np.array([learning_rate(config, step, step / 1000) for step in range(1001)])
    steps = np.arange(1001)
    expected = 2.0 * np.minimum(1, (steps + 1) / 10)
    if schedule == "cosine":
        expected *= 0.01 + 0.99 * np.cos(np.pi * steps / 2000) ** 2
        assert rates[-1] == pytest.approx(0.02)
    np.testing.assert_allclose(rates, expected, rtol=1e-12)


def test_resuming_nothing_or_something_else_is_refused(whole, tiny, corpus, tmp_path):
    with pytest.raises(SpeechVQError, match="nothing to resume"):
        train(tiny, corpus, tmp_path / "new", resume=True)
    assert not (tmp_path / "new").exists()
    before = {path: path.read_bytes() for path in whole.iterdir()}
    other = replace(tiny, model=replace(tiny.model, jitter=0.0))
    with pytest.raises(SpeechVQError, match="cannot resume"):
        train(other, corpus, whole, resume=True)
    for config in (other, replace(tiny, train=replace(tiny.train, steps=9))):
        with pytest.raises(SpeechVQError, match="holds another run; --force"):
            train(config, corpus, whole)
    assert before == {path: path.read_bytes() for path in whole.iterdir()}


def test_a_damaged_state_is_refused(tiny, corpus, tmp_path, whole):
    out = tmp_path / "run"
    out.mkdir()
    for path in whole.iterdir():
        (out / path.name).write_bytes(path.read_bytes())
    (out / LAST).write_bytes((whole / LAST).read_bytes()[:-100])
    with pytest.raises(SpeechVQError, match="truncated or corrupt"):
        train(tiny, corpus, out, resume=True)
    tensors, clock = load_tensors(whole / LAST)
    cut = {name: tensor for name, tensor in tensors.items() if not name.endswith(".exp_avg")}
    for state, times in ((load_tensors(whole / WEIGHTS)[0], clock), (cut, clock), (tensors, clock | {"step": -5})):
        save_tensors(out / LAST, state, times)
        with pytest.raises(SpeechVQError, match="not a training state"):
            train(tiny, corpus, out, resume=True)


def test_a_second_stage_starts_from_the_first_and_keeps_what_is_frozen(whole, tiny, corpus, tmp_path):
    init = InitConfig(str(whole), ("encoder", "bottleneck", "decoder.conditioner"), ("encoder", "bottleneck"))
    train(replace(tiny, init=init), corpus, tmp_path / "second")
    first, second = load_tensors(whole / WEIGHTS)[0], load_tensors(tmp_path / "second" / WEIGHTS)[0]
    for key in first:
        assert torch.equal(first[key], second[key]) == key.startswith(("encoder.", "bottleneck.")), key
    first_row = read_log(tmp_path / "second")[0]
    assert first_row["used_codes"] == min(read_log(whole), key=lambda row: row["loss"])["used_codes"]


def test_a_crop_that_is_not_whole_codes_is_refused(tiny, corpus, tmp_path):
    with pytest.raises(SpeechVQError, match=r"3300 is not a multiple of the hop length 320 .*; the nearest is 3200"):
        train(replace(tiny, train=replace(tiny.train, crop=3300)), corpus, tmp_path / "run")
    assert not (tmp_path / "run").exists()

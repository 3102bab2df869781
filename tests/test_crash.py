"""Trainings that end early or go wrong: they go on, skip what cannot be learned from, and say so in one line."""

import json
import math
import resource
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from kills import CODEC
from test_loop import TOY, Ones, Row, Toy, assert_same_run, toy_run
from torch import Tensor

from speechvq import SpeechVQError
from speechvq.cli import main
from speechvq.files import only_run
from speechvq.folder.card import WEIGHTS
from speechvq.folder.weights import load_tensors
from speechvq.train.batches import Crops
from speechvq.train.kinds import train
from speechvq.train.loop import LAST, SKIPPED_STEPS, read_log

CONFIG = CODEC + "[train]\nsteps = 4\nbatch_size = 4\ncrop = 3200\neval_every = 2\n"


@pytest.fixture(scope="module")
def whole(tiny, corpus, tmp_path_factory) -> Path:
    """A run of 8 steps in one go, whose batch of step 4 is infinite."""
    out = tmp_path_factory.mktemp("runs") / "whole"
    with pytest.MonkeyPatch.context() as patch:
        change_batches(patch, infinite=4)
        train(tiny, corpus, out)
    return out


def change_batches(patch: pytest.MonkeyPatch, *, infinite: int, stops: list[int] | None = None) -> None:
    """Make the samples of the batch of a step infinite, and interrupt the training once at each of the stops."""
    get = Crops.__getitem__

    def changed(self: Crops, step: int):
        if stops and step == stops[0]:
            stops.pop(0)
            raise KeyboardInterrupt
        batch = get(self, step)
        return batch._replace(wav=batch.wav * math.inf) if step == infinite else batch

    patch.setattr(Crops, "__getitem__", changed)


def test_a_step_without_a_finite_gradient_changes_nothing(tmp_path):
    """As if its batch were not there: Adam's moments, the average and what is drawn stay."""
    values = [0.3, 1.0, 2.0, math.inf, 0.1, math.nan, 0.7]
    config = replace(TOY, eval_every=2, average=0.9)
    with_bad, without = Toy(), Toy()
    toy_run(tmp_path / "bad", replace(config, steps=7), with_bad, Ones(lambda step: values[step]))
    good = [value for value in values if math.isfinite(value)]
    toy_run(tmp_path / "good", replace(config, steps=5), without, Ones(lambda step: good[step]))
    one, other = load_tensors(tmp_path / "bad" / LAST)[0], load_tensors(tmp_path / "good" / LAST)[0]
    assert one.keys() == other.keys()
    assert [key for key in one if not torch.equal(one[key], other[key])] == []
    rows = [json.loads(line) for line in (tmp_path / "bad" / SKIPPED_STEPS).read_text().splitlines()]
    assert rows == [{"step": step, "utterances": [f"one-{step}", "two"]} for step in (3, 5)]
    assert [row.get("skipped_steps") for row in read_log(tmp_path / "bad")] == [None, None, 1, 2, 2]
    assert not (tmp_path / "good" / SKIPPED_STEPS).exists()


class Counting(Toy):
    """Has a statistic that every batch changes, as codebooks of moving averages have."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("sums", torch.zeros(2))

    def forward(self, batch: Row, turn: str = "model") -> dict[str, Tensor]:
        self.sums += batch.x
        return super().forward(batch)


def test_statistics_of_a_skipped_step_are_taken_back(tmp_path):
    model = Counting()
    toy_run(tmp_path, replace(TOY, steps=5), model, Ones(lambda step: math.nan if step == 2 else 1.0))
    assert model.sums.tolist() == [4.0, 4.0]


def test_training_ends_after_a_set_number_of_skipped_steps_in_a_row(tmp_path):
    """Skipped steps before do not count; the best weights and the last state are of step 32."""
    bad = {3, 4, 8, 30, 31, 32}
    data = Ones(lambda step: math.inf if step in bad else None)
    match = r"gradients of 3 steps in a row, to step 32, .*learning_rate, or look at the utterances in .*skipped\.jsonl"
    with pytest.raises(SpeechVQError, match=match):
        toy_run(tmp_path, replace(TOY, learning_rate=0.01, skips=3), Toy(), data)
    assert load_tensors(tmp_path / WEIGHTS)[1]["step"] == 32
    assert load_tensors(tmp_path / LAST)[0]["model.weight"].isfinite()
    toy_run(tmp_path, replace(TOY, learning_rate=0.01, skips=4), Toy(), data)


@pytest.mark.parametrize("stops", [[1], [2, 5], [7]])
def test_the_same_command_goes_on_with_the_same_bits(whole, tiny, corpus, tmp_path, monkeypatch, stops):
    """Ended before the first state (that of step 3), after it, and after the skipped step."""
    change_batches(monkeypatch, infinite=4, stops=stops)
    for _ in range(len(stops)):
        with pytest.raises(KeyboardInterrupt):
            train(tiny, corpus, tmp_path / "run")
        torch.manual_seed(99)
    train(tiny, corpus, tmp_path / "run")
    assert_same_run(whole, tmp_path / "run")
    for name in (SKIPPED_STEPS, "histogram.json"):
        assert (tmp_path / "run" / name).read_bytes() == (whole / name).read_bytes()
    train(tiny, corpus, tmp_path / "run")  # nothing is left to do
    assert_same_run(whole, tmp_path / "run")


def test_another_corpus_under_the_same_command_is_another_run(tiny, corpus, tmp_path, monkeypatch):
    change_batches(monkeypatch, infinite=-1, stops=[5])
    with pytest.raises(KeyboardInterrupt):
        train(tiny, corpus, tmp_path / "run")
    before = (tmp_path / "run" / LAST).read_bytes()
    change_batches(monkeypatch, infinite=0)
    with pytest.raises(SpeechVQError, match="holds another run"):
        train(tiny, corpus, tmp_path / "run")
    assert (tmp_path / "run" / LAST).read_bytes() == before


@pytest.fixture
def command(corpus, tmp_path) -> list[str]:
    (tmp_path / "tiny.toml").write_text(CONFIG)
    return ["train", str(tmp_path / "tiny.toml"), "--data", str(corpus), "--out", str(tmp_path / "run")]


@pytest.mark.parametrize("size", [100, 60_000, 200_000])
def test_a_full_disk_is_one_line(command, tmp_path, capsys, size):
    """No file may be longer than this: the card, the weights, or the state cannot be written."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        code = main(command)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("speechvq")]
    assert code == 2
    assert len(said) == 1
    assert said[0].startswith(f"speechvq: error: {tmp_path / 'run'}/")
    assert "too large" in said[0]
    assert not list((tmp_path / "run").glob(".speechvq-*"))
    assert main(command) == 0  # and goes on


def test_a_second_run_in_a_folder_is_refused(command, corpus, runs, tmp_path, capsys):
    encode = ["encode", str(corpus / "audio"), str(tmp_path / "codes"), "--model", str(runs["mel"])]
    prepare = ["prepare", "folder", str(corpus / "audio"), str(tmp_path / "data"), "--workers", "1"]
    align = ["align", str(corpus), str(tmp_path / "labels"), "--workers", "1"]
    for arguments, out in ((command, "run"), (encode, "codes"), (prepare, "data"), (align, "labels")):
        with only_run(tmp_path / out):
            assert main(arguments) == 2
            assert f"{tmp_path / out}: another run is at work in this folder" in capsys.readouterr().err
            assert not list((tmp_path / out).iterdir())

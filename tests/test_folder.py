"""Atomic writing, and model folders: round trips, and errors that name the damage."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from speechvq import SpeechVQError
from speechvq.config import VQConfig
from speechvq.files import atomic_write
from speechvq.folder.card import CONFIG, FORMAT, WEIGHTS, Card, load_card, save_card, speaker_index
from speechvq.folder.weights import adam_state, fill, fingerprint, load_tensors, load_weights, save_tensors


@pytest.fixture
def folder(tmp_path, tiny) -> Path:
    save_card(tmp_path / "model", Card(tiny, ("p1", "p2"), {"p1": {"sex": "F"}}))
    save_tensors(tmp_path / "model" / WEIGHTS, {"a": torch.arange(500.0), "b": torch.tensor(True)}, {"loss": 0.5})
    return tmp_path / "model"


def one_line(function, *arguments) -> str:
    """The message of the error the call raises."""
    with pytest.raises(SpeechVQError) as error:
        function(*arguments)
    assert "\n" not in str(error.value)
    return str(error.value)


def write_then_raise(path: Path, text: str | None, error: type[BaseException]) -> None:
    with atomic_write(path) as temporary:
        assert temporary.suffix == path.suffix  # soundfile goes by it
        if text is not None:
            temporary.write_text(text)
        raise error


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_an_interrupted_write_leaves_the_old_file_and_nothing_else(tmp_path, error):
    path = tmp_path / "sub" / "file.txt"
    with atomic_write(path) as temporary:
        temporary.write_text("old")
    for text in ("half writ", None):
        with pytest.raises(error):
            write_then_raise(path, text, error)
        assert path.read_text() == "old"
    assert list(path.parent.iterdir()) == [path]


def test_a_write_replaces_the_file_with_the_usual_permissions(tmp_path):
    path, plain = tmp_path / "file.txt", tmp_path / "plain.txt"
    plain.write_text("")
    for text in ("old", "new"):
        with atomic_write(path) as temporary:
            temporary.write_text(text)
            assert temporary.parent == path.parent  # or replacing would not be atomic
    assert path.read_text() == "new"
    assert path.stat().st_mode == plain.stat().st_mode


def test_card_round_trip(tmp_path, tiny):
    for config in (tiny, replace(tiny, model=replace(tiny.model, bottleneck=VQConfig(codes=3)))):
        card = Card(config, ("p1", "speaker two", "ß"), {"p1": {"sex": "F"}})
        save_card(tmp_path, card)
        assert load_card(tmp_path) == card


def test_tensors_round_trip(tmp_path):
    base = torch.arange(12.0).view(3, 4)
    tensors = {
        "plain": base,
        "view": base.T,  # shares memory and is not contiguous
        "flag": torch.tensor(True),
        "bytes": torch.get_rng_state(),
        "half": torch.tensor([1.5], dtype=torch.bfloat16),
        "nothing": torch.zeros(0, 3),
    }
    path = tmp_path / "x.safetensors"
    metadata = {"step": 7, "best": float("inf"), "loss": 0.1, "name": "é"}
    save_tensors(path, tensors, metadata)
    loaded, read = load_tensors(path)
    assert read == metadata
    assert loaded.keys() == tensors.keys()
    assert all(torch.equal(loaded[name], tensors[name]) for name in tensors)
    assert all(loaded[name].dtype == tensors[name].dtype for name in tensors)


@pytest.mark.parametrize("keep", [0, 4, 60, -1])
def test_truncated_weights(folder, keep):
    path = folder / WEIGHTS
    path.write_bytes(path.read_bytes()[:keep])
    assert "truncated or corrupt" in one_line(load_tensors, path)


@pytest.mark.parametrize("at", [0, 3, 8, 20])
def test_corrupt_weights(folder, at):
    path = folder / WEIGHTS
    data = bytearray(path.read_bytes())
    data[at : at + 4] = b"\xff\xff\xff\xff"
    path.write_bytes(data)
    assert "truncated or corrupt" in one_line(load_tensors, path)


def test_a_missing_file_is_named(folder, tmp_path):
    (folder / WEIGHTS).unlink()
    assert f"{WEIGHTS} is missing" in one_line(load_tensors, folder / WEIGHTS)
    (folder / CONFIG).unlink()
    assert f"{CONFIG} is missing" in one_line(load_card, folder)
    assert "no such model folder" in one_line(load_card, tmp_path / "none")
    (folder / WEIGHTS).mkdir()
    one_line(load_tensors, folder / WEIGHTS)


def test_a_newer_format_is_refused_before_anything_else(folder):
    data = json.loads((folder / CONFIG).read_text())
    (folder / CONFIG).write_text(json.dumps({"format": FORMAT + 1, "speechvq": "9.9", "all": "else is new"}))
    message = one_line(load_card, folder)
    assert f"format {FORMAT + 1}, written by speechvq 9.9" in message
    assert data["format"] == 1


BAD_VALUES = [None, 3, "text", [], [3], {}, {"x": 1}]


@pytest.mark.parametrize("key", ["format", "config", "speakers", "speaker_info"])
def test_a_damaged_card_is_one_line(folder, key):
    good = json.loads((folder / CONFIG).read_text())
    fine = {"config": [{}], "speakers": [[]], "speaker_info": [{}, {"x": 1}], "format": []}[key]
    for value in [value for value in BAD_VALUES if value not in fine]:
        (folder / CONFIG).write_text(json.dumps(good | {key: value}))
        one_line(load_card, folder)
    (folder / CONFIG).write_text(json.dumps({name: value for name, value in good.items() if name != key}))
    one_line(load_card, folder)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '"x"', "\udcff"])
def test_a_file_that_is_not_a_card_is_one_line(folder, text):
    (folder / CONFIG).write_bytes(text.encode("utf-8", "surrogateescape"))
    one_line(load_card, folder)


def test_weights_must_fit(tmp_path):
    path = tmp_path / WEIGHTS
    save_tensors(path, nn.Linear(3, 2).state_dict(), {"loss": 1.0})
    module = nn.Linear(3, 2)
    assert load_weights(module, path) == {"loss": 1.0}
    assert torch.equal(module.weight, load_tensors(path)[0]["weight"])
    for other in (nn.Linear(3, 4), nn.Linear(3, 2, bias=False), nn.Sequential(nn.Linear(3, 2))):
        before = {key: value.clone() for key, value in other.state_dict().items()}
        assert "do not fit" in one_line(fill, other, load_tensors(path)[0], "weights")
        assert all(torch.equal(before[key], value) for key, value in other.state_dict().items())


def test_fingerprint_names_the_weights():
    def linear(seed: int) -> nn.Linear:
        torch.manual_seed(seed)
        return nn.Linear(3, 2)

    assert fingerprint(linear(0)) == fingerprint(linear(0))
    assert len({fingerprint(linear(0)), fingerprint(linear(1)), fingerprint(linear(0), linear(0))}) == 3
    changed = linear(0)
    changed.weight.data[1, 2] += 1e-6
    assert fingerprint(changed) != fingerprint(linear(0))


def test_an_unknown_speaker_gets_the_most_similar_names():
    speakers = [f"p{n}" for n in range(225, 260)]
    assert speaker_index(speakers, "p230") == 5
    for typed in ("p2300", "P230", "p_230"):
        message = one_line(speaker_index, speakers, typed)
        assert f"'{typed}'" in message
        assert "p230" in message.partition("nearest")[2]
        assert message.count("p2") <= 4  # not a hundred names


@pytest.mark.parametrize(
    ("key", "change"),
    [
        ("exp_avg", lambda value: None),
        ("exp_avg", lambda value: value.sum()),
        ("exp_avg", lambda value: value.long()),
        ("exp_avg_sq", lambda value: -1 - value),
        ("step", lambda value: value.bool()),
        ("step", lambda value: value - 1),
        ("other", lambda value: torch.zeros(2, 3)),
    ],
)
def test_the_state_of_an_optimizer_is_compared_with_its_parameters(key, change):
    """PyTorch's Adam takes any state, and fails at its next step."""
    parameters = [torch.ones(2, 3, requires_grad=True), torch.ones(4, requires_grad=True)]
    optimizer = torch.optim.Adam(parameters)
    parameters[0].sum().backward()
    optimizer.step()
    state = optimizer.state_dict()["state"]
    tensors = {f"{index}.{key}": tensor for index, own in state.items() for key, tensor in own.items()}
    assert adam_state(tensors, parameters) == {0: state[0]}
    tensors[f"0.{key}"] = change(tensors.get(f"0.{key}"))
    with pytest.raises(ValueError, match="the state of parameter 0"):
        adam_state({name: tensor for name, tensor in tensors.items() if tensor is not None}, parameters)
    with pytest.raises(LookupError):
        adam_state({"2.step": torch.ones(())}, parameters)

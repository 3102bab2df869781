"""What was handed to speechvq is not trusted: nothing leaves its folder, steers the terminal, or asks for more memory
than it brings."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from speechvq import SpeechVQError
from speechvq.cli import main
from speechvq.codec import Codec
from speechvq.coding.trained_prior import TrainedPrior
from speechvq.config import ModelConfig
from speechvq.config.parsing import parse
from speechvq.data.manifest import as_part, is_inside, read_manifest, utterances_digest
from speechvq.evaluate.conversion import wav_name
from speechvq.files import message_line
from speechvq.folder.card import CONFIG, WEIGHTS, load_card, save_card
from speechvq.folder.description import describe_folder
from speechvq.folder.readme import read_readme
from speechvq.folder.weights import load_tensors, save_tensors, without_memory
from speechvq.nn.bottleneck import BOTTLENECKS
from speechvq.nn.decoder import DECODERS
from speechvq.nn.encoder import ENCODERS
from speechvq.nn.vqvae import build
from speechvq.train.loop import LOG

ROW = {"utterance": "a/u1", "speaker": "low", "kind": "conversion"}


def refusal(function, *arguments) -> str:
    """The one line of the error that the call raises."""
    with pytest.raises(SpeechVQError) as error:
        function(*arguments)
    assert len(str(error.value).splitlines()) == 1
    return str(error.value)


def refused(capsys, *command) -> str:
    """What a command prints on stderr, one line without a traceback."""
    assert main([*map(str, command)]) == 2
    said = capsys.readouterr().err
    assert said.startswith("speechvq: error: ")
    assert len(said.splitlines()) == 1
    return said


@pytest.fixture
def model(runs, tmp_path) -> Path:
    """A copy of a model folder."""
    shutil.copytree(runs["mel"], tmp_path / "model")
    return tmp_path / "model"


# --- names


@pytest.mark.parametrize("name", ["a", "a/b", "...", "a/..b", ".hidden", "a b", "\u00e9", "a\\b"])
def test_names_inside_of_a_folder(name, tmp_path):
    assert is_inside(name)
    assert (tmp_path / name).resolve().is_relative_to(tmp_path.resolve())


@pytest.mark.parametrize("name", ["", "/", "/a", "..", "a/..", "../a", "a/../../b", ".", "a/./b", "a//b", "a/", "a\0b"])
def test_names_that_are_not_inside(name):
    assert not is_inside(name)


def test_speakers_and_kinds_cannot_lead_a_recording_elsewhere(tmp_path):
    assert wav_name(ROW) == "a/u1/as-low.wav"
    for change in ({"speaker": "../../x"}, {"speaker": "/x"}, {"kind": "../../../x"}, {"speaker": "a\0b"}):
        path = tmp_path / wav_name(ROW | change)
        assert path.resolve().parent == (tmp_path / "a" / "u1").resolve()
    for name in ("a/b", "..", ".", "", "/", "../x", "\0"):
        assert is_inside(as_part(name))
        assert "/" not in as_part(name)
    assert "inside of a folder" in refusal(wav_name, ROW | {"utterance": "../u1"})


@pytest.mark.parametrize("command", [["align"], ["evaluate", "conversion"], ["train"]])
def test_a_manifest_that_leads_out_of_its_folder_is_refused(command, corpus, runs, tmp_path, capsys):
    data = tmp_path / "data"
    shutil.copytree(corpus, data)
    lines = (data / "manifest.jsonl").read_text().splitlines()
    first = json.loads(lines[0]) | {"id": "../../outside"}
    (data / "manifest.jsonl").write_text("\n".join([json.dumps(first), *lines[1:]]) + "\n")
    (tmp_path / "x.toml").write_text("[model]\n")
    options = {
        "align": [data, tmp_path / "a" / "b"],
        "evaluate": ["--data", data, "--model", runs["mel"], "--wavs", tmp_path / "a" / "b"],
        "train": [tmp_path / "x.toml", "--data", data, "--out", tmp_path / "a" / "b"],
    }
    before = sorted(tmp_path.rglob("*"))
    assert "line 1: 'id' does not name a file inside of a folder" in refused(capsys, *command, *options[command[0]])
    assert sorted(tmp_path.rglob("*")) == before


def test_the_path_that_no_file_can_have_is_that_of_no_file(corpus):
    [first, *_] = read_manifest(corpus)
    odd = [replace(first, path=path) for path in ("gone", "x" * 300, "x/" * 3000 + "x")]
    assert len({utterances_digest(corpus, [one]) for one in odd}) == 3


# --- models


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_weights_that_are_not_finite_are_refused(value, model):
    tensors, figures = load_tensors(model / WEIGHTS)
    name = next(name for name in tensors if name.startswith("encoder") and tensors[name].is_floating_point())
    tensors[name].view(-1)[-1] = value
    save_tensors(model / WEIGHTS, tensors, figures)
    for reader in (Codec.load, describe_folder):
        assert f"'{name}' is NaN or infinite" in refusal(reader, model)


def test_a_configuration_is_compared_with_the_weights_before_anything_is_built(model, prior, tmp_path, monkeypatch):
    """A card that asks for 16 GB or a million layers is refused without them."""
    card = load_card(model)
    real = torch.empty
    largest = 0

    def counted(*size, **options):
        nonlocal largest
        result = real(*size, **options)
        largest = max(largest, result.numel() if result.device.type == "cpu" else 0)
        return result

    monkeypatch.setattr(torch, "empty", counted)
    encoder = replace(card.config.model.encoder, channels=65_536)
    for change in (encoder, replace(card.config.model.encoder, blocks=256)):
        save_card(model, replace(card, config=replace(card.config, model=replace(card.config.model, encoder=change))))
        assert "the weights do not fit the configuration" in refusal(Codec.load, model)
    card = load_card(prior)
    shutil.copytree(prior, tmp_path / "prior")
    wide = replace(card.config.prior.wavenet, skip=65_536, gate=65_536)
    config = replace(card.config, prior=replace(card.config.prior, wavenet=wide))
    save_card(tmp_path / "prior", replace(card, config=config))
    assert "the weights do not fit the configuration" in refusal(TrainedPrior.load, tmp_path / "prior")
    assert largest < 10**7


@pytest.mark.parametrize("part", ["encoder", "bottleneck", "decoder"])
def test_every_part_can_be_built_without_memory(part):
    """With the names and shapes of the real one: constants must not be computed from values that are not there."""
    for kind in {"encoder": ENCODERS, "bottleneck": BOTTLENECKS, "decoder": DECODERS}[part]:
        config = parse(ModelConfig, {part: {"kind": kind}})
        real = {name: value.shape for name, value in build(config, 3).state_dict().items()}
        with without_memory():
            shapes = {name: value.shape for name, value in build(config, 3).state_dict().items()}
        assert shapes == real


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"model": {"encoder": {"blocks": 2**40}}}, "'model.encoder.blocks' is between 0 and 256"),
        ({"model": {"encoder": {"strides": [2] * 300}}}, "'model.encoder.strides' is a list of at most 256"),
        ({"model": {"encoder": {"strides": [64] * 20}}}, "'model.encoder.hop_length' is between 1 and 65536"),
        ({"model": {"decoder": {"kind": "x" * 10**6}}}, "'model.decoder.kind' is one of"),
        ({"model": {"y" * 10**6: 1}}, "unknown configuration key 'model.yyy"),
    ],
)
def test_configurations_beyond_any_use_are_one_short_line(change, reason, model):
    card = json.loads((model / CONFIG).read_text())
    (model / CONFIG).write_text(json.dumps(card | {"config": change}))
    message = refusal(load_card, model)
    assert f"{model / CONFIG}: " in message
    assert reason in message
    assert len(message) < 1000


def test_a_readme_that_cannot_be_read_is_a_warning(model, caplog):
    (model / "README.md").write_text("---\nlicense: &x [mit]\ndatasets: *x\n---\n")
    assert read_readme(model) == {}
    [record] = caplog.records
    assert record.getMessage().startswith(f"{model / 'README.md'}: ")
    (model / "README.md").write_text("---\nlicense: mit\nmodel-index: 3\n---\n")
    assert read_readme(model) == {}


# --- the terminal


def test_escapes_are_never_printed_raw(model, tmp_path, capsys):
    red = "\x1b[31mred\x1b[0m"
    card = json.loads((model / CONFIG).read_text())
    card |= {"speakers": [red, *card["speakers"][1:]], "speaker_info": {red: {"sex": red}}}
    (model / CONFIG).write_text(json.dumps(card))
    (model / "README.md").write_text(f'---\nlicense: "{red.encode("unicode_escape").decode()}"\n---\n')
    commands = [
        ["info", model],
        ["info", model, "--json"],
        ["info", tmp_path / red],
        ["train", tmp_path / red, "--data", red, "--out", red],
        ["decode", tmp_path / red, tmp_path / "x.wav", "--model", model, "--speaker", red],
    ]
    for command in commands:
        main([*map(str, command)])
        said = capsys.readouterr()
        assert said.out + said.err
        assert "\x1b" not in said.out + said.err
    with pytest.raises(SystemExit):
        main(["info", "x", red])
    assert "\x1b" not in capsys.readouterr().err


def test_a_message_is_one_line_of_bounded_length():
    assert message_line("a\nb") == "a\\nb"
    assert len(message_line("x" * 10**6)) < 1100


# --- saved results


def test_a_log_of_another_shape_is_one_line(model, tmp_path, capsys):
    for line in ("[]", "3", '{"loss": 1}', '{"step": "1"}', '{"step": 1, "loss": null}', '{"step": 1, "x": [1]}'):
        (model / LOG).write_text(line + "\n")
        assert f"{LOG}, line 1: " in refused(capsys, "report", model, "--out", tmp_path / "page")

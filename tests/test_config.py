"""Configurations are read and built as written, and every mistake is named."""

import dataclasses
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest
import torch

import speechvq
from speechvq import SpeechVQError
from speechvq.config import CodecRun, EMAConfig, EncoderRun, ModelConfig, PriorRun, VQConfig, WaveNetConfig
from speechvq.config.parsing import load_config, parse
from speechvq.nn.objective.pretraining import build_pretraining
from speechvq.nn.prior import Prior
from speechvq.nn.trainable import submodule, total
from speechvq.nn.vqvae import Batch, build
from speechvq.text.phones import INVENTORY
from speechvq.train.run import check_crop

ROOT = Path(__file__).resolve().parents[1]
FILES = sorted([*ROOT.glob("recipes/**/*.toml"), *Path(speechvq.__file__).parent.glob("demo/*.toml")])
DEFAULT = dataclasses.asdict(CodecRun())


def write(folder: Path, text: str) -> Path:
    path = folder / "config.toml"
    path.write_text(text, encoding="utf-8")
    return path


def leaves(config: Any, where: str = "") -> list[tuple[str, Any]]:
    """Dotted names and values."""
    result = []
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        name = f"{where}{field.name}"
        result += leaves(value, f"{name}.") if dataclasses.is_dataclass(value) else [(name, value)]
    return result


def nested(name: str, value: Any) -> dict[str, Any]:
    """The default configuration, kinds spelled out, with one value changed."""
    data = dataclasses.asdict(CodecRun())
    table = data
    *tables, key = name.split(".")
    for part in tables:
        table = table[part]
    table[key] = value
    return data


NUMBERS = [name for name, value in leaves(CodecRun()) if isinstance(value, int | float) and not isinstance(value, bool)]


def test_an_empty_file_is_the_default(tmp_path):
    assert load_config(write(tmp_path, "")) == CodecRun()


def test_every_value_survives_toml(tmp_path):
    toml = """
[model]
jitter = 0.25
encoder = { kind = "wave", strides = [2, 4, 8], channels = 7, blocks = 0, batch_norm = false }
bottleneck = { kind = "vq", codes = 32, dim = 5, beta = 1 }
[model.decoder]
kind = "wavenet"
mel_weight = 0.5
conditioner.upsample = 8
wavenet.layers = 3
[init]
path = "a b/c"
freeze = ["encoder"]
[train]
seed = 3
learning_rate = 1e-3
precision = "bf16"
"""
    config = load_config(write(tmp_path, toml))
    assert config.model.encoder.strides == (2, 4, 8)
    assert config.model.encoder.batch_norm is False
    assert config.model.bottleneck == VQConfig(codes=32, dim=5, beta=1.0)
    assert type(config.model.bottleneck.beta) is float  # written as 1
    assert config.model.decoder.conditioner.upsample == 8
    assert config.model.decoder.wavenet.layers == 3
    assert config.model.decoder.wavenet.cycles == 2  # not given: the default
    assert config.init.freeze == ("encoder",)
    assert (config.train.seed, config.train.learning_rate, config.train.precision) == (3, 1e-3, "bf16")
    assert parse(CodecRun, dataclasses.asdict(config)) == config


def test_overrides(tmp_path):
    path = write(tmp_path, '[train]\nsteps = 5\n[model.bottleneck]\nkind = "ema"\ncodes = 9')
    overrides = ["train.steps=7", "train.average = 0.5", "model.bottleneck.kind=vq", "model.encoder.strides=[4, 2]"]
    config = load_config(path, [*overrides, "init.path=runs/x=1", "train.steps=8"])
    assert config.train.steps == 8  # the last wins
    assert config.train.average == 0.5
    assert config.model.bottleneck == VQConfig(codes=9)
    assert config.model.encoder.strides == (4, 2)
    assert config.init.path == "runs/x=1"


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("train.step=7", "unknown configuration key 'train.step'; the nearest is 'train.steps'"),
        ("modle.jitter=0", "unknown configuration key 'modle'; the nearest is 'model'"),
        ("model.encoder.stride=[2]", "'model.encoder.stride'; the nearest is 'model.encoder.strides'"),
        ("train.steps=many", "'train.steps' is of type int; got 'many'"),
        ("train.steps=1.5", "'train.steps' is of type int; got 1.5"),
        ("train.steps=true", "'train.steps' is of type int; got True"),
        ("train.clip=false", "'train.clip' is of type float; got False"),
        ("init.path=3", "'init.path' is of type str; got 3"),
        ("model.encoder.strides=2", "'model.encoder.strides' is a list, not 2"),
        ("model.encoder.strides=[2, 'x']", "'model.encoder.strides[1]' is of type int; got 'x'"),
        ("model.encoder=4", "'model.encoder' is a table, not 4"),
        ("model.encoder.kind=mel", "'model.encoder.kind' is one of wave, logmel, mfcc, causal; got 'mel'"),
        ("model.bottleneck.kind=gumbel", "'model.bottleneck.kind' is one of vq, ema, "),
        ("model.bottleneck.kind=['ema']", "got ['ema']"),
        ("model.bottleneck=3", "'model.bottleneck"),
        ("model.bottleneck={kind='vq', decay=0.5}", "unknown configuration key 'model.bottleneck.decay'"),
        ("model.decoder={kind='mel', wavenet={}}", "unknown configuration key 'model.decoder.wavenet'"),
        ("train.optimizer=sgd", "'train.optimizer' is one of adam, adamw; got 'sgd'"),
        ("model.encoder.strides=[2, 0]", "'model.encoder.strides' is between 1 and"),
        ("train.learning_rate=nan", "'train.learning_rate' is between"),
        ("train.learning_rate=inf", "'train.learning_rate' is between"),
        ("model.jitter=1", "'model.jitter' is between 0 and"),
        ("train.steps", "key.name=value"),
        ("train.steps.x=1", "train.steps"),
    ],
)
def test_a_mistake_is_one_line_that_names_it(tmp_path, override, message):
    path = write(tmp_path, "[train]\nsteps = 3")
    with pytest.raises(SpeechVQError) as error:
        load_config(path, [override])
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("value", [-1, 10**30])
def test_every_number_has_limits(name, value):
    if isinstance(dict(leaves(CodecRun()))[name], float):
        value = float(value)
    with pytest.raises(SpeechVQError, match=f"'{name}' is between"):
        parse(CodecRun, nested(name, value))


def test_the_kind_selects_the_variant():
    for variant in get_args(get_type_hints(ModelConfig)["bottleneck"]):
        model = parse(ModelConfig, {"bottleneck": {"kind": variant.kind, "dim": 8}})
        assert model.bottleneck == variant(dim=8)
    with pytest.raises(SpeechVQError, match=r"'model\.bottleneck\.kind'"):
        parse(CodecRun, {"model": {"bottleneck": {"codes": 8}}})
    assert parse(CodecRun, {}).model.bottleneck == EMAConfig()


@pytest.mark.parametrize(("text", "message"), [("steps = = 3", "not TOML"), ("\x00", "not TOML")])
def test_files_that_are_not_toml_are_refused(tmp_path, text, message):
    with pytest.raises(SpeechVQError, match=message):
        load_config(write(tmp_path, text))
    (tmp_path / "latin.toml").write_bytes(b"# \xe9")
    with pytest.raises(SpeechVQError, match="not UTF-8"):
        load_config(tmp_path / "latin.toml")


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    for path in (tmp_path / "none.toml", tmp_path):
        with pytest.raises(SpeechVQError, match="cannot be read"):
            load_config(path)


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_every_configuration_of_the_project_can_be_built(path):
    config = load_config(path)
    if isinstance(config, PriorRun):
        assert Prior(config.prior, codes=8, speakers=2).net.receptive_field > 100
        return
    if isinstance(config, EncoderRun):
        check_crop(config.train, config.encoder.hop_length)
        assert build_pretraining(config, codes=8).reconstruction
        return
    model = build(config.model, speakers=2)
    check_crop(config.train, model.hop_length)
    for part in config.init.freeze:
        submodule(model, part)


@pytest.mark.parametrize(("name", "hop", "codes"), [("64x", 64, 512), ("128x", 128, 512), ("640x", 640, 128)])
def test_the_papers_models_have_the_papers_numbers(name, hop, codes):
    config = load_config(ROOT / "recipes" / "vctk" / f"paper-{name}.toml")
    model = build(config.model, speakers=109)
    assert (model.hop_length, model.bottleneck.codes) == (hop, codes)
    assert model.bottleneck.config == VQConfig(codes=codes, dim=64, beta=0.25)  # by gradient, from the data
    convolutions = [module for module in model.encoder.modules() if isinstance(module, torch.nn.Conv1d)]
    strided = [(c.stride[0], c.kernel_size[0]) for c in convolutions if c.stride[0] > 1]
    assert strided[:6] == [(2, 4)] * 6
    small = replace(config.model.decoder, wavenet=WaveNetConfig(cycles=1, layers=2, residual=8, gate=8, skip=8))
    model = build(replace(config.model, decoder=small, encoder=replace(config.model.encoder, channels=8)), speakers=2)
    batch = Batch(0.1 * torch.randn(2, 4 * hop), torch.tensor([0, 1]))
    losses = model(batch)
    assert set(losses) == {"nll", "commitment", "codebook"}
    total(losses).backward()


MODELS = [path for path in FILES if isinstance(load_config(path), CodecRun)]


STAGES = [path for path in MODELS if load_config(path).init.freeze]


@pytest.mark.parametrize(
    "path", [p for p in STAGES if load_config(p).model.encoder.kind != "causal"], ids=lambda path: path.name
)
def test_a_second_stage_fits_the_first_one_beside_it(path):
    """The model of another file in the folder has the parts that this one starts from."""
    config = load_config(path)
    own = build(config.model, 2)

    def fits(other: Path) -> bool:
        first = build(load_config(other).model, 2)
        return all(
            {key: value.shape for key, value in submodule(first, part).state_dict().items()}
            == {key: value.shape for key, value in submodule(own, part).state_dict().items()}
            for part in config.init.parts
        )

    assert any(fits(other) for other in MODELS if other.parent == path.parent and other != path)


def test_the_codes_of_convert_50hz_are_of_its_encoder():
    """What `speechvq codebook` adds are outputs, classes and the projection."""
    trained = load_config(ROOT / "recipes" / "models" / "convert-50hz-encoder.toml").encoder
    for name, outputs in ("convert-50hz", (len(trained.dilations),)), ("convert-50hz-codes", (0, 2, 4, 6, 8)):
        codec = load_config(ROOT / "recipes" / "models" / f"{name}.toml").model.encoder
        assert codec == replace(trained, outputs=outputs, classes=len(INVENTORY))


def test_the_configurations_of_the_project_are_found():
    assert {path.parent.name for path in FILES} >= {"vctk", "demo"}

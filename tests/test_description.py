"""`speechvq info` reads the files of a model folder; it must say what the loaded model says."""

import json
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch

from speechvq import SpeechVQError
from speechvq.codec import Codec
from speechvq.coding.trained_prior import TrainedPrior
from speechvq.config import CodecRun, DecoderConfig, ModelConfig
from speechvq.config.parsing import parse
from speechvq.folder.card import CONFIG, PACKAGED, WEIGHTS, Card, packaged
from speechvq.folder.description import describe_folder
from speechvq.folder.fingerprint import fingerprint_of
from speechvq.folder.readme import read_readme
from speechvq.folder.weights import save_tensors
from speechvq.nn.bottleneck import BOTTLENECKS
from speechvq.nn.encoder import ENCODERS
from speechvq.nn.vqvae import build

GOLDEN = Path(__file__).parent / "golden"
STRIDES = {"wave": [4, 4, 5, 8]}  # so that every encoder has codes of 40 ms
CONFIGS: dict[str, dict[str, Any]] = {
    **{f"encoder {kind}": {"encoder": {"kind": kind, "strides": STRIDES.get(kind, [2, 2])}} for kind in ENCODERS},
    **{f"bottleneck {kind}": {"bottleneck": {"kind": kind}} for kind in BOTTLENECKS},
    **{f"decoder {variant.kind}": {"decoder": {"kind": variant.kind}} for variant in get_args(DecoderConfig)},
    "predictor": {"predictor": {"weight": 1.0}},
}


def same(folder: Path, described: dict[str, Any]) -> None:
    found = describe_folder(folder)
    assert found == read_readme(folder) | described
    assert json.loads(json.dumps(found)) == found  # nothing that --json would write otherwise


@pytest.mark.parametrize("folder", [*packaged(), GOLDEN / "models" / "mel", GOLDEN / "models" / "wavenet"])
def test_of_codecs(folder):
    same(PACKAGED / folder, Codec.load(folder).describe())


@pytest.mark.parametrize("folder", [PACKAGED / "phoneme-25hz" / "prior", GOLDEN / "prior"])
def test_of_priors(folder):
    same(folder, TrainedPrior.load(folder).describe())


def test_of_models_trained_here(runs, prior):
    for folder in runs.values():
        same(folder, Codec.load(folder).describe())
    described = TrainedPrior.load(prior).describe()
    same(prior, described)
    assert described["receptive_field"] == 1 + 1 + 2 + 4 + 8
    assert described["penalty"] == 0


@pytest.mark.parametrize("name", CONFIGS)
def test_of_every_kind_of_part(name, tmp_path):
    """A part with state that is no parameter and has a new name fails here: see `fingerprint.STATISTICS`."""
    config = parse(ModelConfig, CONFIGS[name])
    model = build(config, 2)
    codec = Codec(
        model, Card(CodecRun(model=config), ("a", "b"), {"a": {"sex": "F"}}), {"loss": 1.5}, torch.device("cpu")
    )
    codec.save(tmp_path)
    same(tmp_path, codec.describe())
    assert codec.describe()["hop_length"] == model.hop_length == 640
    assert codec.describe().get("codes", 0) == model.bottleneck.codes


def test_the_fingerprint_is_of_names_shapes_and_values():
    values = np.arange(6.0)
    one = fingerprint_of({"a": values})
    assert one == fingerprint_of({"a": values.copy()})
    others = [{"b": values}, {"a": values.reshape(2, 3)}, {"a": values[::-1]}, {"a": values.astype(np.float32)}]
    assert len({one, *map(fingerprint_of, others)}) == 5
    assert fingerprint_of({"a": values, "b": values}) == fingerprint_of({"b": values, "a": values})
    assert fingerprint_of({"a": values}, {"b": values}) != fingerprint_of({"b": values}, {"a": values})


def test_a_damaged_folder_is_one_line(tmp_path):
    with pytest.raises(SpeechVQError, match="no such model folder"):
        describe_folder(tmp_path / "absent")
    codec = Codec.load(GOLDEN / "models" / "mel")
    codec.save(tmp_path)
    weights = (tmp_path / WEIGHTS).read_bytes()
    for end in (0, 4, 60, len(weights) // 2, len(weights) - 1):
        (tmp_path / WEIGHTS).write_bytes(weights[:end])
        with pytest.raises(SpeechVQError, match="truncated or corrupt"):
            describe_folder(tmp_path)
    (tmp_path / WEIGHTS).unlink()
    with pytest.raises(SpeechVQError, match=f"incomplete, {WEIGHTS} is missing"):
        describe_folder(tmp_path)
    (tmp_path / CONFIG).write_text(
        json.dumps({"format": 1, "config": {"prior": {}}, "speakers": [], "speaker_info": {}})
    )
    save_tensors(tmp_path / WEIGHTS, {"a": torch.zeros(1)}, {"loss": 1.0})
    with pytest.raises(SpeechVQError, match="does not name the codes"):
        describe_folder(tmp_path)

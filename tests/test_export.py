"""ONNX files give what the codec gives, at any length, and say what else a program must know."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from speechvq import SpeechVQError
from speechvq.audio.features import MFCC, LogMel
from speechvq.audio.source_filter import pulses
from speechvq.cli import main
from speechvq.codec import Codec
from speechvq.config import CodecRun
from speechvq.config.parsing import parse
from speechvq.folder.card import PACKAGED, Card, packaged
from speechvq.nn.decoder.source_filter import SourceFilterDecoder, white_noise
from speechvq.nn.vqvae import build

pytest.importorskip("onnx", reason='onnx is an extra: pip install ".[export]"')
onnxruntime = pytest.importorskip("onnxruntime", reason='onnxruntime is an extra: pip install ".[export]"')

from speechvq.codec.export import ExportedSourceFilter, RealLogMel, RealMFCC, export_codec, probe_signal  # noqa: E402


def run(path: Path, **inputs: torch.Tensor) -> np.ndarray:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return session.run(None, {name: tensor.numpy() for name, tensor in inputs.items()})[0]


def fresh(encoder: dict[str, object], bottleneck: dict[str, object], decoder: str) -> Codec:
    """A small codec that has learned nothing."""
    torch.manual_seed(0)
    conditioner = {"upsample": 2, "channels": 8, "blocks": 1}
    parts = {"kind": decoder} | ({} if decoder == "none" else {"conditioner": conditioner})
    config = parse(CodecRun, {"model": {"encoder": encoder, "bottleneck": bottleneck, "decoder": parts}})
    model = build(config.model, 0 if decoder == "none" else 3)
    if bottleneck["kind"] in ("ema", "vq"):
        model.bottleneck.initialize(torch.randn(bottleneck["codes"], 4))
    speakers = () if decoder == "none" else ("a", "b", "c")
    return Codec(model, Card(config, speakers), {}, torch.device("cpu"))


EMA = {"kind": "ema", "codes": 16, "dim": 4}
MODELS = {
    "logmel": ({"kind": "logmel", "strides": [2], "channels": 8, "blocks": 1}, EMA, "source_filter"),
    "vocoder": ({"kind": "logmel", "strides": [2], "channels": 8, "blocks": 1}, EMA, "vocoder"),
    "mfcc": ({"kind": "mfcc", "strides": [2], "channels": 8, "blocks": 1}, {"kind": "fsq"}, "none"),
    "bands": ({"kind": "logmel", "strides": [2], "channels": 8, "blocks": 1}, EMA, "band_wavenet"),
    "wave": ({"kind": "wave", "strides": [4, 4, 5, 4], "channels": 8, "blocks": 1}, EMA, "mel"),
    "causal": (
        {"kind": "causal", "strides": [2, 1], "channels": 8, "dilations": [1, 2], "outputs": [0, 2]},
        EMA,
        "none",
    ),
}


@pytest.mark.parametrize("name", MODELS)
def test_codes_are_those_of_the_model_at_any_length(name, tmp_path):
    codec = fresh(*MODELS[name])
    figures = export_codec(codec, tmp_path)
    assert figures["codes_equal"] >= 0.99
    for codes in (7, 150):
        wav = probe_signal(codec.hop_length)[:, 1600 : 1600 + codes * codec.hop_length]
        wav = torch.cat([wav, wav], 1)[:, : codes * codec.hop_length]
        found, expected = run(tmp_path / "encoder.onnx", wav=wav), codec.model.encode(wav).numpy()
        assert found.shape == expected.shape == (1, wav.shape[1] // codec.hop_length)
        assert (found == expected).mean() > 0.98
    about = json.loads((tmp_path / "export.json").read_text())
    assert about["speakers"] == list(codec.speakers)
    assert about["decoder"] == (tmp_path / "decoder.onnx").exists() == (name in ("logmel", "vocoder"))
    assert (about["hop_length"], about["codes"]) == (codec.hop_length, codec.alphabet.codes)


def test_packaged_models_are_exported_with_their_licence(tmp_path):
    name = packaged()[0]
    codec = Codec.load(name)
    figures = export_codec(codec, tmp_path)
    assert figures["codes_equal"] >= 0.99
    assert (tmp_path / "README.md").read_bytes() == (PACKAGED / name / "README.md").read_bytes()
    decoder = codec.model.decoder
    if not isinstance(decoder, SourceFilterDecoder):
        pytest.skip("the packaged model has another decoder, which is not exported")
    assert figures["decoder_error_db"] < -60
    codes, number = torch.arange(40) % codec.alphabet.codes, len(codec.speakers) - 1
    noise = white_noise(torch.empty(1, 40 * codec.hop_length), seed=3)
    wav = run(tmp_path / "decoder.onnx", codes=codes[None], speaker=torch.tensor([number]), noise=noise)
    expected = codec.decode(codes, codec.speakers[number], seed=3)
    difference = (torch.from_numpy(wav[0]) - expected).square().mean() / expected.square().mean()
    assert difference < 1e-5


def test_the_real_features_and_pulses_are_those_of_the_model():
    wav = probe_signal(320)
    for mel in (LogMel(), LogMel(80, 1024), MFCC().mel):
        torch.testing.assert_close(RealLogMel(mel)(wav), mel(wav), atol=2e-3, rtol=0)
    torch.testing.assert_close(RealMFCC(MFCC())(wav), MFCC()(wav), atol=1e-2, rtol=0)
    codec = fresh(*MODELS["logmel"])
    exported = ExportedSourceFilter(codec, codec.model.decoder)
    pitch = torch.linspace(60, 500, 200)[None]
    expected = pulses(pitch, exported.hop)
    assert ((exported.pulses(pitch) - expected).square().mean() / expected.square().mean()).item() < 1e-6
    codes, noise = torch.arange(12), white_noise(torch.empty(1, 12 * codec.hop_length), seed=1)
    with torch.inference_mode():
        wav = exported(codes[None], torch.tensor([2]), noise)[0]
    torch.testing.assert_close(wav, codec.decode(codes, "c", seed=1), atol=1e-3, rtol=0)


def test_the_command(tmp_path, capsys):
    golden = Path(__file__).parent / "golden" / "models" / "mel"
    command = ["export", str(tmp_path / "out"), "--model", str(golden)]
    assert main([*command, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["codes_equal"] >= 0.99
    assert main(command) == 2
    assert "encoder.onnx exists; --force overwrites it" in capsys.readouterr().err
    assert main([*command, "--force"]) == 0
    continuous = fresh(MODELS["logmel"][0], {"kind": "vae", "dim": 4}, "mel")
    with pytest.raises(SpeechVQError, match="continuous"):
        export_codec(continuous, tmp_path / "vae")

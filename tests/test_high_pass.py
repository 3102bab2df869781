"""What nobody hears changes no codes: the high-pass, from a prepared folder to the codec that encodes with it."""

import json
import math
import shutil
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import speech
from hypothesis import given
from hypothesis import strategies as st
from signals import noise, sine

from speechvq import SpeechVQError
from speechvq.audio.high_pass import high_pass, high_passed
from speechvq.cli import main
from speechvq.codec import Codec
from speechvq.coding.corpus_codes import corpus_codes
from speechvq.config import InitConfig
from speechvq.data.manifest import TREATMENT_FILE, Treatment, read_manifest, read_treatment
from speechvq.data.utterance_labels import LabelledUtterance
from speechvq.evaluate.labelled import encode_labelled
from speechvq.folder.card import CONFIG, load_card
from speechvq.train.codebook import Clustering, make_codebook
from speechvq.train.kinds import train
from speechvq.train.voice import adapt


@pytest.fixture
def old_corpus(corpus, tmp_path) -> Path:
    """The corpus as a version without a high-pass recorded it."""
    out = tmp_path / "old"
    shutil.copytree(corpus, out, ignore=shutil.ignore_patterns("codes", "features"))
    (out / TREATMENT_FILE).write_text('{"trim_db": 60.0}')
    return out


def spoken(seed: int = 0) -> torch.Tensor:
    random = np.random.default_rng(seed)
    return torch.from_numpy(speech(140.0, list(random.integers(4, size=20)), random))


def kept(codec: Codec, changed: torch.Tensor, wav: torch.Tensor) -> float:
    """The share of codes that are the same."""
    return float((codec.encode(changed, 16_000) == codec.encode(wav, 16_000)).float().mean())


@pytest.mark.parametrize(
    ("frequency", "least", "most"),
    [(5, 40, 400), (50, 40, 80), (60, 40, 80), (62, 39.5, 40.5), (80, 2.5, 4), (100, 0, 0.2), (1000, -0.01, 0.01)],
)
def test_attenuation_in_decibels(frequency, least, most):
    tone = torch.from_numpy(sine(frequency, 3.0, level=0.1))
    ratio = tone[16_000:].square().mean() / high_pass(tone, 80.0)[16_000:].square().mean()
    assert least < 10 * math.log10(ratio) < most


def test_any_cutoff_is_where_3_db_are_lost():
    for cutoff in (40.0, 120.0, 300.0):
        tone = torch.from_numpy(sine(cutoff, 3.0, level=0.1))
        ratio = tone[16_000:].square().mean() / high_pass(tone, cutoff)[16_000:].square().mean()
        assert 2.5 < 10 * math.log10(ratio) < 4


@given(cuts=st.lists(st.integers(0, 3000), max_size=6))
def test_pieces_are_filtered_as_the_whole(cuts):
    wav = noise(3000) + 0.2
    edges = [0, *sorted(cuts), 3000]
    pieces = [wav[start:end] for start, end in pairwise(edges)]
    assert torch.equal(torch.cat([*high_passed(pieces, 80.0)]), high_pass(wav, 80.0))


def test_an_offset_is_gone_from_the_first_sample():
    assert high_pass(torch.full((1000,), 0.3), 80.0).abs().max() < 1e-6
    wav = noise(8000)
    torch.testing.assert_close(high_pass(wav + 0.3, 80.0), high_pass(wav, 80.0), atol=1e-6, rtol=0)
    assert torch.equal(high_pass(wav, 0.0), wav)
    assert len(high_pass(torch.empty(0), 80.0)) == 0


@pytest.mark.parametrize("offset", [0.02, 0.1, 0.3])
def test_an_offset_changes_no_codes(runs, offset):
    codec, wav = Codec.load(runs["mel"]), spoken()
    assert kept(codec, wav + offset, wav) > 0.98


def test_without_the_filter_an_offset_changes_codes(runs):
    wav = spoken()
    assert kept(Codec.load(runs["mel"]).after_high_pass(80.0), wav + 0.3, wav) < 0.95


@pytest.mark.parametrize("decibel", [-60, -40, -20, 6, 20])
def test_the_level_changes_no_codes(runs, decibel):
    wav = spoken()
    assert kept(Codec.load(runs["mel"]), wav * 10 ** (decibel / 20), wav) > 0.98


def test_hum_at_40_db_below_full_scale_changes_few_codes(runs):
    codec, wav = Codec.load(runs["mel"]), spoken()
    for frequency in (50, 60):
        hum = torch.from_numpy(sine(frequency, len(wav) / 16_000, level=0.01))
        assert kept(codec, wav + hum, wav) > 0.95


def test_a_stream_is_encoded_as_the_whole(runs, tmp_path, monkeypatch):
    import soundfile

    wav = spoken() + 0.1
    soundfile.write(tmp_path / "a.wav", wav.numpy(), 16_000, "FLOAT")
    codec = Codec.load(runs["mel"])
    monkeypatch.setattr("speechvq.audio.decoding.libsndfile.READ_SIZE", 1000)
    assert torch.equal(codec.encode_file(tmp_path / "a.wav").codes, codec.encode(wav, 16_000))


def test_training_writes_the_filter_of_its_data_on_the_card(corpus, old_corpus, tiny, runs, tmp_path):
    assert read_treatment(corpus) == Treatment(60.0, 80.0)
    assert read_treatment(old_corpus) == Treatment(60.0, 0.0)
    data = json.loads((runs["mel"] / CONFIG).read_text())
    assert (data["format"], data["high_pass"]) == (2, 80.0)
    assert Codec.load(runs["mel"]).describe()["high_pass"] == 80.0
    train(replace(tiny, train=replace(tiny.train, steps=1)), old_corpus, tmp_path / "run")
    data = json.loads((tmp_path / "run" / CONFIG).read_text())
    assert data["format"] == 1
    assert "high_pass" not in data
    assert Codec.load(tmp_path / "run").high_pass == 0


def test_prepared_audio_is_not_filtered_again(corpus, old_corpus, runs):
    codec, [utterance, *_] = Codec.load(runs["mel"]), read_manifest(corpus)
    for data, expected in ((corpus, codec.after_high_pass(80.0)), (old_corpus, codec)):
        wav = torch.from_numpy(_samples(data / utterance.path))
        codes = expected.encode(wav, 16_000).numpy()
        assert np.array_equal(corpus_codes(codec, data, [utterance])[0], codes)
        assert np.array_equal(encode_labelled(codec, data, [LabelledUtterance(utterance, [])])[0][0].codes, codes)
    names = [[path.name for path in (data / "codes").iterdir()] for data in (corpus, old_corpus)]
    assert names[1][0].endswith("-80.safetensors")  # one fingerprint, other codes
    assert names[1][0] not in names[0]
    assert [codec.after_high_pass(cutoff).high_pass for cutoff in (50.0, 100.0)] == [80, 0]


def _samples(path: Path) -> np.ndarray:
    import soundfile

    return soundfile.read(path, dtype="float32")[0]


def test_parts_of_a_model_of_another_filter_are_refused(corpus, old_corpus, tiny, runs, tmp_path):
    init = InitConfig(str(runs["mel"]), ("encoder", "bottleneck"), ("encoder", "bottleneck"))
    with pytest.raises(SpeechVQError, match=r"mel: .*high-pass of 80 Hz.*of 0 Hz; prepare it with --high-pass 80$"):
        train(replace(tiny, init=init), old_corpus, tmp_path / "run")
    assert not (tmp_path / "run").exists()
    with pytest.raises(SpeechVQError, match=r"high-pass of 80 Hz"):
        make_codebook(runs["mel"], old_corpus, tmp_path / "codec", Clustering())


def test_a_new_voice_goes_through_the_model_s_filter(runs, tmp_path, monkeypatch):
    import soundfile

    from speechvq.train import voice

    (tmp_path / "in").mkdir()
    for i in range(4):
        soundfile.write(tmp_path / "in" / f"{i}.wav", spoken(i).numpy(), 16_000)
    treatments, whole = [], voice.prepare
    monkeypatch.setattr(voice, "prepare", lambda *args, **named: treatments.append(args[2]) or whole(*args, **named))
    adapt(runs["mel"], "new", tmp_path / "in", tmp_path / "out", steps=1)
    assert treatments == [Treatment(high_pass=80.0)]
    assert load_card(tmp_path / "out").high_pass == 80


@pytest.mark.parametrize("value", ["-1", "nan", "1001", "x"])
def test_an_impossible_cutoff_is_refused(value, capsys):
    with pytest.raises(SystemExit):
        main(["prepare", "folder", "in", "out", "--high-pass", value])
    assert "--high-pass: " in capsys.readouterr().err


@pytest.mark.parametrize("value", [-1, 1e9, "x", None, [80], float("nan")])
def test_an_impossible_cutoff_in_a_file_is_one_line(value, old_corpus, runs, tmp_path):
    shutil.copytree(runs["mel"], tmp_path / "model")
    card = json.loads((tmp_path / "model" / CONFIG).read_text())
    (tmp_path / "model" / CONFIG).write_text(json.dumps(card | {"high_pass": value}))
    (old_corpus / TREATMENT_FILE).write_text(json.dumps({"trim_db": 30.0, "high_pass": value}))
    with pytest.raises(SpeechVQError, match=r"config\.json: 'high_pass' is"):
        load_card(tmp_path / "model")
    with pytest.raises(SpeechVQError, match="not the treatment of a prepared corpus"):
        read_treatment(old_corpus)

"""The demo, whole, with few and short sentences and seconds of training."""

import json

import pytest
import soundfile

from speechvq.cli import main
from speechvq.data.corpora import demo_speech
from speechvq.data.manifest import Split
from speechvq.demo import pipeline
from speechvq.evaluate.conversion import wav_name


def test_a_short_demo_goes_through_every_stage(tmp_path, monkeypatch, capsys):
    pytest.importorskip("espeakng_loader", reason="the demo corpus needs the extra demo")
    by_split: dict[str, list[str]] = {"train": [], "valid": [], "test": []}
    for text in demo_speech.sentences():
        short = " ".join(text.split()[:4])
        by_split[Split(unseen=0.0).of("", "", short)].append(short)
    texts = [*by_split["train"][:8], *by_split["valid"][:2], *by_split["test"][:2]]
    for module in (demo_speech, pipeline):
        monkeypatch.setattr(module, "sentences", lambda: texts)
    monkeypatch.setattr(pipeline, "VOICES", demo_speech.VOICES[:5])
    out = tmp_path / "demo"
    assert main(["demo", "--out", str(out), "--minutes", "0.25", "--json"]) == 0
    captured = capsys.readouterr()
    summary = json.loads(captured.out)
    assert json.loads((out / "summary.json").read_text()) == summary
    assert "[7/7]" in captured.err
    assert "min left" in captured.err
    stages = {"corpus", "prepare", "train_mel", "train_wavenet", "convert", "phonemes", "page"}
    assert summary["seconds"].keys() == stages
    assert summary["models"]["mel"]["loss_ratio"] < 1
    assert summary["models"]["wavenet"]["untrained_bits_per_sample"] == pytest.approx(8, abs=0.2)
    for name in ("mel", "wavenet"):
        rows = json.loads((out / name / "conversion.json").read_text())["rows"]
        assert [row["kind"] for row in rows] == 3 * ["natural", "copy", "reconstruction", "conversion"]
        lengths = {soundfile.info(out / name / "wavs" / wav_name(row)).frames for row in rows[:4]}
        assert len(lengths) == 1
        assert summary["conversions"][name]["conversion"]["utterances"] == 3
    assert 0 < summary["phonemes"]["held_out"] < 1
    page = (out / "page" / "index.html").read_text()
    assert page.count("<audio") == 2 * 3 * 3
    assert "Confusion matrix" in page
    assert main(["demo", "--out", str(out), "--minutes", "0.1"]) == 2
    assert "--force" in capsys.readouterr().err

"""The demo, whole, with few and short sentences and seconds of training."""

import json

import pytest
import soundfile

from speechvq.cli import main
from speechvq.demo import corpus, pipeline


def test_a_short_demo_goes_through_every_stage(tmp_path, monkeypatch, capsys):
    pytest.importorskip("espeakng_loader", reason="the demo corpus needs the extra speechvq[demo]")
    short = [" ".join(text.split()[:4]) for text in corpus.sentences()[:50]]
    for room in (corpus, pipeline):
        monkeypatch.setattr(room, "sentences", lambda: short)
    monkeypatch.setattr(pipeline, "VOICES", corpus.VOICES[:5])
    out = tmp_path / "demo"
    assert main(["demo", "--out", str(out), "--minutes", "0.25", "--json"]) == 0
    captured = capsys.readouterr()
    summary = json.loads(captured.out)
    assert json.loads((out / "summary.json").read_text()) == summary
    assert "[5/5]" in captured.err
    assert "min left" in captured.err
    assert summary["seconds"].keys() == {"corpus", "prepare", "train_mel", "train_wavenet", "convert"}
    assert summary["models"]["mel"]["loss_ratio"] < 1
    assert summary["models"]["wavenet"]["untrained_bits_per_sample"] == pytest.approx(8, abs=0.2)
    for row in summary["conversions"]:
        original = soundfile.info(out / "wavs" / row["utterance"] / "original.wav")
        name = "reconstruction" if row["utterance"].startswith(row["speaker"]) else f"as-{row['speaker']}"
        made = soundfile.info(out / "wavs" / row["utterance"] / f"{name}-{row['decoder']}.wav")
        assert made.frames == original.frames
    assert len(summary["conversions"]) == 12
    assert main(["demo", "--out", str(out), "--minutes", "0.1"]) == 2
    assert "--force" in capsys.readouterr().err

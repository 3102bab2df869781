"""The yardstick: the sentences it takes, counts and rates by known values, what it keeps, and the whole command."""

import json
import runpy
import shutil
import sys
from pathlib import Path

import pytest
import torch

from speechvq.audio.io import read
from speechvq.codec import Codec, Encoded
from speechvq.coding.bitstream import pack
from speechvq.coding.code_files import CodeFiles
from speechvq.data.corpora.demo_speech import VOICES, speak_corpus
from speechvq.data.corpora.vctk import VCTK
from speechvq.data.manifest import SPEAKERS, Split, Treatment, Utterance, read_manifest, write_manifest
from speechvq.data.prepare import prepare
from speechvq.files import save_json
from speechvq.report.result_tables import result_tables
from speechvq.report.runs import read_runs

FOLDER = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture(autouse=True)
def _importable(monkeypatch):
    monkeypatch.syspath_prepend(FOLDER)


def run(monkeypatch, capsys, *options: str) -> str:
    """The output of the command."""
    monkeypatch.setattr(sys, "argv", ["intelligibility.py", *options])
    runpy.run_path(str(FOLDER / "intelligibility.py"), run_name="__main__")
    return capsys.readouterr().out


@pytest.fixture(scope="module")
def spoken(tmp_path_factory) -> Path:
    """A corpus of three synthetic speakers, prepared; two are unseen, one of them in a narrow-band corpus."""
    pytest.importorskip("espeakng_loader", reason='espeak-ng is an extra: pip install ".[demo]"')
    root, out = tmp_path_factory.mktemp("spoken"), tmp_path_factory.mktemp("prepared")
    speak_corpus(root / "tree", count=4, voices=VOICES[:3])
    names = [voice.speaker for voice in VOICES[:3]]
    prepare(VCTK.read(root / "tree"), out, Treatment(), Split(0, 0, unseen_speakers=tuple(names[1:])), speakers={})
    corpora = {names[0]: "vctk", names[1]: "vctk", names[2]: "librispeech-dev-clean"}
    save_json(out / SPEAKERS, {name: {"corpus": corpus} for name, corpus in corpora.items()})
    return out


@pytest.fixture
def listed(tmp_path) -> Path:
    """A manifest without audio: two native speakers, one narrow, one of no known corpus."""
    counts = {"a": 5, "b": 2, "n": 3, "x": 1, "t": 4}
    rows = [
        Utterance(f"{s}/{i}", s, f"{s}{i}.flac", 100, 0, "one two", "train" if s == "t" else "unseen")
        for s, count in counts.items()
        for i in range(count)
    ]
    rows.append(Utterance("a/silent", "a", "a.flac", 100, 0, "...", "unseen"))
    write_manifest(tmp_path, rows)
    corpora = {"a": "vctk", "b": "librispeech", "n": "librispeech-dev-clean", "x": "mine", "t": "vctk"}
    save_json(tmp_path / SPEAKERS, {name: {"corpus": corpus} for name, corpus in corpora.items()})
    return tmp_path


def test_sentences_are_of_unseen_speakers_in_turn(listed):
    from yardstick.sentences import KINDS, OTHER, unseen_sentences

    found = unseen_sentences(listed, (), [*KINDS, OTHER])
    assert {kind: len(some) for kind, some in found.items()} == {"native": 7, "narrow": 3, "other": 1}
    speakers = [u.speaker for u in found["native"]]
    assert {*speakers[:2]} == {*speakers[2:4]} == {"a", "b"}
    assert speakers[4:] == ["a"] * 3
    assert all(u.text == "one two" for some in found.values() for u in some)
    known = unseen_sentences(listed, ("a",), ["native"])
    assert [u.speaker for u in known.pop("native")] == ["b", "b"]
    assert not known


def test_figures_by_known_values():
    from yardstick.summary import rate, summarize

    sentences = [Utterance(str(i), speaker, "", 1, 0, "", "unseen") for i, speaker in enumerate("aab")]
    rows = [
        {"words": 4, "word_errors": 1, "dnsmos": 3.0, "phones": 9, "phone_errors": 3},
        {"words": 6, "word_errors": 0, "dnsmos": 2.0},
        {"words": 10, "word_errors": 9, "dnsmos": 4.0},
    ]
    figures = summarize(sentences, rows)
    # Speaker a alone has 1 of 10 words wrong, b 9 of 10: those are the bounds of draws of two from two speakers.
    assert figures["word_error_rate"] == pytest.approx({"value": 0.5, "low": 0.1, "high": 0.9})
    assert figures["dnsmos"] == pytest.approx({"value": 3.0, "low": 2.5, "high": 4.0})
    assert figures["phone_error_rate"]["value"] == pytest.approx(1 / 3)
    assert figures["target_similarity"]["value"] is None
    assert rate([{"bits": 1000, "seconds": 2.0}, {"bits": 2000, "seconds": 1.0}]) == {"value": 1000}
    assert rate([{"bits": None, "seconds": 2.0}]) == {"value": None}


def test_what_was_measured_is_kept(tmp_path):
    from yardstick.results import Results

    path, calls = tmp_path / "results.jsonl", []

    def measure():
        calls.append(1)
        return {"words": len(calls)}

    assert Results(path).find({"system": "natural", "sentence": "a"}, measure) == {"words": 1}
    assert Results(path).find({"sentence": "a", "system": "natural"}, measure) == {"words": 1}
    with path.open("a") as file:
        file.write('{"key": {"system": "natural", "sen')  # killed while writing
    results = Results(path)
    assert results.find({"system": "natural", "sentence": "a"}, measure) == {"words": 1}
    assert results.find({"system": "natural", "sentence": "b"}, measure) == {"words": 2}
    assert Results(path).find({"system": "natural", "sentence": "b"}, measure) == {"words": 2}
    assert len(calls) == 2


@pytest.mark.parametrize(("mode", "milliseconds", "size"), [("3200", 20, 8), ("1200", 40, 6), ("700C", 40, 4)])
def test_the_rate_of_codec2_is_that_of_its_frames(mode, milliseconds, size):
    from yardstick.systems import Codec2

    if not shutil.which("c2enc"):
        pytest.skip("c2enc is not installed (Debian package codec2)")
    system, header = Codec2(mode), 7
    wav = 0.1 * torch.randn(32_000, generator=torch.Generator().manual_seed(0))
    assert system.bits(wav) == 8 * (header + size * 2000 // milliseconds)
    assert len(system.send(wav[:31_111], prepared=True)) == 31_111


def test_opus_sends_speech_at_about_its_rate(corpus):
    from yardstick.systems import Opus

    if not shutil.which("opusenc"):
        pytest.skip("opusenc is not installed (Debian package opus-tools)")
    wav = torch.cat([read(path) for path in sorted(corpus.rglob("*.flac"))])
    sent = Opus(6).send(wav, prepared=True)
    assert len(sent) == len(wav)
    assert torch.corrcoef(torch.stack([wav, sent]))[0, 1] > 0.5
    assert 4000 < Opus(6).bits(wav) / (len(wav) / 16_000) < 9000


def test_a_model_is_rated_by_its_files(corpus, runs, prior):
    from yardstick.systems import conversions

    codec = Codec.load(runs["mel"])
    wav = read(corpus / read_manifest(corpus)[0].path)
    as_prepared = codec.after_high_pass(codec.high_pass)
    encoded = Encoded(as_prepared.encode(wav, 16_000), len(wav), codec.alphabet)
    for priors, coder in (([], CodeFiles(codec).coder()), ([prior], CodeFiles(codec, prior).coder("prior"))):
        one, other = conversions({"mel": codec}, ["mid", "high"], priors, high_pass=codec.high_pass)
        assert (one.name, other.name) == ("mel as mid", "mel as high")
        assert one.bits(wav) == other.bits(wav) == 8 * len(pack(encoded, coder))
        assert torch.equal(one.send(wav, prepared=True), as_prepared.convert(wav, 16_000, "mid"))
        assert torch.equal(one.send(wav, prepared=False), codec.convert(wav, 16_000, "mid"))
        assert one.version == other.version


def test_tools_that_are_missing_are_a_reason(spoken, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PATH", str(tmp_path))
    options = ["--data", str(spoken), "--out", str(tmp_path / "results.jsonl"), "--systems", "codec2-1200,opus-6"]
    printed = run(monkeypatch, capsys, *options, "--kinds", "native", "--sentences", "1")
    assert "codec2-1200: skipped, c2enc is not installed (Debian package codec2)" in printed
    assert "opus-6: skipped, opusenc is not installed (Debian package opus-tools)" in printed
    assert "native: 1 sentences of 1 speakers" in printed


def test_unknown_names_are_refused(spoken, tmp_path, runs, monkeypatch, capsys):
    options = ["--data", str(spoken), "--out", str(tmp_path / "results.jsonl")]
    for wrong in (["--systems", "codec3"], ["--kinds", "whales"], ["--degrade", "rain"]):
        with pytest.raises(SystemExit) as end:
            run(monkeypatch, capsys, *options, *wrong)
        assert end.value.code == 2
        assert f"'{wrong[1]}' is none of" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="no-such-voice"):
        run(monkeypatch, capsys, *options, "--systems", "", "--model", str(runs["mel"]), "--speaker", "no-such-voice")


def test_the_whole_command(spoken, runs, prior, tmp_path, monkeypatch, capsys):
    """Natural speech is understood, a model of eight steps is not; a second run measures nothing again."""
    for package in ("faster_whisper", "jiwer", "speechmos", "resemblyzer", "pocketsphinx"):
        pytest.importorskip(package, reason='the judges are extras: pip install ".[align,evaluate]"')
    model, out = tmp_path / "model", tmp_path / "results.jsonl"
    shutil.copytree(runs["mel"], model)
    options = ["--data", str(spoken), "--out", str(out), "--systems", "natural", "--model", str(model)]
    options += ["--prior", str(prior), "--speaker", "mid", "--sentences", "4", "--degrade", "noise20"]
    printed = run(monkeypatch, capsys, *options, "--save", str(model / "intelligibility.json"))
    kinds = json.loads((model / "intelligibility.json").read_text())["kinds"]
    assert {kind: (one["sentences"], one["speakers"]) for kind, one in kinds.items()} == {
        "native": (2, 1),
        "narrow": (2, 1),
    }
    for one in kinds.values():
        natural, converted = one["systems"]["natural"], one["systems"]["model as mid"]
        assert natural["character_error_rate"]["value"] < converted["character_error_rate"]["value"]
        assert natural["phone_error_rate"]["value"] < converted["phone_error_rate"]["value"]
        assert natural["source_similarity"]["value"] > converted["source_similarity"]["value"]
        assert 1 <= converted["dnsmos"]["value"] <= 5
        assert natural["bits_per_s"]["value"] is None
        assert 0 < converted["bits_per_s"]["value"] < 1000
    kept = out.read_bytes()
    assert run(monkeypatch, capsys, *options) == printed
    assert out.read_bytes() == kept
    tables = [table for table in result_tables(read_runs([model])[0]) if "Intelligibility" in table.title]
    assert [row[0] for table in tables for row in table.rows] == ["natural", "model as mid"] * 2
    assert all(row[2] in printed for table in tables for row in table.rows)

"""The command line: results, refusals, and the files that it leaves."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from speechvq.cli import main
from speechvq.codec import Codec, Encoded
from speechvq.coding.bitstream import pack
from speechvq.coding.code_files import CodeFiles
from speechvq.coding.coders import Fixed
from speechvq.data.manifest import read_manifest
from speechvq.nn.prior import Prior
from speechvq.train.loop import read_log


@pytest.fixture
def wav(corpus) -> Path:
    return corpus / read_manifest(corpus)[0].path


def refused(capsys, *arguments: object) -> str:
    """The one line of a command's error."""
    code = main([str(argument) for argument in arguments])
    out, err = capsys.readouterr()
    assert code == 2
    assert out == ""
    assert err.startswith("speechvq: error: ")
    assert err.count("\n") == 1
    return err


def test_encode_then_decode_is_convert(runs, wav, tmp_path, capsys):
    model = ["--model", str(runs["wavenet"])]
    assert main(["encode", str(wav), str(tmp_path / "codes.svq"), *model]) == 0
    assert main(["decode", str(tmp_path / "codes.svq"), str(tmp_path / "a.wav"), *model, "--speaker", "mid"]) == 0
    assert main(["convert", str(wav), str(tmp_path / "b.wav"), *model, "--speaker", "mid", "--json"]) == 0
    assert (tmp_path / "a.wav").read_bytes() == (tmp_path / "b.wav").read_bytes()
    assert soundfile.info(tmp_path / "b.wav").frames == soundfile.info(wav).frames
    out = capsys.readouterr().out
    assert json.loads(out[out.index("[") :])[0]["file"] == str(tmp_path / "b.wav")


def test_folders_become_folders_of_the_same_shape(runs, corpus, tmp_path, capsys):
    model = ["--model", str(runs["mel"])]
    assert main(["convert", str(corpus / "audio"), str(tmp_path / "new"), *model, "--speaker", "low"]) == 0
    converted = {path.relative_to(tmp_path / "new").with_suffix("") for path in (tmp_path / "new").rglob("*.wav")}
    assert converted == {
        path.relative_to(corpus / "audio").with_suffix("") for path in (corpus / "audio").rglob("*.flac")
    }
    capsys.readouterr()
    assert "other options" in refused(capsys, "convert", corpus / "audio", tmp_path / "new", *model, "--speaker", "mid")


def test_nothing_is_overwritten_without_force(runs, wav, tmp_path, capsys):
    target = tmp_path / "out.wav"
    target.write_text("mine")
    command = ["convert", str(wav), str(target), "--model", str(runs["mel"]), "--speaker", "low"]
    assert "--force" in refused(capsys, *command)
    assert target.read_text() == "mine"
    assert main([*command, "--force"]) == 0
    assert soundfile.info(target).samplerate == 16_000


def test_bad_input_is_one_line(runs, wav, tmp_path, capsys):
    def convert(source, *more, model=runs["mel"], target=tmp_path / "out.wav", speaker="low"):
        return refused(capsys, "convert", source, target, "--model", model, "--speaker", speaker, *more)

    assert "no such file" in convert(tmp_path / "absent.wav")
    (tmp_path / "text.wav").write_text("not audio at all")
    assert "not audio" in convert(tmp_path / "text.wav")
    soundfile.write(tmp_path / "empty.wav", np.zeros(0), 16_000)
    assert "no samples" in convert(tmp_path / "empty.wav")
    soundfile.write(tmp_path / "nan.wav", np.array([0.0, np.nan], np.float32), 16_000, subtype="FLOAT")
    assert "NaN" in convert(tmp_path / "nan.wav")
    assert "nearest of 3: high" in convert(wav, speaker="hihg")
    assert "no files" in convert(runs["mel"])
    assert "ends in" in convert(wav, target=tmp_path / "out.mp3")
    assert "no such model folder" in convert(wav, model=tmp_path / "absent")
    assert "config.json is missing" in convert(wav, model=tmp_path)
    assert not list(tmp_path.glob("*out*"))  # nothing under the final name, no temporary file either


def test_a_damaged_model_is_one_line(runs, wav, tmp_path, capsys):
    def convert(config=None, weights=None):
        folder = tmp_path / "model"
        folder.mkdir(exist_ok=True)
        (folder / "config.json").write_text(config or (runs["mel"] / "config.json").read_text())
        (folder / "model.safetensors").write_bytes(weights or (runs["mel"] / "model.safetensors").read_bytes())
        return refused(capsys, "convert", wav, tmp_path / "o.wav", "--model", folder, "--speaker", "low")

    whole = (runs["mel"] / "model.safetensors").read_bytes()
    for end in (4, 100, len(whole) // 2, len(whole) - 1):
        assert "corrupt" in convert(weights=whole[:end])
    card = json.loads((runs["mel"] / "config.json").read_text())
    assert "reads formats up to 2" in convert(config=json.dumps(card | {"format": 3}))
    card["config"]["model"]["encoder"]["strides"] = [4]
    assert "do not fit" in convert(config=json.dumps(card))
    assert "config.json: 'format' is missing" in convert(config="{}")
    (tmp_path / "model" / "config.json").write_text((runs["mel"] / "config.json").read_text())
    (tmp_path / "model" / "model.safetensors").unlink()
    assert "incomplete" in refused(capsys, "info", tmp_path / "model")


def test_codes_of_another_model_are_refused(runs, wav, tmp_path, capsys):
    alphabet = replace(Codec.load(runs["mel"]).alphabet, model="0" * 16)
    (tmp_path / "codes.svq").write_bytes(pack(Encoded(torch.tensor([1, 2]), 640, alphabet), Fixed(16)))
    line = refused(
        capsys, "decode", tmp_path / "codes.svq", tmp_path / "o.wav", "--model", runs["mel"], "--speaker", "low"
    )
    assert "codes of model 00000000, not of this one" in line


def test_train_writes_a_model_folder_and_refuses_a_second_time(corpus, tmp_path, capsys):
    config = tmp_path / "tiny.toml"
    config.write_text(
        '[model.encoder]\nkind = "mfcc"\nstrides = [4]\nchannels = 8\n[model.bottleneck]\nkind = "vq"\ncodes = 8\n'
        '[model.decoder]\nkind = "mel"\nconditioner = { upsample = 4, channels = 8 }\n'
        "[train]\nsteps = 4\ncrop = 3200\nbatch_size = 2\neval_every = 2\n"
    )
    command = ["train", str(config), "--data", str(corpus), "--out", str(tmp_path / "run")]
    assert main([*command, "--json", "--set", "train.steps=2"]) == 0
    assert {"loss", "gap", "used_codes", "perplexity"} <= json.loads(capsys.readouterr().out).keys()
    assert "--resume" in refused(capsys, *command)
    assert main([*command, "--resume"]) == 0
    assert [row["step"] for row in read_log(tmp_path / "run")] == [0, 2, 4]
    assert list((tmp_path / "run").glob("events.out.tfevents.*"))
    capsys.readouterr()
    assert main(["info", str(tmp_path / "run"), "--json"]) == 0
    about = json.loads(capsys.readouterr().out)
    assert about["bit_per_s"] == 25 * 3
    assert list(about["speakers"]) == ["high", "low", "mid"]


def test_train_refuses_impossible_numbers(corpus, tmp_path, capsys):
    root = Path(__file__).resolve().parents[1]
    command = ["train", root / "recipes/vctk/small-mel.toml", "--data", corpus, "--out", tmp_path / "run"]
    assert "'model.encoder.strides'" in refused(capsys, *command, "--set", "model.encoder.stride=[2]")
    assert "multiple of the hop length" in refused(capsys, *command, "--set", "train.crop=1000")
    assert "does not divide" in refused(capsys, *command, "--set", "model.decoder.conditioner.upsample=3")
    assert "type int" in refused(capsys, *command, "--set", "train.steps=fast")
    assert "init.freeze" in refused(capsys, *command, "--set", 'init.freeze=["encoder"]')
    assert "trained by its decoder" in refused(capsys, *command, "--set", "model.decoder={kind='none'}")
    causal = "model.encoder={kind='causal', outputs=[9]}"
    assert "0 to 6; got [9] (encoder.outputs)" in refused(capsys, *command, "--set", causal)
    assert not (tmp_path / "run").exists()


def test_evaluate_conversion_reports_pairs(runs, corpus, capsys):
    speakers = sorted({u.speaker for u in read_manifest(corpus) if u.split == "test"})
    command = ["evaluate", "conversion", "--model", str(runs["mel"]), "--data", str(corpus), "--json"]
    assert main([*command, "--speakers", ",".join(speakers), "--count", "1"]) == 0
    result = json.loads(capsys.readouterr().out)
    kinds = [row["kind"] for row in result["rows"]]
    expected = {"natural": 1, "copy": 1, "reconstruction": 1, "conversion": len(speakers) - 1}
    assert {kind: kinds.count(kind) for kind in kinds} == {kind: n * len(speakers) for kind, n in expected.items()}
    # Codes are whole: less than one too long.
    assert result["figures"]["reconstruction"]["duration_difference_max"] < 320


def test_usage_errors_exit_with_2():
    for arguments in ([], ["convert"], ["nonsense"], ["demo", "--minutes", "0"], ["demo", "--minutes", "nan"]):
        with pytest.raises(SystemExit) as stop:
            main(arguments)
        assert stop.value.code == 2


def test_evaluate_reconstruction_is_the_measure_of_training(runs, corpus, capsys):
    """On the same crops as the trainer's, the exported weights give the figures that the log has for them."""
    command = ["evaluate", "reconstruction", "--model", str(runs["mel"]), "--data", str(corpus)]
    assert main([*command, "--split", "valid", "--crop", "3200", "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)
    best = min(read_log(runs["mel"]), key=lambda row: row["loss"])
    assert figures == pytest.approx({key: best[key] for key in figures}, rel=1e-4)


def test_a_training_that_cannot_start_leaves_the_folder_as_it_was(runs, corpus, tmp_path, capsys):
    shutil.copytree(runs["mel"], tmp_path / "run")
    before = {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir()}
    root = Path(__file__).resolve().parents[1]
    command = [
        "train",
        root / "recipes/vctk/small-mel.toml",
        "--data",
        corpus,
        "--force",
        "--set",
        "train.crop=3200000",
    ]
    assert "fewer than 2 held-out" in refused(capsys, *command, "--out", tmp_path / "run")
    assert {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir()} == before
    refused(capsys, *command, "--out", tmp_path / "fresh")
    assert not (tmp_path / "fresh").exists()


def test_an_error_of_the_system_is_one_line(runs, wav, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    target = tmp_path / "file" / "out.wav"
    assert "file" in refused(capsys, "convert", wav, target, "--model", runs["mel"], "--speaker", "low")
    (tmp_path / "speaker").mkdir()
    shutil.copy(wav, tmp_path / "speaker")
    assert "file: is a file" in refused(capsys, "prepare", "folder", tmp_path, target)


def test_demo_force_deletes_only_a_demo(tmp_path, capsys):
    (tmp_path / "corpus").mkdir()
    (tmp_path / "thesis.txt").write_text("years of work")
    assert "does not hold a demo" in refused(capsys, "demo", "--out", tmp_path, "--force", "--minutes", "0.01")
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_codes_are_written_under_a_prior_and_read_with_it_alone(runs, prior, wav, tmp_path, capsys):
    model, codes = ["--model", str(runs["mel"])], str(tmp_path / "codes.svq")
    assert main(["encode", str(wav), codes, *model, "--prior", str(prior), "--speaker", "mid"]) == 0
    assert main(["decode", codes, str(tmp_path / "a.wav"), *model, "--prior", str(prior)]) == 0
    assert main(["convert", str(wav), str(tmp_path / "b.wav"), *model, "--speaker", "mid"]) == 0
    assert (tmp_path / "a.wav").read_bytes() == (tmp_path / "b.wav").read_bytes()
    capsys.readouterr()
    assert main(["info", codes, "--json"]) == 0
    about = json.loads(capsys.readouterr().out)
    assert (about["coder"], about["speaker"]) == ("prior", "mid")
    assert about["bytes"] == Path(codes).stat().st_size
    assert "under the prior" in refused(capsys, "decode", codes, tmp_path / "c.wav", *model)
    for coder in ("static", "fixed"):
        assert main(["encode", str(wav), codes, *model, "--coder", coder, "--force", "--json"]) == 0
        capsys.readouterr()
        assert main(["info", codes]) == 0
        assert coder in capsys.readouterr().out
    assert "names no speaker" in refused(capsys, "decode", codes, tmp_path / "c.wav", *model)
    assert "needs a prior" in refused(capsys, "encode", wav, codes, *model, "--coder", "prior", "--force")
    (tmp_path / "plain").mkdir()
    for name in ("config.json", "model.safetensors"):
        shutil.copy(runs["mel"] / name, tmp_path / "plain" / name)
    plain = ["--model", tmp_path / "plain"]
    assert "histogram.json" in refused(capsys, "encode", wav, codes, *plain, "--coder", "static", "--force")


def test_a_damaged_file_is_decoded_with_a_warning_and_silence(runs, wav, tmp_path, capsys, caplog):
    model, codes = ["--model", str(runs["mel"])], tmp_path / "codes.svq"
    long = tmp_path / "long.wav"
    soundfile.write(long, np.tile(soundfile.read(wav)[0], 40), 16_000)  # 30 s: two chunks
    assert main(["encode", str(long), str(codes), *model, "--speaker", "mid"]) == 0
    codes.write_bytes(codes.read_bytes()[:-1])
    assert main(["decode", str(codes), str(tmp_path / "a.wav"), *model]) == 0
    assert "damaged, codes 1024 to 1499 (20.48 to 30.00 s) are lost" in caplog.text
    samples, _ = soundfile.read(tmp_path / "a.wav")
    assert len(samples) == 480_000
    assert samples[: 1024 * 320].any()
    assert not samples[1024 * 320 :].any()
    codes.write_bytes(codes.read_bytes()[:60])
    capsys.readouterr()
    assert "all of its codes are lost" in refused(capsys, "decode", codes, tmp_path / "b.wav", *model)
    codes.write_bytes(codes.read_bytes()[:20])
    assert "damaged or cut off" in refused(capsys, "decode", codes, tmp_path / "b.wav", *model)


def test_pipes(runs, wav, tmp_path):
    """`encode` from stdin to stdout; `info` and `decode` read the result from stdin."""
    speechvq = [sys.executable, "-m", "speechvq.cli"]
    model = ["--model", str(runs["mel"])]

    def run(*arguments: str, data: bytes, said: str = "", code: int = 0) -> bytes:
        done = subprocess.run([*speechvq, *arguments], input=data, capture_output=True)
        assert done.returncode == code
        assert done.stderr.decode().startswith(said)
        return done.stdout

    codes = run("encode", "-", "-", *model, "--speaker", "low", data=wav.read_bytes(), said="stdout (0.75 s")
    run("encode", "-", "-", *model, data=b"no", said="speechvq: error: stdin: not audio that can be read", code=2)
    assert main(["encode", str(wav), str(tmp_path / "codes.svq"), *model, "--speaker", "low"]) == 0
    assert codes == (tmp_path / "codes.svq").read_bytes()
    assert b"speaker          low" in run("info", "-", data=codes)
    sound = run("decode", "-", "-", *model, data=codes)
    assert main(["decode", str(tmp_path / "codes.svq"), str(tmp_path / "a.wav"), *model]) == 0
    assert sound == (tmp_path / "a.wav").read_bytes()


def test_sample(runs, prior, wav, tmp_path, capsys, monkeypatch):
    base = ["--model", str(runs["mel"]), "--prior", str(prior), "--speaker", "mid"]
    base += ["--seconds", "0.5", "--temperature", "4"]  # lest all is too certain to be changed
    assert main(["sample", str(tmp_path / "a.wav"), *base]) == 0
    assert soundfile.info(tmp_path / "a.wav").frames == 8000
    assert main(["sample", str(tmp_path / "b.wav"), *base, "--count", "2"]) == 0
    assert (tmp_path / "b-1.wav").read_bytes() == (tmp_path / "a.wav").read_bytes()
    assert (tmp_path / "b-2.wav").read_bytes() != (tmp_path / "a.wav").read_bytes()
    assert main(["sample", str(tmp_path / "c.svq"), *base]) == 0
    decode = ["--model", str(runs["mel"]), "--prior", str(prior)]
    assert main(["decode", str(tmp_path / "c.svq"), str(tmp_path / "c.wav"), *decode]) == 0
    assert (tmp_path / "c.wav").read_bytes() == (tmp_path / "a.wav").read_bytes()
    drawn, given = {}, []
    sample = Prior.sample
    monkeypatch.setattr(Prior, "sample", lambda *arguments: given.append(arguments[5]) or sample(*arguments))
    for name, more in {
        "seed": ["--seed", "1"], "cold": ["--temperature", "0"], "one": ["--top-k", "1"], "few": ["--top-p", "0.01"],
        "prefix": ["--prefix", str(wav)], "same prefix": ["--prefix", str(tmp_path / "c.svq")], "anyone": ["--anyone"],
    }.items():  # fmt: skip
        assert main(["sample", str(tmp_path / "d.wav"), *base, *more, "--force"]) == 0
        drawn[name] = (tmp_path / "d.wav").read_bytes()
    assert drawn["cold"] == drawn["one"] == drawn["few"]
    assert len({drawn["seed"], drawn["cold"], (tmp_path / "a.wav").read_bytes()}) == 3
    codec = Codec.load(runs["mel"])
    expected = [codec.encode(soundfile.read(wav)[0], 16_000), CodeFiles(codec, prior).read(tmp_path / "c.svq").codes]
    assert [prefix.tolist() for prefix in given if prefix is not None] == [codes.tolist() for codes in expected]
    capsys.readouterr()
    assert "exists" in refused(capsys, "sample", tmp_path / "b.wav", *base, "--count", "2")
    assert "ends in" in refused(capsys, "sample", tmp_path / "b.mp3", *base)
    assert "not a prior" in refused(capsys, "sample", tmp_path / "x.wav", *base, "--prior", runs["mel"])


def test_a_prior_is_trained_on_the_codes_of_a_model(runs, corpus, tmp_path, capsys):
    config = tmp_path / "prior.toml"
    config.write_text(
        "[prior]\nshifts = 1\nwavenet = { cycles = 1, layers = 2, residual = 16, gate = 16, skip = 16 }\n"
        "[train]\nsteps = 2\ncrop = 10\nbatch_size = 2\neval_every = 2\n"
    )
    command = ["train", str(config), "--data", str(corpus), "--out", str(tmp_path / "run")]
    assert "--model" in refused(capsys, *command)
    assert main([*command, "--model", str(runs["mel"]), "--json"]) == 0
    assert json.loads(capsys.readouterr().out).keys() >= {"bits_per_code", "unigram", "bigram"}
    assert main(["info", str(tmp_path / "run")]) == 0
    assert "codes_of_model" in capsys.readouterr().out
    question = ["evaluate", "rate", "--model", str(runs["wavenet"]), "--data", str(corpus)]
    assert main([*question, "--prior", str(tmp_path / "run"), "--split", "valid", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["coders"].keys() == {"fixed", "static", "prior"}
    assert main(question) == 0


def test_clusters_are_for_models_without_codes(runs, corpus, capsys):
    question = ["evaluate", "leakage", "--model", runs["mel"], "--data", corpus]
    assert "16 codes of its own" in refused(capsys, *question, "--codes", 20)


def test_an_empty_corpus_is_one_line(runs, tmp_path, capsys):
    (tmp_path / "manifest.jsonl").write_text("")
    question = ["evaluate", "reconstruction", "--model", runs["mel"], "--data", tmp_path]
    assert "manifest.jsonl: holds no utterances" in refused(capsys, *question)

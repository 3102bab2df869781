"""Options of the command line that only pass a value on: that it arrives."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from speechvq.audio.io import read
from speechvq.cli import main
from speechvq.codec import Codec
from speechvq.coding.code_files import CodeFiles
from speechvq.coding.corpus_codes import corpus_codes
from speechvq.config import PriorRun
from speechvq.config.parsing import parse
from speechvq.data.manifest import read_manifest, read_treatment
from speechvq.train.kinds import train


@pytest.fixture
def wav(corpus: Path) -> str:
    return str(corpus / next(u for u in read_manifest(corpus) if u.split == "test").path)


def test_prepare_holds_out_what_it_is_asked_to(tmp_path):
    silence, noise = np.zeros(8_000), 0.1 * np.random.default_rng(0).standard_normal(16_000)
    for speaker in ("a", "b", "c"):
        (tmp_path / "source" / speaker).mkdir(parents=True)
        soundfile.write(tmp_path / "source" / speaker / "x.wav", np.concatenate([silence + 1e-3, noise]), 16_000)

    def prepared(name: str, *options: str) -> dict[str, tuple[str, int]]:
        command = ["prepare", "folder", str(tmp_path / "source"), str(tmp_path / name), "--workers", "1"]
        assert main([*command, *options]) == 0
        return {u.speaker: (u.split, u.samples) for u in read_manifest(tmp_path / name)}

    found = prepared("one", "--valid", "1", "--test", "0", "--unseen-speakers", "b")
    assert {speaker: split for speaker, (split, _) in found.items()} == {"a": "valid", "b": "unseen", "c": "valid"}
    found = prepared("two", "--valid", "0", "--test", "1", "--unseen", "0", "--trim-db", "80", "--high-pass", "0")
    assert set(found.values()) == {("test", 24_000)}  # nothing is trimmed: an offset is no silence
    found = prepared("three", "--unseen", "1", "--trim-db", "20")
    assert {split for split, _ in found.values()} == {"unseen"}
    assert all(samples < 20_000 for _, samples in found.values())


def test_decoding_takes_format_device_and_weights(runs, prior, wav, tmp_path, capsys):
    mel, model = (["--model", str(runs[name]), "--speaker", "low"] for name in ("mel", "wavenet"))
    (tmp_path / "out").mkdir()
    assert main(["convert", wav, str(tmp_path / "out"), *mel, "--format", "flac"]) == 0
    (flac,) = (tmp_path / "out").iterdir()
    assert soundfile.info(flac).format == "FLAC"
    drawn = {}
    for name, more in {"a": [], "b": ["--weights", "bfloat16"], "c": ["--voice-temperature", "0"]}.items():
        target = tmp_path / f"{name}.wav"
        assert main(["sample", str(target), *model, "--prior", str(prior), "--seconds", "0.2", *more]) == 0
        drawn[name] = target.read_bytes()
    assert len(set(drawn.values())) == 3
    assert main(["convert", wav, str(tmp_path / "d.wav"), *model, "--device", "abacus"]) == 2
    assert "device 'abacus' cannot be used" in capsys.readouterr().err


def test_encoding_takes_a_penalty(runs, wav, tmp_path):
    codec = Codec.load(runs["mel"])
    found = []
    for penalty in (0.0, 5.0):
        target = tmp_path / f"{penalty}.svq"
        assert main(["encode", wav, str(target), "--model", str(runs["mel"]), "--penalty", str(penalty)]) == 0
        found.append(CodeFiles(codec).read(target).codes)
        assert torch.equal(found[-1], codec.encode_file(Path(wav), penalty=penalty).codes)
    assert not torch.equal(*found)


def test_files_under_a_prior_have_the_penalty_of_the_codes_that_it_has_learned(runs, corpus, wav, tmp_path):
    codec, prior = Codec.load(runs["mel"]), tmp_path / "prior"
    wavenet = {"cycles": 1, "layers": 2, "residual": 4, "gate": 4, "skip": 4}
    config = {
        "prior": {"wavenet": wavenet, "speaker_dim": 4, "shifts": 1, "penalty": 5.0},
        "train": {"steps": 2, "batch_size": 4, "crop": 24, "eval_every": 2},
    }
    train(parse(PriorRun, config), corpus, prior, codec=codec)
    utterances = [u for u in read_manifest(corpus) if u.split == "train"]
    kept, plain = corpus_codes(codec, corpus, utterances, penalty=5.0), corpus_codes(codec, corpus, utterances)
    own = codec.after_high_pass(read_treatment(corpus).high_pass)
    first = own.encode(read(corpus / utterances[0].path), 16_000, penalty=5.0)
    assert kept[0].tolist() == first.tolist() != plain[0].tolist()

    encode = ["encode", wav, str(tmp_path / "a.svq"), "--model", str(runs["mel"]), "--prior", str(prior), "--force"]
    for more, penalty in ([], 5.0), (["--penalty", "0"], 0.0):
        assert main([*encode, *more]) == 0
        codes = CodeFiles(codec, prior).read(tmp_path / "a.svq").codes
        assert torch.equal(codes, codec.encode_file(Path(wav), penalty=penalty).codes)


def test_init_and_pairs_are_read(runs, corpus, tmp_path, capsys):
    config = tmp_path / "c.toml"
    config.write_text("[train]\nsteps = 1\ncrop = 3200\nbatch_size = 2\n")
    assert main(["train", str(config), "--data", str(corpus), "--out", str(tmp_path / "run"), "--init", "absent"]) == 2
    assert "absent: no such model folder" in capsys.readouterr().err
    utterance = next(u for u in read_manifest(corpus) if u.split == "test")
    target = next(name for name in ("low", "mid") if name != utterance.speaker)
    (tmp_path / "pairs.tsv").write_text(f"{utterance.id}\t{target}\n")
    command = ["evaluate", "conversion", "--model", str(runs["mel"]), "--data", str(corpus), "--json"]
    assert main([*command, "--pairs", str(tmp_path / "pairs.tsv")]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert [row["speaker"] for row in rows if row["kind"] == "conversion"] == [target]

"""The packaged models, and model folders on the Hugging Face hub."""

import importlib.util
import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from types import ModuleType

import pytest
import torch
from huggingface_hub import ModelCard, RepoUrl

from speechvq import SpeechVQError
from speechvq.audio.io import read, write
from speechvq.cli import main
from speechvq.codec import Codec
from speechvq.coding.trained_prior import TrainedPrior
from speechvq.data.corpora.folder import FOLDER
from speechvq.folder.card import CONFIG, PACKAGED, WEIGHTS, model_folder, packaged
from speechvq.folder.description import voices
from speechvq.folder.readme import README, derived_readme, read_readme, readme_text, save_readme

ROOT = Path(__file__).resolve().parents[1]


def test_saved_and_loaded_it_is_the_same(runs, corpus, tmp_path):
    codec = Codec.load(runs["mel"])
    codec.save_pretrained(tmp_path / "model")
    again = Codec.from_pretrained(tmp_path / "model", device="cpu")
    wav = read(next((corpus / "audio").rglob("*.flac")))
    assert torch.equal(again.convert(wav, 16_000, "low"), codec.convert(wav, 16_000, "low"))
    assert again.describe() == codec.describe()
    assert again.histogram is not None
    card = ModelCard.load(tmp_path / "model" / README)
    assert card.data.library_name == "speechvq"
    assert codec.fingerprint in card.text
    (tmp_path / "model" / README).write_text("mine")
    again.save_pretrained(tmp_path / "model")
    assert (tmp_path / "model" / README).read_text() == "mine"


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("nobody/nothing", "Cannot find an appropriate cached snapshot folder"),
        ("convert-60hz", "Cannot find an appropriate cached snapshot folder"),
        ("a/b/c", "Repo id must be in the form"),
        ("a name", "Repo id must use alphanumeric"),
        ("a--b", "Cannot have -- or .."),
    ],
)
def test_a_name_that_the_hub_does_not_have_is_one_line(name, reason, tmp_path):
    with pytest.raises(
        SpeechVQError, match=rf"^{name}: no folder, nor a packaged model \(conv[^\n]*hub: {reason}[^\n]*$"
    ):
        Codec.from_pretrained(name, local_files_only=True, cache_dir=tmp_path)


def test_arguments_that_the_hub_refuses_are_one_line(runs, tmp_path):
    with pytest.raises(SpeechVQError, match=r"^a/b: no folder.* hub: [^\n]+$"):
        Codec.from_pretrained("a/b", revision=3.5, local_files_only=True, cache_dir=tmp_path)
    codec = Codec.load(runs["mel"])
    for name in ("a name", "a/b/c", 3):
        with pytest.raises(SpeechVQError, match=rf"^{name} cannot be uploaded; of the Hugging Face hub: Repo id must"):
            codec.push_to_hub(name, token="t")


def test_a_hub_that_cannot_be_reached_is_one_line(runs, monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")  # nothing listens there
    with pytest.raises(SpeechVQError, match=r"^a/b cannot be uploaded; of the Hugging Face hub: [^\n]+$"):
        Codec.load(runs["mel"]).push_to_hub("a/b", token="t")
    with pytest.raises(SpeechVQError, match=r"^a/b: no folder.* hub: [^\n]+$"):
        Codec.from_pretrained("a/b", cache_dir=tmp_path)


def test_a_codec_is_uploaded_as_it_is_saved(runs, monkeypatch):
    """To a hub that only writes down what it is given: the real one needs an account."""
    given = {}

    class Hub:
        def __init__(self, token):
            given["token"] = token

        def create_repo(self, name, *, private, exist_ok):
            given["private"] = private
            return RepoUrl(f"https://huggingface.co/me/{name}")

        def upload_folder(self, *, repo_id, folder_path, commit_message, revision, create_pr):
            given["files"] = sorted(path.name for path in Path(folder_path).iterdir())
            return f"{repo_id}@{revision}: {commit_message}, {create_pr}"

    monkeypatch.setattr("huggingface_hub.HfApi", Hub)
    codec = Codec.load(runs["mel"])
    commit = codec.push_to_hub("voice", private=True, token="t", branch="b", commit_message="first", create_pr=True)
    assert commit == "me/voice@b: first, True"
    assert given == {"token": "t", "private": True, "files": [README, CONFIG, "histogram.json", WEIGHTS]}


def test_a_folder_goes_before_a_packaged_name(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert model_folder("convert-50hz") == PACKAGED / "convert-50hz"
    assert model_folder("phoneme-25hz/prior") == PACKAGED / "phoneme-25hz" / "prior"
    (tmp_path / "convert-50hz").mkdir()
    assert model_folder("convert-50hz") == Path("convert-50hz")
    assert model_folder("../models/convert-50hz") == Path("../models/convert-50hz")
    with pytest.raises(SpeechVQError, match=r"packaged model \(convert-50hz, phoneme-25hz\)"):
        Codec.load("convert-60hz")


def test_the_packaged_models_are_small_and_documented():
    assert packaged() == ["convert-50hz", "phoneme-25hz"]
    assert sum(path.stat().st_size for path in PACKAGED.rglob("*")) < 25e6
    for name in packaged():
        about = read_readme(PACKAGED / name)
        assert about.keys() == {"licence", "training_data", "measured"}
        for value in about["measured"].values():
            assert f"| {value} |" in (PACKAGED / name / README).read_text()  # the table that people read
        codec = Codec.load(name)
        assert codec.histogram is not None
        minutes = [float(info["minutes"]) for info in codec.card.speaker_info.values()]
        assert sum(minute > 5 for minute in minutes) >= 6
        assert not [path for path in (PACKAGED / name).rglob("*.json") if "/tmp" in path.read_text()]
    prior = TrainedPrior.load("phoneme-25hz/prior", alphabet=Codec.load("phoneme-25hz").alphabet)
    assert prior.figures["bits_per_code"] < prior.figures["bigram"]


HEADS = [b"no head", b"---\n: [\n---\nx", b"---\nfoo\n---\n", b"\xff\xfe---", b"---\nmodel-index: 3\n---\n"]


@pytest.mark.parametrize("head", [None, *HEADS])
def test_a_readme_without_metadata_is_read_as_empty(tmp_path, head):
    if head is not None:
        (tmp_path / README).write_bytes(head)
    assert read_readme(tmp_path) == {}


def test_info_lists_the_packaged_models(capsys):
    assert main(["info", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert list(listed) == packaged()
    assert listed["convert-50hz"]["latents_per_s"] == 50
    assert listed["convert-50hz"]["speakers"]["p225"] == {
        "sex": "F",
        "accent": "English",
        "minutes": "13.7",
        "corpus": "vctk",
    }
    assert main(["info", "convert-50hz"]) == 0
    lines = capsys.readouterr().out.splitlines()
    head = next(i for i, line in enumerate(lines) if line.startswith("voice "))
    assert lines[head].split() == ["voice", "sex", "accent", "minutes", "known"]
    assert ["p225", "F", "English", "13.7", "well"] in [line.split() for line in lines]
    minutes = [float(line.split()[-2]) for line in lines[head + 1 :] if "a little" not in line]
    assert minutes == sorted(minutes, reverse=True)
    assert main(["info"]) == 0
    said = capsys.readouterr().out
    assert "p225 (F English 13.7" in said
    assert "with little speech: speechvq info convert-50hz" in said


def test_what_is_not_known_of_a_voice_is_left_blank():
    lines = voices({"a": {}, "b": {"sex": "F", "minutes": "0.4"}, "c": {"minutes": "7", "age": "30"}})
    assert lines == [
        "voice  sex  accent  minutes  known",
        "c                   7        well",
        "b      F            0.4      hardly",
        "a",
    ]


def test_the_readme_of_a_model_goes_with_it(tmp_path):
    """Licence, data and figures survive a save; `from_pretrained` takes the name of a packaged model."""
    name = packaged()[0]
    codec = Codec.from_pretrained(name)
    codec.save_pretrained(tmp_path / "model")
    assert (tmp_path / "model" / README).read_bytes() == (PACKAGED / name / README).read_bytes()
    assert read_readme(tmp_path / "model") == read_readme(PACKAGED / name)


def test_a_derived_model_keeps_licence_and_data_but_no_figures(tmp_path):
    original = readme_text(PACKAGED / packaged()[0])
    save_readme(tmp_path, derived_readme(original, "# More\n\nOne more voice."))
    about, whole = read_readme(tmp_path), read_readme(PACKAGED / packaged()[0])
    assert about == {key: whole[key] for key in ("licence", "training_data")}
    text = readme_text(tmp_path)
    assert text.index("One more voice.") < text.index("# The model that it was made of") < text.index("| | |")
    save_readme(tmp_path, derived_readme("", "# Alone"))
    assert read_readme(tmp_path) == {}
    assert readme_text(tmp_path).endswith("# Alone\n")


def test_conversion_by_the_default_model(corpus, tmp_path, capsys):
    source = next((corpus / "audio").rglob("*.flac"))
    assert main(["convert", str(source), str(tmp_path / "out.wav"), "--speaker", "p225"]) == 0
    converted, natural = read(tmp_path / "out.wav"), read(source)
    assert len(converted) == len(natural)
    assert 0.01 < converted.abs().max() < 1
    assert main(["convert", str(source), str(tmp_path / "no.wav"), "--speaker", "p999"]) == 2
    assert "unknown speaker 'p999'" in capsys.readouterr().err


def test_codes_of_the_packaged_model_under_its_prior(corpus, tmp_path, capsys):
    source = next((corpus / "audio").rglob("*.flac"))
    phoneme = ["--model", "phoneme-25hz", "--prior", "phoneme-25hz/prior"]
    assert main(["encode", str(source), str(tmp_path / "a.svq"), *phoneme, "--coder", "prior"]) == 0
    assert main(["decode", str(tmp_path / "a.svq"), str(tmp_path / "a.wav"), *phoneme, "--speaker", "p239"]) == 0
    assert len(read(tmp_path / "a.wav")) == len(read(source))


def test_the_wheel_holds_the_models(tmp_path):
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tmp_path)
    shutil.copytree(ROOT / "speechvq", tmp_path / "speechvq")
    build = [sys.executable, "-m", "pip", "wheel", ".", "--no-deps", "--no-build-isolation", "-q"]
    done = subprocess.run(build, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    held = set(zipfile.ZipFile(next(tmp_path.glob("*.whl"))).namelist())
    files = [path for path in PACKAGED.rglob("*") if path.is_file()]
    assert {path.relative_to(ROOT).as_posix() for path in files} <= held


def recipe(name: str) -> ModuleType:
    """A script of recipes/models."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "recipes" / "models" / f"{name}.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_three_corpora_become_one(tmp_path):
    data, out = tmp_path / "data", tmp_path / "out"
    wav = torch.zeros(16_000 * 3)
    write(data / "vctk/wav48_silence_trimmed/p225/p225_001_mic1.flac", wav)
    (data / "vctk/txt/p225").mkdir(parents=True)
    (data / "vctk/txt/p225/p225_001.txt").write_text("Please call Stella.\n")
    (data / "vctk/speaker-info.txt").write_text("ID  AGE  GENDER  ACCENTS  REGION\n225  23  F    English    Southern\n")
    for folder, name in (("arctic/bdl", "a"), ("librispeech/19", "b")):
        write(data / folder / f"{name}.wav", wav)
        (data / folder / "transcripts.tsv").write_text(f"{name}\tIt is {name}.\n")
    for _ in range(2):
        recipe("corpus").main(data, out, ["arctic", "librispeech"])
    assert {(s.speaker, s.text) for s in FOLDER.read(out)} == {
        ("p225", "Please call Stella."),
        ("bdl", "It is a."),
        ("19", "It is b."),
    }
    assert FOLDER.speakers(out) == {
        "19": {"sex": "F", "minutes": "0.1", "corpus": "librispeech"},
        "bdl": {"sex": "M", "accent": "American", "minutes": "0.1", "corpus": "arctic"},
        "p225": {"sex": "F", "accent": "English", "minutes": "0.1", "corpus": "vctk"},
    }


def test_a_packed_model_has_the_codes_of_the_run(runs, corpus, tmp_path):
    recipe("pack").shrink(runs["mel"], tmp_path / "small")
    codec, small = Codec.load(runs["mel"]), Codec.load(tmp_path / "small")
    assert small.fingerprint == codec.fingerprint
    assert (tmp_path / "small" / WEIGHTS).stat().st_size < 0.8 * (runs["mel"] / WEIGHTS).stat().st_size
    wav = read(next((corpus / "audio").rglob("*.flac")))
    codes = codec.encode(wav, 16_000)
    assert torch.equal(small.encode(wav, 16_000), codes)
    frames = [
        one.model.decoder._frames(one.vectors(codes), one.model.decoder.speakers.weight[0]) for one in (codec, small)
    ]
    torch.testing.assert_close(*frames, atol=0.01, rtol=0.01)

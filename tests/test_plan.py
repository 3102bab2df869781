"""Which files a command reads and writes."""

from pathlib import Path

import pytest

from speechvq import SpeechVQError
from speechvq.coding.plan import plan_files, plan_samples

AUDIO, CODES = (".wav", ".flac"), (".svq",)


@pytest.fixture
def folder(tmp_path) -> Path:
    for name in ("in/a.wav", "in/sub/b.FLAC", "in/notes.txt", "in/._a.wav"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def test_a_folder_becomes_a_folder_of_the_same_shape(folder):
    jobs = plan_files(folder / "in", folder / "out", AUDIO, CODES, force=False)
    assert {(str(job.source.relative_to(folder)), str(job.target.relative_to(folder))) for job in jobs} == {
        ("in/a.wav", "out/a.svq"),
        ("in/sub/b.FLAC", "out/sub/b.svq"),
    }


def test_a_file_becomes_a_file_or_goes_into_a_folder(folder):
    source = folder / "in" / "a.wav"
    [job] = plan_files(source, folder / "x.FLAC", AUDIO, AUDIO, force=False)
    assert job.target == folder / "x.FLAC"
    [job] = plan_files(source, folder / "in" / "sub", AUDIO, CODES, force=False)
    assert job.target == folder / "in" / "sub" / "a.svq"


def test_what_cannot_be_done_is_refused(folder):
    def refused(source: str, target: str, outputs: tuple[str, ...] = CODES) -> str:
        with pytest.raises(SpeechVQError) as error:
            plan_files(folder / source, folder / target, AUDIO, outputs, force=False)
        return str(error.value).removeprefix(f"{folder}/")

    assert refused("absent.wav", "x.svq") == "absent.wav: no such file"
    assert refused("in/a.wav", "x.mp3", AUDIO) == "x.mp3: the output ends in .wav or .flac"
    assert refused("in/a.wav", "in/a.wav", AUDIO) == "in/a.wav exists; --force overwrites it"
    (folder / "empty").mkdir()
    assert refused("empty", "out") == "empty: no files ending in .wav, .flac"
    (folder / "in" / "a.flac").touch()
    assert "two files would both become" in refused("in", "out")


def test_force_overwrites(folder):
    path = folder / "in" / "a.wav"
    [job] = plan_files(path, path, AUDIO, AUDIO, force=True)
    assert job.target == path
    assert plan_samples(path, 1, force=True) == [path]


def test_samples_are_numbered(folder):
    assert plan_samples(folder / "x.svq", 1, force=False) == [folder / "x.svq"]
    assert plan_samples(folder / "x.wav", 3, force=False) == [folder / f"x-{i}.wav" for i in (1, 2, 3)]
    (folder / "x-2.wav").touch()
    with pytest.raises(SpeechVQError, match=r"x-2\.wav exists"):
        plan_samples(folder / "x.wav", 3, force=False)
    with pytest.raises(SpeechVQError, match=r"ends in \.wav or \.flac or \.svq"):
        plan_samples(folder / "x.mp3", 1, force=False)

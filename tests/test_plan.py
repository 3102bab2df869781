"""Which files a command reads and writes."""

from dataclasses import replace
from pathlib import Path
from unittest.mock import ANY

import pytest

from speechvq import SpeechVQError
from speechvq.coding.output_log import OUTPUT_LOG, OutputLog
from speechvq.coding.plan import Plan, plan_files, plan_samples

AUDIO, CODES = (".wav", ".flac"), (".svq",)


@pytest.fixture
def folder(tmp_path) -> Path:
    for name in ("in/a.wav", "in/sub/b.FLAC", "in/notes.txt", "in/._a.wav"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def test_a_folder_becomes_a_folder_of_the_same_shape(folder):
    jobs = plan_files(folder / "in", folder / "out", AUDIO, CODES, force=False).jobs
    assert {(str(job.source.relative_to(folder)), str(job.target.relative_to(folder))) for job in jobs} == {
        ("in/a.wav", "out/a.svq"),
        ("in/sub/b.FLAC", "out/sub/b.svq"),
    }


def test_a_file_becomes_a_file_or_goes_into_a_folder(folder):
    source = folder / "in" / "a.wav"
    [job] = plan_files(source, folder / "x.FLAC", AUDIO, AUDIO, force=False).jobs
    assert job.target == folder / "x.FLAC"
    [job] = plan_files(source, folder / "in" / "sub", AUDIO, CODES, force=False).jobs
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
    assert (
        refused("in", "in", AUDIO) == "in: its files would be overwritten by what is made of them; name another folder"
    )


def test_two_files_of_one_name_are_both_named_and_the_others_done(folder):
    (folder / "in" / "a.flac").touch()
    plan = plan_files(folder / "in", folder / "out", AUDIO, CODES)
    assert [job.source.name for job in plan.jobs] == ["b.FLAC"]
    reason = "a.flac and a.wav would both become a.svq"
    assert [(job.source.name, failure.reason) for job, failure in plan.failed] == [
        ("a.flac", reason),
        ("a.wav", reason),
    ]


def test_outputs_in_the_folder_of_inputs_are_no_inputs(folder):
    """Codes beside the audio, and a folder of outputs inside that of inputs, at the first and at the second run."""
    for target in (folder / "in", folder / "in" / "new"):
        for _ in range(2):
            plan = plan_files(folder / "in", target, AUDIO, AUDIO if target.name == "new" else CODES, force=True)
            assert [job.source.name for job in plan.jobs] == ["a.wav", "b.FLAC"]
            for job in plan.jobs:
                job.target.parent.mkdir(parents=True, exist_ok=True)
                job.target.touch()


def test_what_the_same_options_made_is_kept(folder):
    def plan(options: str, **more: bool) -> Plan:
        return plan_files(folder / "in", folder / "out", AUDIO, CODES, options=options, **more)

    first = plan("one")
    first.begin(first.jobs[0])  # killed before the file is there: it is made again
    assert plan("one") == replace(first, log=ANY)
    (folder / "out" / "a.svq").touch()
    again = plan("one")
    assert ([job.target.name for job in again.jobs], again.kept) == (["b.svq"], first.jobs[:1])
    with pytest.raises(SpeechVQError, match=r"a\.svq was made with other options; --force makes it again"):
        plan("two")
    assert plan("two", skip_existing=True).kept == first.jobs[:1]
    forced = plan("two", force=True)
    assert forced.jobs == first.jobs
    forced.begin(forced.jobs[0])
    assert not (folder / "out" / "a.svq").exists()  # an output that is there was made with the options of the log
    (folder / "out" / "a.svq").touch()
    assert plan("two").kept == first.jobs[:1]
    (folder / "out" / "sub").mkdir()
    (folder / "out" / "sub" / "b.svq").touch()  # of unknown origin
    with pytest.raises(SpeechVQError, match=r"b\.svq exists; --force overwrites it, --skip-existing keeps it"):
        plan("two")
    assert plan("two", skip_existing=True).jobs == []


def test_the_log_of_outputs_may_be_cut_anywhere(folder):
    log = OutputLog(folder / "out", "x")
    for name in ("a.svq", "sub/b\udce9\n.svq"):
        log.begin(folder / "out" / name)
    assert OutputLog(folder / "out", "").options_of(folder / "out" / "sub/b\udce9\n.svq") == "x"
    content = (folder / "out" / OUTPUT_LOG).read_bytes()
    for end in range(len(content) + 1):
        (folder / "out" / OUTPUT_LOG).write_bytes(content[:end])
        cut = OutputLog(folder / "out", "y")
        whole = content[:end].count(b"}")
        assert list(cut.entries.values()) == ["x"] * whole
        cut.begin(folder / "out" / "c")
        assert OutputLog(folder / "out", "").options_of(folder / "out" / "c") == "y"


def test_force_overwrites(folder):
    path = folder / "in" / "a.wav"
    [job] = plan_files(path, path, AUDIO, AUDIO, force=True).jobs
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

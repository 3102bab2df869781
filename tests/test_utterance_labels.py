"""Which label file is an utterance's: by its path before its name; transcripts and odd files are left out."""

import json
from pathlib import Path

import pytest
from trees import TREES, text

from speechvq import SpeechVQError
from speechvq.cli import main
from speechvq.data.corpora.folder import FOLDER
from speechvq.data.manifest import Split, Utterance, read_manifest, write_manifest
from speechvq.data.prepare import Treatment, prepare
from speechvq.data.utterance_labels import find_labels, read_labelled
from speechvq.text.labels import LabelReading


def utterances(*names: str) -> list[Utterance]:
    return [Utterance(name, name.split("/")[-2] if "/" in name else name[:4], "", 1, 0, "", "train") for name in names]


def found(folder: Path, *ids: str) -> dict[str, str]:
    files, left_out = find_labels(folder, utterances(*ids))
    assert left_out == []
    return {name: path.relative_to(folder).as_posix() for name, path in files.items()}


def touch(folder: Path, *names: str) -> None:
    for name in names:
        text(folder / name, "")


def test_an_utterance_without_labels_does_not_get_anothers(tmp_path):
    touch(tmp_path, "bdl/a1.TextGrid", "bdl/a2.lab", "slt/a2.lab", "slt/a3.lab", "notes.txt", ".x/slt/a1.lab")
    assert found(tmp_path, "bdl/a1", "slt/a1", "bdl/a2", "slt/a2", "slt/a3") == {
        "bdl/a1": "bdl/a1.TextGrid",
        "bdl/a2": "bdl/a2.lab",
        "slt/a2": "slt/a2.lab",
        "slt/a3": "slt/a3.lab",
    }
    assert found(tmp_path, "bdl/a3", "bdl/a1", "slt/a9") == {"bdl/a1": "bdl/a1.TextGrid"}  # slt/a3 is another speaker's


def test_labels_in_another_layout_are_found_by_their_names(tmp_path):
    touch(tmp_path, "deep/er/p225_001.PHN", "p225_002_mic1.lab", "p226_001.lab")
    assert list(found(tmp_path, "p225_001", "p225/p225_002_mic1", "p226/p226_001_mic1").values()) == [
        "deep/er/p225_001.PHN",
        "p225_002_mic1.lab",
        "p226_001.lab",
    ]


def test_labels_are_found_by_their_path_before_their_name(tmp_path):
    """As in TIMIT's tree, where all speakers read SA1; also of sessions that each begin at 1."""
    ids = [f"DR{i}/{name}/{sentence}" for i in (1, 2) for name in (f"F{i}", f"M{i}") for sentence in ("SA1", f"SX{i}")]
    touch(tmp_path / "same", *(f"{name}.PHN" for name in ids))
    assert found(tmp_path / "same", *ids) == {name: f"{name}.PHN" for name in ids}
    short = [name.partition("/")[2] for name in ids]
    assert found(tmp_path / "same", *short) == {name[4:]: f"{name}.PHN" for name in ids}
    sessions = ["p1/s1/1", "p1/s2/1", "p2/s1/1"]
    touch(tmp_path / "deeper", *(f"phones/{name}.TextGrid" for name in sessions))
    assert found(tmp_path / "deeper", *sessions) == {name: f"phones/{name}.TextGrid" for name in sessions}
    touch(tmp_path / "two", "one/p225_001.lab", "p225/p225_001.TextGrid")
    assert found(tmp_path / "two", "p225_001") == {"p225_001": "p225/p225_001.TextGrid"}


def test_two_label_files_of_one_utterance_are_named_and_it_is_left_out(tmp_path):
    touch(tmp_path, "one/p225_001.lab", "two/p225_001.TextGrid", "p225_002.lab")
    files, left_out = find_labels(tmp_path, utterances("p225_001", "p225_002"))
    assert list(files) == ["p225_002"]
    assert left_out == [("p225_001", "one/p225_001.lab and two/p225_001.TextGrid could both be its labels")]


def test_transcripts_are_no_labels(tmp_path):
    """MFA's corpora hold x.lab with the text of x.wav; its TextGrids may be beside them."""
    grid = 'File type = "ooTextFile"\nObject class = "TextGrid"\n0\n1\n<exists>\n1\n"IntervalTier"\n"phones"\n0\n1\n1\n'
    text(tmp_path / "s1" / "u1.lab", "she had your dark suit\n")
    with pytest.raises(SpeechVQError, match=r"no labels of any of the 1 utterances; 1 \.lab files there hold text"):
        find_labels(tmp_path, utterances("s1/u1"))
    text(tmp_path / "s1" / "u1.TextGrid", grid + '0\n1\n"AA1"\n')
    assert found(tmp_path, "s1/u1") == {"s1/u1": "s1/u1.TextGrid"}
    text(tmp_path / "s1" / "u1.lab", "0 100 aa\n")  # labels
    assert len(find_labels(tmp_path, utterances("s1/u1"))[1]) == 1


def test_labels_of_nobody_are_refused(tmp_path):
    with pytest.raises(SpeechVQError, match="no labels of any of the 1"):
        find_labels(tmp_path, utterances("a/1"))
    with pytest.raises(SpeechVQError, match="nowhere: no such folder"):
        find_labels(tmp_path / "nowhere", utterances("a/1"))


def test_a_name_that_is_no_utf8_finds_its_labels(tmp_path):
    try:
        touch(tmp_path, "s/caf\udce9.lab")
    except OSError:
        pytest.skip("this file system takes no such name")
    assert list(find_labels(tmp_path, utterances("s/caf\\udce9"))[0]) == ["s/caf\\udce9"]


def test_timits_own_tree_has_labels_of_all(tmp_path):
    TREES["timit"](tmp_path / "TIMIT")
    for root in (tmp_path / "TIMIT", tmp_path / "TIMIT" / "TRAIN"):
        prepare(FOLDER.read(root), tmp_path / "out", Treatment(), Split(), speakers={})
        labels = read_labelled(tmp_path / "out", root)
        assert (labels.unlabelled, labels.left_out) == ([], [])
        assert len(labels.labelled) == len(read_manifest(tmp_path / "out"))


# --- one odd file does not end an evaluation


@pytest.fixture
def labelled(corpus: Path, tmp_path: Path) -> Path:
    """Labels of the corpus, in one folder for each speaker."""
    for u in read_manifest(corpus):
        text(tmp_path / "labels" / f"{u.id}.lab", "0 2000000 aa\n2000000 4000000 iy\n4000000 7500000 s\n")
    return tmp_path / "labels"


def test_an_odd_label_file_is_listed_and_left_out(corpus, labelled):
    names = [u.id for u in read_manifest(corpus)]
    text(labelled / f"{names[3]}.lab", "0 2000000 aa\n2000000 4000000 qqq\n")
    text(labelled / f"{names[5]}.lab", b"0 100 caf\xe9\n")
    (labelled / f"{names[7]}.lab").unlink()
    labels = read_labelled(corpus, labelled)
    assert [item.utterance.id for item in labels.labelled] == [
        name for i, name in enumerate(names) if i not in (3, 5, 7)
    ]
    assert labels.unlabelled == [names[3], names[5], names[7]]
    assert [name for name, _ in labels.left_out] == [names[3], names[5]]
    assert "'qqq' is not a known phone" in labels.left_out[0][1]
    assert "byte 0xe9 at 9 is not UTF-8" in labels.left_out[1][1]
    known = read_labelled(corpus, labelled, LabelReading(symbols={"qqq": "uw"})).labelled
    assert [s.label for s in known[3].segments] == ["aa", "uw"]
    for name in names:
        text(labelled / f"{name}.lab", "0 2000000 qqq\n")
    with pytest.raises(
        SpeechVQError, match=r"none of 36 label files can be used; the first, of .*'qqq' is not a known"
    ):
        read_labelled(corpus, labelled)


def test_evaluations_leave_out_what_cannot_be_used(corpus, labelled, runs, tmp_path, capsys):
    """Odd labels and missing audio: exit code 1, the rest is measured, what is left out is listed and saved."""
    data = tmp_path / "data"
    lines = (corpus / "manifest.jsonl").read_text()
    text(data / "manifest.jsonl", lines)
    text(data / "prepare.json", (corpus / "prepare.json").read_bytes())
    (data / "audio").symlink_to(corpus / "audio")
    names = [u.id for u in read_manifest(data)]
    text(labelled / f"{names[0]}.lab", "0 2000000 qqq\n")
    base = ["--model", str(runs["mel"]), "--data", str(data), "--save", str(tmp_path / "result.json")]
    phonemes = ["evaluate", "phonemes", *base, "--labels", str(labelled)]
    assert main(phonemes) == 1
    assert capsys.readouterr().err.startswith(f"left out {names[0]}: ")
    saved = json.loads((tmp_path / "result.json").read_text())["left_out"]
    assert [name for name, _ in saved] == [names[0]]
    text(tmp_path / "map.txt", "qqq aa\n")
    assert main([*phonemes, "--map", str(tmp_path / "map.txt")]) == 0
    write_manifest(data, [u if i else replaced(u) for i, u in enumerate(read_manifest(data))])
    for question in (["leakage", "--most", "12"], ["rate", "--split", read_manifest(data)[0].split]):
        capsys.readouterr()
        assert main(["evaluate", question[0], *base, *question[1:]]) == 1
        assert "absent.flac: no such file" in capsys.readouterr().err
        assert len(json.loads((tmp_path / "result.json").read_text())["left_out"]) == 1


def replaced(u: Utterance) -> Utterance:
    return Utterance(u.id, u.speaker, "audio/absent.flac", u.samples, u.start, u.text, u.split)

"""What every corpus keeps to, on a small tree of each; and the corpora `vctk` and `folder`."""

import dataclasses
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import soundfile
from trees import TREES, text, tone

from speechvq import SpeechVQError
from speechvq.audio import HIGH_PASS
from speechvq.audio.high_pass import high_pass
from speechvq.audio.io import read
from speechvq.cli import main
from speechvq.data.corpora import CORPORA
from speechvq.data.corpora.contract import Corpus, Source
from speechvq.data.corpora.folder import FOLDER, folder_corpus
from speechvq.data.corpora.vctk import VCTK, download
from speechvq.data.manifest import SPLITS, Split, Treatment, Utterance, read_manifest, read_speakers
from speechvq.data.prepare import prepare

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(params=CORPORA)
def case(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Corpus, Path]:
    """Each corpus and a small tree of it."""
    TREES[request.param]((tmp_path / "tree").resolve())
    return CORPORA[request.param], (tmp_path / "tree").resolve()


# --- the contract


def test_utterances_have_unique_ids_and_audio(case):
    corpus, root = case
    sources = corpus.read(root)
    assert len({source.id for source in sources}) == len(sources) > 1
    assert all(source.path.is_file() and source.path.is_relative_to(root) for source in sources)
    assert not [source.path for source in sources if "/." in source.path.relative_to(root.parent).as_posix()]
    assert any(source.text for source in sources)
    assert all(source.text == " ".join(source.text.split()) for source in sources)
    assert corpus.read(root) == sources


def test_every_speaker_is_known(case):
    corpus, root = case
    info = corpus.speakers(root)
    assert {source.speaker for source in corpus.read(root)} <= info.keys()
    assert {row["sex"] for row in info.values() if row} <= {"F", "M"}
    assert all(isinstance(value, str) for row in info.values() for value in row.values())


def test_official_splits_are_splits_and_keep_their_name(case):
    corpus, root = case
    sources = corpus.read(root)
    assert {source.split for source in sources} <= {"", *SPLITS}
    assert all("subset" in source.extra for source in sources if source.split)
    known = {field.name for field in dataclasses.fields(Utterance)}
    assert not known & {name for source in sources for name in source.extra}
    by_speaker: dict[str, set[bool]] = {}
    for source in sources:
        by_speaker.setdefault(source.speaker, set()).add(source.split == "unseen")
    assert all(len(held_out) == 1 for held_out in by_speaker.values())  # whole speakers are unseen


def test_an_empty_folder_is_one_line_that_says_what_was_looked_for(case, tmp_path):
    corpus, _ = case
    (tmp_path / "empty").mkdir()
    with pytest.raises(SpeechVQError) as error:
        corpus.read(tmp_path / "empty")
    assert str(error.value).startswith(f"{tmp_path / 'empty'}: no recordings found; looked for ")
    assert corpus.layout
    assert all(pattern in str(error.value) for pattern in corpus.layout)
    assert "\n" not in str(error.value)
    assert corpus.speakers(tmp_path / "empty") == {}


def test_a_missing_folder_and_a_file_are_no_corpus(case, tmp_path):
    tone(tmp_path / "x.wav")
    for name, message in (("missing", "no such folder"), ("x.wav", "not a folder")):
        with pytest.raises(SpeechVQError, match=rf"{name}: {message}$"):
            case[0].read(tmp_path / name)


def test_it_can_be_prepared(case, tmp_path):
    corpus, root = case
    sources = corpus.read(root)
    report = prepare(sources, tmp_path / "out", Treatment(), Split(), speakers=corpus.speakers(root))
    assert report.written == [source.id for source in sources]
    utterances = read_manifest(tmp_path / "out")
    for source, utterance in zip(sources, utterances, strict=True):
        assert (utterance.id, utterance.speaker, utterance.text) == (source.id, source.speaker, source.text)
        assert utterance.split == source.split or not source.split
        assert utterance.extra == source.extra
    assert len({utterance.path for utterance in utterances}) == len(utterances)


# --- vctk


def rows(sources: Sequence[Source], root: Path) -> list[tuple[str, str, str, str]]:
    return [(s.id, s.speaker, s.path.relative_to(root).as_posix(), s.text) for s in sources]


def test_vctk_092(tmp_path):
    """Texts of two lines, of another encoding, and missing; the second microphone is left out."""
    TREES["vctk"](tmp_path)
    tone(tmp_path / "wav48_silence_trimmed" / "s5" / "s5_009_mic1.flac")
    assert rows(VCTK.read(tmp_path), tmp_path) == [
        ("p225_001", "p225", "wav48_silence_trimmed/p225/p225_001_mic1.flac", "Please call Stella."),
        ("p225_002", "p225", "wav48_silence_trimmed/p225/p225_002_mic1.flac", "caf\ufffd and café"),
        ("p280_001", "p280", "wav48_silence_trimmed/p280/p280_001_mic1.flac", "Ask her."),
        ("p315_007", "p315", "wav48_silence_trimmed/p315/p315_007_mic1.flac", ""),
        ("s5_009", "s5", "wav48_silence_trimmed/s5/s5_009_mic1.flac", ""),
    ]


def test_vctk_080(tmp_path):
    tone(tmp_path / "wav48" / "p225" / "p225_001.wav", rate=48_000)
    tone(tmp_path / "wav48" / "p315" / "p315_001.wav", rate=48_000)
    text(tmp_path / "txt" / "p225" / "p225_001.txt", "Please call Stella.\n")
    assert rows(VCTK.read(tmp_path), tmp_path) == [
        ("p225_001", "p225", "wav48/p225/p225_001.wav", "Please call Stella."),
        ("p315_001", "p315", "wav48/p315/p315_001.wav", ""),
    ]


@pytest.mark.parametrize(
    "files",
    [
        "wav48_silence_trimmed/p225/p225_001_mic1.wav",
        "wav48_silence_trimmed/p225/p225_001_mic2.flac",
        "wav48_silence_trimmed/p225/p225_001_MIC1.FLAC wav48_silence_trimmed/p225/p225_002_mic2.flac",
        "wav48_silence_trimmed/p225/p225_001.flac",
        "wav48/p225/p225_001.flac",
        "wav48/p225/p225_001.WAV",
        "WAV48/p225/p225_001.wav",
        "wav16/p225/p225_001.wav",
        "wav48_silence_trimmed/log.txt wav48/p225/p225_001.wav",
        "VCTK-Corpus/VCTK-Corpus/wav48/p225/p225_001.wav",
    ],
)
def test_vctk_in_all_its_copies(tmp_path, files):
    for path in (tmp_path / name for name in files.split()):
        tone(path) if path.suffix != ".txt" else text(path, "p300")
    root = path.parents[2]
    text(root / "txt" / "p225" / "p225_001.txt", "Please call Stella.")
    text(root / "speaker-info.txt", "ID AGE GENDER ACCENTS\n225 23 F English\n")
    (source,) = VCTK.read(tmp_path)
    assert (source.id, source.speaker, source.text) == ("p225_001", "p225", "Please call Stella.")
    assert VCTK.read(source.path.parents[1]) == [source]  # the root may be the folder of audio itself
    assert VCTK.speakers(tmp_path)["p225"]["accent"] == "English"


def test_vctk_in_upper_case_has_its_transcripts(tmp_path, caplog):
    tone(tmp_path / "WAV48" / "P225" / "P225_001.WAV")
    text(tmp_path / "TXT" / "p225" / "p225_001.TXT", "Please call Stella.")
    assert [(s.id, s.speaker, s.text) for s in VCTK.read(tmp_path)] == [("P225_001", "P225", "Please call Stella.")]
    assert caplog.text == ""


def test_what_vctk_lacks_is_said(tmp_path, caplog):
    for name in ("p225_001_mic1", "p225_001_mic2", "p225_002_mic2", "p226_002_mic2"):
        tone(tmp_path / "wav48_silence_trimmed" / name[:4] / f"{name}.flac")
    assert [source.id for source in VCTK.read(tmp_path)] == ["p225_001"]
    assert "2 recordings without one of _mic1 are left out" in caplog.text
    assert "no transcripts, which are looked for in txt/SPEAKER" in caplog.text


@pytest.mark.parametrize("name", CORPORA)
def test_an_error_says_what_is_there_instead(name, tmp_path):
    corpus = CORPORA[name]
    with pytest.raises(SpeechVQError, match=r"; it is empty$"):
        corpus.read(tmp_path)
    text(tmp_path / "a" / "notes.txt", "x")
    with pytest.raises(SpeechVQError, match=r"; it holds 1 \.txt, such as a/notes\.txt$"):
        corpus.read(tmp_path)
    for wav in ("1.wav", "2.WAV", "3.wav"):
        tone(tmp_path / wav)
    with pytest.raises(SpeechVQError, match=r"; it holds 2 \.wav and 1 \.WAV, such as 1\.wav, 2\.WAV$"):
        corpus.read(tmp_path)


def speaker(age: str, sex: str, accent: str, region: str) -> dict[str, str]:
    return {"age": age, "sex": sex, "accent": accent, "region": region}


def test_speaker_info_of_080(tmp_path):
    text(
        tmp_path / "speaker-info.txt",
        "ID  AGE  GENDER  ACCENTS  REGION \r\n225  23  F    English    Southern  England\r\n"
        "234  22  F    Scottish  West  Dumfries\r\n362  29  F    American\r\n\r\n",
    )
    assert VCTK.speakers(tmp_path) == {
        "p225": speaker("23", "F", "English", "Southern England"),
        "p234": speaker("22", "F", "Scottish", "West Dumfries"),
        "p362": speaker("29", "F", "American", ""),
    }


def test_speaker_info_of_092(tmp_path):
    text(
        tmp_path / "speaker-info.txt",
        b"ID  AGE  GENDER  ACCENTS  REGION COMMENTS \n"
        b"p225  23  F    English    Southern  England\n"
        b"p280  25  F    French    France (mic2 files unavailable)\n"
        b"p315  18  M    American    New England (txt files unavailable)\n"
        b"p364  23  M    Irish   Don\xe9gal\n"
        b"s5  \n"
        b"p376  22  M    Indian    \n",
    )
    assert VCTK.speakers(tmp_path) == {
        "p225": speaker("23", "F", "English", "Southern England"),
        "p280": speaker("25", "F", "French", "France"),
        "p315": speaker("18", "M", "American", "New England"),
        "p364": speaker("23", "M", "Irish", "Don\ufffdgal"),
        "p376": speaker("22", "M", "Indian", ""),
    }


def archive(path: Path) -> str:
    """A small VCTK 0.92 as it is published: one utterance of p225, without its second microphone."""
    published = path.parent / "published"
    text(published / "txt" / "p225" / "p225_001.txt", "Please call Stella.")
    (published / "wav48_silence_trimmed" / "p225").mkdir(parents=True)
    soundfile.write(published / "wav48_silence_trimmed" / "p225" / "p225_001_mic1.flac", np.zeros(480), 48_000)
    shutil.make_archive(str(path.with_suffix("")), "zip", published)
    return path.as_uri()


def test_vctk_is_downloaded_and_unpacked_whole_or_not_at_all(tmp_path):
    url = archive(tmp_path / "VCTK-Corpus-0.92.zip")
    root = tmp_path / "here"
    (root / "incomplete" / "VCTK-Corpus-0.92" / "txt" / "p999").mkdir(parents=True)  # left by a kill
    path = download(root, url=url)
    assert [source.id for source in VCTK.read(path)] == ["p225_001"]
    assert [one.name for one in root.iterdir()] == ["VCTK-Corpus-0.92"]
    assert download(root, url="file:///nowhere") == path  # it is there
    with pytest.raises(SpeechVQError, match="VCTK is downloaded whole"):
        download(tmp_path / "elsewhere", 3)


def test_without_a_network_the_error_says_where_vctk_belongs(tmp_path):
    with pytest.raises(SpeechVQError, match=r"cannot be downloaded .*; fetch VCTK-Corpus-0.92.zip by other means"):
        download(tmp_path / "here", url=(tmp_path / "absent.zip").as_uri())
    assert not (tmp_path / "here" / "VCTK-Corpus-0.92").exists()


# --- a folder of speakers


def test_a_folder_of_speakers(tmp_path):
    TREES["folder"](tmp_path)
    assert rows(FOLDER.read(tmp_path), tmp_path) == [
        ("a/1", "a", "a/1.WAV", "One, common"),
        ("a/été", "a", "a/été.ogg", "summer"),
        ("b/2", "b", "b/2.wav", "Two own"),
        ("b/deep/er/x.y", "b", "b/deep/er/x.y.flac", "Deep."),
    ]
    assert FOLDER.speakers(tmp_path) == {"a": {"sex": "F"}, "b": {}}


def test_speakers_at_another_level(tmp_path, caplog):
    for name in ("train/p1/1.wav", "train/p2/s/1.wav", "test/p1/2.wav", "test/above.wav", "root.wav"):
        tone(tmp_path / "corpus" / name)
    text(tmp_path / "corpus" / "train" / "p1" / "transcripts.tsv", "1\tOne\n")

    def of(level: int) -> list[tuple[str, str, str]]:
        return [(s.id, s.speaker, s.text) for s in folder_corpus(level).read(tmp_path / "corpus")]

    assert of(2) == [("test/p1/2", "p1", ""), ("train/p1/1", "p1", "One"), ("train/p2/s/1", "p2", "")]
    assert "2 recordings above the speakers' folders are left out" in caplog.text
    assert {speaker for _, speaker, _ in of(1)} == {"test", "train"}
    assert [row[:2] for row in of(0)] == [
        (name, "corpus") for name in ("root", "test/above", "test/p1/2", "train/p1/1", "train/p2/s/1")
    ]
    with pytest.raises(SpeechVQError, match=r"looked for \*/\*/\*/SPEAKER/\*\*/.*; it holds 5 \.wav"):
        of(4)


def test_the_level_of_speakers_is_an_option_of_the_corpus_folder(tmp_path, capsys):
    for name in ("x/a/1.wav", "x/b/1.wav"):
        tone(tmp_path / "raw" / name)
    prepare_it = ["prepare", "folder", str(tmp_path / "raw"), str(tmp_path / "out"), "--speaker-level", "2"]
    assert main([*prepare_it, "--workers", "1", "--unseen", "0"]) == 0
    assert {u.speaker for u in read_manifest(tmp_path / "out")} == {"a", "b"}
    assert main(["prepare", "vctk", *prepare_it[2:]]) == 2
    assert "--speaker-level is of the corpus 'folder'" in capsys.readouterr().err


def test_timits_own_tree_is_recognised(tmp_path, caplog):
    TREES["timit"](tmp_path)
    for root in (tmp_path, tmp_path / "TRAIN"):
        assert FOLDER.read(root) == CORPORA["timit"].read(root)
        assert FOLDER.speakers(root) == CORPORA["timit"].speakers(root)
    assert "TIMIT's tree; its speakers are the folders below the dialect regions" in caplog.text


def test_a_folder_named_like_a_file_is_no_utterance(tmp_path):
    tone(tmp_path / "a" / "session.wav" / "1.wav")
    assert [s.id for s in FOLDER.read(tmp_path)] == ["a/session.wav/1"]


def test_a_speakers_folder_may_be_a_link(tmp_path):
    tone(tmp_path / "elsewhere" / "a" / "1.wav")
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "a").symlink_to(tmp_path / "elsewhere" / "a")
    assert [s.id for s in FOLDER.read(tmp_path / "tree")] == ["a/1"]


# --- real speech


def test_real_vctk(tmp_path):
    root = SHARED / "data" / "vctk"
    if not root.is_dir():
        pytest.skip(f"{root} is not here")
    sources = VCTK.read(root)
    assert len(sources) == 1396
    assert len({s.speaker for s in sources}) == 103
    assert sum(bool(s.text) for s in sources) > 1300
    info = VCTK.speakers(root)
    assert info["p225"] == speaker("23", "F", "English", "Southern England")
    assert {row["sex"] for row in info.values()} == {"F", "M"}
    chosen = sources[:: len(sources) // 5][:5]
    report = prepare(chosen, tmp_path, Treatment(), Split(), speakers=info)
    assert report.written == [s.id for s in chosen]
    for source, u in zip(chosen, read_manifest(tmp_path), strict=True):
        assert u.text == source.text
        original = high_pass(read(source.path), HIGH_PASS).numpy()
        prepared = read(tmp_path / u.path).numpy()
        assert 0.3 < u.samples / len(original) <= 1
        same = original[u.start : u.start + u.samples]
        assert np.corrcoef(prepared, same)[0, 1] > 0.999
        assert np.sum(same**2) > 0.97 * np.sum(original**2)
    assert set(read_speakers(tmp_path)) == {s.speaker for s in chosen}


@pytest.mark.parametrize("name", ["arctic", "librispeech"])
def test_real_folders_have_a_text_for_nearly_every_utterance(name):
    root = SHARED / "data" / name
    if not root.is_dir():
        pytest.skip(f"{root} is not here")
    sources = FOLDER.read(root)
    assert len(sources) == {"arctic": 2264, "librispeech": 367}[name]
    assert sum(bool(s.text) for s in sources) > 0.99 * len(sources)

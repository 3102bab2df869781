"""Forced alignment: against exact phone times, in the time of the source; what cannot be aligned is listed."""

import dataclasses
import itertools
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from speechvq import SpeechVQError
from speechvq.audio import SAMPLE_RATE
from speechvq.audio.io import read
from speechvq.data.align import LONGEST_ALIGNED, Aligner, align_corpus
from speechvq.data.corpora.contract import Source
from speechvq.data.corpora.folder import FOLDER
from speechvq.data.corpora.vctk import VCTK
from speechvq.data.manifest import Split, Treatment, read_manifest, write_manifest
from speechvq.data.prepare import prepare
from speechvq.text.frames import frame_labels
from speechvq.text.labels import read_labels
from speechvq.text.phones import SILENCE
from speechvq.text.segments import Segment
from speechvq.text.textgrid import read_textgrid
from speechvq.text.transcript import words

pytest.importorskip("pocketsphinx", reason='pocketsphinx is an extra: pip install ".[align]"')
pytest.importorskip("espeakng_loader", reason='espeak-ng is an extra: pip install ".[demo]"')

COUNT = 3
LEAD = 8_000  # samples of silence before the speech of a source
HOP = 0.01


@pytest.fixture(scope="module")
def spoken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A demo corpus of three voices."""
    from speechvq.data.corpora.demo_speech import VOICES, speak_corpus

    root = tmp_path_factory.mktemp("spoken")
    speak_corpus(root, count=COUNT, voices=(VOICES[0], VOICES[6], VOICES[7]))
    return root


@pytest.fixture(scope="module")
def sources(spoken: Path) -> list[Source]:
    return VCTK.read(spoken)


@pytest.fixture(scope="module")
def aligner() -> Aligner:
    return Aligner()


@pytest.fixture(scope="module")
def prepared(sources: list[Source], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first voice with half a second of silence before it; one text with unknown words, one missing."""
    root, out = tmp_path_factory.mktemp("late"), tmp_path_factory.mktemp("prepared")
    (root / "e01").mkdir()
    texts = []
    for source in sources[:COUNT]:
        wav = np.pad(read(source.path).numpy(), (LEAD, 0))
        soundfile.write(root / "e01" / f"{source.id}.wav", wav, SAMPLE_RATE, subtype="PCM_16")
        texts.append(f"{source.id}\t{source.text}\n")
    for name in ("strange", "silent"):
        shutil.copy(root / "e01" / f"{sources[0].id}.wav", root / "e01" / f"{name}.wav")
    texts.append("strange\tThe 3 florbits Xyzzyed, 3 florbits.\n")
    (root / "transcripts.tsv").write_text("".join(texts))
    prepare(FOLDER.read(root), out, Treatment(), Split(unseen=0.0), speakers={})
    return out


def without_schwa(labels: list[str | None]) -> list[str | None]:
    """CMUdict has no schwa; to it, `a` is the vowel of `but`."""
    return ["ah" if label == "ax" else label for label in labels]


def agreement(found: list[Segment], exact: list[Segment], late: float = 0.0) -> float:
    """The share of the frames of speech that have the same phone, with `late` seconds between the two."""
    frames = int(exact[-1].end / HOP)
    pairs = zip(*(without_schwa(frame_labels(x, frames, HOP, y)) for x, y in ((found, late), (exact, 0))), strict=True)
    return float(np.mean([a == b for a, b in pairs if b != SILENCE]))


def test_most_frames_get_the_phone_that_is_spoken(aligner, sources, spoken):
    """Over ten sentences in each of the twelve voices: 67 %, 58 to 80 % by voice (seed 0)."""
    shares: dict[float, list[float]] = {-0.05: [], 0.0: [], 0.05: []}
    for source in sources:
        exact = read_labels(spoken / "lab" / source.speaker / f"{source.id}.lab")
        found = aligner.align(read(source.path), source.text).phones
        for late, rows in shares.items():
            rows.append(agreement(found, exact, late))
    assert np.mean(shares[0.0]) > 0.6
    assert np.mean(shares[0.0]) > np.mean(shares[0.05]) + 0.15
    assert np.mean(shares[0.0]) > np.mean(shares[-0.05]) + 0.15


def test_phones_cover_the_audio_and_words_are_those_of_the_text(aligner, sources):
    for source in sources:
        wav = read(source.path)
        result = aligner.align(wav, source.text)
        assert (result.phones[0].start, result.phones[-1].end) == (0.0, len(wav) / SAMPLE_RATE)
        assert all(a.end == b.start for a, b in itertools.pairwise(result.phones))
        assert all(a.start < a.end for a in result.phones)
        assert not any(a.label == b.label == SILENCE for a, b in itertools.pairwise(result.phones))
        assert [word.label for word in result.words] == words(source.text)
        edges = {time for phone in result.phones for time in (phone.start, phone.end)}
        assert {time for word in result.words for time in (word.start, word.end)} <= edges
        pauses = [phone for phone in result.phones if phone.label == SILENCE]
        assert not any(word.start < pause.end and pause.start < word.end for word in result.words for pause in pauses)


def test_the_result_does_not_depend_on_what_came_before(aligner, sources):
    wavs = [read(source.path) for source in sources]
    pairs = [(wav, source.text) for wav, source in zip(wavs, sources, strict=True)]
    forth = [aligner.align(*pair) for pair in pairs]
    with pytest.raises(SpeechVQError, match="cannot be aligned"):
        aligner.align(wavs[0][:1600], sources[0].text)
    assert [aligner.align(*pair) for pair in pairs[::-1]][::-1] == forth
    assert Aligner().align(*pairs[-1]) == forth[-1] == aligner.align(pairs[-1][0].numpy(), pairs[-1][1])


@pytest.mark.parametrize(
    ("seconds", "text", "reason"),
    [
        (1.0, "Hello Xyzzy, 42 florbs: Xyzzy!", "unknown words: xyzzy, 42, florbs"),
        (1.0, " -- ", "no text"),
        (0.2, "a sentence of several words", "cannot be aligned"),
        (0.001, "hello", "cannot be aligned"),
        (0.0, "hello", "the speech to align: holds no samples"),
    ],
)
def test_what_cannot_be_aligned_says_why(aligner, seconds, text, reason):
    with pytest.raises(SpeechVQError) as error:
        aligner.align(torch.zeros(round(seconds * SAMPLE_RATE)), text)
    assert str(error.value) == reason


def test_words_are_lower_case_without_punctuation():
    text = "“Don't,” said Mr. O\N{RIGHT SINGLE QUOTATION MARK}Hara: 'long-term' dogs' 2nd café…"
    assert words(text) == ["don't", "said", "mr", "o'hara", "long", "term", "dogs", "2nd", "café"]


def test_without_the_extra_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "pocketsphinx", None)
    with pytest.raises(SpeechVQError, match=r'^alignment needs pocketsphinx: pip install "\.\[align\]"$'):
        Aligner()


def test_a_corpus_is_aligned_in_the_time_of_its_sources(aligner, prepared, spoken, tmp_path):
    report = align_corpus(prepared, tmp_path, workers=2)
    assert len(report.aligned) == COUNT
    assert report.kept == []
    for utterance in (u for u in read_manifest(prepared) if u.id in report.aligned):
        late = utterance.start / SAMPLE_RATE
        assert late > 0.4
        found = aligner.align(read(prepared / utterance.path), utterance.text)
        path = tmp_path / f"{utterance.id}.TextGrid"
        phones = read_labels(path)
        assert phones[0] == Segment(0.0, late, SILENCE)
        assert [s.label for s in phones[1:]] == [s.label for s in found.phones]
        times = np.array([(s.start, s.end) for s in phones[1:]]) - [(s.start, s.end) for s in found.phones]
        np.testing.assert_allclose(times, late, atol=2e-7)
        assert [s.label for s in read_textgrid(path, "words") if s.label] == words(utterance.text)
        exact = read_labels(spoken / "lab" / "e01" / f"{Path(utterance.id).name}.lab")
        lead = LEAD / SAMPLE_RATE
        assert agreement(phones, [Segment(s.start + lead, s.end + lead, s.label) for s in exact]) > 0.6


def test_what_is_not_aligned_is_listed_and_what_is_there_is_kept(prepared, tmp_path):
    first = align_corpus(prepared, tmp_path, workers=1)
    assert first.unaligned == [("e01/silent", "no text"), ("e01/strange", "unknown words: 3, florbits, xyzzyed")]
    listed = (tmp_path / "unaligned.tsv").read_text()
    assert listed == "e01/silent\tno text\ne01/strange\tunknown words: 3, florbits, xyzzyed\n"
    grids = sorted(tmp_path.rglob("*.TextGrid"))
    assert [path.relative_to(tmp_path).with_suffix("").as_posix() for path in grids] == sorted(first.aligned)
    grids[0].unlink()
    grids[1].write_text("mine")
    again = align_corpus(prepared, tmp_path, workers=1)
    assert again.aligned == [first.aligned[0]]
    assert again.kept == first.aligned[1:]
    assert again.unaligned == first.unaligned
    assert grids[1].read_text() == "mine"


def test_two_processes_write_the_same_bytes_as_one(prepared, tmp_path):
    for workers in (1, 2):
        align_corpus(prepared, tmp_path / str(workers), workers=workers)
    one, two = ({p.relative_to(r): p.read_bytes() for p in r.rglob("*.*")} for r in (tmp_path / "1", tmp_path / "2"))
    assert one == two
    assert len(one) == COUNT + 1


def test_speech_that_is_too_long_is_listed_without_being_read(prepared, aligner, tmp_path):
    """The search would take memory by the square of its length."""
    data = shutil.copytree(prepared, tmp_path / "data")
    utterances = read_manifest(data)
    index = next(i for i, u in enumerate(utterances) if u.text and u.id not in ("e01/strange", "e01/silent"))
    utterances[index] = dataclasses.replace(utterances[index], samples=LONGEST_ALIGNED + 1)
    (data / utterances[index].path).unlink()
    write_manifest(data, utterances)
    report = align_corpus(data, tmp_path / "out", workers=1)
    assert "lasts 3.0 minutes; 3 can be aligned at once" in dict(report.unaligned)[utterances[index].id]
    assert len(report.aligned) == COUNT - 1
    with pytest.raises(SpeechVQError, match="cut it, with its text, at pauses"):
        aligner.align(np.zeros(LONGEST_ALIGNED + 1, np.float32), "hello")


def test_an_utterance_whose_labels_cannot_have_its_name_is_listed(prepared, tmp_path):
    """A name of 250 bytes is one of audio, but with `.TextGrid` too long for a file."""
    data = shutil.copytree(prepared, tmp_path / "data")
    utterances = read_manifest(data)
    index = next(i for i, u in enumerate(utterances) if u.text and u.id not in ("e01/strange", "e01/silent"))
    utterances[index] = dataclasses.replace(utterances[index], id="x" * 250)
    write_manifest(data, utterances)
    report = align_corpus(data, tmp_path / "out", workers=1)
    assert dict(report.unaligned)["x" * 250].endswith(": File name too long")
    assert len(report.aligned) == COUNT - 1

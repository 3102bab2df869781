"""Words that the aligner does not know: from a dictionary, and by letter-to-sound."""

from pathlib import Path

import pytest

from speechvq import SpeechVQError
from speechvq.cli import main
from speechvq.data.align import Aligner, Words
from speechvq.data.corpora.espeak import Espeak, Voice
from speechvq.data.corpora.folder import FOLDER
from speechvq.data.manifest import Split, Treatment
from speechvq.data.prepare import prepare
from speechvq.text.phones import SILENCE
from speechvq.text.pronunciations import read_dictionary
from speechvq.text.textgrid import read_textgrid

SPEAKER = Voice("e01", "en-us", 160, 50, "M", "American")
TEXT = "The florbit, 42 of them, is a gadget."  # without the first two words every word is known


def test_a_dictionary_is_that_of_cmudict(tmp_path):
    path = tmp_path / "d.txt"
    path.write_text(
        ";;; words\nFLORBIT  F L AO1 R B IH0 T\nflorbit(2) f l ao r b ax t # reduced\n\nO'Hara OW0 HH EH1 R AH0\n"
    )
    assert read_dictionary(path) == {
        "florbit": [("f", "l", "ao", "r", "b", "ih", "t"), ("f", "l", "ao", "r", "b", "ah", "t")],
        "o'hara": [("ow", "hh", "eh", "r", "ah")],
    }
    for text, reason in {
        "": "holds no words",
        "a\n": "line 1: a word without phones",
        "b B IY\nx KS\n": "line 2: 'KS' is not a known phone",
        "x SIL\n": "line 1: 'SIL' is no phone of a word",
        "x K\nhello(2)\0 K\n": "line 2: 'hello(2)\0' is no word",  # pocketsphinx took it for hello(2) again and again
        "(2) K\n": "line 1: '(2)' is no word",
    }.items():
        path.write_text(text)
        with pytest.raises(SpeechVQError) as error:
            read_dictionary(path)
        assert str(error.value).removeprefix(str(path)).lstrip(":, ") == reason
    with pytest.raises(SpeechVQError, match="no such dictionary"):
        read_dictionary(tmp_path / "absent")


@pytest.fixture(scope="module")
def prepared(tmp_path_factory) -> Path:
    """One sentence of a demo voice."""
    pytest.importorskip("pocketsphinx", reason='pocketsphinx is an extra: pip install ".[align]"')
    pytest.importorskip("espeakng_loader", reason='espeak-ng is an extra: pip install ".[demo]"')
    import soundfile

    root, out = tmp_path_factory.mktemp("spoken"), tmp_path_factory.mktemp("prepared")
    said = Espeak().speak(TEXT, SPEAKER)
    (root / "e01").mkdir()
    soundfile.write(root / "e01" / "a.wav", said.wav, said.sample_rate)
    (root / "transcripts.tsv").write_text(f"a\t{TEXT}\n")
    prepare(FOLDER.read(root), out, Treatment(), Split(unseen=0.0), speakers={})
    return out


def test_words_of_a_dictionary_are_aligned(prepared, tmp_path, capsys):
    assert main(["align", str(prepared), str(tmp_path / "none"), "--workers", "1"]) == 2
    assert "unknown words: florbit, 42" in capsys.readouterr().err
    (tmp_path / "d.txt").write_text("florbit F L AO R B IH T\n42 F AO R T IY T UW\n")
    command = ["align", str(prepared), str(tmp_path / "labels"), "--workers", "1"]
    assert main([*command, "--dictionary", str(tmp_path / "d.txt")]) == 0
    path = tmp_path / "labels" / "e01" / "a.TextGrid"
    first = next(one for one in read_textgrid(path, "words") if one.label == "florbit")
    inside = [one.label for one in read_textgrid(path) if first.start <= one.start < first.end]
    assert inside == ["f", "l", "ao", "r", "b", "ih", "t"]
    assert main([*command[:2], str(tmp_path / "x"), "--dictionary", str(tmp_path / "absent")]) == 2


def test_unknown_words_are_said_by_espeak(prepared, tmp_path):
    command = ["align", str(prepared), str(tmp_path), "--workers", "1", "--letter-to-sound"]
    assert main(command) == 0
    path = tmp_path / "e01" / "a.TextGrid"
    spans = {one.label: one for one in read_textgrid(path, "words")}
    phones = {
        word: [p.label for p in read_textgrid(path) if spans[word].start <= p.start < spans[word].end]
        for word in ("florbit", "42")
    }
    assert phones["florbit"] == ["f", "l", "ao", "r", "b", "ih", "t"]
    assert phones["42"] == ["f", "ao", "r", "t", "iy", "t", "uw"]


def test_what_no_english_voice_can_say_stays_unknown(prepared):
    aligner = Aligner(Words(letter_to_sound=True))
    assert aligner._sounds("dog") == ("d", "aa", "g")
    assert aligner._sounds("cars") == ("k", "aa", "r", "z")  # as American English has it
    assert aligner._sounds("2nd") == ("s", "eh", "k", "ah", "n", "d")
    assert SILENCE not in aligner._sounds("banana")
    assert not aligner._add("nothing", [()])

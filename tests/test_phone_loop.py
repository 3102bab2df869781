"""The recogniser of phones: its errors by hand and against every choice of pronunciations, and on recorded speech."""

import itertools
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from speechvq import SpeechVQError
from speechvq.audio.io import read
from speechvq.data.corpora.vctk import VCTK
from speechvq.evaluate.metrics.phone_loop import PhoneLoop, fewest_errors
from speechvq.evaluate.metrics.phone_sequences import edit_distance

RECORDED = Path(__file__).parents[2] / "shared" / "data" / "vctk"


@pytest.fixture(scope="module")
def loop() -> PhoneLoop:
    pytest.importorskip("pocketsphinx", reason='pocketsphinx is an extra: pip install ".[align]"')
    return PhoneLoop()


@pytest.mark.parametrize(
    ("phones", "spoken", "errors"),
    [
        ("dh ah k ae t", [["dh ah", "dh iy"], ["k ae t"]], 0),
        ("dh iy k ae t", [["dh ah", "dh iy"], ["k ae t"]], 0),
        ("dh uw k ae t", [["dh ah", "dh iy"], ["k ae t"]], 1),
        ("k ae t s", [["dh ah", "dh iy"], ["k ae t"]], 3),
        ("", [["dh ah"], ["k ae t"]], 5),
    ],
)
def test_errors_by_hand(phones, spoken, errors):
    assert fewest_errors(phones.split(), [[way.split() for way in ways] for ways in spoken]) == errors


@pytest.mark.parametrize("seed", range(20))
def test_the_nearest_of_all_choices_of_pronunciations(seed):
    random = np.random.default_rng(seed)
    spoken = [[random.integers(3, size=random.integers(1, 4)).tolist() for _ in range(2)] for _ in range(4)]
    recognised = random.integers(3, size=random.integers(12)).tolist()
    choices = [[*itertools.chain(*ways)] for ways in itertools.product(*spoken)]
    wanted = min(edit_distance(np.array(recognised, int), np.array(choice)) for choice in choices)
    assert fewest_errors(recognised, spoken) == wanted


def test_pronunciations_are_those_of_the_dictionary(loop):
    assert loop.pronunciations("The, cat!") == [[["dh", "ah"], ["dh", "iy"]], [["k", "ae", "t"]]]
    assert loop.pronunciations("the xqzzy") is None
    assert loop.recognize(torch.zeros(16_000), "xqzzy") is None


def test_silence_has_hardly_any_phones(loop):
    assert len(loop.transcribe(torch.zeros(16_000))) < 5
    assert loop.transcribe(torch.zeros(10)) == []


@pytest.mark.skipif(not RECORDED.is_dir(), reason="no recorded speech here (../shared/data/vctk)")
def test_speech_is_recognised_and_noise_is_not(loop):
    sources = [source for source in VCTK.read(RECORDED) if source.speaker == "p225"][10:14]
    wavs = [read(source.path) for source in sources]
    results = [loop.recognize(wav, source.text) for wav, source in zip(wavs, sources, strict=True)]
    others = [loop.recognize(wav, source.text) for wav, source in zip(wavs, sources[1:] + sources[:1], strict=True)]
    share, wrong = (sum(r.phone_errors for r in some) / sum(r.phones for r in some) for some in (results, others))
    assert share < 0.7 < wrong
    again = [loop.recognize(wav, source.text) for wav, source in zip(wavs[::-1], sources[::-1], strict=True)]
    assert again[::-1] == results  # whatever was recognised before


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "pocketsphinx", None)
    with pytest.raises(SpeechVQError, match="the recogniser of phones needs pocketsphinx"):
        PhoneLoop()

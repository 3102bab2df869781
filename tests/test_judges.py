"""The trained judges on recorded speech, and the error rates by hand."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_curve

from speechvq import SpeechVQError
from speechvq.audio.io import read
from speechvq.data.corpora.contract import Source
from speechvq.data.corpora.vctk import VCTK
from speechvq.evaluate.metrics.judges import (
    DNSMOS,
    Judges,
    Recognizer,
    SpeakerEncoder,
    centroid,
    equal_error_rate,
    installed_judges,
)

RECORDED = Path(__file__).parents[2] / "shared" / "data" / "vctk"
recorded = pytest.mark.skipif(not RECORDED.is_dir(), reason="no recorded speech here (../shared/data/vctk)")
SPEAKERS = ("p225", "p226", "p239")


@pytest.fixture(scope="module")
def spoken() -> dict[str, list[Source]]:
    """Six utterances of each of three speakers."""
    sources = VCTK.read(RECORDED)
    return {name: [source for source in sources if source.speaker == name][10:16] for name in SPEAKERS}


@pytest.mark.parametrize("seed", range(5))
def test_equal_error_is_where_the_curve_meets_the_diagonal(seed):
    random = np.random.default_rng(seed)
    same, different = random.normal(1, 1, 400), random.normal(0, 1, 3000)
    rate, threshold = equal_error_rate(same, different)
    truth, scores = np.repeat([1, 0], [400, 3000]), np.concatenate([same, different])
    accepted, hit, _ = roc_curve(truth, scores, drop_intermediate=False)
    wanted = np.abs(accepted - (1 - hit)).argmin()
    assert rate == pytest.approx((accepted[wanted] + 1 - hit[wanted]) / 2, abs=1e-3)
    assert np.mean(same < threshold) == pytest.approx(np.mean(different >= threshold), abs=0.01)


def test_voices_apart_have_no_errors():
    assert equal_error_rate(np.array([0.8, 0.9]), np.array([0.1, 0.5]))[0] == 0
    assert equal_error_rate(np.array([0.1]), np.array([0.9]))[0] == 1


def test_the_centre_is_of_unit_length():
    np.testing.assert_allclose(centroid([np.array([1.0, 0.0]), np.array([0.0, 1.0])]), [0.5**0.5, 0.5**0.5])


@recorded
def test_voices_are_told_apart(spoken):
    voices = SpeakerEncoder()
    known = {name: centroid([voices.embed(read(s.path)) for s in some[:3]]) for name, some in spoken.items()}
    for name, some in spoken.items():
        for source in some[3:]:
            vector = voices.embed(read(source.path))
            assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-5)
            assert max(known, key=lambda other: vector @ known[other]) == name


@pytest.mark.parametrize("wav", [torch.zeros(16_000), torch.zeros(1), 1e-4 * torch.ones(400), torch.randn(8_000)])
def test_any_sound_has_an_embedding(wav):
    assert np.isfinite(SpeakerEncoder().embed(wav)).all()


@recorded
def test_speech_is_understood_and_noise_is_not(spoken):
    recognizer = Recognizer()
    sources = [source for some in spoken.values() for source in some[:2]]
    results = [recognizer.recognize(read(source.path), source.text) for source in sources]
    assert sum(one.word_errors for one in results) <= 0.2 * sum(one.words for one in results)
    wav = read(sources[0].path)
    noisy = wav + 0.3 * torch.randn(len(wav), generator=torch.Generator().manual_seed(0))
    assert recognizer.recognize(noisy, sources[0].text).word_errors > results[0].word_errors


def edits(one: list[str] | str, other: list[str] | str) -> int:
    """Levenshtein's distance, row by row."""
    row = list(range(len(other) + 1))
    for i, a in enumerate(one, 1):
        left, row[0] = row[0], i
        for j, b in enumerate(other, 1):
            left, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, left + (a != b))
    return row[-1]


@recorded
def test_errors_are_the_least_edits(spoken):
    """The words of one utterance against the sound of another; punctuation and case do not matter."""
    recognizer = Recognizer()
    first, second = spoken["p225"][:2]
    result = recognizer.recognize(read(first.path), f"  {second.text.upper()}!? ")
    plain = "".join(c for c in second.text.lower() if c.isalpha() or c in "' ")
    assert (result.words, result.characters) == (len(plain.split()), len(plain))
    assert result.word_errors == edits(plain.split(), result.heard.split()) > 0
    assert result.character_errors == edits(plain, result.heard)


@recorded
def test_noise_costs_quality(spoken):
    wav = read(spoken["p225"][0].path)
    quality = DNSMOS()
    noise = torch.randn(len(wav), generator=torch.Generator().manual_seed(0))
    scores = [quality.score(wav + level * wav.std() * noise) for level in (0, 0.1, 1)]
    assert scores[0] > scores[1] > scores[2]
    assert 1 <= scores[2] < scores[0] <= 5


@pytest.mark.parametrize("package", ["resemblyzer", "faster_whisper", "jiwer", "speechmos.dnsmos"])
def test_what_is_not_installed_is_told_and_left_out(package, monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, package, None)
    judges = installed_judges()
    absent = [name for name in ("speaker_encoder", "recognizer", "dnsmos") if getattr(judges, name) is None]
    assert absent == {"resemblyzer": ["speaker_encoder"], "speechmos.dnsmos": ["dnsmos"]}.get(package, ["recognizer"])
    assert 'pip install ".[evaluate]"' in caplog.text
    assert judges != Judges()


def test_a_recogniser_that_is_not_there_is_refused():
    with pytest.raises(SpeechVQError, match="'no-such-model' is not a recogniser on this machine"):
        installed_judges("no-such-model")

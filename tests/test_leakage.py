"""Leakage of the speaker into codes: known answers, scikit-learn as oracle, chance."""

import json

import numpy as np
import pytest
from scipy.stats import entropy
from sklearn.metrics import mutual_info_score
from sklearn.naive_bayes import MultinomialNB

from speechvq import SpeechVQError
from speechvq.cli import main
from speechvq.evaluate.leakage import leakage, predict_speakers


def speech(seed: int, bias: float, speakers: int = 6, utterances: int = 20) -> tuple[list[np.ndarray], list[str]]:
    """Codes of 32, drawn from a distribution of the speaker's own with weight `bias` and else uniformly."""
    random = np.random.default_rng(seed)
    own = random.dirichlet(np.full(32, 0.3), speakers)
    rows, names = [], []
    for i in range(speakers * utterances):
        chance = bias * own[i % speakers] + (1 - bias) / 32
        rows.append(random.choice(32, random.integers(30, 90), p=chance))
        names.append(f"s{i % speakers}")
    return rows, names


def test_a_code_for_each_speaker_tells_all():
    names = [f"s{i % 4}" for i in range(40)]
    result = leakage([np.full(30, i % 4) for i in range(40)], names)
    assert (result.information, result.accuracy) == (pytest.approx(1), 1)
    assert (result.utterances, result.speakers) == (40, 4)
    assert result.information_permuted < 0.2


def test_codes_that_know_no_speaker_are_at_chance():
    result = leakage(*speech(0, bias=0.0))
    assert result.information == pytest.approx(result.information_permuted, rel=0.2)
    assert result.accuracy == pytest.approx(1 / 6, abs=0.12)
    assert result.accuracy_permuted == pytest.approx(1 / 6, abs=0.04)


def test_information_is_that_of_scikit_learn():
    codes, names = speech(1, bias=0.5)
    speaker_ids = np.repeat(names, [len(row) for row in codes])
    expected = mutual_info_score(speaker_ids, np.concatenate(codes)) / entropy(
        np.unique(speaker_ids, return_counts=True)[1]
    )
    assert leakage(codes, names).information == pytest.approx(expected, rel=1e-9)


def test_the_classifier_is_that_of_scikit_learn():
    codes, names = speech(2, bias=0.2)
    histograms = np.stack([np.bincount(row, minlength=32) for row in codes])
    speaker_ids = np.unique(names, return_inverse=True)[1]
    model = MultinomialNB(alpha=0.5, fit_prior=False).fit(histograms[:60], speaker_ids[:60])
    expected = model.predict(histograms[60:])
    assert np.array_equal(predict_speakers(histograms[:60], speaker_ids[:60], histograms[60:]), expected)
    assert 0.3 < (expected == speaker_ids[60:]).mean() < 1


def test_more_leakage_is_seen_as_more():
    weak, strong = leakage(*speech(3, bias=0.1)), leakage(*speech(3, bias=0.6))
    assert weak.information < strong.information
    assert weak.accuracy < strong.accuracy
    assert weak == leakage(*speech(3, bias=0.1))  # the seed decides


def test_too_few_utterances_are_refused():
    with pytest.raises(SpeechVQError, match="2 speakers, of 5 utterances"):
        leakage(*speech(0, 0.0, utterances=4))


def test_a_corpus(corpus, runs, capsys):
    arguments = ["--model", str(runs["mel"]), "--data", str(corpus), "--most", "10"]
    assert main(["evaluate", "leakage", *arguments, "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["utterances"], result["speakers"]) == (30, 3)
    assert 0 <= result["information"] <= 1
    assert main(["evaluate", "leakage", *arguments]) == 0
    assert f"{result['accuracy']:.4g}" in capsys.readouterr().out

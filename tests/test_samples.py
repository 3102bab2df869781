"""How like drawn codes are to a corpus' own."""

import numpy as np
import pytest
from scipy.spatial.distance import jensenshannon

from speechvq import SpeechVQError
from speechvq.codec import Codec
from speechvq.coding.code_files import CodeFiles
from speechvq.coding.corpus_codes import corpus_codes
from speechvq.data.manifest import read_manifest
from speechvq.data.utterance_labels import read_labelled
from speechvq.evaluate.samples import PhonePairs, diverge, evaluate_samples, jensen_shannon
from speechvq.evaluate.tables import sample_table
from speechvq.wavenet.sampler import Sampling


def test_divergence_is_scipys():
    random = np.random.default_rng(0)
    one, other = random.integers(0, 9, (6, 6)), random.integers(0, 9, (6, 6))
    assert jensen_shannon(one, other) == pytest.approx(jensenshannon(one.ravel(), other.ravel(), 2) ** 2, abs=1e-12)
    assert jensen_shannon(one, 3 * one) == pytest.approx(0, abs=1e-12)
    assert jensen_shannon(np.array([1, 0]), np.array([0, 5])) == 1


def test_likeness_of_a_chain_to_itself_and_to_what_only_counts():
    """Codes that go 0 1 2 3 0 1 2 3 ...: as often used in any order, but only in this one alike."""
    rows = [np.arange(40) % 4, np.arange(1, 41) % 4]
    same = diverge(rows, rows, 4, PhonePairs(np.array([0, 0, 1, 2]), {(0, 1), (1, 2)}))
    assert (same.codes, same.unigram, same.bigram) == (80, 0, 0)
    assert same.phones == pytest.approx(40 / 59)  # 0 1 and 1 2 twenty and twenty times, 2 0 nineteen
    backwards = diverge([row[::-1] for row in rows], rows, 4)
    assert (backwards.unigram, backwards.bigram, backwards.phones) == (0, 1, None)


def test_samples_are_more_like_training_than_order_0(runs, prior, corpus, tmp_path):
    for u in read_manifest(corpus):
        (tmp_path / u.speaker).mkdir(exist_ok=True)
        text = "0 2000000 aa\n2000000 4000000 iy\n4000000 7500000 s\n"
        (tmp_path / u.speaker / f"{u.id.rpartition('/')[2]}.lab").write_text(text)
    files = CodeFiles(Codec.load(runs["mel"]), prior)
    labels = read_labelled(corpus, tmp_path)
    result, left_out = evaluate_samples(files, corpus, labels, count=20, seconds=0.75, sampling=Sampling())
    assert [*result] == ["samples", "shuffled", "order 0", "held out"]
    assert left_out == []
    assert result["samples"].bigram < result["order 0"].bigram
    assert result["samples"].unigram == pytest.approx(result["shuffled"].unigram)
    held_out = sum(u.split == "valid" for u in read_manifest(corpus))
    assert 0 < held_out < 20
    assert result["samples"].codes == result["order 0"].codes == held_out * 38 == result["held out"].codes
    assert 0 <= result["samples"].phones <= 1
    assert len(sample_table(result)) == 5
    unlabelled, _ = evaluate_samples(files, corpus, None, count=2, seconds=0.5, sampling=Sampling())
    assert unlabelled["samples"].phones is None
    with pytest.raises(SpeechVQError, match="--prior"):
        evaluate_samples(CodeFiles(files.codec), corpus, None, sampling=Sampling())


def test_samples_are_compared_with_codes_that_bear_the_priors_penalty(runs, prior, corpus):
    """Of one code throughout, as a large penalty gives, what is held out is as likely as what was learned."""
    files = CodeFiles(Codec.load(runs["mel"]), prior)
    usual, _ = evaluate_samples(files, corpus, None, count=2, seconds=0.5, sampling=Sampling())
    files.penalty = 1e9
    result, _ = evaluate_samples(files, corpus, None, count=2, seconds=0.5, sampling=Sampling())
    train = [u for u in read_manifest(corpus) if u.split == "train"]
    learned = corpus_codes(files.codec, corpus, train, penalty=1e9)
    assert all((row == row[0]).all() for row in learned)
    drawn = files.prior.sample(2, 25, None, Sampling()).numpy()
    assert result["samples"] == diverge([*drawn], learned, 16)
    assert result["samples"] != usual["samples"]

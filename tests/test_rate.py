"""Bits a second, of files as they are."""

import pytest

from speechvq import SpeechVQError
from speechvq.audio.io import read
from speechvq.codec import Codec, Encoded
from speechvq.coding.bitstream import pack
from speechvq.coding.code_files import CodeFiles
from speechvq.data.manifest import read_manifest, read_treatment
from speechvq.evaluate.rate import evaluate_rate
from speechvq.evaluate.tables import rate_table


@pytest.fixture(scope="module")
def files(runs, prior) -> CodeFiles:
    return CodeFiles(Codec.load(runs["wavenet"]), prior)


def test_rates_are_those_of_the_files(files, corpus):
    rates = evaluate_rate(files, corpus, "valid")
    utterances = [u for u in read_manifest(corpus) if u.split == "valid"]
    codec = files.codec.after_high_pass(read_treatment(corpus).high_pass)
    seconds = sum(u.samples for u in utterances) / 16_000
    assert (rates.count, rates.seconds, rates.nominal) == (len(utterances), seconds, 200.0)
    assert [*rates.coders] == ["fixed", "static", "prior"]
    for name, rate in rates.coders.items():
        sizes = {}
        for u in utterances:
            wav = read(corpus / u.path)
            item = Encoded(codec.encode(wav, 16_000), len(wav), codec.alphabet)
            sizes.setdefault(u.speaker, []).append((len(pack(item, files.coder(name))), len(wav) / 16_000))
        total = [pair for pairs in sizes.values() for pair in pairs]
        assert rate.files == pytest.approx(8 * sum(size for size, _ in total) / seconds)
        assert rate.payload < rate.files
        for speaker, pairs in sizes.items():
            assert rate.speakers[speaker] == pytest.approx(8 * sum(s for s, _ in pairs) / sum(t for _, t in pairs))
        assert rate.encoding > 0
        assert rate.decoding > 0
    assert rates.coders["prior"].payload < rates.coders["fixed"].payload
    assert len(rate_table(rates)) == 5


def test_codes_that_change_less_often_are_other_codes_of_the_same_number(files, corpus):
    plain, other = (evaluate_rate(files, corpus, "valid", penalty=penalty) for penalty in (0.0, 5.0))
    assert plain.coders["fixed"].files == other.coders["fixed"].files
    assert plain.coders["prior"].payload != other.coders["prior"].payload


def test_utterances_are_joined_to_longer_recordings(files, corpus):
    rates = evaluate_rate(files, corpus, "train", seconds=2.0)
    assert rates.seconds / rates.count >= 2.0
    assert rates.coders["fixed"].files < evaluate_rate(files, corpus, "train").coders["fixed"].files
    with pytest.raises(SpeechVQError, match="no speech of the split 'valid' of 1000 s"):
        evaluate_rate(files, corpus, "valid", seconds=1000)
    with pytest.raises(SpeechVQError, match=r"no speech of the split 'unseen'$"):
        evaluate_rate(files, corpus, "unseen")

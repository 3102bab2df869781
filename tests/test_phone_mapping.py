"""Codes against phones: cases with a known answer, independent oracles, and what chance can do."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import entropy as scipy_entropy
from sklearn.metrics import mutual_info_score

from speechvq import SpeechVQError
from speechvq.evaluate.metrics.phone_mapping import phone_scores

SPEAKERS = ["a", "b", "c", "d"]


def speech(seed: int, utterances: int = 40, frames: int = 250, phones: int = 41) -> list[np.ndarray]:
    """Phones that last one to five frames."""
    random = np.random.default_rng(seed)
    rows = []
    for _ in range(utterances):
        lengths = random.integers(1, 6, frames)
        rows.append(np.repeat(random.integers(0, phones, frames), lengths)[:frames])
    return rows


def names(utterances: int) -> list[str]:
    return [SPEAKERS[i % 4] for i in range(utterances)]


def test_codes_that_are_the_phones_under_other_names_are_right():
    phones = speech(0)
    order = np.random.default_rng(1).permutation(128)
    result = phone_scores([order[row] for row in phones], phones, names(40), fit={"a", "b"})
    assert result.codes.same == result.codes.held_out == result.codes.low == result.codes.high == 1
    assert result.pnmi == pytest.approx(1)
    assert result.one_to_one == result.code_purity == result.phone_purity == 1
    assert (result.frames, result.fitted_frames, result.used_codes) == (10_000, 5_000, 41)
    assert not result.enough


def test_codes_shifted_by_a_frame_are_right_where_phones_last():
    phones = speech(2, phones=5)
    shifted = [np.roll(row, 1) for row in phones]
    lasting = np.mean(np.concatenate(phones) == np.concatenate(shifted))
    result = phone_scores(shifted, phones, names(40), fit={"a", "b"})
    assert result.codes.same == pytest.approx(lasting, abs=0.01)
    assert result.codes.held_out == pytest.approx(lasting, abs=0.02)
    assert result.context[1] > 0.98  # the next code determines the phone, except at the end of an utterance


def test_random_codes_are_at_the_baseline():
    phones, random = speech(3, 400), np.random.default_rng(4)
    codes = [random.integers(0, 128, len(row)) for row in phones]
    result = phone_scores(codes, phones, names(400), fit={"a", "b"})
    for accuracy in (result.codes, result.random, result.shuffled):
        assert accuracy.held_out == pytest.approx(1 / 41, abs=0.005)
        assert accuracy.low <= accuracy.held_out <= accuracy.high
        assert result.most_likely.same < accuracy.same < 0.05  # the optimism of fitting on what is scored
    assert result.pnmi == pytest.approx(result.pnmi_random, abs=0.002)


def test_silence_takes_away_its_frames_and_no_more():
    phones = speech(5)
    codes = [row % 7 for row in phones]
    all_frames = phone_scores(codes, phones, names(40), fit={"a", "b"})
    spoken = phone_scores(codes, phones, names(40), fit={"a", "b"}, silence={3, 8})
    silent = np.isin(np.concatenate(phones), [3, 8])
    assert all_frames.frames - spoken.frames == silent.sum()
    kept = [(c[~np.isin(p, [3, 8])], p[~np.isin(p, [3, 8])]) for c, p in zip(codes, phones, strict=True)]
    without = phone_scores([c for c, _ in kept], [p for _, p in kept], names(40), fit={"a", "b"})
    assert spoken.codes == without.codes
    assert spoken.pnmi == without.pnmi


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 30), st.integers(1, 12))
def test_against_plain_counting(seed, clusters, phones):
    random = np.random.default_rng(seed)
    rows = [random.integers(0, phones, random.integers(1, 30)) for _ in range(8)]
    codes = [(row + random.integers(0, 3, len(row))) % clusters for row in rows]
    result = phone_scores(codes, rows, names(8), fit={"a", "c"}, widths=(1,))
    flat = [(s, c, p) for s, cs, ps in zip(names(8), codes, rows, strict=True) for c, p in zip(cs, ps, strict=True)]
    assert result.codes.same == pytest.approx(best(flat, flat))
    fitted, rest = [f for f in flat if f[0] in "ac"], [f for f in flat if f[0] in "bd"]
    assert result.codes.held_out == pytest.approx(best(fitted, rest))
    assert result.most_likely.same == pytest.approx(Counter(p for _, _, p in flat).most_common(1)[0][1] / len(flat))
    code, phone = np.array([c for _, c, _ in flat]), np.array([p for _, _, p in flat])
    of_phones = scipy_entropy(np.bincount(phone))
    if of_phones:
        assert result.pnmi == pytest.approx(mutual_info_score(phone, code) / of_phones, abs=1e-9)
    assert result.entropy == pytest.approx(scipy_entropy(np.bincount(code), base=2))
    assert result.code_purity == pytest.approx(best([(0, p, c) for _, c, p in flat], [(0, p, c) for _, c, p in flat]))


def best(fitted, scored) -> float:
    """The share of right frames, by dictionaries; ties to the lower phone, unseen codes to the most frequent."""
    frequent = Counter(p for _, _, p in fitted)
    most = min(frequent, key=lambda p: (-frequent[p], p))
    counts: dict[int, Counter] = {}
    for _, c, p in fitted:
        counts.setdefault(c, Counter())[p] += 1
    mapping = {c: min(own, key=lambda p: (-own[p], p)) for c, own in counts.items()}
    return sum(mapping.get(c, most) == p for _, c, p in scored) / len(scored)


def test_context_without_held_out_speakers_in_it_cannot_cheat():
    """Random codes: a context of five fits its own frames perfectly, and predicts nothing of the others'."""
    phones, random = speech(6), np.random.default_rng(7)
    codes = [random.integers(0, 128, len(row)) for row in phones]
    result = phone_scores(codes, phones, names(40), fit={"a", "b"}, widths=(1, 2))
    assert max(result.context.values()) < 0.05


def test_what_cannot_be_scored_is_refused():
    rows = [np.array([0, 1]), np.array([1, 0])]
    with pytest.raises(SpeechVQError, match="utterance 1 has 1 codes and 2 phones"):
        phone_scores([rows[0], rows[1][:1]], rows, ["a", "b"], fit={"a"})
    with pytest.raises(SpeechVQError, match="to fit on and others"):
        phone_scores(rows, rows, ["a", "a"], fit={"a"})
    with pytest.raises(SpeechVQError, match="silence"):
        phone_scores(rows, rows, ["a", "b"], fit={"a"}, silence={0, 1})
    with pytest.raises(SpeechVQError, match="from 0"):
        phone_scores([rows[0] - 1, rows[1]], rows, ["a", "b"], fit={"a"})
    with pytest.raises(SpeechVQError, match="speakers"):
        phone_scores(rows, rows, ["a"], fit={"a"})

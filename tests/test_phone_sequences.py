"""Phone error rate and boundaries: sequences with known scores, and oracles by other algorithms."""

import math
from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment

from speechvq.evaluate.metrics.phone_sequences import (
    Runs,
    boundaries,
    collapse,
    edit_distance,
    label_runs,
    matches,
    r_value,
    sequence_scores,
)
from speechvq.text.segments import Segment

NUMBERS = {"a": 0, "b": 1, "s": 2, "sil": 3, "?": 4}
SILENCE, UNLABELLED = 3, 4
HOP = 0.04


def runs(text: str) -> Runs:
    """Frames of HOP, one character each: `a`, `b`, `s`, `.` for silence, `?` for no label."""
    numbers = np.array(["abs.?".index(letter) for letter in text])
    return collapse(numbers, np.arange(len(text)) * HOP)


def score(predicted: list[str], reference: list[str], speakers: list[str] | None = None):
    speakers = speakers or ["one"] * len(predicted)
    rows = ([runs(text) for text in texts] for texts in (predicted, reference))
    return sequence_scores(*rows, speakers, silence=SILENCE, unlabelled=UNLABELLED)


def test_the_labels_themselves_are_right():
    result = score(["..aabb..ss", "ab"], ["..aabb..ss", "ab"])
    assert result.error_rate.value == 0
    assert (result.phones, result.predicted_phones) == (5, 5)
    assert (result.boundaries, result.predicted_boundaries) == (5, 5)
    assert result.precision == result.recall == result.f1.value == result.r_value == 1


def test_known_errors_and_boundaries():
    # Phones: a b s against b s b: a deletion and an insertion. Boundaries at 1, 3, 5 against 2, 3, 5, 6 frames.
    result = score(["abbssss"], ["bbbssbb"])
    assert result.error_rate.value == pytest.approx(2 / 3)
    result = score([".bbssab"], ["..bssbb"])
    assert (result.phones, result.predicted_phones) == (3, 4)
    assert result.error_rate.value == pytest.approx(1 / 3)  # an insertion
    assert (result.boundaries, result.predicted_boundaries) == (3, 4)
    assert result.precision == pytest.approx(2 / 4)  # 3 and 5 of 1, 3, 5, 6
    assert result.recall == pytest.approx(2 / 3)
    assert result.f1.value == pytest.approx(4 / 7)
    assert result.r_value == pytest.approx(r_value(2 / 3, 1 / 3))


def test_runs_are_collapsed_before_silence_is_dropped():
    assert score(["aaaa.aa"], ["aa...aa"]).error_rate.value == 0
    assert score(["aaaaaaa"], ["aa...aa"]).error_rate.value == pytest.approx(1 / 2)


def test_where_there_is_no_label_nothing_counts():
    result = score(["a??bba"], ["a??bbb"])
    assert (result.phones, result.boundaries) == (2, 0)
    assert (result.predicted_phones, result.predicted_boundaries) == (3, 1)


def test_intervals_are_over_speakers():
    result = score(["ab"] * 30 + ["sb"] * 10, ["ab"] * 40, ["one"] * 30 + ["other"] * 10)
    assert result.error_rate.value == pytest.approx(10 / 80)
    assert (result.error_rate.low, result.error_rate.high) == (0, pytest.approx(1 / 2))
    assert math.isnan(score(["ab"], ["ab"]).f1.low)


def test_nothing_predicted_is_no_precision():
    result = score(["aaa"], ["abs"])
    assert math.isnan(result.precision)
    assert result.recall == result.f1.value == 0


@cache
def levenshtein(one: tuple, other: tuple) -> int:
    """By its definition."""
    if not one or not other:
        return len(one) + len(other)
    if one[0] == other[0]:
        return levenshtein(one[1:], other[1:])
    return 1 + min(levenshtein(one[1:], other), levenshtein(one, other[1:]), levenshtein(one[1:], other[1:]))


ROWS = st.lists(st.integers(0, 3), max_size=12)


@given(ROWS, ROWS)
def test_edit_distance_is_levenshteins(one, other):
    assert edit_distance(np.array(one, int), np.array(other, int)) == levenshtein(tuple(one), tuple(other))


TIMES = st.lists(st.integers(0, 100), max_size=10, unique=True)


@given(TIMES, TIMES)
def test_matches_are_the_largest_assignment(predicted, times):
    """Times in steps of 6 ms: three steps are inside the tolerance of 20 ms, four are not."""
    near = np.abs(np.subtract.outer(sorted(predicted), sorted(times))) <= 3
    most = near[linear_sum_assignment(near, maximize=True)].sum() if near.size else 0
    assert matches(0.006 * np.array(sorted(predicted)), 0.006 * np.array(sorted(times))) == most


def test_the_edge_of_the_tolerance_is_inside():
    assert matches(np.array([0.32]), np.array([0.3])) == matches(np.array([0.28]), np.array([0.3])) == 1
    assert matches(np.array([0.3211]), np.array([0.3])) == 0


def test_r_value():
    """1 if all is right; found alone is not enough where twice as many boundaries are predicted."""
    assert r_value(1, 0) == 1
    assert r_value(0.7, 0) == pytest.approx(1 - (0.3 + 0.3 / math.sqrt(2)) / 2)
    assert r_value(1, 1) == pytest.approx(1 - (1 + 1 / math.sqrt(2)) / 2)
    assert r_value(0.8, 0) > r_value(1, 0.5)


def test_runs_of_labels():
    segments = [
        Segment(-0.1, 0.02, "sil"),
        Segment(0.02, 0.05, "a"),
        Segment(0.0503, 0.09, "a"),  # rounded: it touches the one before, and is the same phone
        Segment(0.09, 0.12, "b"),
        Segment(0.2, 0.25, "a"),
        Segment(0.9, 1.0, "s"),  # after the end
    ]
    found = label_runs(segments, NUMBERS, UNLABELLED, 0.3)
    assert found.phones.tolist() == [3, 0, 1, 4, 0, 4]
    assert found.starts[1:].tolist() == [0.02, 0.09, 0.12, 0.2, 0.25]
    assert boundaries(found, UNLABELLED).tolist() == [0.02, 0.09]
    assert label_runs([], NUMBERS, UNLABELLED, 0.3).phones.tolist() == [UNLABELLED]

"""Accuracy by class of phone and the table of codes, of counts with a known answer."""

import math

import numpy as np
import pytest

from speechvq.evaluate.metrics.phone_classes import class_scores, code_meanings
from speechvq.evaluate.tables import code_table
from speechvq.text.phones import ARPABET, PHONE_CLASSES, SILENCE

PHONES = ["aa", "iy", "n", "s", SILENCE]


def test_every_phone_is_in_one_class():
    members = [phone for own in PHONE_CLASSES.values() for phone in own]
    assert sorted(members) == sorted(set(ARPABET.values()) - {SILENCE})


def test_classes_of_known_counts():
    confusion = np.zeros((2, 4, 4), int)
    confusion[0, 0] = [6, 2, 1, 1]  # aa of the first speaker: 6 right, 8 in the class
    confusion[1, 1] = [3, 5, 2, 0]  # iy of the second
    confusion[1, 3] = [0, 0, 10, 0]
    found = class_scores(confusion, PHONES[:4])
    assert list(found) == ["vowels", "fricatives"]
    vowels = found["vowels"]
    assert vowels.frames == 20
    assert vowels.phone.value == pytest.approx(11 / 20)
    assert (vowels.phone.low, vowels.phone.high) == (pytest.approx(0.5), pytest.approx(0.6))  # of one speaker each
    assert vowels.phone_class.value == pytest.approx(16 / 20)
    assert found["fricatives"].phone.value == found["fricatives"].phone_class.value == 0


def test_a_class_of_one_speaker_only_has_no_spread():
    confusion = np.zeros((1, 4, 4), int)
    confusion[0, 2, 2] = 1
    assert math.isnan(class_scores(confusion, PHONES[:4])["nasals"].phone.low)


def test_the_table_of_a_constructed_codec():
    counts = np.zeros((4, 5), int)
    counts[0] = [0, 1, 3, 0, 0]  # n, then iy
    counts[2] = [0, 0, 0, 0, 5]  # silence alone
    counts[3] = [4, 4, 0, 3, 0]  # a tie goes to the first
    rows = code_meanings(counts, PHONES)
    assert [row.code for row in rows] == [3, 2, 0]  # the most frequent first; code 1 is never used
    assert [row.frames for row in rows] == [11, 5, 4]
    assert sum(row.share for row in rows) == pytest.approx(1)
    assert [(row.phone, row.runner_up) for row in rows] == [("aa", "iy"), (SILENCE, ""), ("n", "iy")]
    assert [row.phone_share for row in rows] == pytest.approx([4 / 11, 1, 3 / 4])
    assert [row.runner_up_share for row in rows] == pytest.approx([4 / 11, 0, 1 / 4])
    lines = code_table(rows).splitlines()
    assert lines[0] == "code\tframes\tshare\tphone\tphone_share\trunner_up\trunner_up_share"
    assert lines[2] == "2\t5\t0.250000\tsil\t1.000000\t\t0.000000"
    assert len(lines) == 4

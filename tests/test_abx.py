"""ABX: known answers, and the same by plain loops over all paths, all triples, and all cells."""

import math
from collections import defaultdict
from fractions import Fraction
from functools import cache
from statistics import mean

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from speechvq import SpeechVQError
from speechvq.evaluate.metrics.abx import Token, abx, distance, tokens
from speechvq.text.segments import Segment

HALF = Fraction(1, 2)


def angle(x: np.ndarray, y: np.ndarray) -> int:
    """In 2^-20 pi."""
    if not x.any() or not y.any():
        return (x.any() or y.any()) * 2**19
    cosine = (x @ y) / math.sqrt((x @ x) * (y @ y))
    return round(math.acos(max(-1, min(1, cosine))) / math.pi * 2**20)


def walks(i: int, j: int):
    """All monotone paths from (0, 0) to (i, j)."""
    if i == j == 0:
        yield [(0, 0)]
    for a, b in ((i - 1, j), (i, j - 1), (i - 1, j - 1)):
        if min(a, b) >= 0:
            yield from ([*walk, (i, j)] for walk in walks(a, b))


def slow_distance(x: np.ndarray, y: np.ndarray) -> Fraction:
    """The mean angle on the cheapest path, and of these on the shortest."""
    found = [(sum(angle(x[i], y[j]) for i, j in walk), len(walk)) for walk in walks(len(x) - 1, len(y) - 1)]
    return Fraction(*min(found))


def slow_abx(features, speakers, found, across: bool) -> tuple[float, int, int]:
    """The error by the definition, and the numbers of cells and triples."""
    cells = defaultdict(list)

    @cache
    def apart(*pair: Token) -> Fraction:
        return slow_distance(*(features[token.utterance][token.begin : token.end] for token in pair))

    for a in found:
        for b in found:
            for x in found:
                same = speakers[a.utterance] == speakers[x.utterance]
                if (a.phone, a.before, a.after) != (x.phone, x.before, x.after) or a is x or same == across:
                    continue
                if (a.before, a.after) != (b.before, b.after) or a.phone == b.phone:
                    continue
                if speakers[a.utterance] != speakers[b.utterance]:
                    continue
                near, far = apart(a, x), apart(b, x)
                pair, context = (a.phone, b.phone), (a.before, a.after, speakers[x.utterance])
                cells[pair, speakers[a.utterance], context].append((near > far) + HALF * (near == far))
    by_speaker, by_pair = defaultdict(list), defaultdict(list)
    for (pair, speaker, _), errors in cells.items():
        by_speaker[pair, speaker].append(mean(errors))
    for (pair, _), errors in by_speaker.items():
        by_pair[pair].append(mean(errors))
    error = float(mean(mean(errors) for errors in by_pair.values())) if by_pair else math.nan
    return error, len(cells), sum(map(len, cells.values()))


def speech(random, utterances=12, phones=3, contexts=2, voices=3, lengths=(2, 3), per=5):
    """Speakers, tokens that follow each other, and the numbers of frames; each has a context of its own."""
    found, counts = [], []
    for utterance in range(utterances):
        time = 0
        for _ in range(per):
            end = time + int(random.integers(*lengths))
            before, after = divmod(int(random.integers(contexts)), 2)
            found.append(Token(utterance, time, end, str(random.integers(phones)), str(before), str(after)))
            time = end
        counts.append(time)
    return [f"s{i % voices}" for i in range(utterances)], found, counts


def one_hot(found, counts, number) -> list[np.ndarray]:
    """Features of 8 values: at each token's frames the unit vector of its `number`."""
    features = [np.zeros((count, 8)) for count in counts]
    for token in found:
        features[token.utterance][token.begin : token.end, number(token)] = 1
    return features


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 5), st.integers(1, 5), st.booleans())
def test_the_distance_is_that_of_the_cheapest_of_all_paths(seed, rows, columns, few):
    random = np.random.default_rng(seed)
    x, y = random.standard_normal((rows, 6)), random.standard_normal((columns, 6))
    if few:  # codes that recur: many paths cost the same
        book = random.standard_normal((2, 6))
        x, y = book[random.integers(0, 2, rows)], book[random.integers(0, 2, columns)]
    units = [row / np.linalg.norm(row, axis=1, keepdims=True) for row in (x, y)]
    assert distance(*units) == pytest.approx(float(slow_distance(x, y)) / 2**20, abs=3e-6)
    assert distance(*units) == distance(*reversed(units))


def test_the_distance_is_a_mean_over_the_steps_of_the_path():
    one, other = np.eye(2)[:1], np.eye(2)[1:]
    assert distance(one, other) == 0.5  # a right angle, in pi
    assert distance(one, -one) == 1
    assert distance(one, np.repeat(other, 4, 0)) == 0.5  # not 2
    assert distance(np.concatenate([one, other]), np.concatenate([one, one, other])) == 0
    assert distance(np.concatenate([one, other, one]), np.repeat(one, 3, 0)) == pytest.approx(0.5 / 3)
    assert distance(np.concatenate([one, one, one]), np.concatenate([other, one])) == pytest.approx(0.5 / 3)


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 10**6), st.booleans())
def test_errors_cells_and_triples_are_those_of_plain_loops(seed, few):
    random = np.random.default_rng(seed)
    speakers, found, counts = speech(random, utterances=6, contexts=3, lengths=(1, 4))
    features = [random.standard_normal((count, 4)) for count in counts]
    if few:  # two codes and zeros: many distances are equal
        book = np.concatenate([random.standard_normal((2, 4)), np.zeros((1, 4))])
        features = [book[random.integers(0, 3, count)] for count in counts]
    result = abx(features, speakers, found)
    expected = slow_abx(features, speakers, found, False), slow_abx(features, speakers, found, True)
    assert (result.within, result.within_cells, result.within_triples) == pytest.approx(expected[0], nan_ok=True)
    assert (result.across, result.across_cells, result.across_triples) == pytest.approx(expected[1], nan_ok=True)


def test_pairs_count_alike_however_many_their_tokens():
    vectors = np.array([[1, 0], [1, 0], [1, 0], [0, 1], [1, 1]])  # of three tokens of a, and two of b
    found = [Token(0, i, i + 1, phone, "t", "t") for i, phone in enumerate("aaabb")]
    result = abx([vectors], ["s"], found)
    # a from b: no error in 3 * 2 * 2. b from a, 2 * 3: none if X is the first b; of the second, b and a are as far.
    assert result.within == (0 + 1 / 4) / 2
    assert (result.within_cells, result.within_triples) == (2, 18)
    assert math.isnan(result.across)
    assert (result.across_cells, result.across_triples) == (0, 0)


def test_features_that_are_the_phone_make_no_error():
    speakers, found, counts = speech(np.random.default_rng(0), lengths=(1, 5))
    result = abx(one_hot(found, counts, lambda token: int(token.phone)), speakers, found)
    assert result.within == result.across == 0
    assert min(result.within_cells, result.across_cells) > 0


def test_phones_that_each_speaker_has_otherwise_fail_across_speakers_only():
    speakers, found, counts = speech(np.random.default_rng(1), phones=2, voices=2)
    swapped = one_hot(found, counts, lambda token: (int(token.phone) + token.utterance) % 2)
    result = abx(swapped, speakers, found)
    assert (result.within, result.across) == (0, 1)


def test_features_that_are_the_speaker_tell_nothing():
    speakers, found, counts = speech(np.random.default_rng(2), lengths=(1, 5))
    result = abx(one_hot(found, counts, lambda token: token.utterance % 3), speakers, found)
    assert result.within == result.across == 0.5


def test_random_features_are_at_chance_where_all_tokens_are_equally_long():
    random = np.random.default_rng(3)
    speakers, found, counts = speech(random, utterances=120, lengths=(3, 4))
    result = abx([random.standard_normal((count, 16)) for count in counts], speakers, found)
    assert result.within == pytest.approx(0.5, abs=0.02)
    assert result.across == pytest.approx(0.5, abs=0.02)


def test_zeros_are_equal_to_each_other_and_far_from_the_rest():
    speakers, found, counts = speech(np.random.default_rng(4), phones=2)
    nothing = abx([np.zeros((count, 8)) for count in counts], speakers, found)
    assert nothing.within == nothing.across == 0.5
    one_is_zeros = [row * [0, *[1] * 7] for row in one_hot(found, counts, lambda token: int(token.phone))]
    result = abx(one_is_zeros, speakers, found)
    assert result.within == result.across == 0


def test_what_is_drawn_is_limited_and_decided_by_the_seed():
    random = np.random.default_rng(5)
    speakers, found, counts = speech(random, utterances=60, contexts=4)
    features = [random.standard_normal((count, 4)) for count in counts]
    everything = abx(features, speakers, found, max_tokens=100)
    assert abx(features, speakers, found, max_tokens=100, seed=1) == everything
    few = abx(features, speakers, found, max_tokens=2)
    assert (few.within_cells, few.within_triples) == (everything.within_cells, 4 * everything.within_cells)
    assert (few.across_cells, few.across_triples) == (everything.across_cells, 8 * everything.across_cells)
    # Six ordered pairs of phones, of which each has 12 cells within and 24 across.
    assert (everything.within_cells, everything.across_cells) == (72, 144)
    drawn = abx(features, speakers, found, max_cells=31)
    assert (drawn.within_cells, drawn.across_cells) == (30, 30)
    assert abx(features, speakers, found, max_cells=31) == drawn != abx(features, speakers, found, max_cells=31, seed=1)
    assert abx(features, speakers, found, max_cells=1).within_cells == 6


def test_every_pair_has_its_share_of_what_is_drawn():
    speakers, found, counts = speech(np.random.default_rng(8), utterances=60, contexts=4)
    alike = one_hot(found, counts, lambda token: int(token.phone) // 2)  # 0 and 1 are
    for cells in (1, 20, 1000):
        result = abx(alike, speakers, found, max_cells=cells)
        assert result.within == result.across == pytest.approx(2 / 6 / 2)  # two of six pairs, by chance


def test_a_draw_is_near_the_whole():
    random = np.random.default_rng(6)
    speakers, found, counts = speech(random, utterances=150, phones=4, contexts=8)
    hot = one_hot(found, counts, lambda token: int(token.phone))
    features = [row + 0.7 * random.standard_normal(row.shape) for row in hot]
    everything, drawn = abx(features, speakers, found), abx(features, speakers, found, max_cells=120)
    assert drawn.across_cells == 120 < everything.across_cells / 4
    assert 0.02 < everything.across < 0.4
    assert drawn.across == pytest.approx(everything.across, abs=0.04)


def test_the_same_features_at_another_scale_have_the_same_error():
    random = np.random.default_rng(7)
    speakers, found, counts = speech(random)
    features = [random.standard_normal((count, 4)).astype(np.float32) for count in counts]
    assert abx([8 * row for row in features], speakers, found) == abx(features, speakers, found)


def phones(*labels: str, seconds: float = 0.04) -> list[Segment]:
    return [Segment(i * seconds, (i + 1) * seconds, label) for i, label in enumerate(labels)]


def test_a_token_has_the_frames_whose_centres_lie_in_its_segment():
    row = [Segment(0, 0.03, "a"), Segment(0.03, 0.07, "b"), Segment(0.07, 0.11, "c"), Segment(0.11, 0.2, "d")]
    assert tokens([row], 0.02, [10]) == [Token(0, 1, 3, "b", "a", "c"), Token(0, 3, 5, "c", "b", "d")]
    assert tokens([[], row], 0.02, [0, 4]) == [Token(1, 1, 3, "b", "a", "c"), Token(1, 3, 4, "c", "b", "d")]
    late = tokens([row], 0.02, [10], offset=0.02)  # frames lie later, so that a segment has earlier ones
    assert late == [Token(0, 0, 2, "b", "a", "c"), Token(0, 2, 4, "c", "b", "d")]


def test_tokens_at_an_edge_or_beside_silence_are_left_out():
    assert tokens([phones("a", "b")], 0.02, [4]) == []
    row = phones("a", "b", "c", "sil", "d", "e", "f")
    assert [token.phone for token in tokens([row], 0.02, [14])] == ["b", "e"]
    assert [token.phone for token in tokens([row], 0.02, [14], silence="e")] == ["b", "c", "sil"]


def test_a_gap_parts_what_it_lies_between():
    whole = phones("a", "b", "c", "d", "e", "f")
    parted = [Segment(s.start + 0.015 * (s.label > "c"), s.end + 0.015 * (s.label > "c"), s.label) for s in whole]
    assert [token.phone for token in tokens([whole], 0.02, [20])] == ["b", "c", "d", "e"]
    assert [token.phone for token in tokens([parted], 0.02, [20])] == ["b", "e"]
    assert len(tokens([parted], 0.04, [20])) == 4  # less than half a frame


def test_a_phone_too_short_for_a_frame_is_no_token_but_a_neighbour():
    row = [Segment(0, 0.02, "a"), Segment(0.02, 0.06, "b"), Segment(0.06, 0.065, "t"), Segment(0.065, 0.1, "c")]
    assert tokens([[*row, Segment(0.1, 0.2, "d")]], 0.02, [10]) == [
        Token(0, 1, 3, "b", "a", "t"),
        Token(0, 3, 5, "c", "t", "d"),
    ]


def test_what_does_not_fit_is_an_error():
    fine, token = [np.ones((3, 2))], Token(0, 0, 1, "a", "b", "c")
    with pytest.raises(SpeechVQError, match="1 utterances of features, 2 speakers"):
        abx(fine, ["s", "t"], [token])
    with pytest.raises(SpeechVQError, match=r"one D for all"):
        abx([*fine, np.ones((3, 4))], ["s", "t"], [token])
    with pytest.raises(SpeechVQError, match=r"\(frames, D\)"):
        abx([np.ones(3)], ["s"], [token])
    with pytest.raises(SpeechVQError, match="finite"):
        abx([np.full((3, 2), np.nan)], ["s"], [token])
    for begin, end, utterance in ((0, 4, 0), (-1, 2, 0), (2, 2, 0), (0, 1, 1), (0, 1, -1)):
        with pytest.raises(SpeechVQError, match="not inside its utterance"):
            abx(fine, ["s"], [Token(utterance, begin, end, "a", "b", "c")])
    with pytest.raises(SpeechVQError, match="1 utterances of segments, 2 of frames"):
        tokens([[]], 0.02, [1, 2])


def test_without_cells_there_is_no_error_rate():
    for found in ([], [Token(0, 0, 1, "a", "b", "c")]):
        result = abx([np.ones((3, 2))], ["s"], found)
        assert math.isnan(result.within)
        assert math.isnan(result.across)
        assert result.within_cells == result.across_cells == result.within_triples == result.across_triples == 0

"""The phone accuracy of a quick codebook while an encoder is trained, and the weights that it chooses."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from test_objective import run
from torch import Tensor, nn
from torch.nn import functional as F

from speechvq import SpeechVQError
from speechvq.data.feature_store import feature_store
from speechvq.folder.card import WEIGHTS
from speechvq.folder.weights import load_tensors
from speechvq.text.phones import INVENTORY, SILENCE
from speechvq.train.encoder import QUICK_FRAMES, measured_halves, phone_targets, quick_phone_accuracy
from speechvq.train.kinds import train
from speechvq.train.loop import LAST, read_log


class Itself(nn.Module):
    """An encoder whose only layer is its input."""

    config = SimpleNamespace(outputs=(0,), strides=(1, 1))

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))

    def layers(self, feats: Tensor) -> list[Tensor]:
        return [feats]


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_it_is_the_share_of_frames_that_show_their_phone(share):
    """Latents that are one-hot vectors of the phone, or in a share of the scored frames of the next one."""
    random = np.random.default_rng(0)
    phones = [np.tile(random.permutation(len(INVENTORY)), 20) for _ in range(2)]
    wrong = random.random(len(phones[1])) < share
    phones[1][random.random(len(phones[1])) < 0.1] = -1  # these do not count
    shown = phones[0], np.where(wrong, phones[1] + 1, phones[1]) % len(INVENTORY)
    rows = [F.one_hot(torch.from_numpy(one), len(INVENTORY)).T[None].float() for one in shown]
    store, halves = SimpleNamespace(features=rows.__getitem__), ([(0, phones[0])], [(1, phones[1])])
    figures = quick_phone_accuracy(SimpleNamespace(encoder=Itself()), store, halves)
    assert len(phones[0]) < QUICK_FRAMES
    assert figures == {"phone_accuracy": pytest.approx(1 - wrong[phones[1] >= 0].mean(), abs=1e-6)}


def test_halves_are_the_held_out_utterances_without_their_silence(corpus, vowel_labels):
    store = feature_store(corpus)
    phones = phone_targets(vowel_labels, corpus, store, 320)
    phones[::3] = INVENTORY.index(SILENCE)
    halves = measured_halves(store, phones, 320)
    assert abs(len(halves[0]) - len(halves[1])) <= 1
    found = {i: own for half in halves for i, own in half}
    assert sorted(found) == [i for i, u in enumerate(store.utterances) if u.split == "valid"]
    for i, own in found.items():
        expected = phones[store.starts[i] // 2 : store.starts[i + 1] // 2].copy()
        expected[expected == INVENTORY.index(SILENCE)] = -1
        np.testing.assert_array_equal(own, expected)
    with pytest.raises(SpeechVQError, match="too few held-out utterances have labels"):
        measured_halves(store, np.full_like(phones, -1), 320)


def test_it_is_logged_chooses_the_weights_and_changes_no_training(corpus, vowel_labels, tmp_path):
    config = run("cpc", eval_every=2)
    train(config, corpus, tmp_path / "without")
    train(run("cpc", eval_every=2, keep="phone_accuracy"), corpus, tmp_path / "with", labels=vowel_labels)
    rows = read_log(tmp_path / "with")
    assert all(0.35 < row["phone_accuracy"] <= 1 for row in rows)  # four vowels, which mel bands tell apart
    best = max(rows, key=lambda row: row["phone_accuracy"])  # the first of equals
    assert load_tensors(tmp_path / "with" / WEIGHTS)[1] == best
    one, other = load_tensors(tmp_path / "with" / LAST)[0], load_tensors(tmp_path / "without" / LAST)[0]
    assert all(torch.equal(one[key], other[key]) for key in one)
    assert [{**row, "seconds": 0, "phone_accuracy": 0} for row in rows] == [
        {**row, "seconds": 0, "phone_accuracy": 0} for row in read_log(tmp_path / "without")
    ]

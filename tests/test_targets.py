"""Targets of masked prediction: the graph against known cases, and the command on real features."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from test_objective import run

from speechvq import SpeechVQError
from speechvq.cli import main
from speechvq.data.feature_store import feature_store
from speechvq.folder.card import load_card
from speechvq.train.kinds import train
from speechvq.train.loop import read_log
from speechvq.train.targets import Neighbourhood, graph_embedding, make_targets, neighbours, read_targets, splice

HOW = Neighbourhood(clusters=6, outputs=(2,), stride=1, dim=8, neighbours=4, vectors=8)


@pytest.fixture(scope="module")
def pretrained(corpus, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "cpc"
    train(run("cpc", steps=40, learning_rate=1e-2), corpus, out)
    return out


def test_neighbours_are_the_most_similar_rows_of_other_speakers():
    random = torch.Generator().manual_seed(0)
    rows = torch.nn.functional.normalize(torch.randn(60, 5, generator=random), dim=1)
    speakers, pool = torch.arange(60) % 3, np.arange(0, 60, 2)
    nearest, similarity = neighbours(rows, speakers, pool, 4)
    for i in range(60):
        others = [(float(rows[i] @ rows[j]), k) for k, j in enumerate(pool) if speakers[j] != speakers[i]]
        best = sorted(others, reverse=True)[:4]
        assert nearest[i].tolist() == [k for _, k in best]
        assert similarity[i].tolist() == pytest.approx([s for s, _ in best], abs=1e-6)


def test_the_embedding_parts_a_graph_where_it_is_thin():
    """Two rings with one edge between them: the first eigenvector has one sign on each."""
    ring = torch.arange(20)
    nearest = torch.stack([(ring + 1) % 20, (ring + 2) % 20], 1)
    nearest = torch.cat([nearest, nearest + 20])
    nearest[0, 1] = 20
    vectors, values = graph_embedding(nearest, torch.ones(40, 2), 3)
    first = vectors[:, 0] > 0
    assert first[:20].all() != first[20:].all()
    assert first[:20].float().mean() in (0, 1)
    assert first[20:].float().mean() in (0, 1)
    assert 0.9 < values[0] < 1
    assert (values[:-1] >= values[1:]).all()


def test_spliced_rows_have_their_neighbours_in_time():
    rows = torch.randn(7, 3)
    spliced = splice(rows, 1)
    assert spliced.shape == (7, 9)
    expected = torch.cat([rows[2], rows[3], rows[4]])
    torch.testing.assert_close(spliced[3], expected / expected.norm())
    expected = torch.cat([rows[0], rows[0], rows[1]])  # the first has none before
    torch.testing.assert_close(spliced[0], expected / expected.norm())


def test_targets_are_learned_and_follow_vowels(pretrained, corpus, vowel_labels, tmp_path):
    out = tmp_path / "targets.npz"
    figures = make_targets(pretrained, corpus, out, HOW)
    assert figures["smallest"] > 0
    store = feature_store(corpus)
    targets = read_targets(out, corpus, store, 320)
    assert targets.classes == 7
    assert len(targets.numbers) == store.starts[-1] // 2
    assert set(targets.numbers) == set(range(7))
    again = tmp_path / "again.npz"
    assert make_targets(pretrained, corpus, again, HOW) == figures
    assert np.array_equal(read_targets(again, corpus, store, 320).numbers, targets.numbers)
    # In a graph of a part of the frames, the others follow their neighbours: alike but for renumbering.
    part = tmp_path / "part.npz"
    make_targets(pretrained, corpus, part, dataclasses.replace(HOW, frames=400))
    assert set(read_targets(part, corpus, store, 320).numbers) == set(range(7))
    learned = train(run("masked", steps=60, learning_rate=1e-2), corpus, tmp_path / "run", targets=out)
    assert learned["loss"] < 0.9 * read_log(tmp_path / "run")[0]["loss"]
    assert load_card(tmp_path / "run").taught == ""


def test_targets_of_a_taught_encoder_say_so(corpus, vowel_labels, tmp_path):
    train(run("phones", steps=10), corpus, tmp_path / "taught", labels=vowel_labels)
    make_targets(tmp_path / "taught", corpus, tmp_path / "t.npz", HOW)
    train(run("masked", steps=4), corpus, tmp_path / "run", targets=tmp_path / "t.npz")
    assert load_card(tmp_path / "run").taught == "phones of labels"


def test_what_does_not_fit_is_refused(pretrained, corpus, tmp_path):
    out, store = tmp_path / "targets.npz", feature_store(corpus)
    with pytest.raises(SpeechVQError, match="too few"):
        make_targets(pretrained, corpus, out, dataclasses.replace(HOW, clusters=5000))
    assert not out.exists()
    with pytest.raises(SpeechVQError, match="do not divide"):
        make_targets(pretrained, corpus, out, dataclasses.replace(HOW, stride=3))
    make_targets(pretrained, corpus, out, HOW)
    with pytest.raises(SpeechVQError, match="a target every 320 samples"):
        read_targets(out, corpus, store, 640)
    with pytest.raises(SpeechVQError, match="masked prediction alone can have --targets"):
        train(run("cpc"), corpus, tmp_path / "x", targets=out)
    out.write_bytes(out.read_bytes()[:500])
    with pytest.raises(SpeechVQError, match="not targets of"):
        read_targets(out, corpus, store, 320)
    with pytest.raises(SpeechVQError, match="not targets of"):
        read_targets(tmp_path / "none.npz", corpus, store, 320)


def test_the_command(pretrained, corpus, tmp_path, capsys):
    out = tmp_path / "targets.npz"
    arguments = ["targets", str(pretrained), "--data", str(corpus), "--out", str(out), "--layers", "0,2"]
    arguments += ["--clusters", "5", "--stride", "1", "--neighbours", "3", "--frames", "300"]
    assert main(arguments) == 0
    assert "frames" in capsys.readouterr().out
    assert read_targets(out, corpus, feature_store(corpus), 320).classes == 6
    before = out.read_bytes()
    assert main(arguments) == 2
    assert f"{out} exists; --force overwrites it" in capsys.readouterr().err
    assert out.read_bytes() == before
    assert main([*arguments, "--force", "--clusters", "4"]) == 0
    assert read_targets(out, corpus, feature_store(corpus), 320).classes == 5
    assert main([*arguments, "--force", "--layers", "9"]) == 2
    assert "0 to 2" in capsys.readouterr().err

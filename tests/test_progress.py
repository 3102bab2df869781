"""The progress bar."""

import sys

from speechvq.progress import progress


def test_the_bar_changes_nothing_and_keeps_quiet_when_it_is_short(capsys):
    assert list(progress(iter("abc"), 3, unit="x")) == ["a", "b", "c"]
    assert list(progress([], unit="x")) == []
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "")


def test_a_log_file_gets_few_lines(monkeypatch, tmp_path):
    with (tmp_path / "log").open("w") as log:
        monkeypatch.setattr(sys, "stderr", log)
        assert progress([1], unit="x").mininterval >= 10

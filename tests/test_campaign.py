"""Damaged inputs: a sample of `benchmarks/campaign.py`, and saved results of every wrong shape."""

import contextlib
import shutil
from pathlib import Path

import campaign
import pytest
from damage.inputs import saved_results, write_inputs
from damage.mutations import in_text
from damage.readers import READERS

from speechvq import SpeechVQError
from speechvq.files import save_json
from speechvq.report.result_tables import paper_table, result_tables
from speechvq.report.runs import read_runs

WRONG = [None, True, 3, -0.5, "text", [], {}, [None], [[]], {"x": None}, float("nan"), "\x1b[31m", "../../x"]


@pytest.fixture(scope="module")
def inputs(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("campaign") / "inputs"
    write_inputs(folder)
    return folder


@pytest.fixture(autouse=True)
def inputs_once(inputs, monkeypatch):
    monkeypatch.setattr(campaign, "write_inputs", lambda folder: shutil.copytree(inputs, folder))


def test_a_sample_of_the_campaign(tmp_path, capfd):
    """Every reader reads its undamaged files; of damaged ones, a result or a SpeechVQError."""
    assert campaign.campaign(tmp_path, 1, range(300)) == 0, capfd.readouterr().out
    rows = list(campaign.rows_of(tmp_path))
    assert [case for case, _, _ in rows] == list(range(300))
    assert {outcome for _, _, outcome in rows} == {campaign.READ, campaign.REFUSED}
    assert len({name for _, name, _ in rows}) > len(READERS) / 2


def test_what_goes_wrong_is_reported(tmp_path, monkeypatch, capfd):
    """Exceptions, endless work, too much memory, death, floods of warnings, writing elsewhere, escapes: each once."""
    faults = {
        "exception": lambda *_: 1 / 0,
        "memory": lambda *_: bytearray(4 * campaign.MEMORY),
        "death": lambda *_: campaign.os.kill(campaign.os.getpid(), campaign.signal.SIGKILL),
        "flood": lambda *_: [campaign.logging.warning("x") for _ in range(50)],
        "elsewhere": lambda folder, _: (folder.parent / "outside").write_text("x"),
        "escape": lambda *_: print("\x1b[31m", flush=True),
        "endless": lambda *_: [None for _ in iter(int, 1)],
        "refused": lambda *_: (_ for _ in ()).throw(SpeechVQError("no")),
    }
    monkeypatch.setattr(campaign, "SECONDS", 0)
    monkeypatch.setattr(campaign, "check_inputs", lambda watched: None)
    for name, use in faults.items():
        monkeypatch.setitem(READERS, name, campaign.Reader(("labels/map.txt",), in_text, use, 1))
        folder = tmp_path / name
        assert campaign.campaign(folder, 0, range(1), only=name) == (name != "refused")
        [(_, _, outcome)] = campaign.rows_of(folder)
        expected = {
            "exception": "ZeroDivisionError at ?: division by zero",
            "memory": "MemoryError at ?:",
            "death": "ends the process: SIGKILL",
            "flood": "more than 20 warnings: x",
            "elsewhere": "writes outside of its folder: ",
            "escape": "steers the terminal: ",
            "endless": "ends the process: SIGXCPU",
            "refused": "refused",
        }
        assert outcome.startswith(expected[name])
    capfd.readouterr()


def places(value, above=()):
    """The keys that lead to every value inside of a value."""
    yield above
    if isinstance(value, dict | list):
        for key in value if isinstance(value, dict) else range(min(len(value), 2)):
            yield from places(value[key], (*above, key))


def replaced(value, place, new):
    """A value with another one at a place; without that place if the new one is Ellipsis."""
    if not place:
        return new
    result = value.copy()
    if len(place) == 1 and new is ...:
        del result[place[0]]
    else:
        result[place[0]] = replaced(value[place[0]], place[1:], new)
    return result


@pytest.mark.parametrize("question", saved_results())
def test_saved_results_of_any_wrong_shape_are_one_line(question, runs, tmp_path):
    """Every value in turn is missing, or another: there are tables, or one line that names the file."""
    run = tmp_path / "run"
    shutil.copytree(runs["mel"], run)
    good = saved_results()[question]
    refused = 0
    for place in places(good):
        for new in [*WRONG, *([...] if place else [])]:
            save_json(run / f"{question}.json", replaced(good, place, new))
            with contextlib.suppress(SpeechVQError):
                refused += 1
                read = read_runs([run])
                assert result_tables(read[0])
                paper_table(read)
                read[0].utterances(4)
                refused -= 1
    assert refused > 20


def test_recordings_that_no_file_can_be_are_not_there(runs, tmp_path):
    run = Path(shutil.copytree(runs["mel"], tmp_path / "run"))
    good = saved_results()["conversion"]
    rows = [row | {key: "x" * 300} for row in good["rows"] for key in ("utterance", "speaker")]
    save_json(run / "conversion.json", good | {"rows": rows})
    assert read_runs([run])[0].utterances(4) == []

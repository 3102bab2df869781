"""The page of results: what is in it, and how it is in a browser."""

import base64
import html.parser
import io
import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
import torch
from browsers import artefact, chromium, serious
from PIL import Image

from speechvq import SpeechVQError
from speechvq.cli import main
from speechvq.config import RUNS
from speechvq.config.parsing import parse_run
from speechvq.folder.description import DESCRIPTIONS
from speechvq.report.heat_maps import draw_heat_maps
from speechvq.report.pictures import curve, spectrograms, usage
from speechvq.report.result_tables import paper_table, result_tables
from speechvq.report.runs import read_runs
from speechvq.report.sections import SECTIONS
from speechvq.text.segments import Segment
from speechvq.train.kinds import KINDS, train


@pytest.fixture(scope="module")
def folders(runs, prior, corpus, tmp_path_factory) -> dict[str, Path]:
    """A codec's run and a prior's, with all that the commands leave in them for the page."""
    folder = tmp_path_factory.mktemp("page")
    model, over = folder / "codes & <voice>", folder / "prior"
    shutil.copytree(runs["mel"], model)
    shutil.copytree(prior, over)
    labels = folder / "labels"
    labels.mkdir()
    for line in (corpus / "manifest.jsonl").read_text().splitlines():
        row = json.loads(line)
        half, end = row["samples"] * 10_000_000 // 32_000, row["samples"] * 10_000_000 // 16_000
        path = labels / row["speaker"] / f"{Path(row['id']).name}.lab"
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"0 {half} aa\n{half} {end} iy\n")
    common = ["--model", str(model), "--data", str(corpus)]
    wavs = ["--speakers", "mid,high", "--count", "1", "--wavs", str(model / "wavs")]
    asked = {
        "conversion": wavs,
        "phonemes": ["--labels", str(labels), "--figures", str(model), "--scored", "low"],
        "rate": ["--prior", str(over)],
    }
    for question, options in asked.items():
        saved = ["--save", str(model / f"{question}.json")]
        assert main(["evaluate", question, *common, *options, *saved]) == 0
    sample = ["sample", str(over / "samples" / "drawn.wav"), "--model", str(model), "--prior", str(over)]
    assert main([*sample, "--speaker", "mid", "--count", "2", "--seconds", "0.5"]) == 0
    return {"model": model, "prior": over, "labels": labels}


@pytest.fixture(scope="module")
def page(folders, corpus, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("out")
    command = ["report", str(folders["model"]), str(folders["prior"]), "--out", str(out)]
    assert main([*command, "--data", str(corpus), "--labels", str(folders["labels"])]) == 0
    return out / "index.html"


class Reader(html.parser.HTMLParser):
    """Elements with their attributes, the text, and that every tag is closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag not in ("meta", "link", "img", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data

    def all(self, name: str) -> list[dict[str, str]]:
        return [attributes for tag, attributes in self.elements if tag == name]


def test_the_page_needs_nothing_else(page):
    reader = Reader(page.read_text(encoding="utf-8"))
    for tag, attributes in reader.elements:
        for key in ("src", "href", "srcset", "action", "poster"):
            assert attributes.get(key, "#").startswith(("data:", "#")), f"{tag} {key}"
    assert reader.all("script") == []
    assert "@import" not in reader.text
    assert all(attributes["alt"] for attributes in reader.all("img"))
    assert all(attributes["aria-label"] for attributes in reader.all("audio"))


def test_players_hold_the_recordings(page, folders):
    """Sample for sample the recordings of the run folders, in their order."""
    reader = Reader(page.read_text(encoding="utf-8"))
    played = []
    for attributes in reader.all("audio"):
        data = attributes["src"].removeprefix("data:audio/flac;base64,")
        wav, rate = soundfile.read(io.BytesIO(base64.b64decode(data)), dtype="int16")
        assert rate == 16_000
        assert len(wav) / rate == pytest.approx(float(attributes["data-seconds"]))
        played.append(wav)
    rows = json.loads((folders["model"] / "conversion.json").read_text())["rows"]
    names = {"natural": "natural", "reconstruction": "reconstruction"}
    files = [
        folders["model"] / "wavs" / row["utterance"] / f"{names.get(row['kind'], 'as-' + row['speaker'])}.wav"
        for row in rows
        if row["kind"] != "copy"
    ]
    files += sorted((folders["prior"] / "samples").iterdir())
    assert len(played) == len(files) == 8
    for wav, file in zip(played, files, strict=True):
        np.testing.assert_array_equal(wav, soundfile.read(file, dtype="int16")[0])


def test_figures_and_names_are_in_it(page, folders):
    text = Reader(page.read_text(encoding="utf-8")).text
    assert "codes & <voice>" in text  # shown as it is, not as tags
    score = json.loads((folders["model"] / "phonemes.json").read_text())["scores"]["centre"]
    assert f"{100 * score['codes']['held_out']:.1f} %" in text
    rate = json.loads((folders["model"] / "rate.json").read_text())["coders"]["prior"]["files"]
    assert f"{rate:.1f}" in text
    assert "49.3 %" in text
    for command in ("evaluate phonemes", "evaluate rate"):
        assert command not in text  # pytest is the command of these results
    assert '"learning_rate": 0.005' in text
    assert "PyTorch 2." in text
    assert "aa iy" in text


def test_saved_results_keep_their_keys(folders):
    """Results saved by earlier versions are shown, and what others compute from them goes on working."""

    def keys(question: str) -> set[str]:
        return json.loads((folders["model"] / f"{question}.json").read_text()).keys() - {"made_by"}

    assert keys("conversion") == {"speakers", "equal_error", "threshold", "figures", "rows", "left_out"}
    assert keys("rate") == {"count", "seconds", "nominal", "coders", "left_out"}
    measures = {"abx", "abx_random", "bits_per_s", "gaps", "mfcc", "offset_ms", "scores", "sweep"}
    measures |= {"sequences", "classes", "code_table", "probes", "left_out", "runs_per_s", "squared_distance"}
    assert keys("phonemes") == measures | {"fit", "phones", "scored", "unlabelled"}
    row = json.loads((folders["model"] / "conversion.json").read_text())["rows"][0]
    assert row.keys() >= {"utterance", "text", "source", "speaker", "kind", "similarity", "energy_correlation"}


def test_the_phones_of_codes_are_in_tables(page, folders):
    """Figures of the saved result are cells of the page; what an earlier version saved has fewer tables."""
    result = json.loads((folders["model"] / "phonemes.json").read_text())
    text = Reader(page.read_text(encoding="utf-8")).text
    sequences, vowels = result["sequences"]["codes"], result["classes"]["vowels"]
    for value in (sequences["error_rate"]["value"], sequences["r_value"], vowels["phone"]["value"]):
        assert f"{100 * value:.1f} %" in text
    assert f"{100 * result['probes']['latents']['held_out']['value']:.1f} %" in text
    [run] = read_runs([folders["model"]])
    titles = [table.title for table in result_tables(run)]
    [table] = [table for table in result_tables(run) if table.folded]
    assert [row[0] for row in table.rows] == [str(one["code"]) for one in result["code_table"]]
    for key in ("sequences", "classes", "code_table", "probes"):
        del run.results["phonemes"][key]
    assert len(titles) - len(result_tables(run)) == 4


def test_the_paper_stands_beside_what_was_measured(folders):
    table = paper_table(read_runs([folders["model"], folders["prior"]]))
    names = [row[0].partition(":")[0] for row in table.rows]
    assert names == ["phones from codes", "reconstruction", "conversion", "prior"]
    assert all(len(row) == len(table.head) for row in table.rows)


def test_runs_without_results_are_a_page_too(runs, tmp_path, capsys):
    assert main(["report", str(runs["mel"]), str(runs["wavenet"]), "--out", str(tmp_path / "page")]) == 0
    page = tmp_path / "page" / "index.html"
    assert str(page) in capsys.readouterr().out
    reader = Reader(page.read_text(encoding="utf-8"))
    assert "Held-out speech while training" in reader.text
    assert reader.all("audio") == []
    assert main(["report", str(runs["mel"]), "--out", str(page.parent)]) == 2
    assert "--force overwrites it" in capsys.readouterr().err


def test_every_kind_of_run_is_in_every_table(corpus, tmp_path):
    assert SECTIONS.keys() == KINDS.keys() == DESCRIPTIONS.keys() == {run.kind for run in RUNS.values()}
    config = {
        "encoder": {"strides": [2, 1], "channels": 8, "dilations": [1], "outputs": [0, 1]},
        "objective": {"kind": "cpc", "steps": 2},
        "train": {"steps": 2, "batch_size": 4, "crop": 6400, "eval_every": 1},
    }
    train(parse_run(config), corpus, tmp_path / "cpc")
    assert main(["report", str(tmp_path / "cpc"), "--out", str(tmp_path)]) == 0
    text = Reader((tmp_path / "index.html").read_text(encoding="utf-8")).text
    assert "An encoder, causal, trained by itself by cpc: 50 latents per second" in text
    assert "Held-out speech while training" in text


def test_what_is_no_run_is_refused(tmp_path, runs, capsys):
    (tmp_path / "empty").mkdir()
    assert main(["report", str(tmp_path / "empty"), "--out", str(tmp_path / "page")]) == 2
    assert "config.json is missing" in capsys.readouterr().err
    assert main(["report", str(runs["mel"]), "--labels", str(tmp_path), "--out", str(tmp_path / "page")]) == 2
    assert "--labels needs --data" in capsys.readouterr().err
    shutil.copytree(runs["mel"], tmp_path / "run")
    (tmp_path / "run" / "rate.json").write_text("{")
    with pytest.raises(SpeechVQError, match=r"rate.json: not JSON"):
        read_runs([tmp_path / "run"])


def test_figures_of_another_model_are_marked(folders, runs, tmp_path):
    """A result names the files of the model that it was measured of."""
    folder = tmp_path / "run"
    shutil.copytree(folders["model"], folder)
    assert read_runs([folder])[0].foreign == []
    for name in ("model.safetensors", "config.json"):
        (folder / name).write_bytes((runs["wavenet"] / name).read_bytes())
    old = json.loads((folder / "rate.json").read_text())
    del old["made_by"]["model"]  # as an earlier version saved it: nothing is known
    (folder / "rate.json").write_text(json.dumps(old))
    assert read_runs([folder])[0].foreign == ["conversion", "phonemes"]
    assert main(["report", str(folder), "--out", str(tmp_path / "page")]) == 0
    text = Reader((tmp_path / "page" / "index.html").read_text(encoding="utf-8")).text
    for question in ("conversion", "phonemes"):
        assert f"The figures of {question} were measured of another model" in text


def test_spectrograms_of_conversions_are_drawn(page):
    [first, *_] = [one["alt"] for one in Reader(page.read_text(encoding="utf-8")).all("img")]
    assert first.startswith("Spectrograms (original, reconstruction, as ")


def test_runs_of_one_name_are_told_apart(runs, tmp_path):
    for parent in ("a", "b"):
        shutil.copytree(runs["mel"], tmp_path / parent / "mel")
    assert [run.name for run in read_runs([tmp_path / "a" / "mel", tmp_path / "b" / "mel"])] == ["a/mel", "b/mel"]


def opened(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGBA")).astype(int)


def test_pictures_show_what_they_are_given():
    """A tone is a bright line at its height; other phones and other codes are another picture."""
    time = torch.arange(16_000) / 16_000
    wav = 0.5 * torch.sin(2 * torch.pi * 4000 * time)
    phones = [Segment(0, 0.5, "aa"), Segment(0.5, 1, "s")]
    picture = opened(spectrograms({"original": wav}, [1] * 50, 320, phones))
    red = picture[..., 0] * (picture[..., 3] > 0)
    bright = np.flatnonzero((red > 200).sum(1) > 0.5 * picture.shape[1])
    top, bottom = (np.flatnonzero((picture[..., :3].sum(2) < 30).sum(1) > 0.5 * picture.shape[1])[[0, -1]]).tolist()
    assert (bright.mean() - top) / (bottom - top) == pytest.approx(0.5, abs=0.03)
    other = opened(spectrograms({"original": wav}, [2] * 50, 320, phones))
    assert (picture != other).any()
    assert opened(spectrograms({"original": wav}, [1] * 50, 320, [])).shape[0] < picture.shape[0]


@pytest.mark.parametrize(("codes", "inches"), [(16, 0.16 * 16), (400, 0.16 * 400), (4096, 6.8)])
def test_heat_maps_of_any_number_of_codes(codes, inches, tmp_path):
    """Columns of codes are as wide as their names; of thousands, the picture fits a screen."""
    counts = np.random.default_rng(0).integers(1, 9, (codes, 3))
    draw_heat_maps(SimpleNamespace(confusion=np.eye(3), contingency=counts, phones=["aa", "s", "t"]), tmp_path)
    picture = opened((tmp_path / "codes.png").read_bytes())
    assert picture.shape[1] == pytest.approx(120 * (2.5 + inches), abs=1)
    assert opened((tmp_path / "confusion.png").read_bytes()).shape[1] < 400


def test_curve_and_usage_draw_any_run():
    log = [{"step": 0, "loss": 90.0}, {"step": 5, "loss": 3.0, "perplexity": 2.0}, {"step": 9, "loss": 2.0}]
    assert (opened(curve(log, "loss")) != opened(curve(log, "perplexity"))).any()
    assert opened(curve(log[:1], "loss")).shape == opened(curve(log, "loss")).shape
    assert (opened(usage(np.array([5, 0, 1]))) != opened(usage(np.array([2, 2, 2])))).any()


@pytest.fixture(scope="module")
def browser():
    with chromium() as started:
        yield started


@pytest.mark.parametrize(("name", "width", "scheme"), [("phone", 390, "dark"), ("desktop", 1280, "light")])
def test_in_a_browser(page, browser, name, width, scheme):
    """Players load and are as long as their recordings; nothing is asked of a network; nothing is wide of the screen;
    axe finds nothing serious. Screenshots are kept in test-artefacts/."""
    view = browser.new_page(viewport={"width": width, "height": 844}, color_scheme=scheme)
    said, asked = [], []
    view.on("console", lambda message: said.append(message.text))
    view.on("pageerror", lambda error: said.append(str(error)))
    view.on("request", lambda request: asked.append(request.url))
    view.goto(page.as_uri())
    view.wait_for_function("[...document.querySelectorAll('audio')].every(one => one.readyState > 0 || one.error)")
    players = view.evaluate("[...document.querySelectorAll('audio')].map(one => [one.duration, one.dataset.seconds])")
    assert len(players) == 8
    for duration, seconds in players:
        assert duration == pytest.approx(float(seconds), abs=1e-3)
    assert [url for url in asked if not url.startswith(("file:", "data:"))] == []
    assert said == []
    assert view.evaluate("document.documentElement.scrollWidth") <= width
    assert serious(view) == []
    view.screenshot(path=artefact(f"report-{name}.png"), full_page=True)
    view.close()


def test_with_the_keyboard_alone(page, browser):
    """Tab reaches the link past the header, every run, every player and every folded text."""
    view = browser.new_page()
    view.goto(page.as_uri())
    reached = set()
    for _ in range(400):
        view.keyboard.press("Tab")
        reached.add(view.evaluate("[...document.querySelectorAll('*')].indexOf(document.activeElement)"))
    for kind in ("a", "audio", "summary"):
        indices = view.evaluate(f"""[...document.querySelectorAll('{kind}')].map(
            one => [...document.querySelectorAll('*')].indexOf(one))""")
        assert indices
        assert set(indices) <= reached, kind
    assert view.inner_text(".skip") == "Skip to the results"
    view.close()

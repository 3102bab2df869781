"""The page in a browser: an upload, a microphone, all by keyboard; screenshots are kept in test-artefacts/."""

import json
import re
import threading
import time

import numpy as np
import pytest
import soundfile
from browsers import ARTEFACTS, chromium, serious
from conftest import speech

from speechvq.codec import Codec
from speechvq.folder.card import model_folder
from speechvq.serve.server import LocalServer
from speechvq.serve.studio import Studio

MODEL = "convert-50hz"  # the packaged model of `speechvq serve`
PATIENCE = 240_000  # ms, on a busy machine


@pytest.fixture(scope="module")
def vowels(tmp_path_factory):
    """A wav file at 48 kHz of 1.2 s."""
    path = tmp_path_factory.mktemp("vowels") / "vowels.wav"
    wav = speech(150, [0, 1, 2, 3, 1, 0, 2, 3], np.random.default_rng(0))
    soundfile.write(path, np.repeat(wav, 3), 48_000)
    return path


@pytest.fixture(scope="module")
def studio():
    return Studio(Codec.load(MODEL), model_folder(MODEL))


@pytest.fixture(scope="module")
def url(studio):
    server = LocalServer(studio, 0)
    thread = threading.Thread(target=server.run)
    thread.start()
    yield server.url
    server.stop()
    thread.join()


@pytest.fixture(scope="module")
def browser(vowels):
    """With a microphone that hears the vowels."""
    flags = ("--use-fake-device-for-media-stream", f"--use-file-for-fake-audio-capture={vowels}")
    with chromium(*flags) as started:
        yield started


@pytest.fixture
def open_page(browser, url):
    """Opens the page -> the view; at the end, nothing was asked of a network, and the console is empty."""
    said, asked, contexts = [], [], []

    def opening(width: int = 1280, scheme: str = "light", microphone: bool = False):
        context = browser.new_context(viewport={"width": width, "height": 844}, color_scheme=scheme)
        context.set_default_timeout(PATIENCE)
        if microphone:
            context.grant_permissions(["microphone"])
        view = context.new_page()
        view.on("console", lambda message: said.append(message.text))
        view.on("pageerror", lambda error: said.append(str(error)))
        view.on("request", lambda request: asked.append(request.url))
        view.goto(url)
        view.locator(".voice").first.wait_for()
        contexts.append(context)
        return view

    yield opening
    for context in contexts:
        context.close()
    assert [address for address in asked if not address.startswith((url, "data:", "blob:"))] == []
    assert [text for text in said if "the server responded with a status of 4" not in text] == []


def upload(view, path) -> None:
    view.set_input_files("#file", path)
    view.locator("#status", has_text="Another?").wait_for()


def drawn(view, row: str) -> int:
    """The number of different colours in a canvas."""
    return view.evaluate(
        """row => { const canvas = document.querySelector(`canvas[data-row=${row}]`);
        const data = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
        return new Set(new Uint32Array(data.buffer)).size }""",
        row,
    )


@pytest.mark.parametrize(("name", "width", "scheme"), [("phone", 390, "dark"), ("desktop", 1280, "light")])
def test_an_upload_is_seen(open_page, vowels, name, width, scheme):
    view = open_page(width, scheme)
    assert serious(view) == []
    upload(view, vowels)
    view.fill("#position", "0.5")
    assert re.fullmatch(r"At 0.50 s: code \d+, [\d.]+ bits", view.inner_text("#here"))
    for row in ("original", "reconstruction", "conversion", "codes"):
        assert drawn(view, row) > 20, row
    assert drawn(view, "bits") > 2
    assert view.evaluate("document.documentElement.scrollWidth") <= width
    assert (
        view.evaluate("[...document.querySelectorAll('canvas')].map(one => one.getBoundingClientRect().left)")
        == [pytest.approx(view.evaluate("document.querySelector('canvas').getBoundingClientRect().left"))] * 6
    )  # one time axis
    assert serious(view) == []
    view.evaluate("window.scrollTo(0, 0)")
    ARTEFACTS.mkdir(exist_ok=True)
    view.screenshot(path=ARTEFACTS / f"serve-{name}.png", full_page=True)


def test_a_recording_is_what_the_microphone_hears(open_page, studio, vowels):
    view = open_page(microphone=True)
    view.click("#record")
    view.locator("#status", has_text=re.compile(r"Recording: 1\.[3-9]|Recording: [2-9]")).wait_for()
    assert view.inner_text("#record") == "Stop"
    view.click("#record")
    view.locator("#status", has_text="Another?").wait_for()
    key = view.get_attribute("#get-wav", "href").split("/")[3]
    wav = studio.recording(key).wav.numpy()
    source = soundfile.read(vowels)[0][::3][:8_000]  # half a second of what the device repeats
    match = np.correlate(wav, source, "valid") / np.linalg.norm(source)
    energy = np.sqrt(np.convolve(wav**2, np.ones(len(source)), "valid"))
    assert (match / np.maximum(energy, 1e-6)).max() > 0.8


def test_without_leave_for_the_microphone_a_sentence_says_so(open_page):
    view = open_page()
    view.click("#record")
    alert = view.get_by_role("alert")
    alert.wait_for()
    assert "microphone" in alert.inner_text()
    assert view.inner_text("#record") == "Record"


def test_a_file_that_is_no_audio_is_a_sentence(open_page, tmp_path, vowels):
    (tmp_path / "notes.txt").write_text("no audio")
    view = open_page()
    view.set_input_files("#file", tmp_path / "notes.txt")
    alert = view.get_by_role("alert")
    alert.wait_for()
    assert alert.inner_text() == "Notes.txt: not audio that can be read (Format not recognised)."
    upload(view, vowels)
    assert not alert.is_visible()


def test_with_the_keyboard_alone(open_page, vowels, studio, tmp_path):
    """Tab reaches everything; arrows choose voices and tracks; space plays; enter downloads."""
    view = open_page()
    upload(view, vowels)
    reached = []
    view.keyboard.press("Tab")
    assert view.evaluate("document.activeElement.textContent") == "Skip to recording"
    for _ in range(60):
        reached.append(view.evaluate("document.activeElement.id || document.activeElement.name"))
        view.keyboard.press("Tab")
    wanted = {"record", "file", "voice", "play", "track", "position", "zoom-out", "zoom-in", "get-wav", "get-codes"}
    assert wanted <= set(reached)

    view.focus("input[name=voice]:checked")
    view.keyboard.press("ArrowDown")
    voice = view.evaluate("document.querySelector('input[name=voice]:checked').value")
    view.locator("#name-conversion", has_text=re.compile(f"^as {voice}$")).wait_for()
    assert voice in view.get_attribute("#get-wav", "href")

    view.focus("#play")
    view.keyboard.press("Space")
    view.locator("#time", has_text=re.compile("^0.[3-9]")).wait_for()  # it plays
    assert view.get_attribute("#play", "aria-label") == "Pause"
    view.keyboard.press("Space")
    view.focus("input[name=track]:checked")
    view.keyboard.press("ArrowUp")
    assert view.evaluate("document.querySelector('input[name=track]:checked').value") == "reconstruction"
    view.focus("#position")
    view.keyboard.press("Home")
    view.keyboard.press("ArrowRight")
    assert view.inner_text("#time").startswith("0.01 /")

    for link, suffix in (("#get-wav", f"vowels-as-{voice}.wav"), ("#get-codes", "vowels.svq")):
        view.focus(link)
        with view.expect_download() as download:
            view.keyboard.press("Enter")
        assert download.value.suggested_filename == suffix
        download.value.save_as(tmp_path / suffix)
    assert soundfile.info(tmp_path / f"vowels-as-{voice}.wav").frames == len(soundfile.read(vowels)[0]) // 3


def test_the_samples_of_voices_are_heard(open_page, studio):
    """A model without a sample sentence offers none."""
    view = open_page()
    buttons = view.locator(".voice button")
    assert buttons.count() == (len(studio.codec.speakers) if studio.describe()["has_samples"] else 0)
    if not buttons.count():
        pytest.skip("the packaged model has no sample sentence (sample.svq)")
    shape = buttons.first.locator("path")
    before = shape.get_attribute("d")
    buttons.first.click()
    deadline = time.monotonic() + PATIENCE / 1000
    while shape.get_attribute("d") == before and time.monotonic() < deadline:
        time.sleep(0.05)
    assert shape.get_attribute("d") != before


def test_another_site_cannot_use_the_server(browser, url, tmp_path):
    """A page of another origin asks, and gets nothing; the server is there nevertheless."""
    (tmp_path / "index.html").write_text("<!DOCTYPE html><title>another</title>")
    context = browser.new_context()
    view = context.new_page()
    view.goto((tmp_path / "index.html").as_uri())
    asking = "url => fetch(url + 'api/model', {MODE}).then(answer => answer.status, error => error.name)"
    assert view.evaluate(asking.replace("{MODE}", "{}"), url) == "TypeError"
    assert view.evaluate(asking.replace("{MODE}", "{mode: 'no-cors'}"), url) in (0, "TypeError")  # opaque
    view.goto(url)
    assert json.loads(view.evaluate("fetch('/api/model').then(answer => answer.text())"))["model"] == MODEL
    context.close()

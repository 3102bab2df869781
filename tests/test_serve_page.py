"""The page in a browser: an upload, a microphone, all by keyboard; screenshots are kept in test-artefacts/."""

import json
import re
import time

import pytest
import soundfile
from browsers import PATIENCE, alert_text, artefact, heard, serious
from conftest import PACKAGED


def upload(view, path) -> None:
    view.set_input_files("#file", path)
    view.locator("#status", has_text="Another?").wait_for()


def drawn(view, row: str) -> int:
    """The number of different colours in a canvas."""
    return view.evaluate(
        """row => { const canvas = document.querySelector(`canvas[data-row=${row}]`);
        const copy = new OffscreenCanvas(canvas.width, canvas.height).getContext('2d', {willReadFrequently: true});
        copy.drawImage(canvas, 0, 0);
        const data = copy.getImageData(0, 0, canvas.width, canvas.height).data;
        return new Set(new Uint32Array(data.buffer)).size }""",
        row,
    )


@pytest.mark.parametrize(("name", "width"), [("phone", 390), ("desktop", 1280)])
def test_an_upload_is_seen(open_page, vowels, name, width):
    view = open_page(width)
    assert serious(view) == []
    upload(view, vowels)
    view.fill("#position", "0.5")
    assert re.fullmatch(r"At 0.50 s: code \d+, [\d.]+ bits", view.inner_text("#here"))
    lefts = view.evaluate("[...document.querySelectorAll('canvas')].map(one => one.getBoundingClientRect().left)")
    assert lefts == [pytest.approx(lefts[0])] * 6  # one time axis
    for scheme in ("light", "dark"):
        view.emulate_media(color_scheme=scheme)
        for row in ("original", "reconstruction", "conversion", "codes"):
            assert drawn(view, row) > 20, row
        assert drawn(view, "bits") > 2
        assert view.evaluate("document.documentElement.scrollWidth") <= width
        assert serious(view) == []
        view.evaluate("window.scrollTo(0, 0)")
        view.screenshot(path=artefact(f"serve-{name}-{scheme}.png"), full_page=True)
    view.click("#zoom-in")
    view.click("#more summary")
    assert view.evaluate("document.documentElement.scrollWidth") <= width
    assert serious(view) == []
    view.screenshot(path=artefact(f"serve-{name}-zoom.png"), full_page=True)


def test_a_recording_is_what_the_microphone_hears(open_page, studio, vowels):
    view = open_page(microphone=True)
    view.click("#record")
    view.locator("#counter", has_text=re.compile(r"^(1\.[3-9]|[2-9])")).wait_for()
    assert view.inner_text("#status") == "Recording"
    assert view.inner_text("#record") == "Stop"
    view.click("#record")
    view.locator("#status", has_text="Another?").wait_for()
    key = view.get_attribute("#get-wav", "href").split("/")[3]
    wav = studio.recording(key).wav.numpy()
    assert heard(wav, vowels, 16_000)


def test_without_leave_for_the_microphone_a_sentence_says_so(open_page):
    view = open_page()
    view.click("#record")
    assert "microphone" in alert_text(view)
    assert view.inner_text("#record") == "Record"


def test_a_file_that_is_no_audio_is_a_sentence(open_page, tmp_path, vowels):
    (tmp_path / "notes.txt").write_text("no audio")
    view = open_page()
    view.set_input_files("#file", tmp_path / "notes.txt")
    alert = view.get_by_role("alert")
    alert.wait_for()
    assert alert.inner_text() == "“notes.txt”: not audio that can be read (Format not recognised)."
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
    wanted |= {"live"} if studio.describe()["live"] else set()
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
    assert json.loads(view.evaluate("fetch('/api/model').then(answer => answer.text())"))["model"] == PACKAGED
    context.close()

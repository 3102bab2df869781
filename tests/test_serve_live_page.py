"""Live conversion in a browser that has a microphone; screenshots are kept in test-artefacts/."""

import re
import threading
import time
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest
from browsers import PATIENCE, alert_text, artefact, heard, serious

from speechvq.serve.live import LiveStream
from speechvq.serve.server import LocalServer


class Conversation:
    """The messages of the WebSocket that a page opened last."""

    def __init__(self, view) -> None:
        self.query, self.sent, self.came = {}, [], []
        view.on("websocket", self._listen)

    def _listen(self, socket) -> None:
        self.query = parse_qs(urlsplit(socket.url).query)
        self.sent, self.came = sent, came = [], []
        socket.on("framesent", lambda message: sent.append(message))
        socket.on("framereceived", lambda message: came.append(message))


def go_live(view) -> Conversation:
    """Speak live until the page says how much later; when the machine is too busy, again."""
    conversation, deadline = Conversation(view), time.monotonic() + PATIENCE / 1000
    latency, alert = view.locator("#counter", has_text="ms later"), view.get_by_role("alert")
    while time.monotonic() < deadline:
        view.click("#live")
        latency.or_(alert).first.wait_for()
        if not alert.is_visible():
            return conversation
        assert "too busy" in alert.inner_text()
    pytest.fail("too busy for live conversion")


@pytest.fixture
def live(studio):
    if not studio.describe()["live"]:
        pytest.skip("the packaged model does not convert in a stream")


NO_RESAMPLING = """const create = AudioContext.prototype.createMediaStreamSource;
AudioContext.prototype.createMediaStreamSource = function (stream) {
  if (this.sampleRate === 16000) throw new DOMException("another rate", "NotSupportedError");
  return create.call(this, stream);
}"""  # as Firefox


@pytest.mark.parametrize("resampling", ["by the browser", "by the server"])
def test_speech_is_converted_live(open_page, studio, vowels, live, resampling):
    """What comes back is the stream of what the microphone hears; the page says how much later."""
    view = open_page(microphone=True, script=NO_RESAMPLING if resampling == "by the server" else "")
    conversation = go_live(view)
    latency = re.compile(r"^(\d+) ms later; (\d+) ms of that by the model$")
    all_of_it, of_the_model = map(int, latency.match(view.inner_text("#counter")).groups())
    voice = view.evaluate("document.querySelector('input[name=voice]:checked').value")
    assert view.inner_text("#status") == f"Live as {voice}. Use headphones."
    assert all_of_it > of_the_model
    assert of_the_model == pytest.approx(1000 * LiveStream(studio.codec, voice, 16_000).latency, abs=0.5)
    assert view.is_disabled("#record")
    view.screenshot(path=artefact("serve-live-desktop.png"))
    view.click("#live")
    assert view.inner_text("#live") == "Speak live"
    assert view.inner_text("#counter") == ""

    rate = int(conversation.query["rate"][0])
    assert (rate == 16_000) == (resampling == "by the browser")
    came, stream = b"".join(conversation.came[1:]), LiveStream(studio.codec, voice, rate)
    assert b"".join(map(stream.push, conversation.sent)).startswith(came)
    assert np.abs(np.frombuffer(came, "<f4")).max() > 0.01
    assert heard(np.frombuffer(b"".join(conversation.sent), "<f4"), vowels, rate)


def test_live_goes_on_with_another_voice(open_page, studio, live):
    view = open_page(390, "dark", microphone=True)
    conversation = go_live(view)
    view.focus("input[name=voice]:checked")
    view.keyboard.press("ArrowDown")
    voice = view.evaluate("document.querySelector('input[name=voice]:checked').value")
    assert view.inner_text("#status") == f"Live as {voice}. Use headphones."
    assert view.inner_text("#counter") == "…"
    view.locator("#counter", has_text="ms later").or_(view.get_by_role("alert")).first.wait_for()
    assert conversation.query["voice"] == [voice]
    assert serious(view) == []
    view.screenshot(path=artefact("serve-live-phone.png"))


SLOW_LEAVE = """const ask = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
const asked = new Promise((resolve) => { window.allow = resolve; });
navigator.mediaDevices.getUserMedia = async (wanted) => { await asked; return ask(wanted); };"""


def test_the_voice_that_is_chosen_while_the_microphone_opens_is_spoken(open_page, studio, live):
    view = open_page(microphone=True, script=SLOW_LEAVE)
    conversation = Conversation(view)
    view.click("#live")
    view.focus("input[name=voice]:checked")
    view.keyboard.press("ArrowDown")
    voice = view.evaluate("document.querySelector('input[name=voice]:checked').value")
    view.evaluate("window.allow()")
    view.locator("#counter", has_text="ms later").or_(view.get_by_role("alert")).first.wait_for()
    assert conversation.query["voice"] == [voice]
    assert view.inner_text("#status") in (f"Live as {voice}. Use headphones.", "or drop a file here")


def test_live_ends_with_the_server(open_page, studio, live):
    server = LocalServer(studio, 0)
    thread = threading.Thread(target=server.run)
    thread.start()
    view = open_page(microphone=True, address=server.url)
    go_live(view)
    server.stop()
    thread.join()
    assert alert_text(view) == "speechvq does not answer: is it still running in its terminal?"
    assert view.inner_text("#live") == "Speak live"


QUEUE = """async () => {
  const context = new AudioContext({ sampleRate: 16000 });
  await context.audioWorklet.addModule("/page/worklet.js");
  const queue = new AudioWorkletNode(context, "queue", { numberOfInputs: 0, processorOptions: { cushion: 0.06 } });
  queue.connect(context.destination);
  const counts = [];
  const news = new Promise((resolve) => {
    queue.port.onmessage = ({ data }) => {
      counts.push(data.samples);
      if (data.samples === 48000) resolve(counts);
    };
  });
  queue.port.postMessage(new Float32Array(48000));
  await context.resume();
  return news;
}"""


def test_a_delay_is_caught_up(open_page):
    """Of three seconds that come at once, all but half the cushion are left out, and the rest is played."""
    view = open_page()
    view.click("h1")  # a page may not play before
    assert 48_000 - 480 in view.evaluate(QUEUE)


def test_live_needs_leave_for_the_microphone(open_page, live):
    view = open_page()
    view.click("#live")
    assert "microphone" in alert_text(view)
    assert view.inner_text("#live") == "Speak live"

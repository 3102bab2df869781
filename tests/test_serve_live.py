"""Live conversion over a WebSocket: the same samples as the codec's stream, and what it refuses."""

import json
from pathlib import Path

import numpy as np
import pytest
from conftest import speech

from speechvq import SpeechVQError
from speechvq.codec import Codec
from speechvq.serve import live
from speechvq.serve.studio import Studio

connect = pytest.importorskip("websockets.sync.client").connect
exceptions = pytest.importorskip("websockets.exceptions")
GOLDEN = Path(__file__).parent / "golden/models"


@pytest.fixture(scope="module")
def codec(studio) -> Codec:
    return studio.codec


@pytest.fixture(scope="module")
def address(url):
    return url.replace("http", "ws") + "api/live"


def test_samples_are_those_of_the_stream(address, codec):
    wav, voice = speech(150, [0, 1, 2, 3, 1, 0], np.random.default_rng(0)), codec.speakers[0]
    with connect(f"{address}?voice={voice}&rate=16000") as socket:
        latency = json.loads(socket.recv())["latency"]
        got = []
        for piece in np.split(wav, range(700, len(wav), 700)):
            socket.send(piece.astype("<f4").tobytes())
            got.append(np.frombuffer(socket.recv(timeout=120), "<f4"))
    stream = live.live_streamer(codec, voice, 16_000)
    assert latency == stream.latency / 16_000
    expected = stream.push(wav).numpy()
    assert (np.concatenate(got) == expected).all()
    assert 0 < len(wav) - len(expected) <= stream.latency


def test_live_speech_waits_for_as_many_codes_as_200_ms_allow(codec):
    """By the stated latency of streams that wait for any number of codes, down to the shortest."""
    voice, whole = codec.speakers[0], codec.streamer(codec.speakers[0])
    stated = [codec.streamer(voice, lookahead=number).latency / 16_000 for number in range(whole.lookahead + 1)]
    assert stated == sorted({*stated})
    for longest in (live.MAX_LATENCY, *stated, stated[-1] - 1e-4, 1.0, 0.0):
        number = max((number for number, one in enumerate(stated) if one <= longest), default=0)
        stream = live.live_streamer(codec, voice, 16_000, longest)
        assert (stream.lookahead, stream.latency / 16_000) == (number, stated[number])
    assert live.MAX_LATENCY == 0.2
    stream = live.LiveStream(codec, voice, 48_000)
    assert stream.latency == live.live_streamer(codec, voice, 48_000).latency / 16_000 <= max(0.2, stated[0])
    assert codec.streamer(voice).latency == whole.latency == round(16_000 * stated[-1])  # as for a whole file


def test_another_rate_comes_back_at_that_rate(codec):
    stream = live.LiveStream(codec, codec.speakers[0], 48_000)
    wav = np.repeat(speech(150, [0, 1, 2, 3, 1, 0], np.random.default_rng(0)), 3)
    got = np.frombuffer(b"".join(stream.push(piece.tobytes()) for piece in np.split(wav, 12)), "<f4")
    assert len(wav) - len(got) == pytest.approx(stream.latency * 48_000, abs=4_000)  # and that of resampling
    assert np.abs(got).max() > 0.01


@pytest.mark.parametrize(
    ("query", "data", "error"),
    [
        ("voice=nobody&rate=16000", None, "Unknown speaker 'nobody'"),
        ("rate=16000", None, "Unknown speaker ''"),
        ("voice={}", None, "Live conversion needs the rate of its samples."),
        ("voice={}&rate=-1", None, "Live conversion needs the rate of its samples."),
        ("voice={}&rate=" + 5000 * "9", None, "Live conversion needs the rate of its samples."),
        ("voice={}&rate=0", None, "Audio: a sample rate of 0 Hz; those of recordings are"),
        ("voice={}&rate=16000", "words", "A message is float32 samples, of 2 s at most."),
        ("voice={}&rate=16000", b"abc", "A message is float32 samples, of 2 s at most."),
        ("voice={}&rate=16000", b"\0" * 4 * 32_001, "A message is float32 samples, of 2 s at most."),
        ("voice={}&rate=16000", np.full(4, np.nan, "<f4").tobytes(), "A stream takes finite samples"),
    ],
)
def test_what_cannot_be_converted_is_a_sentence(address, codec, query, data, error):
    with connect(f"{address}?{query.format(codec.speakers[0])}") as socket:
        if data is not None:
            assert "latency" in json.loads(socket.recv())
            socket.send(data)
        said = json.loads(socket.recv())["error"]
    assert said.startswith(error)
    assert said.endswith(".")


def test_it_ends_after_a_while(codec, monkeypatch):
    monkeypatch.setattr(live, "MAX_LIVE_SECONDS", 1)
    stream = live.LiveStream(codec, codec.speakers[0], 16_000)
    stream.push(bytes(4 * 16_000))
    with pytest.raises(SpeechVQError, match="ends after an hour"):
        stream.push(bytes(4))


def test_a_model_that_does_not_stream_says_so():
    codec = Codec.load(GOLDEN / "mel")
    assert not Studio(codec, GOLDEN / "mel").describe()["live"]
    with pytest.raises(SpeechVQError, match="band_wavenet decoders decode in a stream"):
        live.LiveStream(codec, codec.speakers[0], 16_000)


@pytest.mark.parametrize("headers", [{"Origin": "https://attacker.example"}, {"Sec-Fetch-Site": "cross-site"}])
def test_another_web_page_is_refused(address, codec, headers):
    with pytest.raises(exceptions.InvalidStatus, match="403"):
        connect(f"{address}?voice={codec.speakers[0]}&rate=16000", additional_headers=headers)

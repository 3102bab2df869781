"""The server of the page: what it answers, and whom it refuses."""

import io
import json
import signal
import subprocess
import sys
import threading
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
import torch
from conftest import speech

from speechvq import SpeechVQError
from speechvq.audio.io import read
from speechvq.cli import main
from speechvq.codec import Codec
from speechvq.coding.code_files import CodeFiles
from speechvq.coding.header import read_header
from speechvq.serve import app
from speechvq.serve.server import LocalServer
from speechvq.serve.studio import MAX_RECORDINGS, SAMPLE_FILE, Studio

MODEL = Path(__file__).parent / "golden/models/mel"


@pytest.fixture(scope="module")
def codec() -> Codec:
    return Codec.load(MODEL)


@pytest.fixture(scope="module")
def recording(tmp_path_factory) -> Path:
    """A .wav file at 16 kHz, whose length is no whole number of codes."""
    path = tmp_path_factory.mktemp("recording") / "vowels & more.wav"
    soundfile.write(path, speech(150, [0, 1, 2, 3, 1], np.random.default_rng(0))[:-77], 16_000)
    return path


@pytest.fixture(scope="module")
def studio(codec, recording, tmp_path_factory) -> Studio:
    """With a sample sentence."""
    folder = tmp_path_factory.mktemp("model")
    files = CodeFiles(codec)
    files.write(folder / SAMPLE_FILE, codec.encode_file(recording), files.coder())
    return Studio(codec, folder)


@pytest.fixture(scope="module")
def server(studio):
    started = LocalServer(studio, 0)
    thread = threading.Thread(target=started.run)
    thread.start()
    yield started
    started.stop()
    thread.join()


@pytest.fixture
def ask(server):
    """Asks an address -> status, headers and body (an object, if it is JSON)."""

    def asking(address: str, body: bytes | None = None, **headers: str) -> SimpleNamespace:
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        request = urllib.request.Request(server.url + address, body, given)
        try:
            answer = urllib.request.urlopen(request, timeout=120)
        except urllib.error.HTTPError as error:
            answer = error
        data = answer.read()
        is_json = answer.headers["Content-Type"] == "application/json"
        return SimpleNamespace(status=answer.status, headers=answer.headers, body=json.loads(data) if is_json else data)

    return asking


@pytest.fixture
def added(ask, recording):
    name = urllib.parse.quote(recording.name)
    answer = ask(f"api/recordings?name={name}", recording.read_bytes())
    assert answer.status == 200
    return answer.body


def played(data: bytes) -> np.ndarray:
    wav, rate = soundfile.read(io.BytesIO(data), dtype="int16")
    assert rate == 16_000
    return wav


def as_pcm(wav: torch.Tensor) -> np.ndarray:
    stream = io.BytesIO()
    soundfile.write(stream, wav.clamp(-1, 1).numpy(), 16_000, "PCM_16", format="WAV")
    return played(stream.getvalue())


def test_codes_and_speech_are_those_of_the_codec(ask, added, codec, recording):
    wav = read(recording)
    codes = codec.encode(wav, 16_000)
    assert added["codes"] == codes.tolist()
    assert added["name"] == "vowels & more"
    assert added["seconds"] == len(wav) / 16_000
    key = added["key"]
    assert (played(ask(f"api/recordings/{key}/wav").body) == as_pcm(wav)).all()
    for voice in codec.speakers:
        answer = ask(f"api/recordings/{key}/wav?voice={voice}")
        assert (played(answer.body) == as_pcm(codec.convert(wav, 16_000, voice))).all()
        assert f"vowels%20%26%20more-as-{voice}.wav" in answer.headers["Content-Disposition"]


def test_a_downloaded_file_of_codes_is_decoded_to_the_conversion(ask, added, tmp_path):
    answer = ask(f"api/recordings/{added['key']}/codes?voice=low")
    (tmp_path / "codes.svq").write_bytes(answer.body)
    command = ["decode", str(tmp_path / "codes.svq"), str(tmp_path / "out.wav"), "--model", str(MODEL)]
    assert main(command) == 0
    conversion = played(ask(f"api/recordings/{added['key']}/wav?voice=low").body)
    assert (played((tmp_path / "out.wav").read_bytes()) == conversion).all()
    assert len(answer.body) == added["bytes"] + len("low")


def test_bits_of_codes_add_up_to_the_file(ask, added):
    header = read_header(ask(f"api/recordings/{added['key']}/codes").body)
    paid = 8 * sum(chunk.size for chunk in header.chunks)
    assert 0 <= paid - sum(added["bits"]) < 64  # the entropy coder ends with whole words


def test_a_spectrogram_is_bright_where_the_tone_is(studio):
    time = torch.arange(16_000) / 16_000
    levels = [np.frombuffer(studio.spectrogram(torch.sin(2 * torch.pi * f * time)), np.uint8) for f in (500, 3000)]
    low, high = (level.reshape(80, 100)[:, 5:-5] for level in levels)
    assert (low.argmax(0) == low[:, 50].argmax()).all()
    assert levels[0].max() == levels[1].max() == 255  # the loudest frame of each
    assert low[:, 50].argmax() < high[:, 50].argmax()


def test_the_nearest_voice_is_the_one_that_sounds_the_same(studio, recording):
    wav = read(recording)
    others = {name: torch.from_numpy(speech(pitch, [2, 0, 3, 1, 0], np.random.default_rng(1)))[: len(wav)]
              for name, pitch in (("low", 90), ("high", 230))}  # fmt: skip
    assert studio._nearest(wav, others | {"mid": 0.3 * wav}) == "mid"


def test_samples_of_voices_are_decoded_once_from_the_sentence(ask, studio, codec, recording):
    assert ask("api/model").body["has_samples"]
    wav = codec.convert(read(recording), 16_000, "high")
    assert (played(ask("api/samples/high").body) == as_pcm(wav)).all()
    assert studio.sample("high") is studio.sample("high")
    assert ask("api/samples/nobody").body["error"].startswith("Unknown speaker 'nobody'; ")


def test_without_a_sentence_of_this_model_there_are_no_samples(codec, tmp_path):
    for folder in (tmp_path, tmp_path / "other"):
        folder.mkdir(exist_ok=True)
    (tmp_path / "other" / SAMPLE_FILE).write_bytes((MODEL.parents[1] / "prior.svq").read_bytes())
    for folder in (tmp_path, tmp_path / "other"):
        studio = Studio(codec, folder)
        assert not studio.describe()["has_samples"]
        with pytest.raises(SpeechVQError, match="no sample sentence"):
            studio.sample("low")


def test_the_oldest_recordings_are_forgotten(ask, added, recording):
    for _ in range(MAX_RECORDINGS):
        ask("api/recordings?name=a.wav", recording.read_bytes())
    answer = ask(f"api/recordings/{added['key']}/wav")
    assert answer.status == 404
    assert answer.body == {"error": "This recording is no longer kept: record or upload it again."}


def wav_file(wav: np.ndarray, rate: int) -> bytes:
    stream = io.BytesIO()
    soundfile.write(stream, wav, rate, format="WAV")
    return stream.getvalue()


@pytest.mark.parametrize(
    ("body", "status", "sentence"),
    [
        (b"no audio at all", 422, "“my file.wav”: not audio that can be read (Format not recognised)."),
        (b"", 422, "“my file.wav”: not audio"),
        (wav_file(np.zeros(8000), 16_000), 422, "“my file.wav” is silent: check the microphone, or choose another"),
        (wav_file(np.full(61 * 1000, 0.1), 1000), 422, "“my file.wav” is longer than 60 s; cut it, or use"),
        (b"x" * 3000, 413, "“my file.wav” is larger than 0 MB: cut it."),
    ],
    ids=["no audio", "nothing", "silent", "long", "large"],
)
def test_what_cannot_be_used_is_a_sentence(ask, monkeypatch, body, status, sentence):
    if status == 413:
        monkeypatch.setattr(app, "MAX_BYTES", 2000)
    answer = ask("api/recordings?name=../my%20file.wav", body)
    assert answer.status == status
    assert answer.body["error"].startswith(sentence)
    assert answer.body["error"].endswith(".")
    assert "/" not in answer.body["error"]


@pytest.mark.parametrize("address", ["api/recordings/x/wav", "api/none", "page/none.js", "page/..%2fstudio.py"])
def test_unknown_addresses_are_sentences(ask, address):
    answer = ask(address)
    assert answer.status == 404
    assert answer.body["error"].endswith(".")


def test_the_page_consists_of_its_own_files(ask):
    page = ask("").body.decode()
    assert "://" not in page
    for path in sorted(app.PAGE.iterdir()):
        answer = ask(f"page/{path.name}")
        assert answer.body == path.read_bytes()
        if path.suffix == ".js":
            assert "://" not in answer.body.decode()
            assert answer.headers["Content-Type"].startswith("text/javascript")


@pytest.mark.parametrize(
    ("headers", "refused"),
    [
        ({}, False),
        ({"Host": "localhost:9000"}, False),  # a forwarded port
        ({"Host": "[::1]:9000"}, False),
        ({"Host": "attacker.example"}, True),  # a domain that resolves to 127.0.0.1
        ({"Host": "127.0.0.1.attacker.example"}, True),
        ({"Host": "[::1"}, True),
        ({"Host": "localhost:9000", "Origin": "http://localhost:9000"}, False),
        ({"Host": "localhost:9000", "Origin": "http://localhost:9001"}, True),  # a page on another port
        ({"Origin": "https://attacker.example"}, True),
        ({"Origin": "null"}, True),
        ({"Sec_Fetch_Site": "same-origin"}, False),
        ({"Sec_Fetch_Site": "cross-site"}, True),
        ({"Sec_Fetch_Site": "same-site"}, True),
    ],
)
def test_other_web_pages_are_refused(ask, headers, refused):
    for body in (None, b"something"):
        address = "api/model" if body is None else "api/recordings"
        answer = ask(address, body, **headers)
        assert (answer.status == 403) is refused
        assert not refused or answer.body["error"].endswith(".")


def test_a_link_from_elsewhere_leads_to_the_page_but_no_frame(ask):
    answer = ask("", Sec_Fetch_Site="cross-site")
    assert answer.status == 200
    assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"]
    assert answer.headers["Cross-Origin-Resource-Policy"] == "same-origin"


def test_a_port_in_use_is_one_line(server, studio):
    port = urllib.parse.urlsplit(server.url).port
    with pytest.raises(SpeechVQError, match=rf"^port {port}: .*choose another \(--port\)$"):
        LocalServer(studio, port)


def test_the_command_serves_until_it_is_interrupted():
    command = [sys.executable, "-m", "speechvq.cli", "serve", "--model", str(MODEL), "--port", "0", "--no-browser"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            url = process.stdout.readline().partition(": ")[0]
            assert json.load(urllib.request.urlopen(f"{url}api/model", timeout=120))["model"] == "mel"
            process.send_signal(signal.SIGINT)
            _, said = process.communicate(timeout=120)
        finally:
            process.kill()
    assert process.returncode == 0
    assert said == ""

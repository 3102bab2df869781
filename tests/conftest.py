"""Fixtures: a small prepared corpus of synthetic speech, a tiny configuration, and the page of `speechvq serve`."""

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from browsers import PATIENCE, chromium
from hypothesis import HealthCheck, settings

from speechvq.codec import Codec
from speechvq.config import CodecRun, InitConfig, PriorRun, WaveNetConfig, WaveNetDecoderConfig
from speechvq.config.parsing import parse
from speechvq.data.corpora.folder import FOLDER
from speechvq.data.manifest import Split, Treatment
from speechvq.data.prepare import prepare
from speechvq.folder.card import model_folder
from speechvq.train.kinds import train

# A busy machine is no failure.
settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")

PACKAGED = "convert-50hz"  # the model of `speechvq serve`
VOICES = {"low": 90.0, "mid": 150.0, "high": 230.0}  # fundamental frequency, Hz
VOWELS = [(300, 2300), (700, 1200), (350, 800), (500, 1800)]  # two formants, Hz
PHONES = ["iy", "aa", "uw", "eh"]  # their labels
VOWEL = 2400  # samples


def speech(pitch: float, vowels: list[int], random: np.random.Generator) -> np.ndarray:
    """Harmonics of `pitch` under the formants of one vowel after another, 16 kHz."""
    time = np.arange(len(vowels) * VOWEL) / 16_000
    phase = 2 * np.pi * pitch * (time + 0.002 * np.sin(2 * np.pi * 3 * time))
    wav = 1e-3 * random.standard_normal(len(time))
    gains = np.repeat(vowels, VOWEL)
    for harmonic in range(1, int(4000 / pitch)):
        by_vowel = [sum(np.exp(-(((harmonic * pitch - f) / 150) ** 2)) for f in vowel) + 0.02 for vowel in VOWELS]
        wav += np.array(by_vowel)[gains] * np.sin(harmonic * phase)
    return (0.1 * wav).astype(np.float32)


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder prepared from 3 voices of 12 utterances each, 0.75 s long."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("corpus")
    random = np.random.default_rng(0)
    for voice, pitch in VOICES.items():
        (source / voice).mkdir()
        for i in range(12):
            wav = speech(pitch, list(random.integers(len(VOWELS), size=5)), random)
            soundfile.write(source / voice / f"{i:02}.wav", wav, 16_000)
    split = Split(valid=0.25, test=0.1, unseen=0.0)
    prepare(FOLDER.read(source), out, Treatment(trim_db=60.0), split, speakers={})
    return out


@pytest.fixture(scope="session")
def vowel_labels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of label files of that corpus, a phone for each vowel."""
    out, random = tmp_path_factory.mktemp("labels"), np.random.default_rng(0)
    for voice, pitch in VOICES.items():
        (out / voice).mkdir()
        for i in range(12):
            vowels = list(random.integers(len(VOWELS), size=5))
            speech(pitch, vowels, random)  # the same random numbers follow
            times = [(n * 1_500_000, (n + 1) * 1_500_000, PHONES[vowel]) for n, vowel in enumerate(vowels)]  # 100 ns
            (out / voice / f"{i:02}.lab").write_text("".join(f"{start} {end} {phone}\n" for start, end, phone in times))
    return out


@pytest.fixture(scope="session")
def tiny() -> CodecRun:
    """A mel codec of 50 codes a second that trains in milliseconds a step."""
    model = {
        "encoder": {"kind": "logmel", "strides": [2], "channels": 24, "blocks": 1},
        "bottleneck": {"kind": "ema", "codes": 16, "dim": 8, "decay": 0.9},
        "decoder": {"kind": "mel", "conditioner": {"upsample": 2, "channels": 24, "blocks": 1, "speaker_dim": 4}},
        "jitter": 0.2,
    }
    train = {"steps": 8, "batch_size": 4, "crop": 3200, "learning_rate": 5e-3, "warmup": 2, "eval_every": 3}
    return parse(CodecRun, {"model": model, "train": train})


@pytest.fixture(scope="session")
def runs(corpus: Path, tiny: CodecRun, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two trained model folders: `mel`, and `wavenet` on its frozen codes."""
    folder = tmp_path_factory.mktemp("runs")
    train(tiny, corpus, folder / "mel")
    decoder = WaveNetDecoderConfig(
        conditioner=tiny.model.decoder.conditioner,
        wavenet=WaveNetConfig(cycles=1, layers=4, residual=12, gate=12, skip=12),
    )
    init = InitConfig(path=str(folder / "mel"), freeze=("encoder", "bottleneck"))
    train(replace(tiny, model=replace(tiny.model, decoder=decoder), init=init), corpus, folder / "wavenet")
    return {"mel": folder / "mel", "wavenet": folder / "wavenet"}


@pytest.fixture(scope="session")
def prior(corpus: Path, runs: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A prior of the codes of `mel` (which are those of `wavenet`)."""
    wavenet = {"cycles": 1, "layers": 4, "residual": 16, "gate": 16, "skip": 16}
    config = {
        "prior": {"wavenet": wavenet, "speaker_dim": 4, "shifts": 2},
        "train": {"steps": 60, "batch_size": 8, "crop": 24, "learning_rate": 1e-2, "warmup": 2, "eval_every": 30},
    }
    out = tmp_path_factory.mktemp("prior")
    train(parse(PriorRun, config), corpus, out, codec=Codec.load(runs["mel"]))
    return out


@pytest.fixture(scope="session")
def vowels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wav file at 48 kHz of 1.2 s, which the microphone of `browser` repeats."""
    path = tmp_path_factory.mktemp("vowels") / "vowels.wav"
    wav = speech(150, [0, 1, 2, 3, 1, 0, 2, 3], np.random.default_rng(0))
    soundfile.write(path, np.repeat(wav, 3), 48_000)
    return path


@pytest.fixture(scope="module")
def studio() -> Any:
    """Of the packaged model."""
    studio = pytest.importorskip("speechvq.serve.studio")
    return studio.Studio(Codec.load(PACKAGED), model_folder(PACKAGED))


@pytest.fixture(scope="module")
def url(studio: Any) -> Iterator[str]:
    """The address of its page."""
    from speechvq.serve.server import LocalServer

    server = LocalServer(studio, 0)
    thread = threading.Thread(target=server.run)
    thread.start()
    yield server.url
    server.stop()
    thread.join()


@pytest.fixture(scope="module")
def browser(vowels: Path) -> Iterator[Any]:
    """With a microphone that hears the vowels."""
    flags = ("--use-fake-device-for-media-stream", f"--use-file-for-fake-audio-capture={vowels}")
    with chromium(*flags) as started:
        yield started


@pytest.fixture
def open_page(browser: Any, url: str) -> Iterator[Callable[..., Any]]:
    """Opens the page -> the view; at the end, nothing was asked of a network, and the console is empty."""
    said: list[str] = []
    asked: list[str] = []
    contexts, known = [], ["data:", "blob:"]

    def opening(
        width: int = 1280, scheme: str = "light", *, microphone: bool = False, script: str = "", address: str = url
    ) -> Any:
        seen = {"viewport": {"width": width, "height": 844}, "color_scheme": scheme}
        # Colours that are still changing have any contrast.
        context = browser.new_context(**seen, reduced_motion="reduce")
        context.set_default_timeout(PATIENCE)
        if microphone:
            context.grant_permissions(["microphone"])
        view = context.new_page()
        view.on("console", lambda message: said.append(message.text))
        view.on("pageerror", lambda error: said.append(str(error)))
        view.on("request", lambda request: asked.append(request.url))
        view.add_init_script(script)
        view.goto(address)
        view.locator(".voice").first.wait_for()
        contexts.append(context)
        known.append(address)
        return view

    yield opening
    for context in contexts:
        context.close()
    assert [address for address in asked if not address.startswith(tuple(known))] == []
    assert [text for text in said if "the server responded with a status of 4" not in text] == []

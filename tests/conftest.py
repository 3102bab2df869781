"""Fixtures: a small prepared corpus of synthetic speech, and a tiny configuration."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, settings

from speechvq.codec import Codec
from speechvq.config import CodecRun, InitConfig, PriorRun, WaveNetConfig, WaveNetDecoderConfig
from speechvq.config.parsing import parse
from speechvq.data.corpora.folder import FOLDER
from speechvq.data.manifest import Split, Treatment
from speechvq.data.prepare import prepare
from speechvq.train.kinds import train

# A busy machine is no failure.
settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")

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

"""The demo: synthesise a corpus, train two models on it, convert voices, and evaluate the codes."""

import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

from speechvq import SpeechVQError
from speechvq.codec import Codec
from speechvq.config import CodecRun
from speechvq.config.parsing import load_config
from speechvq.data.corpora.demo import DEMO
from speechvq.data.corpora.demo_speech import VOICES, sentences, speak_corpus
from speechvq.data.manifest import Split, Treatment, Utterance, read_manifest
from speechvq.data.prepare import prepare
from speechvq.evaluate.conversion import Pair, evaluate_conversion
from speechvq.evaluate.metrics.judges import installed_judges
from speechvq.evaluate.phonemes import PRIMARY, evaluate_phonemes
from speechvq.files import save_json
from speechvq.folder.provenance import save_result
from speechvq.report.heat_maps import draw_heat_maps
from speechvq.report.page import write_report
from speechvq.train.kinds import train
from speechvq.train.loop import read_log
from speechvq.wavenet.sampler import Sampling

MEL_SHARE = 0.35  # of the training time; the WaveNet learns more slowly and gets the rest
CONVERTED = 3  # utterances, each of a different speaker
DECODERS = ("mel", "wavenet")


def run_demo(out: Path, *, minutes: float, seed: int, force: bool) -> dict[str, Any]:
    """Run every stage of the demo in the folder `out`.

    minutes: training time of both models together
    seed: of corpus, training and sampling
    force: delete an earlier demo in the folder

    Returns the contents of summary.json. Raises SpeechVQError if the folder is not empty, unless `force`.
    """
    _clear(out, force)
    shares = {"mel": MEL_SHARE * minutes, "wavenet": (1 - MEL_SHARE) * minutes}
    expected = {f"train_{name}": 60 * share for name, share in shares.items()}
    clock = Clock({"corpus": 45, "prepare": 25, **expected, "convert": 90, "phonemes": 60, "page": 15})
    with clock.stage("corpus", f"synthesising {len(sentences())} sentences in {len(VOICES)} voices"):
        speak_corpus(out / "corpus", seed=seed, voices=VOICES)
    with clock.stage("prepare", "16 kHz audio and a manifest"):
        report = prepare(
            DEMO.read(out / "corpus"),
            out / "data",
            Treatment(),
            Split(unseen_speakers=(VOICES[-1].speaker, VOICES[-2].speaker)),
            speakers=DEMO.speakers(out / "corpus"),
            workers=2,
        )
    for name in DECODERS:
        with clock.stage(f"train_{name}", f"training the {name} model"):
            train(_config(name, out, shares[name], seed), out / "data", out / name)
    with clock.stage("convert", f"converting {CONVERTED} utterances with both decoders"):
        conversions = {name: _convert(out, name, seed) for name in DECODERS}
    labels = out / "corpus" / "lab"
    with clock.stage("phonemes", "evaluating codes against phones"):
        phonemes = evaluate_phonemes(Codec.load(out / "mel"), out / "data", labels, seed=seed)
        save_result(out / "mel" / "phonemes.json", phonemes.figures(), out / "mel")
        draw_heat_maps(phonemes, out / "mel")
    with clock.stage("page", "writing a page of results"):
        page = write_report([out / name for name in DECODERS], out / "page", out / "data", labels, CONVERTED)
    summary = {
        "corpus": {"utterances": len(report.written), "voices": len(VOICES)},
        "models": {name: _figures(out / name) for name in DECODERS},
        "conversions": conversions,
        "phonemes": asdict(phonemes.scores[PRIMARY].codes),
        "seconds": clock.seconds,
        "page": str(page),
    }
    save_json(out / "summary.json", summary)
    return summary


class Clock:
    """Print the current stage and the estimated time left.

    expected: seconds that each stage is expected to take
    seconds: seconds that each finished stage took
    """

    def __init__(self, expected: dict[str, float]) -> None:
        self.expected = expected
        self.seconds: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str, text: str) -> Iterator[None]:
        """Announce and time a stage."""
        left = sum(value for key, value in self.expected.items() if key not in self.seconds)
        count = f"{len(self.seconds) + 1}/{len(self.expected)}"
        print(f"[{count}] {text} (about {left / 60:.0f} min left in all)", file=sys.stderr)
        start = time.monotonic()
        yield
        self.seconds[name] = round(time.monotonic() - start, 1)


def _clear(out: Path, force: bool) -> None:
    """Create the folder, or delete an earlier demo in it."""
    if out.exists() and any(out.iterdir()):
        if not force:
            raise SpeechVQError(f"{out} is not empty; --force deletes it and starts over")
        if not (out / "corpus" / "speaker-info.txt").is_file():
            raise SpeechVQError(f"{out} does not hold a demo, so --force leaves it alone")
        for name in ("corpus", "data", *DECODERS, "page"):
            shutil.rmtree(out / name, ignore_errors=True)
        (out / "summary.json").unlink(missing_ok=True)
    out.mkdir(parents=True, exist_ok=True)


def _config(name: str, out: Path, minutes: float, seed: int) -> CodecRun:
    """The configuration of a model; the WaveNet starts from the mel model."""
    with as_file(files("speechvq.demo") / f"{name}.toml") as path:
        config = load_config(path)
    assert isinstance(config, CodecRun)
    config = replace(config, train=replace(config.train, minutes=minutes, seed=seed))
    return replace(config, init=replace(config.init, path=str(out / "mel"))) if name == "wavenet" else config


def _figures(run: Path) -> dict[str, float]:
    """Held-out figures of the trained model, beside those of the untrained one."""
    rows = read_log(run)
    best = min(rows, key=lambda row: row["loss"])
    kept = ("loss", "bits_per_sample", "gap", "used_codes", "perplexity")
    figures = {key: best[key] for key in kept if key in best} | {"steps": rows[-1]["step"]}
    for key in {"loss", "bits_per_sample"} & best.keys():
        figures |= {f"untrained_{key}": rows[0][key], f"{key}_ratio": best[key] / rows[0][key]}
    return figures


def _convert(out: Path, name: str, seed: int) -> dict[str, dict[str, float | None]]:
    """Convert a few utterances, each to the next speaker, and save figures and wavs in the model's folder."""
    codec, pairs = Codec.load(out / name), _pairs(read_manifest(out / "data"))
    sampling = Sampling(seed=seed, progress=True)
    result = evaluate_conversion(codec, out / "data", pairs, installed_judges(), sampling, out / name / "wavs")
    save_result(out / name / "conversion.json", asdict(result), out / name)
    return result.figures


def _pairs(utterances: list[Utterance]) -> list[Pair]:
    """One held-out utterance of each of a few speakers, with the next speaker as its target."""
    by_speaker = {u.speaker: u for u in utterances if u.split == "test"}
    speakers = sorted({u.speaker for u in utterances if u.split == "train"})
    sources = [speaker for speaker in speakers if speaker in by_speaker][:CONVERTED]
    return [(by_speaker[s], speakers[(speakers.index(s) + 1) % len(speakers)]) for s in sources]

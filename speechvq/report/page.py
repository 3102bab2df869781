"""Runs to one HTML file that needs nothing else: audio, pictures and style are in it."""

import base64
import dataclasses
import io
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from torch import Tensor

from speechvq import SpeechVQError, __version__
from speechvq.audio import SAMPLE_RATE
from speechvq.audio.io import read
from speechvq.config import CodecRun
from speechvq.data.labels import Segment, read_labels
from speechvq.data.manifest import read_manifest
from speechvq.evaluate.conversion import TOLD, cell
from speechvq.evaluate.labelled import find_labels
from speechvq.extras import needed_for
from speechvq.files import atomic_write
from speechvq.report import pictures
from speechvq.report.runs import Clip, Run, Utterance, read_runs

with needed_for("a report", "report"):
    from jinja2 import Environment, PackageLoader, StrictUndefined

PAGE = "index.html"
KINDS = {"natural": "original", "copy": "copy (8-bit mu-law)"}
SEEN = ("natural", "reconstruction")
CURVES = ("loss", "bits_per_sample", "perplexity", "bits_per_code")


@dataclass(frozen=True)
class Picture:
    """A PNG, as text, and what it shows, in words."""

    data: str
    text: str


@dataclass(frozen=True)
class Player:
    """A recording, as text, how long it is, and what is known of it."""

    data: str
    seconds: float
    name: str
    notes: list[str]


@dataclass(frozen=True)
class Table:
    """Rows of cells, the first a row's name; `head` names the columns."""

    title: str
    head: list[str]
    rows: list[list[str]]
    command: str = ""


@dataclass(frozen=True)
class Speech:
    """An utterance: everything made of it, and its spectrogram over its codes and phones."""

    title: str
    text: str
    players: list[Player]
    picture: Picture | None
    codes: str
    phones: str


@dataclass(frozen=True)
class Section:
    """What is shown of a run."""

    run: Run
    about: str
    speech: list[Speech]
    samples: list[Player]
    tables: list[Table]
    pictures: list[Picture]
    config: str


def write_report(folders: Sequence[Path], out: Path, data: Path | None, labels: Path | None, count: int) -> Path:
    """Write OUT/index.html of run folders -> its path.

    data and labels: the prepared corpus and its labels, for the phones below spectrograms. count: utterances of each
    run. SpeechVQError for a folder that is no run.
    """
    if labels and not data:
        raise SpeechVQError("labels are of a prepared corpus: --labels needs --data")
    runs = read_runs(folders)
    starts = {u.id: u for u in read_manifest(data)} if data else {}
    files = find_labels(labels, list(starts.values())) if labels and starts else {}

    def phones(name: str) -> list[Segment]:
        late = starts[name].start / SAMPLE_RATE if name in files else 0.0
        segments = read_labels(files[name]) if name in files else []
        return [Segment(s.start - late, s.end - late, s.label) for s in segments]

    sections = [_section(run, [_speech(run, one, phones(one.id)) for one in run.utterances(count)]) for run in runs]
    environment = Environment(
        loader=PackageLoader("speechvq.report", "."),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    html = environment.get_template("page.html").render(
        paper=paper_table(runs), sections=sections, version=__version__, rate=SAMPLE_RATE
    )
    with atomic_write(out / PAGE) as temporary:
        temporary.write_text(html, encoding="utf-8")
    return out / PAGE


def _section(run: Run, speech: list[Speech]) -> Section:
    return Section(
        run,
        _about(run),
        speech,
        [_player(Clip(path, path.stem, {})) for path in run.samples],
        [table for table in (_conversion(run), *_phonemes(run), _rate(run), _figures(run)) if table],
        _pictures(run),
        json.dumps(dataclasses.asdict(run.card.config), indent=1),
    )


def _about(run: Run) -> str:
    """A model in one line."""
    if not isinstance(run.card.config, CodecRun):
        of = run.card.alphabet.model if run.card.alphabet else "?"
        return f"A prior over the codes of the model {of}."
    about = run.codec.describe()
    codes = f"{about['codes']} codes" if "codes" in about else f"the latents of {about['bottleneck']}"
    bits = f", {about['bit_per_s']:.0f} bit/s" if "bit_per_s" in about else ""
    return (
        f"{codes} at {about['latents_per_s']:g} Hz{bits}: encoder of {about['encoder']}, bottleneck "
        f"{about['bottleneck']}, decoder {about['decoder']}, {about['parameters'] / 1e6:.1f} million parameters, "
        f"{len(about['speakers'])} speakers; fingerprint {run.codec.fingerprint}."
    )


def _speech(run: Run, utterance: Utterance, phones: list[Segment]) -> Speech:
    first = utterance.clips[0]
    wavs = {KINDS.get(clip.what, clip.what): read(clip.path) for clip in utterance.clips if clip.what in SEEN}
    wav = read(first.path)
    codes = run.codec.encode(wav, SAMPLE_RATE).tolist() if run.codec.model.bottleneck.codes else []
    spoken = [s.label for s in phones]
    text = (
        f"Spectrograms ({', '.join(wavs)}) of {utterance.id}, {len(wav) / SAMPLE_RATE:.1f} s, 0 to 8 kHz, above its "
        f"{len(codes)} codes" + (f" and {len(spoken)} phones" if spoken else "") + ", which are listed below"
    )
    picture = _picture(pictures.spectrograms(wavs, codes, run.codec.hop_length, phones), text) if codes else None
    players = [_player(clip) for clip in utterance.clips if clip.what != "copy"]
    said = first.figures.get("text", "")
    return Speech(
        f"{utterance.speaker}, {utterance.id}", said, players, picture, " ".join(map(str, codes)), " ".join(spoken)
    )


def _player(clip: Clip) -> Player:
    wav = read(clip.path)
    row, notes = clip.figures, []
    if row.get("heard") is not None:
        notes.append(f"understood: “{row['heard']}”" if row["heard"] else "nothing understood")
    if row.get("similarity") is not None:
        notes.append(f"similarity to {row['speaker']}: {row['similarity']:.2f}")
    return Player(_flac(wav), len(wav) / SAMPLE_RATE, KINDS.get(clip.what, clip.what), notes)


def _flac(wav: Tensor) -> str:
    stream = io.BytesIO()
    soundfile.write(stream, wav.numpy(), SAMPLE_RATE, "PCM_16", format="FLAC")
    return base64.b64encode(stream.getvalue()).decode()


def _picture(png: bytes, text: str) -> Picture:
    return Picture(base64.b64encode(png).decode(), text)


def _pictures(run: Run) -> list[Picture]:
    """Learning curves, the use of codes, and what the phoneme evaluation drew."""
    made = []
    keys = [key for key in CURVES if any(key in row for row in run.log)]
    if keys:
        ends = ", ".join(f"{key.replace('_', ' ')} {run.log[-1][key]:.3g}" for key in keys if key in run.log[-1])
        steps = run.log[-1]["step"]
        made.append(
            _picture(pictures.curves(run.log, keys), f"Learning curves on held-out speech; at step {steps}: {ends}")
        )
    if run.is_codec and run.codec.histogram is not None:
        counts = run.codec.histogram
        text = f"How often each of {len(counts)} codes is used: {np.count_nonzero(counts)} are, the first for "
        text += f"{100 * counts.max() / counts.sum():.1f} % of the frames; the dashed line would be equal use"
        made.append(_picture(pictures.usage(counts), text))
    return made + [_picture(path.read_bytes(), text) for path, text in run.pictures]


def _command(result: dict[str, Any]) -> str:
    made = result.get("made_by", {})
    return f"{made['command']} (on {made['machine']})" if made else ""


def _conversion(run: Run) -> Table | None:
    result = run.results.get("conversion")
    if not result:
        return None
    kinds = list(result["figures"])
    rows = []
    for key, (text, factor, form) in TOLD.items():
        values = [result["figures"][kind][key] for kind in kinds]
        if any(value is not None for value in values):
            rows.append([text.strip(), *(cell(value, factor, form) for value in values)])
    title = "Reconstruction and conversion"
    if result["threshold"] is not None:
        title += (
            f" (speakers are told apart from {result['threshold']:.3f}, with {percent(result['equal_error'])} errors)"
        )
    return Table(title, ["", *(KINDS.get(kind, kind) for kind in kinds)], rows, _command(result))


def _phonemes(run: Run) -> list[Table]:
    result = run.results.get("phonemes")
    if not result:
        return []
    score, mfcc = result["scores"]["centre"], result["mfcc"]
    accuracies = {
        "codes": score["codes"],
        "k-means of MFCC": mfcc["codes"],
        "shuffled codes": score["shuffled"],
        "random codes": score["random"],
        "the most likely phone": score["most_likely"],
    }
    rows = [[name, percent(one["same"]), percent(one["held_out"])] for name, one in accuracies.items()]
    title = f"Codes told as phones: {score['frames']} frames without silence, {len(result['phones'])} phones"
    others = [["PNMI", f"{score['pnmi']:.3f}", f"{mfcc['pnmi']:.3f} (k-means of MFCC)"]]
    for key, name in (("within", "one speaker"), ("across", "two speakers")):
        noise = f"{percent(result['abx_random'][key])} (random vectors)"
        others.append([f"ABX error, {name}", percent(result["abx"][key]), noise])
    return [
        Table(title, ["", "fitted on the same frames", "held-out speakers"], rows),
        Table("Phones in codes, without a mapping", ["", "codes", "beside"], others, _command(result)),
    ]


def _rate(run: Run) -> Table | None:
    result = run.results.get("rate")
    if not result:
        return None
    rows = [
        [name, f"{one['files']:.1f}", f"{one['payload']:.1f}", f"{one['bits_per_code']:.2f}"]
        for name, one in result["coders"].items()
    ]
    title = f"Files of codes: bits a second (nominal {result['nominal']:.0f})"
    return Table(title, ["coder", "whole files", "payload", "bits a code"], rows, _command(result))


def _figures(run: Run) -> Table | None:
    if not run.log:
        return None
    first, last = run.log[0], run.log[-1]
    rows = [[key.replace("_", " "), f"{first.get(key, math.nan):.4g}", f"{value:.4g}"] for key, value in last.items()]
    commands = "; ".join(made["command"] for made in run.made[:1])
    machine = f" (on {run.made[0]['machine']})" if run.made else ""
    return Table("Held-out speech while training", ["", "at first", "at last"], rows, commands + machine)


def paper_table(runs: Sequence[Run]) -> Table:
    """What the paper tells of each experiment, and what these runs measured."""
    rows = []
    for run in runs:
        if "phonemes" in run.results:
            score = run.results["phonemes"]["scores"]["centre"]
            ours = (
                f"{percent(score['codes']['same'])} on the same frames, {percent(score['codes']['held_out'])} held out"
            )
            ours += f", against {percent(score['most_likely']['same'])}"
            told = "49.3 %, against 7.2 % for the most likely phone (128 codes at 25 Hz, 41 phones)"
            rows.append([f"codes told as phones: {run.name}", told, ours])
        if "conversion" in run.results:
            rows += _paper_conversion(run)
        if "bits_per_code" in (run.log[-1] if run.log else {}):
            last = run.log[-1]
            ours = f"{last['bits_per_code']:.2f} bits a code, where {last['nominal']:g} are nominal"
            rows.append([f"prior: {run.name}", "clear words and parts of sentences, by ear", ours])
    return Table("The paper, and here", ["", "van den Oord et al. 2017", "here"], rows)


def _paper_conversion(run: Run) -> list[list[str]]:
    figures, rows = run.results["conversion"]["figures"], []
    told = {
        "reconstruction": "the same words, another waveform, prosody altered, by ear (512 codes at 250 Hz)",
        "conversion": "the same words in another voice, by ear",
    }
    for kind in told.keys() & figures.keys():
        parts = {
            "word errors": (figures[kind]["word_error_rate"], figures["natural"]["word_error_rate"]),
            "nearest to its speaker of all": (figures[kind]["nearest"], figures["natural"]["nearest"]),
        }
        ours = [
            f"{name} {percent(one)}, natural {percent(natural)}"
            for name, (one, natural) in parts.items()
            if one is not None and natural is not None
        ]
        ours.append(f"energy contour's correlation {figures[kind]['energy_correlation']:.2f}")
        rows.append([f"{kind}: {run.name}", told[kind], "; ".join(ours)])
    return sorted(rows, reverse=True)


def percent(share: float | None) -> str:
    """A share for people."""
    return "-" if share is None else f"{100 * share:.1f} %"


def check_destination(out: Path, force: bool) -> None:
    """SpeechVQError where a page is there already, unless `force`."""
    if (out / PAGE).exists() and not force:
        raise SpeechVQError(f"{out / PAGE} exists; --force overwrites it")

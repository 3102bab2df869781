"""The section of the page for each kind of run."""

import dataclasses
import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from speechvq.audio import SAMPLE_RATE
from speechvq.audio.io import read
from speechvq.data.manifest import read_manifest
from speechvq.data.utterance_labels import find_labels
from speechvq.files import Failure, attempt
from speechvq.folder.description import describe_folder
from speechvq.report import pictures
from speechvq.report.media import SPEECH_NAMES, Picture, Player, picture, player
from speechvq.report.result_tables import Table, result_tables
from speechvq.report.runs import Clip, Run, Utterance
from speechvq.text.labels import USUAL, LabelReading, read_labels
from speechvq.text.segments import Segment

log = logging.getLogger(__name__)

DRAWN_CONVERSIONS = 2  # of an utterance; the others can be played
CURVES = ("loss", "bits_per_sample", "perplexity", "bits_per_code")  # of these, the learning curves that a run has

Phones = Callable[[str], list[Segment]]  # the phones of an utterance id in the time of its prepared audio


@dataclass(frozen=True)
class Speech:
    """An utterance of the page.

    title: speaker and id
    text: transcript
    players: the recording, its reconstruction and its conversions
    picture: spectrograms above codes and phones; None without codes
    codes, phones: as text, separated by spaces
    """

    title: str
    text: str
    players: list[Player]
    picture: Picture | None
    codes: str
    phones: str


@dataclass(frozen=True)
class Section:
    """A run on the page.

    run: the run
    about: the model in one sentence
    speech: held-out utterances, with reconstructions and conversions
    samples: speech drawn from a prior
    tables: all that was measured
    pictures: learning curves and use of codes
    warnings: what a reader of the figures must know
    config: the configuration as JSON
    """

    run: Run
    about: str
    speech: list[Speech]
    samples: list[Player]
    tables: list[Table]
    pictures: list[Picture]
    warnings: list[str]
    config: str


def make_section(run: Run, phones: Phones, count: int) -> Section:
    """The section of a run, with at most `count` utterances."""
    return SECTIONS[run.kind](run, phones, count)


def _codec_section(run: Run, phones: Phones, count: int) -> Section:
    return dataclasses.replace(
        _section(run, _about_codec(run)),
        speech=[_speech(run, utterance, phones(utterance.id)) for utterance in run.utterances(count)],
        pictures=[*_curves(run), *_usage(run), *_heat_maps(run)],
    )


def _prior_section(run: Run, _phones: Phones, _count: int) -> Section:
    model = run.card.alphabet.model if run.card.alphabet else "?"
    return _section(run, f"A prior over the codes of the model {model}.")


def _encoder_section(run: Run, _phones: Phones, _count: int) -> Section:
    about = describe_folder(run.folder)
    objective = about["objective"] + (
        f" of the codes of the model {run.card.alphabet.model}" if run.card.alphabet else ""
    )
    return _section(
        run,
        f"An encoder, {about['encoder']}, trained by itself by {objective}: {about['latents_per_s']:g} latents per "
        f"second, {about['parameters'] / 1e6:.1f} million parameters.",
    )


# The section builder of each kind of run (`config.RUNS`).
SECTIONS: dict[str, Callable[[Run, Phones, int], Section]] = {
    "codec": _codec_section,
    "prior": _prior_section,
    "encoder": _encoder_section,
}


def _section(run: Run, about: str) -> Section:
    """The parts that runs of all kinds may have: samples, tables, learning curves, and the configuration."""
    samples = [player(Clip(path, path.stem, {})) for path in run.samples]
    config = json.dumps(dataclasses.asdict(run.card.config), indent=1)
    return Section(run, about, [], samples, result_tables(run), _curves(run), _warnings(run), config)


def _warnings(run: Run) -> list[str]:
    """That saved results are of another model than that of the folder."""
    return [
        f"The figures of {question} were measured of another model than the one that is in {run.folder} now."
        for question in run.foreign
    ]


def read_phones(data: Path | None, labels: Path | None, reading: LabelReading = USUAL) -> Phones:
    """The phones of utterances prepared in `data`, from a folder of label files; none if either is None.

    A label file that cannot be used is logged as a warning.
    """
    starts = {u.id: u.start for u in read_manifest(data)} if data else {}
    files = find_labels(labels, read_manifest(data))[0] if data and labels else {}

    def phones(name: str) -> list[Segment]:
        segments = attempt(lambda path: read_labels(path, reading), files[name]) if name in files else []
        if isinstance(segments, Failure):
            log.warning("left out: %s", segments.reason)
            return []
        start = starts[name] / SAMPLE_RATE if segments else 0.0
        return [Segment(s.start - start, s.end - start, s.label) for s in segments]

    return phones


def _about_codec(run: Run) -> str:
    about = run.codec.describe()
    codes = f"{about['codes']} codes" if "codes" in about else f"the latents of {about['bottleneck']}"
    bits = f", {about['bit_per_s']:.0f} bit/s" if "bit_per_s" in about else ""
    return (
        f"{codes} at {about['latents_per_s']:g} Hz{bits}: encoder {about['encoder']}, bottleneck "
        f"{about['bottleneck']}, decoder {about['decoder']}, {about['parameters'] / 1e6:.1f} million parameters, "
        f"{len(about['speakers'])} speakers; fingerprint {run.codec.fingerprint}."
    )


def _speech(run: Run, utterance: Utterance, phones: list[Segment]) -> Speech:
    natural = utterance.clips[0]
    conversions = [clip for clip in utterance.clips if clip.kind.startswith("as ")]
    others = [clip for clip in utterance.clips if clip.kind != "copy" and clip not in conversions]
    shown = [*others, *conversions[:DRAWN_CONVERSIONS]]
    wavs = {SPEECH_NAMES.get(clip.kind, clip.kind): read(clip.path) for clip in shown}
    wav = read(natural.path)
    codec = run.codec.after_high_pass(run.card.high_pass)  # the recordings that are kept are prepared ones
    codes = codec.encode(wav, SAMPLE_RATE).tolist() if run.codec.model.bottleneck.codes else []
    labels = [s.label for s in phones]
    text = (
        f"Spectrograms ({', '.join(wavs)}) of {utterance.id}, {len(wav) / SAMPLE_RATE:.1f} s, 0 to 8 kHz, above its "
        f"{len(codes)} codes" + (f" and {len(labels)} phones" if labels else "") + ", which are listed below"
    )
    draws = codes and wavs
    drawn = picture(pictures.spectrograms(wavs, codes, run.codec.hop_length, phones), text) if draws else None
    players = [player(clip) for clip in utterance.clips if clip.kind != "copy"]
    title = f"{utterance.speaker}, {utterance.id}"
    transcript = natural.figures.get("text", "")
    return Speech(title, transcript, players, drawn, " ".join(map(str, codes)), " ".join(labels))


def _curves(run: Run) -> list[Picture]:
    """The learning curves."""
    drawn = []
    for key in CURVES:
        rows = [row for row in run.log if key in row]
        if rows:
            last = f"{key.replace('_', ' ')} {rows[-1][key]:.3g} at step {rows[-1]['step']}"
            drawn.append(picture(pictures.curve(run.log, key), f"Learning curve on held-out speech: {last}"))
    return drawn


def _usage(run: Run) -> list[Picture]:
    """How often each code is used."""
    counts = run.codec.histogram
    if counts is None or not counts.any():
        return []
    text = (
        f"How often each of {len(counts)} codes is used: {np.count_nonzero(counts)} are, the most frequent for "
        f"{100 * counts.max() / counts.sum():.1f} % of the frames; the dashed line would be equal use"
    )
    return [picture(pictures.usage(counts), text)]


def _heat_maps(run: Run) -> list[Picture]:
    """The pictures of the phoneme evaluation."""
    return [picture(path.read_bytes(), text) for path, text in run.heat_maps]

"""The yardstick: what is understood of speech after Codec2, Opus and our models, of speakers that no model has heard.

    python benchmarks/intelligibility.py --data PREPARED --out RESULTS.jsonl [--model MODEL [--speaker NAME]]
        [--prior PRIOR] [--systems natural,codec2-1200] [--kinds native,narrow,non-native] [--sentences 300]
        [--degrade noise20,noise10,telephone,dull,dc,hum] [--save MODEL/intelligibility.json]

Sentences are of the split `unseen`, without the speakers that one of the models knows, in a fixed order in which
speakers take turns. N sentences are shared equally by the kinds of speakers; a headline needs 300. The kinds, by the
corpus in speakers.json: `native` (wide band), `narrow` (band-limited), `non-native`, and `other`. For each kind and
system:

- bit/s: whole files, headers included, of recordings of about 20 s (up to four, utterances of a speaker joined).
  A model's files are written by the best coder that it has: under a prior (--prior, or MODEL/prior) if there is one.
- word and character errors: of Whisper tiny.en against the text, over all words and characters.
- phone errors: of a second recogniser of another family, pocketsphinx's Gaussian mixtures in a loop over all phones
  with a phone trigram and no words, against the nearest pronunciation of the text in its dictionary (insertions,
  deletions and substitutions over the phones of the text). High for natural speech, too: compare systems by it.
- DNSMOS, and similarity (Resemblyzer) to up to ten other natural utterances of the source, and of the target voice.
- Intervals: 95 %, by resampling the speakers.

--degrade adds a table of word errors after a degradation of the input: white noise 20 or 10 dB below the speech, an
8 kHz telephone, a dull microphone, an offset of 0.1, hum at 50 Hz.

Every sentence of a system is measured once and kept in RESULTS.jsonl: a stopped run goes on, and more sentences or
systems add to it. A system whose tools are missing is left out, with the reason.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from inaudible import hum, offset
from robustness import Change, dull, noisy, telephone
from yardstick.judging import Bench, Voices, installed_phone_loop
from yardstick.results import Figures, Results
from yardstick.sentences import KINDS, OTHER, rate_recordings, unseen_sentences
from yardstick.summary import rate, summarize
from yardstick.systems import SYSTEMS, System, Unavailable, conversions

from speechvq import SpeechVQError
from speechvq.audio import SAMPLE_RATE
from speechvq.audio.io import read
from speechvq.codec import Codec
from speechvq.data.manifest import Utterance, read_treatment, utterances_digest
from speechvq.evaluate.metrics.judges import installed_judges
from speechvq.evaluate.tables import degradation_rows, intelligibility_rows
from speechvq.folder.card import model_folder
from speechvq.folder.provenance import save_result
from speechvq.progress import progress

CLEAN = ""  # the name of the input as it was
DEGRADATIONS: dict[str, Change] = {
    "noise20": noisy(20),
    "noise10": noisy(10),
    "telephone": telephone,
    "dull": dull,
    "dc": offset(0.1),
    "hum": hum(50),
}


def main() -> None:
    """Measure all systems, and print tables in Markdown."""
    options = _parser().parse_args()
    codecs = {Path(name).name: Codec.load(name) for name in options.model}
    known = {speaker for codec in codecs.values() for speaker in codec.speakers}
    available = unseen_sentences(options.data, known, options.kinds)
    if not available:
        raise SystemExit(f"{options.data}: no sentence of an unseen speaker of these kinds")
    count = -(-options.sentences // len(available))
    results = Results(options.out)
    judges = installed_judges()
    bench = Bench(judges, installed_phone_loop(), Voices(options.data, judges, results))
    result: dict[str, Any] = {"kinds": {}, "degraded": {}, "skipped": {}}
    for kind, utterances in available.items():
        chosen = utterances[:count]
        speakers = len({u.speaker for u in chosen})
        result["kinds"][kind] = {"sentences": len(chosen), "speakers": speakers, "systems": {}}
        result["degraded"][kind] = {}
    for system in _systems(options, codecs, result["skipped"]):
        try:
            for kind, utterances in available.items():
                rows = _measure(system, options, utterances, count, bench, results)
                result["kinds"][kind]["systems"][system.name] = rows.pop("figures")
                result["degraded"][kind][system.name] = rows
        except Unavailable as error:
            result["skipped"][system.name] = str(error)
    print_tables(result, bool(options.degrade))
    if options.save:
        save_result(options.save, result)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder written by `speechvq prepare`")
    parser.add_argument("--out", type=Path, required=True, help="file of measurements, which a later run goes on with")
    parser.add_argument("--model", action="append", default=[], help="model folder, or name; may be repeated")
    text = "voices of the conversions, of each model those that it has (default: a model's first)"
    parser.add_argument("--speaker", type=_names(None), default=[], metavar="A,B", help=text)
    text = "prior of a model's codes, for its bit rate; may be repeated"
    parser.add_argument("--prior", action="append", type=Path, default=[], help=text)
    text = f"of {','.join(SYSTEMS)} (default: all)"
    parser.add_argument("--systems", type=_names(SYSTEMS), default=list(SYSTEMS), metavar="A,B", help=text)
    kinds = [*KINDS, OTHER]
    parser.add_argument("--kinds", type=_names(kinds), default=kinds, metavar="A,B", help="kinds of speakers")
    parser.add_argument("--sentences", type=int, default=300, help="of all kinds together (default: 300)")
    text = f"of {','.join(DEGRADATIONS)} (default: none)"
    parser.add_argument("--degrade", type=_names(DEGRADATIONS), default=[], metavar="A,B", help=text)
    parser.add_argument("--save", type=Path, metavar="FILE", help="write the figures as JSON, for `speechvq report`")
    return parser


def _names(known: Any) -> Any:
    """A parser of names with commas between them, all of `known` unless that is None."""

    def parse(text: str) -> list[str]:
        names = [name for name in text.split(",") if name]
        unknown = [name for name in names if known is not None and name not in known]
        if unknown:
            raise argparse.ArgumentTypeError(f"'{unknown[0]}' is none of {', '.join(known)}")
        return names

    return parse


def _systems(options: argparse.Namespace, codecs: dict[str, Codec], skipped: dict[str, str]) -> Iterator[System]:
    """The systems that there are; the reasons of the others go to `skipped`."""
    for name in options.systems:
        try:
            yield SYSTEMS[name]()
        except Unavailable as error:
            skipped[name] = str(error)
    own = [path for path in (model_folder(name) / "prior" for name in options.model) if path.is_dir()]
    yield from conversions(codecs, options.speaker, [*options.prior, *own], read_treatment(options.data).high_pass)


def _measure(
    system: System, options: argparse.Namespace, utterances: list[Utterance], count: int, bench: Bench, results: Results
) -> dict[str, Any]:
    """Measure a system with one kind of speakers.

    utterances: all of the kind, of which `count` are judged
    Returns its `figures`, and word error rates by degradation.
    """
    chosen = utterances[:count]
    rows: dict[str, list[Figures]] = {name: [] for name in (CLEAN, *options.degrade)}
    for u in progress(chosen, unit="sentence", text=system.name):
        for name, own in rows.items():
            own.append(_judge(system, options.data, u, name, bench, results))
    figures = summarize(chosen, rows[CLEAN])
    recordings = [_rate(system, options.data, paths, results) for paths in rate_recordings(options.data, utterances)]
    degraded = {name: summarize(chosen, own)["word_error_rate"] for name, own in rows.items()}
    return {"figures": {"bits_per_s": rate(recordings), **figures}, **degraded}


def _judge(
    system: System, data: Path, utterance: Utterance, degradation: str, bench: Bench, results: Results
) -> Figures:
    """The figures of one sentence: all of a clean one, the words of a degraded one."""
    digest = utterances_digest(data, [utterance])
    key = {"system": system.name, "version": system.version, "sentence": utterance.id, "digest": digest}
    key |= {"degradation": degradation, "judges": bench.names}

    def measure() -> Figures:
        wav = read(data / utterance.path)
        if degradation != CLEAN:
            sent = system.send(DEGRADATIONS[degradation](wav), prepared=False)
            return bench.words(sent, utterance)
        return bench.all(system.send(wav, prepared=True), utterance, system.voice)

    return results.find(key, measure)


def _rate(system: System, data: Path, paths: list[Path], results: Results) -> Figures:
    """Bits and seconds of a recording."""
    names = " ".join(str(path.relative_to(data)) for path in paths)
    key = {"system": system.name, "version": system.version, "recording": names}

    def measure() -> Figures:
        wav = torch.cat([read(path) for path in paths])
        return {"bits": system.bits(wav), "seconds": len(wav) / SAMPLE_RATE}

    return results.find(key, measure)


def print_tables(result: dict[str, Any], degraded: bool) -> None:
    """Print what was measured as tables in Markdown."""
    for kind, one in result["kinds"].items():
        print(f"\n{kind}: {one['sentences']} sentences of {one['speakers']} speakers\n")
        _print_table(*intelligibility_rows(one["systems"]))
        if degraded:
            print()
            _print_table(*degradation_rows(result["degraded"][kind]))
    for name, reason in result["skipped"].items():
        print(f"\n{name}: skipped, {reason}")


def _print_table(head: list[str], rows: list[list[str]]) -> None:
    for row in (head, ["---"] * len(head), *rows):
        print(f"| {' | '.join(row)} |")


if __name__ == "__main__":
    try:
        main()
    except SpeechVQError as error:
        raise SystemExit(f"error: {error}") from None

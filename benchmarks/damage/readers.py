"""The readers of speechvq, each with its input files, their damage, and what a user does with them."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from damage.mutations import Damage, in_bytes, in_codes, in_json, in_json_lines, in_text, in_toml, in_weights
from damage.served import converse, in_request, request, upload
from damage.streams import decode_raw, encode_raw, in_packets
from speechvq.audio import SAMPLE_RATE
from speechvq.audio.io import read
from speechvq.cli import main
from speechvq.codec import Codec
from speechvq.coding.code_files import CodeFiles
from speechvq.coding.corpus_codes import corpus_codes
from speechvq.coding.output_log import OUTPUT_LOG, OutputLog
from speechvq.coding.trained_prior import TrainedPrior
from speechvq.config.parsing import load_config
from speechvq.data.align import Aligner, Words
from speechvq.data.corpora import CORPORA
from speechvq.data.feature_store import feature_store
from speechvq.data.manifest import Split, Treatment, read_manifest, read_speakers, read_treatment, utterances_digest
from speechvq.data.prepare import prepare
from speechvq.evaluate.conversion import read_pairs
from speechvq.folder.readme import read_readme
from speechvq.report.result_tables import paper_table, result_tables
from speechvq.report.runs import read_runs
from speechvq.text.labels import read_labels, read_map
from speechvq.text.timed_codes import read_code_table
from speechvq.text.transcript import read_text
from speechvq.train.codebook import Clustering, load_encoder
from speechvq.train.targets import read_targets


@dataclass(frozen=True)
class Reader:
    """A reader.

    files: patterns of the files that are damaged, each time one of them
    damage: what is done to it
    use: reads the file, given the folder of inputs and the file
    share: of all cases, in parts
    writes: the folder that `use` writes to
    """

    files: tuple[str, ...]
    damage: Damage
    use: Callable[[Path, Path], object]
    share: int
    writes: str = ""


@functools.cache
def _codec(folder: Path) -> Codec:
    """The undamaged model, loaded once."""
    return Codec.load(folder.parent / "inputs" / "model")


@functools.cache
def _files(folder: Path) -> CodeFiles:
    return CodeFiles(_codec(folder), folder.parent / "inputs" / "prior")


def _convert(folder: Path, _: Path) -> object:
    codec, wav = Codec.load(folder / "model"), read(folder / "audio" / "x.wav")
    return codec.convert(wav, SAMPLE_RATE, codec.speakers[0])


def _corpus(folder: Path, path: Path) -> object:
    name = path.relative_to(folder).parts[0]
    return CORPORA[name].read(folder / name), CORPORA[name].speakers(folder / name)


def _results(folder: Path, _: Path) -> object:
    runs = read_runs([folder / "run"])
    return result_tables(runs[0]), paper_table(runs), runs[0].utterances(4)


def _report(folder: Path, _: Path) -> object:
    return main(["report", str(folder / "run"), "--out", str(folder / "page"), "--force"])


def _prepare(folder: Path, _: Path) -> object:
    sources = CORPORA["folder"].read(folder / "folder")
    return prepare(sources, folder / "prepared", Treatment(), Split(), speakers={})


def _manifest(folder: Path, _: Path) -> object:
    return utterances_digest(folder / "corpus", read_manifest(folder / "corpus"))


def _targets(folder: Path, path: Path) -> object:
    return read_targets(path, folder / "corpus", feature_store(folder / "corpus"), 320)


def _kept_codes(folder: Path, _: Path) -> object:
    return corpus_codes(_codec(folder), folder / "corpus", read_manifest(folder / "corpus"))


def _encoder(folder: Path, _: Path) -> object:
    return load_encoder(folder / "encoder", Clustering(outputs=(0, 1), dim=4))


@functools.cache
def _aligner() -> Aligner:
    return Aligner()


def _align(folder: Path, path: Path) -> object:
    return _aligner().align(read(folder / "audio" / "x.wav").repeat(8), read_text(path))


def _train(folder: Path, _: Path) -> object:
    run, corpus = folder / "trained", folder / "corpus"
    return main(["train", str(folder / "trained.toml"), "--data", str(corpus), "--out", str(run)])


RUN_FILES = ("run/conversion.json", "run/phonemes.json", "run/rate.json", "run/intelligibility.json", "run/made.json")
LABEL_FILES = ("labels/*.lab", "labels/*.phn", "labels/*.TextGrid")
CORPUS_FILES = ("vctk/*.txt", "vctk/txt/*/*", "librispeech/*.TXT", "librispeech/*/*/*/*.txt", "timit/DOC/*")
CORPUS_FILES += ("timit/TRAIN/*/*/*.TXT", "folder/*.tsv", "folder/*.json")
READERS = {
    "audio": Reader(("audio/*",), in_bytes, lambda _, path: read(path), 24),
    "codes": Reader(("codes/*.svq",), in_codes, lambda folder, path: _files(folder).read(path), 10),
    "packets": Reader(("packets/*.svq",), in_packets, lambda folder, path: _files(folder).read(path), 6),
    "info of packets": Reader(("packets/*.svq",), in_packets, lambda _, path: main(["info", str(path)]), 2),
    "stream of packets": Reader(("streams/*.svq",), in_packets, decode_raw, 3),
    "stream of samples": Reader(("streams/*.raw",), in_bytes, encode_raw, 1),
    "live conversion": Reader(("streams/*.f32",), in_bytes, converse, 1),
    "uploads": Reader(("audio/*",), in_bytes, upload, 3),
    "requests": Reader(("requests/*",), in_request, request, 5),
    "info of codes": Reader(("codes/*.svq",), in_codes, lambda _, path: main(["info", str(path)]), 3),
    "log of outputs": Reader((f"codes/{OUTPUT_LOG}",), in_json_lines, lambda _, path: OutputLog(path.parent, "x"), 2),
    "manifest": Reader(("corpus/manifest.jsonl",), in_json_lines, _manifest, 7),
    "speakers": Reader(("corpus/speakers.json",), in_json, lambda _, path: read_speakers(path.parent), 3),
    "treatment": Reader(("corpus/prepare.json",), in_json, lambda _, path: read_treatment(path.parent), 2),
    "prepare": Reader(("prepared/*.jsonl", "prepared/prepare.json"), in_json_lines, _prepare, 1, "prepared"),
    "features": Reader(("corpus/features/*",), in_bytes, lambda folder, _: feature_store(folder / "corpus"), 2),
    "targets": Reader(("corpus/targets.npz",), in_bytes, _targets, 2),
    "codes of a corpus": Reader(("corpus/codes/*",), in_weights, _kept_codes, 2),
    "configuration": Reader(("configs/*.toml",), in_toml, lambda _, path: load_config(path), 8),
    "info of models": Reader(("*/config.json",), in_json, lambda _, path: main(["info", str(path.parent)]), 5),
    "card": Reader(("model/config.json", "model/histogram.json"), in_json, _convert, 4),
    "weights": Reader(("model/model.safetensors",), in_weights, lambda folder, _: Codec.load(folder / "model"), 4),
    "conversion": Reader(("model/model.safetensors",), in_weights, _convert, 1),
    "prior": Reader(("prior/*.safetensors",), in_weights, lambda folder, _: TrainedPrior.load(folder / "prior"), 2),
    "card of a prior": Reader(("prior/*.json",), in_json, lambda folder, _: TrainedPrior.load(folder / "prior"), 2),
    "encoder": Reader(("encoder/*.safetensors",), in_weights, _encoder, 1),
    "card of an encoder": Reader(("encoder/config.json",), in_json, _encoder, 1),
    "head of a README": Reader(("run/README.md",), in_text, lambda _, path: read_readme(path.parent), 3),
    "labels": Reader(LABEL_FILES, in_text, lambda _, path: read_labels(path), 12),
    "map of labels": Reader(("labels/map.txt",), in_text, lambda _, path: read_map(path), 2),
    "table of codes": Reader(("labels/codes.tsv",), in_text, lambda _, path: read_code_table(path), 2),
    "dictionary": Reader(("labels/words.dict",), in_text, lambda _, path: Aligner(Words(path)), 1),
    "texts to align": Reader(("labels/text.txt",), in_text, _align, 1),
    "state of training": Reader(("trained/last.safetensors",), in_weights, _train, 1, "trained"),
    "corpora": Reader(CORPUS_FILES, in_text, _corpus, 5),
    "pairs": Reader(
        ("pairs.tsv",), in_text, lambda folder, path: read_pairs(_codec(folder), folder / "corpus", path), 1
    ),
    "results": Reader(RUN_FILES, in_json, _results, 8),
    "log of training": Reader(("run/log.jsonl",), in_json_lines, _results, 2),
    "report": Reader((*RUN_FILES, "run/config.json", "run/histogram.json"), in_json, _report, 1),
}

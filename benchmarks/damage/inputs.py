"""Small valid files of every kind that speechvq reads, in one folder."""

import json
import shutil
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import av
import numpy as np
import soundfile
import torch
from kills import CODEC

from damage.served import write_requests
from damage.streams import write_streams
from speechvq.audio import SAMPLE_RATE
from speechvq.codec import Codec
from speechvq.codec.melody import melody_length
from speechvq.coding.code_files import CodeFiles
from speechvq.coding.corpus_codes import corpus_codes
from speechvq.coding.output_log import OUTPUT_LOG
from speechvq.config import CausalEncoderConfig, EncoderRun, PriorConfig, PriorRun, WaveNetConfig
from speechvq.config.parsing import load_config
from speechvq.data.corpora import CORPORA
from speechvq.data.feature_store import feature_store
from speechvq.data.manifest import Split, Treatment, Utterance, read_manifest, utterances_digest, write_manifest
from speechvq.data.prepare import FINISHED_FILE, prepare
from speechvq.evaluate.tables import CONVERSION_FIGURES, INTELLIGIBILITY_FIGURES
from speechvq.files import save_json
from speechvq.folder.card import WEIGHTS, Card, save_card
from speechvq.folder.weights import load_tensors, save_tensors
from speechvq.nn.encoder.causal import CausalEncoder
from speechvq.nn.prior import Prior
from speechvq.serve.studio import SAMPLE_FILE
from speechvq.text.segments import Segment
from speechvq.text.textgrid import write_textgrid
from speechvq.train.kinds import train
from speechvq.train.loop import LAST

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "tests" / "golden" / "models"
# Suffix -> format and subtype of libsndfile.
FORMATS = {
    "wav": ("WAV", "PCM_16"),
    "float.wav": ("WAV", "FLOAT"),
    "gsm.wav": ("WAV", "GSM610"),
    "adpcm.wav": ("WAV", "IMA_ADPCM"),
    "alaw.wav": ("WAV", "ALAW"),
    "wavex.wav": ("WAVEX", "PCM_24"),
    "flac": ("FLAC", "PCM_16"),
    "ogg": ("OGG", "VORBIS"),
    "opus": ("OGG", "OPUS"),
    "mp3": ("MP3", "MPEG_LAYER_III"),
    "aiff": ("AIFF", "PCM_16"),
    "au": ("AU", "ULAW"),
    "w64": ("W64", "PCM_16"),
    "rf64.wav": ("RF64", "PCM_16"),
    "caf": ("CAF", "ALAC_16"),
    "sph": ("NIST", "PCM_16"),
}
# Suffix -> muxer, encoder and rate of FFmpeg.
MEDIA = {
    "m4a": ("ipod", "aac", 16_000),
    "mp4": ("mp4", "alac", 16_000),
    "aac": ("adts", "aac", 16_000),
    "webm": ("webm", "libopus", 48_000),
}
LABELS = {
    "htk.lab": "0 1700000 sil -1234.5 sil\n1700000 2500000 dh -321.5 the\n2500000 12000000 ah\n",
    "states.lab": "0 500000 sil[2]\n500000 1700000 sil[3]\n1700000 2500000 x^sil-dh+ax=k@1_2/A:0[2]\n",
    "seconds.lab": "0.0\t0.17\tsil\n0.17\t0.25\tdh\n0.25\t1.2\tah\n",
    "master.lab": '#!MLF!#\n"*/a.lab"\n0 1700000 sil\n1700000 2500000 dh\n.\n',
    "xwaves.lab": "signal a0001\nnfields 1\n#\n   0.1700  121 pau\n   0.2500  121 dh\n   1.2000  121 ah\n",
    "timit.phn": "0 1600 h#\n1600 3200 iy\n3200 4800 q\n",
}
CODE_TABLE = "code\tshare\tphone\n0\t0.25\tah\n1\t0.5\tsil\n12\t0.25\tiy\n"
DICTIONARY = "hello  HH AH0 L OW1\nhello(2)  HH EH0 L OW1 ;;; another\nworld\tw er l d\n"
TRAINING = (
    CODEC.replace("channels = 24", "channels = 8")
    + """[train]
steps = 3
batch_size = 2
crop = 1600
eval_every = 3
eval_crops = 2
"""
)
TREES = {
    "vctk": {
        "speaker-info.txt": "ID  AGE  GENDER  ACCENTS  REGION\np225  23  F    English    Southern  England\n",
        "wav48/p225/p225_001.wav": "",
        "txt/p225/p225_001.txt": "Please call Stella.\n",
    },
    "librispeech": {
        "SPEAKERS.TXT": ";ID  |SEX| SUBSET | MINUTES| NAME\n19   | F | train-clean-100  | 25.19 | Kara\n",
        "train-clean-100/19/198/19-198.trans.txt": "19-198-0000 NORTHANGER ABBEY\n",
        "train-clean-100/19/198/19-198-0000.flac": "",
    },
    "timit": {
        "TRAIN/DR1/FCJF0/SA1.WAV": "",
        "TRAIN/DR1/FCJF0/SA1.TXT": "0 4800 She had your dark suit.\n",
        "DOC/SPKRINFO.TXT": "CJF0   F   1  TRN  03/03/87  06/17/60  5'11\"  WHT  BS\n",
    },
    "folder": {
        "a/1.wav": "",
        "transcripts.tsv": "1\tOne, common\n2\tTwo\n",
        "speakers.json": '{"a": {"sex": "F"}, "b": {}}',
    },
}


def write_inputs(folder: Path) -> None:
    """Write all inputs into a new folder."""
    random = np.random.default_rng(0)
    time = np.arange(4800) / SAMPLE_RATE
    wav = (0.2 * np.sin(2 * np.pi * 200 * time) + 0.01 * random.standard_normal(4800)).astype(np.float32)
    (folder / "audio").mkdir(parents=True)
    for suffix, (kind, subtype) in FORMATS.items():
        rate = 48_000 if suffix == "opus" else 8_000 if "gsm" in suffix else SAMPLE_RATE
        soundfile.write(folder / "audio" / f"x.{suffix}", wav, rate, subtype, format=kind)
    for suffix, (muxer, encoder, rate) in MEDIA.items():
        _write_media(folder / "audio" / f"x.{suffix}", muxer, encoder, rate, wav)
    shutil.copytree(GOLDEN / "mel", folder / "model")
    _write_corpus(folder / "corpus", wav)
    _write_codes(folder, wav)
    _write_run(folder, wav)
    _write_labels(folder / "labels")
    write_requests(folder / "requests")
    _write_training(folder)
    for name, files in TREES.items():
        for path, text in files.items():
            target = folder / name / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text)
            if not text:
                soundfile.write(target, wav, SAMPLE_RATE, format=target.suffix[1:].upper())
    sources = CORPORA["folder"].read(folder / "folder")
    prepare(sources, folder / "prepared", Treatment(), Split(), speakers={})
    (folder / "configs").mkdir()
    for path in [*ROOT.glob("recipes/*/*.toml")]:
        shutil.copy(path, folder / "configs" / f"{path.parent.name}-{path.name}")


def _write_media(path: Path, muxer: str, encoder: str, rate: int, wav: np.ndarray) -> None:
    """Write a wav (T,) in a format that libsndfile does not write."""
    with av.open(str(path), "w", format=muxer) as container:
        stream = container.add_stream(encoder, rate=rate, layout="mono")
        frame, fifo = av.AudioFrame.from_ndarray(wav[None], format="fltp", layout="mono"), av.AudioFifo()
        frame.rate = SAMPLE_RATE
        for piece in av.AudioResampler(stream.codec_context.format.name, "mono", rate).resample(frame):
            fifo.write(piece)
        while piece := fifo.read(stream.codec_context.frame_size) or fifo.read():
            container.mux(stream.encode(piece))
        container.mux(stream.encode(None))


def _write_corpus(folder: Path, wav: np.ndarray) -> None:
    """A prepared corpus with its features, and targets of them."""
    utterances = []
    for i, split in enumerate(("train", "train", "valid", "test")):
        path = f"audio/{'low' if i % 2 else 'mid'}/{i}.flac"
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(folder / path, wav, SAMPLE_RATE)
        utterances.append(Utterance(f"u{i}", "low" if i % 2 else "mid", path, len(wav), 10, "the words", split))
    write_manifest(folder, utterances)
    save_json(folder / "speakers.json", {"low": {"sex": "M"}, "mid": {"sex": "F", "accent": "English"}})
    (folder / "prepare.json").write_text(json.dumps(asdict(Treatment())))
    rows = [
        {"id": u.id, "path": u.path, "samples": u.samples, "start": u.start, "digest": "00"}
        | {"bytes": (folder / u.path).stat().st_size}
        for u in utterances
    ]
    (folder / FINISHED_FILE).write_text("".join(json.dumps(row) + "\n" for row in rows))
    store = feature_store(folder)
    options = {"corpus": utterances_digest(folder, store.utterances), "hop_length": 320, "clusters": 5, "taught": ""}
    targets = np.arange(int(store.starts[-1]) // 2) % 6
    np.savez(folder / "targets.npz", targets=targets.astype(np.int32), options=np.array(json.dumps(options)))


def _write_codes(folder: Path, wav: np.ndarray) -> None:
    """Files of codes of every coder, a prior, the codes of the corpus, and the log of a folder of outputs."""
    codec = Codec.load(folder / "model")
    wavenet = WaveNetConfig(cycles=1, layers=3, residual=8, gate=8, skip=8)
    run = PriorRun(PriorConfig(wavenet, speaker_dim=4))
    torch.manual_seed(0)
    prior = Prior(run.prior, codec.alphabet.codes, len(codec.speakers))
    save_card(folder / "prior", Card(run, codec.speakers, {}, codec.alphabet))
    save_tensors(folder / "prior" / WEIGHTS, prior.state_dict(), {"bits_per_code": 3.0, "step": 5})
    encoder = EncoderRun(CausalEncoderConfig(strides=(2, 1), channels=8, dilations=(1,), outputs=(0, 1)))
    save_card(folder / "encoder", Card(encoder, (), {}))
    weights = {f"encoder.{name}": value for name, value in CausalEncoder(encoder.encoder, 8).state_dict().items()}
    save_tensors(folder / "encoder" / WEIGHTS, weights, {"loss": 3.0, "step": 5})
    files = CodeFiles(codec, folder / "prior")
    encoded = replace(codec.encode_file(folder / "audio" / "x.wav"), speaker="low")
    long = replace(encoded, codes=encoded.codes.repeat(300), samples=300 * len(encoded.codes) * codec.hop_length)
    sung = replace(long, melody=torch.arange(melody_length(long.samples)) % 24.0 - 12)
    (folder / "codes").mkdir(exist_ok=True)
    for name, coder, item in (
        ("fixed", "fixed", long),
        ("static", "static", long),
        ("prior", "prior", encoded),
        ("melody", "fixed", sung),
    ):
        files.write(folder / "codes" / f"{name}.svq", item, files.coder(coder))
    shutil.copy(folder / "codes" / "static.svq", folder / "model" / SAMPLE_FILE)
    log = [json.dumps({"file": f"{name}.svq", "options": "0123"}) + "\n" for name in ("fixed", "static")]
    (folder / "codes" / OUTPUT_LOG).write_text("".join(log))
    corpus_codes(codec, folder / "corpus", read_manifest(folder / "corpus"))
    write_streams(folder, codec, folder / "prior", wav)


def _write_run(folder: Path, wav: np.ndarray) -> None:
    """A run with a log, results of every question, and recordings."""
    run = folder / "run"
    shutil.copytree(folder / "model", run)
    starts = dict.fromkeys(("command", "speechvq", "python", "torch", "machine"), "text")
    save_json(run / "made.json", [starts])
    log = [{"step": step, "seconds": 1.5, "loss": 3.0 / (step + 1), "perplexity": 9.5} for step in (0, 10, 20)]
    (run / "log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in log))
    for name, result in saved_results().items():
        save_json(run / f"{name}.json", {"made_by": starts, **result})
    for name in ("natural", "reconstruction", "as-low"):
        (run / "wavs" / "u0").mkdir(parents=True, exist_ok=True)
        soundfile.write(run / "wavs" / "u0" / f"{name}.wav", wav, SAMPLE_RATE)
    head = "license: mit\ndatasets:\n- one\nmodel-index:\n- name: x\n  results:\n  - metrics:\n    - type: wer\n"
    (run / "README.md").write_text(f"---\n{head}      value: 26.7\n---\n\n# A model\n")
    tensors, figures = load_tensors(run / WEIGHTS)
    save_tensors(run / WEIGHTS, tensors, figures | {"loss": 0.5, "step": 20})
    (folder / "pairs.tsv").write_text("u3\tmid\nu2\tlow\n")


def saved_results() -> dict[str, dict[str, Any]]:
    """A small result of each question that the report shows, as `evaluate --save` writes it."""
    kinds = ("natural", "copy", "reconstruction", "conversion")
    figures = {key: 3 if form == "d" else 0.5 for key, (_, _, form) in CONVERSION_FIGURES.items()}
    rows = [
        {"utterance": "u0", "source": "mid", "speaker": "low" if kind == "conversion" else "mid", "kind": kind}
        | {"text": "the words", "heard": "the word", "similarity": 0.7}
        for kind in kinds
    ]
    both, share = {"same": 0.4, "held_out": 0.3}, {"value": 0.3, "low": 0.2, "high": 0.4}
    score = {**dict.fromkeys(("codes", "shuffled", "random", "most_likely"), both), "frames": 900, "pnmi": 0.4}
    abx = {"within": 0.1, "across": 0.2}
    sequence = {"error_rate": share, "f1": share, "precision": 0.5, "recall": 0.5, "r_value": None}
    code = {"code": 3, "share": 0.1, "phone": "aa", "phone_share": 0.5, "runner_up": "iy", "runner_up_share": 0.2}
    phones = {
        "scores": {"centre": score},
        "mfcc": {"codes": both, "pnmi": 0.3},
        "phones": ["aa", "iy"],
        "abx": abx,
        "abx_random": abx,
        "runs_per_s": 20.5,
        "sequences": {"codes": sequence, "labels": sequence},
        "classes": {"vowels": {"frames": 100, "phone": share, "phone_class": share}},
        "probes": {"latents": {"dimensions": 8, "fitted": 0.6, "held_out": share}},
        "code_table": [code],
    }
    system = dict.fromkeys(INTELLIGIBILITY_FIGURES, share)
    rates = {"": share, "noise20": {"value": None}}
    return {
        "conversion": {"figures": dict.fromkeys(kinds, figures), "rows": rows, "threshold": 0.5, "equal_error": 0.1},
        "phonemes": phones,
        "rate": {"coders": {"fixed": {"files": 220.0, "payload": 200.0, "bits_per_code": 4.0}}, "nominal": 200.0},
        "intelligibility": {
            "kinds": {"native": {"sentences": 9, "speakers": 3, "systems": {"ours": system}}},
            "degraded": {"native": {"ours": rates}},
        },
    }


def _write_training(folder: Path) -> None:
    """A run with a step to go, and its configuration."""
    run = folder / "trained"
    run.mkdir()
    (folder / "trained.toml").write_text(TRAINING)
    train(load_config(folder / "trained.toml"), folder / "corpus", run)
    tensors, clock = load_tensors(run / LAST)
    save_tensors(run / LAST, tensors, clock | {"step": 2})


def _write_labels(folder: Path) -> None:
    folder.mkdir()
    for name, content in LABELS.items():
        (folder / name).write_text(content)
    segments = [Segment(0, 0.17, "sil"), Segment(0.17, 0.25, "dh"), Segment(0.25, 1.2, "ah")]
    write_textgrid(folder / "long.TextGrid", segments, words=[Segment(0.17, 1.2, "the")])
    text = (folder / "long.TextGrid").read_text()
    (folder / "utf16.TextGrid").write_bytes(text.encode("utf-16"))
    (folder / "map.txt").write_text("ae1 ae\n@ ax\nx -\n")
    (folder / "codes.tsv").write_text(CODE_TABLE)
    (folder / "words.dict").write_text(DICTIONARY)
    (folder / "text.txt").write_text("Please call Stella, one's mother\n")

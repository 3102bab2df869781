"""The choice of pairs, and the figures of natural, reconstructed and converted speech."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from speechvq import SpeechVQError
from speechvq.audio import SAMPLE_RATE
from speechvq.audio.io import read
from speechvq.audio.mulaw import mulaw_decode, mulaw_encode
from speechvq.codec import Codec
from speechvq.config import MFCCDecoderConfig
from speechvq.data.manifest import read_manifest
from speechvq.evaluate.conversion import (
    SEMITONE,
    ConversionEvaluation,
    choose_pairs,
    evaluate_conversion,
    read_pairs,
    summarize,
)
from speechvq.evaluate.metrics.acoustics import cepstral_distortion, compare, log_pitch
from speechvq.evaluate.metrics.judges import Judges, SpeakerEncoder
from speechvq.evaluate.reference import reference_voices, verification
from speechvq.evaluate.tables import conversion_table
from speechvq.train.kinds import train
from speechvq.wavenet.sampler import Sampling


@pytest.fixture(scope="module")
def codec(runs: dict[str, Path]) -> Codec:
    return Codec.load(runs["mel"])


@pytest.fixture(scope="module")
def evaluation(codec: Codec, corpus: Path) -> ConversionEvaluation:
    pairs = choose_pairs(codec, corpus, ("mid", "high"), 1, "test")
    return evaluate_conversion(codec, corpus, pairs, Judges(speaker_encoder=SpeakerEncoder()), Sampling())


def test_each_speaker_says_what_the_others_said(codec, corpus):
    pairs = choose_pairs(codec, corpus, (), 1, "test")
    assert {(u.speaker, target) for u, target in pairs} == {("mid", "high"), ("high", "mid")}  # low has none in test
    assert {u.split for u, _ in pairs} == {"test"}
    assert pairs == choose_pairs(codec, corpus, (), 1, "test")
    assert {target for _, target in choose_pairs(codec, corpus, ["mid", "high"], 1, "test")} == {"mid", "high"}


def test_unseen_sources_are_everyone_who_is(codec, corpus, tmp_path):
    rows = [json.loads(line) for line in (corpus / "manifest.jsonl").read_text().splitlines()]
    for row in rows:
        row["split"] = "unseen" if row["speaker"] == "mid" else row["split"]
    (tmp_path / "manifest.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    pairs = choose_pairs(codec, tmp_path, ("low", "high"), 2, "unseen")
    assert len(pairs) == 4
    assert {(u.speaker, target) for u, target in pairs} == {("mid", "low"), ("mid", "high")}


@pytest.mark.parametrize(
    ("speakers", "split", "message"),
    [
        (["nobody"], "test", "unknown speaker 'nobody'"),
        (["low", "mid"], "test", "no test utterance of speaker 'low'"),
        (["mid"], "test", "no test utterance to convert to another"),
        ([], "unseen", "no unseen utterance to convert to another"),
    ],
)
def test_pairs_that_are_none(codec, corpus, speakers, split, message):
    with pytest.raises(SpeechVQError, match=message):
        choose_pairs(codec, corpus, speakers, 1, split)


def test_pairs_of_a_file(codec, corpus, tmp_path):
    first, second = read_manifest(corpus)[:2]
    file = tmp_path / "pairs.tsv"
    file.write_text(f"{first.id}\tmid\n\n{second.id}\tlow \n")
    assert read_pairs(codec, corpus, file) == [(first, "mid"), (second, "low")]
    for text, message in (
        ("", "holds no pairs"),
        (f"{first.id} mid\n", "line 1: not the id"),
        ("nothing\tmid\n", "line 1: not the id"),
        (f"{first.id}\tnobody\n", "unknown speaker 'nobody'"),
    ):
        file.write_text(text)
        with pytest.raises(SpeechVQError, match=message):
            read_pairs(codec, corpus, file)


def test_the_rows_are_figures_of_the_decoded_speech(codec, corpus, evaluation):
    """Repeated step by step: the copy, the reconstruction and the conversion of one utterance."""
    name = evaluation.rows[0]["utterance"]
    [utterance] = [u for u in read_manifest(corpus) if u.id == name]
    natural = read(corpus / utterance.path)
    other = "mid" if utterance.speaker == "high" else "high"
    codes = codec.encode(natural, SAMPLE_RATE)
    wavs = {
        "natural": natural,
        "copy": mulaw_decode(mulaw_encode(natural)),
        "reconstruction": codec.decode(codes, utterance.speaker),
        "conversion": codec.decode(codes, other),
    }
    rows = {row["kind"]: row for row in evaluation.rows if row["utterance"] == name}
    assert rows.keys() == wavs.keys()
    encoder = SpeakerEncoder()
    reference = reference_voices(corpus, Judges(speaker_encoder=encoder), {"mid", "high"}, {name})
    for kind, wav in wavs.items():
        assert rows[kind]["energy_correlation"] == compare(natural, wav).energy_correlation
        assert rows[kind]["speaker"] == (other if kind == "conversion" else utterance.speaker)
        target = encoder.embed(wav) @ reference.centroids[rows[kind]["speaker"]]
        assert rows[kind]["similarity"] == pytest.approx(target, abs=0.02)  # the other's utterance is left out too
    assert rows["copy"]["cepstral_distortion"] == cepstral_distortion(natural, wavs["copy"])
    assert rows["natural"]["pitch_difference"] < 1
    assert "nearer" not in rows["natural"]


def test_natural_speech_is_the_ceiling(evaluation):
    figures = evaluation.figures
    assert figures["natural"]["nearest"] == 1
    assert figures["natural"]["similarity"] >= figures["reconstruction"]["similarity"]
    assert figures["natural"]["word_error_rate"] is None
    assert figures["conversion"]["nearer"] is not None
    assert evaluation.speakers == 3


def test_the_table_has_what_was_measured(evaluation):
    text = "\n".join(conversion_table(evaluation))
    assert "nearest to the speaker of all, %" in text
    assert "equal error rate" in text
    assert "word error rate" not in text
    json.dumps(evaluation.rows, allow_nan=False)


def test_pitch_is_compared_with_the_speakers_own(corpus):
    reference = reference_voices(corpus, Judges(), {"low", "high"}, ())
    assert math.exp(reference.pitch["low"]) == pytest.approx(90, rel=0.05)
    assert (reference.pitch["high"] - reference.pitch["low"]) / SEMITONE == pytest.approx(
        12 * math.log2(230 / 90), abs=1
    )
    assert reference.centroids == {}
    own = [u for u in read_manifest(corpus) if u.speaker == "low"]
    pitches = [np.nanmean(log_pitch(read(corpus / u.path))) for u in own]
    assert reference.pitch["low"] == pytest.approx(np.mean(pitches))


def test_verification_is_over_all_pairs():
    a, b = np.array([1.0, 0.0]), np.array([0.0, 1.0])
    assert verification({"a": [a, a], "b": [b, b]}) == (0, 1)
    # Two pairs of one speaker, unlike; four of two, half of them alike: refused all, or accepted all.
    assert verification({"a": [a, b], "b": [a, b]}) == (0.75, 1)
    for one_sided in ({}, {"a": [a, a]}, {"a": [a], "b": [b]}):
        assert all(math.isnan(figure) for figure in verification(one_sided))


def test_summary_by_hand():
    common = {"clipped": 1, "energy_correlation": 0.5, "duration_difference": -7, "pitch_difference": math.nan}
    rows = [
        common | {"words": 3, "word_errors": 3, "characters": 9, "character_errors": 1, "nearest": 1.0},
        common | {"words": 7, "word_errors": 0, "characters": 1, "character_errors": 1, "nearest": 0.0},
        common | {"energy_correlation": 0.2, "pitch_difference": 2.0},
    ]
    figures = summarize(rows)
    assert figures["word_error_rate"] == 0.3  # of all words, not the mean of utterances
    assert figures["character_error_rate"] == 0.2
    assert figures["nearest"] == 0.5
    assert figures["pitch_difference"] == 2
    assert figures["energy_correlation"] == pytest.approx(0.4)
    assert (figures["energy_correlation_min"], figures["duration_difference_max"]) == (0.2, 7)
    assert (figures["clipped_samples"], figures["dnsmos"]) == (3, None)


def test_a_decoder_without_audio_is_refused(corpus, tiny, tmp_path):
    config = replace(
        tiny, model=replace(tiny.model, decoder=MFCCDecoderConfig(conditioner=tiny.model.decoder.conditioner))
    )
    train(config, corpus, tmp_path / "mfcc")
    codec = Codec.load(tmp_path / "mfcc")
    with pytest.raises(SpeechVQError, match="an mfcc decoder renders no speech"):
        evaluate_conversion(codec, corpus, choose_pairs(codec, corpus, (), 1, "test"), Judges(), Sampling())

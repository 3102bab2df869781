"""Codes against phone labels from files: codes that are the labels score 1, late codes are found to be late."""

import json
from dataclasses import replace

import numpy as np
import pytest
import soundfile
import torch

from speechvq import SpeechVQError
from speechvq.cli import main
from speechvq.codec import Codec
from speechvq.config import CausalEncoderConfig, MelDecoderConfig, NoDecoderConfig, StridedEncoderConfig
from speechvq.data.corpora.vctk import VCTK
from speechvq.data.manifest import Split, Treatment, Utterance, read_manifest
from speechvq.data.prepare import prepare
from speechvq.data.utterance_labels import LabelledUtterance, read_labelled
from speechvq.evaluate.labelled import (
    FramePhones,
    clusters,
    encode_labelled,
    scored_speakers,
)
from speechvq.evaluate.phonemes import PRIMARY, RULES, WITH_SILENCE, evaluate_phonemes, score_codes
from speechvq.evaluate.tables import SEQUENCES, phoneme_table
from speechvq.folder.card import Card
from speechvq.nn.vqvae import build
from speechvq.text.labels import read_labels
from speechvq.text.phones import SILENCE
from speechvq.text.segments import Segment
from speechvq.train.kinds import train

HOP = 0.02
SCORED = {"e03", "e04"}


@pytest.fixture(scope="module")
def spoken(tmp_path_factory):
    """Folders: the demo corpus of 4 voices and 12 sentences, and what is prepared of it, its silences trimmed."""
    pytest.importorskip("espeakng_loader")
    from speechvq.data.corpora.demo_speech import VOICES, speak_corpus

    root, data = tmp_path_factory.mktemp("demo"), tmp_path_factory.mktemp("data")
    speak_corpus(root, count=12, voices=VOICES[:4])
    prepare(VCTK.read(root), data, Treatment(trim_db=12.0), Split(unseen_speakers=tuple(SCORED)), speakers={})
    return root, data


@pytest.fixture(scope="module")
def frame_phones(spoken, runs) -> FramePhones:
    labels = read_labelled(spoken[1], spoken[0] / "lab")
    assert labels.unlabelled == labels.left_out == []
    return FramePhones(encode_labelled(Codec.load(runs["mel"]), spoken[1], labels.labelled)[0], HOP)


@pytest.fixture(scope="module")
def truth(spoken, frame_phones) -> list[np.ndarray]:
    """Codes that are the phones, found in the source recordings by another way than `frame_labels`."""
    root, data = spoken
    rows = []
    for s, u in zip(frame_phones.utterances, read_manifest(data), strict=True):
        segments = read_labels(root / "lab" / u.speaker / f"{u.id}.lab")
        whole = np.full(2_000_000, len(frame_phones.phones) + 1)  # the label of every sample at 100 kHz
        for segment in segments:
            whole[round(segment.start * 1e5) : round(segment.end * 1e5)] = frame_phones.ids[segment.label]
        centres = u.start / 16_000 + (np.arange(len(s.vectors)) + 0.5) * HOP
        rows.append(whole[np.round(centres * 1e5).astype(int)])
    return rows


def mapped(frame_phones, codes):
    mfcc = [np.zeros(len(row), int) for row in codes]
    return score_codes(frame_phones, codes, mfcc, SCORED, int(max(row.max() for row in codes)) + 1)


def test_audio_was_trimmed_so_that_the_join_has_something_to_get_wrong(frame_phones):
    assert np.mean([s.utterance.start for s in frame_phones.utterances]) > 0.02 * 16_000
    assert {s.utterance.speaker for s in frame_phones.utterances} == {"e01", "e02", "e03", "e04"}


def test_codes_made_of_the_labels_are_right(frame_phones, truth):
    result = mapped(frame_phones, truth)
    assert result.offset_ms == 0
    for rule in (PRIMARY, WITH_SILENCE):
        assert result.scores[rule].codes.same > 0.999
        assert result.scores[rule].codes.held_out > 0.99  # a phone that only a scored speaker says cannot be predicted
    assert result.scores[PRIMARY].pnmi > 0.999
    wrong = result.confusion.sum() - np.trace(result.confusion)
    assert wrong == pytest.approx((1 - result.scores[PRIMARY].codes.held_out) * result.confusion.sum())


@pytest.mark.parametrize("frames", [-2, -1, 1, 3])
def test_the_sweep_finds_by_how_much_codes_are_late(frame_phones, truth, frames):
    # At the edges, which roll over, there is nothing labelled or silence.
    result = mapped(frame_phones, [np.roll(row, frames) for row in truth])
    assert result.offset_ms == -frames * 20
    assert result.scores[PRIMARY].codes.same > 0.95
    phones, late = np.concatenate(truth), np.concatenate([np.roll(row, frames) for row in truth])
    speech = phones < len(frame_phones.phones)
    agreement = (phones == late)[speech].mean()
    assert result.sweep[0] == pytest.approx(agreement, abs=0.05)  # the mapping may gain a little on identity
    assert agreement < 0.9


def test_silence_is_what_the_counts_differ_by(frame_phones, truth):
    result = mapped(frame_phones, truth)
    silent = sum((row == frame_phones.ids[SILENCE]).sum() for row in truth)
    assert silent > 20
    assert result.scores[WITH_SILENCE].frames - result.scores[PRIMARY].frames == silent
    assert result.scores[PRIMARY].frames == sum((row < len(frame_phones.phones)).sum() for row in truth)
    assert result.contingency.sum() == result.scores[PRIMARY].frames


def test_sequences_of_the_labels_are_as_right_as_their_rate_allows(frame_phones, truth):
    """Codes that are the labels once a frame are the reference of that name; boundaries are right to half a frame."""
    result = mapped(frame_phones, truth)
    best = result.sequences["labels"]
    assert best.error_rate.value < 0.05
    assert best.precision > 0.99
    assert best.f1.value > 0.95
    assert result.sequences["codes"].f1.value == pytest.approx(best.f1.value, abs=0.01)
    assert result.sequences["codes"].error_rate.value == pytest.approx(best.error_rate.value, abs=0.02)
    assert result.sequences["shuffled"].f1.value < best.f1.value - 0.1
    assert result.sequences["mfcc"].error_rate.value > 0.9  # a single cluster: at most one phone


def test_late_codes_have_their_boundaries_where_the_labels_are(frame_phones, truth):
    late = mapped(frame_phones, [np.roll(row, 2) for row in truth]).sequences["codes"]
    assert late.f1.value == pytest.approx(mapped(frame_phones, truth).sequences["codes"].f1.value, abs=0.02)


def test_the_table_says_which_phone_each_code_is(frame_phones, truth):
    names = [*frame_phones.phones, SILENCE]
    result = mapped(frame_phones, truth)
    assert {row.code: row.phone for row in result.code_table}.items() <= dict(enumerate(names)).items()
    assert sum(row.frames for row in result.code_table) == sum((row < len(names)).sum() for row in truth)
    assert all(row.phone_share > 0.95 for row in result.code_table)
    vowels = result.classes["vowels"]
    assert vowels.phone_class.value >= vowels.phone.value > 0.99
    assert sum(one.frames for one in result.classes.values()) == result.confusion.sum()


def test_random_codes_are_at_chance(frame_phones, truth):
    random = np.random.default_rng(0)
    result = mapped(frame_phones, [random.integers(0, 8, len(row)) for row in truth])
    best = result.scores[PRIMARY]
    assert best.most_likely.low - 0.02 <= best.codes.held_out <= best.most_likely.high + 0.02
    assert best.pnmi < 0.03


def test_a_model_by_the_command(spoken, runs, prior, tmp_path, capsys):
    root, data = spoken
    arguments = ["--model", str(runs["mel"]), "--data", str(data), "--labels", str(root / "lab")]
    table = ["--table", str(tmp_path / "codes.tsv")]
    assert main(["evaluate", "phonemes", *arguments, "--json", "--figures", str(tmp_path), *table]) == 0
    result = json.loads(capsys.readouterr().out)
    assert list(result["scores"]) == list(RULES)
    best = result["scores"][PRIMARY]
    assert best["codes"]["held_out"] > 1.5 * best["most_likely"]["held_out"]
    # Labels of MFCC are read without an offset, which changes a frame or so of an utterance.
    assert result["mfcc"]["frames"] == pytest.approx(best["frames"], rel=0.01)
    assert result["scored"] == sorted(SCORED)
    assert result["bits_per_s"]["nominal"] == 200
    assert 50 < result["bits_per_s"]["unigram"] <= 200
    assert result["abx"]["within"] < result["abx_random"]["within"]
    assert {path.name for path in tmp_path.iterdir()} == {"confusion.png", "codes.png", "codes.tsv"}
    lines = (tmp_path / "codes.tsv").read_text(encoding="utf-8").splitlines()
    assert [line.split("\t")[0] for line in lines[1:]] == [str(row["code"]) for row in result["code_table"]]
    assert result["sequences"].keys() == SEQUENCES.keys()
    assert 0.1 < result["sequences"]["codes"]["error_rate"]["value"] < 2
    assert result["probes"].keys() == {"latents", "vectors"}
    # A linear classifier of the vectors chooses among fewer mappings of codes than there are, one of the latents more.
    assert result["probes"]["latents"]["held_out"]["value"] > 1.5 * best["most_likely"]["held_out"]
    assert result["probes"]["vectors"]["fitted"] <= best["codes"]["same"] + 0.05
    assert main(["evaluate", "phonemes", *arguments, "--prior", str(prior)]) == 0
    out = capsys.readouterr().out
    assert "under the prior" in out
    assert "WARNING: fewer than 100000 frames" in out
    assert f"{100 * best['codes']['held_out']:.1f}" in out
    assert f"{100 * result['sequences']['codes']['f1']['value']:.1f}" in out
    assert main(["evaluate", "phonemes", *arguments, "--probe", "0"]) == 2
    assert "layers of this encoder cannot be probed" in capsys.readouterr().err


def test_a_penalty_makes_runs_longer(spoken, runs, capsys):
    root, data = spoken
    arguments = ["--model", str(runs["mel"]), "--data", str(data), "--labels", str(root / "lab"), "--json"]
    results = []
    for penalty in ("0", "10"):
        assert main(["evaluate", "phonemes", *arguments, "--penalty", penalty]) == 0
        results.append(json.loads(capsys.readouterr().out))
    plain, other = results
    assert 5 < other["runs_per_s"] < 0.8 * plain["runs_per_s"] < 40
    assert other["bits_per_s"]["bigram"] < 0.9 * plain["bits_per_s"]["bigram"]
    assert other["squared_distance"] > plain["squared_distance"] > 0
    assert other["sequences"]["codes"]["predicted_phones"] < plain["sequences"]["codes"]["predicted_phones"]


def test_layers_of_a_causal_encoder_are_probed(spoken, tiny, tmp_path, capsys):
    root, data = spoken
    encoder = CausalEncoderConfig(channels=8, dilations=(1,), outputs=(0, 1), strides=(2, 2))
    config = replace(tiny, model=replace(tiny.model, encoder=encoder, decoder=NoDecoderConfig()))
    torch.manual_seed(0)
    model = build(config.model, 0)
    model.bottleneck.initialize(torch.randn(16, 8))
    Codec(model, Card(config, ()), {}, torch.device("cpu")).save(tmp_path)
    arguments = ["--model", str(tmp_path), "--data", str(data), "--labels", str(root / "lab"), "--json"]
    assert main(["evaluate", "phonemes", *arguments, "--probe", "1,0+1"]) == 0
    result = json.loads(capsys.readouterr().out)
    dimensions = {name: one["dimensions"] for name, one in result["probes"].items()}
    assert dimensions == {"latents": 8, "vectors": 8, "layer 1": 8, "layer 0+1": 16}
    frames = result["scores"][PRIMARY]["frames"] - result["scores"][PRIMARY]["fitted_frames"]
    assert {one["scored_frames"] for one in result["probes"].values()} == {frames}
    # The joined layers hold all that is in one of them.
    assert result["probes"]["layer 0+1"]["fitted"] >= result["probes"]["layer 1"]["fitted"] - 0.01
    for name in ("2", "a", "0+2", "0+", "-1"):
        assert main(["evaluate", "phonemes", *arguments, f"--probe={name}"]) == 2
        assert f"'{name}': layers to probe are 0 to 1" in capsys.readouterr().err


def test_the_same_seed_gives_the_same_figures(spoken, runs):
    root, data = spoken
    codec = Codec.load(runs["mel"])
    first, second = (evaluate_phonemes(codec, data, root / "lab").scores for _ in range(2))
    assert first == second


def test_who_is_scored(frame_phones):
    assert scored_speakers(frame_phones.utterances, []) == SCORED  # unseen in training
    assert scored_speakers(frame_phones.utterances, ["e01"]) == {"e01"}
    with pytest.raises(SpeechVQError, match="speaker 'e99'"):
        scored_speakers(frame_phones.utterances, ["e01", "e99"])
    with pytest.raises(SpeechVQError, match="a speaker to fit on and another to score"):
        scored_speakers(frame_phones.utterances, ["e01", "e02", "e03", "e04"])
    seen = [replace(s, utterance=replace(s.utterance, split="train")) for s in frame_phones.utterances]
    half = scored_speakers(seen, [])
    assert len(half) == 2
    assert half == scored_speakers(seen[::-1], [])


def test_nothing_spoken_is_nothing_to_fit_on(frame_phones):
    quiet = [replace(s, segments=[Segment(0, 99, SILENCE)]) for s in frame_phones.utterances]
    codes = [np.zeros(len(s.vectors), int) for s in quiet]
    with pytest.raises(SpeechVQError, match="no frames to fit on"):
        score_codes(FramePhones(quiet, HOP), codes, codes, SCORED, 1)


def test_an_offset_at_the_end_of_its_range_is_warned_of(frame_phones, truth):
    late = [
        replace(s, segments=[replace(x, start=x.start - 0.1, end=x.end - 0.1) for x in s.segments])
        for s in frame_phones.utterances
    ]
    result = mapped(FramePhones(late, HOP), truth)
    assert abs(result.offset_ms) == 80
    assert any("at the end of its range" in line for line in phoneme_table(result))
    assert 0 < result.gaps < 0.01


@pytest.mark.parametrize("hop", [64, 640])
def test_features_are_of_their_frames(hop, tiny, corpus, tmp_path):
    """In noise of which a stretch is silent, the frames of that stretch, however long a frame is."""
    encoder = StridedEncoderConfig(
        kind="wave", strides=(2,) * 6 if hop == 64 else (2,) * 7 + (5,), channels=4, blocks=0
    )
    decoder = MelDecoderConfig(conditioner=replace(tiny.model.decoder.conditioner, upsample=1))
    model = replace(tiny.model, encoder=encoder, decoder=decoder)
    train(replace(tiny, model=model, train=replace(tiny.train, steps=1, crop=3200)), corpus, tmp_path / "run")
    wav = np.random.default_rng(0).standard_normal(16_000).astype(np.float32) * 0.1
    wav[6_400:9_600] = 0
    (tmp_path / "s").mkdir()
    soundfile.write(tmp_path / "s" / "a.wav", wav, 16_000)
    utterance = Utterance("a", "s", "s/a.wav", 16_000, 0, "", "train")
    [spoken], _ = encode_labelled(Codec.load(tmp_path / "run"), tmp_path, [LabelledUtterance(utterance, [])])
    assert len(spoken.mfcc) == len(spoken.vectors) == 16_000 // hop
    energy = spoken.mfcc[:, 0]
    quiet = np.flatnonzero(energy < (energy.min() + energy.max()) / 2)
    assert abs(quiet[0] * hop - 6_400) <= max(hop, 250)
    assert abs((quiet[-1] + 1) * hop - 9_600) <= max(hop, 250)


def test_more_clusters_than_frames_are_refused():
    with pytest.raises(SpeechVQError, match="30 clusters need at least as many frames; there are 20"):
        clusters([np.zeros((20, 3))], [True], 30, seed=0)


def test_clusters_are_fitted_where_they_may_be():
    random = np.random.default_rng(0)
    near = [random.standard_normal((50, 3)) * 0.1 + 10 * (i % 4) for i in range(8)]
    rows = clusters([*near, np.full((5, 3), 1e3)], [True] * 8 + [False], 4, seed=0)
    assert len({row[0] for row in rows[:4]}) == 4
    assert all(len(set(row)) == 1 for row in rows)
    assert [row[0] for row in rows[:4]] == [row[0] for row in rows[4:8]]

"""Codes that the phones of labels teach (model.content), and parts from a model of other speakers.

With all other losses that only training has.
"""

from dataclasses import replace

import numpy as np
import pytest
import soundfile
import torch
from conftest import PHONES, VOWEL, speech

from speechvq import SpeechVQError
from speechvq.codec import Codec
from speechvq.config import ContentConfig, InitConfig, VocoderDecoderConfig
from speechvq.data.corpora.folder import FOLDER
from speechvq.data.manifest import Split, Treatment, read_manifest
from speechvq.data.prepare import prepare
from speechvq.folder.card import WEIGHTS, load_card
from speechvq.folder.weights import load_tensors
from speechvq.nn.objective.content import Content
from speechvq.nn.vqvae import TRAINING_PARTS, build
from speechvq.text.phones import INVENTORY, SILENCE
from speechvq.train.batches import Crops, held_out_batches
from speechvq.train.kinds import train
from speechvq.train.labels import PhoneLabels
from speechvq.train.voice import adapt


@pytest.fixture(scope="module")
def taught(tiny, corpus, vowel_labels, tmp_path_factory):
    """The run of a codec whose codes are taught, and its last figures."""
    out = tmp_path_factory.mktemp("taught")
    conditioner = tiny.model.decoder.conditioner
    others = {"transposed_weight": 0.1, "speaker_weight": 0.1}
    decoder = VocoderDecoderConfig(conditioner=conditioner, vocoder_channels=8, vocoder_blocks=1, **others)
    model = replace(tiny.model, decoder=decoder, content=ContentConfig(weight=1.0))
    config = replace(tiny, model=model, train=replace(tiny.train, steps=80, learning_rate=1e-2, eval_every=40))
    return out, train(config, corpus, out, labels=vowel_labels)


def test_the_phones_of_a_batch_are_those_in_the_middle_of_its_latents(corpus, vowel_labels, tiny):
    utterances, labels = read_manifest(corpus), PhoneLabels(vowel_labels, corpus, 320)
    chosen = [u for u in utterances if u.split == "train"]
    crops = Crops(corpus, chosen, ["high", "low", "mid"], replace(tiny.train, crop=3200), phones=labels)
    row = labels(chosen[0], 700, 9_000)
    middles = 700 + 320 * np.arange(9_000 // 320) + 160
    lines = (vowel_labels / f"{chosen[0].id}.lab").read_text().splitlines()
    order = [INVENTORY.index(line.split()[2]) for line in lines]
    assert row.tolist() == [order[middle // VOWEL] for middle in middles]

    batch = crops[3]
    assert batch.phones.shape == (4, 10)
    assert {*batch.phones.unique().tolist()} <= {INVENTORY.index(phone) for phone in PHONES}
    starts = [int(share * (u.samples - 3200 + 1)) for (i, _, share) in crops.draw(3) for u in [chosen[i]]]
    for i, (own, start) in enumerate(zip(crops.draw(3), starts, strict=True)):
        assert batch.phones[i].tolist() == labels(chosen[own[0]], start, 3200).tolist()

    held = [u for u in utterances if u.split == "valid"]
    [first, *_] = held_out_batches(corpus, held, ["high", "low", "mid"], 3200, phones=labels)
    assert first.phones.shape == (len(first.wav), 10)
    assert labels(replace(chosen[0], id="of/nobody"), 0, 640).tolist() == [-1, -1]


def test_the_loss_and_the_accuracy_by_hand():
    torch.manual_seed(0)
    content, silence = Content(3), INVENTORY.index(SILENCE)
    z, phones = torch.randn(1, 3, 4), torch.tensor([[5, -1, silence, 7]])
    logits = content.classify(z)
    log = logits.log_softmax(1)
    nats, accuracy = content(z, phones)
    torch.testing.assert_close(nats, -(log[0, 5, 0] + log[0, silence, 2] + log[0, 7, 3]) / 3)
    correct = [logits[0, :, i].argmax().item() == phones[0, i].item() for i in (0, 3)]
    assert accuracy == sum(correct) / 2  # without silence
    nats, accuracy = content(z, torch.full((1, 4), -1))
    assert (nats, accuracy) == (0, 0)


def test_codes_are_taught_by_labels(taught):
    out, figures = taught
    assert figures["accuracy"] > 0.5  # of four vowels
    assert figures["content"] < 1.2  # nats; ln 4 is 1.39
    assert load_card(out).taught == "phones of labels"


def test_labels_are_needed_and_refused_where_they_teach_nothing(taught, tiny, corpus, vowel_labels, tmp_path):
    config = load_card(taught[0]).config
    with pytest.raises(SpeechVQError, match="--labels names label files"):
        train(config, corpus, tmp_path)
    with pytest.raises(SpeechVQError, match="--labels names label files"):
        train(tiny, corpus, tmp_path, labels=vowel_labels)
    keep = replace(config, train=replace(config.train, keep="phone_accuracy"))
    with pytest.raises(SpeechVQError, match=r"train\.keep = 'phone_accuracy' is of an encoder's run"):
        train(keep, corpus, tmp_path, labels=vowel_labels)


def test_a_speaker_is_added_without_labels(taught, tmp_path):
    random = np.random.default_rng(2)
    (tmp_path / "new").mkdir()
    for i in range(6):
        soundfile.write(tmp_path / "new" / f"{i}.wav", speech(120, list(random.integers(4, size=8)), random), 16_000)
    adapt(taught[0], "new", tmp_path / "new", tmp_path / "out", steps=4)
    assert "new" in Codec.load(tmp_path / "out").speakers
    before, after = ({*load_tensors(path / WEIGHTS)[0]} for path in (taught[0], tmp_path / "out"))
    assert after == {name for name in before if not name.startswith(TRAINING_PARTS)} < before


def test_known_speakers_keep_their_embeddings_and_new_ones_begin_with_the_mean(taught, tmp_path):
    random = np.random.default_rng(3)
    for voice, pitch in (("mid", 160.0), ("new", 130.0)):
        (tmp_path / "source" / voice).mkdir(parents=True)
        for i in range(6):
            wav = speech(pitch, list(random.integers(4, size=6)), random)
            soundfile.write(tmp_path / "source" / voice / f"{i}.wav", wav, 16_000)
    split = Split(valid=0.3, test=0.0, unseen=0.0)
    prepare(FOLDER.read(tmp_path / "source"), tmp_path / "data", Treatment(60.0), split, speakers={})
    init = InitConfig(str(taught[0]), ("encoder", "bottleneck", "decoder"), ("encoder", "bottleneck"))
    config = load_card(taught[0]).config
    how = replace(config.train, steps=1, learning_rate=1e-12, eval_every=1, average=0.0)
    still = replace(config, model=replace(config.model, content=ContentConfig()), init=init, train=how)
    train(still, tmp_path / "data", tmp_path / "out")
    assert Codec.load(tmp_path / "out").speakers == ("mid", "new")
    first, second = (load_tensors(path / WEIGHTS)[0] for path in (taught[0], tmp_path / "out"))
    table = first["decoder.speakers.weight"]
    expected = torch.stack([table[load_card(taught[0]).speakers.index("mid")], table.mean(0)])
    torch.testing.assert_close(second["decoder.speakers.weight"], expected)
    torch.testing.assert_close(second["decoder.conditioner.codes.weight"], first["decoder.conditioner.codes.weight"])

    frozen = replace(still, init=replace(init, freeze=("decoder",)))
    with pytest.raises(SpeechVQError, match="has no speaker new, whose embedding is frozen"):
        train(frozen, tmp_path / "data", tmp_path / "frozen")


def test_losses_on_other_speakers_are_of_a_decoder_that_learns(taught):
    config = load_card(taught[0]).config
    with pytest.raises(SpeechVQError, match="speaker_weight are of a decoder that is not frozen"):
        build(config.model, 3).freeze(["encoder", "decoder"])
    build(config.model.trained, 3).freeze(["encoder", "decoder"])
    build(config.model, 3).freeze(["decoder.vocoder"])


def test_something_is_left_to_train(taught, corpus, tmp_path):
    config = load_card(taught[0]).config
    parts = ("encoder", "bottleneck", "decoder")
    frozen = replace(config, model=config.model.trained)
    with pytest.raises(SpeechVQError, match="nothing is left to train"):
        train(replace(frozen, init=InitConfig(str(taught[0]), parts, parts)), corpus, tmp_path / "x")
    assert not (tmp_path / "x").exists()

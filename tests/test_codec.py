"""Codec: what a user gets from a model folder."""

import numpy as np
import pytest
import soundfile
import torch

from speechvq import SpeechVQError
from speechvq.audio import normalize_loudness, read, resample
from speechvq.codec import Codec, Encoded
from speechvq.corpus import read_manifest
from speechvq.sampler import Sampling


@pytest.fixture(params=["mel", "wavenet"])
def codec(request, runs):
    return Codec.load(runs[request.param])


@pytest.fixture(scope="module")
def wav(corpus):
    return read(corpus / read_manifest(corpus)[0].path)


def test_codes_are_the_models(codec, wav):
    codes = codec.encode(wav, 16_000)
    padded = torch.nn.functional.pad(normalize_loudness(wav), (0, -len(wav) % codec.hop_length))
    with torch.inference_mode():
        z = codec.model.encoder(padded[None])[0]
    distances = (z.T[:, None] - codec.model.bottleneck.table[None]).square().sum(-1)
    assert codes.tolist() == distances.argmin(1).tolist()
    assert len(codes.unique()) > 1


def test_input_may_be_of_any_rate_channels_level_and_kind(codec, wav):
    codes = codec.encode(wav, 16_000)
    same = [codec.encode(0.1 * wav, 16_000), codec.encode(wav.numpy(), 16_000), codec.encode(wav.tolist(), 16_000)]
    same.append(codec.encode(np.stack([wav, wav]), 16_000))
    assert all(torch.equal(other, codes) for other in same)
    faster = codec.encode(resample(wav, 16_000, 44_100), 44_100)
    assert abs(len(faster) - len(codes)) <= 1
    assert (faster[: len(codes)] == codes[: len(faster)]).float().mean() > 0.5


def test_conversion_keeps_the_duration_and_depends_on_speaker_and_seed(codec, wav):
    one, other = (codec.convert(wav, 16_000, speaker) for speaker in codec.speakers[:2])
    assert len(one) == len(other) == len(wav)
    assert not torch.equal(one, other)
    assert torch.equal(one, codec.convert(wav, 16_000, codec.speakers[0]))
    assert not torch.equal(one, codec.convert(wav, 16_000, codec.speakers[0], seed=1))
    assert one.abs().max() <= 1


def test_a_stream_is_the_same_speech_in_pieces(codec):
    codes = torch.randint(16, (60,), generator=torch.Generator().manual_seed(0))
    pieces = list(codec.stream(codes, codec.speakers[1], temperature=0.8, seed=4))
    assert (len(pieces) > 1) == (codec.card.config.model.decoder.kind == "wavenet")
    assert torch.equal(torch.cat(pieces), codec.decode(codes, codec.speakers[1], temperature=0.8, seed=4))


def test_an_utterance_sounds_the_same_in_any_company(codec):
    random = torch.Generator().manual_seed(0)
    rows = [torch.randint(16, (n,), generator=random) for n in (5, 2, 7)]
    names = [codec.speakers[i] for i in (0, 1, 2)]
    together = codec.decode_many(rows, names, Sampling(seed=3))
    backwards = codec.decode_many(rows[::-1], names[::-1], Sampling(seed=3))[::-1]
    for row, name, wav, back in zip(rows, names, together, backwards, strict=True):
        alone = codec.decode(row, name, seed=3)
        torch.testing.assert_close(wav, alone, atol=1e-4, rtol=0)
        torch.testing.assert_close(back, alone, atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (np.zeros(0), "no samples"),
        (np.array([0.0, np.nan]), "NaN"),
        (np.array([0.0, np.inf]), "infinite"),
        (np.zeros((2, 2, 2)), "shape"),
    ],
)
def test_audio_that_is_none_is_refused(codec, bad, words):
    with pytest.raises(SpeechVQError, match=words):
        codec.encode(bad, 16_000)


def test_codes_that_are_none_are_refused(codec):
    for codes in ([], [[1, 2]], [-1], [16]):
        with pytest.raises(SpeechVQError, match="codes are"):
            codec.decode(codes, codec.speakers[0])
    with pytest.raises(SpeechVQError, match="nearest of 3: mid"):
        codec.decode([1], "mit")
    with pytest.raises(SpeechVQError, match="rate"):
        codec.encode(np.zeros(10), 0)


def test_a_missing_device_is_one_line(runs):
    with pytest.raises(SpeechVQError, match="device 'nowhere' cannot be used"):
        Codec.load(runs["mel"], device="nowhere")


def test_encoded_round_trip_and_damage(codec, wav, tmp_path):
    encoded = Encoded(codec.encode(wav, 16_000), len(wav), codec.fingerprint)
    path = tmp_path / "codes.npz"
    encoded.save(path)
    again = Encoded.load(path)
    assert torch.equal(again.codes, encoded.codes)
    assert (again.samples, again.model) == (len(wav), codec.fingerprint)
    whole = path.read_bytes()
    for damaged in (b"", whole[: len(whole) // 2], whole[:-30]):
        path.write_bytes(damaged)
        with pytest.raises(SpeechVQError, match="damaged"):
            Encoded.load(path)
    with pytest.raises(SpeechVQError, match="no such file"):
        Encoded.load(tmp_path / "absent.npz")


def test_real_codec_output_is_audio(codec, wav, tmp_path):
    soundfile.write(tmp_path / "out.wav", codec.convert(wav, 16_000, codec.speakers[0]).numpy(), 16_000)
    back, _ = soundfile.read(tmp_path / "out.wav")
    assert back.std() > 1e-3

"""Codec: encoding, decoding and conversion with a loaded model."""

import subprocess
import sys
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import soundfile
import torch

from speechvq import SpeechVQError
from speechvq.audio.features import LogMel
from speechvq.audio.high_pass import high_pass
from speechvq.audio.io import read, resample
from speechvq.audio.level import normalize_loudness
from speechvq.codec import Codec
from speechvq.data.manifest import read_manifest
from speechvq.wavenet.sampler import Sampling


@pytest.fixture(params=["mel", "wavenet"])
def codec(request, runs):
    return Codec.load(runs[request.param])


@pytest.fixture(scope="module")
def wav(corpus):
    return read(corpus / read_manifest(corpus)[0].path)


def test_codes_are_the_nearest_vectors_of_the_latents(codec, wav):
    codes = codec.encode(wav, 16_000)
    assert codec.high_pass == 80
    padded = torch.nn.functional.pad(normalize_loudness(high_pass(wav, 80)), (0, -len(wav) % codec.hop_length))
    with torch.inference_mode():
        z = codec.model.encoder(padded[None])[0]
    distances = (z.T[:, None] - codec.model.bottleneck.table[None]).square().sum(-1)
    assert codes.tolist() == distances.argmin(1).tolist()
    assert len(codes.unique()) > 1


def test_codes_are_found_in_two_steps_or_in_one(codec, wav):
    latents = codec.latents(wav, 16_000)
    assert latents.shape == (8, len(codec.encode(wav, 16_000)))
    assert torch.equal(codec.quantize(latents), codec.encode(wav, 16_000))


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


def test_an_utterance_does_not_depend_on_the_rest_of_its_batch(codec):
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
def test_invalid_audio_is_refused(codec, bad, words):
    with pytest.raises(SpeechVQError, match=words):
        codec.encode(bad, 16_000)


def test_invalid_codes_speakers_and_rates_are_refused(codec):
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


def cut(wav: torch.Tensor, length: int) -> Callable[[], Iterator[torch.Tensor]]:
    return lambda: (wav[begin : begin + length] for begin in range(0, len(wav), length))


@pytest.mark.parametrize("frames", [1, 2, 3, 7, 25, 1000])
def test_codes_do_not_depend_on_how_the_wav_is_read(codec, wav, monkeypatch, frames):
    """The latents are compared bit by bit, over many windows."""
    monkeypatch.setattr("speechvq.audio.windows.WINDOW_SAMPLES", 10 * codec.hop_length)
    long = torch.cat([wav, 0.3 * wav, wav.flip(0)])[:-77]
    whole = codec.represent(long, 16_000)
    latents = torch.inference_mode()(lambda window: codec.model.encoder(pad(window, codec.hop_length)))
    once = codec._windows(lambda: [long], latents)
    again = codec._windows(cut(long, frames * codec.hop_length), latents)
    assert torch.equal(once, again)
    assert torch.equal(codec._windows(cut(long, frames * codec.hop_length + 13), codec.model.represent), whole)


def test_windows_give_the_latents_of_the_whole(codec, wav, monkeypatch):
    long = torch.cat([wav, 0.3 * wav, wav.flip(0)])[:-77]
    latents = torch.inference_mode()(lambda window: codec.model.encoder(pad(window, codec.hop_length)))
    whole = codec._windows(lambda: [long], latents)
    for block in (1, 5, 40):
        monkeypatch.setattr("speechvq.audio.windows.WINDOW_SAMPLES", block * codec.hop_length)
        torch.testing.assert_close(codec._windows(lambda: [long], latents), whole, atol=2e-5, rtol=0)


def pad(window: torch.Tensor, hop: int) -> torch.Tensor:
    return torch.nn.functional.pad(window, (0, -window.shape[1] % hop))


@pytest.mark.parametrize("rate", [16_000, 44_100])
def test_a_file_is_encoded_like_its_samples(codec, wav, tmp_path, monkeypatch, rate):
    path = tmp_path / "x.wav"
    soundfile.write(path, resample(wav, 16_000, rate).numpy(), rate, subtype="FLOAT")
    codes = codec.encode(read(path), 16_000)
    monkeypatch.setattr("speechvq.audio.decoding.libsndfile.READ_SIZE", 1000)
    encoded = codec.encode_file(path, "mid")
    assert torch.equal(encoded.codes, codes)
    assert (encoded.samples, encoded.alphabet, encoded.speaker) == (len(wav), codec.alphabet, "mid")


def test_real_codec_output_is_audio(codec, wav, tmp_path):
    soundfile.write(tmp_path / "out.wav", codec.convert(wav, 16_000, codec.speakers[0]).numpy(), 16_000)
    back, _ = soundfile.read(tmp_path / "out.wav")
    assert back.std() > 1e-3


def test_an_hour_takes_no_more_memory_than_five_minutes(runs, wav, tmp_path):
    def peak(minutes: int) -> int:
        path = tmp_path / f"{minutes}.wav"
        with soundfile.SoundFile(path, "w", 16_000, 1) as file:
            for _ in range(minutes):
                file.write(np.resize(wav.numpy(), 960_000))
        code = (
            "import resource; from pathlib import Path; from speechvq.codec import Codec\n"
            f"encoded = Codec.load({str(runs['mel'])!r}).encode_file(Path({str(path)!r}))\n"
            "print(len(encoded.codes), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        codes, memory = map(int, done.stdout.split())
        assert codes == minutes * 60 * 50
        return memory

    assert peak(60) < 1.2 * peak(5)


def test_a_mel_decoder_streams_without_a_click(runs, wav, monkeypatch):
    codec = Codec.load(runs["mel"])
    codes = codec.encode(torch.cat([wav] * 8), 16_000)  # 6 s
    [whole], [other] = codec.stream(codes, "mid"), codec.stream(codes, "mid", seed=1)
    monkeypatch.setattr("speechvq.nn.decoder.frames.PIECE_LENGTH", 16_000)
    pieces = list(codec.stream(codes, "mid"))
    assert [len(piece) for piece in pieces] == [16_000] * 6
    assert torch.equal(torch.cat(pieces), codec.decode(codes, "mid"))
    parts = torch.cat(pieces)
    mel = LogMel()
    apart = [(mel(wav[None]) - mel(whole[None])).abs().mean() for wav in (parts, other)]
    assert apart[0] < 1.1 * apart[1]  # no more than by other phases to begin with
    bends = parts.diff(n=2).abs()
    for joint in range(16_000, 80_000, 16_000):
        assert bends[joint - 20 : joint + 820].max() <= 1.5 * bends[joint - 6000 : joint - 20].max()


def test_vectors_of_long_speech_are_looked_up_piece_by_piece(runs, wav, monkeypatch):
    """Those of five hours would take 230 MB."""
    codec, sizes = Codec.load(runs["mel"]), []
    codes = codec.encode(torch.cat([wav] * 8), 16_000)  # 6 s
    lookup = codec.model.bottleneck.lookup
    monkeypatch.setattr("speechvq.nn.decoder.frames.PIECE_LENGTH", 8_000)
    monkeypatch.setattr("speechvq.nn.decoder.frames.PIECE_MARGIN", 1_600)
    monkeypatch.setattr(codec.model.bottleneck, "lookup", lambda row: sizes.append(row.shape[1]) or lookup(row))
    assert len(torch.cat([*codec.stream(codes, "mid")])) == 96_000
    assert max(sizes) <= 25 + 2 * 6  # codes of a piece and its margins


def test_long_files_are_written_in_pieces(runs, wav, tmp_path, monkeypatch):
    from speechvq.cli import main

    soundfile.write(tmp_path / "in.wav", np.tile(wav.numpy(), 4)[:-100], 16_000)
    for name in ("mel", "wavenet"):
        command = ["convert", str(tmp_path / "in.wav"), str(tmp_path / f"{name}.wav"), "--speaker", "mid"]
        assert main([*command, "--model", str(runs[name])]) == 0
        monkeypatch.setattr("speechvq.coding.jobs.LONG_FILE", 1000)
        command[2] = str(tmp_path / f"{name}-long.wav")
        assert main([*command, "--model", str(runs[name])]) == 0
        assert (tmp_path / f"{name}.wav").read_bytes() == (tmp_path / f"{name}-long.wav").read_bytes()
        monkeypatch.undo()

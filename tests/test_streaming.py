"""Streams: the same bits at any length of the pieces, no later than stated, and those of the whole file."""

import time

import numpy as np
import pytest
import torch
from conftest import speech
from torch import Tensor

from speechvq import SpeechVQError
from speechvq.audio.high_pass import high_passed
from speechvq.audio.level import LOUDNESS, MAX_GAIN, Meter, RunningGain
from speechvq.audio.windows import Windows
from speechvq.codec import Codec
from speechvq.config import CodecRun
from speechvq.config.parsing import parse
from speechvq.folder.card import Card
from speechvq.nn.vqvae import build

CONDITIONER = {"upsample": 4, "channels": 24, "blocks": 2, "speaker_dim": 4}
ENCODERS = {
    "causal": {
        "kind": "causal",
        "strides": [2, 2],
        "channels": 24,
        "pointwise": 1,
        "dilations": [1, 2, 4],
        "lookahead": 1,
        "outputs": [3],
        "mean": 20,
    },
    "logmel": {"kind": "logmel", "strides": [2], "channels": 24, "blocks": 2},
    "wave": {"kind": "wave", "strides": [4, 4, 4, 5], "channels": 12, "blocks": 1},
}
DECODERS = {
    "source_filter": {"kind": "source_filter", "conditioner": CONDITIONER},
    "vocoder": {"kind": "vocoder", "conditioner": CONDITIONER | {"causal": True, "lookahead": 2}},
    "band_wavenet": {
        "kind": "band_wavenet",
        "conditioner": CONDITIONER | {"causal": True, "lookahead": 2},
        "wavenet": {"cycles": 1, "layers": 4, "residual": 16, "gate": 16, "skip": 16},
    },
}
SPEECH = torch.from_numpy(speech(120.0, [0, 1, 2, 3, 1, 0, 2], np.random.default_rng(3)))[:16_123]
PIECES = [1, 7, 160, 1000, 5000, 16_122, 16_123]


def fresh(encoder: str, decoder: str = "source_filter") -> Codec:
    """A codec of random weights with 2 voices."""
    model = {
        "encoder": ENCODERS[encoder],
        "bottleneck": {"kind": "ema", "codes": 32, "dim": 8},
        "decoder": DECODERS[decoder],
    }
    config = parse(CodecRun, {"model": model})
    torch.manual_seed(0)
    net = build(config.model, 2)
    with torch.inference_mode():
        latents = net.eval().latents(SPEECH[None])[0].T
        net.bottleneck.initialize(
            latents[torch.randint(len(latents), (32,))] + 0.1 * latents.std() * torch.randn(32, 8)
        )
    return Codec(net, Card(config, ("a", "b"), high_pass=80.0), {}, torch.device("cpu"))


def in_pieces(stream, wav: Tensor, length: int) -> Tensor:
    return torch.cat([*(stream.push(piece) for piece in wav.split(length)), stream.flush()])


@pytest.mark.parametrize(
    ("encoder", "decoder"),
    [*((one, "source_filter") for one in ENCODERS), ("causal", "vocoder"), ("causal", "band_wavenet")],
)
def test_a_stream_is_the_whole_bit_by_bit(encoder, decoder):
    codec = fresh(encoder, decoder)
    codes, whole = codec.encode(SPEECH, 16_000, gain=0.8), codec.convert(SPEECH, 16_000, "b", gain=0.8, seed=5)
    assert len(whole) == len(SPEECH)
    assert len(codes) == -(-len(SPEECH) // codec.hop_length)
    assert len(codes.unique()) > 4
    for length in PIECES:
        assert torch.equal(in_pieces(codec.code_stream(gain=0.8), SPEECH, length), codes), length
        assert torch.equal(in_pieces(codec.streamer("b", gain=0.8, seed=5), SPEECH, length), whole), length


def test_ten_minutes_at_once_take_no_longer_than_in_pieces():
    """The windows of a push; copying what waits for each of them would take minutes."""
    wav = torch.arange(9_600_000.0)
    begun = time.process_time()
    found = [window.wav for window in Windows(640, 3, 640, 1).push(wav)]
    assert time.process_time() - begun < 10
    assert len(found) == 14_999
    for block in (0, 1, 4, 14_998):
        assert torch.equal(found[block], wav[max(block - 3, 0) * 640 : (block + 2) * 640])


@pytest.mark.parametrize("settings", [{}, {"lookahead": 1}, {"lookahead": 0}, {"gain": 1.0}, {"sample_rate": 22_050}])
def test_with_other_settings_too(settings):
    """Also at the running loudness, after resampling, and with a decoder that waits for less."""
    codec = fresh("causal")
    whole = in_pieces(codec.streamer("b", **settings), SPEECH, len(SPEECH))
    assert len(whole) == pytest.approx(len(SPEECH) * 16_000 / settings.get("sample_rate", 16_000), abs=1)
    for length in (13, 900, 5000):
        assert torch.equal(in_pieces(codec.streamer("b", **settings), SPEECH, length), whole), length


@pytest.mark.parametrize("encoder", ENCODERS)
def test_a_stream_gives_what_the_file_gives(encoder):
    """But for rounding, which the length of a window decides; the windows of a file are half a minute."""
    codec = fresh(encoder)
    wav = SPEECH * 0.8
    in_file = codec.encode(wav, 16_000)
    gain = Meter(high_passed([wav], codec.high_pass)).gain()
    codes = codec.encode(wav, 16_000, gain=gain)
    assert (codes == in_file).float().mean() > 0.95
    decoded = torch.cat([(stream := codec.speech_stream("a", seed=2)).push(codes), stream.flush()])
    whole = codec.decode(codes, "a", seed=2)
    torch.testing.assert_close(decoded, whole, atol=1e-4 * whole.abs().max().item(), rtol=0)


@pytest.mark.parametrize(
    ("encoder", "decoder", "lookahead"),
    [*((one, "source_filter", codes) for one in ENCODERS for codes in (None, 3, 0)), ("causal", "band_wavenet", None)],
)
def test_the_latency_is_exact(encoder, decoder, lookahead):
    """A stream of single samples is never later than stated, and as late as that at some time."""
    codec = fresh(encoder, decoder)
    stream = codec.streamer("a", gain=1.0, lookahead=lookahead)
    given, late = 0, []
    for n, sample in enumerate(SPEECH[: stream.latency + 3000].split(1), 1):
        late.append(n - given)  # before the push, of the sample that comes
        given += len(stream.push(sample))
    assert max(late) == stream.latency


def test_the_latency_of_encoder_and_decoder_alone():
    codec = fresh("causal")
    stream = codec.code_stream(gain=1.0)
    encoder = codec.model.encoder
    assert stream.latency == 640 + encoder.lookahead
    assert len(stream.push(SPEECH[: stream.latency - 1])) == 0
    assert len(stream.push(SPEECH[:1])) == 1
    speech_stream = codec.speech_stream("a", lookahead=2)
    assert speech_stream.latency == 3 * 640 + 240  # frames of 160 samples, one and a half of which are late
    assert len(speech_stream.push(torch.zeros(2, dtype=torch.int64))) == 0
    assert len(speech_stream.push(torch.zeros(1, dtype=torch.int64))) == 640 - 240


def test_the_running_gain_reaches_the_loudness_of_training():
    long = SPEECH.repeat(6)
    for level in (0.3, 1.0, 3.0):
        wav = RunningGain().push(long * level)
        assert Meter([wav[-48_000:]]).loudness == pytest.approx(LOUDNESS, abs=1.5)
    assert torch.equal(RunningGain().push(torch.zeros(8000)), torch.zeros(8000))
    faint = RunningGain().push(long * 1e-3)
    assert (faint.abs().max() / (long * 1e-3).abs().max()).item() == pytest.approx(MAX_GAIN, rel=0.01)
    assert RunningGain().push(torch.full((16_000,), 0.9) * torch.sign(long[:16_000])).abs().max() <= 0.99


def test_nothing_is_a_stream_too():
    codec = fresh("logmel")
    stream = codec.streamer("a")
    assert len(stream.push(torch.empty(0))) == 0
    assert len(stream.flush()) == 0
    with pytest.raises(SpeechVQError, match="has ended"):
        stream.push(SPEECH)


@pytest.mark.parametrize(
    ("samples", "reason"),
    [(torch.zeros(2, 5), "one channel"), (torch.tensor([0.0, float("nan")]), "finite"), ([1.0, np.inf], "finite")],
)
def test_what_is_no_sound_is_refused(samples, reason):
    with pytest.raises(SpeechVQError, match=reason):
        fresh("logmel").streamer("a").push(samples)


def test_what_cannot_stream_says_so(runs):
    with pytest.raises(SpeechVQError, match="only vocoder, source_filter and band_wavenet decoders"):
        Codec.load(runs["mel"]).streamer("low")
    with pytest.raises(SpeechVQError, match="unknown speaker"):
        fresh("logmel").streamer("c")
    with pytest.raises(SpeechVQError, match="no penalty"):
        fresh("logmel").encode(SPEECH, 16_000, gain=1.0, penalty=1.0)
    with pytest.raises(SpeechVQError, match="sample rate"):
        fresh("logmel").streamer("a", 0)


def test_a_packaged_model_streams():
    """That of the command line, whichever it is."""
    codec = Codec.load("convert-50hz")
    speaker, wav = codec.speakers[0], SPEECH[:12_000]
    whole = codec.convert(wav, 16_000, speaker, gain=1.0)
    assert torch.equal(in_pieces(codec.streamer(speaker, gain=1.0), wav, 1234), whole)

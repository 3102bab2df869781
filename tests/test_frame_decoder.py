"""Where two pieces of a long utterance meet, by decoders whose phases agree and by those whose do not."""

from typing import Any

import numpy as np
import pytest
import torch
from test_decoder import HOP, D, fresh, latents, speak
from torch import Tensor

from speechvq import SpeechVQError
from speechvq.config import ConditionerConfig
from speechvq.nn.decoder import DECODERS, frames
from speechvq.nn.decoder.contract import UNCHANGED, PitchChange
from speechvq.nn.decoder.frames import FrameDecoder, equal_power
from speechvq.nn.decoder.source_filter import FILTER_BANDS, SourceFilterDecoder
from speechvq.wavenet.sampler import Sampling


class Coherent(FrameDecoder):
    """A wav whose samples follow from the nearest frames alone: two pieces render the same."""

    def render(self, frames: Tensor, seed: int, pitch: PitchChange = UNCHANGED) -> Tensor:
        return frames[0].sum(0).repeat_interleave(self.frame_length)


class Faded(Coherent):
    def join(self, tail: Tensor, head: Tensor) -> Tensor:
        return torch.lerp(tail, head, torch.linspace(0, 1, len(head)))


class Cut(Coherent):
    def join(self, tail: Tensor, head: Tensor) -> Tensor:
        return head


class Louder(Coherent):
    def join(self, tail: Tensor, head: Tensor) -> Tensor:
        return equal_power(0.1 * tail, 0.1 * head) / 0.1


@pytest.fixture(autouse=True)
def short_pieces(monkeypatch):
    monkeypatch.setattr(frames, "PIECE_LENGTH", 20 * HOP)
    monkeypatch.setattr(frames, "PIECE_MARGIN", 10 * HOP)


def coherent(cls: type[Coherent]) -> Coherent:
    torch.manual_seed(0)
    return cls(ConditionerConfig(upsample=2, channels=16, blocks=1, speaker_dim=6), D, 3, HOP).eval()


def excess(cls: type[Coherent], monkeypatch) -> float:
    """Of 50 codes in pieces against the whole: the largest ratio of powers in a hop, in dB."""
    decoder, [z_q] = coherent(cls), latents(50)
    [pieces] = speak(decoder, [z_q], [1])
    monkeypatch.setattr(frames, "PIECE_LENGTH", 10_000 * HOP)
    [whole] = speak(decoder, [z_q], [1])
    ratio = pieces.square().reshape(-1, HOP).mean(1) / whole.square().reshape(-1, HOP).mean(1)
    return (10 * ratio.log10()).abs().max().item()


@pytest.mark.parametrize("cls", [Faded, Cut])
def test_coherent_pieces_meet_as_if_there_were_none(cls, monkeypatch):
    assert excess(cls, monkeypatch) < 0.01


def test_at_equal_power_coherent_pieces_would_gain_3_db(monkeypatch):
    """Which is why the decoder decides."""
    assert 2.5 < excess(Louder, monkeypatch) < 3.1


def test_equal_power_is_sine_and_cosine():
    tail, head = torch.rand(2, 800, generator=torch.Generator().manual_seed(0)) - 0.5
    angle = np.linspace(0, np.pi / 2, 800)
    expected = np.cos(angle) * tail.numpy() + np.sin(angle) * head.numpy()
    np.testing.assert_allclose(equal_power(tail, head), expected, atol=1e-6)
    assert equal_power(torch.ones(800), torch.ones(800)).max() == 1  # within full scale
    assert equal_power(tail[:0], head[:0]).shape == (0,)


@pytest.mark.parametrize("kind", [kind for kind, cls in DECODERS.items() if issubclass(cls, FrameDecoder)])
@pytest.mark.parametrize("codes", [19, 20, 21, 41])
def test_pieces_have_the_length_of_the_codes(kind, codes):
    """Those of a decoder that carries its state come a little late."""
    decoder = fresh(kind).eval()
    late = decoder.synthesis(Sampling()).delay if isinstance(decoder, SourceFilterDecoder) else 0
    with torch.no_grad():
        pieces = [piece for [piece] in decoder.stream(latents(codes), torch.tensor([0]), Sampling(), [0])]
    ends = np.cumsum([len(piece) for piece in pieces])
    assert ends[-1] == codes * HOP
    assert all(end == 20 * (i + 1) * HOP - late for i, end in enumerate(ends[:-1]))


@pytest.mark.parametrize("codes", [60, 61, 90])
@pytest.mark.parametrize("kind", ["source_filter", "band_wavenet"])
def test_pieces_of_a_decoder_that_carries_its_state_are_the_whole(kind, codes, monkeypatch):
    """Phases, noise and what was drawn, too."""
    decoder, [z_q] = fresh(kind).eval(), latents(codes)
    [pieces] = speak(decoder, [z_q], [1], seed=3)
    monkeypatch.setattr(frames, "PIECE_LENGTH", 10_000 * HOP)
    [whole] = speak(decoder, [z_q], [1], seed=3)
    torch.testing.assert_close(pieces, whole, atol=1e-5 * whole.abs().max().item(), rtol=0)


REACHES = [
    (1, 0, None),
    (1, 1, None),
    (2, 4, None),
    (4, 2, None),
    (5, 3, None),
    (1, 2, 2),
    (2, 2, 0),
    (2, 4, 3),
    (4, 1, 1),
]


@pytest.mark.parametrize(("upsample", "blocks", "lookahead"), REACHES)
@pytest.mark.parametrize("kind", ["source_filter", "vocoder", "band_wavenet"])
def test_the_reach_of_a_decoder_is_exact(kind, upsample, blocks, lookahead):
    """Centred for a lookahead of None, else causal."""
    conditioner: dict[str, Any] = {"upsample": upsample, "channels": 32, "blocks": blocks, "speaker_dim": 6}
    if lookahead is not None:
        conditioner |= {"causal": True, "lookahead": lookahead}
    decoder = fresh(kind, conditioner=conditioner).eval()
    assert isinstance(decoder, SourceFilterDecoder)
    z_q = torch.randn(D, 90, requires_grad=True)
    own = decoder.predict(z_q, torch.randn(6), 45, 46)
    assert own.shape[2] == upsample
    (gradient,) = torch.autograd.grad(own.square().sum(), z_q)
    seen = gradient.abs().sum(0).nonzero()[:, 0]
    before, after = decoder.reach
    assert (seen.min(), seen.max()) == (45 - before, 45 + after)


def test_only_a_causal_conditioner_has_a_lookahead():
    with pytest.raises(SpeechVQError, match=r"only a causal conditioner has a lookahead"):
        fresh("vocoder", conditioner={"lookahead": 2})


def test_independent_noise_meets_without_becoming_softer():
    decoder = fresh("source_filter").eval()
    with torch.no_grad():
        decoder.project.weight.zero_()
        decoder.project.bias.copy_(torch.tensor([-20.0] * FILTER_BANDS + [2.0] * FILTER_BANDS + [0.0]))  # breath alone
    [wav] = speak(decoder, latents(1200), [0])
    power = wav.square().reshape(-1, 20 * HOP)[1:]  # of pieces: each begins with a fade
    assert power[:, 200:600].mean().item() == pytest.approx(power[:, 1000:].mean().item(), rel=0.1)


@pytest.mark.parametrize(("bands", "error"), [(2, -37), (4, -45)])
def test_a_band_wavenet_that_draws_nothing_speaks_as_its_vocoder(bands, error):
    """So its pieces, its bands and what it sees lie where they belong; the error (dB) is that of grid and bands."""
    vocoder, decoder, [z_q] = fresh("vocoder").eval(), fresh("band_wavenet", bands=bands).eval(), latents(90)
    decoder.load_state_dict(vocoder.state_dict(), strict=False)
    with torch.no_grad():
        decoder.wavenet.head[3].weight.zero_()
        decoder.wavenet.head[3].bias.zero_()
        [expected], [wav] = (
            one.generate([z_q], torch.tensor([1]), Sampling(temperature=0.0), [0]) for one in (vocoder, decoder)
        )
    assert 10 * ((wav - expected)[:-50].square().mean() / expected.square().mean()).log10() < error


def test_the_temperature_of_a_band_wavenet_multiplies_that_of_the_sampling():
    decoder, cooler, [z_q] = fresh("band_wavenet").eval(), fresh("band_wavenet", temperature=0.5).eval(), latents(20)
    cooler.load_state_dict(decoder.state_dict())
    speaker = torch.tensor([1])
    whole, half, own = (
        one.generate([z_q], speaker, Sampling(temperature), [0])[0]
        for one, temperature in ((decoder, 1.0), (decoder, 0.5), (cooler, 1.0))
    )
    assert own.equal(half)
    assert not own.equal(whole)

"""Transforms of spectra give the bits of torchaudio's, with which models were trained."""

import math

import pytest
import torch

from speechvq.audio.features import cosine_matrix, deltas, mel_filterbank, phases_found
from speechvq.audio.mulaw import mulaw_decode, mulaw_encode
from speechvq.nn.augment import stretched

AF = pytest.importorskip("torchaudio.functional")


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


@pytest.mark.parametrize(("bins", "bands"), [(257, 80), (513, 40), (1025, 80), (257, 23)])
def test_mel_filters(bins, bands):
    expected = AF.melscale_fbanks(bins, 0.0, 8000.0, bands, 16_000, "slaney", "slaney")
    assert torch.equal(mel_filterbank(bins, bands, 16_000), expected)


@pytest.mark.parametrize(("outputs", "inputs"), [(13, 80), (80, 80), (1, 2)])
def test_cosines(outputs, inputs):
    assert torch.equal(cosine_matrix(outputs, inputs), AF.create_dct(outputs, inputs, norm="ortho"))


@pytest.mark.parametrize("shape", [(2, 13, 50), (1, 1, 1)])
def test_deltas(shape):
    features = torch.randn(shape)
    assert torch.equal(deltas(features), AF.compute_deltas(features))


def test_phases_are_found():
    magnitude, window = torch.rand(2, 257, 30), torch.hann_window(400)
    torch.manual_seed(1)
    wav = phases_found(magnitude, window, 512, 160, 5)
    torch.manual_seed(1)
    how = {"power": 1.0, "n_iter": 5, "momentum": 0.99, "length": None, "rand_init": True}
    assert torch.equal(wav, AF.griffinlim(magnitude, window, 512, 160, 400, **how))


@pytest.mark.parametrize("rate", [1.0, 0.8, 1.3])
def test_durations_are_changed(rate):
    frames = torch.randn(129, 40, dtype=torch.complex64)
    advance = torch.linspace(0, math.pi * 64, 129)[:, None]
    assert torch.equal(stretched(frames, rate, advance), AF.phase_vocoder(frames[None], rate, advance)[0])


def test_mu_law():
    wav, classes = torch.linspace(-1, 1, 10_001), torch.arange(256)
    assert torch.equal(mulaw_encode(wav), AF.mu_law_encoding(wav, 256))
    assert torch.equal(mulaw_decode(classes), AF.mu_law_decoding(classes, 256))
    assert torch.equal(mulaw_encode(mulaw_decode(classes)), classes)

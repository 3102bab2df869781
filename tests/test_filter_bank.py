"""The filter bank by what it must do: perfect reconstruction, equal power, the right band, pieces."""

import math

import pytest
import torch

from speechvq.nn.decoder.filter_bank import join_bands, margin_samples, margin_steps, split_bands, split_inner

RATE, BANDS = 16_000, [2, 4, 8]


def noise(length: int) -> torch.Tensor:
    return torch.randn(2, length, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(("bands", "most"), [(2, -39), (4, -52), (8, -52)])
def test_joined_bands_are_the_wav(bands, most):
    wav = noise(8000)
    error = (join_bands(split_bands(wav, bands)) - wav)[:, 200:-200]
    assert 10 * error.square().mean().log10() < most


@pytest.mark.parametrize("bands", BANDS)
def test_white_noise_has_its_power_in_every_band(bands):
    parts = split_bands(noise(80_000), bands)
    assert parts.shape == (2, bands, 80_000 // bands)
    torch.testing.assert_close(parts.square().mean((0, 2)), torch.ones(bands), atol=0.05, rtol=0)


@pytest.mark.parametrize("bands", BANDS)
def test_a_tone_is_in_its_band(bands):
    for band in range(bands):
        hertz = (band + 0.5) * RATE / 2 / bands
        parts = split_bands((2 * math.pi * hertz * torch.arange(8000) / RATE).sin()[None], bands)[..., 50:-50]
        power = parts.square().mean((0, 2))
        assert power.argmax() == band
        assert power[band] > 0.99 * power.sum()


@pytest.mark.parametrize("bands", BANDS)
def test_pieces_need_the_margins_and_no_more(bands):
    wav, margin = noise(1600), margin_samples(bands)
    parts = split_bands(wav, bands)
    piece = split_inner(wav[:, 800 - margin : 960 + margin], bands)[..., : 160 // bands]
    torch.testing.assert_close(piece, parts[..., 800 // bands : 960 // bands], atol=1e-5, rtol=0)
    context, first = margin_steps(), 800 // bands
    some = join_bands(parts[..., first - context : first + 20 + context])
    inner = some[:, context * bands : (context + 20) * bands]
    torch.testing.assert_close(inner, join_bands(parts)[:, 800 : 800 + 20 * bands], atol=1e-5, rtol=0)

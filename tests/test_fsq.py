"""Finite scalar quantization against the paper's formulas, and a codec with it from training to a file."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from speechvq import SpeechVQError
from speechvq.audio.io import read
from speechvq.codec import Codec
from speechvq.coding.bitstream import pack
from speechvq.coding.code_files import CodeFiles
from speechvq.config import FSQConfig, PriorConfig, PriorRun, TrainConfig, WaveNetConfig
from speechvq.data.manifest import read_manifest
from speechvq.folder.weights import fingerprint
from speechvq.nn.bottleneck.fsq import FSQ
from speechvq.train.kinds import train

D = 6
LEVELS = [(8, 5, 5, 5), (2, 3), (7,), (4, 2, 9)]


def fresh(*levels: int) -> FSQ:
    torch.manual_seed(0)
    return FSQ(FSQConfig(levels=levels, dim=D))


def latents(scale: float = 2.0) -> torch.Tensor:
    return scale * torch.randn(3, D, 40, generator=torch.Generator().manual_seed(1))


def papers_bound(y: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """Appendix A.1 of the paper, line by line; y (..., len(levels))."""
    half_l = (levels - 1) * (1 - 1e-3) / 2
    offset = np.where(levels % 2 == 1, 0.0, 0.5)
    shift = np.tan(offset / half_l)
    return np.tanh(y + shift) * half_l - offset


def projected(fsq: FSQ, z: torch.Tensor) -> np.ndarray:
    """z through the first projection -> (B, N, len(levels)) float64."""
    with torch.no_grad():
        return fsq.down(z).transpose(1, 2).double().numpy()


@pytest.mark.parametrize("levels", LEVELS)
@torch.no_grad()
def test_codes_and_vectors_are_the_papers(levels):
    fsq, sizes = fresh(*levels), np.array(levels)
    bounded = papers_bound(projected(fsq, latents()), sizes)
    half_width = sizes // 2
    normalized = np.round(bounded) / half_width
    basis = np.concatenate(([1], np.cumprod(sizes[:-1])))
    codes = ((normalized * half_width + half_width) * basis).sum(-1).round().astype(int)
    sure = (np.abs(bounded % 1 - 0.5) > 1e-4).all(-1)  # float32 may round what lies between two levels otherwise
    assert sure.mean() > 0.95
    assert (fsq.encode(latents()).numpy() == codes)[sure].all()
    np.testing.assert_allclose(fsq.values(torch.from_numpy(codes)).transpose(1, 2), normalized, atol=1e-6)
    expected = fsq.up(torch.from_numpy(normalized).float().transpose(1, 2))
    torch.testing.assert_close(fsq.lookup(torch.from_numpy(codes)), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("levels", LEVELS)
def test_every_combination_of_levels_is_one_code(levels):
    fsq = fresh(*levels)
    values = fsq.values(torch.arange(fsq.codes)[None])[0]
    assert fsq.codes == np.prod(levels)
    assert len(values.T.unique(dim=0)) == fsq.codes
    assert [len(row.unique()) for row in values] == list(levels)
    assert values.min() == -1
    assert values.max() <= 1
    assert (values == 0).all(0).any()  # all dimensions can be silent
    digits = (values + 1) * (torch.tensor(levels)[:, None] // 2)
    basis = torch.tensor([1, *levels[:-1]]).cumprod(0)[:, None]
    torch.testing.assert_close((digits * basis).sum(0), torch.arange(fsq.codes).float())


@pytest.mark.parametrize("levels", range(2, 12))
def test_every_level_is_reached(levels):
    fsq = FSQ(FSQConfig(levels=(levels,), dim=1))
    with torch.no_grad():
        fsq.down.weight.fill_(1)
        fsq.down.bias.zero_()
    assert fsq.encode(torch.linspace(-8, 8, 1601)[None, None]).unique().tolist() == [*range(levels)]


def test_the_gradient_is_that_without_rounding():
    levels = np.array([5, 4])
    fsq, z, target = fresh(*levels), latents().requires_grad_(), torch.randn(3, D, 40)
    (fsq(z).z * target).sum().backward()
    half_l, offset = (levels - 1) * (1 - 1e-3) / 2, np.where(levels % 2 == 1, 0.0, 0.5)
    slope = (1 - np.tanh(projected(fsq, z.detach()) + np.tan(offset / half_l)) ** 2) * half_l / (levels // 2)
    up, down = (layer.weight[..., 0].detach().double().numpy() for layer in (fsq.up, fsq.down))
    expected = (target.transpose(1, 2).double().numpy() @ up * slope) @ down
    np.testing.assert_allclose(z.grad.transpose(1, 2).numpy(), expected, rtol=1e-3, atol=1e-5)


def test_nothing_is_added_to_the_loss():
    assert fresh(4, 3).train()(latents()).losses == {}


def test_other_levels_are_another_model():
    """As many codes and the same weights: only the levels differ."""
    one, other = fresh(8, 5), fresh(5, 8)
    other.down.load_state_dict(one.down.state_dict())
    other.up.load_state_dict(one.up.state_dict())
    assert fingerprint(one) != fingerprint(other)
    with pytest.raises(SpeechVQError, match=r"levels \[8, 5\], .* \[5, 8\]"):
        other.load_state_dict(one.state_dict())


@pytest.mark.parametrize("levels", [(), (2,) * 17, (256, 257)])
def test_too_many_or_no_codes_are_refused(levels):
    with pytest.raises(SpeechVQError, match=r"model\.bottleneck\.levels"):
        FSQ(FSQConfig(levels=levels, dim=D))


def test_a_codec_from_training_to_a_file(corpus, tiny, tmp_path):
    bottleneck = FSQConfig(levels=(4, 3, 2), dim=8)
    train(replace(tiny, model=replace(tiny.model, bottleneck=bottleneck)), corpus, tmp_path / "model")
    codec = Codec.load(tmp_path / "model")
    assert (codec.alphabet.codes, codec.describe()["codes"]) == (24, 24)
    assert codec.histogram is not None
    assert (len(codec.histogram), (codec.histogram > 0).sum() > 1) == (24, True)
    wav = read(corpus / read_manifest(corpus)[0].path)
    codes = codec.encode(wav, 16_000)
    assert len(codec.decode(codes, codec.speakers[0])) == 320 * len(codes)
    assert codec.vectors(codes).shape == (8, len(codes))
    prior = PriorRun(
        PriorConfig(WaveNetConfig(cycles=1, layers=3, residual=8, gate=8, skip=8), shifts=1),
        TrainConfig(steps=4, batch_size=4, crop=20, eval_every=2),
    )
    train(prior, corpus, tmp_path / "prior", codec=codec)
    files = CodeFiles(codec, tmp_path / "prior")
    item = codec.encode_file(corpus / read_manifest(corpus)[0].path)
    assert torch.equal(item.codes, codes)
    for name in ("fixed", "static", "prior"):
        path = tmp_path / f"{name}.svq"
        path.write_bytes(pack(item, files.coder(name)))
        assert torch.equal(files.read(path).codes, codes)

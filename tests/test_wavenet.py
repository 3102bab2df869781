"""The dilated stack: causality and its converse, steps against the whole, frame boundaries."""

import pytest
import torch
from torch import Tensor

from speechvq.config import WaveNetConfig
from speechvq.wavenet.net import WaveNet

CLASSES, FRAME_CHANNELS, SPEAKER = 11, 5, 3


def net(kernel: int = 2, cycles: int = 2, layers: int = 3) -> WaveNet:
    torch.manual_seed(0)
    config = WaveNetConfig(cycles=cycles, layers=layers, kernel=kernel, residual=6, gate=4, skip=16)
    return WaveNet(config, CLASSES, FRAME_CHANNELS, SPEAKER).double()


def influence(wavenet: WaveNet, length: int, t: int) -> Tensor:
    """How much each input position (length,) matters to the logits at t: the gradient at the embedding."""
    kept: list[Tensor] = []

    def keep(module, inputs, output: Tensor) -> None:
        output.retain_grad()
        kept.append(output)

    hook = wavenet.embed.register_forward_hook(keep)
    logits = wavenet(torch.randint(CLASSES, (1, length)))
    (logits[0, t] * torch.randn(CLASSES)).sum().backward()
    hook.remove()
    return kept[0].grad.abs().sum((1, 2))  # time-major inside


@pytest.mark.parametrize(("kernel", "cycles", "layers"), [(2, 1, 1), (2, 2, 4), (3, 1, 3), (3, 2, 3), (4, 1, 2)])
def test_receptive_field_is_exact(kernel, cycles, layers):
    wavenet = net(kernel, cycles, layers)
    field = wavenet.receptive_field
    t = field + 4
    gradient = influence(wavenet, t + 6, t)
    first = t - field + 1
    assert (gradient[t + 1 :] == 0).all()  # nothing of the future
    assert (gradient[:first] == 0).all()  # nothing older than the field
    assert (gradient[first : t + 1] > 0).all()  # and everything in it


def test_receptive_field_of_the_paper_like_default():
    assert WaveNet(WaveNetConfig(), 256, 1, 1).receptive_field == 2 * 1023 + 1


@pytest.mark.parametrize("kernel", [2, 3])
def test_steps_equal_the_whole(kernel):
    wavenet = net(kernel)
    hop, frames = 4, 17
    inputs = torch.randint(CLASSES, (3, hop * frames))
    table = wavenet.table(torch.randn(3, FRAME_CHANNELS, frames).double(), torch.randn(3, SPEAKER).double())
    for conditions in (table, None):
        whole = wavenet(inputs, conditions)
        state = wavenet.start(3)
        steps = [
            wavenet.step(inputs[:, t], None if conditions is None else conditions[:, t // hop], state)
            for t in range(inputs.shape[1])
        ]
        torch.testing.assert_close(torch.stack(steps, 1), whole, atol=1e-10, rtol=0)


def test_steps_equal_the_whole_in_single_precision():
    torch.manual_seed(1)
    wavenet = WaveNet(WaveNetConfig(cycles=2, layers=5, residual=32, gate=32, skip=64), 256, 8, 4)
    inputs = torch.randint(256, (2, 160))
    table = wavenet.table(torch.randn(2, 8, 2), torch.randn(2, 4))
    state = wavenet.start(2)
    with torch.no_grad():
        steps = [wavenet.step(inputs[:, t], table[:, t // 80], state) for t in range(160)]
        torch.testing.assert_close(torch.stack(steps, 1), wavenet(inputs, table), atol=1e-5, rtol=0)


def test_a_frame_conditions_its_own_steps_first():
    wavenet = net()
    hop, frames, changed = 5, 6, 3
    inputs = torch.randint(CLASSES, (2, hop * frames))
    features, speaker = torch.randn(2, FRAME_CHANNELS, frames).double(), torch.randn(2, SPEAKER).double()
    other = features.clone()
    other[:, :, changed] = torch.randn(2, FRAME_CHANNELS)
    moved = wavenet(inputs, wavenet.table(features, speaker)) - wavenet(inputs, wavenet.table(other, speaker))
    by_step = moved.abs().amax((0, 2))
    assert (by_step[: changed * hop] == 0).all()
    assert (by_step[changed * hop : (changed + 1) * hop] > 1e-4).all()  # from its first step on
    assert (by_step[(changed + 1) * hop :] > 0).any()  # and, through the stack, for a while


def test_frames_and_speaker_reach_every_layer():
    wavenet = net()
    features, speaker = torch.randn(1, FRAME_CHANNELS, 2).double(), torch.randn(1, SPEAKER).double()
    table = wavenet.table(features, speaker)
    assert table.shape == (6, 2, 1, 8)
    for other in (wavenet.table(features, speaker + 1), wavenet.table(-features, speaker)):
        assert ((table - other).abs().amax((1, 2, 3)) > 1e-3).all()


def test_the_table_is_linear_in_its_normalised_frames():
    """Each frame's conditioning is W f + V s, f of unit length and mean zero: no frame leaks into another."""
    wavenet = net()
    features, speaker = torch.randn(2, FRAME_CHANNELS, 4).double(), torch.randn(2, SPEAKER).double()
    unit = features - features.mean(1, keepdim=True)
    unit /= (unit.square().sum(1, keepdim=True) + 1e-5 * FRAME_CHANNELS).sqrt()
    added = speaker / SPEAKER**0.5 @ wavenet.speaker.weight.T
    expected = torch.einsum("wc,bcf->fbw", wavenet.frames.weight, unit) + added
    table = wavenet.table(features, speaker)
    for i in range(6):
        torch.testing.assert_close(table[i], expected[..., 8 * i : 8 * (i + 1)])


def test_utterances_of_a_batch_do_not_mix():
    wavenet = net()
    inputs = torch.randint(CLASSES, (3, 20))
    table = wavenet.table(torch.randn(3, FRAME_CHANNELS, 4).double(), torch.randn(3, SPEAKER).double())
    whole = wavenet(inputs, table)
    for i in range(3):
        torch.testing.assert_close(wavenet(inputs[i : i + 1], table[:, :, i : i + 1]), whole[i : i + 1])

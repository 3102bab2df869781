"""The contract of every decoder, and a tiny real training run of each."""

from typing import Any, get_args, get_type_hints

import numpy as np
import pytest
import torch
from conftest import VOWEL, VOWELS, speech
from torch import Tensor

from speechvq import SpeechVQError
from speechvq.audio import source_filter as source
from speechvq.audio.features import LogMel
from speechvq.audio.mulaw import mulaw_encode
from speechvq.audio.source_filter import DEFAULT_PITCH, pitch
from speechvq.config import ConditionerConfig, ModelConfig
from speechvq.config.parsing import parse
from speechvq.nn.decoder import DECODERS
from speechvq.nn.decoder.contract import Conditioner, Decoder
from speechvq.nn.decoder.source_filter import FILTER_BANDS
from speechvq.nn.decoder.vocoder import log_mel
from speechvq.nn.decoder.wavenet import SILENT_CLASS
from speechvq.wavenet.sampler import Sampling

CONFIGS = {variant.kind: variant for variant in get_args(get_type_hints(ModelConfig)["decoder"])}
D, SPEAKERS, HOP = 4, 3, 160
SETTINGS: dict[str, Any] = {
    "conditioner": {"upsample": 2, "channels": 16, "blocks": 1, "speaker_dim": 6},
    "wavenet": {"cycles": 1, "layers": 7, "residual": 16, "gate": 16, "skip": 32},
}


def fresh(kind: str, **settings: Any) -> Decoder:
    """A small decoder of a kind: SETTINGS, as far as its configuration has them."""
    own = {key: value for key, value in SETTINGS.items() if key in get_type_hints(CONFIGS[kind])}
    torch.manual_seed(0)
    return DECODERS[kind](parse(CONFIGS[kind], {"kind": kind} | own | settings), D, SPEAKERS, HOP)


@pytest.fixture(params=[kind for kind in DECODERS if kind != "mfcc"])
def decoder(request) -> Decoder:
    """Of those that render speech."""
    return fresh(request.param).eval()


def speak(decoder: Decoder, latents: list[Tensor], speakers: list[int], seed: int = 0) -> list[Tensor]:
    with torch.inference_mode():
        return decoder.generate(latents, torch.tensor(speakers), Sampling(seed=seed), range(5, 5 + len(latents)))


def latents(*lengths: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(2)
    return [2 * torch.randn(D, length, generator=generator) for length in lengths]


def test_lengths_are_exact_and_samples_in_range(decoder):
    wavs = speak(decoder, latents(3, 1, 5), [0, 1, 2])
    assert [wav.shape for wav in wavs] == [(3 * HOP,), (HOP,), (5 * HOP,)]
    assert all(torch.isfinite(wav).all() and wav.abs().max() <= 1 for wav in wavs)


def test_company_does_not_change_an_utterance(decoder):
    z_q = latents(3, 1, 2)
    together = speak(decoder, z_q, [0, 1, 2])
    for i in range(3):
        with torch.inference_mode():
            [alone] = decoder.generate([z_q[i]], torch.tensor([i]), Sampling(), [5 + i])
        torch.testing.assert_close(alone, together[i], atol=1e-6, rtol=0)


def test_the_speaker_changes_the_output(decoder):
    [z_q] = latents(3)
    one, same, other = (speak(decoder, [z_q], [speaker])[0] for speaker in (0, 0, 1))
    assert torch.equal(one, same)
    assert (one - other).abs().max() > 1e-3 * one.abs().max()


def test_the_codes_change_the_output(decoder):
    z_q, changed = latents(3, 3)
    one, other = speak(decoder, [z_q], [0])[0], speak(decoder, [changed], [0])[0]
    assert (one - other).abs().max() > 1e-3 * one.abs().max()


def test_the_seed_is_all_there_is_to_chance(decoder):
    z_q = latents(3, 2)
    torch.manual_seed(1)
    one = speak(decoder, z_q, [0, 1], seed=9)
    torch.manual_seed(2)
    same, other = speak(decoder, z_q, [0, 1], seed=9), speak(decoder, z_q, [0, 1], seed=10)
    assert all(torch.equal(a, b) for a, b in zip(one, same, strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("kind", DECODERS)
def test_the_loss_depends_on_all_codes_and_only_the_speakers_given(kind):
    decoder = fresh(kind).eval()
    z_q = torch.stack(latents(4, 4)).requires_grad_()
    losses = decoder.losses(z_q, torch.tensor([0, 2]), 0.1 * torch.randn(2, 4 * HOP))
    assert all(loss.shape == () for loss in losses.values())
    losses[decoder.reconstruction].backward()
    assert z_q.grad.abs().sum(1).min() > 0
    by_speaker = decoder.speakers.weight.grad.abs().sum(1)
    assert by_speaker[[0, 2]].min() > 0
    assert by_speaker[1] == 0


@pytest.mark.parametrize("upsample", [1, 2, 3, 4])
def test_conditioning_frames_are_centred_on_their_code(upsample):
    torch.manual_seed(0)
    net = Conditioner(ConditionerConfig(upsample, channels=8, blocks=1, speaker_dim=2), D)
    for name, parameter in net.named_parameters():
        parameter.data = parameter.data.abs() + (20.0 if name.endswith("bias") else 0.0)  # every ReLU open
    z_q = torch.randn(1, D, 15)
    frames = net(z_q, torch.ones(1, 2))
    z_q[..., 7] += 1
    reached = (net(z_q, torch.ones(1, 2)) - frames).abs().sum((0, 1)).nonzero().flatten()
    assert frames.shape == (1, 8, 15 * upsample)
    assert reached[0] + reached[-1] == 2 * 7 * upsample + upsample - 1


def test_nll_is_that_of_sample_by_sample_prediction():
    decoder = fresh("wavenet")
    z_q, speaker, wav = latents(2)[0][None], torch.tensor([1]), 0.3 * torch.randn(1, 2 * HOP)
    classes = mulaw_encode(wav)
    vectors = decoder.speakers(speaker)
    table = decoder.wavenet.table(decoder.conditioner(z_q, vectors), vectors)
    state, before, total = decoder.wavenet.start(1), torch.tensor([SILENT_CLASS]), 0.0
    with torch.no_grad():
        for t in range(2 * HOP):
            logits = decoder.wavenet.step(before, table[:, t // (HOP // 2)], state)[0].double().numpy()
            total += np.log(np.exp(logits).sum()) - logits[classes[0, t]]
            before = classes[:, t]
    assert decoder.losses(z_q, speaker, wav)["nll"].item() == pytest.approx(total / (2 * HOP), abs=1e-5)


def test_the_first_sample_is_predicted_from_silence():
    assert mulaw_encode(torch.zeros(1)).item() == SILENT_CLASS


def test_mel_weight_adds_the_mel_loss():
    plain, weighted = fresh("wavenet"), fresh("wavenet", mel_weight=0.25)
    weighted.load_state_dict(plain.state_dict(), strict=False)
    z_q, speaker, wav = torch.stack(latents(4, 4)), torch.tensor([0, 1]), 0.1 * torch.randn(2, 4 * HOP)
    losses = weighted.losses(z_q, speaker, wav)
    assert set(plain.losses(z_q, speaker, wav)) == {"nll"}  # weight 0 is the paper's
    assert losses["nll"].item() == pytest.approx(plain.losses(z_q, speaker, wav)["nll"].item(), rel=1e-6)
    frames = weighted.conditioner(z_q, weighted.speakers(speaker))
    head = weighted.mel.project
    predicted = torch.einsum("mc,bcf->bmf", head.weight[..., 0], frames.relu()) + head.bias[:, None]
    target = LogMel(HOP // 2, 1024)(wav)
    assert losses["mel"].item() == pytest.approx(0.25 * (predicted - target).abs().mean().item(), rel=1e-5)


def test_mel_and_wavenet_share_speakers_and_conditioner():
    mel, wavenet = fresh("mel"), fresh("wavenet")
    for part in ("speakers", "conditioner"):
        wavenet.get_submodule(part).load_state_dict(mel.get_submodule(part).state_dict())
    z_q, speaker = latents(3)[0][None], torch.tensor([2])
    frames = [decoder.conditioner(z_q, decoder.speakers(speaker)) for decoder in (mel, wavenet)]
    assert torch.equal(*frames)


Rows = tuple[Tensor, Tensor, Tensor]


@pytest.fixture(scope="module")
def vowels() -> Rows:
    """12 utterances of 20 vowels: perfect codes as one-hot latents (D, N), speaker, wav."""
    random, rows = np.random.default_rng(0), []
    for i in range(12):
        labels = random.integers(len(VOWELS), size=20)
        codes = np.eye(D, dtype=np.float32)[np.repeat(labels, VOWEL // HOP)].T
        wav = speech((90.0, 150.0, 230.0)[i % SPEAKERS], list(labels), random)
        rows.append((torch.from_numpy(codes), torch.tensor(i % SPEAKERS), torch.from_numpy(wav)))
    z_q, speaker, wav = (torch.stack(column) for column in zip(*rows, strict=True))
    return z_q, speaker, wav


def crops(rows: Rows, codes: int, first: int) -> Rows:
    """The same `codes` codes of every utterance."""
    z_q, speaker, wav = rows
    return z_q[..., first : first + codes], speaker, wav[:, first * HOP : (first + codes) * HOP]


def test_the_predicted_pitch_is_rendered():
    decoder = fresh("source_filter").eval()
    with torch.no_grad():
        decoder.project.weight.zero_()
        decoder.project.bias[:FILTER_BANDS] = 0.0
        decoder.project.bias[FILTER_BANDS:-1] = -6.0  # breath
        decoder.project.bias[-1] = np.log(220 / DEFAULT_PITCH)
    [wav] = speak(decoder, latents(100), [0])
    measured, voiced = pitch(wav[None], HOP)
    assert voiced[:, 3:-3].all()
    np.testing.assert_allclose(measured[:, 3:-3], 220, rtol=0.01)


def test_frames_longer_than_a_filter_are_refused():
    config = parse(CONFIGS["source_filter"], {"kind": "source_filter", "conditioner": {"upsample": 1, "channels": 8}})
    DECODERS["source_filter"](config, D, SPEAKERS, 320)
    with pytest.raises(SpeechVQError, match=r"320 samples at most, not 640: raise .*upsample \(1\)"):
        DECODERS["source_filter"](config, D, SPEAKERS, 640)


def test_the_losses_of_source_and_filter():
    decoder = fresh("source_filter").train()
    wav = torch.from_numpy(np.stack([speech(120.0, [0, 1, 2, 3], np.random.default_rng(i)) for i in range(3)]))
    z_q, speaker = torch.zeros(3, D, wav.shape[1] // HOP), torch.arange(3)
    losses = decoder.losses(z_q, speaker, wav)
    assert list(losses) == ["mel", "mel_short", "pitch"]
    assert decoder.losses(z_q, speaker, wav)["mel"] != losses["mel"]  # another noise
    decoder.eval()
    losses = decoder.losses(z_q, speaker, wav)
    assert decoder.losses(z_q, speaker, wav) == losses
    with torch.no_grad():
        decoder.project.weight[-1] = 0.0
        decoder.project.bias[-1] = np.log(120 / DEFAULT_PITCH)
        right = decoder.losses(z_q, speaker, wav)["pitch"].item()
        decoder.project.bias[-1] += 0.5
        assert right < 0.05
        assert decoder.losses(z_q, speaker, wav)["pitch"].item() == pytest.approx(0.5, abs=0.05)
        assert decoder.losses(z_q, speaker, 0 * wav)["pitch"] == 0  # silence has none to be missed


def test_the_losses_of_the_vocoder():
    """They have gradients apart: that of the vocoder none for what predicts, nor the other way round."""
    decoder = fresh("vocoder").train()
    wav = torch.from_numpy(np.stack([speech(120.0, [0, 1, 2, 3], np.random.default_rng(i)) for i in range(3)]))
    losses = decoder.losses(torch.zeros(3, D, wav.shape[1] // HOP), torch.arange(3), wav)
    assert list(losses) == ["mel", "pitch", "vocoder"]
    parts = {"vocoder": [*decoder.vocoder.parameters()], "mel": [*decoder.project.parameters()]}
    for name, parameters in parts.items():
        for loss in losses:
            gradients = torch.autograd.grad(losses[loss], parameters, retain_graph=True, allow_unused=True)
            assert any(one is not None for one in gradients) == ((name == "vocoder") == (loss == "vocoder"))


def test_a_vocoder_is_not_deceived_by_codes_that_give_the_speaker_away():
    """Two speakers who differ in pitch and timbre, in codes that hold nothing else: with the losses, the voice is the
    target's; without them, that of the codes."""
    hertz, frames = torch.tensor([100.0, 200.0]), 50
    noise = torch.randn(2, frames * HOP, generator=torch.Generator().manual_seed(0))
    dull = torch.tensor([[0.5], [0.0]])
    wavs = source.pulses(hertz[:, None].expand(2, frames), HOP) + 0.02 * noise
    wavs[:, 1:] -= (1 - 2 * dull) * 0.9 * wavs[:, :-1].clone()
    codes = 3 * torch.tensor([-1.0, 1.0])[:, None, None].expand(2, D, frames)
    pitches, distances = {}, {}
    for weight in (0.0, 1.0):
        decoder = fresh("vocoder", transposed_weight=weight, speaker_weight=weight).train()
        optimizer = torch.optim.Adam(decoder.parameters(), 1e-2)
        for _ in range(60):
            losses = decoder.losses(codes, torch.arange(2), wavs)
            optimizer.zero_grad()
            torch.stack([*losses.values()]).sum().backward()
            optimizer.step()
        decoder.eval()
        assert list(decoder.losses(codes, torch.arange(2), wavs)) == ["mel", "pitch", "vocoder"]
        predicted = decoder.project(decoder.conditioner(codes, decoder.speakers(torch.tensor([1, 0]))).relu())
        spectra = decoder.short(wavs).mean(2)
        pitches[weight] = decoder.predicted_pitch(predicted).mean(1).tolist()
        distances[weight] = [(log_mel(predicted).mean(2) - one).abs().mean(1) for one in (spectra, spectra.flip(0))]
    assert pitches[1.0] == pytest.approx([200, 100], rel=0.1)
    assert pitches[0.0] == pytest.approx([100, 200], rel=0.2)
    for weight, (source_distance, target_distance) in distances.items():
        assert ((target_distance < source_distance) == bool(weight)).all()


def test_the_vocoder_speaks_the_spectrum_and_pitch_of_a_recording():
    """An untrained one copies the spectrum into both filters; the pitch is exact, and loud bands stay loud."""
    decoder = fresh("vocoder").eval()
    wav = torch.from_numpy(speech(120.0, [0, 1, 2, 3], np.random.default_rng(0)))[None]
    mel, (hertz, voiced) = decoder.short(wav), pitch(wav, decoder.frame_length)
    with torch.inference_mode():
        filters = decoder.vocoder(mel, (hertz[:, None] / DEFAULT_PITCH).log())
        decoded = decoder._synthesize(filters, hertz, torch.zeros_like(wav), decoder.weights)
    again, still = pitch(decoded, decoder.frame_length)
    both = voiced & still
    assert both.sum() > 0.8 * voiced.sum()
    assert ((again / hertz).log().abs() < 0.03)[both].float().mean() > 0.9
    spectra = torch.stack([decoder.short(decoded), mel])[..., 0, :, :].mean(2)
    assert torch.corrcoef(spectra)[0, 1] > 0.9


def test_cepstra_render_no_speech():
    with pytest.raises(SpeechVQError, match="train a wavenet decoder on its codes"):
        speak(fresh("mfcc").eval(), latents(3), [0])


def test_cepstra_are_standardised():
    """A prediction of nothing but the mean has the loss of the variance, 1."""
    decoder = fresh("mfcc").train()
    decoder.project.weight.data.zero_()
    decoder.project.bias.data.zero_()
    wav = torch.from_numpy(np.stack([speech(120.0, [0, 1, 2, 3], np.random.default_rng(i)) for i in range(3)]))
    z_q = torch.zeros(3, D, wav.shape[1] // HOP)
    assert decoder.losses(z_q, torch.arange(3), wav)["mfcc"].item() == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize(
    ("kind", "codes", "bound", "use"),
    [
        ("mel", 20, 0.25, 1.05),
        ("source_filter", 20, 0.6, 1.05),
        ("vocoder", 20, 0.4, 1.05),
        ("mfcc", 20, 0.6, 1.05),
        ("wavenet", 2, 0.7, 1.05),
        ("band_wavenet", 20, 0.7, 1.002),  # it is given the phases and the noise of the recording, too
    ],
)
def test_learns_speech(kind, codes, bound, use, vowels):
    """A real run on synthetic vowels brings the loss on held-out ones below `bound` of the untrained decoder's."""
    decoder = fresh(kind)
    held_out = crops(vowels, 20, 280)

    def measure(z_q: Tensor, speaker: Tensor, wav: Tensor) -> float:
        with torch.no_grad():
            return decoder.losses(z_q, speaker, wav)[decoder.reconstruction].item()

    untrained = measure(*held_out)
    optimizer = torch.optim.Adam(decoder.parameters(), 2e-2)
    for first in np.random.default_rng(1).integers(280 - codes, size=120):
        loss = sum(decoder.losses(*crops(vowels, codes, first)).values())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    trained = measure(*held_out)
    z_q, speaker, wav = held_out
    assert trained < bound * untrained
    assert measure(z_q.roll(1, 0), speaker, wav) > use * trained  # it uses the codes
    assert measure(z_q, speaker.roll(1), wav) > use * trained  # and to the speaker

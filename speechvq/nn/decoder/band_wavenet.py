"""The decoder in which a WaveNet over bands corrects the speech of a vocoder."""

import math
from dataclasses import replace

import torch
from torch import Tensor
from torch.func import functional_call
from torch.nn import functional as F

from speechvq import SpeechVQError
from speechvq.audio import source_filter as source
from speechvq.config import BandWaveNetDecoderConfig
from speechvq.nn.decoder.contract import UNCHANGED, PitchChange
from speechvq.nn.decoder.filter_bank import (
    band_filters,
    join_bands,
    margin_samples,
    margin_steps,
    split_bands,
    split_inner,
)
from speechvq.nn.decoder.source_filter import FILTER_BANDS, white_noise
from speechvq.nn.decoder.synthesis import Synthesis
from speechvq.nn.decoder.vocoder import VocoderDecoder, log_mel
from speechvq.nn.distributed import drawn_rows
from speechvq.wavenet.bands import GRID_CLASSES, SILENT_CLASS, BandWaveNet, grid_classes, grid_samples
from speechvq.wavenet.sampler import Sampler, Sampling, chances

WINDOW = 4  # steps of the vocoder's speech before and after its own that a step of the WaveNet sees
LEAST_SCALE = 3e-4  # of a band: -70 dB
INPUT_NOISE = 1.5  # classes: the largest deviation of the noise in training, by which it learns to go on from errors
FILTER_FACTOR = 1 / 3  # of gains in nats, beside the pitch
MAX_GAIN = 20.0  # nats
MAX_CHANGE = 3.0  # nats between the spectra of the recording and of the vocoder's speech: more is no matter of filters


class BandWaveNetDecoder(VocoderDecoder):
    """A WaveNet over critically sampled bands that corrects the speech of the vocoder decoder.

    It sees that speech sample by sample, and the filters and the pitch that it is made of, and draws what is missing in
    it, sample by sample. In training the vocoder's pulses and noise are those of the recording: the recording through
    filters that give it the spectrum of the vocoder's speech (`counterpart`). So the difference is one of spectra, not
    of phases and noise, and an untrained WaveNet speaks as the vocoder does, but for noise.

    Each band is divided by the level that the filters predict. The loss `nll` is in nats per sample. The vocoder is
    usually that of a trained model (`init.parts`) and frozen (`init.freeze`); else it learns by its own losses, and
    `nll` changes what is predicted, but not how it is spoken.

    Raises SpeechVQError if frames are longer than MAX_FRAME_LENGTH, or are no whole number of steps.
    """

    reconstruction = "nll"
    levels: Tensor

    def __init__(self, config: BandWaveNetDecoderConfig, dim: int, speakers: int, hop_length: int) -> None:
        super().__init__(config, dim, speakers, hop_length)
        self.bands, self.temperature = config.bands, config.temperature
        if self.frame_length % config.bands:
            raise SpeechVQError(f"{config.bands} bands do not divide a frame of {self.frame_length} samples")
        self.wavenet = BandWaveNet(config.wavenet, config.bands, config.components, 2 * FILTER_BANDS + 1, WINDOW)
        with torch.device("cpu"):  # the share of each frequency in the power of each band
            power = torch.fft.rfft(band_filters(config.bands), source.FFT_SIZE).abs().square() / source.FFT_SIZE
            power[:, 1:-1] *= 2
            self.register_buffer("levels", power, persistent=False)

    def losses(self, z_q: Tensor, speaker: Tensor, wav: Tensor) -> dict[str, Tensor]:
        learns = any(weight.requires_grad for weight in (*self.project.parameters(), *self.vocoder.parameters()))
        losses = super().losses(z_q, speaker, wav) if learns else {}
        predicted = self.project(self.conditioner(z_q, self.speakers(speaker)).relu())
        with torch.autocast(wav.device.type, enabled=False):
            wav, predicted = wav.float(), predicted.float()
            pitch, _ = source.pitch(wav, self.frame_length)
            log_pitch = (pitch[:, None] / source.DEFAULT_PITCH).log()
            fixed = {name: weight.detach() for name, weight in self.vocoder.named_parameters()}
            filters = functional_call(self.vocoder, fixed, (log_mel(predicted), log_pitch))
            known = torch.cat([filters, log_pitch], 1)
            with torch.no_grad():
                sane = known.clamp(max=MAX_GAIN)  # an untrained vocoder's may be too large for float32
                guide = split_bands(self.counterpart(sane, pitch, wav), self.bands)
                scale = self.step_scales(self.log_levels(*self._log_gains(sane, self.sharper)))
                classes = grid_classes((split_bands(wav, self.bands) - guide) / scale).transpose(1, 2)
                seen = F.pad(guide / scale, (WINDOW, WINDOW))
        outputs = self.wavenet(self._before(classes), self.condition(known), self.wavenet.guided(seen))
        return losses | {"nll": self.wavenet.nll(outputs.float(), classes).mean()}

    def counterpart(self, known: Tensor, pitch: Tensor, wav: Tensor) -> Tensor:
        """The vocoder's speech, had it the pulses and the noise of a recording, (B, T).

        known: filters and log pitch (B, 2 * FILTER_BANDS + 1, F).
        pitch: (B, F) in Hz, that of the recording.
        wav: (B, T), the recording.
        """
        noise = drawn_rows(torch.randn, wav.shape, wav.device) if self.training else white_noise(wav, seed=0)
        spoken = self._synthesize(known, pitch, noise, self.sharper)
        louder = (self.short(spoken) - self.short(wav)).clamp(-MAX_CHANGE, MAX_CHANGE)
        return source.apply_filters(wav, self.weights @ louder, self.frame_length)

    def _before(self, classes: Tensor) -> Tensor:
        """The classes (B, T, M) before each step, with noise in training."""
        before = F.pad(classes, (0, 0, 1, -1), value=SILENT_CLASS)
        if self.training:
            deviation = INPUT_NOISE * drawn_rows(torch.rand, (len(before), 1, 1), before.device)
            noise = deviation * drawn_rows(torch.randn, before.shape, before.device)
            before = (before + noise.round().long()).clamp(0, GRID_CLASSES - 1)
        return before

    def condition(self, filters: Tensor) -> Tensor:
        """The table of the WaveNet for filters and log pitch (B, 2 * FILTER_BANDS + 1, F)."""
        return self.wavenet.table(torch.cat([filters[:, :-1] * FILTER_FACTOR, filters[:, -1:]], 1))

    def log_levels(self, voice: Tensor, breath: Tensor) -> Tensor:
        """The predicted level of each band, (B, M, F) in nats, by the log gains of voice and breath (B, ..., F)."""
        level = (self.levels @ ((2 * voice).exp() + (2 * breath).exp())).sqrt()
        return (level + LEAST_SCALE).log()

    def step_scales(self, log_levels: Tensor) -> Tensor:
        """Levels (B, M, F) to the scale of each step (B, M, T): linear in nats between the middles of frames."""
        return F.interpolate(log_levels, scale_factor=self.frame_length // self.bands, mode="linear").exp()

    def synthesis(self, sampling: Sampling) -> "BandSynthesis":
        return BandSynthesis(self, sampling)

    def speak(
        self,
        state: Synthesis,
        predicted: Tensor,
        pitch: PitchChange = UNCHANGED,
        *,
        last: bool,
    ) -> Tensor:
        assert isinstance(state, BandSynthesis)
        hertz = pitch.applied(self.predicted_pitch(predicted))
        log_pitch = (hertz / source.DEFAULT_PITCH).log()[:, None]
        known = torch.cat([predicted[:, :-1], log_pitch], 1)
        return state.speak(known, hertz, self._log_gains(known, self.sharper), last=last)


class BandSynthesis(Synthesis):
    """The speech of frames that come in pieces, by a decoder and a way to draw.

    The vocoder's speech comes one and a half frames late, a step sees a little of what follows, and so do the filters
    that join the bands.

    delay: samples at the end of the frames so far that wait for the next ones.
    """

    def __init__(self, decoder: BandWaveNetDecoder, sampling: Sampling) -> None:
        device = decoder.levels.device
        super().__init__(decoder.frame_length, sampling.seed, device)
        self._decoder, self._bands = decoder, decoder.bands
        drawing = replace(sampling, temperature=sampling.temperature * decoder.temperature)
        self._sampler, self._chances = Sampler(decoder.wavenet, drawing), chances(sampling.seed, 0)
        self._edge = WINDOW * self._bands + margin_samples(self._bands)
        self._late = math.ceil((self.delay + self._edge) / self.hop)  # frames
        self._context = margin_steps()
        self.delay = self._late * self.hop + self._context * self._bands
        self._dropped = self._context * self._bands  # samples before the first, still to come
        self._state, self._last = decoder.wavenet.start(1), torch.full((1, self._bands), SILENT_CLASS, device=device)
        self._guide = torch.zeros(1, self._edge, device=device)
        self._frames: Tensor | None = None  # those that wait, (1, 2 * FILTER_BANDS + 1, F)
        self._levels: Tensor | None = None  # of the frame before these, and of these
        self._parts = torch.zeros(1, self._bands, 2 * self._context, device=device)

    def speak(self, known: Tensor, pitch: Tensor, log_gains: list[Tensor], *, last: bool) -> Tensor:
        """The next samples (T,), in [-1, 1].

        known: filters and log pitch (1, 2 * FILTER_BANDS + 1, F) of the next frames.
        pitch: (1, F) in Hz.
        log_gains: of voice and breath, (1, FFT_SIZE / 2 + 1, F) each.
        last: whether these are the last frames; there may be none then, after others.
        """
        spoken = self.push(pitch, *log_gains, last=last)
        self._guide = torch.cat([self._guide, spoken[None]], -1)
        levels = self._decoder.log_levels(*log_gains)
        self._frames = known if self._frames is None else torch.cat([self._frames, known], -1)
        self._levels = torch.cat([levels[..., :1] if self._levels is None else self._levels, levels], -1)
        ready = self._frames.shape[2] - (0 if last else self._late)
        if last:
            self._guide = F.pad(self._guide, (0, self._edge))
            self._levels = torch.cat([self._levels, self._levels[..., -1:]], -1)
        if ready > 0:
            self._parts = torch.cat([self._parts, self._draw(ready, self._frames, self._levels)], -1)
        if last:
            self._parts = F.pad(self._parts, (0, self._context))
        return self._joined()

    def _draw(self, ready: int, frames: Tensor, levels: Tensor) -> Tensor:
        """The next samples of the bands, (1, M, T), of so many of the waiting frames."""
        decoder, hop, net = self._decoder, self.hop, self._decoder.wavenet
        steps = hop // self._bands
        scale = decoder.step_scales(levels[..., : ready + 2])[..., steps - WINDOW : WINDOW - steps]
        spoken = split_inner(self._guide[:, : ready * hop + 2 * self._edge], self._bands)
        chance = torch.from_numpy(self._chances.random((1, ready * steps, self._bands)))
        table, added = decoder.condition(frames[..., :ready]), net.guided(spoken / scale)
        drawn = self._sampler.sample(self._last, chance, table, self._state, added)
        self._last = drawn[:, -1]
        self._guide, self._frames = self._guide[:, ready * hop :], frames[..., ready:]
        self._levels = levels[..., ready:]
        inner = slice(WINDOW, -WINDOW)
        return grid_samples(drawn).transpose(1, 2) * scale[..., inner] + spoken[..., inner]

    def _joined(self) -> Tensor:
        """The next samples (T,), of the bands that have come since."""
        begin, bands = self._context * self._bands, self._bands
        count = self._parts.shape[2] - 2 * self._context
        wav = join_bands(self._parts)[0, begin : begin + count * bands]
        self._parts = self._parts[..., count:]
        first = min(self._dropped, len(wav))
        self._dropped -= first
        return wav[first:].clamp(-1, 1)

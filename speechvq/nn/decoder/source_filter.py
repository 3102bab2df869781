"""The decoder that predicts pitch and filters, for a voice where predicted spectra alone only whisper."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from speechvq import SpeechVQError
from speechvq.audio import source_filter as source
from speechvq.audio.features import LogMel
from speechvq.config import BandWaveNetDecoderConfig, SourceFilterDecoderConfig, VocoderDecoderConfig
from speechvq.nn.decoder.contract import MEL_WINDOW, UNCHANGED, Latents, PitchChange
from speechvq.nn.decoder.frames import FrameDecoder
from speechvq.nn.decoder.synthesis import Synthesis
from speechvq.nn.distributed import drawn_rows
from speechvq.wavenet.sampler import Sampling

MAX_FRAME_LENGTH = 320  # samples: the sound of vowels moves within 20 ms
SHORT_WINDOW = 400  # 25 ms: the window of the loss that sees single moments
FILTER_BANDS = 80
INITIAL_GAIN = -4.0  # nats: the gain of a filter whose prediction is 0


class SourceFilterDecoder(FrameDecoder):
    """Pitch, and the filters of pulses and noise, in the manner of DDSP (Engel et al. 2020).

    It is trained with the pitch of the speech, so that the spectral losses measure the filters alone. The loss `pitch`
    is the mean absolute difference of the logarithm of the predicted pitch in voiced frames.

    Raises SpeechVQError if frames are longer than MAX_FRAME_LENGTH.
    """

    reconstruction = "mel"
    predicts_pitch = True
    emphasis = 1.2  # of the spectrum's shape when rendered: the mean of what a code may mean is flatter than any of it
    weights: Tensor
    sharper: Tensor

    def __init__(
        self,
        config: SourceFilterDecoderConfig | VocoderDecoderConfig | BandWaveNetDecoderConfig,
        dim: int,
        speakers: int,
        hop_length: int,
    ) -> None:
        super().__init__(config.conditioner, dim, speakers, hop_length)
        if self.frame_length > MAX_FRAME_LENGTH:
            raise SpeechVQError(
                f"frames of a {config.kind} decoder last {MAX_FRAME_LENGTH} samples at most, not {self.frame_length}: "
                f"raise model.decoder.conditioner.upsample ({config.conditioner.upsample})"
            )
        self.long, self.short = (LogMel(self.frame_length, window) for window in (MEL_WINDOW, SHORT_WINDOW))
        with torch.device("cpu"):  # constants, as in LogMel
            weights = source.band_weights(FILTER_BANDS)
            self.register_buffer("weights", weights, persistent=False)
            self.register_buffer("sharper", weights @ source.emphasis(FILTER_BANDS, self.emphasis), persistent=False)
        self.project = nn.Conv1d(config.conditioner.channels, 2 * FILTER_BANDS + 1, 1)

    def losses(self, z_q: Tensor, speaker: Tensor, wav: Tensor) -> dict[str, Tensor]:
        predicted = self.project(self.conditioner(z_q, self.speakers(speaker)).relu())
        with torch.autocast(wav.device.type, enabled=False):
            wav, predicted = wav.float(), predicted.float()
            pitch, voiced = source.pitch(wav, self.frame_length)
            mel, mel_short = self.spectral_losses(predicted, pitch, wav)
            return {"mel": mel, "mel_short": mel_short, "pitch": pitch_loss(predicted[:, -1], pitch, voiced)}

    def spectral_losses(self, filters: Tensor, pitch: Tensor, wav: Tensor) -> tuple[Tensor, Tensor]:
        """How far speech of these filters and this pitch is from wav, by the log-mel of long and of short windows."""
        noise = drawn_rows(torch.randn, wav.shape, wav.device) if self.training else white_noise(wav, seed=0)
        decoded = self._synthesize(filters, pitch, noise, self.weights)
        return F.l1_loss(self.long(decoded), self.long(wav)), F.l1_loss(self.short(decoded), self.short(wav))

    def filters(self, predicted: Tensor) -> Tensor:
        """Predictions of the conditioner (B, ..., F) to filters and pitch (B, 2 * FILTER_BANDS + 1, F)."""
        return predicted

    def pieces(
        self, z_q: Latents, vector: Tensor, sampling: Sampling, pitch: PitchChange = UNCHANGED
    ) -> Iterator[Tensor]:
        state, block, (before, after) = self.synthesis(sampling), self.piece_codes, self.reach
        codes, level = z_q.shape[1], vector.new_zeros(())
        for begin in range(0, codes, block):
            left, end = max(begin - before, 0), begin + block
            last = end + after > codes
            known = z_q[:, left : codes if last else end + after]
            predicted = self.predict(known, vector, begin - left, None if last else end - left)
            first, own = begin * self.hop_length // self.frame_length, self.predicted_pitch(predicted)[0]
            change = pitch.of_frames(first, first + len(own))
            level = level if begin else change.level(own)
            yield self.speak(state, predicted, change.as_contour(own, level, self.frame_length), last=last)
            if last:
                return

    def predict(self, z_q: Tensor, vector: Tensor, first: int = 0, end: int | None = None) -> Tensor:
        """The predicted filters and pitch of some codes, (1, 2 * FILTER_BANDS + 1, F).

        z_q: (D, N), of these codes and of what is known of their neighbours.
        vector: (E,), of the speaker.
        first, end: the codes, among those of z_q; None for all to the end.
        """
        predicted = self.filters(self.project(self._frames(z_q, vector).relu()))
        upsample = self.hop_length // self.frame_length
        return predicted[..., first * upsample : None if end is None else end * upsample]

    def synthesis(self, sampling: Sampling) -> Synthesis:
        """The state of `speak` before the first frame."""
        return Synthesis(self.frame_length, sampling.seed, self.sharper.device)

    def predicted_pitch(self, predicted: Tensor) -> Tensor:
        """The pitch (B, F) in Hz of predictions (B, ..., F)."""
        return (source.DEFAULT_PITCH * predicted[:, -1].exp()).clamp(source.MIN_PITCH, source.MAX_PITCH)

    def speak(self, state: Synthesis, predicted: Tensor, pitch: PitchChange = UNCHANGED, *, last: bool) -> Tensor:
        """The next samples (T,) of what was predicted, at another pitch; `last` if no more follows."""
        own = pitch.applied(self.predicted_pitch(predicted))
        return state.push(own, *self._log_gains(predicted, self.sharper), last=last)

    def _synthesize(self, predicted: Tensor, pitch: Tensor, noise: Tensor, weights: Tensor) -> Tensor:
        """The wav (B, F * frame_length) of predictions (B, 2 * FILTER_BANDS + 1, F), a pitch in Hz (B, F) and noise."""
        voice, breath = self._log_gains(predicted, weights)
        hop = self.frame_length
        pulses = source.pulses(pitch, hop)
        return source.apply_filters(pulses, voice, hop) + source.apply_filters(noise, breath, hop)

    def _log_gains(self, predicted: Tensor, weights: Tensor) -> list[Tensor]:
        """The log gains of voice and breath, (B, FFT_SIZE / 2 + 1, F) each, of predictions."""
        gains = predicted[:, :FILTER_BANDS], predicted[:, FILTER_BANDS : 2 * FILTER_BANDS]
        return [weights @ (gain + INITIAL_GAIN) for gain in gains]


def pitch_loss(predicted: Tensor, pitch: Tensor, voiced: Tensor) -> Tensor:
    """The mean absolute difference of the logarithms of pitches, over the voiced frames of each crop.

    predicted: (B, F), the logarithm of the ratio to DEFAULT_PITCH.
    pitch, voiced: (B, F) of the speech (see `source_filter.pitch`).
    """
    error = (predicted - (pitch / source.DEFAULT_PITCH).log()).abs() * voiced
    by_crop = error.sum(1) / voiced.sum(1).clamp(min=1)  # the voiced frames of other crops must not matter
    return by_crop.mean()


def white_noise(like: Tensor, seed: int) -> Tensor:
    """Normal noise of a tensor's shape, type and device, the same numbers on each device."""
    return torch.randn(like.shape, generator=torch.Generator().manual_seed(seed)).to(like)

"""The contract of a decoder, and the parts that decoders share: speakers, conditioner, log-mel head."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from speechvq import SpeechVQError
from speechvq.audio import MELODY_HOP
from speechvq.audio.features import LogMel
from speechvq.audio.source_filter import MAX_PITCH, MIN_PITCH, smoothed
from speechvq.config import ConditionerConfig
from speechvq.config.shapes import check_number
from speechvq.nn.bottleneck import CodeVectors
from speechvq.nn.layers import residual_stack, stack_reach, upsample
from speechvq.wavenet.sampler import Sampling

Latents = Tensor | CodeVectors
MOST_SEMITONES = 60  # beyond, there is no harmonic below half the sample rate, and the sound is NaN
MEL_WINDOW = 1024  # 64 ms: long enough to resolve the harmonics of a low voice, which Griffin-Lim needs


class Conditioner(nn.Module):
    """Quantized latents z_q (B, D, N) and speaker vectors (B, E) to frames (B, C, N * upsample).

    Centred in time, or causal with a look-ahead: then all frames are computed so many codes late.

    Raises SpeechVQError if it is centred and has a look-ahead.
    """

    def __init__(self, config: ConditionerConfig, dim: int) -> None:
        super().__init__()
        channels, blocks, causal = config.channels, config.blocks, config.causal
        if config.lookahead and not causal:
            raise SpeechVQError("only a causal conditioner has a lookahead (model.decoder.conditioner.causal)")
        self.padding = (2, config.lookahead) if causal else (1, 1)
        self.late = config.lookahead * config.upsample if causal else 0  # frames
        self.codes = nn.Conv1d(dim, channels, 3)
        self.speaker = nn.Linear(config.speaker_dim, channels)
        self.net = nn.Sequential(
            residual_stack(channels, blocks, causal),
            upsample(channels, config.upsample, causal),
            residual_stack(channels, blocks, causal),
        )

    def reach(self, more: int = 0) -> tuple[int, int]:
        """The number of codes before and after its own on which a frame depends.

        more: frames on either side that a later layer joins to each.
        """
        first, middle, last = self.net
        stride, kernel = (middle.stride[0], middle.kernel_size[0]) if isinstance(middle, nn.ConvTranspose1d) else (1, 1)
        pad = (kernel - stride) // 2
        before, after = (
            by_codes + (by_frames + more + pad + stride - 1) // stride
            for by_codes, by_frames in zip(stack_reach(first), stack_reach(last), strict=True)
        )
        lookahead = self.late // stride
        return max(before + self.padding[0] - lookahead, 0), after + self.padding[1]

    def forward(self, z_q: Tensor, speaker: Tensor) -> Tensor:
        frames: Tensor = self.net(self.codes(F.pad(z_q, self.padding)) + self.speaker(speaker)[..., None])
        return frames[..., self.late :]


class MelHead(nn.Module):
    """Frames (B, C, F) to a predicted log-mel spectrogram (B, n_mels, F), and the loss of that prediction."""

    def __init__(self, channels: int, frame_length: int) -> None:
        super().__init__()
        self.target = LogMel(frame_length, MEL_WINDOW)
        self.project = nn.Conv1d(channels, self.target.channels, 1)

    def forward(self, frames: Tensor) -> Tensor:
        log_mel: Tensor = self.project(frames.relu())
        return log_mel

    def loss(self, frames: Tensor, wav: Tensor) -> Tensor:
        """The mean absolute difference from the log-mel of wav (B, F * frame_length), in nats."""
        with torch.no_grad(), torch.autocast(wav.device.type, enabled=False):
            target = self.target(wav.float())
        return F.l1_loss(self(frames).float(), target)


@dataclass(frozen=True)
class PitchChange:
    """How the pitch of decoded speech is to differ from the predicted one.

    semitones: by which it is raised; below 0 lowered.
    contour: (F,) in Hz, the pitch of each frame before it is raised; None for the predicted one, as NaN in a frame.
    melody: (F,) in semitones from the mean of the predicted pitch, in place of a contour; NaN as there. The quick
        movements of the predicted pitch go on: without them speech sounds synthetic.
    """

    semitones: float = 0.0
    contour: Tensor | None = None
    melody: Tensor | None = None

    def __post_init__(self) -> None:
        """Raises SpeechVQError for semitones beyond five octaves."""
        check_number(self.semitones, "semitones", -MOST_SEMITONES, MOST_SEMITONES)
        object.__setattr__(self, "semitones", float(self.semitones))  # of float16, say, it would be rounded further on

    @property
    def of_recording(self) -> bool:
        """Whether the pitch moves otherwise than predicted."""
        return self.contour is not None or self.melody is not None

    def level(self, predicted: Tensor) -> Tensor:
        """The mean of log2 of the predicted pitch (F,) in Hz over frames whose melody is known; NaN without any."""
        log_pitch = predicted.log2()
        return log_pitch.mean() if self.melody is None else log_pitch[~self.melody.to(predicted).isnan()].mean()

    def of_frames(self, first: int, end: int) -> "PitchChange":
        """The change of the frames from `first` to `end`."""
        contour, melody = (None if row is None else row[first:end] for row in (self.contour, self.melody))
        return replace(self, contour=contour, melody=melody)

    def as_contour(self, predicted: Tensor, level: Tensor, frame_length: int) -> "PitchChange":
        """The change with a contour in place of the melody.

        predicted: (F,) in Hz, of the same frames.
        level: as `level` returns it, of the first frames of all.
        frame_length: samples per frame.
        """
        if self.melody is None:
            return self
        log_pitch = predicted.log2()
        quick = log_pitch - smoothed(log_pitch, 2 * (MELODY_HOP // frame_length) + 1)
        contour = (level + self.melody.to(predicted) / 12 + quick).exp2().clamp(MIN_PITCH, MAX_PITCH)
        return replace(self, contour=contour, melody=None)

    def applied(self, predicted: Tensor) -> Tensor:
        """The pitch (..., F) in Hz to decode with, of a predicted one (..., F)."""
        if self.contour is not None:
            contour = self.contour.to(predicted).expand_as(predicted)
            predicted = predicted.where(contour.isnan(), contour)
        return predicted * 2 ** (self.semitones / 12) if self.semitones else predicted


UNCHANGED = PitchChange()


class Decoder(nn.Module):
    """The contract of every decoder, and what all share: the speakers and the conditioner.

    A subclass defines `reconstruction`, `losses` and `stream`.

    reconstruction: the name of the loss that measures how much of the speech comes back; held-out comparisons use it.
    predicts_pitch: whether it does, so that the pitch can be changed.
    hop_length: samples per code.
    frame_length: samples per frame of the conditioner.
    """

    reconstruction: ClassVar[str]
    predicts_pitch: ClassVar[bool] = False

    def __init__(self, config: ConditionerConfig, dim: int, speakers: int, hop_length: int) -> None:
        super().__init__()
        self.hop_length = hop_length
        self.frame_length = hop_length // config.upsample
        self.speakers = nn.Embedding(speakers, config.speaker_dim)
        self.conditioner = Conditioner(config, dim)

    @property
    def reach(self) -> tuple[int, int]:
        """The number of codes before and after its own on which a frame depends."""
        return self.conditioner.reach()

    def losses(self, z_q: Tensor, speaker: Tensor, wav: Tensor) -> dict[str, Tensor]:
        """The weighted losses by name, among them the one called `reconstruction`.

        z_q: (B, D, N).
        speaker: (B,) int64.
        wav: (B, N * hop_length), the speech to be decoded.
        """
        raise NotImplementedError

    def stream(
        self,
        latents: Sequence[Latents],
        speaker: Tensor,
        sampling: Sampling,
        utterances: Sequence[int],
        pitches: Sequence[PitchChange] = (),
    ) -> Iterator[list[Tensor]]:
        """Decode utterances side by side, piece by piece, until all are complete.

        latents: for each utterance, (D, N_i); of long ones, take a piece at a time.
        speaker: (B,) int64.
        utterances: the numbers of the random streams.
        pitches: of each utterance, for a decoder that predicts a pitch; () leaves it as predicted.

        Yields the next piece of each of the B wavs; an utterance that is complete gets empty ones. An utterance does
        not depend on the others.
        """
        raise NotImplementedError

    def generate(
        self,
        latents: Sequence[Latents],
        speaker: Tensor,
        sampling: Sampling,
        utterances: Sequence[int],
        pitches: Sequence[PitchChange] = (),
    ) -> list[Tensor]:
        """The pieces of `stream` put together: B wavs (N_i * hop_length,)."""
        pieces = self.stream(latents, speaker, sampling, utterances, pitches)
        return [torch.cat(parts) for parts in zip(*pieces, strict=True)]

    def _frames(self, z_q: Tensor, vector: Tensor) -> Tensor:
        """Frames of one utterance alone: beside a longer one, the convolutions would take padding for speech."""
        frames: Tensor = self.conditioner(z_q[None], vector[None])
        return frames

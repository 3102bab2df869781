"""What decoders share: speakers, the conditioner that turns codes into frames, and a head that tells log-mel."""

from collections.abc import Iterator, Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from speechvq.audio.features import LogMel
from speechvq.config import ConditionerConfig
from speechvq.nn.layers import residual_stack, upsample
from speechvq.wavenet.sampler import Sampling

MEL_WINDOW = 1024  # 64 ms: long enough to resolve the harmonics of a low voice, which Griffin-Lim needs


class Conditioner(nn.Module):
    """z_q (B, D, N) and speaker vectors (B, E) -> frames (B, C, N * upsample), centred in time."""

    def __init__(self, config: ConditionerConfig, dim: int) -> None:
        super().__init__()
        self.codes = nn.Conv1d(dim, config.channels, 3, padding=1)
        self.speaker = nn.Linear(config.speaker_dim, config.channels)
        self.net = nn.Sequential(
            residual_stack(config.channels, config.blocks),
            upsample(config.channels, config.upsample),
            residual_stack(config.channels, config.blocks),
        )

    def forward(self, z_q: Tensor, speaker: Tensor) -> Tensor:
        return self.net(self.codes(z_q) + self.speaker(speaker)[..., None])


class MelHead(nn.Module):
    """Frames (B, C, F) -> log-mel (B, n_mels, F), and its loss: the mean absolute difference, in nats."""

    def __init__(self, channels: int, frame_length: int) -> None:
        super().__init__()
        self.target = LogMel(frame_length, MEL_WINDOW)
        self.project = nn.Conv1d(channels, self.target.channels, 1)

    def forward(self, frames: Tensor) -> Tensor:
        return self.project(frames.relu())

    def loss(self, frames: Tensor, wav: Tensor) -> Tensor:
        with torch.no_grad(), torch.autocast(wav.device.type, enabled=False):
            target = self.target(wav.float())
        return F.l1_loss(self(frames).float(), target)


class Decoder(nn.Module):
    """The contract of every decoder, and what all share: the speakers and the conditioner.

    reconstruction: the name of the loss that measures how much of the speech comes back; held-out comparisons use it.
    """

    reconstruction: ClassVar[str]

    def __init__(self, config: ConditionerConfig, dim: int, speakers: int, hop_length: int) -> None:
        super().__init__()
        self.hop_length = hop_length
        self.frame_length = hop_length // config.upsample
        self.speakers = nn.Embedding(speakers, config.speaker_dim)
        self.conditioner = Conditioner(config, dim)

    def losses(self, z_q: Tensor, speaker: Tensor, wav: Tensor) -> dict[str, Tensor]:
        """z_q (B, D, N), speaker (B,) int64, wav (B, N * hop_length) -> weighted losses by name."""
        raise NotImplementedError

    def stream(
        self, latents: Sequence[Tensor], speaker: Tensor, sampling: Sampling, utterances: Sequence[int]
    ) -> Iterator[list[Tensor]]:
        """B latents (D, N_i) and speaker (B,) -> the next piece of each of B wavs, until all are whole.

        `utterances` number the random streams. What an utterance gets does not depend on the others.
        """
        raise NotImplementedError

    def generate(
        self, latents: Sequence[Tensor], speaker: Tensor, sampling: Sampling, utterances: Sequence[int]
    ) -> list[Tensor]:
        """What `stream` gives, put together: B wavs (N_i * hop_length,)."""
        pieces = self.stream(latents, speaker, sampling, utterances)
        return [torch.cat(parts) for parts in zip(*pieces, strict=True)]

    def _frames(self, z_q: Tensor, vector: Tensor) -> Tensor:
        """Of one utterance, alone: beside a longer one, the convolutions would see padding as speech."""
        return self.conditioner(z_q[None], vector[None])

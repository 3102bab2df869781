"""The decoder by which codes are learned, and which renders no speech."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from speechvq import SpeechVQError
from speechvq.audio.features import MFCC
from speechvq.config import MFCCDecoderConfig
from speechvq.nn.decoder.contract import Decoder, Latents, PitchChange
from speechvq.nn.distributed import BatchNorm
from speechvq.wavenet.sampler import Sampling


class MFCCDecoder(Decoder):
    """Cepstra, which tell phones apart without the harmonics of a voice: for codes that a WaveNet is then trained on.

    The loss is the mean squared error of the standardised MFCC.
    """

    reconstruction = "mfcc"

    def __init__(self, config: MFCCDecoderConfig, dim: int, speakers: int, hop_length: int) -> None:
        super().__init__(config.conditioner, dim, speakers, hop_length)
        self.target = MFCC(self.frame_length)
        self.scale = BatchNorm(self.target.channels, affine=False)
        self.project = nn.Conv1d(config.conditioner.channels, self.target.channels, 1)

    def losses(self, z_q: Tensor, speaker: Tensor, wav: Tensor) -> dict[str, Tensor]:
        with torch.no_grad(), torch.autocast(wav.device.type, enabled=False):
            target = self.scale(self.target(wav.float()))
        predicted = self.project(self.conditioner(z_q, self.speakers(speaker)).relu())
        return {"mfcc": F.mse_loss(predicted.float(), target)}

    def stream(
        self,
        latents: Sequence[Latents],
        speaker: Tensor,
        sampling: Sampling,
        utterances: Sequence[int],
        pitches: Sequence[PitchChange] = (),
    ) -> Iterator[list[Tensor]]:
        """Raises SpeechVQError."""
        raise SpeechVQError("an mfcc decoder renders no speech: train a wavenet decoder on its codes (init.path)")

"""The decoder that is there for codes to be learned by, not to be heard."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from speechvq import SpeechVQError
from speechvq.audio.features import MFCC
from speechvq.config import MFCCDecoderConfig
from speechvq.nn.decoder.contract import Decoder
from speechvq.nn.distributed import BatchNorm
from speechvq.wavenet.sampler import Sampling


class MFCCDecoder(Decoder):
    """Not autoregressive and not to be heard: the cepstrum that tells phones apart, without the harmonics of a voice.

    For learning codes that a WaveNet is then trained on. The loss is the mean squared error of standardised MFCC.
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
        told = self.project(self.conditioner(z_q, self.speakers(speaker)).relu())
        return {"mfcc": F.mse_loss(told.float(), target)}

    def stream(
        self, latents: Sequence[Tensor], speaker: Tensor, sampling: Sampling, utterances: Sequence[int]
    ) -> Iterator[list[Tensor]]:
        raise SpeechVQError("an mfcc decoder cannot be heard: train a wavenet decoder on its codes (init.path)")

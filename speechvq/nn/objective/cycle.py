"""A loss on what is decoded for another speaker and encoded again, of which the same latents are wanted."""

from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from speechvq import SpeechVQError
from speechvq.audio.features import LogMel
from speechvq.nn.decoder.contract import Decoder
from speechvq.nn.decoder.other_speakers import row_before
from speechvq.nn.decoder.vocoder import VocoderDecoder, log_mel
from speechvq.nn.encoder import Encoder


def check_cycle(encoder: Encoder, decoder: Decoder | None) -> None:
    """Raise SpeechVQError if the decoder does not predict the spectrum that the encoder takes."""
    frames, feats = isinstance(decoder, VocoderDecoder) and decoder.frame_length, encoder.input
    if not isinstance(feats, LogMel) or feats.hop != frames:
        raise SpeechVQError(
            "model.cycle is for an encoder of log-mel and a vocoder decoder whose frames are as long as the encoder's "
            "(model.decoder.conditioner.upsample)"
        )


def cycle_loss(encoder: Encoder, decoder: VocoderDecoder, z: Tensor, z_q: Tensor, speaker: Tensor) -> Tensor:
    """The mean squared difference of latents from those of what is decoded for another speaker and encoded again.

    The gradient reaches the decoder and, through it, the codes, but not the weights of the encoder that it passes.
    As the conversion losses of CycleGAN-VC (Kaneko and Kameoka 2018), without the way back.

    z: (B, D, N), the latents.
    z_q: (B, D, N), from which the decoder predicts.
    speaker: (B,) int64, of the recordings; the decoder predicts for the speaker of the row before each.
    """
    mel = log_mel(decoder.predicted(z_q, row_before(speaker)))
    again = FromFeatures(encoder)
    weights = {name: weight.detach() for name, weight in again.named_parameters()}
    buffers = {name: buffer.clone() for name, buffer in again.named_buffers()}
    return F.mse_loss(functional_call(again, weights | buffers, (mel,)).float(), z.detach().float())


class FromFeatures(nn.Module):
    """The part of an encoder behind its features, (B, C, F) to (B, D, N)."""

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, feats: Tensor) -> Tensor:
        return self.encoder.from_features(feats)

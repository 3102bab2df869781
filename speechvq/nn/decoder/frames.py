"""Decoders that are not autoregressive and can be heard: their wav is made of frames, all at once."""

import math
from collections.abc import Iterator, Sequence
from itertools import zip_longest

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from speechvq import SpeechVQError
from speechvq.audio import source_filter as source
from speechvq.audio.features import LogMel, griffin_lim
from speechvq.config import MelDecoderConfig, SourceFilterDecoderConfig
from speechvq.nn.decoder.contract import MEL_WINDOW, Decoder, MelHead
from speechvq.nn.distributed import drawn_rows
from speechvq.wavenet.sampler import Sampling

LONGEST = 320  # samples of a frame: the sound of vowels moves within 20 ms
SHORT_WINDOW = 400  # 25 ms: the window of what is heard of a moment
EMPHASIS = 1.2  # of the spectrum's shape in speaking: the mean of what a code may mean is flatter than any of it
BANDS, SOFT = 80, -4.0  # of a filter's gains, and where they begin (nats)
PIECE = 2**19  # samples that are made at a time: half a minute
MARGIN, FADE = 16_000, 800  # samples: what is made on either side of a piece, and over which it fades into the next


class FrameDecoder(Decoder):
    """What decoders share that are not autoregressive: their wav is made of frames, half a minute at a time."""

    def render(self, frames: Tensor, seed: int) -> Tensor:
        """frames (1, C, F) -> wav (F * frame_length,)."""
        raise NotImplementedError

    def stream(
        self, latents: Sequence[Tensor], speaker: Tensor, sampling: Sampling, utterances: Sequence[int]
    ) -> Iterator[list[Tensor]]:
        pieces = [self._pieces(*pair, sampling.seed) for pair in zip(latents, self.speakers(speaker), strict=True)]
        for row in zip_longest(*pieces, fillvalue=latents[0].new_empty(0)):
            yield list(row)

    def _pieces(self, z_q: Tensor, vector: Tensor, seed: int) -> Iterator[Tensor]:
        """The wav of one utterance. The phases are each piece's own: where two meet, they are faded."""
        hop, codes = self.hop_length, z_q.shape[1]
        block, margin = max(PIECE // hop, 1), MARGIN // hop + 1
        tail = z_q.new_empty(0)
        for begin in range(0, codes, block):
            left, end = max(begin - margin, 0), min(begin + block, codes)
            wav = self.render(self._frames(z_q[:, left : end + margin], vector), seed)[(begin - left) * hop :]
            shared = min(len(tail), len(wav))
            turn = torch.linspace(0, math.pi / 2, shared, device=wav.device)  # of two phases, it is power that adds
            wav[:shared] = (tail[:shared] * turn.cos() + wav[:shared] * turn.sin()).clamp(-1, 1)
            yield wav[: (end - begin) * hop]
            tail = wav[(end - begin) * hop :][:FADE]


class MelDecoder(FrameDecoder):
    """Log-mel frames, made audible by Griffin-Lim: the fastest to train."""

    reconstruction = "mel"

    def __init__(self, config: MelDecoderConfig, dim: int, speakers: int, hop_length: int) -> None:
        super().__init__(config.conditioner, dim, speakers, hop_length)
        self.mel = MelHead(config.conditioner.channels, self.frame_length)

    def losses(self, z_q: Tensor, speaker: Tensor, wav: Tensor) -> dict[str, Tensor]:
        return {"mel": self.mel.loss(self.conditioner(z_q, self.speakers(speaker)), wav)}

    def render(self, frames: Tensor, seed: int) -> Tensor:
        return griffin_lim(self.mel(frames), self.frame_length, MEL_WINDOW, seed=seed)[0]


class SourceFilterDecoder(FrameDecoder):
    """Pitch, and the filters of pulses and noise (DDSP, Engel et al. 2020): a voice, where mean spectra only whisper.

    Trained with the pitch of the speech, so that the spectral losses are of the filters; pitch has its own, the mean
    difference of its logarithm. SpeechVQError for frames that are longer than a filter's.
    """

    reconstruction = "mel"
    weights: Tensor
    sharper: Tensor

    def __init__(self, config: SourceFilterDecoderConfig, dim: int, speakers: int, hop_length: int) -> None:
        super().__init__(config.conditioner, dim, speakers, hop_length)
        if self.frame_length > LONGEST:
            raise SpeechVQError(
                f"a source_filter decoder's frames last {LONGEST} samples at most, not {self.frame_length}: raise "
                f"model.decoder.conditioner.upsample ({config.conditioner.upsample})"
            )
        self.long, self.short = (LogMel(self.frame_length, window) for window in (MEL_WINDOW, SHORT_WINDOW))
        weights = source.band_weights(BANDS)
        self.register_buffer("weights", weights, persistent=False)
        self.register_buffer("sharper", weights @ source.emphasis(BANDS, EMPHASIS), persistent=False)
        self.project = nn.Conv1d(config.conditioner.channels, 2 * BANDS + 1, 1)

    def losses(self, z_q: Tensor, speaker: Tensor, wav: Tensor) -> dict[str, Tensor]:
        told = self.project(self.conditioner(z_q, self.speakers(speaker)).relu())
        with torch.autocast(wav.device.type, enabled=False):
            wav, told = wav.float(), told.float()
            pitch, voiced = source.pitch(wav, self.frame_length)
            noise = drawn_rows(torch.randn, wav.shape, wav.device) if self.training else white(wav, seed=0)
            made = self._speak(told, pitch, noise, self.weights)
            off = (told[:, -1] - (pitch / source.USUAL).log()).abs() * voiced
            own = off.sum(1) / voiced.sum(1).clamp(min=1)  # of each crop: what others hold must not matter
            return {
                "mel": F.l1_loss(self.long(made), self.long(wav)),
                "mel_short": F.l1_loss(self.short(made), self.short(wav)),
                "pitch": own.mean(),
            }

    def render(self, frames: Tensor, seed: int) -> Tensor:
        told = self.project(frames.relu())
        pitch = (source.USUAL * told[:, -1].exp()).clamp(source.LOWEST, source.HIGHEST)
        noise = white(pitch.new_empty(1, pitch.shape[1] * self.frame_length), seed)
        return self._speak(told, pitch, noise, self.sharper)[0].clamp(-1, 1)

    def _speak(self, told: Tensor, pitch: Tensor, noise: Tensor, weights: Tensor) -> Tensor:
        voice, breath = (weights @ (gains + SOFT) for gains in (told[:, :BANDS], told[:, BANDS:-1]))
        hop = self.frame_length
        return source.shape(source.pulses(pitch, hop), voice, hop) + source.shape(noise, breath, hop)


def white(like: Tensor, seed: int) -> Tensor:
    """Noise of a tensor's shape, type and device, the same on each."""
    return torch.randn(like.shape, generator=torch.Generator().manual_seed(seed)).to(like)

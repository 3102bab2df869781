"""Quantized latents and a speaker to a waveform. `DECODERS` maps a configuration's kind to its class."""

from collections.abc import Iterator, Sequence
from itertools import zip_longest

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from speechvq import SpeechVQError, source
from speechvq.audio import MFCC, MU_CLASSES, LogMel, griffin_lim, mulaw_decode, mulaw_encode
from speechvq.config import (
    ConditionerConfig,
    MelDecoderConfig,
    MFCCDecoderConfig,
    SourceFilterDecoderConfig,
    WaveNetDecoderConfig,
)
from speechvq.distributed import BatchNorm, drawn_rows
from speechvq.layers import residual_stack, upsample
from speechvq.sampler import Sampler, Sampling
from speechvq.wavenet import WaveNet

MEL_WINDOW = 1024  # 64 ms: long enough to resolve the harmonics of a low voice, which Griffin-Lim needs
SHORT_WINDOW = 400  # 25 ms: the window of what is heard of a moment
BANDS, SOFT = 80, -4.0  # of a filter's gains, and where they begin (nats)
SILENCE = MU_CLASSES // 2  # the class before the first sample
PIECE = 2**19  # samples that the mel decoder makes at a time: half a minute
MARGIN, FADE = 16_000, 800  # samples: what it makes on either side of a piece, and over which it fades into the next


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
    """What decoders share: the speakers, and the conditioner that turns codes into frames.

    Contract: `losses` names what it measures; its first entry is the reconstruction loss that held-out
    comparisons use.
    """

    def __init__(self, config: ConditionerConfig, dim: int, speakers: int, hop_length: int) -> None:
        super().__init__()
        self.hop_length = hop_length
        self.frame_length = hop_length // config.upsample
        self.speakers = nn.Embedding(speakers, config.speaker_dim)
        self.conditioner = Conditioner(config, dim)

    def losses(self, z_q: Tensor, speaker: Tensor, wav: Tensor) -> dict[str, Tensor]:
        """z_q (B, D, N), speaker (B,) int64, wav (B, N * hop_length) -> weighted losses, reconstruction first."""
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
            wav[:shared] = torch.lerp(tail[:shared], wav[:shared], torch.linspace(0, 1, shared, device=wav.device))
            yield wav[: (end - begin) * hop]
            tail = wav[(end - begin) * hop :][:FADE]


class MelDecoder(FrameDecoder):
    """Log-mel frames, made audible by Griffin-Lim: the fastest to train."""

    def __init__(self, config: MelDecoderConfig, dim: int, speakers: int, hop_length: int) -> None:
        super().__init__(config.conditioner, dim, speakers, hop_length)
        self.mel = MelHead(config.conditioner.channels, self.frame_length)

    def losses(self, z_q: Tensor, speaker: Tensor, wav: Tensor) -> dict[str, Tensor]:
        return {"mel": self.mel.loss(self.conditioner(z_q, self.speakers(speaker)), wav)}

    def render(self, frames: Tensor, seed: int) -> Tensor:
        return griffin_lim(self.mel(frames), self.frame_length, MEL_WINDOW, seed=seed)[0]


class SourceFilterDecoder(FrameDecoder):
    """Pitch, and the filters of pulses and noise (DDSP, Engel et al. 2020): a voice, where mean spectra only whisper.

    Trained with the pitch of the speech, so that the spectral losses are of the filters; pitch has its own.
    """

    weights: Tensor

    def __init__(self, config: SourceFilterDecoderConfig, dim: int, speakers: int, hop_length: int) -> None:
        super().__init__(config.conditioner, dim, speakers, hop_length)
        self.long, self.short = (LogMel(self.frame_length, window) for window in (MEL_WINDOW, SHORT_WINDOW))
        self.register_buffer("weights", source.band_weights(BANDS), persistent=False)
        self.project = nn.Conv1d(config.conditioner.channels, 2 * BANDS + 1, 1)

    def losses(self, z_q: Tensor, speaker: Tensor, wav: Tensor) -> dict[str, Tensor]:
        told = self.project(self.conditioner(z_q, self.speakers(speaker)).relu())
        with torch.autocast(wav.device.type, enabled=False):
            wav, told = wav.float(), told.float()
            pitch, voiced = source.pitch(wav, self.frame_length)
            noise = drawn_rows(torch.randn, wav.shape, wav.device) if self.training else white(wav, seed=0)
            made = self._speak(told, pitch, noise)
            off = (told[:, -1] - (pitch / source.USUAL).log()).abs() * voiced
            return {
                "mel": F.l1_loss(self.long(made), self.long(wav)),
                "mel_short": F.l1_loss(self.short(made), self.short(wav)),
                "pitch": off.sum() / voiced.sum().clamp(min=1),
            }

    def render(self, frames: Tensor, seed: int) -> Tensor:
        told = self.project(frames.relu())
        pitch = (source.USUAL * told[:, -1].exp()).clamp(source.LOWEST, source.HIGHEST)
        noise = white(pitch.new_empty(1, pitch.shape[1] * self.frame_length), seed)
        return self._speak(told, pitch, noise)[0].clamp(-1, 1)

    def _speak(self, told: Tensor, pitch: Tensor, noise: Tensor) -> Tensor:
        voice, breath = (self.weights @ (gains + SOFT) for gains in (told[:, :BANDS], told[:, BANDS:-1]))
        hop = self.frame_length
        return source.shape(source.pulses(pitch, hop), voice, hop) + source.shape(noise, breath, hop)


def white(like: Tensor, seed: int) -> Tensor:
    """Noise of a tensor's shape, type and device, the same on each."""
    return torch.randn(like.shape, generator=torch.Generator().manual_seed(seed)).to(like)


class MFCCDecoder(Decoder):
    """Not autoregressive and not to be heard: the cepstrum that tells phones apart, without the harmonics of a voice.

    For learning codes that a WaveNet is then trained on. The loss is the mean squared error of standardised MFCC.
    """

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


class WaveNetDecoder(Decoder):
    """The paper's: p(sample | samples before, codes, speaker), 256 mu-law classes.

    The speaker enters the conditioner and, by its embedding, every layer of the stack.
    """

    def __init__(self, config: WaveNetDecoderConfig, dim: int, speakers: int, hop_length: int) -> None:
        super().__init__(config.conditioner, dim, speakers, hop_length)
        self.wavenet = WaveNet(config.wavenet, MU_CLASSES, config.conditioner.channels, config.conditioner.speaker_dim)
        self.mel_weight = config.mel_weight
        self.mel = MelHead(config.conditioner.channels, self.frame_length) if config.mel_weight > 0 else None

    def losses(self, z_q: Tensor, speaker: Tensor, wav: Tensor) -> dict[str, Tensor]:
        vectors = self.speakers(speaker)
        frames = self.conditioner(z_q, vectors)
        classes = mulaw_encode(wav)
        logits = self.wavenet(F.pad(classes, (1, -1), value=SILENCE), self.wavenet.table(frames, vectors))
        result = {"nll": F.cross_entropy(logits.flatten(0, 1).float(), classes.flatten())}
        if self.mel is not None:
            result["mel"] = self.mel_weight * self.mel.loss(frames, wav)
        return result

    def stream(
        self, latents: Sequence[Tensor], speaker: Tensor, sampling: Sampling, utterances: Sequence[int]
    ) -> Iterator[list[Tensor]]:
        vectors = self.speakers(speaker)
        frames = [self._frames(z_q, vector) for z_q, vector in zip(latents, vectors, strict=True)]

        def table(i: int, begin: int, end: int) -> Tensor:
            return self.wavenet.table(frames[i][..., begin:end], vectors[i : i + 1])

        first, lengths = torch.full_like(speaker, SILENCE), [row.shape[2] for row in frames]
        for pieces in Sampler(self.wavenet, sampling).stream(first, lengths, self.frame_length, utterances, table):
            yield [mulaw_decode(piece) for piece in pieces]


DECODERS: dict[str, type[MelDecoder] | type[SourceFilterDecoder] | type[MFCCDecoder] | type[WaveNetDecoder]] = {
    "mel": MelDecoder,
    "source_filter": SourceFilterDecoder,
    "mfcc": MFCCDecoder,
    "wavenet": WaveNetDecoder,
}

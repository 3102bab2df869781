"""The paper's decoder, autoregressive in samples."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from speechvq.audio.mulaw import MU_CLASSES, mulaw_decode, mulaw_encode
from speechvq.config import WaveNetDecoderConfig
from speechvq.nn.decoder.contract import Decoder, Latents, MelHead, PitchChange
from speechvq.wavenet.net import WaveNet
from speechvq.wavenet.sampler import Sampler, Sampling

SILENT_CLASS = MU_CLASSES // 2  # stands before the first sample


class WaveNetDecoder(Decoder):
    """p(sample | samples before, codes, speaker) over 256 mu-law classes (van den Oord et al. 2017).

    The speaker enters the conditioner and, by its embedding, every layer of the WaveNet. The loss `nll` is in nats per
    sample; `mel`, if it has a weight, is that of the mel decoder on the same frames.
    """

    reconstruction = "nll"

    def __init__(self, config: WaveNetDecoderConfig, dim: int, speakers: int, hop_length: int) -> None:
        super().__init__(config.conditioner, dim, speakers, hop_length)
        self.wavenet = WaveNet(config.wavenet, MU_CLASSES, config.conditioner.channels, config.conditioner.speaker_dim)
        self.mel_weight = config.mel_weight
        self.mel = MelHead(config.conditioner.channels, self.frame_length) if config.mel_weight > 0 else None

    def losses(self, z_q: Tensor, speaker: Tensor, wav: Tensor) -> dict[str, Tensor]:
        vectors = self.speakers(speaker)
        frames = self.conditioner(z_q, vectors)
        classes = mulaw_encode(wav)
        before = F.pad(classes, (1, -1), value=SILENT_CLASS)
        logits = self.wavenet(before, self.wavenet.table(frames, vectors))
        result = {"nll": F.cross_entropy(logits.flatten(0, 1).float(), classes.flatten())}
        if self.mel is not None:
            result["mel"] = self.mel_weight * self.mel.loss(frames, wav)
        return result

    def stream(
        self,
        latents: Sequence[Latents],
        speaker: Tensor,
        sampling: Sampling,
        utterances: Sequence[int],
        pitches: Sequence[PitchChange] = (),
    ) -> Iterator[list[Tensor]]:
        vectors = self.speakers(speaker)
        frames = [self._frames(z_q[:, :], vector) for z_q, vector in zip(latents, vectors, strict=True)]

        def table(i: int, begin: int, end: int) -> Tensor:
            return self.wavenet.table(frames[i][..., begin:end], vectors[i : i + 1])

        first, lengths = torch.full_like(speaker, SILENT_CLASS), [row.shape[2] for row in frames]
        for pieces in Sampler(self.wavenet, sampling).stream(first, lengths, self.frame_length, utterances, table):
            yield [mulaw_decode(piece) for piece in pieces]

"""VQVAE: encoder, bottleneck and decoder as one model. It knows no dataset and no trainer."""

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from speechvq import SpeechVQError
from speechvq.config import ModelConfig, NoDecoderConfig
from speechvq.nn.augment import Augment
from speechvq.nn.bottleneck import BOTTLENECKS, Bottleneck, Discrete
from speechvq.nn.bottleneck.vq import VectorQuantizer
from speechvq.nn.decoder import DECODERS
from speechvq.nn.decoder.contract import Decoder, PitchChange
from speechvq.nn.decoder.vocoder import VocoderDecoder
from speechvq.nn.encoder import ENCODERS, Encoder
from speechvq.nn.layers import Jitter
from speechvq.nn.objective.content import Content
from speechvq.nn.objective.cycle import check_cycle, cycle_loss
from speechvq.nn.objective.latent_cpc import LatentCPC
from speechvq.nn.trainable import Trainable
from speechvq.wavenet.sampler import Sampling

TRAINING_PARTS = ("predictor.", "content.", "decoder.classifier.")  # which only losses of training need
IGNORED_GAP = 0.01  # nats; with a smaller gap the decoder ignores its codes


class Batch(NamedTuple):
    """Crops of speech.

    wav: (B, T), T a multiple of the hop length.
    speaker: (B,) int64.
    phones: of each latent, (B, N) int64, numbers in INVENTORY, -1 without a label; empty without labels.
    """

    wav: Tensor
    speaker: Tensor
    phones: Tensor = torch.zeros(0, 0, dtype=torch.int64)


class VQVAE(Trainable):
    """An autoencoder of speech with a bottleneck (van den Oord et al. 2017, section 4.3).

    decoder: None for a model that gives codes only.
    augment: changes the encoder's input in training.
    jitter: the probability that a latent is replaced by one of its two neighbours in training.
    predictor: a loss on the latents, with the weight `predictor_weight`.
    content: a loss on their phones, with the weight `content_weight`, of batches that have labels.
    cycle_weight: of a loss on the latents of what a vocoder decoder says for other speakers (see `cycle_loss`).
    """

    def __init__(
        self,
        encoder: Encoder,
        bottleneck: Bottleneck,
        decoder: Decoder | None,
        *,
        augment: Augment | None = None,
        jitter: float = 0.0,
        predictor: LatentCPC | None = None,
        predictor_weight: float = 0.0,
        content: Content | None = None,
        content_weight: float = 0.0,
        cycle_weight: float = 0.0,
    ) -> None:
        super().__init__()
        self.augment = augment or nn.Identity()
        self.encoder = encoder
        self.bottleneck = bottleneck
        self.jitter = Jitter(jitter)
        self.decoder = decoder
        self.predictor = predictor
        self.predictor_weight = predictor_weight
        self.content = content
        self.content_weight = content_weight
        self.cycle_weight = cycle_weight

    @property
    def hop_length(self) -> int:
        """Samples per code."""
        return self.encoder.hop_length

    @property
    def discrete(self) -> Discrete:
        """The bottleneck, if it is discrete. Raises SpeechVQError if it is not."""
        if not isinstance(self.bottleneck, Discrete):
            raise SpeechVQError("the bottleneck of this model is continuous: it has no codes")
        return self.bottleneck

    @property
    def speech_decoder(self) -> Decoder:
        """The decoder, if there is one. Raises SpeechVQError if there is none."""
        if self.decoder is None:
            raise SpeechVQError("this model has no decoder (model.decoder.kind): it gives codes, and no speech")
        return self.decoder

    def encode(self, wav: Tensor) -> Tensor:
        """wav (B, T) -> codes (B, N), N = ceil(T / hop_length); the end is zero-padded to a whole code.

        Raises SpeechVQError if the model has no codes.
        """
        return self.discrete.encode(self.latents(wav))

    def represent(self, wav: Tensor) -> Tensor:
        """wav (B, T) -> the bottleneck's output without noise, z_q (B, D, N); of codes, their vectors."""
        return self.bottleneck.represent(self.latents(wav))

    def latents(self, wav: Tensor) -> Tensor:
        """wav (B, T) -> the encoder's output z (B, D, N), before the bottleneck."""
        z: Tensor = self.encoder(self._whole(wav))
        return z

    def layers(self, wav: Tensor, numbers: Sequence[int]) -> Tensor:
        """wav (B, T) -> layers of the encoder, averaged over the steps of a code, one below another (B, C, N).

        numbers: of the layers (see `Encoder.layers`).
        """
        wav = self._whole(wav)
        layers = self.encoder.layers(self.encoder.features(wav))
        codes = wav.shape[1] // self.hop_length
        return torch.cat([layers[i].unflatten(2, (codes, -1)).mean(3) for i in numbers], 1)

    def _whole(self, wav: Tensor) -> Tensor:
        """wav (B, T), zero-padded to a whole number of codes."""
        return F.pad(wav, (0, -wav.shape[1] % self.hop_length))

    def decode(
        self,
        codes: Sequence[Tensor],
        speaker: Tensor,
        sampling: Sampling,
        utterances: Sequence[int],
        pitches: Sequence[PitchChange] = (),
    ) -> list[Tensor]:
        """Decode a batch of utterances.

        codes: (N_i,) of each of B utterances.
        speaker: (B,) int64.
        utterances: the number of the random stream of each.
        pitches: the change of each one's pitch, for a decoder that predicts it; () leaves it.
        Returns B wavs (N_i * hop_length,).
        Raises SpeechVQError if the model has no codes or no decoder.
        """
        latents = [self.discrete.vectors(row) for row in codes]
        return self.speech_decoder.generate(latents, speaker, sampling, utterances, pitches)

    @property
    def reconstruction(self) -> str:
        return self.speech_decoder.reconstruction

    def forward(self, batch: Batch, turn: str = "model") -> dict[str, Tensor]:
        """The weighted losses of a batch by name, of decoder, bottleneck, predictor and phones."""
        z = self.encoder(self.augment(batch.wav))
        is_vq = isinstance(self.bottleneck, VectorQuantizer)
        latent = self.bottleneck(z, penalized=True) if is_vq else self.bottleneck(z)
        losses: dict[str, Tensor] = self.speech_decoder.losses(self.jitter(latent.z), batch.speaker, batch.wav)
        losses = losses | latent.losses
        if self.predictor is not None:
            # Without the latents at the edges, from which the position in the crop could be predicted.
            margin = self.encoder.margin
            inner = latent.z[..., margin : latent.z.shape[2] - margin]
            losses["predictive"] = self.predictor_weight * self.predictor(inner)
        if self.content is not None and batch.phones.numel():
            nats, _ = self.content(latent.z, batch.phones)
            losses["content"] = self.content_weight * nats
        if self.cycle_weight:
            assert isinstance(self.decoder, VocoderDecoder)
            cycle = cycle_loss(self.encoder, self.decoder, z, latent.z, batch.speaker)
            losses["cycle"] = self.cycle_weight * cycle
        return losses

    def freeze(self, parts: Iterable[str]) -> None:
        super().freeze(parts)
        decoder = self.decoder
        if decoder in self.frozen and isinstance(decoder, VocoderDecoder) and decoder.has_losses_of_others:
            raise SpeechVQError(
                "model.decoder.transposed_weight and speaker_weight are of a decoder that is not frozen (init.freeze)"
            )

    @torch.inference_mode()
    def held_out(self, batches: Iterable[Batch]) -> dict[str, float]:
        """Figures on held-out batches, each of different utterances; the model must be in evaluation mode.

        Returns the means of the losses, and:
        loss: the reconstruction alone.
        gap: rise of the reconstruction loss when every utterance is decoded from another's codes.
        used_codes, perplexity: over the codes of all batches.
        bits_per_latent: the divergence of Gaussian latents.
        bits_per_sample: the negative log-likelihood in bits, of decoders that have one.
        content, accuracy: of the phones of batches that have labels, the weighted loss, and the share of the frames
            of speech whose phone is the most probable one.
        """
        sums: dict[str, float] = {}
        total = 0
        counts = torch.zeros(self.bottleneck.codes)
        for wav, speaker, phones in batches:
            latent = self.bottleneck(self.encoder(wav))
            losses = self.speech_decoder.losses(latent.z, speaker, wav)
            loss = losses[self.reconstruction]
            shuffled = self.speech_decoder.losses(latent.z.roll(1, 0), speaker, wav)[self.reconstruction]
            row = losses | latent.losses | {"loss": loss, "gap": shuffled - loss}
            if latent.bits is not None:
                row["bits_per_latent"] = latent.bits
            if self.content is not None and phones.numel():
                nats, accuracy = self.content(latent.z, phones)
                row |= {"content": self.content_weight * nats, "accuracy": accuracy}
            sums = {key: sums.get(key, 0.0) + value.item() * len(wav) for key, value in row.items()}
            total += len(wav)
            if latent.codes is not None:
                counts += torch.bincount(latent.codes.flatten().cpu(), minlength=len(counts))
        result = {key: value / total for key, value in sums.items()}
        if "nll" in result:
            result["bits_per_sample"] = result["nll"] / math.log(2)
        if len(counts):
            result |= {"used_codes": float((counts > 0).sum()), "perplexity": perplexity(counts)}
        return result

    def concerns(self, figures: dict[str, float]) -> list[str]:
        """A warning if the decoder ignores its codes."""
        if figures["gap"] < IGNORED_GAP:
            name = "codes" if self.bottleneck.codes else "latents"
            return [f"the decoder hardly uses its {name}: shuffling them costs {figures['gap']:.4f}"]
        return []


def perplexity(counts: Tensor) -> float:
    """The number of equally frequent codes with the same entropy, exp(entropy in nats), of counts (K,)."""
    share = counts / counts.sum()
    return math.exp(-(share * share.clamp(min=1e-12).log()).sum().item())


def build(config: ModelConfig, speakers: int) -> VQVAE:
    """The model of a configuration. Raises SpeechVQError if its numbers contradict each other."""
    encoder = ENCODERS[config.encoder.kind](config.encoder, config.bottleneck.dim)
    bottleneck = BOTTLENECKS[config.bottleneck.kind](config.bottleneck)
    decoder = build_decoder(config, speakers)
    if config.cycle.weight:
        check_cycle(encoder, decoder)
    weight, dim = config.predictor.weight, config.bottleneck.dim
    predictor = LatentCPC(config.predictor, dim) if weight > 0 else None
    return VQVAE(
        encoder,
        bottleneck,
        decoder,
        augment=Augment(config.augment),
        jitter=config.jitter,
        predictor=predictor,
        predictor_weight=weight,
        content=Content(dim) if config.content.weight > 0 else None,
        content_weight=config.content.weight,
        cycle_weight=config.cycle.weight,
    )


def build_decoder(config: ModelConfig, speakers: int) -> Decoder | None:
    """The decoder of a configuration, or None. Raises SpeechVQError if a code is not a whole number of frames."""
    if isinstance(config.decoder, NoDecoderConfig):
        return None
    hop_length, upsample = config.encoder.hop_length, config.decoder.conditioner.upsample
    if hop_length % upsample:
        raise SpeechVQError(
            f"a code lasts {hop_length} samples (model.encoder.strides), which "
            f"model.decoder.conditioner.upsample = {upsample} does not divide"
        )
    make = DECODERS[config.decoder.kind]
    return make(config.decoder, config.bottleneck.dim, speakers, hop_length)  # type: ignore[arg-type]

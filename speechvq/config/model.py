"""The parts of a codec."""

import math
from dataclasses import dataclass, field
from typing import Literal

INPUT_HOPS = {"wave": 1, "logmel": 160, "mfcc": 160}  # samples per frame of what an encoder's first convolution sees


@dataclass(frozen=True)
class StridedEncoderConfig:
    """Strided convolutions, then dilated residual blocks (dilations 1, 3, 9, 1, 3, ...).

    kind is what the first convolution sees: the waveform, or features at 100 Hz.
    """

    kind: Literal["wave", "logmel", "mfcc"] = "logmel"
    strides: tuple[int, ...] = (2, 2)
    channels: int = 256
    blocks: int = 4
    batch_norm: bool = True

    @property
    def hop_length(self) -> int:
        """Samples per latent at 16 kHz."""
        return INPUT_HOPS[self.kind] * math.prod(self.strides)


@dataclass(frozen=True)
class CausalEncoderConfig:
    """One strided convolution over log-mel, pointwise layers, then dilated blocks that see the past.

    strides: of the first convolution, and of the projection to latents.
    pointwise: layers of kernel 1 after the first convolution.
    dilations: of each block.
    lookahead: how many blocks, from the first, see as much of the future as of the past.
    outputs: the layers that the projection joins: 0 is the input of the blocks, i the output of the i-th.
    """

    kind: Literal["causal"] = "causal"
    strides: tuple[int, int] = (2, 2)
    channels: int = 256
    pointwise: int = 3
    dilations: tuple[int, ...] = (1, 2, 4, 8, 1, 2)
    lookahead: int = 0
    outputs: tuple[int, ...] = (0, 3, 6)

    @property
    def hop_length(self) -> int:
        """Samples per latent at 16 kHz."""
        return INPUT_HOPS["logmel"] * math.prod(self.strides)


EncoderConfig = StridedEncoderConfig | CausalEncoderConfig


@dataclass(frozen=True)
class VQConfig:
    """The paper's quantizer: the codebook is learned by gradient, `rate` times as fast as the rest.

    init: where the codebook begins, at the centres of the first batch's vectors or at random (normal).
    """

    kind: Literal["vq"] = "vq"
    codes: int = 512
    dim: int = 64
    beta: float = 0.25
    init: Literal["kmeans", "random"] = "kmeans"
    rate: float = 1.0


@dataclass(frozen=True)
class EMAConfig:
    """The codebook is a moving average of the vectors assigned to it (the paper's appendix A.1).

    init as above. restart: a code used less than this share of the mean usage is moved onto a vector of the batch;
    0 never.
    """

    kind: Literal["ema"] = "ema"
    codes: int = 512
    dim: int = 64
    beta: float = 0.25
    init: Literal["kmeans", "random"] = "kmeans"
    decay: float = 0.99
    restart: float = 0.1


@dataclass(frozen=True)
class FSQConfig:
    """Finite scalar quantization: dimension i is rounded to levels[i] values; the codes are their combinations.

    levels: two or more each, at most 2^16 combinations; the paper advises 5 or more.
    dim: width of the latents, which are projected to the dimensions that are rounded, and back.
    """

    kind: Literal["fsq"] = "fsq"
    levels: tuple[int, ...] = (8, 5, 5, 5)
    dim: int = 64

    @property
    def codes(self) -> int:
        """The number of combinations."""
        return math.prod(self.levels)


@dataclass(frozen=True)
class AEConfig:
    """No bottleneck but the dimension: the autoencoder that the others are compared with."""

    kind: Literal["ae"] = "ae"
    dim: int = 64

    @property
    def codes(self) -> int:
        """None: it is continuous."""
        return 0


@dataclass(frozen=True)
class VAEConfig:
    """Gaussian latents; beta weighs their divergence from a standard normal, from 0 at first to all after `warmup`
    steps."""

    kind: Literal["vae"] = "vae"
    dim: int = 64
    beta: float = 0.01
    warmup: int = 1_000

    @property
    def codes(self) -> int:
        """None: it is continuous."""
        return 0


BottleneckConfig = VQConfig | EMAConfig | FSQConfig | AEConfig | VAEConfig


@dataclass(frozen=True)
class ConditionerConfig:
    """Codes and speaker to frames. upsample frames are made of each code."""

    upsample: int = 4
    channels: int = 256
    blocks: int = 4
    speaker_dim: int = 64


@dataclass(frozen=True)
class WaveNetConfig:
    """cycles x layers gated layers; dilations 1, 2, ..., 2^(layers-1) in each cycle."""

    cycles: int = 2
    layers: int = 10
    kernel: int = 2
    residual: int = 64
    gate: int = 64
    skip: int = 128

    @property
    def dilations(self) -> tuple[int, ...]:
        """Of each layer, lowest first."""
        return tuple(2**i for i in range(self.layers)) * self.cycles

    @property
    def receptive_field(self) -> int:
        """Number of earlier classes that a prediction depends on."""
        return 1 + (self.kernel - 1) * sum(self.dilations)


@dataclass(frozen=True)
class MelDecoderConfig:
    """Frames to log-mel by one 1x1 convolution; heard through Griffin-Lim."""

    kind: Literal["mel"] = "mel"
    conditioner: ConditionerConfig = field(default_factory=ConditionerConfig)


@dataclass(frozen=True)
class SourceFilterDecoderConfig:
    """Frames to pitch and the spectral envelopes of pulses and of noise."""

    kind: Literal["source_filter"] = "source_filter"
    conditioner: ConditionerConfig = field(default_factory=ConditionerConfig)


@dataclass(frozen=True)
class MFCCDecoderConfig:
    """Frames to MFCC by one 1x1 convolution: no pitch to spend codes on, and nothing to hear."""

    kind: Literal["mfcc"] = "mfcc"
    conditioner: ConditionerConfig = field(default_factory=ConditionerConfig)


@dataclass(frozen=True)
class WaveNetDecoderConfig:
    """mel_weight adds the mel decoder's loss on the shared conditioner; 0 is the paper's."""

    kind: Literal["wavenet"] = "wavenet"
    conditioner: ConditionerConfig = field(default_factory=ConditionerConfig)
    wavenet: WaveNetConfig = field(default_factory=WaveNetConfig)
    mel_weight: float = 0.0


@dataclass(frozen=True)
class NoDecoderConfig:
    """No decoder: a model that makes codes, and no speech."""

    kind: Literal["none"] = "none"


DecoderConfig = (
    MelDecoderConfig | SourceFilterDecoderConfig | MFCCDecoderConfig | WaveNetDecoderConfig | NoDecoderConfig
)


@dataclass(frozen=True)
class PredictorConfig:
    """weight of a loss that predicts latents up to `ahead` of the last; 0 is the paper's model, without one."""

    weight: float = 0.0
    ahead: int = 3
    channels: int = 128


@dataclass(frozen=True)
class AugmentConfig:
    """What is done in training to the speech that the encoder hears, at most, and 0 for nothing: gain (dB, either way),
    shift (samples, either way), noise (white, its RMS as a share of the speech's), filter (dB, either way), voice
    (semitones, either way, of pitch and formants together)."""

    gain: float = 0.0
    shift: int = 0
    noise: float = 0.0
    filter: float = 0.0
    voice: float = 0.0


@dataclass(frozen=True)
class ModelConfig:
    """jitter is the chance that a code is replaced by one of its two neighbours in training."""

    encoder: EncoderConfig = field(
        default_factory=StridedEncoderConfig, metadata={"kind": "logmel"}
    )  # if none is named
    bottleneck: BottleneckConfig = field(default_factory=EMAConfig)
    decoder: DecoderConfig = field(default_factory=WaveNetDecoderConfig)
    predictor: PredictorConfig = field(default_factory=PredictorConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    jitter: float = 0.0


@dataclass(frozen=True)
class MelAugmentConfig:
    """Changes of log-mel spectrograms in training, at most; 0 for none.

    stretch: of the mel axis, either way (0.1: a voice a tenth higher or lower).
    filter: standard deviation in dB of random gains at nine points of the mel axis, straight lines between.
    gain: in dB, either way.
    snr: the lowest ratio of speech to added noise, in dB; 0 for none.
    """

    stretch: float = 0.1
    filter: float = 6.5
    gain: float = 0.0
    snr: float = 0.0


@dataclass(frozen=True)
class CPCConfig:
    """Contrastive predictive coding: from the context of a changed copy, the local latents of the next `steps` steps.

    temperature: of the cosine between prediction and latent.
    warm: steps of context, from the start of a crop, that predict nothing.
    """

    needs_codec = False
    kind: Literal["cpc"] = "cpc"
    steps: int = 8
    temperature: float = 0.1
    warm: int = 16


@dataclass(frozen=True)
class MaskedConfig:
    """Masked prediction of a codec's codes (--model).

    start: the share of latents at which a mask begins. span: its length in latents.
    unmasked: weight of the loss where nothing is masked.
    """

    needs_codec = True
    kind: Literal["masked"] = "masked"
    start: float = 0.08
    span: int = 5
    unmasked: float = 0.0

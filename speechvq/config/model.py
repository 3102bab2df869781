"""The parts of a codec."""

import math
from dataclasses import dataclass, field, replace
from typing import Literal

from speechvq.config.decoder import DecoderConfig, VocoderDecoderConfig, WaveNetDecoderConfig

HIGHEST_HIGH_PASS = 1_000.0  # Hz, of the filter before an encoder
INPUT_HOPS = {"wave": 1, "logmel": 160, "mfcc": 160}  # samples per frame of an encoder's input


@dataclass(frozen=True)
class StridedEncoderConfig:
    """Strided convolutions, then dilated residual blocks (dilations 1, 3, 9, 1, 3, ...).

    kind: the input, the waveform or features at 100 Hz.
    strides: of the convolutions; their product is the number of input frames per latent.
    channels: of all layers.
    blocks: number of residual blocks.
    batch_norm: whether the latents are normalised.
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
    channels: of all layers.
    pointwise: number of layers of kernel 1 after the first convolution.
    dilations: of each block.
    lookahead: number of blocks, from the first, that see as much of the future as of the past.
    outputs: the layers that the projection joins; 0 is the input of the blocks, i the output of block i.
    mean: frames of the past over which the mean spectrum of the speech is subtracted; 0 subtracts none.
    classes: of a classifier on the last layer, by the square roots of whose probabilities the latents are given, too;
        0 for no classifier.
    """

    kind: Literal["causal"] = "causal"
    strides: tuple[int, int] = (2, 2)
    channels: int = 256
    pointwise: int = 3
    dilations: tuple[int, ...] = (1, 2, 4, 8, 1, 2)
    lookahead: int = 0
    outputs: tuple[int, ...] = (0, 3, 6)
    mean: int = 0
    classes: int = 0

    @property
    def hop_length(self) -> int:
        """Samples per latent at 16 kHz."""
        return INPUT_HOPS["logmel"] * math.prod(self.strides)


EncoderConfig = StridedEncoderConfig | CausalEncoderConfig


@dataclass(frozen=True)
class VQConfig:
    """The paper's vector quantization, with a codebook that is learned by gradient.

    codes: size of the codebook, K.
    dim: width of its vectors and of the latents, D.
    beta: weight of the commitment loss.
    init: first codebook, the k-means centres of the first batch's latents, or random (normal).
    penalty: of changes from code to code, the largest in training, as a multiple of the mean squared distance of the
        latents from their codes: what is learned bears the penalties of encoding. 0 for none.
    rate: learning rate of the codebook as a multiple of train.learning_rate.
    """

    kind: Literal["vq"] = "vq"
    codes: int = 512
    dim: int = 64
    beta: float = 0.25
    init: Literal["kmeans", "random"] = "kmeans"
    penalty: float = 0.0
    rate: float = 1.0


@dataclass(frozen=True)
class EMAConfig:
    """Vector quantization whose codebook is a moving average of the latents assigned to it (the paper's appendix A.1).

    codes, dim, beta, init, penalty: as for `vq`.
    decay: of the moving average.
    restart: a code used less than this share of the mean usage is moved onto a latent of the batch; 0 moves none.
    """

    kind: Literal["ema"] = "ema"
    codes: int = 512
    dim: int = 64
    beta: float = 0.25
    init: Literal["kmeans", "random"] = "kmeans"
    penalty: float = 0.0
    decay: float = 0.99
    restart: float = 0.1


@dataclass(frozen=True)
class FSQConfig:
    """Finite scalar quantization (Mentzer et al. 2023): dimension i is rounded to levels[i] values.

    levels: two or more each, with at most 2^16 combinations; the paper advises 5 or more.
    dim: width of the latents, D, which are projected to the rounded dimensions and back.
    """

    kind: Literal["fsq"] = "fsq"
    levels: tuple[int, ...] = (8, 5, 5, 5)
    dim: int = 64

    @property
    def codes(self) -> int:
        """The number of combinations of values."""
        return math.prod(self.levels)


@dataclass(frozen=True)
class AEConfig:
    """An autoencoder without quantization, as a comparison.

    dim: width of the latents, D.
    """

    kind: Literal["ae"] = "ae"
    dim: int = 64

    @property
    def codes(self) -> int:
        """0, since the latents are continuous."""
        return 0


@dataclass(frozen=True)
class VAEConfig:
    """Gaussian latents, as a comparison.

    dim: width of the latents, D.
    beta: weight of their divergence from a standard normal distribution.
    warmup: steps in which this weight rises from 0.
    """

    kind: Literal["vae"] = "vae"
    dim: int = 64
    beta: float = 0.01
    warmup: int = 1_000

    @property
    def codes(self) -> int:
        """0, since the latents are continuous."""
        return 0


BottleneckConfig = VQConfig | EMAConfig | FSQConfig | AEConfig | VAEConfig


@dataclass(frozen=True)
class PredictorConfig:
    """A loss that predicts latents from those before.

    weight: of the loss; 0 in the paper, which has none.
    ahead: how many steps ahead are predicted.
    channels: of the recurrent net.
    """

    weight: float = 0.0
    ahead: int = 3
    channels: int = 128


@dataclass(frozen=True)
class ContentConfig:
    """A loss that predicts the phones of labels from single latents after the bottleneck: codes that text teaches.

    weight: of the loss; 0 in the paper, which has none.
    """

    weight: float = 0.0


@dataclass(frozen=True)
class CycleConfig:
    """A loss on the latents of what a vocoder decoder predicts for another speaker, encoded again.

    weight: of the loss; 0 in the paper, which has none.
    """

    weight: float = 0.0


@dataclass(frozen=True)
class AugmentConfig:
    """Random changes of the encoder's input in training; 0 switches a change off.

    gain: largest gain, up or down; dB.
    shift: largest shift, either way; samples.
    noise: largest RMS of added white noise, as a share of the speech's.
    filter: largest gain at any frequency, up or down; dB.
    voice: largest change of pitch and formants together, up or down; semitones.
    """

    gain: float = 0.0
    shift: int = 0
    noise: float = 0.0
    filter: float = 0.0
    voice: float = 0.0


@dataclass(frozen=True)
class ModelConfig:
    """The parts of a codec.

    jitter: the probability that a code is replaced by one of its two neighbours in training.
    """

    # The metadata is the `kind` of a table that names none.
    encoder: EncoderConfig = field(default_factory=StridedEncoderConfig, metadata={"kind": "logmel"})
    bottleneck: BottleneckConfig = field(default_factory=EMAConfig)
    decoder: DecoderConfig = field(default_factory=WaveNetDecoderConfig)
    predictor: PredictorConfig = field(default_factory=PredictorConfig)
    content: ContentConfig = field(default_factory=ContentConfig)
    cycle: CycleConfig = field(default_factory=CycleConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    jitter: float = 0.0

    @property
    def trained(self) -> "ModelConfig":
        """Without the parts that only losses of training need (`TRAINING_PARTS`); the model's codes and speech stay."""
        decoder = self.decoder
        if isinstance(decoder, VocoderDecoderConfig):
            decoder = replace(decoder, transposed_weight=0.0, speaker_weight=0.0)
        return replace(self, decoder=decoder, predictor=PredictorConfig(), content=ContentConfig(), cycle=CycleConfig())

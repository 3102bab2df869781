"""Configuration: frozen dataclasses, which `parsing` reads.

Each number is written once; what follows from it (hop length, receptive field) is a property of the
part that is built from it.
"""

import math
from dataclasses import dataclass, field
from typing import Literal

INPUT_HOPS = {"wave": 1, "logmel": 160, "mfcc": 160}  # samples per frame of what an encoder's first convolution sees


@dataclass(frozen=True)
class EncoderConfig:
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


DecoderConfig = MelDecoderConfig | SourceFilterDecoderConfig | MFCCDecoderConfig | WaveNetDecoderConfig


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

    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    bottleneck: BottleneckConfig = field(default_factory=EMAConfig)
    decoder: DecoderConfig = field(default_factory=WaveNetDecoderConfig)
    predictor: PredictorConfig = field(default_factory=PredictorConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    jitter: float = 0.0


@dataclass(frozen=True)
class PriorConfig:
    """A WaveNet over codes. anyone: the share of training windows whose speaker it is not told; 1 makes it the paper's,
    which knows no speakers.

    corrupt: the share of earlier codes that are replaced by others in training. shifts: in how many versions an
    utterance is trained on, each with another part of a code cut off its beginning. Both against learning by heart.
    """

    wavenet: WaveNetConfig = field(default_factory=lambda: WaveNetConfig(cycles=2, layers=6))
    speaker_dim: int = 64
    anyone: float = 0.5
    corrupt: float = 0.1
    shifts: int = 4


@dataclass(frozen=True)
class InitConfig:
    """Parts (dotted module names) taken from the model folder `path`, and parts that are not trained."""

    path: str = ""
    parts: tuple[str, ...] = ("encoder", "bottleneck", "decoder.speakers", "decoder.conditioner")
    freeze: tuple[str, ...] = ()


@dataclass(frozen=True)
class TrainConfig:
    """crop is in samples, a prior's in codes. minutes > 0 ends training, schedule included, after that time if it comes
    first.

    Every eval_every steps the model is measured on at most eval_crops held-out crops of the same length.
    average is the decay of the moving average of the weights; 0 switches it off.
    """

    seed: int = 0
    steps: int = 100_000
    minutes: float = 0.0
    batch_size: int = 16
    crop: int = 8_000
    optimizer: Literal["adam", "adamw"] = "adam"
    learning_rate: float = 4e-4
    weight_decay: float = 0.0
    schedule: Literal["constant", "cosine"] = "cosine"
    warmup: int = 200
    clip: float = 1.0
    average: float = 0.999
    precision: Literal["no", "bf16", "fp16"] = "no"
    eval_every: int = 1_000
    eval_crops: int = 256
    workers: int = 0


@dataclass(frozen=True)
class CodecRun:
    """The run of a codec."""

    kind = "codec"
    model: ModelConfig = field(default_factory=ModelConfig)
    init: InitConfig = field(default_factory=InitConfig)
    train: TrainConfig = field(default_factory=TrainConfig)


@dataclass(frozen=True)
class PriorRun:
    """The run of a prior over the codes of a codec."""

    kind = "prior"
    prior: PriorConfig = field(default_factory=PriorConfig)
    train: TrainConfig = field(default_factory=TrainConfig)


Run = CodecRun | PriorRun
# The table of a TOML file that makes it a run of this class; without any, it is a codec's.
RUNS: dict[str, type[CodecRun] | type[PriorRun]] = {"model": CodecRun, "prior": PriorRun}

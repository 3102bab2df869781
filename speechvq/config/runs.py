"""The kinds of run: of a codec, of a prior over its codes, of an encoder by itself."""

from dataclasses import dataclass, field
from typing import Literal

from speechvq.config.model import (
    CausalEncoderConfig,
    CPCConfig,
    MaskedConfig,
    MelAugmentConfig,
    ModelConfig,
    WaveNetConfig,
)


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
    needs_codec = False
    model: ModelConfig = field(default_factory=ModelConfig)
    init: InitConfig = field(default_factory=InitConfig)
    train: TrainConfig = field(default_factory=TrainConfig)


@dataclass(frozen=True)
class PriorRun:
    """The run of a prior over the codes of a codec."""

    kind = "prior"
    needs_codec = True
    prior: PriorConfig = field(default_factory=PriorConfig)
    train: TrainConfig = field(default_factory=TrainConfig)


@dataclass(frozen=True)
class EncoderRun:
    """The run of an encoder by itself, trained by an objective that needs no decoder."""

    kind = "encoder"
    encoder: CausalEncoderConfig = field(default_factory=CausalEncoderConfig)
    objective: CPCConfig | MaskedConfig = field(default_factory=CPCConfig)
    augment: MelAugmentConfig = field(default_factory=MelAugmentConfig)
    init: InitConfig = field(default_factory=InitConfig)
    train: TrainConfig = field(default_factory=TrainConfig)

    @property
    def needs_codec(self) -> bool:
        """Whether it is trained on the codes of a codec."""
        return self.objective.needs_codec


Run = CodecRun | PriorRun | EncoderRun
# The table of a TOML file that makes it a run of this class; without any, it is a codec's.
RUNS: dict[str, type[CodecRun] | type[PriorRun] | type[EncoderRun]] = {
    "model": CodecRun,
    "prior": PriorRun,
    "objective": EncoderRun,
}

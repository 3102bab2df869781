"""The kinds of run: a codec, a prior over its codes, an encoder without a decoder."""

from dataclasses import dataclass, field
from typing import Literal

from speechvq.config.decoder import WaveNetConfig
from speechvq.config.model import CausalEncoderConfig, ModelConfig
from speechvq.config.objective import CPCConfig, MelAugmentConfig, ObjectiveConfig


@dataclass(frozen=True)
class PriorConfig:
    """A WaveNet over codes.

    speaker_dim: width of a speaker embedding.
    anyone: share of the training windows whose speaker is hidden; at 1, as in the paper, the prior has no speakers.
    corrupt: share of the earlier codes that are replaced by random ones in training, against overfitting.
    shifts: number of versions of each utterance, each without another part of the first code, against overfitting.
    penalty: of the codes that are learned, for each change (see `Codec.encode`); those that are coded with this prior
        get the same.
    """

    wavenet: WaveNetConfig = field(default_factory=lambda: WaveNetConfig(cycles=2, layers=6))
    speaker_dim: int = 64
    anyone: float = 0.5
    corrupt: float = 0.1
    shifts: int = 4
    penalty: float = 0.0


@dataclass(frozen=True)
class InitConfig:
    """Weights from another model.

    path: its folder; empty for none.
    parts: dotted names of the modules that are copied from it.
    freeze: dotted names of the modules that are not trained.
    """

    path: str = ""
    parts: tuple[str, ...] = ("encoder", "bottleneck", "decoder.speakers", "decoder.conditioner")
    freeze: tuple[str, ...] = ()


@dataclass(frozen=True)
class TrainConfig:
    """The options of the training loop.

    seed: of weights, batches and noise.
    steps: number of training steps.
    minutes: ends training, and its schedule, after this time if that is earlier; 0 for no limit.
    batch_size: crops per step, of all processes together.
    crop: length of a crop, in samples; for a prior, in codes.
    learning_rate: the highest one; `schedule` lowers it, after a linear rise over `warmup` steps.
    clip: largest norm of the gradient.
    average: decay of the moving average of the weights; 0 switches it off.
    precision: of the arithmetic; `no` is float32.
    eval_every: steps between evaluations on held-out data.
    eval_crops: largest number of held-out crops, of the same length, in an evaluation.
    keep: the held-out figure whose best weights are kept; phone_accuracy is of an encoder's run with labels.
    workers: processes that read batches; 0 reads them in the training process.
    skips: so many steps in a row whose gradient is not finite, and which are skipped, end training.
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
    keep: Literal["loss", "phone_accuracy"] = "loss"
    workers: int = 0
    skips: int = 10


@dataclass(frozen=True)
class CodecRun:
    """Training of a codec."""

    kind = "codec"
    needs_codec = False
    model: ModelConfig = field(default_factory=ModelConfig)
    init: InitConfig = field(default_factory=InitConfig)
    train: TrainConfig = field(default_factory=TrainConfig)

    @property
    def needs_labels(self) -> bool:
        """Whether its codes are trained on labels."""
        return self.model.content.weight > 0


@dataclass(frozen=True)
class PriorRun:
    """Training of a prior over the codes of a codec."""

    kind = "prior"
    needs_codec, needs_labels = True, False
    prior: PriorConfig = field(default_factory=PriorConfig)
    train: TrainConfig = field(default_factory=TrainConfig)


@dataclass(frozen=True)
class EncoderRun:
    """Training of an encoder by an objective that needs no decoder."""

    kind = "encoder"
    encoder: CausalEncoderConfig = field(default_factory=CausalEncoderConfig)
    objective: ObjectiveConfig = field(default_factory=CPCConfig)
    augment: MelAugmentConfig = field(default_factory=MelAugmentConfig)
    # The metadata completes a table that names no parts: there is no bottleneck, and no decoder.
    init: InitConfig = field(default_factory=lambda: InitConfig(parts=("encoder",)), metadata={"parts": ["encoder"]})
    train: TrainConfig = field(default_factory=TrainConfig)

    @property
    def needs_codec(self) -> bool:
        """Whether it is trained on the codes of a codec."""
        return self.objective.needs_codec

    @property
    def needs_labels(self) -> bool:
        """Whether it is trained on labels."""
        return self.objective.needs_labels


Run = CodecRun | PriorRun | EncoderRun
# The configuration of a TOML file that has this table; without any of them it is a codec's.
RUNS: dict[str, type[CodecRun] | type[PriorRun] | type[EncoderRun]] = {
    "model": CodecRun,
    "prior": PriorRun,
    "objective": EncoderRun,
}

"""The decoders of a codec."""

from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True)
class ConditionerConfig:
    """Codes and a speaker to frames.

    upsample: frames per code.
    channels: of all layers, and of the frames.
    blocks: number of residual blocks at the rate of codes, and again at that of frames.
    speaker_dim: width of a speaker embedding.
    causal: whether the convolutions see the past only, in place of both sides.
    lookahead: number of codes that causal convolutions wait for before a frame.
    """

    upsample: int = 4
    channels: int = 256
    blocks: int = 4
    speaker_dim: int = 64
    causal: bool = False
    lookahead: int = 0


@dataclass(frozen=True)
class WaveNetConfig:
    """Causal gated convolutions.

    cycles: how often the dilations 1, 2, ..., 2^(layers - 1) are repeated.
    layers: number of layers in a cycle.
    kernel: of the dilated convolutions.
    residual, gate, skip: channels of the residual path, of each half of the gate, and of the skip connections.
    """

    cycles: int = 2
    layers: int = 10
    kernel: int = 2
    residual: int = 64
    gate: int = 64
    skip: int = 128

    @property
    def dilations(self) -> tuple[int, ...]:
        """The dilation of each layer, from the first."""
        return tuple(2**i for i in range(self.layers)) * self.cycles

    @property
    def receptive_field(self) -> int:
        """Number of earlier samples or codes that a prediction depends on."""
        return 1 + (self.kernel - 1) * sum(self.dilations)


@dataclass(frozen=True)
class MelDecoderConfig:
    """Frames to log-mel by one 1x1 convolution; Griffin-Lim gives the phases."""

    kind: Literal["mel"] = "mel"
    conditioner: ConditionerConfig = field(default_factory=ConditionerConfig)


@dataclass(frozen=True)
class SourceFilterDecoderConfig:
    """Frames to pitch and to the spectral envelopes of pulses and of noise."""

    kind: Literal["source_filter"] = "source_filter"
    conditioner: ConditionerConfig = field(default_factory=ConditionerConfig)


@dataclass(frozen=True)
class VocoderDecoderConfig:
    """Frames to log-mel and pitch, and a source-filter vocoder of these.

    vocoder_channels, vocoder_blocks: of the vocoder's net.
    transposed_weight: weight of a loss on the pitch that is predicted for another speaker of the batch; 0 for none.
    speaker_weight: weight of a loss on the spectrum that is predicted for another speaker, by a classifier of speakers
        that is trained beside; 0 for none.
    """

    kind: Literal["vocoder"] = "vocoder"
    conditioner: ConditionerConfig = field(default_factory=ConditionerConfig)
    vocoder_channels: int = 192
    vocoder_blocks: int = 4
    transposed_weight: float = 0.0
    speaker_weight: float = 0.0


@dataclass(frozen=True)
class MFCCDecoderConfig:
    """Frames to MFCC by one 1x1 convolution, so that no codes are spent on pitch; it gives no audio."""

    kind: Literal["mfcc"] = "mfcc"
    conditioner: ConditionerConfig = field(default_factory=ConditionerConfig)


@dataclass(frozen=True)
class WaveNetDecoderConfig:
    """A WaveNet over samples, conditioned on frames.

    mel_weight: weight of the mel decoder's loss on the same frames; 0 in the paper.
    """

    kind: Literal["wavenet"] = "wavenet"
    conditioner: ConditionerConfig = field(default_factory=ConditionerConfig)
    wavenet: WaveNetConfig = field(default_factory=WaveNetConfig)
    mel_weight: float = 0.0


@dataclass(frozen=True)
class BandWaveNetDecoderConfig:
    """A vocoder, and a WaveNet over bands of samples that corrects its speech.

    vocoder_channels, vocoder_blocks: as for `vocoder`.
    bands: number of critically sampled bands, of each of which a step of the WaveNet draws a sample.
    components: logistic distributions in the mixture that a sample is drawn from.
    temperature: multiplies that of the sampling.
    """

    kind: Literal["band_wavenet"] = "band_wavenet"
    conditioner: ConditionerConfig = field(default_factory=ConditionerConfig)
    vocoder_channels: int = 192
    vocoder_blocks: int = 4
    wavenet: WaveNetConfig = field(default_factory=lambda: WaveNetConfig(cycles=2, layers=5))
    bands: int = 4
    components: int = 3
    temperature: float = 1.0


@dataclass(frozen=True)
class NoDecoderConfig:
    """No decoder: the model gives codes, and no speech."""

    kind: Literal["none"] = "none"


DecoderConfig = (
    MelDecoderConfig
    | SourceFilterDecoderConfig
    | VocoderDecoderConfig
    | MFCCDecoderConfig
    | WaveNetDecoderConfig
    | BandWaveNetDecoderConfig
    | NoDecoderConfig
)

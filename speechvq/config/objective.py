"""The training of an encoder without a decoder."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class MelAugmentConfig:
    """Random changes of log-mel spectrograms in training; 0 switches a change off.

    stretch: largest stretch of the mel axis, up or down; 0.1 makes a voice a tenth higher or lower.
    filter: standard deviation of random gains at nine points of the mel axis, linear between them; dB.
    gain: largest gain, up or down; dB.
    snr: lowest ratio of speech to added noise; dB.
    """

    stretch: float = 0.1
    filter: float = 6.5
    gain: float = 0.0
    snr: float = 0.0


@dataclass(frozen=True)
class CPCConfig:
    """Contrastive predictive coding: the context of an augmented copy predicts the local latents that follow.

    steps: how many steps ahead are predicted.
    temperature: divides the cosine of prediction and latent.
    warm: steps at the start of a crop that give context but predict nothing.
    """

    needs_codec = needs_labels = False
    kind: Literal["cpc"] = "cpc"
    steps: int = 8
    temperature: float = 0.1
    warm: int = 16


@dataclass(frozen=True)
class MaskedConfig:
    """Masked prediction of a codec's codes (--model).

    start: share of the latents at which a mask begins.
    span: length of a mask; latents.
    unmasked: weight of the loss where nothing is masked.
    """

    needs_codec, needs_labels = True, False
    kind: Literal["masked"] = "masked"
    start: float = 0.08
    span: int = 5
    unmasked: float = 0.0


@dataclass(frozen=True)
class PhonesConfig:
    """The phones of labels (--labels): an encoder that is taught by text.

    start: share of the latents at which a mask begins.
    span: length of a mask; latents.
    smoothing: share of the probability that the target spreads over all phones.
    """

    needs_codec, needs_labels = False, True
    kind: Literal["phones"] = "phones"
    start: float = 0.02
    span: int = 5
    smoothing: float = 0.1


ObjectiveConfig = CPCConfig | MaskedConfig | PhonesConfig

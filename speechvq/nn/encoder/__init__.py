"""Encoders: audio to latents."""

from collections.abc import Callable
from typing import Any

from speechvq.nn.encoder.causal import CausalEncoder
from speechvq.nn.encoder.contract import Encoder
from speechvq.nn.encoder.strided import StridedEncoder

__all__ = ["ENCODERS", "Encoder"]

# By the `kind` of a configuration; each takes it, and the width D of the latents.
ENCODERS: dict[str, Callable[[Any, int], Encoder]] = {
    "wave": StridedEncoder,
    "logmel": StridedEncoder,
    "mfcc": StridedEncoder,
    "causal": CausalEncoder,
}

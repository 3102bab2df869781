"""Encoders: audio to latents."""

from speechvq.nn.encoder.causal import CausalEncoder
from speechvq.nn.encoder.contract import Encoder
from speechvq.nn.encoder.strided import StridedEncoder

__all__ = ["ENCODERS", "Encoder"]

# By the `kind` of a configuration.
ENCODERS: dict[str, type[StridedEncoder] | type[CausalEncoder]] = {
    "wave": StridedEncoder,
    "logmel": StridedEncoder,
    "mfcc": StridedEncoder,
    "causal": CausalEncoder,
}

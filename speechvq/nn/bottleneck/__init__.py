"""Bottlenecks, between encoder and decoder. `BOTTLENECKS` maps a configuration's kind to its class."""

from speechvq.nn.bottleneck.continuous import Gaussian, Identity
from speechvq.nn.bottleneck.contract import Bottleneck, CodeVectors, Discrete, Latent
from speechvq.nn.bottleneck.fsq import FSQ
from speechvq.nn.bottleneck.vq import EMAVQ, GradientVQ

__all__ = ["BOTTLENECKS", "Bottleneck", "CodeVectors", "Discrete", "Latent"]
BOTTLENECKS: dict[str, type[Bottleneck]] = {
    "ae": Identity,
    "vae": Gaussian,
    "vq": GradientVQ,
    "ema": EMAVQ,
    "fsq": FSQ,
}

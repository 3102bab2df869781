"""Objectives, which train an encoder. All but `latent_cpc` need no decoder."""

from collections.abc import Callable
from typing import Any

from speechvq.nn.encoder.causal import CausalEncoder
from speechvq.nn.objective.contract import FeatureBatch, Objective
from speechvq.nn.objective.cpc import CPC
from speechvq.nn.objective.masked import Masked
from speechvq.nn.objective.phones import Phones

__all__ = ["OBJECTIVES", "FeatureBatch", "Objective"]

# By the `kind` of a configuration; each takes it, the encoder, and the number of codes or phones that are predicted.
OBJECTIVES: dict[str, Callable[[Any, CausalEncoder, int], Objective]] = {
    "cpc": CPC,
    "masked": Masked,
    "phones": Phones,
}

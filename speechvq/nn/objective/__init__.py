"""Objectives, which train an encoder. All but `latent_cpc` need no decoder."""

from speechvq.nn.objective.contract import FeatureBatch, Objective
from speechvq.nn.objective.cpc import CPC
from speechvq.nn.objective.masked import Masked

__all__ = ["OBJECTIVES", "FeatureBatch", "Objective"]

# By the `kind` of a configuration.
OBJECTIVES: dict[str, type[CPC] | type[Masked]] = {"cpc": CPC, "masked": Masked}

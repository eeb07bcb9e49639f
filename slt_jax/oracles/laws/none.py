"""No parameters are left: the model is conjugate."""

from dataclasses import dataclass

import numpy as np

from slt_jax.oracles.laws.charts import Chart
from slt_jax.oracles.laws.cuts import Cut
from slt_jax.oracles.laws.law import LatentRule, Resolution, SharedLaw


@dataclass(frozen=True)
class NoLatent(SharedLaw):
    """Every parameter is in the Gaussian block."""

    def rule(self, sharpness: tuple[float, ...], resolution: Resolution) -> LatentRule:
        del sharpness, resolution
        return LatentRule(np.zeros((1, 0)), np.zeros(1))

    def cuts(self) -> tuple[Cut, ...]:
        return ()

    def charts(self, nats: float) -> tuple[Chart, ...]:
        del nats
        return ()

    def describe(self) -> str:
        return ""

"""Units of one sign and of the other, by the lengths of their weights."""

import functools
import math
from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
from jax import Array
from scipy.special import comb

from slt_jax.oracles.laws.charts import Chart, chi_axis
from slt_jax.oracles.laws.cuts import Cut, length_cut
from slt_jax.oracles.laws.law import LatentRule, Resolution, SharedLaw, finest_panel, tensor_rule
from slt_jax.oracles.laws.lengths import chi_rule
from slt_jax.oracles.quadrature import Rule


@dataclass(frozen=True)
class HalvesLatent(SharedLaw):
    """Root sums of squares of the positive and of the negative of ``num_units`` N(0, scale²)."""

    num_units: int
    scale: float = 1.0

    def rule(self, sharpness: tuple[float, ...], resolution: Resolution) -> LatentRule:
        """Add up k positive of H units, of probability C(H, k)/2^H, with roots χ_k and χ_{H−k}."""
        (curvature,) = sharpness
        finest = finest_panel(curvature * self.scale**2)
        none = Rule(np.zeros(1), np.ones(1))
        lengths = [none] + [chi_rule(k, finest, resolution) for k in range(1, self.num_units + 1)]
        parts = [tensor_rule([lengths[k], lengths[-1 - k]]) for k in range(self.num_units + 1)]
        shares = [np.log(comb(self.num_units, k)) for k in range(self.num_units + 1)]
        logs = [part.log_weights + share for part, share in zip(parts, shares, strict=True)]
        return LatentRule(
            self.scale * np.concatenate([part.nodes for part in parts]),
            np.concatenate(logs) - self.num_units * np.log(2),
        )

    def cuts(self) -> tuple[Cut, ...]:
        return tuple(length_cut((j,), self.num_units, self.scale) for j in range(2))

    def charts(self, nats: float) -> tuple[Chart, ...]:
        return tuple(self._chart(positive, nats) for positive in range(self.num_units + 1))

    def _chart(self, positive: int, nats: float) -> Chart:
        """The chart of k positive of H units, which have probability C(H, k)/2^H."""
        negative = self.num_units - positive
        axes = tuple(chi_axis(k, self.scale, nats) for k in (positive, negative) if k)
        log_share = math.log(math.comb(self.num_units, positive)) - self.num_units * math.log(2)
        place = functools.partial(_to_halves, bool(positive), bool(negative))
        return Chart(axes, 1, place, log_share, nats)

    def describe(self) -> str:
        return "root sums of squares of the weights of each sign"


def _to_halves(positive: bool, negative: bool, lengths: Array) -> Array:
    if positive and negative:
        return lengths
    zero = jnp.zeros_like(lengths)
    return jnp.concatenate([lengths, zero] if positive else [zero, lengths], axis=1)

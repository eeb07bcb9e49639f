"""Linear regression with a Gaussian prior: the regular, conjugate control."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from jax import Array

from slt_jax import theory
from slt_jax.model import FeatureRegression
from slt_jax.oracles.laws.none import NoLatent
from slt_jax.oracles.structures import Collapse
from slt_jax.problem import Problem
from slt_jax.statistics import Params
from slt_jax.validation import Positive, Size


@dataclass(frozen=True, kw_only=True)
class LinearRegression(FeatureRegression):
    """Linear regression without an intercept.

    y = wᵀx + noise with x ~ N(0, I_d) and w ~ N(0, prior_scale² I_d).
    """

    input_dim: Size = 3
    prior_scale: Positive = 1.0

    def priors(self) -> dict[str, dist.Distribution]:
        return {"w": dist.Normal(0.0, self.prior_scale).expand((self.input_dim,))}

    def sample_input(self, key: Array) -> Array:
        return jax.random.normal(key, (self.input_dim,))

    def input_distribution(self) -> dist.Distribution:
        return dist.Normal(0.0, 1.0).expand((self.input_dim,))

    def features(self, x: Array) -> Array:
        return x

    def coefficients(self, params: Params) -> Array:
        return params["w"][:, None]

    def exact(self, optimum: Params) -> Collapse:
        return Collapse(NoLatent(), self.prior_scale)

    def basis(self, latent: Array) -> Array:
        return jnp.eye(self.input_dim, dtype=latent.dtype)


def problems() -> tuple[Problem, ...]:
    """Return a regular problem, whose λ is d/2 and whose evidence is known in closed form."""
    optimum = {"w": np.array([0.5, 0.0, -0.5])}
    return (
        Problem(
            name="linear_3",
            model=LinearRegression(input_dim=3),
            optimum=optimum,
            theory=theory.regular(3),
            title="y = w·x, d = 3 (regular)",
            optimal_set=lambda key: optimum,
        ),
    )

"""Bayesian linear regression on inputs with a power-law spectrum."""

from dataclasses import dataclass
from typing import Annotated

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
from slt_jax.validation import Above, Positive, Size


@dataclass(frozen=True, kw_only=True)
class PowerLawRegression(FeatureRegression):
    """Linear regression on inputs whose variances fall by a power law.

    y = wᵀx + noise, x_i ~ N(0, i^{−1−α}) for i = 1 … d, w ~ N(0, prior_scale² I_d).

    It is regular, with λ = d/2; but direction i is only seen from n ≈ i^{1+α} on, so that up to
    n ≈ d^{1+α} the learning curve is a power law of n.
    """

    input_dim: Size = 8
    alpha: Annotated[float, Above(-1)] = 1.0
    prior_scale: Positive = 1.0

    def spectrum(self) -> np.ndarray:
        """Return the eigenvalues i^{−1−α} of the covariance of x, shape [d]."""
        return np.arange(1.0, self.input_dim + 1) ** (-1 - self.alpha)

    def priors(self) -> dict[str, dist.Distribution]:
        return {"w": dist.Normal(0.0, self.prior_scale).expand((self.input_dim,))}

    def sample_input(self, key: Array) -> Array:
        standard = jax.random.normal(key, (self.input_dim,))
        return jnp.sqrt(self.spectrum()).astype(standard.dtype) * standard

    def features(self, x: Array) -> Array:
        return x

    def coefficients(self, params: Params) -> Array:
        return params["w"][:, None]

    def exact(self, optimum: Params) -> Collapse:
        return Collapse(NoLatent(), self.prior_scale)

    def basis(self, latent: Array) -> Array:
        return jnp.eye(self.input_dim, dtype=latent.dtype)


def power_law(input_dim: int, alpha: float) -> Problem:
    """Return the problem whose true weights are all one. Raises ValueError for α ≤ −1."""
    optimum = {"w": np.ones(input_dim)}
    return Problem(
        f"power_law_{input_dim}",
        PowerLawRegression(input_dim=input_dim, alpha=alpha),
        optimum,
        theory.regular(input_dim),
        title=f"y = w·x, d = {input_dim}, spectrum i^−{1 + alpha:g} (regular)",
        showcase=False,
        optimal_set=lambda key: optimum,
    )


def problems() -> tuple[Problem, ...]:
    """Return eight directions, whose variances fall to 1/64."""
    return (power_law(8, 1.0),)

"""Skalse's fifteen-parameter polynomial, whose coefficients are products of 1 to 5 parameters."""

import functools
from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from jax import Array

from slt_jax import theory
from slt_jax.model import FeatureRegression
from slt_jax.oracles.laws.products import ProductLatent
from slt_jax.oracles.structures import Collapse
from slt_jax.problem import Problem
from slt_jax.statistics import Params
from slt_jax.validation import Positive


@dataclass(frozen=True, kw_only=True)
class SkalsePolynomial(FeatureRegression):
    """A polynomial of degree four whose coefficients are products of one to five parameters.

    f = θ₁x⁴ + θ₂θ₃x³ + θ₄θ₅θ₆x² + θ₇…θ₁₀x + θ₁₁…θ₁₅, x ~ U[−1, 1], θ ~ N(0, prior_scale²).
    """

    prior_scale: Positive = 1.0

    factors: ClassVar[tuple[int, ...]] = (1, 2, 3, 4, 5)

    def priors(self) -> dict[str, dist.Distribution]:
        return {"theta": dist.Normal(0.0, self.prior_scale).expand((sum(self.factors),))}

    def sample_input(self, key: Array) -> Array:
        return jax.random.uniform(key, (), minval=-1.0, maxval=1.0)

    def input_distribution(self) -> dist.Distribution:
        return dist.Uniform(-1.0, 1.0)

    def features(self, x: Array) -> Array:
        return jnp.stack([x**4, x**3, x**2, x, jnp.ones_like(x)])

    def coefficients(self, params: Params) -> Array:
        blocks, start = [], 0
        for count in self.factors:
            blocks.append(jnp.prod(params["theta"][start : start + count]))
            start += count
        return jnp.stack(blocks)[:, None]

    def exact(self, optimum: Params) -> Collapse:
        """The first factor of each product is collapsed; the others enter as four moduli."""
        remaining = tuple((1,) * (count - 1) for count in self.factors[1:])
        return Collapse(ProductLatent(remaining, self.prior_scale), self.prior_scale)

    def basis(self, latent: Array) -> Array:
        return jnp.diag(jnp.concatenate([jnp.ones((1,), latent.dtype), latent]))


def _problem(truth: str, degree: int | None) -> Problem:
    block_of_degree = {4: (0, 1), 3: (1, 3), 2: (3, 6), 1: (6, 10), 0: (10, 15)}
    start, stop = block_of_degree[degree] if degree is not None else (0, 0)
    index = np.arange(sum(SkalsePolynomial.factors))
    return Problem(
        name=f"skalse_{truth.replace('^', '')}",
        model=SkalsePolynomial(),
        optimum={"theta": np.where((index >= start) & (index < stop), 1.0, 0.0)},
        showcase=degree == 2,
        theory=theory.skalse_polynomial(truth),
        optimal_set=functools.partial(_same_products, degree),
        title="Skalse's polynomial, truth " + truth.translate(str.maketrans("234", "²³⁴", "^")),
    )


def _same_products(degree: int | None, key: Array) -> Params:
    """Draw from the prior, but set one factor of each product so that it is 1 or 0 as in truth."""
    key, key_theta = jax.random.split(key)
    theta = SkalsePolynomial().sample_prior(key_theta)["theta"]
    blocks, start = [], 0
    for count in SkalsePolynomial.factors:
        key, key_j = jax.random.split(key)
        is_last = jnp.arange(count) == jax.random.randint(key_j, (), 0, count)
        block = theta[start : start + count]
        others = jnp.prod(jnp.where(is_last, 1, block))
        blocks.append(jnp.where(is_last, (degree == 5 - count) / others, block))
        start += count
    return {"theta": jnp.concatenate(blocks)}


def problems() -> tuple[Problem, ...]:
    """Return the five truths of the essay and the zero function."""
    degrees = {"0": None, "1": 0, "x": 1, "x^2": 2, "x^3": 3, "x^4": 4}
    return tuple(_problem(truth, degree) for truth, degree in degrees.items())

"""Polynomial regression on one input: any basis, coefficients plain or powers of parameters."""

import dataclasses
import functools
from dataclasses import dataclass
from typing import Annotated, Literal

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from jax import Array
from numpyro.distributions import constraints

from slt_jax import theory
from slt_jax.model import FeatureRegression, Support
from slt_jax.oracles.laws.none import NoLatent
from slt_jax.oracles.laws.powers import PowersLatent
from slt_jax.oracles.structures import Collapse
from slt_jax.problem import Problem, Truth
from slt_jax.statistics import Params
from slt_jax.validation import Count, OrMore, Positive

Functions = Literal["monomial", "legendre", "fourier"]


@dataclass(frozen=True, kw_only=True)
class PolynomialRegression(FeatureRegression):
    """Regression on a basis of functions whose coefficients are powers of the parameters.

    f(x) = Σ_i θ_i^{p_i} φ_i(x), x ~ U[−1, 1], θ ~ N(0, prior_scale²), with ``powers`` p ≥ 1.

    The ``functions`` φ_0, φ_1, … are 1, x, x², …; or the Legendre polynomials √(2i + 1) P_i; or
    1, √2 cos πx, √2 sin πx, √2 cos 2πx, …. The last two are orthonormal under q(x). Legendre
    polynomials are evaluated on |x| ≤ 1 alone.
    """

    powers: Annotated[tuple[Count, ...], OrMore(1)] = (1, 1, 1, 1)
    functions: Functions = "monomial"
    prior_scale: Positive = 1.0

    def priors(self) -> dict[str, dist.Distribution]:
        return {"theta": dist.Normal(0.0, self.prior_scale).expand((len(self.powers),))}

    def sample_input(self, key: Array) -> Array:
        return jax.random.uniform(key, (), minval=-1.0, maxval=1.0)

    def input_distribution(self) -> dist.Distribution:
        return dist.Uniform(-1.0, 1.0)

    def support(self) -> Support:
        return (
            Support(constraints.interval(-1.0, 1.0)) if self.functions == "legendre" else Support()
        )

    def features(self, x: Array) -> Array:
        index = jnp.arange(len(self.powers))
        match self.functions:
            case "monomial":
                return x**index
            case "legendre":
                cosines = jnp.cos(index * jnp.arccos(jnp.clip(x, -1.0, 1.0)))
                return cosines @ _legendre_in_cosines(len(self.powers)).astype(cosines.dtype)
            case "fourier":
                angle = jnp.pi * ((index + 1) // 2) * x
                waves = jnp.where(index % 2 == 1, jnp.cos(angle), jnp.sin(angle))
                return jnp.where(index == 0, 1.0, jnp.sqrt(2.0).astype(x.dtype) * waves)

    def coefficients(self, params: Params) -> Array:
        entries = [params["theta"][i] ** p for i, p in enumerate(self.powers)]
        return jnp.stack(entries)[:, None] if max(self.powers) > 1 else params["theta"][:, None]

    def exact(self, optimum: Params) -> Collapse | None:
        """Plain coefficients are collapsed, and powers of parameters, at most four, integrated."""
        powers = tuple(p for p in self.powers if p > 1)
        if not powers:
            return Collapse(NoLatent(), self.prior_scale)
        if len(powers) > 4:
            return None
        return Collapse(PowersLatent(powers, self.prior_scale), self.prior_scale)

    def basis(self, latent: Array) -> Array:
        """Columns of the identity where a coefficient is a parameter itself."""
        plain = np.array(self.powers) == 1
        return jnp.eye(len(plain), dtype=latent.dtype)[:, plain]

    def offset(self, latent: Array) -> Array | None:
        """The other coefficients in their places, shape [p, 1]."""
        places = np.flatnonzero(np.array(self.powers) > 1)
        if not len(places):
            return None
        return jnp.zeros((len(self.powers), 1), latent.dtype).at[places, 0].set(latent)


@functools.cache
def _legendre_in_cosines(count: int) -> np.ndarray:
    """Return the coefficients [j, i] of cos jθ in √(2i + 1) P_i(cos θ), for i < ``count``.

    P_i(cos θ) = Σ_{k≤i} a_k a_{i−k} cos((i − 2k)θ) with a_k = C(2k, k)/4^k, all positive, so that
    no digits cancel (Szegő, *Orthogonal Polynomials*, 4.9.3).
    """
    steps = np.arange(1, count)
    a = np.cumprod(np.concatenate([[1.0], (2 * steps - 1) / (2 * steps)]))
    k, i = np.triu_indices(count)
    matrix = np.zeros((count, count))
    np.add.at(matrix, (np.abs(i - 2 * k), i), np.sqrt(2 * i + 1) * a[k] * a[i - k])
    return matrix


def polynomial(
    name: str, model: PolynomialRegression, theta: np.ndarray, title: str, beyond: float = 0.0
) -> Problem:
    """Return the problem whose truth is the model at ``theta``, plus ``beyond`` times the next φ.

    Where the next function is orthogonal to the others, K is what it is without it, and the
    divergence beyond²/2σ². Raises ValueError for ``beyond`` where they are not orthonormal.
    """
    if beyond and model.functions == "monomial":
        raise ValueError(f"beyond = {beyond}: must be 0 for monomials")
    extended = dataclasses.replace(model, powers=(*model.powers, 1))
    return Problem(
        name,
        model,
        {"theta": theta},
        theory.power_coefficients(model.powers, [bool(value) for value in theta]),
        truth=Truth(extended, {"theta": np.append(theta, beyond)}) if beyond else None,
        title=title,
        showcase=False,
        divergence=beyond**2 / (2 * model.noise**2) if beyond else None,
        optimal_set=functools.partial(_with_any_signs, model.powers, theta),
    )


def _with_any_signs(powers: tuple[int, ...], theta: np.ndarray, key: Array) -> Params:
    signs = jax.random.rademacher(key, (len(powers),), float)
    return {"theta": jnp.where(np.array(powers) % 2 == 0, signs * theta, theta)}


def problems() -> tuple[Problem, ...]:
    """Return a regular pair in Legendre polynomials, and powers whose λ depends on the truth.

    The latter is θ₁x⁴ + θ₂²x³ + θ₃³x² + θ₄⁴x + θ₅⁵, whose coefficients have the number of factors
    of Skalse's polynomial and one parameter each.
    """
    legendre = PolynomialRegression(functions="legendre")
    powers = PolynomialRegression(powers=(5, 4, 3, 2, 1))
    plain = np.array([0.5, -0.5, 0.0, 0.5])
    text = "Legendre polynomials of degree ≤ 3"
    truths = ("1", "x", "x²", "x³", "x⁴")
    return (
        polynomial("legendre_4", legendre, plain, f"{text} (regular)"),
        polynomial(
            "legendre_4_misspecified", legendre, plain, f"{text}, one of degree 4 in the truth", 0.5
        ),
        polynomial("powers_0", powers, np.zeros(5), "powers θ^p as coefficients, truth 0"),
        *(
            polynomial(f"powers_x{degree}", powers, np.eye(5)[degree], f"powers θ^p, truth {truth}")
            for degree, truth in enumerate(truths)
        ),
    )

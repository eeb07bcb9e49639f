"""Monomial regression y = w₁^{p₁}…w_d^{p_d} x + noise: normal crossings in pure form."""

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
from slt_jax.oracles.laws.products import PowerLatent, ProductLatent
from slt_jax.oracles.structures import Collapse
from slt_jax.problem import Problem
from slt_jax.statistics import Params
from slt_jax.validation import Count, OrMore, Positive


@dataclass(frozen=True, kw_only=True)
class MonomialRegression(FeatureRegression):
    """Regression on one input whose slope is a monomial of the parameters.

    y = (∏ w_j^{p_j}) x + noise with x ~ N(0, 1) and w ~ N(0, prior_scale² I_d).
    """

    exponents: Annotated[tuple[Count, ...], OrMore(1)] = (1, 1)
    prior_scale: Positive = 1.0

    def priors(self) -> dict[str, dist.Distribution]:
        return {"w": dist.Normal(0.0, self.prior_scale).expand((len(self.exponents),))}

    def sample_input(self, key: Array) -> Array:
        return jax.random.normal(key, (1,))

    def input_distribution(self) -> dist.Distribution:
        return dist.Normal(0.0, 1.0).expand((1,))

    def features(self, x: Array) -> Array:
        return x

    def coefficients(self, params: Params) -> Array:
        powers = [params["w"][j] ** p for j, p in enumerate(self.exponents)]
        return jnp.prod(jnp.stack(powers)).reshape(1, 1)

    def exact(self, optimum: Params) -> Collapse | None:
        """A linear factor is collapsed; without one the product itself is integrated."""
        if 1 not in self.exponents:
            at_zero = not np.any(np.prod(np.asarray(optimum["w"])))
            law = PowerLatent(self.exponents, self.prior_scale)
            return Collapse(law) if at_zero else None
        linear = self.exponents.index(1)
        rest = self.exponents[:linear] + self.exponents[linear + 1 :]
        if not rest:
            return Collapse(NoLatent(), self.prior_scale)
        return Collapse(ProductLatent((rest,), self.prior_scale), self.prior_scale)

    def basis(self, latent: Array) -> Array:
        if 1 not in self.exponents:
            return jnp.zeros((1, 0), latent.dtype)
        return latent.reshape(1, 1) if latent.size else jnp.ones((1, 1), latent.dtype)

    def offset(self, latent: Array) -> Array | None:
        return None if 1 in self.exponents else latent.reshape(1, 1)


def _zero_truth(*exponents: int, showcase: bool = False) -> Problem:
    label = "_".join(map(str, exponents))
    model = MonomialRegression(exponents=exponents)

    def one_factor_zero(key: Array) -> Params:
        key_w, key_j = jax.random.split(key)
        j = jax.random.randint(key_j, (), 0, len(exponents))
        return {"w": model.sample_prior(key_w)["w"].at[j].set(0)}

    return Problem(
        name=f"monomial_{label}",
        model=model,
        optimum={"w": np.zeros(len(exponents))},
        theory=theory.monomial(exponents),
        title=f"y = {_written(exponents)}x, truth 0",
        showcase=showcase,
        optimal_set=one_factor_zero,
    )


def _written(exponents: tuple[int, ...]) -> str:
    subscripts = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")
    superscripts = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")
    return "".join(
        "w" + str(j).translate(subscripts) + (str(p).translate(superscripts) if p > 1 else "")
        for j, p in enumerate(exponents, start=1)
    )


def problems() -> tuple[Problem, ...]:
    """Return truth 0 for several exponents: λ = min 1/(2p_j), attained by m of them."""
    return (
        _zero_truth(1, 1, showcase=True),
        _zero_truth(1, 1, 1, showcase=True),
        _zero_truth(2, 1),
        _zero_truth(2, 2),
    )

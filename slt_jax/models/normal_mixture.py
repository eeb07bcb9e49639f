"""Mixtures of normal distributions with variance one on the line, fitted to a single one."""

import functools
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from jax import Array

from slt_jax import theory
from slt_jax.model import Model
from slt_jax.oracles.interpolation import Strip
from slt_jax.oracles.laws.box import BoxLatent, Coordinate, normal_coordinate
from slt_jax.oracles.laws.cuts import REACH
from slt_jax.oracles.structures import Direct
from slt_jax.problem import Problem
from slt_jax.statistics import Params
from slt_jax.validation import Count, Positive

NEGLIGIBLE = -40.0
LARGE_GAIN = 30.0
ENTROPY_REACH, ENTROPY_STEP = 12.0, 0.05


@dataclass(frozen=True, kw_only=True)
class NormalMixture(Model):
    """A mixture of normal distributions of variance one.

    p(y | w) = Σ_{h≤H} a_h N(y; b_h, 1), without an input (x has shape [0]).

    The means are b_h ~ N(0, prior_scale²), but b_1 = 0 with ``first_mean_fixed``; ``b`` holds the
    free ones. The weights are uniform on the simplex. They are made by breaking a stick through
    ``u`` [H − 1], standard logistic: for h = 1 to H − 1 the share v_h = 1 − (1 − σ(u_h))^{1/(H−h)}
    of what is left breaks off, which is Beta(1, H − h), with σ(u) = 1/(1 + e^{−u}). The pieces are
    a_H, a_{H−1}, …, a_1, so that a_2 = σ(u) if H = 2.
    """

    num_components: Count = 2
    first_mean_fixed: bool = False
    prior_scale: Positive = 1.0

    def priors(self) -> dict[str, dist.Distribution]:
        free = self.num_components - self.first_mean_fixed
        return {
            "b": dist.Normal(0.0, self.prior_scale).expand((free,)),
            "u": dist.Logistic(0.0, 1.0).expand((self.num_components - 1,)),
        }

    def means(self, params: Params) -> Array:
        """Return the means b, shape [H]."""
        return jnp.pad(params["b"], (int(self.first_mean_fixed), 0))

    def log_weights(self, params: Params) -> Array:
        """Return the logarithms of the weights a, shape [H]."""
        u = params["u"]
        pieces = jnp.arange(self.num_components - 1, 0, -1)
        left = -jax.nn.softplus(u) / pieces
        # 1 − (1 − ε)^{1/k} = ε/k to rounding where ε = σ(u) is small, and log 0 without this.
        small = u < NEGLIGIBLE
        broken = jnp.where(
            small,
            u - jnp.log(pieces),
            jnp.log(-jnp.expm1(jnp.where(small, -1.0, left))),
        )
        return (jnp.pad(jnp.cumsum(left), (1, 0)) + jnp.pad(broken, (0, 1)))[::-1]

    def log_likelihood(self, params: Params, x: Array, y: Array) -> Array:
        # Component by component, as XLA does not vectorise sums over a short last axis: with them a
        # gradient takes two to four times as long.
        means, log_weights = list(self.means(params)), list(self.log_weights(params))
        gains = [(b - means[0]) * (y - (b + means[0]) / 2) for b in means]
        # Rounding of a weight is shared by all data, but e^gain − 1 has mean zero if the first
        # component is the truth; where it is not small, that is no longer the point.
        excess = sum(
            jnp.exp(log_weight) * jnp.expm1(jnp.minimum(gain, LARGE_GAIN))
            for log_weight, gain in zip(log_weights[1:], gains[1:], strict=True)
        )
        terms = [log_weight + gain for log_weight, gain in zip(log_weights, gains, strict=True)]
        largest = jax.lax.stop_gradient(functools.reduce(jnp.maximum, terms))
        near = jnp.abs(excess) < 0.5
        log_ratio = jnp.where(
            near,
            jnp.log1p(jnp.where(near, excess, 0.0)),
            largest + jnp.log(sum(jnp.exp(term - largest) for term in terms)),
        )
        return log_ratio - 0.5 * ((y - means[0]) ** 2 + jnp.log(2 * jnp.pi))

    def simulate(self, params: Params, key: Array) -> tuple[Array, Array]:
        key_h, key_y = jax.random.split(key)
        h = jax.random.categorical(key_h, self.log_weights(params))
        return jnp.zeros((0,)), self.means(params)[h] + jax.random.normal(key_y, ())

    def exact(self, optimum: Params) -> Direct | None:
        """The free means and the weight of two components; more parameters have no rule.

        Next to weights of 0 and 1 the posterior is e^{−na}, of width 1/n: a component far out
        would explain no datum. With both means free they are turned, by an angle that depends on
        the weight, so that one coordinate is the mean of the mixture, which alone is determined to
        1/√n at the truth of a single normal; the second weight is the smaller, by symmetry.
        """
        if self.num_components != 2:
            return None
        # The density of two normals is zero at complex y, nearer to the axis the farther they are.
        strip = Strip(np.pi / 2, REACH * self.prior_scale)
        if not self.first_mean_fixed:
            if np.any(optimum["b"]):
                return None
            mean = normal_coordinate(self.prior_scale)
            across = normal_coordinate(self.prior_scale, rate=0.25)
            smaller = Coordinate(0.0, 0.5, singular=(0.0,), rate=1.0)
            return Direct(BoxLatent((mean, across, smaller)), strip=strip)
        mean = normal_coordinate(self.prior_scale, np.asarray(optimum["b"]))
        weight = Coordinate(0.0, 1.0, singular=(0.0, 1.0), rate=1.0)
        return Direct(BoxLatent((mean, weight)), strip=strip)

    def from_latent(self, latent: Array) -> Params:
        return _from_weight(latent) if self.first_mean_fixed else _turned_by_weight(latent)

    def entropy(self, params: Params) -> Array:
        """Integrate S by the trapezoidal rule, which is exact to rounding for |b| < 4."""
        y = jnp.arange(-ENTROPY_REACH, ENTROPY_REACH, ENTROPY_STEP)
        logs = jax.vmap(self.log_likelihood, (None, None, 0))(params, jnp.zeros((0,)), y)
        return -ENTROPY_STEP * jnp.sum(jnp.exp(logs) * logs)


def _from_weight(latent: Array) -> Params:
    b, a = latent
    return {"b": b[None], "u": (jnp.log(a) - jnp.log1p(-a))[None]}


def _turned_by_weight(latent: Array) -> Params:
    """Solve u = ((1 − a)b₁ + ab₂)/r and v = ((1 − a)b₂ − ab₁)/r for b; r² = a² + (1 − a)²."""
    u, v, a = latent
    first, second = (1 - a) / jnp.hypot(a, 1 - a), a / jnp.hypot(a, 1 - a)
    means = jnp.stack([first * u - second * v, second * u + first * v])
    return {"b": means, "u": (jnp.log(a) - jnp.log1p(-a))[None]}


def _single_normal(num_components: int, *, first_mean_fixed: bool = False) -> Problem:
    """Return a problem with truth N(0, 1), for which W₀ is all means zero.

    A weight of zero, at which a mean is anything, is u = −∞ and no point of W₀. The theorem's
    means are bounded and those here normal: large ones need small weights, K ≥ const·a², and add
    to the volume of K < ε no more than bounded ones do.
    """
    model = NormalMixture(num_components=num_components, first_mean_fixed=first_mean_fixed)
    means = {"b": np.zeros(num_components - first_mean_fixed)}
    fixed = ", the first mean fixed" if first_mean_fixed else ""
    return Problem(
        f"mixture_{num_components}" + ("_fixed" if first_mean_fixed else ""),
        model,
        {**means, "u": np.zeros(num_components - 1)},
        theory.normal_mixture(num_components, first_mean_fixed=first_mean_fixed),
        title=f"mixture of {num_components} normals{fixed}, truth N(0, 1)",
        showcase=False,
        optimal_set=lambda key: {**model.sample_prior(key), **means},
    )


def problems() -> tuple[Problem, ...]:
    """Return two components with the first mean fixed and free, and three."""
    return (
        _single_normal(2, first_mean_fixed=True),
        _single_normal(2),
        _single_normal(3),
    )

"""A normal distribution with its mean on a parabola: a solvable family of unrealisable truths."""

import functools
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from jax import Array
from scipy.special import erf, ndtri

from slt_jax import theory
from slt_jax.model import FeatureRegression
from slt_jax.oracles.laws.box import BoxLatent, Coordinate
from slt_jax.oracles.structures import Direct
from slt_jax.problem import Problem, Truth
from slt_jax.statistics import Params, RegressionStatistics


@dataclass(frozen=True, kw_only=True)
class NormalOnParabola(FeatureRegression):
    """A normal distribution in the plane whose mean lies on a parabola.

    y ~ N((w, w²), noise² I), w ~ U[−2, 2], without an input (x has shape [0]).

    The parameter is u ~ N(0, 1) on the whole line, and w = 4Φ(u) − 2.
    """

    def priors(self) -> dict[str, dist.Distribution]:
        return {"u": dist.Normal(0.0, 1.0)}

    def sample_input(self, key: Array) -> Array:
        return jnp.zeros((0,))

    def features(self, x: Array) -> Array:
        return jnp.ones((1,), x.dtype)

    def coefficients(self, params: Params) -> Array:
        # 2(Φ(u) − Φ(−u)), which keeps the digits of a small w that 4Φ(u) − 2 would cancel.
        w = 2 * jax.scipy.special.erf(params["u"] / np.sqrt(2))
        return jnp.stack([w, w**2])[None, :]

    def log_likelihood_ratio(self, params: Params, statistics: RegressionStatistics) -> Array:
        # Across the curve an unrealisable loss has a slope, so that w² − w₀² must not be rounded
        # apart from w − w₀.
        optimum = statistics.optimum[0, 0]
        w = self.coefficients(params)[0, 0]
        delta = (w - optimum) * jnp.stack([jnp.ones_like(w), w + optimum])
        total = statistics.gram[0, 0] * jnp.sum(delta**2) - 2 * jnp.sum(delta * statistics.cross[0])
        return -0.5 * total / self.noise**2

    def exact(self, optimum: Params) -> Direct:
        """w is integrated; K has at most 20/σ² nats per unit of w² on |w| ≤ 2."""
        w = 2 * float(erf(np.asarray(optimum["u"]) / np.sqrt(2)))
        coordinate = Coordinate(-2.0, 2.0, singular=(0.0, -abs(w), abs(w)))
        return Direct(BoxLatent((coordinate,), information=20 / self.noise**2))

    def from_latent(self, latent: Array) -> Params:
        return {"u": jax.scipy.special.ndtri((latent[0] + 2) / 4)}


@dataclass(frozen=True, kw_only=True)
class NormalInPlane(FeatureRegression):
    """A normal distribution anywhere in the plane: the truths of ``normal_parabola``.

    y ~ N(mean, noise² I), mean ~ N(0, I), without an input.
    """

    def priors(self) -> dict[str, dist.Distribution]:
        return {"mean": dist.Normal(0.0, 1.0).expand((2,))}

    def sample_input(self, key: Array) -> Array:
        return jnp.zeros((0,))

    def input_distribution(self) -> dist.Distribution:
        return dist.Normal(0.0, 1.0).expand((0,))

    def features(self, x: Array) -> Array:
        return jnp.ones((1,), x.dtype)

    def coefficients(self, params: Params) -> Array:
        return params["mean"][None, :]


def normal_parabola(name: str, c: float) -> Problem:
    """Return the problem whose truth is N((0, c), I), for which w² = max(0, c − ½) is optimal.

    With K = (w² + (w² − c)²)/2 up to a constant: c < ½ is regular; at c = ½, K = w⁴/2 while the
    variance of the log-density ratio is of order w²; for c > ½ two optima are two densities.
    The last two are not renormalisable, so that F_n has no asymptote λ log n, and ``theory`` is
    None. Raises ValueError for c ≥ 4.5, whose optima lie outside |w| < 2, and −∞.
    """
    if not -np.inf < c < 4.5:
        raise ValueError(f"c = {c}: must be finite and < 4.5, for an optimum with |w| < 2")
    w = np.sqrt(max(0.0, c - 0.5))
    u = ndtri((w + 2) / 4)
    return Problem(
        name,
        NormalOnParabola(),
        {"u": u},
        theory.regular(1) if c < 0.5 else None,
        Truth(NormalInPlane(), {"mean": np.array([0.0, c])}),
        title=f"y ~ N((w, w²), I), truth N((0, {c:g}), I)",
        showcase=False,
        divergence=(w**2 + (w**2 - c) ** 2) / 2,
        optimal_set=functools.partial(_either_sign, u),
    )


def _either_sign(u: float, key: Array) -> Params:
    return {"u": u * jax.random.rademacher(key, (), float)}


def problems() -> tuple[Problem, ...]:
    """Return a regular unrealisable truth, the critical one, and one with two optima."""
    return (
        normal_parabola("parabola_regular", 0.25),
        normal_parabola("parabola_critical", 0.5),
        normal_parabola("parabola_two_optima", 1.0),
    )

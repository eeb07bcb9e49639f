"""One-input tanh nets, one hidden layer, no bias: f(x) = Σ_h a_h tanh(b_h x)."""

import dataclasses
import functools
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from jax import Array
from numpyro.distributions import constraints

from slt_jax import theory
from slt_jax.model import FeatureRegression, Support
from slt_jax.oracles.interpolation import Interpolation
from slt_jax.oracles.laws.odd_units import OddUnitsLatent
from slt_jax.oracles.structures import Collapse
from slt_jax.problem import Problem, Truth
from slt_jax.statistics import Params
from slt_jax.validation import Count, Positive, Size

MOST_UNITS = 4
# Differences of tanh and its interpolant that are smaller are not those of the interpolant.
ROUNDING = 1e-13


@dataclass(frozen=True, kw_only=True)
class TanhNet(FeatureRegression):
    """A tanh net without biases on one input, whose likelihood costs the same at any n.

    f(x) = Σ_{h≤H} a_h tanh(b_h x), x ~ U[−1, 1], a and b ~ N(0, prior_scale²). f is odd and
    analytic in x, so it is its own interpolant at ``num_nodes`` odd Chebyshev nodes up to an error
    ρ^{−2·num_nodes} with ρ = π/(2b) + √(1 + (π/2b)²), the Bernstein ellipse through the poles of
    tanh(bx) (Trefethen, *Approximation Theory and Approximation Practice*, Theorem 8.2): at 32
    nodes 3e−9 for |b| = 5 and 5e−6 for |b| = 8. The interpolation weights are the features, the net
    at the nodes the coefficients, and the likelihood of any number of data costs as much as that of
    32. Data with |x| > 1, where there is no interpolant, are refused; ``ShallowNet`` is the same
    net without sufficient statistics, for any x.
    """

    hidden_dim: Size = 2
    prior_scale: Positive = 1.0
    num_nodes: Count = 32

    def priors(self) -> dict[str, dist.Distribution]:
        weight = dist.Normal(0.0, self.prior_scale).expand((self.hidden_dim,))
        return {"a": weight, "b": weight}

    def sample_input(self, key: Array) -> Array:
        return jax.random.uniform(key, (), minval=-1.0, maxval=1.0)

    def input_distribution(self) -> dist.Distribution:
        return dist.Uniform(-1.0, 1.0)

    def support(self) -> Support:
        return Support(constraints.interval(-1.0, 1.0))

    def features(self, x: Array) -> Array:
        degrees = 2 * jnp.arange(self.num_nodes) + 1
        odd_chebyshev = jnp.cos(degrees * jnp.arccos(jnp.clip(x, -1.0, 1.0)))
        return odd_chebyshev @ _analysis_matrix(self.num_nodes).astype(odd_chebyshev.dtype)

    def coefficients(self, params: Params) -> Array:
        return self.basis(params["b"]) @ params["a"][:, None]

    def predict(self, params: Params, x: Array) -> Array:
        return (jnp.tanh(params["b"] * x) @ params["a"]).reshape(1)

    def exact(self, optimum: Params) -> Collapse | None:
        """Output weights are collapsed; what is left are H input weights, at most four."""
        if self.hidden_dim > MOST_UNITS:
            return None
        active = np.asarray(optimum["a"]) * np.asarray(optimum["b"]) != 0
        peaks = tuple(sorted({abs(float(b)) for b in np.asarray(optimum["b"])[active]}))
        law = OddUnitsLatent(self.hidden_dim, self.prior_scale, peaks)
        return Collapse(law, self.prior_scale)

    def interpolation(self) -> Interpolation:
        return Interpolation(self._largest_errors, self._errors_between)

    def _largest_errors(self, b: np.ndarray) -> np.ndarray:
        """Length [N] of the vector of the largest errors, over x, of units with b [N, H]."""
        log_steepness, log_error = _interpolation_errors(self.num_nodes)
        with np.errstate(divide="ignore"):
            each = np.interp(np.log(np.abs(b)), log_steepness, log_error)
        return np.sqrt(np.sum(np.exp(2 * each), axis=1))

    def _errors_between(self, b: np.ndarray) -> np.ndarray:
        """Errors [N, point, H] of units with b [N, H] at x half-way between the nodes."""
        x = np.cos(np.pi * np.arange(self.num_nodes) / (2 * self.num_nodes))
        # Nodes of a rule share their units.
        units, which = np.unique(b, return_inverse=True)
        errors = _interpolation_error(self.num_nodes, x, units)
        return np.moveaxis(errors[:, which.reshape(b.shape)], 0, 1)

    def basis(self, latent: Array) -> Array:
        nodes = jnp.asarray(_odd_nodes(self.num_nodes), latent.dtype)
        return jnp.tanh(nodes[:, None] * latent)


def _odd_nodes(num_nodes: int) -> np.ndarray:
    return np.cos(np.pi * (np.arange(num_nodes) + 0.5) / (2 * num_nodes))


def _interpolation_error(num_nodes: int, x: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the interpolant of tanh(bx) less tanh(bx) at x [m] and b [k], shape [m, k]."""
    odd_chebyshev = np.cos(np.outer(np.arccos(x), 2 * np.arange(num_nodes) + 1))
    weights = odd_chebyshev @ _analysis_matrix(num_nodes)
    return weights @ np.tanh(np.outer(_odd_nodes(num_nodes), b)) - np.tanh(np.outer(x, b))


@functools.cache
def _interpolation_errors(num_nodes: int) -> tuple[np.ndarray, np.ndarray]:
    """Tabulate log b and the log of twice the largest interpolation error of tanh(bx) over x."""
    steepness = np.geomspace(0.5, 1e4, 400)
    x = np.unique(np.concatenate([np.geomspace(1e-6, 1.0, 1000), np.linspace(0.0, 1.0, 2000)]))
    error = np.max(np.abs(_interpolation_error(num_nodes, x, steepness)), axis=0)
    # The smallest errors seen are rounding; there the poles of tanh(bx) bound the true ones.
    ellipse = np.pi / (2 * steepness) + np.sqrt(1 + (np.pi / (2 * steepness)) ** 2)
    bound = np.log(4 * num_nodes / (ellipse - 1)) - 2 * num_nodes * np.log(ellipse)
    seen = np.log(np.maximum(error, ROUNDING))
    return np.log(steepness), np.log(2) + np.where(error > ROUNDING, seen, bound)


@functools.cache
def _analysis_matrix(num_nodes: int) -> np.ndarray:
    """Return the matrix from values at the positive nodes to coefficients of T_{2k+1}.

    This is discrete orthogonality of the Chebyshev polynomials.
    """
    degrees = 2 * np.arange(num_nodes) + 1
    angles = np.pi * (np.arange(num_nodes) + 0.5) / (2 * num_nodes)
    return 2.0 / num_nodes * np.cos(np.outer(degrees, angles))


@dataclass(frozen=True, kw_only=True)
class Parabola(FeatureRegression):
    """An even function, which no odd net can fit.

    y = wx² + noise, x ~ U[−1, 1], w ~ N(0, 1).
    """

    def priors(self) -> dict[str, dist.Distribution]:
        return {"w": dist.Normal(0.0, 1.0)}

    def sample_input(self, key: Array) -> Array:
        return jax.random.uniform(key, (), minval=-1.0, maxval=1.0)

    def input_distribution(self) -> dist.Distribution:
        return dist.Uniform(-1.0, 1.0)

    def features(self, x: Array) -> Array:
        return x.reshape(1) ** 2

    def coefficients(self, params: Params) -> Array:
        return params["w"].reshape(1, 1)


def _even_truth(hidden_dim: int) -> Problem:
    """Return the truth x², singular and unrealisable: K = E[f²]/2 as at truth 0, as E[x²f] = 0."""
    zero = _problem(
        f"tanh_{hidden_dim}_even_truth", hidden_dim, 0, theory.tanh_zero_truth(hidden_dim)
    )
    return dataclasses.replace(
        zero,
        truth=Truth(Parabola(), {"w": np.ones(())}),
        divergence=1 / 10,
        title=f"tanh net, {hidden_dim} hidden units, truth x² (unrealisable)",
        showcase=False,
    )


def _problem(name: str, hidden_dim: int, true_units: int, known: theory.Theory | None) -> Problem:
    on = np.arange(hidden_dim) < true_units
    model = TanhNet(hidden_dim=hidden_dim)
    optimum = {"a": np.where(on, 1.0, 0.0), "b": np.where(on, 1.5, 0.0)}

    def others_off(key: Array) -> Params:
        """Keep the units of the teacher, and draw others with either a or b zero."""
        key_w, key_side = jax.random.split(key)
        free = model.sample_prior(key_w)
        side = jax.random.bernoulli(key_side, shape=(hidden_dim,))
        live = {"a": on | side, "b": on | ~side}
        return {
            name: jnp.where(on, optimum[name], jnp.where(live[name], free[name], 0))
            for name in free
        }

    return Problem(
        name=name,
        model=model,
        optimum=optimum,
        theory=known,
        showcase=hidden_dim > 1,
        title=f"tanh net, {hidden_dim} hidden units, {true_units} in the truth",
        optimal_set=others_off,
    )


def problems() -> tuple[Problem, ...]:
    """Return truth 0 for one to three units, a true unit learnt by two, and an even truth."""
    return (
        _problem("tanh_1", 1, 0, theory.tanh_zero_truth(1)),
        _problem("tanh_2", 2, 0, theory.tanh_zero_truth(2)),
        _problem("tanh_3", 3, 0, theory.tanh_zero_truth(3)),
        _problem("tanh_2_teacher_1", 2, 1, None),
        _even_truth(2),
    )

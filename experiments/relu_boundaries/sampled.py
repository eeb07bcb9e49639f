"""Sampled λ(n) of any number of units, and sampled posteriors of a breakpoint, by tempered SMC.

The loss is a quadratic form in the slope changes of the net, s, and of the truth, −S, whose
coefficients depend on two breakpoints each:

    n∫(f − f₀)² dx = Σ_ij v_i v_j κ(t_i, t_j),   κ(t, u) = M₂ − (t + u)M₁ + tuM₀,

with M_k the sum of x^k over inputs beyond both, of n inputs in mean or of given ones. Everything is
float64, in which such sums keep their digits.
"""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.scipy.special import ndtr
from numpy.typing import ArrayLike

from slt_jax.curves.jobs import convergence
from slt_jax.run.compilation import jit_at_first_call
from slt_jax.samplers.smc import SMCResult, SMCSettings, tempered_smc
from slt_jax.samplers.target import Target

from .nets import NOISE, PRIOR_SCALE, Floats, Net

FIRST_STEP = 0.3


class SortedData(NamedTuple):
    """Sorted inputs ``x`` [n] and ``sums`` [n + 1, 5], over all but the first k for every k.

    The sums are of 1, x, x², r and xr with the residuals r = y − f₀(x).
    """

    x: Array
    sums: Array

    @classmethod
    def of(cls, net: Net, x: ArrayLike, y: ArrayLike) -> "SortedData":
        """Sort data and add them up from the end."""
        order = np.argsort(x)
        x, y = np.asarray(x, float)[order], np.asarray(y, float)[order]
        r = y - truth_of(net, x)
        rows = np.stack([np.ones_like(x), x, x**2, r, x * r], axis=1)
        return cls(*map(jnp.asarray, (x, np.vstack([np.cumsum(rows[::-1], axis=0)[::-1],
                                                    np.zeros(5)]))))  # fmt: skip

    @classmethod
    def nothing(cls, size: int) -> "SortedData":
        """Return arrays of the shapes of ``size`` data that count for nothing."""
        return cls(jnp.ones(size), jnp.zeros((size + 1, 5)))


def truth_of(net: Net, x: ArrayLike) -> Floats:
    """Compute f₀ at inputs [...]."""
    beyond = np.maximum(np.asarray(x, float)[..., None] - net.kinks, 0)
    return np.asarray(beyond @ net.true_slopes)


class Local(NamedTuple):
    """The arrays of a ``Net``, n inputs in mean and given data, as data of one compiled sampler.

    The log-likelihood is −nK of the population, and of the data that relative to the truth.
    """

    net: tuple[Array, ...]
    n: Array
    data: SortedData

    @classmethod
    def of(cls, net: Net, n: float, data: SortedData) -> "Local":
        """Make arrays of the net and n."""
        return cls(tuple(map(jnp.asarray, net)), jnp.asarray(float(n)), data)

    def parameters(self, w: Array) -> tuple[Array, Array]:
        """Return slope changes and breakpoints [H] at standard normal coordinates w [2H]."""
        s, t = jnp.split(w, 2)
        _, _, slopes, low, high = self.net
        return slopes + PRIOR_SCALE * s, low + (high - low) * ndtr(t)

    def log_likelihood(self, w: Array) -> Array:
        """Compute the log-likelihood ratio to the truth, in nats."""
        s, t = self.parameters(w)
        true_slopes, kinks, *_ = self.net
        v = jnp.concatenate([s, -true_slopes])
        t = jnp.concatenate([t, kinks])
        last = jnp.maximum(t[:, None], t)
        first = jnp.searchsorted(self.data.x, jax.lax.stop_gradient(t))
        sums = self.data.sums[jnp.maximum(first[:, None], first)]
        m0, m1, m2 = (sums[..., k] + self.n * (1 - last ** (k + 1)) / (k + 1) for k in range(3))
        own = self.data.sums[first]
        residuals = jnp.sum(v * (own[:, 4] - t * own[:, 3]))
        form = m2 - (t[:, None] + t) * m1 + t[:, None] * t * m0
        squares = jnp.sum(v[:, None] * v * form)
        return (residuals - squares / 2) / NOISE**2


def target(units: int) -> Target:
    """Return the density of a ``Local``, whose coordinates are standard normal."""
    return Target(
        sample_prior=lambda key: jax.random.normal(key, (2 * units,)),
        log_prior=lambda w: -jnp.sum(w**2) / 2,
        log_likelihood=lambda w, local: local.log_likelihood(w),
    )


TARGETS = {units: target(units) for units in range(1, 7)}


def _run(
    target: Target, settings: SMCSettings, keys: Array, local: Local, nodes: Array
) -> SMCResult:
    return tempered_smc(target, settings, keys, local, nodes, jnp.asarray(FIRST_STEP))


run = jit_at_first_call(_run, static_argnums=(0, 1))


class Populations(NamedTuple):
    """Runs of one local posterior: their populations at each β, and what is wrong with them.

    ``energies`` [run, β] are means of nK; ``positions`` [run, particle, 2H] are at β = 1.
    """

    energies: Floats
    positions: Floats
    reason: str


def populations(
    settings: SMCSettings, keys: Array, units: int, local: Local, nodes: ArrayLike
) -> Populations:
    """Run SMC once for each key, through increasing β that end at 1."""
    nodes = jnp.asarray(nodes, float)
    runs: Any = run(TARGETS[units], settings, keys, local, nodes)
    runs = jax.tree.map(lambda leaf: np.asarray(leaf, float), runs)
    judged = convergence(
        jax.tree.map(lambda leaf: leaf[None], runs), tuple(range(len(nodes))), np.zeros(1)
    )
    reason = str(judged["reason"][1][0])
    at_end = runs.node_positions[:, -1]
    positions = at_end.reshape(len(keys), math.prod(at_end.shape[1:3]), 2 * units)
    return Populations(runs.node_energies.mean(axis=(-1, -2)), positions, reason)

"""The bias of a step: SGLD and underdamped Langevin dynamics where an oracle gives λ(n).

MALA, which a Metropolis test makes exact, stands beside them as the reference.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jax import Array

from slt_jax.estimators import Estimate, mean_over_chains
from slt_jax.models.deep_linear import deep_linear
from slt_jax.oracles.evaluation import Exact
from slt_jax.oracles.oracle import oracle_for
from slt_jax.samplers.mala import MALAResult, MALASettings, mala
from slt_jax.samplers.sgld import SGLDSettings, sgld
from slt_jax.samplers.target import Target
from slt_jax.samplers.underdamped import largest_precision, underdamped
from slt_jax.statistics import RegressionStatistics

from .nets import Net, target_of

# Truth zero around w* = 0 with γ = 1, which is the model's own prior: the oracle integrates it.
BIASED = Net((2, 3, 3), ())
BIASED_BETA = 100.0
METHODS = ("SGLD", "underdamped, uncorrected", "underdamped, corrected")
FRICTION = 2.0
REFRESHMENTS, STEPS = 16, 128  # of a draw
WARMUP_DRAWS = 32


def exact_coefficient(net: Net, beta: float) -> Exact:
    """Compute λ(nβ) = nβ E[K] of a net whose truth is zero, at γ = 1, by the model's oracle.

    Raises ValueError for a net that the oracle does not know.
    """
    oracle = oracle_for(deep_linear(net.widths, 0))
    if oracle is None or net.rank:
        raise ValueError(f"net {net.label}: must be one that an oracle solves")
    into, out = net.widths[0], net.widths[-1]
    zeros: Any = np.zeros((into, out))
    gram: Any = beta * np.eye(into)
    return oracle.moments(RegressionStatistics(gram, zeros, zeros, zeros[0, 0])).excess_energy


def step_bias(key: Array, shares: tuple[float, ...], num_chains: int, num_draws: int) -> xr.Dataset:
    """Estimate λ(nβ) by each method at each step, ``biased_coefficient`` [scheme, step_share].

    A share is that of the longest stable step at w* spread by the prior's own width, with the
    largest curvature a where MALA's chains are: 4/a of SGLD and 2/√a of underdamped dynamics. All
    start from the draws of MALA; ``reference_coefficient`` is its own estimate.
    """
    target, data, centre = target_of(BIASED.widths), BIASED.truth(), BIASED.centre()
    start_key, mala_key, vector_key, *keys = jax.random.split(key, 3 + 2 * len(shares))
    start = jax.random.normal(start_key, (num_chains, BIASED.dimension)) * BIASED_BETA**-0.25
    settings = MALASettings(20 * num_draws, num_draws, 50)
    reference = _mala(target, settings, mala_key, data, start)
    vectors = jax.random.normal(vector_key, start.shape)
    steepest, _ = largest_precision(
        target, data, BIASED_BETA, 1.0, centre, reference.positions, vectors
    )
    precision = float(jnp.quantile(steepest, 0.99))
    run = _Run(target, data, centre, reference.positions, num_draws)
    estimates = [mean_over_chains(BIASED_BETA * np.asarray(reference.energies, float))]
    for share, sgld_key, other_key in zip(shares, keys[::2], keys[1::2], strict=True):
        estimates.append(run.by_sgld(sgld_key, share * 4 / precision))
        estimates += run.by_underdamped(other_key, share * 2 / precision**0.5)
    first, *others = estimates
    shape = (len(shares), len(METHODS))
    values, errors = (
        np.array([float(getattr(each, name)) for each in others]).reshape(shape).T
        for name in ("value", "standard_error")
    )
    exact = exact_coefficient(BIASED, BIASED_BETA)
    axes = ("scheme", "step_share")
    return xr.Dataset(
        {
            "biased_coefficient": (axes, values),
            "biased_coefficient_se": (axes, errors),
            "reference_coefficient": float(first.value),
            "reference_coefficient_se": float(first.standard_error),
            "bias_exact": float(exact.value),
            "bias_exact_error": float(exact.error),
        },
        coords={"scheme": list(METHODS), "step_share": list(shares)},
    )


@functools.partial(jax.jit, static_argnums=(0, 1))
def _mala(
    target: Target, settings: MALASettings, key: Array, data: Array, start: Array
) -> MALAResult:
    return mala(target, settings, key, data, BIASED_BETA, start)


@functools.partial(jax.jit, static_argnums=(0, 1))
def _sgld(target: Target, settings: SGLDSettings, *arguments: Array) -> Array:
    key, data, centre, step, start = arguments
    return sgld(target, settings, key, data, BIASED_BETA, 1.0, centre, step, start).energies


@functools.partial(jax.jit, static_argnums=(0, 1))
def _underdamped(target: Target, num_draws: int, *arguments: Array) -> tuple[Array, Array]:
    key, data, centre, step, start = arguments
    momentum_key, key = jax.random.split(key)

    def draw(state: tuple[Array, Array], key: Array) -> Any:
        moving, found = underdamped(
            target, data, key, BIASED_BETA, 1.0, centre, step, FRICTION, REFRESHMENTS, *state
        )
        return (moving.positions, moving.momenta), found

    keys = jax.random.split(key, WARMUP_DRAWS + num_draws)
    first = (start, jax.random.normal(momentum_key, start.shape))
    _, found = jax.lax.scan(draw, first, keys)
    return found.energy[WARMUP_DRAWS:].T, found.correction[WARMUP_DRAWS:].T


class _Run(NamedTuple):
    """Everything that the runs of all steps share."""

    target: Target
    data: Array
    centre: Array
    start: Array
    num_draws: int

    def by_sgld(self, key: Array, step: float) -> Estimate:
        settings = SGLDSettings(WARMUP_DRAWS * STEPS, self.num_draws, STEPS)
        energies = _sgld(
            self.target, settings, key, self.data, self.centre, jnp.float32(step), self.start
        )
        return mean_over_chains(BIASED_BETA * np.asarray(energies, float))

    def by_underdamped(self, key: Array, step: float) -> list[Estimate]:
        """Estimate without the correction and with it."""
        found = _underdamped(
            self.target, self.num_draws, key, self.data, self.centre, jnp.float32(step), self.start
        )
        energy, taken_off = (np.asarray(part, float) for part in found)
        return [mean_over_chains(energy + taken_off), mean_over_chains(energy)]

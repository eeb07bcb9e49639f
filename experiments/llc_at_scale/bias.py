"""The bias of a step: SGLD and underdamped Langevin dynamics where an oracle gives λ(n).

MALA, which a Metropolis test makes exact, stands beside them as the reference.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jax import Array

from slt_jax.estimators import mean_over_chains
from slt_jax.models.deep_linear import deep_linear
from slt_jax.oracles.evaluation import Exact
from slt_jax.oracles.oracle import oracle_for
from slt_jax.samplers.mala import MALASettings, mala
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
    zeros = np.zeros((into, out))
    statistics = RegressionStatistics(beta * np.eye(into), zeros, zeros, np.zeros(()))
    return oracle.moments(statistics).excess_energy


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
    estimates = [mean_over_chains(BIASED_BETA * np.asarray(reference.energies, float))]
    for share, sgld_key, other_key in zip(shares, keys[::2], keys[1::2], strict=True):
        estimates += [
            _by_sgld(target, data, centre, sgld_key, share * 4 / precision, reference.positions,
                     num_draws),
            *_by_underdamped(target, data, centre, other_key, share * 2 / precision**0.5,
                             reference.positions, num_draws),
        ]  # fmt: skip
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
def _mala(target: Target, settings: MALASettings, key: Array, data: Array, start: Array):  # type: ignore[no-untyped-def]
    return mala(target, settings, key, data, BIASED_BETA, start)


@functools.partial(jax.jit, static_argnums=(0, 1))
def _sgld(target: Target, settings: SGLDSettings, *arguments: Array) -> Array:
    key, data, centre, step, start = arguments
    return sgld(target, settings, key, data, BIASED_BETA, 1.0, centre, step, start).energies


def _by_sgld(target, data, centre, key, step, start, num_draws):  # type: ignore[no-untyped-def]
    settings = SGLDSettings(WARMUP_DRAWS * STEPS, num_draws, STEPS)
    energies = _sgld(target, settings, key, data, centre, jnp.float32(step), start)
    return mean_over_chains(BIASED_BETA * np.asarray(energies, float))


@functools.partial(jax.jit, static_argnums=(0, 1))
def _underdamped(target: Target, num_draws: int, *arguments: Array) -> tuple[Array, Array]:
    key, data, centre, step, start = arguments
    momentum_key, key = jax.random.split(key)

    def draw(state, key):  # type: ignore[no-untyped-def]
        positions, momenta = state
        moving, found = underdamped(
            target, data, key, BIASED_BETA, 1.0, centre, step, FRICTION, REFRESHMENTS, positions,
            momenta,
        )  # fmt: skip
        return (moving.positions, moving.momenta), found

    keys = jax.random.split(key, WARMUP_DRAWS + num_draws)
    first = (start, jax.random.normal(momentum_key, start.shape))
    _, found = jax.lax.scan(draw, first, keys)
    return found.energy[WARMUP_DRAWS:].T, found.correction[WARMUP_DRAWS:].T


def _by_underdamped(target, data, centre, key, step, start, num_draws):  # type: ignore[no-untyped-def]
    energy, taken_off = (
        np.asarray(part, float)
        for part in _underdamped(target, num_draws, key, data, centre, jnp.float32(step), start)
    )
    return mean_over_chains(energy + taken_off), mean_over_chains(energy)

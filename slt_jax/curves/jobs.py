"""Joins problems to samplers and oracles: jobs as data of one compiled program per problem.

A job is a data set at one n with all its seeds. Jobs of one n advance in lockstep, because their
paths have nearly the same length; all jobs of a model share one compiled program.
"""

from __future__ import annotations

import functools
import math
import zlib
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import ArrayLike

from slt_jax.estimators import (
    bic,
    energy_variance_coefficient,
    free_energy_from_evidence,
    mean_over_seeds,
    thermodynamic_integration,
    two_temperature_coefficient,
    wbic_coefficient,
)
from slt_jax.estimators.diagnostics import nested_r_hat
from slt_jax.estimators.estimate import Estimate
from slt_jax.model import Model
from slt_jax.oracles.evaluation import Exact
from slt_jax.oracles.oracle import Oracle
from slt_jax.priors import constrained, coordinate_shapes, unconstrained
from slt_jax.problem import Problem, require_problem
from slt_jax.run.devices import JobFunction
from slt_jax.run.executables import identity_of
from slt_jax.run.small_products import with_sums_of_products
from slt_jax.samplers.mode import posterior_mode
from slt_jax.samplers.smc import SMCResult, SMCSettings, tempered_smc
from slt_jax.samplers.target import Target
from slt_jax.statistics import Params, Statistics
from slt_jax.validation import Size, check, check_kind

if TYPE_CHECKING:
    import xarray as xr

MIN_ACCEPTANCE = 0.15
MAX_NESTED_R_HAT = 1.1
DIVERGED_ACCEPTANCE = 0.01
# Of runs that are as good as they claim, one in a thousand is said to disagree with itself.
AGREEMENT = 0.999


class TemperatureNodes(NamedTuple):
    """The inverse temperatures that every job of one n visits, increasing."""

    wbic: float
    second: float
    posterior: float = 1.0


def temperature_nodes(n: int) -> TemperatureNodes:
    """β = 1/log n for WBIC, twice that (at most 1) for the two-temperature estimator, and 1.

    Raises ValueError for n < 3, where 1/log n would exceed 1.
    """
    check("n", n, int)
    if n < 3:
        raise ValueError(f"n = {n}: WBIC's β = 1/log n must be at most 1, so n must be ≥ 3")
    beta = 1 / math.log(n)
    return TemperatureNodes(beta, min(2 * beta, 1.0))


def unravelled(model: Model, w: Array) -> Params:
    """The parameters at a flat vector [d] of ``target_of``, each where its prior lives."""
    return constrained(model.priors(), w)[0]


def ravelled(model: Model, params: Params) -> Array:
    """The flat vector [d] of ``target_of`` at parameters, the inverse of ``unravelled``."""
    return unconstrained(model.priors(), params)


def target_of(model: Model) -> Target:
    """The model as a sampler sees it: functions of one flat vector [d], on the whole real space.

    The vector holds the real coordinates of the parameters (``slt_jax/priors.py``), and
    ``log_prior`` is its density, with the Jacobian. Cached, so that equal models are one constant
    to compiled samplers. Raises ValueError for anything but a model, and for a prior that is not
    continuous.
    """
    check_kind("model", model, Model, "a Model, as problem.model")
    return _target_of(model)


@functools.lru_cache(maxsize=128)
def _target_of(model: Model) -> Target:
    unravel = functools.partial(unravelled, model)
    coordinate_shapes(model.priors())

    def sample_prior(key: Array) -> Array:
        return ravelled(model, model.sample_prior(key))

    def log_prior(w: Array) -> Array:
        params, log_jacobian = constrained(model.priors(), w)
        density = model.log_prior(params)
        return density if log_jacobian is None else density + log_jacobian

    @with_sums_of_products
    def log_likelihood(w: Array, statistics: Any) -> Array:
        # Accelerators multiply matrices in fewer bits unless asked not to: nats would be lost.
        with jax.default_matmul_precision("highest"):
            return model.log_likelihood_ratio(unravel(w), statistics)

    return Target(sample_prior, log_prior, log_likelihood, identity_of(model) or "")


def smc_batch(
    target: Target,
    settings: SMCSettings,
    step_size: Array,
    key_data: Array,
    all_statistics: Any,
    nodes: Array,
) -> tuple[SMCResult, Array]:
    """SMC of every data set and seed: key data [R, S, ...], statistics and nodes with axis [R].

    Returns the runs, leading axes [R, S], and nL_n − nL_n(w₀) [R] at the posterior mode that is
    reached from the best particle of all seeds.
    """

    def one_data_set(seeds: Array, statistics: Any, betas: Array) -> tuple[SMCResult, Array]:
        keys = jax.random.wrap_key_data(seeds)
        runs = tempered_smc(target, settings, keys, statistics, betas, step_size)
        best = jnp.argmin(runs.best_energy)
        mode = posterior_mode(target, statistics, runs.best_position[best])
        return runs, -target.log_likelihood(mode, statistics)

    arrays = (key_data, all_statistics, nodes)
    if len(nodes) == 1:  # a map of loops takes as long again to trace as the loops
        alone = one_data_set(*jax.tree.map(lambda leaf: leaf[0], arrays))
        return jax.tree.map(lambda leaf: leaf[None], alone)
    return jax.vmap(one_data_set)(*arrays)


smc_jobs = JobFunction(smc_batch, num_static=2, num_shared=1)
"""``smc_batch`` of any number of data sets, over all devices, within their memory."""


def batch_keys(key: Array, n: int, data_sets: int, seeds: int) -> Array:
    """Keys [R, S] that depend on (key, n, replicate, seed) alone, not on the batch."""
    base = jax.random.fold_in(key, n)
    over_seeds = jax.vmap(jax.random.fold_in, (None, 0))
    over_both = jax.vmap(over_seeds, (0, None))
    return over_both(over_seeds(base, jnp.arange(data_sets)), jnp.arange(seeds))


def in_precision(statistics: Statistics, dtype: Any) -> Statistics:
    """The statistics in the floating-point type of the sampler."""
    return jax.tree.map(lambda leaf: jnp.asarray(np.asarray(leaf), dtype), statistics)


def sampled_jobs(
    problem: Problem,
    n: int,
    all_statistics: Statistics,
    keys: Array,
    settings: SMCSettings,
    step_size: float,
    rows: int | None = None,
    budget: int | None = None,
) -> xr.Dataset:
    """Free energy, WBIC, λ̂ and diagnostics by tempered SMC of R data sets of one n.

    ``keys`` are those of ``batch_keys`` [R, S]. Every estimate ``x`` comes with ``x_se``, its
    Monte-Carlo standard error over seeds, and all energies are relative to nL_n(w₀), in total
    nats. ``converged`` [replicate] is False where a run did not reach β = 1 or accepted too
    little, or where seeds, or evidence and integration, disagree; ``reason`` says so. ``rows`` and
    ``budget`` are those of ``JobFunction``. Raises ValueError if the step size diverges: no move of
    the first temperature is accepted.
    """
    nodes = temperature_nodes(n)
    dtype = jnp.zeros(()).dtype
    runs, mode_energy = smc_jobs(
        target_of(problem.model),
        settings,
        jnp.asarray(step_size, dtype),
        np.asarray(jax.random.key_data(keys)),
        in_precision(all_statistics, dtype),
        np.tile(np.asarray(nodes, dtype), (len(keys), 1)),
        rows=rows,
        budget=budget,
    )
    runs = jax.tree.map(lambda leaf: np.asarray(leaf, float), runs)
    refuse_divergence(problem, n, runs, step_size)
    return _estimates(
        problem,
        n,
        nodes,
        runs,
        all_statistics.log_likelihood_at_optimum,
        np.asarray(mode_energy, float),
    )


def refuse_divergence(problem: Problem, n: int, runs: SMCResult, step_size: float) -> None:
    """Raise ValueError if no chain moves at the first temperature: the step is far too large."""
    first = np.asarray(runs.acceptance)[..., 0]
    moved = first[np.isfinite(runs.first_log_weight)]  # data that hold NaN say nothing of steps
    if moved.size and np.median(moved) < DIVERGED_ACCEPTANCE:
        raise ValueError(
            f"step size {step_size:g} diverges on {problem.name} at n = {n}: HMC accepts "
            f"{np.median(moved):.1%} of its moves; use one between 0.01 and 2 "
            "(units of the population's standard deviation)"
        )


def _estimates(
    problem: Problem,
    n: int,
    nodes: TemperatureNodes,
    runs: SMCResult,
    log_likelihood_at_optimum: ArrayLike,
    mode_energy: np.ndarray,
) -> xr.Dataset:
    """All estimates of one n, dimension [replicate]."""
    import xarray as xr

    energies = np.asarray(runs.node_energies)
    by_seed = energies.mean(axis=(-1, -2))
    about_pooled_mean = energies - energies.mean(axis=(1, 3, 4), keepdims=True)
    variance_by_seed = np.mean(about_pooled_mean**2, axis=(-1, -2))
    wbic = mean_over_seeds(by_seed[..., 0])
    estimates: dict[str, Estimate] = {
        "normalised_free_energy": free_energy_from_evidence(runs.log_evidence),
        "normalised_free_energy_ti": integrated(runs),
        "normalised_wbic": wbic,
        "excess_energy": mean_over_seeds(by_seed[..., 2]),
        "lambda_wbic": wbic_coefficient(by_seed[..., 0], n),
        "lambda_energy_variance": energy_variance_coefficient(variance_by_seed[..., 0], nodes.wbic),
    }
    if nodes.second > nodes.wbic:
        estimates["lambda_two_temperatures"] = two_temperature_coefficient(
            by_seed[..., 0], by_seed[..., 1], nodes.wbic, nodes.second
        )
    variables: dict[str, Any] = {}
    for name, estimate in estimates.items():
        variables[name] = ("replicate", estimate.value)
        variables[f"{name}_se"] = ("replicate", estimate.standard_error)
    variables["normalised_bic"] = ("replicate", bic(mode_energy, problem.model.dimension, n))
    variables |= convergence(runs, (0, 2), log_likelihood_at_optimum)
    return xr.Dataset(variables)


def integrated(runs: SMCResult) -> Estimate:
    """F of every data set by thermodynamic integration along the path of its runs."""
    return thermodynamic_integration(
        runs.beta, runs.mean_energy, runs.energy_variance, runs.first_log_weight
    )


def convergence(
    runs: SMCResult, nodes: tuple[int, ...], log_likelihood_at_optimum: ArrayLike
) -> dict[str, Any]:
    """Diagnostics of R data sets with S runs each, and ``converged`` with a ``reason`` if not.

    Energies at the ``nodes`` of these indices are what the runs must agree on, and F must be the
    same by evidence and by integration. ``log_likelihood_at_optimum`` [R] is −nL_n(w₀).
    """
    energies = np.asarray(runs.node_energies)
    on_path = np.isfinite(np.asarray(runs.acceptance))
    least = np.min(runs.acceptance, axis=(-2, -1), initial=np.inf, where=on_path)
    acceptance = np.where(np.isfinite(least), least, np.nan)
    r_hat = np.max([nested_r_hat(np.moveaxis(energies[:, :, b], -1, -2)) for b in nodes], axis=0)
    evidence, integral = free_energy_from_evidence(runs.log_evidence), integrated(runs)
    gap = evidence.plus(integral.scaled(-1.0))
    allowed = gap.half_width(AGREEMENT)
    reasons = [
        unfinished_reason(jax.tree.map(lambda leaf, i=i: leaf[i], runs), float(origin))
        or _reason(acceptance[i], r_hat[i], evidence.value[i], gap.value[i], allowed[i])
        for i, origin in enumerate(np.asarray(log_likelihood_at_optimum, float))
    ]
    return {
        "acceptance": ("replicate", acceptance),
        "nested_r_hat": ("replicate", r_hat),
        "num_temperatures": ("replicate", runs.num_temperatures.mean(axis=-1)),
        "reason": ("replicate", np.array(reasons, dtype=object)),
        "converged": ("replicate", np.array([reason == "" for reason in reasons])),
    }


def unfinished_reason(runs: SMCResult, log_likelihood_at_optimum: float) -> str:
    """The reason why not all S runs of a data set came to β = 1 and what to set, or else nothing.

    ``log_likelihood_at_optimum`` is the log-likelihood of w₀, from which all others are counted.
    """
    reached = np.isfinite(np.asarray(runs.log_evidence))
    if reached.all():
        return ""
    if not math.isfinite(log_likelihood_at_optimum):
        value = "NaN" if math.isnan(log_likelihood_at_optimum) else f"{log_likelihood_at_optimum:g}"
        return (
            f"log-likelihood {value} at the reference point w0: set the problem's optimum to "
            "parameters at which every datum has a density"
        )
    chain_length, num_chains = np.shape(runs.node_energies)[-2:]
    most, size = int(np.max(runs.num_nan)), chain_length * num_chains
    if most:
        return (
            f"log-likelihood NaN at up to {most} of {size} draws of the prior: it must be a "
            "number, or −inf, wherever the prior is positive"
        )
    length, limit = int(np.max(runs.num_temperatures)), np.shape(runs.beta)[-1]
    path = np.max(runs.beta, axis=0, initial=0.0, where=np.isfinite(np.asarray(runs.beta)))
    if length == limit and path[-1] < 1:
        return (
            f"max_temperatures = {limit} used up at beta = {path[-1]:.3g} < 1: set it to "
            f"{_temperatures_needed(path)} or more"
        )
    return (
        f"{np.sum(~reached)} of {len(reached)} runs lost: no finite log-likelihood after "
        f"{int(np.min(runs.num_temperatures))} temperatures; set num_chains to more, since the "
        "likelihood is zero at nearly all draws of the prior"
    )


def _temperatures_needed(path: np.ndarray) -> int:
    """Twice as many temperatures as the end of a path of β [T] would take to β = 1 at its pace.

    β grows by a factor for each temperature, and less steeply near the prior than later.
    """
    half = len(path) // 2
    pace = math.log(path[-1] / path[half]) / max(len(path) - 1 - half, 1) if path[half] > 0 else 0.0
    left = -math.log(path[-1]) / pace if pace > 0 else len(path)
    return len(path) + 2 * math.ceil(left)


def _reason(acceptance: float, r_hat: float, evidence: float, gap: float, allowed: float) -> str:
    """The reason why runs that came to β = 1 did not converge, empty if they did."""
    if not acceptance >= MIN_ACCEPTANCE:
        return f"acceptance {acceptance:.2f} < {MIN_ACCEPTANCE}"
    if not r_hat <= MAX_NESTED_R_HAT:
        return f"seeds disagree: nested R-hat {r_hat:.2f} > {MAX_NESTED_R_HAT}"
    if not abs(gap) <= allowed:
        return (
            f"F = {evidence:.2f} by evidence and {evidence - gap:.2f} by integration differ by "
            f"more than {allowed:.2f} nats"
        )
    return ""


def exact_jobs(oracle: Oracle, n: int, all_statistics: Any, with_energies: bool) -> xr.Dataset:
    """The oracle's answers for R data sets of one n, each ``x`` with its bound ``x_error``.

    The names are those of ``sampled_jobs``: what a sampler with infinitely many draws would
    report on the same data, in total nats relative to nL_n(w₀) or as λ̂. Without energies only
    the free energy is computed.
    """
    import xarray as xr

    posterior = oracle.moments(all_statistics)
    exact = {"normalised_free_energy": posterior.normalised_free_energy}
    if with_energies:
        exact["excess_energy"] = posterior.excess_energy
        exact |= _exact_energies(oracle, all_statistics, temperature_nodes(n))
    variables: dict[str, Any] = {}
    for name, quantity in exact.items():
        variables[name] = ("replicate", quantity.value)
        variables[f"{name}_error"] = ("replicate", quantity.error)
    return xr.Dataset(variables)


def _exact_energies(oracle: Oracle, statistics: Any, nodes: TemperatureNodes) -> dict[str, Exact]:
    """WBIC and the λ̂ that are made of tempered energies."""
    at_wbic = oracle.moments(statistics, nodes.wbic)
    exact = {
        "normalised_wbic": at_wbic.excess_energy,
        "lambda_wbic": at_wbic.excess_energy.scaled(nodes.wbic),
        "lambda_energy_variance": at_wbic.energy_variance.scaled(nodes.wbic**2),
    }
    if nodes.second > nodes.wbic:
        at_second = oracle.moments(statistics, nodes.second)
        difference = at_wbic.excess_energy.minus(at_second.excess_energy)
        exact["lambda_two_temperatures"] = difference.scaled(
            1 / (1 / nodes.wbic - 1 / nodes.second)
        )
    return exact


def problem_key(seed: int, problem: Problem) -> Array:
    """The key of a problem: its data and samplers do not depend on which others are run."""
    check("seed", seed, Size)
    require_problem(problem)
    return jax.random.fold_in(jax.random.key(seed), zlib.crc32(problem.name.encode()))

"""Errors of the posterior predictive of each data set, exact and by SMC on the same data.

All are per datum and relative to w₀ but the functional variance, which is a sum over data.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from slt_jax.curves.jobs import (
    convergence,
    in_precision,
    refuse_divergence,
    smc_jobs,
    target_of,
    unravelled,
)
from slt_jax.data import validate_data
from slt_jax.estimators import (
    Estimate,
    LossAccumulator,
    LossMoments,
    bayes_generalisation_loss,
    bayes_training_loss,
    functional_variance,
    gibbs_generalisation_loss,
    gibbs_training_loss,
)
from slt_jax.model import Model
from slt_jax.oracles.criteria import (
    HeldOut,
    generalisation_errors,
    pointwise_moments,
    training_criteria,
)
from slt_jax.oracles.evaluation import Exact
from slt_jax.oracles.oracle import Oracle
from slt_jax.problem import Problem
from slt_jax.run.devices import JobFunction
from slt_jax.run.precision import in_default_precision, in_float64
from slt_jax.samplers.smc import SMCSettings
from slt_jax.statistics import Data, Params, Statistics

if TYPE_CHECKING:
    import xarray as xr

QUANTITIES = (
    "bayes_generalisation_error",
    "gibbs_generalisation_error",
    "bayes_training_error",
    "gibbs_training_error",
    "functional_variance",
)
# The sign with which the control of ``exact_errors`` enters each, times ½.
SIGNS = dict(zip(QUANTITIES, (1, 1, -1, -1, 0), strict=True))


def exact_errors(oracle: Oracle, data_sets: Sequence[Data], held_out: HeldOut) -> xr.Dataset:
    """Compute ``QUANTITIES`` of data sets of n ≥ 2 data at β = 1 exactly, dimension [replicate].

    Each ``x`` comes with its bound ``x_error``. Their control variate is ``control``,
    C = LOO(zⁿ) − B_g(zⁿ⁻¹), both relative to w₀: its mean over data sets is 0 at every n, since
    leaving out datum i leaves n − 1 data and a next one, and n(B_g + LOO) → 2λ in probability, so
    that B_g + C/2 has the mean of B_g and hardly its spread. Raises ValueError for n < 2.

    Source: Watanabe, Journal of Machine Learning Research 11 (2010).
    """
    import xarray as xr

    if not data_sets:
        raise ValueError("data_sets = []: must be one data set or more")
    n = len(data_sets[0].y)
    if n < 2:
        raise ValueError(f"n = {n}: leaving one datum out of the control needs n ≥ 2")
    rows: list[dict[str, Exact]] = []
    for data in data_sets:
        trained = training_criteria(oracle, data)
        errors = generalisation_errors(oracle, data, held_out)
        fewer = generalisation_errors(oracle, Data(data.x[:-1], data.y[:-1]), held_out)
        row = {name: getattr(errors, name) for name in QUANTITIES[:2]}
        row |= {name: getattr(trained, name) for name in QUANTITIES[2:]}
        row["control"] = trained.loo_error.minus(fewer.bayes_generalisation_error)
        rows.append(row)
    variables: dict[str, Any] = {}
    for name in (*QUANTITIES, "control"):
        for suffix, part in (("", 0), ("_error", 1)):
            values = np.array([float(row[name][part]) for row in rows])
            variables[f"{name}{suffix}"] = ("replicate", values)
    return xr.Dataset(variables)


def with_control_variate(name: str, values: Any, control: Any) -> Any:
    """Add to values of one of ``QUANTITIES`` its share ±C/2 of the control, whose mean is zero."""
    return values + SIGNS[name] / 2 * control


def cumulative_loss_gap(oracle: Oracle, data: Data) -> tuple[float, float]:
    """Compare the cumulative prequential loss of one data set with F_n, which must be the same.

    |Σ_k −log E_w[p(z_{k+1}|w) | z₁ … z_k] − F_n| and the bound on it, in nats. The evidence is the
    product of the predictive densities of each datum given those before it: the gap is 0.
    """
    n = len(data.y)
    steps = [
        pointwise_moments(oracle, data, data, weights=(np.arange(n) < k).astype(float))
        .log_predictive.of_data_set(k)
        .scaled(-1)
        for k in range(n)
    ]
    total = training_criteria(oracle, data).normalised_free_energy
    gap = functools.reduce(Exact.plus, steps).minus(total)
    return float(np.abs(gap.value)), float(gap.error)


def sampled_errors(
    problem: Problem,
    n: int,
    data: Data,
    all_statistics: Statistics,
    held_out: HeldOut,
    keys: Array,
    settings: SMCSettings,
    step_size: float,
    budget: int | None = None,
) -> xr.Dataset:
    """Sample ``QUANTITIES`` of R data sets by S runs of SMC each, dimension [replicate].

    ``data`` [R, N, ...] are padded to any N ≥ n, ``all_statistics`` those of the first n, and
    ``keys`` [R, S] those of ``batch_keys``. Each ``x`` comes with ``x_se``, its Monte-Carlo
    standard error over runs; ``converged`` and ``reason`` are those of ``sampled_jobs``. Raises
    ValueError if the step size diverges.
    """
    dtype = jnp.zeros(()).dtype
    runs, _ = smc_jobs(
        target_of(problem.model),
        settings,
        jnp.asarray(step_size, dtype),
        np.asarray(jax.random.key_data(keys)),
        in_precision(all_statistics, dtype),
        np.ones((len(keys), 1), dtype),
        budget=budget,
    )
    runs = jax.tree.map(lambda leaf: np.asarray(leaf, float), runs)
    refuse_divergence(problem, n, runs, step_size)
    positions = runs.node_positions.reshape(*keys.shape, settings.num_particles, -1)
    errors = errors_of_draws(problem, n, data, positions, held_out, budget)
    return errors.assign(convergence(runs, (0,), all_statistics.log_likelihood_at_optimum))


def errors_of_draws(
    problem: Problem,
    n: int,
    data: Data,
    positions: np.ndarray,
    held_out: HeldOut,
    budget: int | None = None,
) -> xr.Dataset:
    """Estimate ``QUANTITIES`` of R data sets [R, N, ...] of size n, padded, from posterior draws.

    ``positions`` [R, S, D, d] are of S independent runs with D draws; each ``x`` [replicate]
    comes with ``x_se``, its Monte-Carlo standard error over runs with that of ``over_points``.
    Raises ValueError for data or points that ``validate_data`` refuses.
    """
    import xarray as xr

    for part in (held_out.data, *map(Data, *data)):
        validate_data(problem, part)
    trained, fresh = _moments(
        problem,
        positions,
        data,
        np.tile(np.arange(data.y.shape[1]) < n, (len(positions), 1)),
        held_out.data,
        budget,
    )
    moments, points = trained.finalised(n), fresh.finalised()
    estimates: tuple[Estimate, ...] = (
        over_points(bayes_generalisation_loss, points, held_out),
        over_points(gibbs_generalisation_loss, points, held_out),
        bayes_training_loss(moments),
        gibbs_training_loss(moments),
        functional_variance(moments),
    )
    variables: dict[str, Any] = {}
    for name, estimate in zip(QUANTITIES, estimates, strict=True):
        variables[name] = ("replicate", estimate.value)
        variables[f"{name}_se"] = ("replicate", estimate.standard_error)
    return xr.Dataset(variables)


def over_points(
    estimator: Callable[..., Estimate], moments: LossMoments, held_out: HeldOut
) -> Estimate:
    """Estimate a generalisation loss from moments of all held-out points, with their own error.

    It is that of finitely many data, or what the coarser rule of a quadrature is off: rules
    converge slowly where the loss has kinks in x, as of ReLU nets, or is steep.
    """
    if held_out.check is None:
        return estimator(moments)
    fine, coarse = (estimator(moments, weights=w) for w in (held_out.weights, held_out.check))
    return fine.with_part("held_out_data", np.abs(fine.value - coarse.value), np.inf)


@in_float64
def _moments(
    problem: Problem,
    positions: np.ndarray,
    data: Data,
    present: np.ndarray,
    points: Data,
    budget: int | None,
) -> tuple[LossAccumulator, LossAccumulator]:
    optimum = in_default_precision(problem.optimum)
    return predictive_jobs(
        problem.model, optimum, points, positions, data, present.astype(float), budget=budget
    )


def predictive_batch(
    model: Model,
    optimum: Params,
    points: Data,
    positions: Array,
    data: Data,
    present: Array,
) -> tuple[LossAccumulator, LossAccumulator]:
    """Accumulate moments of ℓ_i(w) − ℓ_i(w₀) over draws w [R, S, D, d] of R data sets, by run.

    The i are the data [R, N] that are ``present`` [R, N] (1, or 0 for padding), and the held-out
    ``points``, which all data sets share.
    """

    def of_data_set(
        draws: Array, trained: Data, weights: Array
    ) -> tuple[LossAccumulator, LossAccumulator]:
        at_optimum = [model.log_likelihoods(optimum, part) for part in (trained, points)]

        def add(
            moments: tuple[LossAccumulator, LossAccumulator], w: Array
        ) -> tuple[tuple[LossAccumulator, LossAccumulator], None]:
            params = jax.vmap(functools.partial(unravelled, model))(w)
            ratios = [
                jax.vmap(model.log_likelihoods, (0, None))(params, part) - base
                for part, base in zip((trained, points), at_optimum, strict=True)
            ]
            known, fresh = moments
            return (known.updated(weights * ratios[0], 0), fresh.updated(ratios[1], 0)), None

        empty = (
            LossAccumulator.empty(len(draws), 1, len(weights)),
            LossAccumulator.empty(len(draws), 1, len(points.y), held_out=True),
        )
        return jax.lax.scan(add, empty, jnp.swapaxes(draws, 0, 1))[0]

    return jax.vmap(of_data_set)(positions, data, present)


predictive_jobs = JobFunction(predictive_batch, num_static=1, num_shared=2)
"""It is ``predictive_batch`` for any number of data sets, over all devices within their memory."""

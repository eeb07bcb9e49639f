"""Generalisation and training errors of one problem's data sets against n, exact and sampled."""

import functools
from collections.abc import Mapping, Sequence

import jax
import numpy as np
import xarray as xr
from jax import Array

from slt_jax.curves.config import ErrorConfig
from slt_jax.curves.errors import exact_errors, sampled_errors
from slt_jax.curves.held_out import held_out_points
from slt_jax.curves.jobs import batch_keys, problem_key
from slt_jax.curves.sampled_curve import errors_by_chains, sampling_by_chains
from slt_jax.data import refuse_unheld_data, simulate, statistics_along_n
from slt_jax.oracles.oracle import Oracle, oracle_for
from slt_jax.problem import Problem
from slt_jax.run.sweep import Task, joined
from slt_jax.samplers.smc import SMCSettings
from slt_jax.statistics import Data


def curve_oracle(problem: Problem, config: ErrorConfig) -> Oracle:
    """Return the oracle of a problem's curves. Raises ValueError for a problem that has none."""
    oracle = oracle_for(problem, config.oracle_refinement)
    if oracle is None:
        raise ValueError(f"{problem.name}: a learning curve needs an exact oracle")
    return oracle


def curve_keys(problem: Problem, config: ErrorConfig) -> tuple[Array, Array, Array]:
    """Derive the keys of the data sets, of the sampler and of the design."""
    data, sampler, design = jax.random.split(problem_key(config.seed, problem), 3)
    return data, sampler, design


@functools.lru_cache(maxsize=16)
def data_sets_of(problem: Problem, config: ErrorConfig) -> list[Data]:
    """Draw the data sets at their largest size, when a task first asks for them."""
    data_key, *_ = curve_keys(problem, config)
    keys = [jax.random.fold_in(data_key, r) for r in range(config.data_sets)]
    largest = max(config.exact_sizes)
    return [jax.tree.map(np.asarray, simulate(problem, key, largest)) for key in keys]


def error_tasks(problem: Problem, config: ErrorConfig) -> list[Task]:
    """List the tasks of a problem's errors, exact and sampled, by the configuration alone.

    Raises ValueError for a problem without an oracle, for data that do not fit into memory, and as
    ``held_out_points`` does.
    """
    data_key, sampler_key, _ = curve_keys(problem, config)
    # As they are drawn, and joined to one array for the sampler.
    refuse_unheld_data(problem, config.data_sets, max(config.exact_sizes), copies=2)
    oracle = curve_oracle(problem, config)
    points = held_out_points(problem)
    settings = SMCSettings(num_chains=config.num_chains, chain_length=config.chain_length)

    def exact(n: int) -> xr.Dataset:
        sets = [Data(d.x[:n], d.y[:n]) for d in data_sets_of(problem, config)]
        errors = exact_errors(oracle, sets, points)
        return errors.rename({name: f"exact_{name}" for name in errors.data_vars})

    def sampled(n: int) -> xr.Dataset:
        padded = jax.tree.map(lambda *parts: np.stack(parts), *data_sets_of(problem, config))
        statistics = statistics_along_n(problem, data_key, config.data_sets, [n])[0]
        keys = batch_keys(sampler_key, n, config.data_sets, config.seeds)
        if config.sampler != "smc":
            sampling = sampling_by_chains(problem, statistics, n, config)
            return errors_by_chains(sampling, keys[:, 0], padded, points)
        return sampled_errors(
            problem, n, padded, statistics, points, keys, settings, config.step_size,
            config.budget,
        )  # fmt: skip

    do, group = functools.partial, problem.name
    return [
        *(Task(task_name(problem, "exact", n), do(exact, n), group) for n in config.exact_sizes),
        *(
            Task(task_name(problem, config.sampler, n), do(sampled, n), group)
            for n in config.sample_sizes
        ),
    ]


def assemble_errors(
    problem: Problem, config: ErrorConfig, results: Mapping[str, xr.Dataset]
) -> xr.Dataset:
    """Join the results of ``error_tasks`` to one labelled dataset.

    Dimensions (n, replicate): the variables of ``exact_errors`` after ``exact_``, and those of
    ``sampled_errors``, NaN where n was not sampled.
    """
    parts = [
        results_along(problem, results, kind, "n", sizes)
        for kind, sizes in (("exact", config.exact_sizes), (config.sampler, config.sample_sizes))
    ]
    curve = xr.merge(parts, join="outer")
    curve["converged"] = curve["converged"].fillna(False).astype(bool)
    curve["reason"] = curve["reason"].fillna("not sampled").astype(str)
    curve.attrs |= {"degrees_of_freedom": config.seeds - 1, "sampler": config.sampler}
    return curve


def task_name(problem: Problem, kind: str, value: float | None = None) -> str:
    """Name a problem's task of a kind, at an n or another value."""
    return ".".join([problem.name, kind, *([] if value is None else [str(value)])])


def results_along(
    problem: Problem,
    results: Mapping[str, xr.Dataset],
    kind: str,
    dimension: str,
    values: Sequence[float],
) -> xr.Dataset:
    """Concatenate the results of a problem's tasks of a kind along a new dimension."""
    parts = (results[task_name(problem, kind, value)] for value in values)
    return joined(dimension, values, parts)

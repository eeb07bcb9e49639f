"""The study: errors of every problem, its F_n under several priors, and a prequential check."""

import functools
from collections.abc import Mapping

import xarray as xr

from slt_jax.curves.comparison import along_problems
from slt_jax.curves.error_curve import (
    assemble_errors,
    curve_keys,
    curve_oracle,
    data_sets_of,
    error_tasks,
    results_along,
    task_name,
)
from slt_jax.curves.errors import cumulative_loss_gap
from slt_jax.curves.fixed_design import fixed_design_free_energy
from slt_jax.curves.held_out import held_out_points
from slt_jax.data import is_designable
from slt_jax.models import problems_of
from slt_jax.oracles.oracle import oracle_for
from slt_jax.problem import Problem
from slt_jax.run.sweep import Task
from slt_jax.statistics import Data

from . import Config

PREQUENTIAL_SIZE = 8


def own_prior_scale(problem: Problem) -> float:
    """Return the standard deviation of the problem's prior.

    Raises ValueError for problems that have not all that a learning curve needs: a realisable
    regression with features, a theorem for λ, an oracle, a ``prior_scale`` and inputs with a
    quadrature.
    """
    scale = getattr(problem.model, "prior_scale", None)
    oracle = oracle_for(problem)
    if scale is None or oracle is None or problem.theory is None or not is_designable(problem):
        raise ValueError(
            f"{problem.name}: a learning curve needs a realisable regression with features, a "
            "theorem for λ, an exact oracle and a prior_scale"
        )
    held_out_points(problem)
    return float(scale)


def scales_of(problem: Problem, config: Config) -> list[float]:
    """List the standard deviations of the priors of a problem, its own among them, increasing."""
    others = config.prior_scales if problem in problems_of(config.changed_priors) else ()
    return sorted({own_prior_scale(problem), *others})


def tasks(config: Config) -> list[Task]:
    """List all work, problem by problem. Raises ValueError for a problem that does not fit."""
    return [task for p in problems_of(config.problems) for task in problem_tasks(p, config)]


def problem_tasks(problem: Problem, config: Config) -> list[Task]:
    """List the work on one problem: errors, F_n under each prior, and the prequential check."""
    scales = scales_of(problem, config)
    *_, design_key = curve_keys(problem, config)
    do, group = functools.partial, problem.name
    priors = [
        Task(
            task_name(problem, "prior", scale),
            do(
                fixed_design_free_energy, problem, scale, design_key, config.large_sizes,
                config.designs, config.oracle_refinement,
            ),
            group,
        )
        for scale in scales
    ]  # fmt: skip
    check = Task(task_name(problem, "prequential"), do(prequential, problem, config), group)
    return [*error_tasks(problem, config), *priors, check]


def prequential(problem: Problem, config: Config) -> xr.Dataset:
    """Compare the cumulative Bayes loss of the first data set's first 8 data with their F_n.

    ``prequential_gap``, the absolute difference in nats, with its bound ``…_error``.
    """
    first = data_sets_of(problem, config)[0]
    data = Data(first.x[:PREQUENTIAL_SIZE], first.y[:PREQUENTIAL_SIZE])
    gap, bound = cumulative_loss_gap(curve_oracle(problem, config), data)
    return xr.Dataset({"prequential_gap": gap, "prequential_gap_error": bound})


def assemble(config: Config, results: Mapping[str, xr.Dataset]) -> xr.Dataset:
    """Join all results to one labelled dataset with the dimension ``problem``.

    What ``assemble_errors`` makes [n, replicate]; ``normalised_fixed_design_free_energy``
    [prior_scale, large_n, design], NaN for priors of other problems, with ``own_prior_scale``; and
    the variables of ``prequential``.
    """
    problems = problems_of(config.problems)
    curves = [assemble_problem(problem, config, results) for problem in problems]
    return along_problems(problems, curves)


def assemble_problem(
    problem: Problem, config: Config, results: Mapping[str, xr.Dataset]
) -> xr.Dataset:
    """Join the results of one problem to what ``assemble`` makes of all."""
    errors = assemble_errors(problem, config, results)
    scales = scales_of(problem, config)
    parts = [
        errors,
        results_along(problem, results, "prior", "prior_scale", scales),
        results[task_name(problem, "prequential")].drop_attrs(),
    ]
    curve = xr.merge(parts, join="outer").assign(own_prior_scale=own_prior_scale(problem))
    return curve.assign_attrs(errors.attrs)

"""The study: errors of unrealisable problems, of data sets and in expectation, and ν."""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Literal

import numpy as np
import xarray as xr

from slt_jax.curves.comparison import along_problems
from slt_jax.curves.error_curve import (
    assemble_errors,
    error_tasks,
    results_along,
    task_name,
)
from slt_jax.curves.held_out import held_out_points
from slt_jax.models import problems_of
from slt_jax.models.normal_parabola import NormalOnParabola
from slt_jax.oracles.location import ParabolaCurve, expected_errors
from slt_jax.problem import Problem
from slt_jax.run.sweep import Task

from . import Config
from .information import information, regular_fluctuation

Kind = Literal["regular", "singular", "not renormalisable"]
NOT_COMPUTED = {"converged": False, "reason": "not sampled"}


def location_curve(problem: Problem) -> ParabolaCurve | None:
    """Return the location family that a problem is, or None.

    In these families expectations over data sets are exact.
    """
    if not isinstance(problem.model, NormalOnParabola) or problem.truth is None:
        return None
    mean = np.asarray(problem.truth.params["mean"])
    return ParabolaCurve(float(mean[1])) if mean[0] == 0 else None


def errors_config(problem: Problem, config: Config) -> Config:
    """Ask for exact errors of a location family's data sets at the sampled n alone."""
    if location_curve(problem) is None:
        return config
    return dataclasses.replace(config, exact_sizes=config.sample_sizes)


def tasks(config: Config) -> list[Task]:
    """List all work, problem by problem. Raises ValueError for a problem that does not fit."""
    return [task for p in problems_of(config.problems) for task in problem_tasks(p, config)]


def problem_tasks(problem: Problem, config: Config) -> list[Task]:
    """List the work on one problem: errors of data sets and in expectation, and ν.

    Raises ValueError for a problem that is realisable, and as ``error_tasks`` does.
    """
    if problem.realisable:
        raise ValueError(f"{problem.name}: is realisable, and unrealisable truths are asked for")
    do, group = functools.partial, problem.name
    errors = error_tasks(problem, errors_config(problem, config))
    regular = Task(task_name(problem, "nu"), do(regular_theory, problem), group)
    curve = location_curve(problem)
    if curve is None:
        return [*errors, regular]
    expectations = [
        Task(task_name(problem, "expected", n), do(expectation_at, curve, n), group)
        for n in config.expected_sizes
    ]
    return [*errors, regular, *expectations]


def regular_theory(problem: Problem) -> xr.Dataset:
    """Compute ν of the regular theory at w₀, ``regular_fluctuation``, NaN where J is singular."""
    nu = regular_fluctuation(information(problem, held_out_points(problem)))
    return xr.Dataset({"regular_fluctuation": np.nan if nu is None else nu})


def expectation_at(curve: ParabolaCurve, n: int) -> xr.Dataset:
    """Compute E over data sets of B_g, G_g and tr Var_w m, per datum, with bounds ``…_error``."""
    variables = {}
    for name, exact in expected_errors(curve, n)._asdict().items():
        variables[f"expected_{name}"] = float(exact.value)
        variables[f"expected_{name}_error"] = float(exact.error)
    return xr.Dataset(variables)


def assemble(config: Config, results: Mapping[str, xr.Dataset]) -> xr.Dataset:
    """Join all results to one labelled dataset with the dimension ``problem``.

    What ``assemble_errors`` makes [n, replicate], NaN at the n that were not computed of a location
    family; ``expected_…`` [expected_n], NaN for other problems; ``regular_fluctuation``; and
    ``kind``, a string as ``kind_of`` gives it.
    """
    problems = problems_of(config.problems)
    curves = [assemble_problem(problem, config, results) for problem in problems]
    return along_problems(problems, curves)


def assemble_problem(
    problem: Problem, config: Config, results: Mapping[str, xr.Dataset]
) -> xr.Dataset:
    """Join the results of one problem to what ``assemble`` makes of all."""
    errors = assemble_errors(problem, errors_config(problem, config), results)
    parts = [
        errors.reindex(n=list(config.exact_sizes), fill_value=NOT_COMPUTED),
        results[task_name(problem, "nu")].drop_attrs(),
    ]
    if location_curve(problem) is not None:
        parts.append(
            results_along(problem, results, "expected", "expected_n", config.expected_sizes)
        )
    curve = xr.merge(parts, join="outer")
    regular = bool(np.isfinite(curve["regular_fluctuation"]))
    return curve.assign(kind=kind_of(problem, regular)).assign_attrs(errors.attrs)


def kind_of(problem: Problem, regular: bool) -> Kind:
    """Say how much of the theory holds: all that is regular, λ alone, or no asymptote at all.

    ``regular`` is a problem whose J is not singular.
    """
    if problem.theory is None:
        return "not renormalisable"
    return "regular" if regular else "singular"

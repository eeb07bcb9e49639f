"""The study: exact and sampled free-energy curves of every problem."""

from collections.abc import Mapping

import xarray as xr

from slt_jax.curves.comparison import along_problems
from slt_jax.curves.free_energy import assemble_curve, curve_tasks
from slt_jax.models import named_problems, problems_of
from slt_jax.problem import Problem
from slt_jax.run.sweep import Task

from . import Config


def chosen(config: Config) -> list[Problem]:
    """The problems of a configuration. Raises ValueError for a name that is none's."""
    if config.problems is not None:
        return problems_of(config.problems)
    return [problem for problem in named_problems().values() if problem.showcase]


def tasks(config: Config) -> list[Task]:
    """All work, problem by problem. Raises ValueError for an unknown problem."""
    return [task for problem in chosen(config) for task in curve_tasks(problem, config)]


def assemble(config: Config, results: Mapping[str, xr.Dataset]) -> xr.Dataset:
    """One labelled dataset [problem, n, replicate] of what ``assemble_curve`` says."""
    problems = chosen(config)
    curves = [assemble_curve(problem, config, results) for problem in problems]
    return along_problems(problems, curves)

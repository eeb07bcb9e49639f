"""Checks of what a user hands over, shared by all calls that make posteriors."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from slt_jax.data import in_doubles
from slt_jax.model import Model
from slt_jax.oracles.criteria import HeldOut, check_held_out
from slt_jax.problem import Problem
from slt_jax.statistics import Data
from slt_jax.validation import shown


def checked_problem(problem: Any, data: Any = None) -> Problem:
    """Return a problem, of a model that of which nothing else is known.

    A model that is looked at with a datum, and knows none, gets the first of the data. Raises
    ValueError for anything else.
    """
    if isinstance(problem, Model):
        problem = Problem(type(problem).__name__, problem)
    if not isinstance(problem, Problem):
        raise ValueError(
            f"problem = {shown(problem)}: must be a Problem, as load_problem('linear_3'), or a "
            "Model"
        )
    first = data[0] if type(data) in (list, tuple) and data else data
    if isinstance(first, Data):
        model = problem.model.looking_at(first)
        if model is not problem.model:
            return dataclasses.replace(problem, model=model)
    return problem


def checked_data_sets(problem: Problem, data: Data | Sequence[Data]) -> list[Data]:
    """Return one data set, or several of one size, in float64.

    Raises ValueError for data that the problem cannot have, that are none, or of two sizes.
    """
    if isinstance(data, Data):
        return [in_doubles(problem, data, least=1)]
    if type(data) not in (list, tuple) or not data:  # statistics are tuples with names
        raise ValueError(f"data = {shown(data)}: must be Data(x, y), or a list of such")
    checked = [in_doubles(problem, one, f"data[{i}]", least=1) for i, one in enumerate(data)]
    sizes = sorted({len(one.y) for one in checked})
    if len(sizes) > 1:
        raise ValueError(f"data: sets of {sizes[0]} to {sizes[-1]} data; must be of one size")
    return checked


def checked_held_out(problem: Problem, held_out: Data | HeldOut | None) -> HeldOut | None:
    """Return held-out points, data with equal weights. Raises ValueError as ``in_doubles``."""
    if isinstance(held_out, HeldOut):
        check_held_out(held_out)
    if held_out is None or isinstance(held_out, HeldOut):
        return held_out
    points = in_doubles(problem, held_out, "held_out", least=2)
    return HeldOut(points, np.full(len(points.y), 1 / len(points.y)), None)

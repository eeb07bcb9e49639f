"""Checks of what a user hands over, shared by all calls that make posteriors."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from slt_jax.data import in_doubles
from slt_jax.model import Model
from slt_jax.oracles.criteria import HeldOut
from slt_jax.problem import Problem
from slt_jax.samplers.sampling import SamplerSettings
from slt_jax.statistics import Data
from slt_jax.validation import Positive, check


def checked_problem(problem: Any) -> Problem:
    """Return a problem, of a model that of which nothing else is known.

    Raises ValueError for anything else.
    """
    if isinstance(problem, Model):
        return Problem(type(problem).__name__, problem)
    if not isinstance(problem, Problem):
        raise ValueError(
            f"problem = {shown(problem)}: must be a Problem, as load_problem('linear_3'), or a "
            "Model"
        )
    return problem


def checked_beta(beta: Any) -> float:
    """Return β as a float. Raises ValueError unless it is positive and finite."""
    check("beta", beta, Positive)
    return float(beta)


def checked_data_sets(problem: Problem, data: Data | Sequence[Data]) -> list[Data]:
    """Return one data set, or several of one size, in float64.

    Raises ValueError for data that the problem cannot have, that are none, or of two sizes.
    """
    if isinstance(data, Data):
        return [checked_data("data", problem, data, 1)]
    if type(data) not in (list, tuple) or not data:  # statistics are tuples with names
        raise ValueError(f"data = {shown(data)}: must be Data(x, y), or a list of such")
    checked = [checked_data(f"data[{i}]", problem, one, 1) for i, one in enumerate(data)]
    sizes = sorted({len(one.y) for one in checked})
    if len(sizes) > 1:
        raise ValueError(f"data: sets of {sizes[0]} to {sizes[-1]} data; must be of one size")
    return checked


def checked_data(name: str, problem: Problem, data: Any, least: int) -> Data:
    """Return data in float64. Raises ValueError for fewer than ``least`` and as ``in_doubles``."""
    if not isinstance(data, Data):
        raise ValueError(f"{name} = {shown(data)}: must be Data(x, y)")
    checked = in_doubles(problem, data)
    if len(checked.y) < least:
        raise ValueError(f"{name}: {len(checked.y)} data; must be ≥ {least}")
    return checked


def checked_held_out(problem: Problem, held_out: Data | HeldOut | None) -> HeldOut | None:
    """Return held-out points, data with equal weights. Raises ValueError as ``checked_data``."""
    if held_out is None or isinstance(held_out, HeldOut):
        return held_out
    points = checked_data("held_out", problem, held_out, 2)
    return HeldOut(points, np.full(len(points.y), 1 / len(points.y)), None)


def checked_sampler(sampler: Any) -> SamplerSettings:
    """Return settings of a sampler. Raises ValueError for anything that has no ``run``."""
    if isinstance(sampler, type) or not callable(getattr(sampler, "run", None)):
        raise ValueError(f"sampler = {shown(sampler)}: must be settings, as SMCSettings()")
    return sampler


def checked_key(key: Any) -> Array:
    """Return one typed key. Raises ValueError for anything else."""
    is_array = isinstance(key, Array) and key.shape == ()
    if not (is_array and jnp.issubdtype(key.dtype, jax.dtypes.prng_key)):
        raise ValueError(f"key = {shown(key)}: must be one key, as jax.random.key(0)")
    return key


def shown(value: Any) -> str:
    """Return a short form of a value in one line: its type where it is large."""
    text = " ".join(repr(value).split())
    return text if len(text) <= 60 else f"a {type(value).__name__}"

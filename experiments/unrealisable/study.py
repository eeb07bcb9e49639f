"""Errors of unrealisable problems: of data sets, in expectation where that is exact, and ν."""

import functools
from collections.abc import Mapping
from typing import Literal

import numpy as np
import xarray as xr

from experiments.unrealisable.information import information, regular_fluctuation
from slt_jax.curves.learning import (
    LearningPlan,
    assemble_errors,
    error_batches,
    held_out_points,
)
from slt_jax.models.normal_parabola import NormalOnParabola
from slt_jax.oracles import oracle_for
from slt_jax.oracles.location import ParabolaCurve, expected_errors
from slt_jax.problem import Problem
from slt_jax.run.sweep import Batch

Kind = Literal["regular", "singular", "not renormalisable"]


def location_curve(problem: Problem) -> ParabolaCurve | None:
    """The location family that a problem is, in which expectations over data sets are exact."""
    if not isinstance(problem.model, NormalOnParabola) or problem.truth is None:
        return None
    mean = np.asarray(problem.truth.params["mean"])
    return ParabolaCurve(float(mean[1])) if mean[0] == 0 else None


def check_problem(problem: Problem) -> None:
    """Raises ValueError for a problem that is realisable or has no oracle."""
    if problem.realisable:
        raise ValueError(f"{problem.name}: is realisable, and unrealisable truths are asked for")
    if oracle_for(problem) is None:
        raise ValueError(f"{problem.name}: has no exact oracle")
    held_out_points(problem)


def unrealisable_batches(
    problem: Problem, plan: LearningPlan, expected_sizes: tuple[int, ...]
) -> list[Batch]:
    """Errors of data sets, of location families also in expectation, and information matrices.

    Raises ValueError as ``check_problem`` does.
    """
    check_problem(problem)
    do = functools.partial
    batches = [*error_batches(problem, plan), Batch(f"{problem.name}.nu", do(_nu, problem))]
    curve = location_curve(problem)
    if curve is not None:
        batches += [
            Batch(f"{problem.name}.expected.{n}", do(expectation_at, curve, n))
            for n in expected_sizes
        ]
    return batches


def _nu(problem: Problem) -> xr.Dataset:
    """ν of the regular theory, NaN where J is singular."""
    known = information(problem, held_out_points(problem))
    nu = regular_fluctuation(known)
    return xr.Dataset({"regular_fluctuation": np.nan if nu is None else nu})


def expectation_at(curve: ParabolaCurve, n: float) -> xr.Dataset:
    """E over data sets of B_g, G_g and tr Var_w m, per datum, with their bounds ``_error``."""
    found = expected_errors(curve, n)
    variables = {}
    for name, exact in found._asdict().items():
        variables[f"expected_{name}"] = float(exact.value)
        variables[f"expected_{name}_error"] = float(exact.error)
    return xr.Dataset(variables)


def assemble_unrealisable(
    problem: Problem,
    plan: LearningPlan,
    expected_sizes: tuple[int, ...],
    batches: Mapping[str, xr.Dataset],
) -> xr.Dataset:
    """What ``assemble_errors`` makes, ``regular_fluctuation``, and ``expected_…`` [expected_n]."""
    parts = [assemble_errors(problem, plan, batches), batches[f"{problem.name}.nu"].drop_attrs()]
    if location_curve(problem) is not None:
        along = [batches[f"{problem.name}.expected.{n}"].drop_attrs() for n in expected_sizes]
        dimension = xr.Variable("expected_n", list(expected_sizes))
        parts.append(xr.concat(along, dim=dimension))
    found = xr.merge(parts, join="outer")
    found.attrs = parts[0].attrs
    return found


def kind_of(problem: Problem, curve: xr.Dataset) -> Kind:
    """How much of the theory holds: all of it regular, λ alone known, or no asymptote at all."""
    if problem.theory is None:
        return "not renormalisable"
    return "regular" if np.isfinite(float(curve["regular_fluctuation"])) else "singular"

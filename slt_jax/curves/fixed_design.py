"""Exact free energies of data sets of one design, under several priors and at any n."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr
from jax import Array

from slt_jax.data import fixed_design_statistics
from slt_jax.model import Model
from slt_jax.oracles.oracle import oracle_for
from slt_jax.problem import Problem


def with_prior_scale(problem: Problem, scale: float) -> Problem:
    """Give every parameter of a problem the prior N(0, scale²)."""
    model: Any = problem.model
    changed: Model = dataclasses.replace(model, prior_scale=scale)
    return dataclasses.replace(problem, model=changed)


def fixed_design_free_energy(
    problem: Problem,
    scale: float,
    key: Array,
    sizes: Sequence[int],
    num_designs: int,
    refinement: int,
) -> xr.Dataset:
    """Compute F_n − nL_n(w₀) of data sets of one design under the prior N(0, scale²), exactly.

    ``normalised_fixed_design_free_energy`` [large_n, design] in total nats, with its bound
    ``…_error``. The data sets are those of ``fixed_design_statistics``: the same inputs and noise
    at every n and under every prior. Raises ValueError for a problem without an oracle.
    """
    changed = with_prior_scale(problem, scale)
    oracle = oracle_for(changed, refinement)
    if oracle is None:
        raise ValueError(f"{problem.name}: exact free energies need an oracle")
    along_n = fixed_design_statistics(changed, key, num_designs, sizes)
    evidences = [oracle.log_evidence(statistics) for statistics in along_n]
    name, axes = "normalised_fixed_design_free_energy", ("large_n", "design")
    return xr.Dataset(
        {
            name: (axes, np.stack([-evidence.value for evidence in evidences])),
            f"{name}_error": (axes, np.stack([evidence.error for evidence in evidences])),
        },
        coords={"large_n": list(sizes)},
    )

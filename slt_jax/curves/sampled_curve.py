"""One point of a curve by any sampler: the posteriors of all data sets of one n.

``curves/jobs.py`` and ``curves/errors.py`` have what SMC gives beyond that, from one run.
"""

from collections.abc import Iterable
from typing import Any

import jax
import numpy as np
import xarray as xr
from jax import Array

from slt_jax.curves.config import SampledConfig
from slt_jax.curves.errors import QUANTITIES, errors_of_draws
from slt_jax.curves.jobs import temperature_nodes
from slt_jax.curves.posterior_runs import Runs, Sampling, ladder_free_energies, sampled_runs
from slt_jax.estimators import Estimate, with_step_bias
from slt_jax.oracles.criteria import HeldOut
from slt_jax.problem import Problem
from slt_jax.samplers.chees import ChEESSettings
from slt_jax.samplers.mala import MALASettings
from slt_jax.samplers.microcanonical import MicrocanonicalSettings
from slt_jax.samplers.nuts import NUTSSettings
from slt_jax.samplers.sgld import SGLDSettings
from slt_jax.samplers.tempering import ParallelTemperingSettings
from slt_jax.statistics import Data, Statistics

CHAIN_SAMPLERS: dict[str, Any] = {
    "nuts": NUTSSettings(),
    "chees": ChEESSettings(),
    "mala": MALASettings(),
    "microcanonical": MicrocanonicalSettings(),
    "sgld": SGLDSettings(),
    "tempering": ParallelTemperingSettings(),
}


def sampling_by_chains(
    problem: Problem, statistics: Statistics, n: int, config: SampledConfig
) -> Sampling:
    """Return how a configuration samples data sets [R] of n by a sampler other than SMC."""
    sampler = CHAIN_SAMPLERS[config.sampler]._replace(num_draws=config.num_draws)
    if config.num_warmup is not None:
        sampler = sampler._replace(num_warmup=config.num_warmup)
    return Sampling(
        problem, statistics, n, sampler, config.seeds, config.num_chains, None,
        budget=config.budget,
    )  # fmt: skip


def sampled_energies(sampling: Sampling, keys: Array) -> tuple[xr.Dataset, list[Runs]]:
    """Estimate F_n, WBIC and λ̂ of R data sets, with one of the ``keys`` [R] each.

    ``normalised_free_energy``, ``excess_energy`` at β = 1, ``normalised_wbic`` and ``lambda_wbic``
    [replicate] with their standard errors ``…_se``, in total nats relative to nL_n(w₀) but for
    λ̂; ``converged`` and ``reason``. Also returns the runs at β = 1. Raises ValueError for n < 3 and
    as ``sampled_runs`` does.
    """
    beta = temperature_nodes(sampling.n).wbic
    of_purpose = jax.vmap(lambda key: jax.random.split(key, 3))(keys)
    runs = sampled_runs(sampling, of_purpose[:, 0], 1.0)
    at_wbic = sampled_runs(sampling, of_purpose[:, 1], beta)
    free_energy = [one.evidence for one in runs]
    reasons = [
        [one.reason, other.reason and f"WBIC: {other.reason}"]
        for one, other in zip(runs, at_wbic, strict=True)
    ]
    if any(evidence is None for evidence in free_energy):
        ladders = ladder_free_energies(sampling, of_purpose[:, 2], 1.0)
        free_energy = [ladder.estimate for ladder in ladders]
        for of_data_set, ladder in zip(reasons, ladders, strict=True):
            of_data_set.append(ladder.reason and f"free energy: {ladder.reason}")
    variables = _variables(
        {
            "normalised_free_energy": free_energy,
            "excess_energy": [one.excess_energy for one in runs],
            "normalised_wbic": [one.excess_energy for one in at_wbic],
            "lambda_wbic": [one.excess_energy.scaled(beta) for one in at_wbic],
        }
    )
    variables |= _convergence([_joined(each) for each in reasons])
    return xr.Dataset(variables), runs


def _joined(reasons: Iterable[str]) -> str:
    return "; ".join(filter(None, reasons))


def _variables(estimates: dict[str, list[Any]]) -> dict[str, Any]:
    variables: dict[str, Any] = {}
    for name, each in estimates.items():
        variables[name] = ("replicate", np.array([float(one.value) for one in each]))
        variables[f"{name}_se"] = (
            "replicate",
            np.array([float(one.standard_error) for one in each]),
        )
    return variables


def sampled_point(sampling: Sampling, keys: Array, data: Data, points: HeldOut) -> xr.Dataset:
    """Join what ``sampled_energies`` and ``errors_of_runs`` estimate from the same runs."""
    energies, runs = sampled_energies(sampling, keys)
    reasons = [
        _joined([str(reason), one.reason_of_losses])
        for reason, one in zip(energies["reason"].to_numpy(), runs, strict=True)
    ]
    errors = errors_of_runs(sampling, data, runs, points)
    return energies.merge(errors).assign(_convergence(reasons))


def errors_by_chains(sampling: Sampling, keys: Array, data: Data, points: HeldOut) -> xr.Dataset:
    """Sample the errors of ``errors_of_runs``, with ``converged`` and ``reason``."""
    runs = sampled_runs(sampling, keys, 1.0)
    errors = errors_of_runs(sampling, data, runs, points)
    each = [_joined([one.reason, one.reason_of_losses]) for one in runs]
    return errors.assign(_convergence(each))


def _convergence(reasons: list[str]) -> dict[str, Any]:
    return {
        "reason": ("replicate", np.array(reasons, dtype=object)),
        "converged": ("replicate", np.array([reason == "" for reason in reasons])),
    }


def errors_of_runs(sampling: Sampling, data: Data, runs: list[Runs], points: HeldOut) -> xr.Dataset:
    """Estimate the errors of ``errors_of_draws`` from runs at β = 1, with the bias of the step.

    ``data`` [R, N, ...] are padded to any N ≥ n.
    """

    def of(positions: list[Any]) -> xr.Dataset:
        return errors_of_draws(sampling.problem, sampling.n, data, np.stack(positions), points)

    fine = of([one.positions for one in runs])
    if runs[0].coarse_positions is None:
        return fine
    coarse = of([one.coarse_positions for one in runs])
    variables: dict[str, Any] = {}
    for name in QUANTITIES:
        both = [
            Estimate(d[name].to_numpy(), d[f"{name}_se"].to_numpy(), sampling.seeds - 1.0)
            for d in (fine, coarse)
        ]
        biased = with_step_bias(*both)
        variables[name] = ("replicate", biased.value)
        variables[f"{name}_se"] = ("replicate", biased.standard_error)
    return xr.Dataset(variables)

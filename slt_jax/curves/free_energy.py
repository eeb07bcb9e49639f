"""One problem's free-energy curve: data, exact answers and samples beside each other."""

import functools
import logging
from collections.abc import Mapping

import jax
import numpy as np
import xarray as xr
from jax import Array

from slt_jax.curves.config import FreeEnergyConfig
from slt_jax.curves.jobs import batch_keys, exact_jobs, problem_key, sampled_jobs
from slt_jax.curves.sampled_curve import sampled_energies, sampling_by_chains
from slt_jax.data import (
    fixed_design_statistics,
    is_designable,
    refuse_unheld_statistics,
    statistics_along_n,
)
from slt_jax.estimators import mean_over_data_sets
from slt_jax.oracles.checks import evidence_integral
from slt_jax.oracles.oracle import Oracle, oracle_for
from slt_jax.problem import Problem
from slt_jax.run.quantities import labelled
from slt_jax.run.sweep import Task, run_tasks
from slt_jax.samplers.smc import SMCSettings
from slt_jax.statistics import Statistics
from slt_jax.theory import Theory

logger = logging.getLogger(__name__)

EVIDENCE_SIZE = 2
EVIDENCE_DATA_SETS = 100
# Of the charts that hold all of the prior but for e^−NATS of it.
NATS, MOST_DIMENSIONS = 40.0, 2
DECADES = tuple(10**k for k in range(1, 9))
DECADE_REPLICATES = 4


def free_energy_curve(problem: Problem, config: FreeEnergyConfig) -> xr.Dataset:
    """The whole curve, computed here and now; ``assemble_curve`` says what it holds."""
    tasks = curve_tasks(problem, config)
    return labelled(assemble_curve(problem, config, run_tasks(tasks, label=problem.name)))


def curve_tasks(problem: Problem, config: FreeEnergyConfig) -> list[Task]:
    """The tasks of a curve: samples and exact answers of each n, and the checks of the oracle.

    They depend on the configuration alone; data are drawn when a task first asks for them. Raises
    ValueError for data that do not fit into memory.
    """
    data_key, sampler_key, check_key = jax.random.split(problem_key(config.seed, problem), 3)
    oracle = oracle_for(problem, config.oracle_refinement)
    sizes = config.sizes if oracle is not None else sorted(config.sample_sizes)
    refuse_unheld_statistics(problem, config.data_sets, sizes)
    settings = SMCSettings(
        num_chains=config.num_chains,
        chain_length=config.chain_length,
        num_integration_steps=config.integration_steps,
        ess_fraction=config.ess_fraction,
    )

    @functools.cache
    def statistics_by_size() -> dict[int, Statistics]:
        nested = statistics_along_n(problem, data_key, config.data_sets, sizes)
        return dict(zip(sizes, nested, strict=True))

    def sampled(n: int, part: slice) -> xr.Dataset:
        with jax.enable_x64(config.float64):
            keys = batch_keys(sampler_key, n, config.data_sets, config.seeds)[part]
            statistics = jax.tree.map(lambda leaf: leaf[part], statistics_by_size()[n])
            if config.sampler == "smc":
                rows = config.parts[0].stop
                curve = sampled_jobs(
                    problem, n, statistics, keys, settings, config.step_size, rows, config.budget
                )
            else:
                sampling = sampling_by_chains(problem, statistics, n, config)
                curve, _ = sampled_energies(sampling, keys[:, 0])
        return _with_energy_at_optimum(curve, statistics)

    def exact(oracle: Oracle, n: int) -> xr.Dataset:
        statistics = statistics_by_size()[n]
        curve = exact_jobs(oracle, n, statistics, with_energies=n in config.sample_sizes)
        curve = curve.rename({name: f"exact_{name}" for name in curve.data_vars})
        return _with_energy_at_optimum(curve, statistics)

    def checks(oracle: Oracle) -> xr.Dataset:
        checked = xr.Dataset()
        if is_followed_fast(oracle):
            try:
                integral = evidence_integral(oracle, check_key, EVIDENCE_SIZE, EVIDENCE_DATA_SETS)
            except ValueError as refusal:  # one of its data sets lies too far out for the oracle
                logger.warning("no integral of the evidence over data sets: %s", refusal)
            else:
                checked["evidence_integral"] = integral.value
                checked["evidence_integral_se"] = integral.standard_error
        if problem.theory is not None and is_designable(problem):
            checked = checked.merge(increment_gaps(oracle, problem.theory, check_key))
        return checked

    do = functools.partial
    tasks = [
        Task(_sampled_name(problem, config, n, i), do(sampled, n, part), problem.name)
        for n in config.sample_sizes
        for i, part in enumerate(config.parts)
    ]
    if oracle is not None:
        tasks += [Task(_exact_name(problem, n), do(exact, oracle, n), problem.name) for n in sizes]
        tasks.append(Task(_checks_name(problem), do(checks, oracle), problem.name))
    return tasks


def is_followed_fast(oracle: Oracle) -> bool:
    """True where the data sets of the evidence integral, many far from the prior, take seconds.

    In three coordinates or more a posterior that is followed there takes minutes or is refused.
    """
    charts = oracle.structure.law.charts(NATS)
    return all(chart.dimension <= MOST_DIMENSIONS for chart in charts)


def _with_energy_at_optimum(curve: xr.Dataset, statistics: Statistics) -> xr.Dataset:
    energy = -np.asarray(statistics.log_likelihood_at_optimum, float)
    return curve.assign(energy_at_optimum=("replicate", energy))


def _sampled_name(problem: Problem, config: FreeEnergyConfig, n: int, part: int) -> str:
    return f"{problem.name}.{config.sampler}.n{n}.{part}"


def _exact_name(problem: Problem, n: int) -> str:
    return f"{problem.name}.exact.n{n}"


def _checks_name(problem: Problem) -> str:
    return f"{problem.name}.checks"


def assemble_curve(
    problem: Problem, config: FreeEnergyConfig, results: Mapping[str, xr.Dataset]
) -> xr.Dataset:
    """One labelled dataset of the results of ``curve_tasks``.

    Dimensions (n, replicate), total nats relative to nL_n(w₀), which is ``energy_at_optimum``.
    Names and errors are those of ``sampled_jobs``, and of ``exact_jobs`` after ``exact_``; NaN
    where a quantity was not computed. With an oracle ``is_followed_fast`` of which is true there is
    also ``evidence_integral``, the integral of the evidence over data sets of size 2, which must
    be 1, and with a theorem for λ the variables of ``increment_gaps``.
    """
    samples = [
        xr.concat(
            [results[_sampled_name(problem, config, n, i)] for i in range(len(config.parts))],
            dim="replicate", join="outer", combine_attrs="drop",
        )
        for n in config.sample_sizes
    ]  # fmt: skip
    curve = _along_n(samples, config.sample_sizes)
    if _checks_name(problem) in results:
        exact = _along_n([results[_exact_name(problem, n)] for n in config.sizes], config.sizes)
        curve = xr.merge([exact, curve.drop_vars("energy_at_optimum")], join="outer")
        curve = xr.merge([curve, results[_checks_name(problem)].drop_attrs()])
    curve = curve.reindex(n=config.sizes).assign_coords(decade_from=list(DECADES[:-1]))
    curve["converged"] = curve["converged"].fillna(False).astype(bool)
    curve["reason"] = curve["reason"].fillna("not sampled").astype(str)
    curve.attrs |= {"degrees_of_freedom": config.seeds - 1, "sampler": config.sampler}
    return curve


def _along_n(datasets: list[xr.Dataset], sizes: tuple[int, ...] | list[int]) -> xr.Dataset:
    dimension = xr.Variable("n", list(sizes))
    return xr.concat(datasets, dim=dimension, join="outer", combine_attrs="drop")


def increment_gaps(oracle: Oracle, theory: Theory, key: Array) -> xr.Dataset:
    """The distance of the exact free energy from λ log n − (m−1) log log n, decade by decade.

    ``increment_gap`` [decade_from] is the mean over data sets of fixed design of F_{10n} − F_n
    relative to w₀, minus the same difference of the asymptote, in nats; it tends to 0. Errors
    ``_se`` are between data sets.
    """
    along_n = fixed_design_statistics(oracle.problem, key, DECADE_REPLICATES, DECADES)
    free_energy = np.stack([-oracle.log_evidence(s).value for s in along_n])
    excess = free_energy - theory.free_energy_asymptote(np.array(DECADES, float))[:, None]
    gap = mean_over_data_sets(np.diff(excess, axis=0))
    return xr.Dataset(
        {
            "increment_gap": ("decade_from", gap.value),
            "increment_gap_se": ("decade_from", gap.standard_error),
        },
        coords={"decade_from": list(DECADES[:-1])},
    )

"""One problem's free-energy curve: data, exact answers and samples beside each other."""

import functools
from collections.abc import Mapping
from dataclasses import dataclass

import jax
import numpy as np
import xarray as xr
from jax import Array

from slt_jax.curves.jobs import batch_keys, exact_jobs, problem_key, sampled_jobs
from slt_jax.data import fixed_design_statistics, is_designable, statistics_along_n
from slt_jax.estimators import mean_over_data_sets
from slt_jax.oracles.checks import evidence_integral
from slt_jax.oracles.oracle import Oracle, oracle_for
from slt_jax.problem import Problem
from slt_jax.run.sweep import Batch, run_batches
from slt_jax.samplers.smc import SMCSettings
from slt_jax.statistics import Statistics
from slt_jax.theory import Theory

EVIDENCE_SIZE = 2
EVIDENCE_DATA_SETS = 100
DECADES = tuple(10**k for k in range(1, 9))
DECADE_REPLICATES = 4


@dataclass(frozen=True)
class CurvePlan:
    """What to compute for a problem: SMC at ``sample_sizes``, exact answers there and further on.

    ``data_sets`` nested data sets, each sampled by ``seeds`` runs; ``batch_size`` of them are
    computed and saved together, with at most ``budget`` bytes per device (None: as
    ``JobFunction`` chooses).
    """

    sample_sizes: tuple[int, ...]
    exact_sizes: tuple[int, ...] = ()
    data_sets: int = 10
    seeds: int = 8
    settings: SMCSettings = SMCSettings()
    step_size: float = 0.4
    oracle_refinement: int = 2
    seed: int = 0
    float64: bool = False
    batch_size: int = 16
    budget: int | None = None

    @property
    def sizes(self) -> list[int]:
        """All n, increasing."""
        return sorted({*self.sample_sizes, *self.exact_sizes})

    @property
    def parts(self) -> list[slice]:
        """The data sets of each batch, of equal numbers but for the last."""
        count = -(-self.data_sets // self.batch_size)
        size = -(-self.data_sets // count)
        return [slice(i, min(i + size, self.data_sets)) for i in range(0, self.data_sets, size)]


def free_energy_curve(problem: Problem, plan: CurvePlan) -> xr.Dataset:
    """The whole curve, computed here and now; ``assemble_curve`` says what it holds."""
    batches = curve_batches(problem, plan)
    return assemble_curve(problem, plan, run_batches({problem.name: batches}, label=problem.name))


def curve_batches(problem: Problem, plan: CurvePlan) -> list[Batch]:
    """The batches of a curve: samples and exact answers of each n, and the checks of the oracle.

    They depend on the plan alone; data are drawn when a batch first asks for them.
    """
    data_key, sampler_key, check_key = jax.random.split(problem_key(plan.seed, problem), 3)
    oracle = oracle_for(problem, plan.oracle_refinement)
    sizes = plan.sizes if oracle is not None else sorted(plan.sample_sizes)

    @functools.cache
    def all_statistics() -> dict[int, Statistics]:
        found = statistics_along_n(problem, data_key, plan.data_sets, sizes)
        return dict(zip(sizes, found, strict=True))

    def sampled(n: int, part: slice) -> xr.Dataset:
        with jax.enable_x64(plan.float64):
            keys = batch_keys(sampler_key, n, plan.data_sets, plan.seeds)[part]
            data = jax.tree.map(lambda leaf: leaf[part], all_statistics()[n])
            rows = plan.parts[0].stop
            curve = sampled_jobs(
                problem, n, data, keys, plan.settings, plan.step_size, rows, plan.budget
            )
        curve["energy_at_optimum"] = (
            "replicate",
            -np.asarray(data.log_likelihood_at_optimum, float),
        )
        return curve

    def exact(oracle: Oracle, n: int) -> xr.Dataset:
        curve = exact_jobs(oracle, n, all_statistics()[n], with_energies=n in plan.sample_sizes)
        curve = curve.rename({name: f"exact_{name}" for name in curve.data_vars})
        curve["energy_at_optimum"] = (
            "replicate",
            -np.asarray(all_statistics()[n].log_likelihood_at_optimum, float),
        )
        return curve

    def checks(oracle: Oracle) -> xr.Dataset:
        integral = evidence_integral(oracle, check_key, EVIDENCE_SIZE, EVIDENCE_DATA_SETS)
        found = xr.Dataset(
            {"evidence_integral": integral.value, "evidence_integral_se": integral.standard_error}
        )
        if problem.theory is not None and is_designable(problem):
            found = found.merge(increment_gaps(oracle, problem.theory, check_key))
        return found

    partial = functools.partial
    batches = [
        Batch(_sampled_name(problem, n, i), partial(sampled, n, part))
        for n in plan.sample_sizes
        for i, part in enumerate(plan.parts)
    ]
    if oracle is not None:
        batches += [Batch(_exact_name(problem, n), partial(exact, oracle, n)) for n in sizes]
        batches.append(Batch(_checks_name(problem), partial(checks, oracle)))
    return batches


def _sampled_name(problem: Problem, n: int, part: int) -> str:
    return f"{problem.name}.smc.n{n}.{part}"


def _exact_name(problem: Problem, n: int) -> str:
    return f"{problem.name}.exact.n{n}"


def _checks_name(problem: Problem) -> str:
    return f"{problem.name}.checks"


def assemble_curve(
    problem: Problem, plan: CurvePlan, batches: Mapping[str, xr.Dataset]
) -> xr.Dataset:
    """One labelled dataset of the batches of ``curve_batches``.

    Dimensions (n, replicate), total nats relative to nL_n(w₀), which is ``energy_at_optimum``.
    Names and errors are those of ``sampled_jobs``, and of ``exact_jobs`` after ``exact_``; NaN
    where a quantity was not computed. With an oracle there is also ``evidence_integral``, the
    integral of the evidence over data sets of size 2, which must be 1, and with a theorem for λ
    the variables of ``increment_gaps``.
    """
    samples = [
        xr.concat(
            [batches[_sampled_name(problem, n, i)] for i in range(len(plan.parts))],
            dim="replicate", join="outer", combine_attrs="drop",
        )
        for n in plan.sample_sizes
    ]  # fmt: skip
    curve = _along_n(samples, plan.sample_sizes)
    if _checks_name(problem) in batches:
        exact = _along_n([batches[_exact_name(problem, n)] for n in plan.sizes], plan.sizes)
        curve = xr.merge([exact, curve.drop_vars("energy_at_optimum")], join="outer")
        curve = xr.merge([curve, batches[_checks_name(problem)].drop_attrs()])
    curve = curve.reindex(n=plan.sizes).assign_coords(decade_from=list(DECADES[:-1]))
    curve["converged"] = curve["converged"].fillna(False).astype(bool)
    curve["reason"] = curve["reason"].fillna("not sampled").astype(str)
    curve.attrs["degrees_of_freedom"] = plan.seeds - 1
    return curve


def _along_n(datasets: list[xr.Dataset], sizes: tuple[int, ...] | list[int]) -> xr.Dataset:
    dimension = xr.Variable("n", list(sizes))
    return xr.concat(datasets, dim=dimension, join="outer", combine_attrs="drop")


def increment_gaps(oracle: Oracle, theory: Theory, key: Array) -> xr.Dataset:
    """How fast the exact free energy nears λ log n − (m−1) log log n, decade by decade.

    ``increment_gap`` [decade_from] is the mean over designed data sets of F_{10n} − F_n relative
    to w₀, minus the same difference of the asymptote, in nats; it tends to 0. Errors ``_se``
    are between data sets.
    """
    all_statistics = fixed_design_statistics(oracle.problem, key, DECADE_REPLICATES, DECADES)
    free_energy = np.stack([-oracle.log_evidence(s).value for s in all_statistics])
    excess = free_energy - theory.free_energy_asymptote(np.array(DECADES, float))[:, None]
    gap = mean_over_data_sets(np.diff(excess, axis=0))
    return xr.Dataset(
        {
            "increment_gap": ("decade_from", gap.value),
            "increment_gap_se": ("decade_from", gap.standard_error),
        },
        coords={"decade_from": list(DECADES[:-1])},
    )

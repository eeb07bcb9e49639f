"""One problem's free-energy curve: data, exact answers and samples beside each other."""

from collections.abc import Sequence

import jax
import numpy as np
import xarray as xr
from jax import Array

from slt_jax.data import designed_summaries, summaries_along_n
from slt_jax.estimators import mean_over_data_sets
from slt_jax.model import Problem
from slt_jax.oracles.checks import evidence_integral
from slt_jax.oracles.oracle import Oracle, oracle_for
from slt_jax.progress import report
from slt_jax.samplers.smc import SMCSettings
from slt_jax.sweep import exact_curve, problem_key, sampled_curve
from slt_jax.theory import Theory

EVIDENCE_SIZE = 2
EVIDENCE_DATA_SETS = 200
DECADES = tuple(10**k for k in range(1, 9))
DECADE_REPLICATES = 4


def free_energy_curve(
    problem: Problem,
    sample_sizes: Sequence[int],
    exact_sizes: Sequence[int],
    data_sets: int,
    seeds: int,
    settings: SMCSettings,
    *,
    step_size: float,
    oracle_level: int,
    seed: int,
    float64: bool,
) -> xr.Dataset:
    """Sampled quantities at ``sample_sizes`` and exact ones also at ``exact_sizes``.

    Dimensions (n, replicate), total nats relative to nL_n(w₀), which is ``energy_at_optimum``.
    Names and errors are those of ``sampled_curve``, and of ``exact_curve`` after ``exact_``;
    NaN where a quantity was not computed. With an oracle there is also ``evidence_integral``,
    the integral of the evidence over data sets of size 2, which must be 1, and with a theorem
    for λ the variables of ``increment_gaps``.
    """
    data_key, sampler_key, check_key = jax.random.split(problem_key(seed, problem), 3)
    sizes = sorted({*sample_sizes, *exact_sizes})
    oracle = oracle_for(problem, oracle_level)
    computed = sizes if oracle is not None else sorted(sample_sizes)
    summaries = summaries_along_n(problem, data_key, data_sets, computed)
    sampled = [summaries[computed.index(n)] for n in sample_sizes]
    with jax.enable_x64(float64):
        curve = sampled_curve(
            problem, sampled, sample_sizes, sampler_key, settings, seeds, step_size, report
        )  # fmt: skip
    if oracle is not None:
        exact = exact_curve(oracle, summaries, sizes, sample_sizes, report)
        exact = exact.rename({name: f"exact_{name}" for name in exact.data_vars})
        curve = xr.merge([exact, curve], join="outer", combine_attrs="drop_conflicts")
        integral = evidence_integral(oracle, check_key, EVIDENCE_SIZE, EVIDENCE_DATA_SETS)
        curve["evidence_integral"] = integral.value
        curve["evidence_integral_se"] = integral.standard_error
        if problem.theory is not None:
            curve = curve.merge(increment_gaps(oracle, problem.theory, check_key))
    curve = curve.reindex(n=sizes).assign_coords(decade_from=list(DECADES[:-1]))
    curve["converged"] = curve["converged"].fillna(False).astype(bool)
    curve["reason"] = curve["reason"].fillna("not sampled").astype(str)
    reference = np.stack([-np.asarray(s.reference, float) for s in summaries])
    curve["energy_at_optimum"] = xr.DataArray(
        reference, dims=("n", "replicate"), coords={"n": computed}
    )
    return curve


def increment_gaps(oracle: Oracle, theory: Theory, key: Array) -> xr.Dataset:
    """How fast the exact free energy nears λ log n − (m−1) log log n, decade by decade.

    ``increment_gap`` [decade_from] is the mean over designed data sets of F_{10n} − F_n relative
    to w₀, minus the same difference of the asymptote, in nats; it tends to 0. Errors ``_se``
    are between data sets.
    """
    summaries = designed_summaries(oracle.problem, key, DECADE_REPLICATES, DECADES)
    free_energy = np.stack([-oracle.log_evidence(s).value for s in summaries])
    excess = free_energy - theory.free_energy_asymptote(np.array(DECADES, float))[:, None]
    gap = mean_over_data_sets(np.diff(excess, axis=0))
    return xr.Dataset(
        {
            "increment_gap": ("decade_from", gap.value),
            "increment_gap_se": ("decade_from", gap.standard_error),
        },
        coords={"decade_from": list(DECADES[:-1])},
    )

"""One problem's free-energy curve: data, exact answers and samples beside each other."""

from collections.abc import Sequence

import jax
import numpy as np
import xarray as xr

from slt_jax.data import summaries_along_n
from slt_jax.model import Problem
from slt_jax.oracles.checks import evidence_integral
from slt_jax.oracles.oracle import oracle_for
from slt_jax.progress import report
from slt_jax.samplers.smc import SMCSettings
from slt_jax.sweep import exact_curve, problem_key, sampled_curve

EVIDENCE_SIZE = 2
EVIDENCE_DATA_SETS = 2000


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
    the integral of the evidence over data sets of size 2, which must be 1.
    """
    data_key, sampler_key, check_key = jax.random.split(problem_key(seed, problem), 3)
    sizes = [*sample_sizes, *exact_sizes]
    oracle = oracle_for(problem, oracle_level)
    if oracle is None:
        sizes = list(sample_sizes)
    summaries = summaries_along_n(problem, data_key, data_sets, sizes)
    with jax.enable_x64(float64):
        curve = sampled_curve(
            problem, summaries[: len(sample_sizes)], sample_sizes, sampler_key, settings,
            seeds, step_size, report,
        )  # fmt: skip
    if oracle is not None:
        exact = exact_curve(oracle, summaries, sizes, report)
        exact = exact.rename({name: f"exact_{name}" for name in exact.data_vars})
        curve = xr.merge([exact, curve], join="outer", combine_attrs="drop_conflicts")
        integral = evidence_integral(oracle, check_key, EVIDENCE_SIZE, EVIDENCE_DATA_SETS)
        curve["evidence_integral"] = integral.value
        curve["evidence_integral_se"] = integral.standard_error
    curve["converged"] = curve["converged"].fillna(False).astype(bool)
    curve["reason"] = curve["reason"].fillna("not sampled").astype(str)
    reference = np.stack([-np.asarray(s.reference, float) for s in summaries])
    curve["energy_at_optimum"] = (("n", "replicate"), reference)
    return curve

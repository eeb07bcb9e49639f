"""One call to the posterior of a problem's data: exactly, or by any sampler."""

from typing import Annotated, Any

import jax
import numpy as np
from jax import Array

from slt_jax.curves.posterior import ExactPosterior, SampledPosterior
from slt_jax.curves.posterior_runs import Sampling, sampled_runs
from slt_jax.data import in_doubles, statistics_of
from slt_jax.oracles.criteria import HeldOut
from slt_jax.oracles.oracle import oracle_for
from slt_jax.problem import Problem, check_problem
from slt_jax.samplers.arguments import check_settings
from slt_jax.samplers.sampling import SamplerSettings
from slt_jax.samplers.smc import SMCSettings
from slt_jax.statistics import Data
from slt_jax.validation import AtLeast, Positive, check, check_key, checked

AtLeastTwo = Annotated[int, AtLeast(2)]
SMC: SamplerSettings = SMCSettings()


def exact(
    problem: Problem, data: Data, beta: float = 1.0, *, held_out: Data | HeldOut | None = None
) -> ExactPosterior:
    """Return the posterior of a problem's data at β, with its quantities computed exactly.

    ``free_energy`` and all other names of ``Posterior`` are ``Exact``: a value and a bound on its
    error. ``held_out`` are data over which generalisation losses are averaged; without them
    they are expectations over the truth of the problem. Raises ValueError for a problem whose
    model declares no exact structure, for data that ``validate_data`` refuses or that are none,
    and unless β is positive and finite.

    >>> import jax
    >>> import slt_jax as slt
    >>> problem = slt.named_problems()["linear_3"]
    >>> posterior = slt.exact(problem, slt.simulate(problem, jax.random.key(0), n=100))
    >>> f"F_n = {posterior.free_energy.value:.3f}, WAIC = {posterior.waic.value:.4f}"
    'F_n = 144.676, WAIC = 1.4041'
    """
    setting = _checked(problem, data, beta, held_out)
    oracle = oracle_for(problem, costly=True)
    if oracle is None:
        raise ValueError(f"problem = {problem.name}: has no exact answer; sample it instead")
    return ExactPosterior(oracle=oracle, **setting)


def sample(
    problem: Problem,
    data: Data,
    beta: float = 1.0,
    *,
    key: Array,
    sampler: SamplerSettings = SMC,
    seeds: int = 8,
    num_chains: int = 128,
    step_size: float | None = None,
    held_out: Data | HeldOut | None = None,
) -> SampledPosterior:
    """Return the posterior of a problem's data at β, with its quantities estimated by sampling.

    All names of ``Posterior`` are ``Estimate``: a value and a standard error by source. ``sampler``
    are the settings of any sampler, which runs ``seeds`` times independently with ``num_chains``
    chains (SMC has its own number) that start from draws of the prior. SMC has the evidence
    itself. Of other samplers an eighth of the chains run at each rung of a ladder of temperatures
    as well, when a free energy is asked for, and Bennett's equations join their draws. Losses rest
    on the last population of each run of SMC, or on where the chains of others ended. For SGLD
    every error holds the bias of the step, seen with twice that step. ``step_size`` is that of
    ``samplers.sampling.Start``, and ``held_out`` as in ``exact``. Raises ValueError for arguments
    of a wrong type or out of range, for data that ``validate_data`` refuses or that are none, and
    as the sampler does.

    >>> import jax
    >>> import slt_jax as slt
    >>> problem = slt.named_problems()["linear_3"]
    >>> data = slt.simulate(problem, jax.random.key(0), n=100)
    >>> posterior = slt.sample(problem, data, key=jax.random.key(1))
    >>> exact = slt.exact(problem, data)
    >>> posterior.converged, bool(abs(posterior.waic.value - exact.waic.value) < 0.01)
    (True, True)
    """
    setting = _checked(problem, data, beta, held_out)
    check_settings("sampler", sampler)
    check_key("key", key)
    check("seeds", seeds, AtLeastTwo)
    check("num_chains", num_chains, AtLeastTwo)
    step_size = checked("step_size", step_size, Positive | None)
    sampling = Sampling(
        problem, setting["statistics"], len(setting["data"].y), sampler, seeds, num_chains,
        step_size,
    )  # fmt: skip
    runs = sampled_runs(sampling, jax.random.fold_in(key, 0), setting["beta"])
    return SampledPosterior(sampling=sampling, key=key, runs=runs, **setting)


def _checked(problem: Any, data: Any, beta: Any, held_out: Any) -> dict[str, Any]:
    """The fields that all posteriors share. Raises ValueError as ``exact`` does."""
    check_problem(problem)
    beta = checked("beta", beta, Positive)
    data = in_doubles(problem, data, least=1)
    if held_out is not None and not isinstance(held_out, HeldOut):
        points = in_doubles(problem, held_out, "held_out", least=2)
        held_out = HeldOut(points, np.full(len(points.y), 1 / len(points.y)), None)
    return {
        "problem": problem,
        "data": data,
        "statistics": statistics_of(problem, data),
        "beta": float(beta),
        "held_out": held_out,
    }

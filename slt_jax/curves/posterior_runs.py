"""Independent runs of any sampler on one posterior, and what they say of its evidence.

A posterior at β is sampled as that of data with the weights β, so that every sampler ends at the
inverse temperature 1 of its own: b below stands for β_b = bβ. Energies of the scaled data,
β(nL_n(w) − nL_n(w₀)), are divided by β where they are reported.
"""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import NDArray

from slt_jax.curves.jobs import (
    AGREEMENT,
    MAX_NESTED_R_HAT,
    MIN_ACCEPTANCE,
    convergence,
    in_precision,
    refuse_divergence,
    smc_jobs,
    target_of,
    unravelled,
)
from slt_jax.estimators import (
    Estimate,
    LossAccumulator,
    LossMoments,
    free_energy_from_evidence,
    ladder_integration,
    mean_over_chains,
    mean_over_seeds,
    multistate_bennett,
)
from slt_jax.estimators.diagnostics import Thresholds, judge, nested_r_hat
from slt_jax.model import Model
from slt_jax.problem import Problem
from slt_jax.run.compilation import jit_at_first_call
from slt_jax.run.precision import in_float64
from slt_jax.samplers.sampling import Draws, SamplerSettings, Start
from slt_jax.samplers.sgld import DEFAULT_STEP
from slt_jax.samplers.smc import FIRST_STEP_SIZE, SMCSettings
from slt_jax.samplers.target import Target
from slt_jax.samplers.tempering import ParallelTemperingSettings
from slt_jax.samplers.waste_free import next_beta
from slt_jax.statistics import Data, Statistics

# Bennett's equations are solved with so many draws of a rung, or with four of each chain.
DRAWS_OF_A_RUNG = 2**13
CHAINS_PER_CHAIN_OF_A_RUNG = 8
PRIOR_AT_ONCE = 256
# The share of ESS that the prior keeps at the first rung, and what each rung must keep at the next.
FIRST_ESS = 0.5
MIN_OVERLAP = 0.05
HOTTEST = 0.25
# What is so many nats below the largest weight has none.
NEGLIGIBLE = 100.0

Floats = NDArray[np.float64]


class Sampling(NamedTuple):
    """The way a posterior is sampled: ``seeds`` independent runs of a sampler, of so many chains.

    ``statistics`` are those of the data with unit weights; ``step_size`` as in ``Start``.
    """

    problem: Problem
    statistics: Statistics
    n: int
    sampler: SamplerSettings
    seeds: int
    num_chains: int
    step_size: float | None


class Runs(NamedTuple):
    """The results of S runs at one β, relative to w₀ in total nats.

    ``excess_energy`` E_β[nL_n] − nL_n(w₀). ``positions`` [S, D, d] are draws at β: the last
    population of SMC, and where the chains of other samplers ended. ``coarse_positions`` are those
    with twice the step of a sampler that its step biases, else None. ``evidence`` is None for
    samplers that have none. ``reason`` is empty if all of it has converged.
    """

    excess_energy: Estimate
    positions: Floats
    coarse_positions: Floats | None
    evidence: Estimate | None
    reason: str


class FreeEnergy(NamedTuple):
    """F_n(β) − βnL_n(w₀), total nats, with a ``reason`` that is empty if it has converged."""

    estimate: Estimate
    reason: str


def sampled_runs(sampling: Sampling, key: Array, beta: float) -> Runs:
    """Run a sampler on the posterior at β > 0.

    Raises ValueError for settings that the sampler refuses, and for a step at which no chain of SMC
    moves.
    """
    statistics = sampling.statistics.scaled(beta)
    is_smc = isinstance(sampling.sampler, SMCSettings)
    runs = (_by_populations if is_smc else _by_chains)(sampling, statistics, key, beta)
    return runs._replace(excess_energy=runs.excess_energy.scaled(1 / beta))


def _by_populations(sampling: Sampling, statistics: Statistics, key: Array, beta: float) -> Runs:
    del beta  # the statistics have it
    dtype = jnp.result_type(float)
    keys = jax.random.split(key, sampling.seeds)[None]
    step = FIRST_STEP_SIZE if sampling.step_size is None else sampling.step_size
    every, _ = smc_jobs(
        target_of(sampling.problem.model),
        sampling.sampler,
        jnp.asarray(step, dtype),
        np.asarray(jax.random.key_data(keys)),
        jax.tree.map(lambda leaf: leaf[None], in_precision(statistics, dtype)),
        np.ones((1, 1), dtype),
    )
    every = jax.tree.map(lambda leaf: np.asarray(leaf, float), every)
    refuse_divergence(sampling.problem, sampling.n, every, step)
    judged = convergence(every, (0,), np.asarray(statistics.log_likelihood_at_optimum)[None])
    (_, (reason,)), runs = judged["reason"], jax.tree.map(lambda leaf: leaf[0], every)
    return Runs(
        excess_energy=mean_over_seeds(runs.node_energies.mean(axis=(-3, -2, -1))),
        positions=runs.node_positions.reshape(sampling.seeds, -1, runs.node_positions.shape[-1]),
        coarse_positions=None,
        evidence=free_energy_from_evidence(runs.log_evidence),
        reason=str(reason),
    )


def _by_chains(sampling: Sampling, statistics: Statistics, key: Array, beta: float) -> Runs:
    start_key, run_key, coarse_key = jax.random.split(key, 3)
    shape = (sampling.seeds, sampling.num_chains)
    starts, _ = _prior(sampling, statistics, start_key, math.prod(shape))
    start = starts.reshape(*shape, -1)
    draws = _drawn(sampling, statistics, run_key, np.ones(1), start, sampling.step_size)
    wrong, coarse = _disagreements(draws, np.array([beta])), None
    if math.prod(shape) < Thresholds().min_ess:
        wrong.append(
            f"losses rest on {math.prod(shape)} chains, fewer than {Thresholds().min_ess:g}"
        )
    if draws.coarse_energies is not None:
        step = DEFAULT_STEP if sampling.step_size is None else sampling.step_size
        far = _drawn(sampling, statistics, coarse_key, np.ones(1), start, 2 * step)
        coarse = np.asarray(far.positions[:, 0])
    return Runs(
        excess_energy=mean_over_chains(
            _at(draws.energies, -1), coarse=_at(draws.coarse_energies, -1)
        ),
        positions=np.asarray(draws.positions[:, 0]),
        coarse_positions=coarse,
        evidence=None,
        reason="; ".join(wrong),
    )


def ladder_free_energy(sampling: Sampling, key: Array, beta: float) -> FreeEnergy:
    """Estimate F_n(β) by chains at all rungs of a ladder from the prior, run by one program.

    A rung has an eighth of the chains, at least two in each run. Bennett's equations join the
    rungs; integration over β must give the same. Where a step biases the draws, the error holds
    what twice the step changes.
    """
    statistics = sampling.statistics.scaled(beta)
    start_key, run_key = jax.random.split(key)
    shape = (sampling.seeds, max(2, sampling.num_chains // CHAINS_PER_CHAIN_OF_A_RUNG))
    chains = math.prod(shape)
    length = max(4, DRAWS_OF_A_RUNG // chains)
    starts, energies = _prior(sampling, statistics, start_key, chains * length)
    prior = energies.reshape(chains, length)
    if nans := int(np.sum(np.isnan(prior))):
        reason = f"log-likelihood NaN at {nans} of {prior.size} draws of the prior"
        return FreeEnergy(_unknown(chains), reason)
    rungs = _ladder(prior, starts.shape[-1], sampling.sampler)
    start = starts.reshape(*shape, length, -1)[:, :, 0]
    draws = _drawn(sampling, statistics, run_key, rungs, start, sampling.step_size)
    estimate, wrong = _joined(draws, rungs, beta, prior)
    return FreeEnergy(estimate, "; ".join([*_disagreements(draws, beta * rungs), *wrong]))


def _drawn(
    sampling: Sampling,
    statistics: Statistics,
    key: Array,
    rungs: Floats,
    start: Array,
    step_size: float | None,
) -> Draws:
    dtype = jnp.result_type(float)
    step = None if step_size is None else jnp.asarray(step_size, dtype)
    draws = _run(
        target_of(sampling.problem.model),
        sampling.sampler,
        jax.random.split(key, sampling.seeds),
        in_precision(statistics, dtype),
        jnp.asarray(rungs, dtype),
        Start(start, step),
    )
    return jax.tree.map(lambda leaf: np.asarray(leaf, float), draws)


def _prior(
    sampling: Sampling, statistics: Statistics, key: Array, count: int
) -> tuple[Array, Floats]:
    """Draws of the prior [N, d] and their energies [N]."""
    cast = in_precision(statistics, jnp.result_type(float))
    keys = jax.random.split(key, count)
    starts, energies = _prior_draws(target_of(sampling.problem.model), keys, cast)
    return starts, np.asarray(energies, float)


def _at(energies: Any, rung: int) -> Any:
    """The energies of all runs at one rung as chains [S · C, D]; None stays None."""
    return None if energies is None else energies[:, rung].reshape(-1, energies.shape[-1])


def prior_batch(target: Target, keys: Array, statistics: Any) -> tuple[Array, Array]:
    """Draw from the prior with each of the keys [N]: positions [N, d] and energies [N]."""

    def one(key: Array) -> tuple[Array, Array]:
        w = target.sample_prior(key)
        return w, -target.log_likelihood(w, statistics)

    return jax.lax.map(one, keys, batch_size=PRIOR_AT_ONCE)


def run_batch(
    target: Target, sampler: SamplerSettings, keys: Array, data: Any, betas: Array, start: Start
) -> Draws:
    """All runs [S] at all rungs [B] of one data set."""
    return sampler.run(target, keys, data, betas, start)


_prior_draws = jit_at_first_call(prior_batch, static_argnums=(0,))
_run = jit_at_first_call(run_batch, static_argnums=(0, 1))


def _ladder(prior: Floats, dimension: int, sampler: SamplerSettings) -> Floats:
    """Rungs b [M] up to 1, equally far apart in log b from the first that the prior reaches.

    Energies at b are about λ/b ± √λ/b with λ ≤ d/2: what neighbours in log b have in common depends
    on d alone. M is odd, as integration wants it with the prior, and one of few numbers, since each
    is compiled. Parallel tempering has no more rungs than temperatures between those of its own.
    """
    energies = jnp.asarray(prior.ravel(), jnp.result_type(float))
    first = next_beta(jnp.zeros(()), jnp.asarray(HOTTEST), -energies, FIRST_ESS)
    hottest = float(first) if np.isfinite(first) and first > 0 else HOTTEST
    step = min(0.7, 1.5 / math.sqrt(dimension))
    count = 4 * math.ceil((2 + math.ceil(-math.log(hottest) / step)) / 4) - 1
    if isinstance(sampler, ParallelTemperingSettings):
        count = max(3, min(count, (sampler.num_temperatures - 3) // 2 * 2 + 1))
    return np.geomspace(hottest, 1.0, count)


def _joined(draws: Draws, rungs: Floats, beta: float, prior: Floats) -> tuple[Estimate, list[str]]:
    """F_n(β) − βnL_n(w₀) by Bennett's equations along the ladder, and what is wrong with it."""
    chains, kept = prior.shape[0], min(prior.shape[1], draws.energies.shape[-1])
    # Whatever e^{−bu} is, it is nothing: a mean of energies without one would be all there is.
    floor = np.min(prior, initial=np.inf, where=np.isfinite(prior))
    hot = np.minimum(prior[:, :kept], floor + NEGLIGIBLE / rungs[0])
    betas = np.append(0.0, rungs)

    def of_ladder(energies: Any) -> Floats:
        places = np.linspace(0, energies.shape[-1] - 1, kept).round().astype(int)
        of_rungs = np.moveaxis(energies[..., places], 1, 0).reshape(len(rungs), chains, kept)
        return np.concatenate([hot[None], of_rungs])

    ladder = of_ladder(draws.energies)
    try:
        estimate, integral = _last_ratio(ladder, betas), ladder_integration(ladder, betas)
        if draws.coarse_energies is not None:
            coarse = _last_ratio(of_ladder(draws.coarse_energies), betas)
            estimate = with_step_bias(estimate, coarse)
    except ValueError as error:
        return _unknown(chains), [f"no free energy: {error}"]
    wrong = _gaps(ladder, betas, beta)
    gap = estimate.plus(integral.scaled(-1.0))
    if not abs(gap.value) <= gap.half_width(AGREEMENT):
        wrong.append(
            f"F = {estimate.value:.2f} by Bennett's equations and {integral.value:.2f} by "
            f"integration differ by more than {gap.half_width(AGREEMENT):.2f} nats"
        )
    return estimate, wrong


def _unknown(chains: int) -> Estimate:
    return Estimate(np.asarray(np.nan), np.asarray(np.nan), chains - 1.0)


def _last_ratio(ladder: Floats, betas: Floats) -> Estimate:
    ratios = multistate_bennett(ladder, betas).free_energy
    return ratios._replace(
        value=ratios.value[-1],
        standard_error=ratios.standard_error[-1],
        degrees_of_freedom=np.asarray(ratios.degrees_of_freedom)[-1],
        sources=jax.tree.map(lambda part: part[-1], ratios.sources),
    )


def _gaps(ladder: Floats, betas: Floats, beta: float) -> list[str]:
    """Say where the draws of a rung keep too small a share of ESS at the next."""
    for energies, low, high in zip(ladder[:-1], betas[:-1], betas[1:], strict=True):
        weights = np.exp(-(high - low) * (energies - energies.min()))
        share = weights.sum() ** 2 / (weights.size * np.sum(weights**2))
        if not share >= MIN_OVERLAP:
            return [
                f"draws at beta = {beta * low:.3g} keep {share:.1%} of their ESS at "
                f"{beta * high:.3g}: the ladder has too few temperatures"
            ]
    return []


def _disagreements(draws: Draws, betas: Floats) -> list[str]:
    """List what is wrong with chains: at the last rung all that ``judge`` sees, before it R̂."""
    # Runs are compared as wholes, since many short chains each have an R̂ of their own.
    limits = Thresholds(max_r_hat=np.inf, min_acceptance=MIN_ACCEPTANCE)
    judged = judge(
        _at(draws.energies, -1),
        draws.acceptance[:, -1],
        draws.num_divergent[:, -1],
        limits,
        _at(draws.coarse_energies, -1),
    )
    wrong = [] if judged.converged else [judged.reason]
    worst = nested_r_hat(np.moveaxis(np.asarray(draws.energies), 1, 0))
    for r_hat, beta in zip(worst, betas, strict=True):
        if not r_hat <= MAX_NESTED_R_HAT:
            wrong.append(
                f"seeds disagree at beta = {beta:.3g}: nested R-hat {r_hat:.2f} > "
                f"{MAX_NESTED_R_HAT}"
            )
            break
    return wrong


def with_step_bias(fine: Estimate, coarse: Estimate) -> Estimate:
    """Add to the error of an estimate by how much twice the step changes it.

    To first order that is the bias of the step, and it has its own Monte-Carlo error in squares.
    """
    change = coarse.value - fine.value
    bias = np.sqrt(change**2 + fine.standard_error**2 + coarse.standard_error**2)
    return fine.with_part("discretisation", bias, np.inf)


@in_float64
def predictive_moments(
    problem: Problem, data: Data, positions: Floats, beta: float, held_out: bool = False
) -> LossMoments:
    """Moments of ℓ_i(w) over draws [S, D, d] of a posterior at β, by run, in float64."""
    moments = _predictive(
        problem.model, jnp.asarray(positions), Data(*map(jnp.asarray, data)), beta, held_out
    )
    return moments.finalised()


def predictive(
    model: Model, positions: Array, data: Data, beta: Array | float, held_out: bool
) -> LossAccumulator:
    """Accumulate ℓ_i(w) of the data over draws [S, D, d], by run."""

    def add(moments: LossAccumulator, w: Array) -> tuple[LossAccumulator, None]:
        losses = jax.vmap(lambda one: model.log_likelihoods(unravelled(model, one), data))(w)
        return moments.updated(losses, 0), None

    empty = LossAccumulator.empty(len(positions), 1, len(data.y), beta, held_out)
    return jax.lax.scan(add, empty, jnp.swapaxes(positions, 0, 1))[0]


@in_float64
def terms_at_optimum(problem: Problem, data: Data) -> Floats:
    """ℓ_i(w₀) [n] of data, in float64."""
    optimum = jax.tree.map(lambda leaf: jnp.asarray(leaf, float), dict(problem.optimum))
    return np.asarray(problem.model.log_likelihoods(optimum, Data(*map(jnp.asarray, data))))


def relative_to(terms: Floats, moments: LossMoments) -> LossMoments:
    """Moments of ℓ_i(w) − ``terms`` [n] of held-out data, from those of ℓ_i(w)."""
    return moments._replace(log_means=moments.log_means - terms, means=moments.means - terms)


_predictive = jit_at_first_call(predictive, static_argnums=(0, 4))

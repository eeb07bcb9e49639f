"""Ladders of inverse temperatures from the prior, and the evidence that joins draws at their rungs.

Energies are nL_n(w) − nL_n(w₀) in total nats, of data scaled by β where the posterior is at β, so
that every ladder ends at 1.
"""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from slt_jax.curves.jobs import AGREEMENT, MIN_ACCEPTANCE
from slt_jax.estimators import Estimate, ladder_integration, multistate_bennett, with_step_bias
from slt_jax.estimators.diagnostics import Thresholds, judge_draws, r_hat
from slt_jax.samplers.sampling import Draws, SamplerSettings
from slt_jax.samplers.tempering import ParallelTemperingSettings
from slt_jax.samplers.waste_free import next_beta

# The share of ESS that the prior keeps at the first rung, and what each rung must keep at the next.
FIRST_ESS = 0.5
MIN_OVERLAP = 0.05
HOTTEST = 0.25
# What is so many nats below the largest weight has none.
NEGLIGIBLE = 100.0
# Bennett's equations ask less of the rungs before the last.
MAX_R_HAT_OF_A_RUNG = 1.1

Floats = NDArray[np.float64]


class FreeEnergy(NamedTuple):
    """F_n(β) − βnL_n(w₀), total nats, with a ``reason`` that is empty if it has converged."""

    estimate: Estimate
    reason: str


def free_energy_along(
    draws: Draws,
    rungs: Floats,
    prior: Floats,
    beta: float,
    max_divergent: float = Thresholds().max_divergent,
) -> FreeEnergy:
    """Join the draws of one data set at its ``rungs`` [M] and energies of the prior [chain, draw].

    Energies are those of data scaled by β. Bennett's equations join the rungs, and integration over
    β must give the same. ``max_divergent`` as in ``diagnostics.Thresholds``.
    """
    if nans := int(np.sum(np.isnan(prior))):
        reason = f"log-likelihood NaN at {nans} of {prior.size} draws of the prior"
        return FreeEnergy(_unknown(len(prior)), reason)
    estimate, wrong = _joined(draws, rungs, beta, prior)
    wrong = [*disagreements(draws, beta * rungs, max_divergent), *wrong]
    return FreeEnergy(estimate, "; ".join(wrong))


def ladder_of(prior: Floats, dimension: int, sampler: SamplerSettings) -> Floats:
    """Rungs b [M] up to 1, equally far apart in log b from the first that the prior reaches.

    Energies at b are about λ/b ± √λ/b with λ ≤ d/2: what neighbours in log b have in common depends
    on d alone. M is odd, as integration wants it with the prior, and one of few numbers, since each
    is compiled. Parallel tempering has no more rungs than temperatures between those of its own.
    """
    energies = jnp.asarray(np.where(np.isnan(prior), np.inf, prior).ravel(), jnp.result_type(float))
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

    def ofladder_of(energies: Any) -> Floats:
        places = np.linspace(0, energies.shape[-1] - 1, kept).round().astype(int)
        of_rungs = np.moveaxis(energies[..., places], 1, 0).reshape(len(rungs), chains, kept)
        return np.concatenate([hot[None], of_rungs])

    ladder = ofladder_of(draws.energies)
    try:
        estimate, integral = _last_ratio(ladder, betas), ladder_integration(ladder, betas)
        if draws.coarse_energies is not None:
            coarse = _last_ratio(ofladder_of(draws.coarse_energies), betas)
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


def chains_at(energies: Any, rung: int) -> Any:
    """The energies of all runs at one rung as chains [S · C, D]; None stays None."""
    return None if energies is None else energies[:, rung].reshape(-1, energies.shape[-1])


def disagreements(
    draws: Draws, betas: Floats, max_divergent: float = Thresholds().max_divergent
) -> list[str]:
    """List what is wrong with chains: at the last rung all that ``judge`` sees, before it R̂.

    Runs are not compared as wholes: each has chains from all over the prior, and the means of such
    groups agree whether or not a chain has left the place where it began.
    """
    limits = Thresholds(min_acceptance=MIN_ACCEPTANCE, max_divergent=max_divergent)
    judged = judge_draws(draws, thresholds=limits)
    wrong = [] if judged.converged else [judged.reason]
    for rung, beta in enumerate(betas[:-1]):
        worst = float(r_hat(chains_at(draws.energies, rung)))
        if not worst <= MAX_R_HAT_OF_A_RUNG:
            wrong.append(f"chains disagree at beta = {beta:.3g}: R-hat {worst:.2f}")
            break
    return wrong

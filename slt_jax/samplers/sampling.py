"""The interface that all samplers share: settings that know how to run, and draws of one shape."""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
from jax import Array

from slt_jax.samplers.arguments import (
    check_positions,
    check_run,
    check_step_size,
    checked_betas,
)
from slt_jax.samplers.target import Target
from slt_jax.validation import check_key

# Of samplers that have moves which lead out of where their step diverges: see
# ``estimators.diagnostics.Thresholds``.
MAX_DIVERGENT = 0.2


class Evidence(NamedTuple):
    """The evidence of S runs, and the paths of T temperatures from the prior that lead to it.

    Energies are nL_n(w) − nL_n(w₀) in total nats. ``log_evidence`` [S] is −(F_n − nL_n(w₀)), NaN
    where β = 1 was not reached; the mean of its exponential over runs is unbiased.
    ``num_temperatures`` [S] is the length of a path; ``beta``, ``mean_energy``,
    ``energy_variance`` and ``acceptance`` [S, T] are NaN from there on, and ``first_log_weight``
    [S] is the log mean weight of the prior draws at the first β: what
    ``estimators.thermodynamic_integration`` takes. ``best_position`` [S, d] has the lowest energy
    on the path, ``best_energy`` [S]. ``num_nan`` [S] counts the log-likelihoods that were NaN where
    they ended a run.
    """

    log_evidence: Array
    num_temperatures: Array
    beta: Array
    mean_energy: Array
    energy_variance: Array
    acceptance: Array
    first_log_weight: Array
    best_position: Array
    best_energy: Array
    num_nan: Array


class Draws(NamedTuple):
    """Draws of C chains at B temperatures in S runs, the common result of all samplers.

    ``energies`` [S, B, C, D] are nL_n(w) − nL_n(w₀) in total nats; ``positions`` [S, B, C, d] where
    each chain ended; ``acceptance`` [S, B, C], the mean probability of accepting a move (for SGLD,
    that of MALA with the same step); ``num_divergent`` [S, B, C], draws on the way to which a move
    lost more than 1000 nats or left the finite numbers. ``coarse_energies`` [S, B, C, D] are those
    of SGLD with twice the step, None for samplers without a bias: ``diagnostics.judge`` compares
    both, and ``estimators.mean_over_chains`` makes their difference a part of the error.
    ``evidence`` is None for samplers that have none. ``kept_positions`` [S, B, C, D, d] are where
    the draws have the energies, None unless they were asked for.
    """

    energies: Array
    positions: Array
    acceptance: Array
    num_divergent: Array
    coarse_energies: Array | None = None
    evidence: Evidence | None = None
    kept_positions: Array | None = None


class Start(NamedTuple):
    """The first positions [S, C, d] of the chains of S runs, and a step size.

    ``step_size`` is the first of SMC, in standard deviations of its population, and that of SGLD,
    in units of its reference step; the others have one to begin with in their settings and tune it.
    """

    positions: Array
    step_size: Array | float | None = None


class SamplerSettings(Protocol):
    """Settings of a sampler: a hashable tuple of shapes and aims that knows how to run."""

    def run(
        self,
        target: Target,
        keys: Array,
        statistics: Any,
        betas: Array,
        start: Start,
        keep_positions: bool = False,
    ) -> Draws:
        """Draw from φ(w) exp(β · log_likelihood(w, statistics)) in S independent runs.

        ``keys`` [S]; ``betas`` [B] increase. With ``keep_positions`` the positions of all draws are
        returned too. Under ``jit`` the settings, the target and this flag are static, and ``vmap``
        over the rest serves many data sets. Raises ValueError as ``draw_posterior`` does.
        """
        ...


def draw_posterior(
    target: Target,
    settings: SamplerSettings,
    key: Array,
    data: Any,
    betas: Array,
    initial_positions: Array,
    step_size: Array | float | None = None,
    keep_positions: bool = False,
) -> Draws:
    """Draw from φ(w) exp(β · log_likelihood(w, data)) at each of the increasing ``betas`` [B].

    This is one run of ``settings``, whose draws have no axis [S]. SMC and parallel tempering go
    through all β in one run, which for SMC must end at β = 1; the others run once for each.
    ``initial_positions`` [chain, d] start the chains; SMC starts from the prior instead, and its
    chains are those of its last population at a β. ``step_size`` as in ``Start``, and
    ``keep_positions`` as in ``SamplerSettings.run``. Under ``jit`` the first two arguments and the
    last are static. Raises ValueError for settings out of range, a target or data of another kind,
    β that are negative, not finite or do not increase, positions that are not finite or of another
    dimension, and a step size that is not positive and finite.
    """
    dimension = check_run(settings, target, data)
    check_key("key", key)
    check_positions(initial_positions, dimension)
    checked_betas(betas)
    check_step_size(step_size)
    start = Start(jnp.asarray(initial_positions)[None], step_size)
    draws = settings.run(target, key[None], data, betas, start, keep_positions)
    return jax.tree.map(lambda leaf: leaf[0], draws)


def by_chain(kept: Array | None) -> Array | None:
    """Return positions [draw, chain, d] as [chain, draw, d], and None where none were kept."""
    return None if kept is None else jnp.swapaxes(kept, 0, 1)


def run_each_beta(
    run: Callable[[Array, Array, Array], Draws], keys: Array, betas: Array, start: Array
) -> Draws:
    """Run a sampler of one temperature once for each of the ``keys`` [S] and ``betas`` [B].

    ``run`` maps a key, β and the first positions [C, d] of a run to its draws, without the axes
    [S, B]. All runs are one batch, since every nesting would batch each loop again.
    """
    betas = checked_betas(betas)
    shape = (len(keys), len(betas))
    split = jax.vmap(lambda key: jax.random.split(key, len(betas)))(keys)
    run_keys = split.reshape(-1, *split.shape[2:])
    # What does not depend on β is computed once where there is one run only.
    one_run = shape[0] == 1
    starts = start[0] if one_run else jnp.repeat(start, shape[1], axis=0)
    batched = jax.vmap(run, (0, 0, None if one_run else 0))
    draws = batched(run_keys, jnp.tile(betas, shape[0]), starts)
    return jax.tree.map(lambda leaf: leaf.reshape(*shape, *leaf.shape[1:]), draws)

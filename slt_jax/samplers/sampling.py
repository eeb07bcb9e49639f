"""All samplers behind one call: the type of the settings says which, and all return the same."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from slt_jax.samplers.chees import ChEESSettings, chees
from slt_jax.samplers.mala import MALASettings, mala
from slt_jax.samplers.nuts import NUTSSettings, nuts
from slt_jax.samplers.sgld import SGLDResult, SGLDSettings, reference_step, sgld
from slt_jax.samplers.smc import SMCSettings, tempered_smc
from slt_jax.samplers.target import Target
from slt_jax.samplers.tempering import ParallelTemperingSettings, parallel_tempering

SamplerSettings = (
    SMCSettings
    | ChEESSettings
    | NUTSSettings
    | SGLDSettings
    | MALASettings
    | ParallelTemperingSettings
)


SMC_STEP = 0.3
SGLD_STEP = 1.0


class Draws(NamedTuple):
    """Of B temperatures: what C chains of D draws have in common, whatever made them.

    ``energies`` [B, C, D] are nL_n(w) − nL_n(w₀) in total nats; ``positions`` [B, C, d] where each
    chain ended; ``acceptance`` [B, C], the mean probability of accepting a move (of SGLD, what
    MALA's would have been); ``num_divergent`` [B, C], draws on the way to which a move lost more
    than 1000 nats or left the finite numbers. ``coarse_energies`` [B, C, D] are those of SGLD with
    twice the step, None for samplers without a bias: ``diagnostics.judge`` compares both, and
    ``estimators.mean_over_chains`` makes their difference a part of the error.
    """

    energies: Array
    positions: Array
    acceptance: Array
    num_divergent: Array
    coarse_energies: Array | None = None


def draw_posterior(
    target: Target,
    settings: SamplerSettings,
    key: Array,
    data: Any,
    betas: Array,
    initial_positions: Array,
    step_size: Array | float | None = None,
) -> Draws:
    """Draws from φ(w) exp(β · log_likelihood(w, data)) at each of the increasing ``betas`` [B].

    SMC and parallel tempering go through all of them in one run, which for SMC must end at β = 1;
    the others run once for each. ``initial_positions`` [chain, d] start the chains; SMC starts from
    the prior instead, and its chains are those of its last population at a β. ``step_size`` is the
    first of SMC, in standard deviations of its population (0.3 by default), and that of SGLD, of
    which its error is a multiple, in units of the step that ``reference_step`` finds for each β (1
    by default). The others have one to begin with in their settings and tune it. Under ``jit`` the
    first two arguments are static. Raises ValueError for settings or shapes out of range, and
    TypeError for settings of no sampler.
    """
    betas = jnp.asarray(betas, jnp.result_type(float))
    if betas.ndim != 1 or len(betas) < 1:
        raise ValueError(f"betas has shape {betas.shape}; allowed is [B] with B ≥ 1")
    if isinstance(settings, SMCSettings):
        first_step = jnp.asarray(SMC_STEP if step_size is None else step_size)
        runs = tempered_smc(target, settings, key[None], data, betas, first_step)
        smc = jax.tree.map(lambda leaf: leaf[0], runs)
        shape = (len(betas), settings.num_chains)
        return Draws(
            energies=jnp.swapaxes(smc.node_energies, 1, 2),
            positions=smc.node_positions[:, -1],
            acceptance=jnp.broadcast_to(jnp.nanmean(smc.acceptance), shape),
            num_divergent=jnp.sum(~jnp.isfinite(smc.node_energies), axis=1),
        )
    if isinstance(settings, ParallelTemperingSettings):
        run = parallel_tempering(target, settings, key, data, betas, initial_positions)
        rows = jnp.argmin(jnp.abs(run.beta - betas[:, None]), axis=1)
        return Draws(
            run.energies[rows], run.positions[rows], run.acceptance[rows], run.num_divergent[rows]
        )

    def one(run_key: Array, beta: Array) -> Draws:
        return _one_temperature(target, settings, run_key, data, beta, initial_positions, step_size)

    return jax.vmap(one)(jax.random.split(key, len(betas)), betas)


def _one_temperature(
    target: Target,
    settings: SamplerSettings,
    key: Array,
    data: Any,
    beta: Array,
    initial_positions: Array,
    step_size: Array | float | None,
) -> Draws:
    match settings:
        case ChEESSettings():
            tuned = chees(target, settings, key, data, beta, initial_positions)
            return Draws(tuned.energies, tuned.positions, tuned.acceptance, tuned.num_divergent)
        case MALASettings():
            langevin = mala(target, settings, key, data, beta, initial_positions)
            return Draws(
                langevin.energies, langevin.positions, langevin.acceptance, langevin.num_divergent
            )
        case NUTSSettings():
            trees = nuts(target, settings, key, data, beta, initial_positions)
            return Draws(
                trees.energies, trees.positions[:, -1], trees.acceptance, trees.num_divergent
            )
        case SGLDSettings():
            return _langevin(target, settings, key, data, beta, initial_positions, step_size)
    raise TypeError(f"settings of type {type(settings).__name__}; allowed are those of a sampler")


def _langevin(
    target: Target,
    settings: SGLDSettings,
    key: Array,
    data: Any,
    beta: Array,
    initial_positions: Array,
    step_size: Array | float | None,
) -> Draws:
    """SGLD with the step that was asked for, and with twice that as a measure of its bias."""
    with_prior = settings._replace(with_prior=True)
    centre = jnp.zeros(jnp.shape(initial_positions)[1])
    tune_key, draw_key = jax.random.split(key)
    unit, positions = reference_step(
        target, with_prior, tune_key, data, beta, 0.0, centre, initial_positions
    )
    relative = jnp.asarray(SGLD_STEP if step_size is None else step_size, unit.dtype)

    def run(run_key: Array, step: Array) -> SGLDResult:
        return sgld(target, with_prior, run_key, data, beta, 0.0, centre, step, positions)

    steps = relative * unit * jnp.array([1.0, 2.0], unit.dtype)
    both = jax.vmap(run)(jax.random.split(draw_key), steps)
    walk = jax.tree.map(lambda leaf: leaf[0], both)
    return Draws(
        walk.energies, walk.positions, walk.acceptance, walk.num_divergent, both.energies[1]
    )

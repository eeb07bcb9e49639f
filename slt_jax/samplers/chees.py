"""Many-chain HMC whose step size and trajectory length all chains learn together.

ChEES adapts one step size and one trajectory length for the whole ensemble during warm-up (Hoffman,
Radul & Sountsov, AISTATS 2021) and jitters the length with a Halton sequence that all chains share:
chains take equally many gradients per draw, so that a thousand cost what one does on an
accelerator. Chains may be shorter than their autocorrelation: nested R̂ tells whether they agree.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array

from slt_jax.samplers.arguments import check_positions, check_run, check_scalar
from slt_jax.samplers.ensemble import Density
from slt_jax.samplers.hmc import (
    Chains,
    chains_at,
    hmc_move,
    one_move_noise,
    relative_lengths,
)
from slt_jax.samplers.kernels import chees_module
from slt_jax.samplers.sampling import MAX_DIVERGENT, Draws, Start, by_chain, run_each_beta
from slt_jax.samplers.target import Target, tempered_density
from slt_jax.validation import Count, NonNegative, Positive, Probability, check_key

SETTLING = 4


class ChEESSettings(NamedTuple):
    """Settings of many-chain HMC: shapes and aims of a run; a change recompiles.

    ``num_warmup`` draws adapt, a quarter as many follow with what they learnt, and all of them are
    dropped. A trajectory has at most ``max_num_steps`` steps.
    ``initial_step_size`` and ``learning_rate``, Adam's for the logarithm of the trajectory
    length, are where adaptation starts and how fast it goes. ``diagonal_mass_matrix`` scales
    every coordinate by its variance over the ensemble in the second half of warm-up, one chain
    after the other: dear with thousands of chains, worth it where scales differ much.
    """

    num_warmup: Count = 300
    num_draws: Count = 100
    max_num_steps: Count = 100
    target_acceptance: Probability = 0.651
    initial_step_size: Positive = 0.1
    learning_rate: Positive = 0.05
    diagonal_mass_matrix: bool = False

    @property
    def max_divergent(self) -> float:
        """The share of draws that may diverge, since shorter moves lead out of where they do."""
        return MAX_DIVERGENT

    def run(
        self,
        target: Target,
        keys: Array,
        statistics: Any,
        betas: Array,
        start: Start,
        keep_positions: bool = False,
    ) -> Draws:
        """Run once for each key and β; see ``SamplerSettings.run``. The step size is tuned."""

        def one(key: Array, beta: Array, positions: Array) -> Draws:
            result = chees(target, self, key, statistics, beta, positions, keep_positions)
            return Draws(
                result.energies,
                result.positions,
                result.acceptance,
                result.num_divergent,
                kept_positions=result.kept_positions,
            )

        return run_each_beta(one, keys, betas, start.positions)


class ChEESResult(NamedTuple):
    """Draws of one run, without those of its warm-up.

    ``energies`` [chain, draw] are nL_n(w) − nL_n(w₀) in total nats and ``positions`` [chain, d]
    where the chains ended. Per chain [chain]: ``acceptance``, the mean acceptance probability of
    draws whose step was not shortened, NaN if all were; ``num_divergent``, draws whose trajectory
    lost more than 1000 nats. Of all chains []:
    ``step_size`` and ``trajectory_length`` (step size × longest number of steps) after warm-up;
    ``num_steps``, the mean number of gradients per draw. ``kept_positions`` [chain, draw, d] of all
    draws, None unless asked for.
    """

    energies: Array
    positions: Array
    acceptance: Array
    num_divergent: Array
    step_size: Array
    trajectory_length: Array
    num_steps: Array
    kept_positions: Array | None = None


def chees(
    target: Target,
    settings: ChEESSettings,
    key: Array,
    data: Any,
    beta: Array | float,
    initial_positions: Array,
    keep_positions: bool = False,
) -> ChEESResult:
    """Draw from φ(w) exp(β · log_likelihood(w, data)) with one chain per initial position.

    ``initial_positions`` has shape [chain, d] with at least two chains, best dispersed: draws
    from the prior. Everything is sampled in JAX's default float type. Under ``jit`` the first
    two arguments are static; ``vmap`` over the others for many jobs, each of which then waits
    for the longest trajectory among them. Several independent runs of one job, over keys [run]
    and initial positions [run, chain, d], return energies [run, chain, draw], which is what
    ``diagnostics.nested_r_hat`` takes; chains of one run share their adaptation, and so are
    not runs. Raises ValueError for settings or shapes out of range.

    Source: Hoffman, Radul & Sountsov, An adaptive-MCMC scheme for setting trajectory lengths in
    Hamiltonian Monte Carlo, AISTATS 2021; blackjax.chees_adaptation.
    """
    dimension = check_run(settings, target, data)
    check_key("key", key)
    check_scalar("beta", beta, NonNegative)
    check_positions(initial_positions, dimension, 2)
    dtype = jnp.result_type(float)
    positions = jnp.asarray(initial_positions, dtype)
    density = tempered_density(target, data, jnp.asarray(beta, dtype))
    warmup_key, draw_key = jax.random.split(key)
    warmed, tuned = _adapted(settings, density, warmup_key, positions)
    # blackjax bounds the length while it adapts, and returns an average that nothing bounds.
    longest = jnp.clip(tuned["integration_steps_params"][0], 1, settings.max_num_steps)
    chains, traces = _drawn(settings, density, draw_key, warmed, tuned, longest, keep_positions)
    energies, accepted, whole, divergent, steps, kept = traces
    return ChEESResult(
        energies=energies.T,
        positions=chains.positions,
        acceptance=jnp.sum(accepted, axis=0) / jnp.sum(whole, axis=0),
        num_divergent=jnp.sum(divergent, axis=0),
        step_size=tuned["step_size"],
        trajectory_length=longest * tuned["step_size"],
        num_steps=jnp.mean(steps),
        kept_positions=by_chain(kept),
    )


def _adapted(settings: ChEESSettings, density: Density, key: Array, positions: Array) -> Any:
    """Warm the chains up: where they are then, and what they have learnt, as blackjax has it."""
    adaptation = chees_module().chees_adaptation(
        lambda w: density(w)[0],
        len(positions),
        target_acceptance_rate=settings.target_acceptance,
        max_leapfrog_steps=settings.max_num_steps,
        adaptation_info_fn=lambda *_: None,
        mass_matrix_estimation="diagonal" if settings.diagonal_mass_matrix else None,
    )
    adapted, _ = adaptation.run(
        key,
        positions,
        jnp.asarray(settings.initial_step_size, positions.dtype),
        optax.adam(settings.learning_rate),
        settings.num_warmup,
        max_sampling_steps=settings.num_draws,
    )
    return adapted


def _drawn(
    settings: ChEESSettings,
    density: Density,
    key: Array,
    warmed: Any,
    tuned: Any,
    longest: Array,
    keep_positions: bool,
) -> tuple[Chains, Any]:
    """Draw with constant settings: the chains at the end, and the trace of every draw."""
    start = chains_at(density, warmed.position)
    scale = jnp.sqrt(tuned["inverse_mass_matrix"])
    # The jitter goes on where the warm-up left it, and is that of all chains.
    first_turn = warmed.random_generator_arg[0]

    def draw(chains: Chains, inputs: tuple[Array, Array]) -> tuple[Chains, Any]:
        index, step_key = inputs
        num_steps = tuned["integration_steps_fn"](first_turn + index, longest)
        noise_key, length_key = jax.random.split(step_key)
        noise = one_move_noise(noise_key, chains.positions)
        length = relative_lengths(length_key, chains.log_density.shape, scale.dtype)
        step_size = tuned["step_size"] * length
        chains, info = hmc_move(density, chains, noise, step_size, scale, num_steps)
        whole = length == 1
        accepted = jnp.where(whole, info.acceptance, 0.0)
        kept = chains.positions if keep_positions else None
        return chains, (-chains.log_likelihood, accepted, whole, info.divergent, num_steps, kept)

    # In the warm-up all steps were of one length: what it left behind has time to follow.
    settling = settings.num_warmup // SETTLING
    total = settling + settings.num_draws
    chains, traces = jax.lax.scan(draw, start, (jnp.arange(total), jax.random.split(key, total)))
    return chains, jax.tree.map(lambda leaf: leaf[settling:], traces)

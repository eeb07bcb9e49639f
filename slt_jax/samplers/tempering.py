"""Non-reversible parallel tempering: every temperature at once, each helping the next.

Replicas stand at increasing β from the prior (β = 0, drawn afresh at every sweep) to the
posterior (β = 1). After a trajectory of HMC at each β, neighbours are exchanged with
Metropolis's probability, even pairs and odd pairs *in turn*: unlike a random choice of pairs this
carries a replica straight through the ladder, so that the time of a round trip does not grow with
the number of temperatures. The ladder is tuned until all pairs are rejected equally often.

Source: Syed, Bouchard-Côté, Deligiannidis & Doucet, Non-reversible parallel tempering: a scalable
highly parallel MCMC scheme, JRSS B 84, 2022.
"""

import functools
from collections.abc import Callable
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from slt_jax.samplers.arguments import check_positions, check_run, checked_betas
from slt_jax.samplers.ensemble import drawn_once
from slt_jax.samplers.hmc import (
    Chains,
    MoveInfo,
    Noise,
    chains_at,
    hmc_move,
    one_move_noise,
    scale_of,
)
from slt_jax.samplers.sampling import MAX_DIVERGENT, Draws, Start
from slt_jax.samplers.target import Target, tempered_density
from slt_jax.validation import (
    Above,
    AtLeast,
    Count,
    Positive,
    Within,
    check_key,
    increasing,
    is_traced,
)

TARGET_ACCEPTANCE = 0.75
STEP_SIZE_GAIN = 1.0
FIRST_LADDER_POWER = 5.0
TINY = 1e-30


class ParallelTemperingSettings(NamedTuple):
    """Settings of parallel tempering: shapes of a run; a change recompiles.

    ``num_temperatures`` β from 0 to 1; ``num_rounds`` of ``round_length`` sweeps tune the ladder,
    the step sizes and the scales and are dropped; then every sweep is a draw until there are
    ``num_draws``. A sweep is a trajectory of ``num_integration_steps`` at each β and an exchange.
    """

    num_temperatures: Annotated[int, AtLeast(3)] = 16
    num_rounds: Count = 8
    round_length: Annotated[int, AtLeast(2)] = 50
    num_draws: Count = 500
    num_integration_steps: Count = 6
    initial_step_size: Positive = 0.3

    @property
    def max_divergent(self) -> float:
        """The share of draws that may diverge, since exchanges lead out of where they do."""
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
        """Run all β at once for each key; see ``SamplerSettings.run``. Step sizes are tuned."""
        betas = checked_betas(betas)

        def one(key: Array, positions: Array) -> Draws:
            result = parallel_tempering(
                target, self, key, statistics, betas, positions, keep_positions
            )
            rows = jnp.argmin(jnp.abs(result.beta - betas[:, None]), axis=1)
            return Draws(
                result.energies[rows],
                result.positions[rows],
                result.acceptance[rows],
                result.num_divergent[rows],
                kept_positions=result.kept_positions[rows] if keep_positions else None,
            )

        return jax.vmap(one)(keys, start.positions)


class ParallelTemperingResult(NamedTuple):
    """Draws of one run after its tuning: T temperatures, C chains (ladders), D draws.

    ``beta`` [T] increases from 0 to 1, with the β asked for among them. ``energies`` [T, C, D] are
    nL_n(w) − nL_n(w₀) in total nats, and ``positions`` [T, C, d] where the replicas ended.
    ``acceptance`` [T, C] of trajectories (1 at β = 0) and ``num_divergent`` [T, C], draws whose
    trajectory lost more than 1000 nats; ``rejection`` [T − 1] of exchanges between neighbours, NaN
    if none was tried; ``round_trips`` [C], how many replicas went from β = 0 to 1 and came back;
    ``step_size`` [T]. ``kept_positions`` [T, C, D, d] of all draws, None unless asked for.
    """

    beta: Array
    energies: Array
    positions: Array
    acceptance: Array
    num_divergent: Array
    rejection: Array
    round_trips: Array
    step_size: Array
    kept_positions: Any = None

    @property
    def barrier(self) -> Array:
        """The communication barrier Λ = Σ rejection: a round trip takes about 2 + 2Λ sweeps."""
        return jnp.sum(self.rejection, axis=-1)


class _Tuning(NamedTuple):
    """All that is tuned: ``beta`` [T], ``step_size`` [T] and ``scale`` [T, d]."""

    beta: Array
    step_size: Array
    scale: Array


class _State(NamedTuple):
    """The replicas: ``positions`` [T, C, d], and where they have been.

    ``upward`` and ``arrived`` [T, C] say whether a replica was last at β = 0, and whether it has
    come from there to β = 1 and not yet gone back.
    """

    positions: Array
    upward: Array
    arrived: Array


class _Sweep(NamedTuple):
    """The trace of one sweep.

    ``log_likelihood`` [T, C] after the exchange; ``rejection`` and ``tried`` [T − 1] by pair of
    neighbours; ``returned`` [C] counts round trips that ended.
    """

    log_likelihood: Array
    info: MoveInfo
    rejection: Array
    tried: Array
    returned: Array


def parallel_tempering(
    target: Target,
    settings: ParallelTemperingSettings,
    key: Array,
    data: Any,
    betas: Array,
    initial_positions: Array,
    keep_positions: bool = False,
) -> ParallelTemperingResult:
    """Draw at all temperatures from the prior to β = 1, with one ladder per initial position.

    The density at β is φ(w) exp(β · log_likelihood(w, data)).
    ``betas`` [B] in (0, 1] are put into the ladder in place of the nearest of it, so that there are
    draws at exactly these. ``initial_positions`` [chain, d] start every temperature. Everything is
    sampled in JAX's default float type. Under ``jit`` the first two arguments are static; ``vmap``
    over the others for many jobs. Raises ValueError for arguments out of range.

    Source: Syed et al. 2022, algorithms 1 and 4.
    """
    dimension = check_run(settings, target, data)
    check_key("key", key)
    check_positions(initial_positions, dimension)
    _check_betas(settings, betas)
    dtype = jnp.result_type(float)
    start = jnp.asarray(initial_positions, dtype)
    betas = jnp.asarray(betas, dtype)
    tune_key, draw_key = jax.random.split(key)
    sweep = functools.partial(_sweep, target, settings, data)
    tuning, state = _tuned(settings, sweep, tune_key, betas, start)

    def draw(state: _State, inputs: tuple[Array, Array]) -> tuple[_State, Any]:
        state, trace = sweep(tuning, state, *inputs)
        return state, (trace, state.positions if keep_positions else None)

    state, (done, kept) = jax.lax.scan(
        draw,
        state,
        (jnp.arange(settings.num_draws), jax.random.split(draw_key, settings.num_draws)),
    )
    return ParallelTemperingResult(
        beta=tuning.beta,
        energies=-jnp.moveaxis(done.log_likelihood, 0, -1),
        positions=state.positions,
        acceptance=jnp.mean(done.info.acceptance, axis=0).at[0].set(1.0),
        num_divergent=jnp.sum(done.info.divergent, axis=0).at[0].set(0),
        rejection=jnp.sum(done.rejection, axis=0) / jnp.sum(done.tried, axis=0),
        round_trips=jnp.sum(done.returned, axis=0),
        step_size=tuning.step_size,
        kept_positions=None if kept is None else jnp.moveaxis(kept, 0, 2),
    )


def _sweep(
    target: Target,
    settings: ParallelTemperingSettings,
    data: Any,
    tuning: _Tuning,
    state: _State,
    index: Array,
    key: Array,
) -> tuple[_State, _Sweep]:
    """Move all replicas by one trajectory, those at β = 0 to fresh draws of the prior; exchange."""
    levels, count, _ = state.positions.shape
    prior_key, noise_key, swap_key = jax.random.split(key, 3)
    fresh = drawn_once(jax.vmap(target.sample_prior)(jax.random.split(prior_key, count)))
    positions = state.positions.at[0].set(fresh.astype(state.positions.dtype))
    noise = jax.vmap(one_move_noise)(jax.random.split(noise_key, levels), positions)

    def at_level(beta: Array, w: Array, own: Noise, step: Array, scale: Array) -> Any:
        density = tempered_density(target, data, beta)
        chains = chains_at(density, w)
        return hmc_move(density, chains, own, step, scale, settings.num_integration_steps)

    chains, info = jax.vmap(at_level)(tuning.beta, positions, noise, tuning.step_size, tuning.scale)
    state = state._replace(positions=chains.positions)
    return _exchanged(tuning.beta, chains, info, state, index, swap_key)


def _tuned(
    settings: ParallelTemperingSettings,
    sweep: Callable[[_Tuning, _State, Array, Array], tuple[_State, _Sweep]],
    key: Array,
    betas: Array,
    start: Array,
) -> tuple[_Tuning, _State]:
    """Tune the ladder, step sizes and scales in all rounds; also returns the replicas then."""
    levels, dtype = settings.num_temperatures, start.dtype

    def tune(index: Array, carry: tuple[_Tuning, _State]) -> tuple[_Tuning, _State]:
        tuning, state = carry
        keys = jax.random.split(jax.random.fold_in(key, index), settings.round_length)

        def one(inner: Any, inputs: tuple[Array, Array]) -> Any:
            state, steps, rejections = inner
            state, done = sweep(tuning._replace(step_size=steps), state, *inputs)
            change = jnp.mean(done.info.acceptance, axis=1) - TARGET_ACCEPTANCE
            steps = steps * jnp.exp(STEP_SIZE_GAIN / (1 + index) * change)
            return (state, steps, rejections + done.rejection), state.positions

        (state, steps, rejections), visited = jax.lax.scan(
            one,
            (state, tuning.step_size, jnp.zeros(levels - 1, dtype)),
            (jnp.arange(settings.round_length), keys),
        )
        # The first half of a round may still remember the last ladder.
        scale = scale_of(jnp.var(visited[settings.round_length // 2 :], axis=(0, 2)))
        beta = _tuned_ladder(tuning.beta, 2 * rejections / settings.round_length, betas)
        return _Tuning(beta, steps, scale), state

    ladder = jnp.linspace(0, 1, levels, dtype=dtype) ** FIRST_LADDER_POWER
    tuning = _Tuning(
        _with_nodes(ladder, betas),
        jnp.full(levels, settings.initial_step_size, dtype),
        jnp.ones((levels, start.shape[1]), dtype),
    )
    nowhere = jnp.zeros((levels, len(start)), bool)
    state = _State(jnp.broadcast_to(start, (levels, *start.shape)), nowhere, nowhere)
    tuning, state = jax.lax.fori_loop(0, settings.num_rounds, tune, (tuning, state))
    return tuning, state._replace(upward=nowhere, arrived=nowhere)


def _exchanged(
    beta: Array, chains: Chains, info: MoveInfo, state: _State, index: Array, key: Array
) -> tuple[_State, _Sweep]:
    """Exchange pairs (t, t + 1), with t of the parity of ``index``, by Metropolis's rule.

    log α = (β_t − β_{t+1})(ℓ_{t+1} − ℓ_t); a likelihood of NaN is never accepted.
    """
    log_likelihood = chains.log_likelihood
    levels, count = log_likelihood.shape
    pairs = jnp.arange(levels - 1)
    tried = (pairs - index) % 2 == 0
    log_ratio = (beta[:-1] - beta[1:])[:, None] * (log_likelihood[1:] - log_likelihood[:-1])
    log_ratio = jnp.where(jnp.isnan(log_ratio), -jnp.inf, log_ratio)
    log_uniform = -drawn_once(jax.random.exponential(key, (levels - 1, count), log_ratio.dtype))
    swapped = tried[:, None] & (log_uniform < log_ratio)
    no_pair = jnp.zeros((1, count), bool)
    with_upper = jnp.concatenate([swapped, no_pair])
    with_lower = jnp.concatenate([no_pair, swapped])
    rows = jnp.arange(levels)[:, None] + with_upper - with_lower

    def exchange(leaf: Array) -> Array:
        index = rows.reshape(*rows.shape, *(1,) * (leaf.ndim - 2))
        return jnp.take_along_axis(leaf, index, axis=0)

    state = jax.tree.map(exchange, state)
    returned = state.arrived[0]
    arrived = (
        (state.arrived | (jnp.arange(levels) == levels - 1)[:, None] & state.upward)
        .at[0]
        .set(False)
    )
    upward = (state.upward & ~arrived).at[0].set(True)
    rejected = 1 - jnp.exp(jnp.minimum(log_ratio, 0.0))
    rejection = jnp.where(tried, jnp.mean(rejected, axis=1), 0.0)
    done = _Sweep(exchange(log_likelihood), info, rejection, tried, returned)
    return _State(state.positions, upward, arrived), done


def _tuned_ladder(beta: Array, rejection: Array, nodes: Array) -> Array:
    """Place β at equal steps of the interpolated barrier Λ(β) = Σ rejection, with the nodes put in.

    A floor keeps pairs that are never rejected from vanishing from the ladder.
    """
    barrier = jnp.concatenate([jnp.zeros(1, beta.dtype), jnp.cumsum(rejection + 1e-3)])
    wanted = jnp.linspace(0, barrier[-1], len(beta), dtype=beta.dtype)
    # In log β as far as it goes: the first steps span many decades.
    positive = jnp.log(jnp.maximum(beta[1:], TINY))
    inner = jnp.exp(jnp.interp(wanted[1:-1], barrier[1:], positive))
    first = beta[1] * wanted[1:-1] / barrier[1]
    inner = jnp.where(wanted[1:-1] < barrier[1], first, inner)
    ladder = jnp.concatenate([jnp.zeros(1, beta.dtype), inner, jnp.ones(1, beta.dtype)])
    return _with_nodes(ladder, nodes)


def _with_nodes(ladder: Array, nodes: Array) -> Array:
    """Put each node in place of the nearest inner β, in log β; 1 is there already."""

    def put(carry: tuple[Array, Array], node: Array) -> tuple[tuple[Array, Array], None]:
        ladder, free = carry
        distance = jnp.abs(jnp.log(jnp.maximum(ladder, TINY)) - jnp.log(node))
        nearest = jnp.argmin(jnp.where(free, distance, jnp.inf))
        inner = node < 1
        ladder = jnp.where(inner, ladder.at[nearest].set(node), ladder)
        return (ladder, jnp.where(inner, free.at[nearest].set(False), free)), None

    free = jnp.ones(len(ladder), bool).at[0].set(False).at[-1].set(False)
    (ladder, _), _ = jax.lax.scan(put, (ladder, free), nodes)
    return jnp.sort(ladder)


def _check_betas(settings: ParallelTemperingSettings, betas: Array) -> None:
    """Refuse β outside (0, 1] or that do not increase, and more than the ladder has room for."""
    room = settings.num_temperatures - 2
    if jnp.ndim(betas) != 1 or len(betas) > room:
        raise ValueError(
            f"betas has shape {jnp.shape(betas)}; allowed is [B] with at most "
            f"num_temperatures − 2 = {room}"
        )
    if len(betas) and not is_traced(betas):
        increasing("betas", betas, Annotated[float, Above(0), Within(0, 1)])

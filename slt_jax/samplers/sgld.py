"""Stochastic gradient Langevin dynamics, localised, for thousands of chains in one program.

Every chain takes Euler steps of the Langevin diffusion and none is rejected (Welling & Teh,
ICML 2011), so that what is sampled differs from the target by an error of the order of the step:
for a Gaussian of precision a, unit preconditioning and full gradients the variance comes out as
1/(a(1 − εa/4)). With full gradients a step costs one gradient, and the energy and the acceptance
probability that MALA would have given the step are by-products of it.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from slt_jax.samplers.hmc import DIVERGENCE, normal_rows
from slt_jax.samplers.target import Target
from slt_jax.statistics import WeightedData

NOISE_STEPS = 16
# What MALA would reject of the steps that are the unit of others. Far from where the posterior is
# rounding alone rejects more: on the way there more is allowed.
REFERENCE_REJECTION = 0.005
FIRST_REJECTION = 0.4
TUNING_ROUNDS = 40
STEPS_OF_A_ROUND = 20
# Less cannot be told from nothing in a round, and the step grows by no more than it says.
LEAST_REJECTION = 2.5e-4


class RMSProp(NamedTuple):
    """Preconditioning by G = 1/(damping + √V), V ← decay · V + (1 − decay) g², V₀ = 0.

    g is the gradient of the log density in total nats, so that G ≤ 1/``damping`` only shortens
    steps at the default. A G that keeps following the chain needs the drift ½ Σ_j ∂G/∂w_j, which
    Li et al. drop at the cost of a bias; with ``frozen`` V is learnt in the burn-in alone and
    then constant, which costs nothing but a burn-in.

    Source: Li, Chen, Carlson & Carin, Preconditioned SGLD for deep neural networks, AAAI 2016.
    """

    decay: float = 0.99
    damping: float = 1.0
    frozen: bool = True


class SGLDSettings(NamedTuple):
    """Shapes and options of a run; a change recompiles.

    ``num_burn_in`` steps are dropped, then every ``thinning``-th is kept until there are
    ``num_draws``. ``batch_size`` data make a gradient, all of them if it is None. ``with_prior``
    multiplies the density by φ(w). ``schedule`` maps the step (0 is the first of the burn-in) to
    a positive factor of the step size, as optax schedules do; like ``Target``, keep one.
    """

    num_burn_in: int = 500
    num_draws: int = 100
    thinning: int = 10
    batch_size: int | None = None
    with_prior: bool = False
    preconditioner: RMSProp | None = None
    schedule: Callable[[Array], Array | float] | None = None


class SGLDResult(NamedTuple):
    """One run; burn-in is not in it.

    ``energies`` [chain, draw] are nL_n(w) − nL_n(w₀) of all data in total nats, and
    ``positions`` [chain, d] where the chains ended. Per chain [chain]: ``acceptance``, the mean
    over draws of the probability with which MALA on all data would have accepted the step that
    led there (a step into NaN counts as 0): far below 1 the step is too long; ``num_divergent``,
    draws that are not finite or whose last step would have lost MALA more than 1000 nats;
    ``diverged``, whether a kept energy or the last position is not finite, after which no number of
    that chain means anything.
    """

    energies: Array
    positions: Array
    acceptance: Array
    num_divergent: Array
    diverged: Array


class _Walk(NamedTuple):
    """What a step needs of all chains; ``gradient`` is of the log density of all data.

    With minibatches it is zero, since each step draws its own.
    """

    positions: Array
    gradient: Array
    second_moment: Array


class _State(NamedTuple):
    """Chains whose densities are known: ``log_density`` and ``log_likelihood`` [chain].

    With minibatches they are zeros, and computed for draws only.
    """

    walk: _Walk
    log_density: Array
    log_likelihood: Array


def sgld(
    target: Target,
    settings: SGLDSettings,
    key: Array,
    data: Any,
    beta: Array | float,
    gamma: Array | float,
    centre: Array,
    step_size: Array | float,
    initial_positions: Array,
) -> SGLDResult:
    """SGLD on exp(β · log_likelihood(w, data) − (γ/2)|w − w*|²), with one chain per position.

    A step is w ← w + (ε/2) G ∇log density(w) + √(εG) N(0, I), where ε is ``step_size`` times
    ``schedule`` and G = 1 without preconditioning. ``centre`` [d] is w*; ``initial_positions``
    has shape [chain, d]; β, γ and ε are scalars. The local learning coefficient is
    β(mean energy − energy at w*), d/2 at a regular minimum as nβ/γ → ∞.

    With ``batch_size`` every chain and step has its own minibatch, see ``subsample``, and
    ``data`` must be a WeightedData. Everything is sampled in JAX's default float type. Under
    ``jit`` the first two arguments are static; ``vmap`` over the others for many jobs. Raises
    ValueError for settings, shapes or data out of range.

    Source: Welling & Teh, Bayesian learning via stochastic gradient Langevin dynamics, ICML
    2011; Lau, Furman, Wang, Murfet & Wei, The local learning coefficient, AISTATS 2025.
    """
    _check(settings, data, centre, initial_positions)
    for name, value in (("beta", beta), ("gamma", gamma), ("step_size", step_size)):
        if jnp.ndim(value) != 0:
            raise ValueError(f"{name} has shape {jnp.shape(value)}; allowed is a scalar")
    dtype = jnp.result_type(float)
    positions, centre, beta, gamma, step_size = (
        jnp.asarray(value, dtype) for value in (initial_positions, centre, beta, gamma, step_size)
    )
    preconditioner = settings.preconditioner
    noise_key, batch_key = jax.random.split(key)

    def log_density(w: Array, of_data: Any) -> tuple[Array, Array]:
        log_likelihood = target.log_likelihood(w, of_data)
        total = beta * log_likelihood - gamma / 2 * jnp.sum((w - centre) ** 2)
        return total + target.log_prior(w) if settings.with_prior else total, log_likelihood

    value_and_grad = jax.value_and_grad(log_density, has_aux=True)

    def on_all_data(positions: Array, second_moment: Array) -> _State:
        (value, log_likelihood), gradient = jax.vmap(value_and_grad, (0, None))(positions, data)
        return _State(_Walk(positions, gradient, second_moment), value, log_likelihood)

    def minibatch_gradient(chain_key: Array, w: Array) -> Array:
        batch = subsample(data, chain_key, settings.batch_size or 0)
        return value_and_grad(w, batch)[1]

    def step_length(step: Array) -> Array:
        return step_size if settings.schedule is None else step_size * settings.schedule(step)

    def scale(second_moment: Array) -> Array | float:
        if preconditioner is None:
            return 1.0
        return 1 / (preconditioner.damping + jnp.sqrt(second_moment))

    def learn(second_moment: Array, gradient: Array, step: Array) -> Array:
        if preconditioner is None:
            return second_moment
        decay = preconditioner.decay
        learnt = decay * second_moment + (1 - decay) * gradient**2
        if not preconditioner.frozen:
            return learnt
        return jnp.where(step < settings.num_burn_in, learnt, second_moment)

    gradients = jax.vmap(jax.grad(log_density, has_aux=True), (0, None))

    def move(step: Array, noise: Array, walk: _Walk) -> _Walk:
        """One step of all chains; ``gradient`` is still that of where they came from."""
        gradient = walk.gradient
        if settings.batch_size is not None:
            keys = jax.random.split(jax.random.fold_in(batch_key, step), len(positions))
            gradient = jax.vmap(minibatch_gradient)(keys, walk.positions)
        second_moment = learn(walk.second_moment, gradient, step)
        scaled = step_length(step) * scale(second_moment)
        jolt = jnp.sqrt(scaled) * noise.reshape(positions.shape)
        moved = walk.positions + scaled / 2 * gradient + jolt
        return _Walk(moved, walk.gradient, second_moment)

    def advance(step: Array, noise: Array, walk: _Walk) -> _Walk:
        walk = move(step, noise, walk)
        if settings.batch_size is not None:
            return walk
        return walk._replace(gradient=gradients(walk.positions, data)[0])

    def advance_measured(step: Array, noise: Array, states: tuple[_State, _State]) -> Any:
        _, state = states
        walk = move(step, noise, state.walk)
        if settings.batch_size is not None:
            return state, state._replace(walk=walk)
        return state, on_all_data(walk.positions, walk.second_moment)

    def steps(advance_one: Any, start: Array, stop: Array, at_once: int, carry: Any) -> Any:
        def block(index: Array, carry: Any) -> Any:
            first = start + index * at_once
            key = jax.random.fold_in(noise_key, first)
            noise = normal_rows(key, at_once, positions.size, dtype)
            last = jnp.minimum(first + at_once, stop)
            return jax.lax.fori_loop(
                first, last, lambda step, c: advance_one(step, noise[step - first], c), carry
            )

        return jax.lax.fori_loop(0, -(-(stop - start) // at_once), block, carry)

    def draw(states: tuple[_State, _State], index: Array) -> tuple[Any, tuple[Array, ...]]:
        # Burn-in is part of the first draw: a loop of its own would compile every step again.
        stop = settings.num_burn_in + (index + 1) * settings.thinning
        start = jnp.where(index == 0, 0, stop - settings.thinning)
        # The acceptance of the last step needs the densities at both its ends, no others do.
        measured = jnp.maximum(start, stop - 2)
        at_once = max(1, min(NOISE_STEPS, settings.thinning - 2))
        walk = steps(advance, start, measured, at_once, states[1].walk)
        unmeasured = states[1]._replace(walk=walk)
        states = steps(advance_measured, measured, stop, 2, (states[0], unmeasured))
        before, after = states
        if settings.batch_size is not None:
            before = on_all_data(before.walk.positions, before.walk.second_moment)
            after = on_all_data(after.walk.positions, after.walk.second_moment)
        scaled = step_length(stop - 1) * scale(after.walk.second_moment)
        gain = _log_acceptance(before, after, scaled)
        lost = (gain < -DIVERGENCE) | ~jnp.isfinite(after.log_likelihood)
        return states, (-after.log_likelihood, jnp.exp(jnp.minimum(gain, 0.0)), lost)

    if settings.batch_size is None:
        first = on_all_data(positions, jnp.zeros_like(positions))
    else:
        none = jnp.zeros(len(positions), dtype)
        first = _State(_Walk(positions, *2 * (jnp.zeros_like(positions),)), none, none)
    (_, last), (energies, acceptance, lost) = jax.lax.scan(
        draw, (first, first), jnp.arange(settings.num_draws)
    )
    finite = jnp.isfinite(energies).all(axis=0) & jnp.isfinite(last.walk.positions).all(axis=1)
    return SGLDResult(
        energies=energies.T,
        positions=last.walk.positions,
        acceptance=jnp.mean(acceptance, axis=0),
        num_divergent=jnp.sum(lost, axis=0),
        diverged=~finite,
    )


def reference_step(
    target: Target,
    settings: SGLDSettings,
    key: Array,
    data: Any,
    beta: Array | float,
    gamma: Array | float,
    centre: Array,
    initial_positions: Array,
) -> tuple[Array, Array]:
    """The step of ``sgld`` of which MALA would reject 0.5 %, and where the chains then are.

    A step has the units of the square of a parameter, and how long it may be depends on the data:
    in units of this one, the same number means about the same bias whatever the units, n and β. For
    a Gaussian of precision a in three dimensions it is 0.06/a, and the variance 1.4 % too large.
    It is found in 40 rounds of 20 steps of the whole ensemble, as what is rejected grows with the
    power 3/2 of the step, and 40 % is allowed at first. The first round has the harmonic mean of
    the variance of the prior and the inverse square of the gradient, and chains that diverge go
    back to where their round began.

    Arguments and refusals as of ``sgld``; the schedule of the settings is left out.
    """
    short = settings._replace(
        num_burn_in=STEPS_OF_A_ROUND // 2,
        num_draws=STEPS_OF_A_ROUND // 2,
        thinning=1,
        schedule=None,
    )
    _check(short, data, centre, initial_positions)
    dtype = jnp.result_type(float)
    positions = jnp.asarray(initial_positions, dtype)
    prior_key, round_key = jax.random.split(key)
    prior = jax.vmap(target.sample_prior)(jax.random.split(prior_key, 64))

    def log_density(w: Array) -> Array:
        total = beta * target.log_likelihood(w, data) - gamma / 2 * jnp.sum((w - centre) ** 2)
        return total + target.log_prior(w) if settings.with_prior else total

    squares = jnp.mean(jax.vmap(jax.grad(log_density))(positions) ** 2, axis=1)
    squares = jnp.median(jnp.where(jnp.isfinite(squares), squares, jnp.inf))
    first = 1 / (1 / jnp.mean(jnp.var(prior, axis=0)) + squares)

    def tune(index: Array, carry: tuple[Array, Array]) -> tuple[Array, Array]:
        log_step, positions = carry
        run = sgld(
            target, short, jax.random.fold_in(round_key, index), data, beta, gamma, centre,
            jnp.exp(log_step), positions,
        )  # fmt: skip
        rejected = jnp.maximum(1 - jnp.mean(run.acceptance), LEAST_REJECTION)
        half = TUNING_ROUNDS // 2
        left = jnp.maximum(1 - index / half, 0.0)
        allowed = REFERENCE_REJECTION * (FIRST_REJECTION / REFERENCE_REJECTION) ** left
        # In the second half it settles as a mean of the rounds does.
        gain = 2 / 3 / (1 + jnp.maximum(index - half, 0))
        log_step = log_step + gain * jnp.log(allowed / rejected)
        kept = run.num_divergent == 0
        return log_step, jnp.where(kept[:, None], run.positions, positions)

    start = (jnp.log(first).astype(dtype), positions)
    log_step, positions = jax.lax.fori_loop(0, TUNING_ROUNDS, tune, start)
    return jnp.exp(log_step), positions


def subsample(data: WeightedData, key: Array, size: int) -> WeightedData:
    """``size`` data drawn with replacement and reweighted, so that weighted sums are unbiased.

    Datum i is drawn with probability |a_i|/Σ|a| and enters with weight sign(a_i) Σ|a|/size: for
    every function t of a datum E[Σ_batch a t] = Σ_i a_i t_i, whatever the weights. Unit weights
    give the usual n/size, and padding, of weight 0, is not drawn. ``reference``
    stays that of all data, which is the expectation of the batch's. Float32 resolves the
    probabilities to 2⁻²³: meant for n up to 10⁵.
    """
    sizes = jnp.abs(data.weights)
    total = jnp.sum(sizes)
    # Of no data at all there is nothing to draw, and any rows will do: they weigh 0.
    probabilities = jnp.where(total > 0, sizes, 1.0)
    rows = jax.random.choice(key, len(sizes), (size,), p=probabilities)
    drawn, weights = jax.tree.map(lambda leaf: jnp.asarray(leaf)[rows], (data.data, data.weights))
    return data._replace(data=drawn, weights=jnp.sign(weights) * total / size)


def _log_acceptance(before: _State, after: _State, scaled: Array) -> Array:
    """log α [chain] of MALA for w → w′ by steps εG = ``scaled``, −∞ for NaN; it accepts min(α, 1).

    log α = log π(w′) − log π(w) − ½(g + g′)·(w′ − w) + (1/8) Σ εG(g² − g′²): the squares of the
    noise in the two proposal densities have been cancelled.
    """
    old, new = before.walk, after.walk
    moved = new.positions - old.positions
    trapezium = jnp.sum((old.gradient + new.gradient) * moved, axis=1) / 2
    squares = jnp.sum(scaled * (old.gradient**2 - new.gradient**2), axis=1) / 8
    log_ratio = after.log_density - before.log_density - trapezium + squares
    return jnp.where(jnp.isnan(log_ratio), -jnp.inf, log_ratio)


def _check(settings: SGLDSettings, data: Any, centre: Array, initial_positions: Array) -> None:
    shape = jnp.shape(initial_positions)
    if len(shape) != 2 or shape[0] < 1:
        raise ValueError(f"initial_positions has shape {shape}; allowed is [chain, d]")
    if jnp.shape(centre) != shape[1:]:
        raise ValueError(f"centre has shape {jnp.shape(centre)}; allowed is {shape[1:]}")
    if settings.num_burn_in < 0 or settings.num_draws < 1 or settings.thinning < 1:
        raise ValueError(
            f"{settings}: num_burn_in must be at least 0, num_draws and thinning at least 1"
        )
    if settings.batch_size is not None:
        if not isinstance(data, WeightedData):
            raise ValueError(
                f"batch_size {settings.batch_size} with data of type {type(data).__name__}; "
                "allowed is WeightedData, or batch_size None"
            )
        if not 1 <= settings.batch_size <= len(data.weights):
            raise ValueError(
                f"batch_size {settings.batch_size} must lie between 1 and the "
                f"{len(data.weights)} rows of the data"
            )
    preconditioner = settings.preconditioner
    if preconditioner is not None:
        if not (0 <= preconditioner.decay < 1 and preconditioner.damping > 0):
            raise ValueError(f"{preconditioner}: decay must lie in [0, 1) and damping be positive")
        if preconditioner.frozen and settings.num_burn_in == 0:
            raise ValueError(f"{preconditioner} with num_burn_in 0: frozen must have a burn-in")

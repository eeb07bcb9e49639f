"""The steps of Langevin dynamics that ``sgld`` takes, with all chains as one axis."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from slt_jax.samplers.ensemble import gradients, values_and_gradients
from slt_jax.samplers.hmc import DIVERGENCE, normal_rows
from slt_jax.samplers.target import Target

if TYPE_CHECKING:
    from slt_jax.samplers.sgld import SGLDSettings

NOISE_STEPS = 16


class _Walk(NamedTuple):
    """The state of all chains that the next step needs.

    ``positions``, ``gradient`` of the log density of all data and ``second_moment`` V of RMSProp
    are [chain, d]. With minibatches the gradient is zero, since each step draws its own.
    """

    positions: Array
    gradient: Array
    second_moment: Array


class _State(NamedTuple):
    """Chains with known densities: ``log_density`` and ``log_likelihood`` [chain], in nats.

    With minibatches they are zeros, and computed for draws only.
    """

    walk: _Walk
    log_density: Array
    log_likelihood: Array


Density = Callable[[Array, Any], tuple[Array, Array]]
_Pair = tuple[_State, _State]
_Advance = Callable[[Array, Array, Any], Any]


def localised_density(
    target: Target,
    with_prior: bool,
    beta: Array | float,
    gamma: Array | float,
    centre: Array,
) -> Density:
    """Return the density that ``sgld`` samples.

    It maps (w [d], data) to the log density and the log-likelihood, in total nats.
    """

    def density(w: Array, data: Any) -> tuple[Array, Array]:
        log_likelihood = target.log_likelihood(w, data)
        total = beta * log_likelihood - gamma / 2 * jnp.sum((w - centre) ** 2)
        return total + target.log_prior(w) if with_prior else total, log_likelihood

    return density


@dataclass(frozen=True, eq=False)
class LangevinDynamics:
    """The steps of one run, and all that they have in common; ``shape`` is that of positions.

    Instances are compared by identity, as their fields are arrays.
    """

    density: Density
    settings: SGLDSettings
    data: Any
    shape: tuple[int, ...]
    step_size: Array
    noise_key: Array
    batch_key: Array

    def on_data(self, w: Array) -> tuple[Array, Array]:
        """Return the log density and the log-likelihood of all data at w [d]."""
        return self.density(w, self.data)

    def start(self, positions: Array) -> _State:
        """Return the chains before their first step."""
        if self.settings.batch_size is None:
            return self.on_all_data(positions, jnp.zeros_like(positions))
        zeros = jnp.zeros(self.shape[0], positions.dtype)
        return _State(_Walk(positions, *2 * (jnp.zeros_like(positions),)), zeros, zeros)

    def on_all_data(self, positions: Array, second_moment: Array) -> _State:
        """Evaluate densities and gradients of the chains."""
        (value, log_likelihood), gradient = values_and_gradients(self.on_data, positions)
        return _State(_Walk(positions, gradient, second_moment), value, log_likelihood)

    def draw(self, states: _Pair, index: Array) -> tuple[_Pair, tuple[Array, Array, Array]]:
        """Advance to the next draw, which is the end of its last step.

        Returns the chains at both ends of that step and, by chain, the energy of the draw, the
        acceptance probability of that step and whether it was lost.
        """
        settings = self.settings
        # Warm-up is part of the first draw: a loop of its own would compile every step again.
        stop = settings.num_warmup + (index + 1) * settings.thinning
        start = jnp.where(index == 0, 0, stop - settings.thinning)
        # The acceptance of the last step needs the densities at both its ends, no others do.
        measured = jnp.maximum(start, stop - 2)
        at_once = max(1, min(NOISE_STEPS, settings.thinning - 2))
        walk = self.steps(self.advance, start, measured, at_once, states[1].walk)
        unmeasured = states[1]._replace(walk=walk)
        states = self.steps(self.advance_measured, measured, stop, 2, (states[0], unmeasured))
        before, after = states
        if settings.batch_size is not None:
            before = self.on_all_data(before.walk.positions, before.walk.second_moment)
            after = self.on_all_data(after.walk.positions, after.walk.second_moment)
        scaled = self.step_length(stop - 1) * self.scale(after.walk.second_moment)
        gain = _log_acceptance(before, after, scaled)
        lost = (gain < -DIVERGENCE) | ~jnp.isfinite(after.log_likelihood)
        return states, (-after.log_likelihood, jnp.exp(jnp.minimum(gain, 0.0)), lost)

    def steps(
        self, advance_one: _Advance, start: Array, stop: Array, at_once: int, carry: Any
    ) -> Any:
        """Take the steps ``start`` to ``stop``; noise is drawn for ``at_once`` of them together."""

        def block(index: Array, carry: Any) -> Any:
            first = start + index * at_once
            key = jax.random.fold_in(self.noise_key, first)
            noise = normal_rows(key, at_once, math.prod(self.shape), self.step_size.dtype)
            last = jnp.minimum(first + at_once, stop)
            return jax.lax.fori_loop(
                first, last, lambda step, c: advance_one(step, noise[step - first], c), carry
            )

        return jax.lax.fori_loop(0, -(-(stop - start) // at_once), block, carry)

    def advance(self, step: Array, noise: Array, walk: _Walk) -> _Walk:
        """Take one step of all chains, and the gradients where they are then."""
        walk = self.move(step, noise, walk)
        if self.settings.batch_size is not None:
            return walk
        return walk._replace(gradient=gradients(self.on_data, walk.positions))

    def advance_measured(self, step: Array, noise: Array, states: _Pair) -> _Pair:
        """Take one step of all chains and return them before and after it, with their densities."""
        _, state = states
        walk = self.move(step, noise, state.walk)
        if self.settings.batch_size is not None:
            return state, state._replace(walk=walk)
        return state, self.on_all_data(walk.positions, walk.second_moment)

    def move(self, step: Array, noise: Array, walk: _Walk) -> _Walk:
        """Take one step of all chains; ``gradient`` is still that of where they came from."""
        gradient = walk.gradient
        if self.settings.batch_size is not None:
            keys = jax.random.split(jax.random.fold_in(self.batch_key, step), self.shape[0])
            gradient = jax.vmap(self.minibatch_gradient)(keys, walk.positions)
        second_moment = self.learnt(walk.second_moment, gradient, step)
        scaled = self.step_length(step) * self.scale(second_moment)
        diffusion = jnp.sqrt(scaled) * noise.reshape(self.shape)
        moved = walk.positions + scaled / 2 * gradient + diffusion
        return _Walk(moved, walk.gradient, second_moment)

    def minibatch_gradient(self, key: Array, w: Array) -> Array:
        """Return the gradient of the log density of a fresh minibatch at w [d]."""
        batch = self.data.subsample(key, self.settings.batch_size)
        return jax.value_and_grad(self.density, has_aux=True)(w, batch)[1]

    def step_length(self, step: Array) -> Array:
        """Return ε of this step."""
        schedule = self.settings.schedule
        return self.step_size if schedule is None else self.step_size * schedule(step)

    def scale(self, second_moment: Array) -> Array | float:
        """Return the diagonal of the preconditioner G."""
        preconditioner = self.settings.preconditioner
        if preconditioner is None:
            return 1.0
        return 1 / (preconditioner.damping + jnp.sqrt(second_moment))

    def learnt(self, second_moment: Array, gradient: Array, step: Array) -> Array:
        """Return V after a step with this gradient."""
        preconditioner = self.settings.preconditioner
        if preconditioner is None:
            return second_moment
        decay = preconditioner.decay
        learnt = decay * second_moment + (1 - decay) * gradient**2
        if not preconditioner.frozen:
            return learnt
        return jnp.where(step < self.settings.num_warmup, learnt, second_moment)


def _log_acceptance(before: _State, after: _State, scaled: Array) -> Array:
    """Return log α [chain] of MALA, which accepts w → w′ with probability min(α, 1); −∞ for NaN.

    With εG = ``scaled``, log α = log π(w′) − log π(w) − ½(g + g′)·(w′ − w) + (1/8) Σ εG(g² − g′²):
    the squares of the noise in the two proposal densities have been cancelled.
    """
    old, new = before.walk, after.walk
    moved = new.positions - old.positions
    trapezium = jnp.sum((old.gradient + new.gradient) * moved, axis=1) / 2
    squares = jnp.sum(scaled * (old.gradient**2 - new.gradient**2), axis=1) / 8
    log_ratio = after.log_density - before.log_density - trapezium + squares
    return jnp.where(jnp.isnan(log_ratio), -jnp.inf, log_ratio)

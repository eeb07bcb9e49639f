"""A random walk beside SGLD: posterior masses near the crossing, and times to leave it.

The walls of the square mirror: chains move in the plane, which is folded onto the square, so that
no step is lost at a wall and the gradient of SGLD exists on both sides.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from slt_jax.run.compilation import jit_at_first_call
from slt_jax.samplers.sampling import Draws, SamplerSettings, Start, by_chain, run_each_beta
from slt_jax.samplers.target import Target, tempered_density

from .landscapes import ENERGIES, Landscape


class RandomWalkSettings(NamedTuple):
    """Settings of Metropolis' random walk with one step size, of which all else is as in SGLD."""

    num_warmup: int
    num_draws: int
    thinning: int

    def run(
        self,
        target: Target,
        keys: Array,
        statistics: Any,
        betas: Array,
        start: Start,
        keep_positions: bool = False,
    ) -> Draws:
        """Run once for each key and β, with the step ``start.step_size``."""
        step = 1.0 if start.step_size is None else start.step_size

        def one(key: Array, beta: Array, positions: Array) -> Draws:
            density = jax.vmap(tempered_density(target, statistics, beta))

            def move(w: Array, key: Array) -> tuple[Array, Array]:
                noise_key, accept_key = jax.random.split(key)
                proposal = w + step * jax.random.normal(noise_key, w.shape)
                change = density(proposal)[0] - density(w)[0]
                accepted = jnp.log(jax.random.uniform(accept_key, change.shape)) < change
                return jnp.where(accepted[:, None], proposal, w), accepted

            def draw(w: Array, key: Array) -> tuple[Array, tuple[Array, Array, Array | None]]:
                w, accepted = jax.lax.scan(move, w, jax.random.split(key, self.thinning))
                energy = -density(w)[1]
                return w, (energy, jnp.mean(accepted, axis=0), w if keep_positions else None)

            warm_key, key = jax.random.split(key)
            warm_keys = jax.random.split(warm_key, self.num_warmup)
            positions, _ = jax.lax.scan(move, positions, warm_keys)
            keys = jax.random.split(key, self.num_draws)
            ends, (energies, accepted, kept) = jax.lax.scan(draw, positions, keys)
            none = jnp.zeros(len(positions), int)
            acceptance = jnp.mean(accepted, axis=0)
            return Draws(energies.T, ends, acceptance, none, kept_positions=by_chain(kept))

        return run_each_beta(one, keys, betas, start.positions)


def folded(w: Any) -> Any:
    """Mirror positions of any size into [−1, 1], of NumPy or JAX."""
    return 1 - abs((w + 1) % 4 - 2)


class Loss(NamedTuple):
    """A landscape at one n as data, so that all of them share compiled programs."""

    n: Array
    kind: Array
    sharpness: Array

    @classmethod
    def of(cls, landscape: Landscape, n: float) -> "Loss":
        """Make arrays of a landscape and n."""
        numbers = (float(n), list(ENERGIES).index(landscape.kind), landscape.sharpness)
        return cls(*(jnp.asarray(value) for value in numbers))

    def log_likelihood(self, x: Array, y: Array) -> Array:
        """Compute −nK of arrays of one shape."""
        branches = [functools.partial(_energy, energy) for energy in ENERGIES.values()]
        return -self.n * jax.lax.switch(self.kind, branches, x, y, self.sharpness)


def _energy(energy: Callable[..., Array], x: Array, y: Array, sharpness: Array) -> Array:
    return energy(x, y, sharpness, jnp)


@functools.cache
def target() -> Target:
    """Return the density of a ``Loss`` on the folded plane, with a uniform prior."""
    return Target(
        sample_prior=lambda key: jax.random.uniform(key, (2,), minval=-1.0, maxval=1.0),
        log_prior=lambda w: jnp.zeros((), w.dtype),
        log_likelihood=lambda w, loss: loss.log_likelihood(*folded(w)),
    )


def _sampled(
    target: Target,
    settings: SamplerSettings,
    keys: Array,
    loss: Loss,
    positions: Array,
    step: Array,
) -> Draws:
    start = Start(positions, step)
    return settings.run(target, keys, loss, jnp.ones(1), start, keep_positions=True)


sampled = jit_at_first_call(_sampled, static_argnums=(0, 1))


class Exits(NamedTuple):
    """Times to leave [walk] in units of the variance of a coordinate, and who has left [walk]."""

    times: np.ndarray
    left: np.ndarray


def exit_times(
    landscape: Landscape, key: Array, n: float, r: float, step: float, walkers: int, max_steps: int
) -> Exits:
    """Walk from the crossing until max(|x|, |y|) > r, or ``max_steps``, each walk by itself.

    The clock is ``step``² times the accepted steps, by which it does not depend on the step where
    this is short: along a valley, where the loss is flat, accepted steps are as long as proposed.
    """
    numbers = (jnp.asarray(value) for value in (r, step, max_steps))
    steps, left = leave(walkers, key, Loss.of(landscape, n), *numbers)
    return Exits(np.asarray(steps, float) * step**2, np.asarray(left))


def _leave(
    walkers: int, key: Array, loss: Loss, r: Array, step: Array, limit: Array
) -> tuple[Array, Array]:
    """Count the accepted steps of each walk, and say which have left within ``limit`` steps."""

    def goes_on(state: tuple[Array, Array, Array]) -> Array:
        taken, w, _ = state
        return (taken < limit) & jnp.any(jnp.max(jnp.abs(w), axis=0) <= r)

    def move(state: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        taken, w, count = state
        noise_key, accept_key = jax.random.split(jax.random.fold_in(key, taken))
        proposal = w + step * jax.random.normal(noise_key, w.shape)
        change = loss.log_likelihood(*proposal) - loss.log_likelihood(*w)
        accepted = jnp.log(jax.random.uniform(accept_key, change.shape)) < change
        accepted &= jnp.max(jnp.abs(w), axis=0) <= r
        return taken + 1, jnp.where(accepted, proposal, w), count + accepted

    first = (jnp.zeros((), int), jnp.zeros((2, walkers)), jnp.zeros(walkers, int))
    _, w, count = jax.lax.while_loop(goes_on, move, first)
    return count, jnp.max(jnp.abs(w), axis=0) > r


leave = jit_at_first_call(_leave, static_argnums=(0,))

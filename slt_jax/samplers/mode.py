"""Posterior modes, for criteria that need a point."""

from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import Array

from slt_jax.samplers.arguments import check_finite, dimension_of
from slt_jax.samplers.target import Target

STEPS = 300
FIRST_STEP = 0.03


def posterior_mode(target: Target, data: Any, start: Array) -> Array:
    """Climb from ``start`` [d] to a local maximum of log φ(w) + Σ_i ℓ_i(w), by Adam.

    The step decays, and the best point [d] on the way is returned, so that the result is never
    worse than the start. Adam is used because the line searches of quasi-Newton methods take
    longer to compile than to run here.

    >>> target = Target(
    ...     sample_prior=lambda key: jax.random.normal(key, (1,)),
    ...     log_prior=lambda w: -jnp.sum(w**2) / 2,
    ...     log_likelihood=lambda w, y: -jnp.sum((y - w) ** 2) / 2,
    ... )
    >>> round(float(posterior_mode(target, 1.0, jnp.zeros(1))[0]), 2)
    0.5

    Raises ValueError for a target or data of another kind, and for a start that is not finite or of
    another dimension.
    """
    dimension = dimension_of(target, data)
    check_finite("start", start)
    if jnp.shape(start) != (dimension,):
        raise ValueError(f"start has shape {jnp.shape(start)}; allowed is ({dimension},)")

    def objective(w: Array) -> Array:
        return -target.log_prior(w) - target.log_likelihood(w, data)

    solver = optax.adam(optax.cosine_decay_schedule(FIRST_STEP, STEPS))

    def step(carry: tuple[Array, Any, Array, Array], _: None) -> tuple[Any, None]:
        w, state, best, lowest = carry
        value, grad = jax.value_and_grad(objective)(w)
        improved = value < lowest
        best, lowest = jnp.where(improved, w, best), jnp.where(improved, value, lowest)
        updates, state = solver.update(grad, state, w)
        return (optax.apply_updates(w, updates), state, best, lowest), None

    carry = (start, solver.init(start), start, jnp.asarray(jnp.inf, start.dtype))
    (_, _, best, _), _ = jax.lax.scan(step, carry, None, length=STEPS)
    return best

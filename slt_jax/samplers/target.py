"""Densities that samplers take: functions of a flat parameter vector, split in φ and likelihood."""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, runtime_checkable

from jax import Array


class Target(NamedTuple):
    """The density φ(w) exp(β · log_likelihood(w, data)), with β and data as arguments.

    ``sample_prior`` maps a key to w [d]; ``log_prior`` maps w [d] to nats; ``log_likelihood``
    maps (w [d], data pytree) to Σ_i(ℓ_i(w) − ℓ_i(w₀)) in total nats. The tuple is a constant to
    compiled samplers: keep one per model, or every call compiles anew. ``identity`` is a text that
    stands for all of it as long as the code of this package is the same, so that compiled programs
    can be kept; empty where there is none.

    >>> import jax
    >>> import jax.numpy as jnp
    >>> target = Target(
    ...     sample_prior=lambda key: jax.random.normal(key, (1,)),
    ...     log_prior=lambda w: -jnp.sum(w**2) / 2,
    ...     log_likelihood=lambda w, n: -n * jnp.sum(w**2) / 2,
    ... )
    >>> float(target.log_likelihood(jnp.ones(1), 3.0))
    -1.5
    """

    sample_prior: Callable[[Array], Array]
    log_prior: Callable[[Array], Array]
    log_likelihood: Callable[[Array, Any], Array]
    identity: str = ""


@runtime_checkable
class Subsampled(Protocol):
    """Data that can draw a minibatch whose log-likelihood is on average that of all data."""

    def subsample(self, key: Array, batch_size: int) -> Any:
        """Draw a minibatch, which ``Target.log_likelihood`` takes in place of the data."""
        ...


def tempered_density(
    target: Target, data: Any, beta: Array
) -> Callable[[Array], tuple[Array, Array]]:
    """Return the density that ``hmc`` moves chains on: w [d] to log density and log-likelihood."""

    def density(w: Array) -> tuple[Array, Array]:
        log_likelihood = target.log_likelihood(w, data)
        return target.log_prior(w) + beta * log_likelihood, log_likelihood

    return density

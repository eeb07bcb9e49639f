"""What a sampler sees of a learning problem: functions of a flat parameter vector."""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, runtime_checkable

from jax import Array


class Target(NamedTuple):
    """The density φ(w) exp(β · log_likelihood(w, data)), with β and data as arguments.

    ``sample_prior`` maps a key to w [d]; ``log_prior`` maps w [d] to nats; ``log_likelihood``
    maps (w [d], data pytree) to Σ_i(ℓ_i(w) − ℓ_i(w₀)) in total nats. The tuple is a constant to
    compiled samplers: keep one per model, or every call compiles anew.
    """

    sample_prior: Callable[[Array], Array]
    log_prior: Callable[[Array], Array]
    log_likelihood: Callable[[Array, Any], Array]


@runtime_checkable
class Subsampled(Protocol):
    """Data that draw minibatches of themselves, with a likelihood that is theirs on average."""

    def subsample(self, key: Array, batch_size: int) -> Any:
        """A random minibatch; ``Target.log_likelihood`` takes it in place of the data."""
        ...


def tempered_density(
    target: Target, data: Any, beta: Array
) -> Callable[[Array], tuple[Array, Array]]:
    """The density that ``hmc`` moves chains on: w [d] to (log density, log-likelihood), in nats."""

    def density(w: Array) -> tuple[Array, Array]:
        log_likelihood = target.log_likelihood(w, data)
        return target.log_prior(w) + beta * log_likelihood, log_likelihood

    return density

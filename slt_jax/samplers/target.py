"""What a sampler sees of a learning problem: functions of a flat parameter vector."""

from collections.abc import Callable
from typing import Any, NamedTuple

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

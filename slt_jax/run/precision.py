"""Float64 where it is needed, without touching the global switch."""

import functools
from collections.abc import Callable, Mapping
from typing import Any, ParamSpec, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")


def in_float64(function: Callable[P, R]) -> Callable[P, R]:
    """Run ``function`` with 64-bit JAX types switched on for the duration of the call only.

    Data, sufficient statistics and oracles live in float64; samplers cast what they receive.
    The process-wide default is restored on return, also after an exception.
    """

    @functools.wraps(function)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        with jax.enable_x64(True):
            return function(*args, **kwargs)

    return wrapped


def in_default_precision(params: Mapping[str, Any]) -> dict[str, Any]:
    """Return parameters as JAX arrays of its default float type, which is that of the caller.

    NumPy's doubles are not to be handed on as they are: JAX keeps one program for them, whether it
    was traced with 64-bit types or without, and fails where it was traced with the others.
    """
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, float), dict(params))


def without_numpy_doubles(tree: T) -> T:
    """Return a tree whose NumPy doubles are of JAX's default float type, and the rest as it is.

    numpyro makes such doubles of Python's numbers beside an array.
    """

    def of_jax(leaf: Any) -> Any:
        is_numpy = isinstance(leaf, np.ndarray | np.floating) and leaf.dtype == np.float64
        return jnp.asarray(leaf, float) if is_numpy else leaf

    return jax.tree.map(of_jax, tree)

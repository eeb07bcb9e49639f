"""Priors of parameters, and the one map between parameters and the real space of samplers.

A parameter lives where its prior lives: on the line, on a box, on a simplex. Samplers move in real
coordinates u [d], and each parameter is T(u) with the bijection T = ``biject_to(support)``. The
density of u is

    log φ(T(u)) + log |det ∂T/∂u|.

Priors are given by name. One that depends on other parameters is a function of those that are
named before it, which returns a distribution.
"""

import functools
import math
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpyro.distributions import Delta, Distribution, ImproperUniform, biject_to
from numpyro.distributions.transforms import IdentityTransform, IndependentTransform

from slt_jax.run.precision import without_numpy_doubles

Shape = tuple[int, ...]
Priors = Mapping[str, Any]


def visited(priors: Priors, value_of: Callable[[str, Any], Array]) -> dict[str, Array]:
    """Give each parameter a value, and return all of them by name.

    ``value_of`` maps a name and the distribution, given the values before it, to a value. Raises
    ValueError for a prior that is no proper continuous distribution.

    >>> import numpyro.distributions as dist
    >>> priors = {"tau": dist.HalfNormal(), "w": lambda params: dist.Normal(0, params["tau"])}
    >>> means = visited(priors, lambda name, distribution: distribution.mean)
    >>> list(means), float(means["w"])
    (['tau', 'w'], 0.0)
    """
    params: dict[str, Array] = {}
    for name, prior in priors.items():
        is_conditional = callable(prior) and not isinstance(prior, Distribution)
        distribution = prior(dict(params)) if is_conditional else prior
        _check(name, distribution)
        params[name] = value_of(name, without_numpy_doubles(distribution))
    return params


def _check(name: str, distribution: Any) -> None:
    kind = type(distribution).__name__
    if not isinstance(distribution, Distribution):
        raise ValueError(f"prior of {name!r} is {kind}: must be a distribution of numpyro")
    if distribution.is_discrete or distribution.support.is_discrete:
        raise ValueError(f"prior of {name!r}, {kind}, is discrete: must be continuous")
    if isinstance(distribution, Delta | ImproperUniform):
        raise ValueError(f"prior of {name!r}, {kind}: must be a density with a total mass of one")


def _bijection(name: str, distribution: Any) -> Any:
    """Return T of a parameter, None where that is the identity."""
    try:
        transform = biject_to(distribution.support)
    except NotImplementedError:
        raise ValueError(
            f"prior of {name!r} has support {distribution.support}: must be one that numpyro's "
            "biject_to maps the real space to"
        ) from None
    inner = transform
    while isinstance(inner, IndependentTransform):
        inner = inner.base_transform
    return None if isinstance(inner, IdentityTransform) else transform


def parameter_shapes(priors: Priors) -> dict[str, Shape]:
    """Return the shape of each parameter, in the order of the priors."""
    return {name: shape for name, (shape, _) in _both_shapes(priors).items()}


def coordinate_shapes(priors: Priors) -> dict[str, Shape]:
    """Return the shape of each parameter's real coordinates, in the order of u: by name.

    >>> import numpyro.distributions as dist
    >>> weights = dist.Dirichlet(jnp.ones(3))
    >>> coordinate_shapes({"w": dist.Uniform(-1, 1).expand((2,)), "p": weights})
    {'p': (2,), 'w': (2,)}
    """
    return {name: shape for name, (_, shape) in sorted(_both_shapes(priors).items())}


def _both_shapes(priors: Priors) -> dict[str, tuple[Shape, Shape]]:
    """Return the shapes of each parameter and of its coordinates; nothing is computed."""
    shapes: dict[str, tuple[Shape, Shape]] = {}

    def value_of(name: str, distribution: Any) -> Array:
        transform, shape = _bijection(name, distribution), distribution.shape()
        own = shape if transform is None else transform.inverse_shape(shape)
        shapes[name] = shape, own
        at_zero = jnp.zeros(own)
        return at_zero if transform is None else transform(at_zero)

    jax.eval_shape(functools.partial(visited, priors, value_of))
    return shapes


def constrained(priors: Priors, u: Array) -> tuple[dict[str, Array], Array | None]:
    """Return the parameters T(u) at real coordinates u [d], and log |det ∂T/∂u| in nats.

    The latter is None where T is the identity, so that such a map adds nothing to a program.

    >>> import numpyro.distributions as dist
    >>> params, log_jacobian = constrained({"w": dist.Uniform(-1, 1)}, jnp.zeros(1))
    >>> float(params["w"]), round(float(log_jacobian), 4)  # 0, log 2·¼
    (0.0, -0.6931)
    """
    parts, start = {}, 0
    for name, shape in coordinate_shapes(priors).items():
        stop = start + math.prod(shape)
        parts[name], start = u[start:stop].reshape(shape), stop
    log_jacobians: list[Array] = []

    def value_of(name: str, distribution: Any) -> Array:
        transform, part = _bijection(name, distribution), parts[name]
        if transform is None:
            return part
        value = transform(part)
        log_jacobians.append(jnp.sum(transform.log_abs_det_jacobian(part, value)))
        return value

    params = visited(priors, value_of)
    return params, functools.reduce(jnp.add, log_jacobians) if log_jacobians else None


def unconstrained(priors: Priors, params: Mapping[str, Any]) -> Array:
    """Return the real coordinates u [d] of parameters.

    Rounding puts one draw in 10⁷ on the edge of its support, where a coordinate is infinite. It
    is taken to be as far out as a draw is that can be told from the edge.

    >>> import numpyro.distributions as dist
    >>> priors = {"scale": dist.HalfNormal(), "w": dist.Uniform(-1, 1)}
    >>> unconstrained(priors, {"scale": 1.0, "w": 0.0}).tolist()
    [0.0, 0.0]
    """
    parts = {}

    def value_of(name: str, distribution: Any) -> Array:
        transform, value = _bijection(name, distribution), jnp.asarray(params[name])
        if transform is None:
            parts[name] = value
            return value
        part = transform.inv(value)
        farthest = -math.log(np.finfo(part.dtype).eps)
        parts[name] = jnp.nan_to_num(part, nan=jnp.nan, posinf=farthest, neginf=-farthest)
        return value

    visited(priors, value_of)
    return jnp.concatenate([parts[name].ravel() for name in sorted(parts)])

"""Checks of what all samplers take: settings, targets, temperatures, first positions and steps.

Under ``jit`` or ``vmap`` values are traced: then shapes and types are checked, which are all that
is known.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from slt_jax.samplers.target import Target
from slt_jax.validation import (
    NonNegative,
    Positive,
    check_fields,
    check_kind,
    checked,
    increasing,
    is_traced,
    real_array,
    refuse_first,
    shown,
)


def check_settings(name: str, settings: Any) -> None:
    """Refuse anything but settings of a sampler whose fields are in their bounds."""
    if isinstance(settings, type) or not callable(getattr(settings, "run", None)):
        raise ValueError(f"{name} = {shown(settings)}: must be settings, as SMCSettings()")
    if isinstance(settings, tuple):
        check_fields(settings)


def checked_betas(betas: Any) -> Array:
    """Return the increasing inverse temperatures [B] in JAX's default float type.

    Raises ValueError for B < 1, and for β that are negative, not finite or do not increase.
    """
    if np.ndim(betas) != 1 or len(betas) < 1:
        raise ValueError(f"betas has shape {np.shape(betas)}; allowed is [B] with B ≥ 1")
    if not is_traced(betas):
        increasing("betas", betas, NonNegative)
    return jnp.asarray(betas, jnp.result_type(float))


def check_run(settings: Any, target: Any, data: Any) -> int:
    """Refuse settings, a target and data of another kind, and return the dimension d."""
    check_settings("settings", settings)
    return dimension_of(target, data)


def dimension_of(target: Any, data: Any) -> int:
    """Return the dimension d of a target, evaluated abstractly at a draw of its prior.

    Raises ValueError for anything but a target, for data that its likelihood cannot take, and for a
    likelihood that is no scalar.
    """
    check_kind("target", target, Target, "a Target of three functions of one flat vector")
    draw = jax.eval_shape(target.sample_prior, jax.eval_shape(jax.random.key, 0))
    if not isinstance(draw, jax.ShapeDtypeStruct) or len(draw.shape) != 1:
        raise ValueError(f"target.sample_prior returns {draw}: must be one vector [d]")
    try:
        jax.eval_shape(jax.value_and_grad(target.log_likelihood), draw, data)
    except (AttributeError, TypeError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(
            f"data = {shown(data)}: target.log_likelihood must make one number of a vector [d] and "
            f"data, as statistics_of returns: {reason}"
        ) from error
    return draw.shape[0]


def check_positions(positions: Any, dimension: int, least: int = 1) -> None:
    """Refuse anything but real and finite positions [chain, d] of at ``least`` so many chains."""
    name = "initial_positions"
    check_finite(name, positions)
    shape = np.shape(positions)
    if len(shape) != 2 or shape[0] < least or shape[1] != dimension:
        chains = "chain" if least == 1 else f"chain ≥ {least}"
        raise ValueError(f"{name} has shape {shape}; allowed is [{chains}, d] with d = {dimension}")


def check_finite(name: str, values: Any) -> None:
    """Refuse an array of anything but real numbers, and of those that are not finite."""
    if is_traced(values):
        if jnp.issubdtype(values.dtype, jnp.complexfloating):
            raise ValueError(f"{name}: array of type {values.dtype}; allowed: real numbers")
    else:
        array = real_array(name, values)
        refuse_first(name, array, np.isfinite(array), "must be finite")


def check_scalar(name: str, value: Any, declared: Any) -> None:
    """Refuse anything but a number of a declared kind, or a traced scalar."""
    if np.ndim(value):
        raise ValueError(f"{name} has shape {np.shape(value)}; allowed is a scalar")
    if not is_traced(value):
        checked(name, value, declared)


def check_step_size(step_size: Any) -> None:
    """Refuse anything but a step size that is positive and finite, or None for the default."""
    check_scalar("step_size", step_size, Positive | None)

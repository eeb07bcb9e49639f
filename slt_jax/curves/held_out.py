"""The points over which generalisation losses of a problem whose truth is known are averaged."""

import functools

import jax

from slt_jax.curves.jobs import problem_key
from slt_jax.oracles.criteria import (
    HeldOut,
    NoQuadratureError,
    quadrature_points,
    simulated_points,
)
from slt_jax.problem import Problem, require_problem

# With several scalars of x and y the default rule would be most of the work; the bound says what
# the smaller one costs in accuracy.
SMALL_ORDERS = ((6, 8), (5, 6))
# Held-out data where there is no rule, and the seed of what is no data set of a run.
HELD_OUT, HELD_OUT_SEED = 10_000, 2**31


@functools.cache
def held_out_points(problem: Problem) -> HeldOut:
    """Return Gauss points of the truth, of a smaller rule than usual beyond two scalars.

    Raises ValueError as ``quadrature_points`` does.
    """
    require_problem(problem)
    scalars = sum(part.size for part in jax.eval_shape(problem.simulate, jax.random.key(0)))
    return quadrature_points(problem, SMALL_ORDERS if scalars > 2 else None)


@functools.cache
def points_to_sample(problem: Problem) -> HeldOut:
    """Return ``held_out_points``, or data drawn from a truth that has no quadrature.

    An estimate has to count the error of these in: they have no ``check``. Raises ValueError where
    no truth is known.
    """
    try:
        return held_out_points(problem)
    except NoQuadratureError:
        return simulated_points(problem, problem_key(HELD_OUT_SEED, problem), HELD_OUT)

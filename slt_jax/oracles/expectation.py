"""Held-out data with weights: an expectation over the truth by quadrature, or a sample of it."""

import functools
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from jax import Array
from numpy.polynomial.hermite_e import hermegauss
from numpy.polynomial.legendre import leggauss

from slt_jax.data import simulate
from slt_jax.model import Regression
from slt_jax.oracles.quadrature import Rule
from slt_jax.problem import Problem, Truth
from slt_jax.run.precision import in_float64
from slt_jax.statistics import Data

# Orders of the Gauss rules of one scalar of x and of y, and of those that measure their errors.
ORDERS = {
    0: ((0, 32), (0, 24)),
    1: ((20, 20), (14, 14)),
    2: ((14, 16), (10, 12)),
    3: ((10, 16), (8, 12)),
}


Orders = tuple[tuple[int, int], tuple[int, int]]


class HeldOut(NamedTuple):
    """Weighted points z_j [N] with Σ_j weight_j h(z_j) ≈ E_z h(z) for z from the truth.

    ``check`` [N] are the weights of a coarser rule on some of these points, whose difference
    says how good the quadrature is, or None for points that were simulated.
    """

    data: Data
    weights: np.ndarray
    check: np.ndarray | None


def simulated_points(problem: Problem, key: Array, size: int) -> HeldOut:
    """A sample of the truth. Raises ValueError for a size < 2, which has no standard error."""
    if size < 2:
        raise ValueError(f"size = {size}: a sample of the truth needs at least 2 data")
    return HeldOut(simulate(problem, key, size), np.full(size, 1 / size), None)


@in_float64
def quadrature_points(problem: Problem, orders: Orders | None = None) -> HeldOut:
    """Gauss points of x and y for a regression whose inputs have a declared distribution.

    y by Gauss–Hermite rules around E[y|x], x by those of its uniform or normal components: as
    the log predictive density is analytic in both, the rule converges geometrically. ``orders``
    are those of a scalar of x and of y, and of the coarser rule that measures the error. Raises
    ValueError for a truth that is no Gaussian regression, for inputs of no declared distribution
    and for more than three scalars of x or two of y.

    >>> import numpy as np
    >>> import slt_jax as slt
    >>> points = slt.quadrature_points(slt.named_problems()["monomial_1_1"])  # truth y ~ N(0, 1)
    >>> f"E[y²] = {points.weights @ np.asarray(points.data.y)[:, 0] ** 2:.6f}"
    'E[y²] = 1.000000'
    """
    truth = problem.truth or Truth(problem.model, problem.optimum)
    inputs = truth.model.input_distribution() if isinstance(truth.model, Regression) else None
    if not isinstance(truth.model, Regression) or inputs is None:
        raise ValueError(
            f"{problem.name}: an exact expectation needs a Gaussian regression with a declared "
            "distribution of its inputs; simulate held-out data instead"
        )
    dimension = math.prod(inputs.shape())
    outputs = jax.eval_shape(problem.simulate, jax.random.key(0))[1].size
    if dimension not in ORDERS or outputs > 2:
        raise ValueError(
            f"{problem.name}: {dimension} inputs and {outputs} outputs; at most 3 and 2 have a rule"
        )
    params = jax.tree.map(lambda leaf: jnp.asarray(leaf, float), dict(truth.params))
    predict = jax.vmap(truth.model.predict, (None, 0))
    fine, coarse = (
        _product_points(inputs, dimension, outputs, *of_rule)
        for of_rule in orders or ORDERS[dimension]
    )
    x = np.concatenate([part[0] for part in (fine, coarse)])
    x = x.reshape(len(x), *inputs.shape())
    noise = np.concatenate([part[1] for part in (fine, coarse)])
    y = np.asarray(predict(params, jnp.asarray(x))) + truth.model.noise * noise
    return HeldOut(
        Data(jnp.asarray(x), jnp.asarray(y)),
        np.concatenate([fine[2], np.zeros(len(coarse[2]))]),
        np.concatenate([np.zeros(len(fine[2])), coarse[2]]),
    )


def _product_points(
    inputs: Any, dimension: int, outputs: int, order_x: int, order_y: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """x [N, dimension], standard noise [N, outputs] and weights [N] of a tensor rule."""
    rules = [_input_rule(inputs, order_x) for _ in range(dimension)]
    rules += [_normal_rule(order_y)] * outputs
    grids = np.meshgrid(*[rule.nodes for rule in rules], indexing="ij")
    nodes = np.stack([grid.ravel() for grid in grids], axis=1)
    weights = functools.reduce(np.multiply.outer, [rule.weights for rule in rules]).ravel()
    return nodes[:, :dimension], nodes[:, dimension:], weights


def _input_rule(inputs: Any, order: int) -> Rule:
    """The Gauss rule of one component of independent and equal ones."""
    base = getattr(inputs, "base_dist", inputs)
    if isinstance(base, dist.Uniform):
        nodes, weights = leggauss(order)
        half = float(base.high - base.low) / 2
        return Rule(float(base.low) + half * (nodes + 1), weights / 2)
    if isinstance(base, dist.Normal):
        rule = _normal_rule(order)
        return Rule(float(base.loc) + float(base.scale) * rule.nodes, rule.weights)
    raise ValueError(f"inputs {inputs}: only uniform and normal components have a rule")


def _normal_rule(order: int) -> Rule:
    nodes, weights = hermegauss(order)
    return Rule(nodes, weights / np.sqrt(2 * np.pi))

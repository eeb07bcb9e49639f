"""The two information matrices of a problem at w₀, and what they say of regular problems."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.flatten_util import ravel_pytree

from slt_jax.data import validate_data
from slt_jax.oracles.criteria import HeldOut
from slt_jax.oracles.evaluation import SAFETY, Exact
from slt_jax.problem import Problem
from slt_jax.run.precision import in_float64
from slt_jax.statistics import Data

MIN_RELATIVE_EIGENVALUE = 1e-9


class Information(NamedTuple):
    """``score`` I = E ∇ℓ∇ℓᵀ and ``curvature`` J = −E ∇²ℓ at w₀, both [d, d], nats per datum."""

    score: Exact
    curvature: Exact


@in_float64
def information(problem: Problem, held_out: HeldOut) -> Information:
    """Compute I and J by points of ``quadrature_points``, whose coarser rule gives the bounds.

    Raises ValueError for held-out data that were simulated or that ``validate_data`` refuses.
    """
    if held_out.check is None:
        raise ValueError(f"{problem.name}: information needs points of a quadrature")
    validate_data(problem, held_out.data)
    optimum = jax.tree.map(lambda leaf: jnp.asarray(leaf, float), dict(problem.optimum))
    flat, unravel = ravel_pytree(optimum)

    def log_likelihood(w: Array, datum: Data) -> Array:
        return problem.model.log_likelihood(unravel(w), datum.x, datum.y)

    @jax.jit
    def matrices(points: Data) -> tuple[Array, Array]:
        scores = jax.vmap(jax.grad(log_likelihood), (None, 0))(flat, points)
        curvatures = -jax.vmap(jax.hessian(log_likelihood), (None, 0))(flat, points)
        return scores[:, :, None] * scores[:, None, :], curvatures

    integrals = []
    for terms in matrices(held_out.data):
        fine, coarse = (
            np.tensordot(weights, np.asarray(terms), 1)
            for weights in (held_out.weights, held_out.check)
        )
        integrals.append(Exact(fine, SAFETY * np.abs(fine - coarse)))
    return Information(*integrals)


def regular_fluctuation(known: Information) -> float | None:
    """Return ν = tr(I J⁻¹)/2 of a regular problem, None where J is singular.

    It is d/2 where the problem is realisable, for then I = J.

    Source: Watanabe, Mathematical Theory of Bayesian Statistics (2018), regular case.
    """
    eigenvalues = np.linalg.eigvalsh(known.curvature.value)
    if eigenvalues[0] <= MIN_RELATIVE_EIGENVALUE * max(eigenvalues[-1], 1.0):
        return None
    return float(np.trace(np.linalg.solve(known.curvature.value, known.score.value)) / 2)

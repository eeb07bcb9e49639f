"""The toy model of superposition: more features than hidden dimensions."""

from fractions import Fraction

from slt_jax.theory.arguments import checked_integer
from slt_jax.theory.coefficients import Theory

_LARGEST = 9


def superposition_polygon(num_features: int, num_sides: int) -> Theory:
    """Return the local theory of f(x) = relu(WᵀWx + b), W [2, c], near a regular k-gon.

    The loss is E|f(x) − x|² for x = t e_i, t ~ U[0, 1], i uniform. In the k-gon k columns of W are
    the corners of a regular k-gon and the others 0, with negative biases. Then m = 1 and

    λ = (3k − 1)/2 for k = 5 to 9; λ = 11/2 + (c − 4) for k = 4.

    ``num_sides`` is k, 4 to 9, and ``num_features`` is c ≥ k. With c = k = 4 the loss is 0 and λ is
    the global one; in the other cases K is the excess over the loss at the k-gon. The prior is
    positive there. Raises ValueError naming the argument and its value otherwise.

    Source: the polygons are in Chen, Lau, Mendel, Wei and Murfet, Dynamical versus Bayesian phase
    transitions in a toy model of superposition, arXiv:2310.06301 (2023). For k ≥ 5 their biases
    are negative, so that K does not depend on the column and the bias of a further feature while
    these are near theirs; in the 3k others its Hessian, evaluated numerically, has the rotation as
    its only null vector. For k = 4 the biases of the square are 0 and neighbours at right angles;
    K is between two positive multiples of the squared distance to the rotated squares, since the
    four angles cannot all be larger, and of |W_i|² for each further feature, because the largest
    W_i·W_j over the corners j is at least a multiple of |W_i|.
    """
    k = checked_integer("num_sides", num_sides, 4)
    if k > _LARGEST:
        raise ValueError(f"num_sides={k}; allowed: 4 to {_LARGEST}")
    c = checked_integer("num_features", num_features, k)
    return Theory(
        learning_coefficient=Fraction(11, 2) + (c - 4) if k == 4 else Fraction(3 * k - 1, 2),
        multiplicity=1,
        kind="exact",
        source="polygons of Chen et al. 2023; directions in which the loss rises",
    )

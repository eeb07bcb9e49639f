"""Regular models: a positive definite Fisher information at a unique optimum."""

from fractions import Fraction

from slt_jax.theory.arguments import checked_integer
from slt_jax.theory.coefficients import Theory


def regular(dim: int) -> Theory:
    """Return the theory of a regular model with ``dim`` ≥ 0 parameters, realisable or not.

    λ = dim/2, m = 1. Raises ValueError naming ``dim`` and its value if it is not an integer ≥ 0.

    Source: Schwarz, Estimating the dimension of a model, Annals of Statistics 6 (1978);
    Watanabe, Algebraic Geometry and Statistical Learning Theory (2009).
    """
    return Theory(
        learning_coefficient=Fraction(checked_integer("dim", dim, 0), 2),
        multiplicity=1,
        kind="exact",
        source="Schwarz 1978",
    )

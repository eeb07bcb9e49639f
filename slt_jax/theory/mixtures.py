"""Mixtures of normal distributions, fitted to a single one."""

from fractions import Fraction

from slt_jax.theory.arguments import checked_integer
from slt_jax.theory.coefficients import Theory


def normal_mixture(num_components: int, *, first_mean_fixed: bool = False) -> Theory:
    """The theory of sum_h a_h N(b_h, 1) on the line, weights free, when the truth is N(0, 1).

    All means free: lambda = (H + 1)/4, m = 1. First mean fixed at its true value 0, two
    components, so (1 - a) N(0, 1) + a N(b, 1): lambda = 1/2, m = 2.

    num_components: H >= 1, or exactly 2 with first_mean_fixed. The prior is positive and finite
    on the simplex of weights (a Dirichlet prior with all parameters 1, say) and on a bounded
    interval of means around 0. Raises ValueError naming the argument and its value otherwise.

    Source: Watanabe, Algebraic Geometry and Statistical Learning Theory (2009), for the mixture
    with the first mean fixed; Yamazaki and Watanabe, Singularities in mixture models and upper
    bounds of stochastic complexity, Neural Networks 16 (2003), for the singularities of the other.
    Its value is elementary: with S_j = sum_h a_h b_h^j, all a_h >= 0 and bounded b_h, |S_j| is at
    most a multiple of S_2 for j > 2, and K is between two positive multiples of S_1^2 + S_2^2.
    S_2 - S_1^2 is a positive quadratic form in the H - 1 differences of means, of determinant
    prod_h a_h, so {S_1^2 + S_2^2 < e^2} has for small e the volume of an interval, ~ e, times an
    ellipsoid, ~ e^((H-1)/2) / sqrt(prod_h a_h), whose integral over the weights is finite.
    """
    h = checked_integer("num_components", num_components, 1)
    if not first_mean_fixed:
        return Theory(
            learning_coefficient=Fraction(h + 1, 4),
            multiplicity=1,
            kind="exact",
            source="volume of {S_1^2 + S_2^2 < e^2}; singularities as in Yamazaki, Watanabe 2003",
        )
    if h != 2:
        raise ValueError(
            f"num_components={num_components!r} with first_mean_fixed=True; allowed: 2"
        )
    return Theory(Fraction(1, 2), 2, "exact", "Watanabe 2009")

"""Mixtures of normal distributions with unit covariance."""

from fractions import Fraction

from slt_jax.theory.arguments import checked_integer
from slt_jax.theory.coefficients import Theory


def normal_mixture(
    num_components: int,
    *,
    dim: int = 1,
    true_components: int = 1,
    first_mean_fixed: bool = False,
) -> Theory:
    """Return the theory of Σ_h a_h N(b_h, I) in ℝ^D, weights free, with H₀ true components.

    If all H means are free, λ = (H₀D + H₀ − 1)/2 + (H − H₀) min(1/2, D/4), and m = 1 but for D = 2,
    where m = 1 + H − H₀. If the first mean is fixed at its true value 0, with two components and
    one true, (1 − a)N(0, I) + aN(b, I), then λ = 1/2, and m = 2 if D = 1, else 1.

    ``num_components`` is H ≥ H₀, or exactly 2 with ``first_mean_fixed``; ``dim`` is D ≥ 1;
    ``true_components`` is H₀ ≥ 1, with distinct means and positive weights, and 1 with
    ``first_mean_fixed``. The prior is positive and finite on the simplex of weights (a Dirichlet
    prior with all parameters 1, say) and on a bounded set of means with the true ones inside.
    Raises ValueError naming the argument and its value otherwise.

    Source: Watanabe, Algebraic Geometry and Statistical Learning Theory (2009), for the mixture
    with the first mean fixed; Yamazaki and Watanabe, Singularities in mixture models and upper
    bounds of stochastic complexity, Neural Networks 16 (2003), for the singularities of the other.
    Its value is elementary. Near a true parameter every component of positive weight has one of the
    true means. Let S₀, S₁, S₂ be sums over the components near one of them, of a_h, a_h(b_h − mean)
    and a_h|b_h − mean|². Derivatives of normal densities at distinct means are linearly independent
    and all a_h ≥ 0, so higher moments are at most a multiple of S₂ and K is between two positive
    multiples of the sum of all squared errors of S₀ and of |S₁|² + S₂². The errors of S₀ are H₀ − 1
    regular directions. S₂ − |S₁|²/S₀ is a positive quadratic form in the differences of means, with
    determinant ~ (∏_h a_h)^D, so a further component multiplies the volume of {K < ε²} by the
    integral of min(1, (ε/a)^{D/2}) over its weight a: ~ ε^{D/2} if D < 2, ε log(1/ε) if D = 2 and ε
    if D > 2, where it has a negligible weight and any mean.
    """
    h = checked_integer("num_components", num_components, 1)
    d = checked_integer("dim", dim, 1)
    h0 = checked_integer("true_components", true_components, 1)
    if h0 > h:
        raise ValueError(f"true_components={h0}; allowed: 1 to num_components={h}")
    if not first_mean_fixed:
        return Theory(
            learning_coefficient=Fraction(h0 * d + h0 - 1, 2) + (h - h0) * Fraction(min(d, 2), 4),
            multiplicity=1 + h - h0 if d == 2 else 1,
            kind="exact",
            source="volume of {K < e^2}; singularities as in Yamazaki and Watanabe 2003",
        )
    if h != 2:
        raise ValueError(
            f"num_components={num_components!r} with first_mean_fixed=True; allowed: 2"
        )
    if h0 != 1:
        raise ValueError(
            f"true_components={true_components!r} with first_mean_fixed=True; allowed: 1"
        )
    return Theory(Fraction(1, 2), 2 if d == 1 else 1, "exact", "Watanabe 2009")

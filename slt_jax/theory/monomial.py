"""Normal crossings: the case to which every other one is resolved."""

from collections.abc import Sequence
from fractions import Fraction

from slt_jax.theory.arguments import checked_integers
from slt_jax.theory.coefficients import Theory


def monomial(exponents: Sequence[int], prior_exponents: Sequence[int] | None = None) -> Theory:
    """Return the theory of K = ∏_j w_j^{2k_j} under a prior ~ ∏_j |w_j|^{h_j} near w = 0.

    λ = min_j (h_j + 1)/(2k_j) over the j with k_j > 0, and m is the number of j that attain it.

    ``exponents`` are the k_j ≥ 0, not all 0; where k_j = 0, w_j does not enter K.
    ``prior_exponents`` are the h_j ≥ 0, one to each k_j, or None for a prior that is positive and
    finite at 0 (all h_j = 0). Raises ValueError naming the argument and its value otherwise.

    Source: Watanabe, Algebraic Geometry and Statistical Learning Theory (2009); Arnold,
    Gusein-Zade and Varchenko, Singularities of Differentiable Maps, volume II (1988).
    """
    powers = checked_integers("exponents", exponents, 0)
    if not any(powers):
        raise ValueError(f"exponents={exponents!r}; allowed: at least one exponent > 0")
    given = [0] * len(powers) if prior_exponents is None else prior_exponents
    orders = checked_integers("prior_exponents", given, 0)
    if len(orders) != len(powers):
        raise ValueError(
            f"prior_exponents={prior_exponents!r}; allowed: as many as exponents={exponents!r}"
        )
    poles = [Fraction(h + 1, 2 * k) for k, h in zip(powers, orders, strict=True) if k > 0]
    return Theory(
        learning_coefficient=min(poles),
        multiplicity=poles.count(min(poles)),
        kind="exact",
        source="normal crossings, Watanabe 2009",
    )

"""Polynomial regression with products or powers of parameters as coefficients."""

from collections.abc import Sequence

from slt_jax.theory.arguments import checked_integers
from slt_jax.theory.coefficients import Theory, sum_of
from slt_jax.theory.monomial import monomial
from slt_jax.theory.regular import regular

_TRUTHS = ("1", "x", "x^2", "x^3", "x^4")


def skalse_polynomial(truth: str) -> Theory:
    """Return the theory of f = θ₁x⁴ + θ₂θ₃x³ + θ₄θ₅θ₆x² + θ₇…θ₁₀x + θ₁₁…θ₁₅.

    λ = 5/2, and m = 11 less (the number of factors of the coefficient that is 1 in the truth, less
    one): m = 11 for "0" and "x^4", 10 for "x^3", 9 for "x^2", 8 for "x", 7 for "1".

    K is between two positive multiples of the summed squares of the errors of the coefficients
    if the input takes five values or more, so it is a sum over five disjoint blocks. A block of j
    factors is ``monomial([1] * j)`` where the true coefficient is 0, and regular of dimension 1
    (the product has a non-zero gradient) where it is 1. The prior is positive on the true
    parameters.

    ``truth`` is "0", "1", "x", "x^2", "x^3" or "x^4". Raises ValueError naming it otherwise.

    Source: the polynomial is in Skalse, My Criticism of Singular Learning Theory (2023); the
    values follow from ``sum_of`` and ``monomial``.
    """
    if truth != "0" and truth not in _TRUTHS:
        raise ValueError(f"truth={truth!r}; allowed: '0', {', '.join(map(repr, _TRUTHS))}")
    return sum_of(
        *(
            regular(1) if truth == power else monomial([1] * (5 - degree))
            for degree, power in enumerate(_TRUTHS)
        )
    )


def power_coefficients(powers: Sequence[int], nonzero: Sequence[bool]) -> Theory:
    """Return the theory of f = Σ_i θ_i^{p_i} φ_i, φ_i linearly independent functions of the input.

    λ is the sum over i of 1/2 where the true coefficient of φ_i is not 0 and of 1/(2p_i) where it
    is; m = 1. Unlike for ``skalse_polynomial``, λ depends on the truth.

    K is between two positive multiples of the summed squares of the errors of the coefficients,
    so it is a sum over the θ_i: ``monomial([p_i])`` at θ_i = 0, regular elsewhere. The prior is
    positive on the true parameters.

    ``powers`` are the p_i ≥ 1, one or more; ``nonzero`` says for each if the true coefficient is
    not 0. Raises ValueError naming the argument and its value otherwise.

    Source: follows from ``sum_of`` and ``monomial``.
    """
    degrees = checked_integers("powers", powers, 1)
    given = list(nonzero)
    if not degrees or len(given) != len(degrees):
        raise ValueError(f"nonzero={nonzero!r}; allowed: one for each of powers={powers!r}")
    if not all(value is True or value is False for value in given):
        raise ValueError(f"nonzero={nonzero!r}; allowed: True and False")
    return sum_of(
        *(
            regular(1) if is_nonzero else monomial([p])
            for p, is_nonzero in zip(degrees, given, strict=True)
        )
    )

"""Deep linear networks: a product of any number of matrices."""

from collections.abc import Sequence
from fractions import Fraction
from itertools import accumulate, combinations

from slt_jax.theory.arguments import checked_integer, checked_integers
from slt_jax.theory.coefficients import Theory


def deep_linear(widths: Sequence[int], rank: int) -> Theory:
    """Return the theory of K = ‖A_L … A₁ − C‖², A_s of shape [H_{s+1}, H_s], true C of rank r.

    With M_s = H_s − r there is one set S of ℓ + 1 ≥ 2 layers such that max_S M < min_{not S} M and
    ℓ max_S M ≤ T < ℓ min_{not S} M, where T = Σ_{s in S} M_s. With a = T − (⌈T/ℓ⌉ − 1)ℓ,

    λ = (r(H₁ + H_{L+1} − r) + Σ_{i<j in S} M_i M_j)/2 + a(ℓ − a)/(4ℓ) − ℓ(ℓ − 1)(T/ℓ)²/4,
    m = a(ℓ − a) + 1.

    The covariance of the input is non-singular and the prior positive on the true parameters.

    ``widths`` are H₁ (input) to H_{L+1} (output), two or more, all ≥ 1; ``rank`` is r, from 0 to
    min_s H_s. Raises ValueError naming the argument and its value otherwise.

    Source: Aoyagi, Consideration on the learning efficiency of multiple-layered neural networks
    with linear units, Neural Networks 172 (2024) 106132; λ also in Pepin Lehalleur and Rimanyi,
    Geometry of fibers of the multiplication map of deep linear neural networks, arXiv:2411.19920
    (2024).
    """
    layers = checked_integers("widths", widths, 1)
    if len(layers) < 2:
        raise ValueError(f"widths={widths!r}; allowed: two widths or more")
    r = checked_integer("rank", rank, 0)
    if r > min(layers):
        raise ValueError(
            f"rank={r} exceeds the smallest of widths={widths!r}; allowed: 0 to {min(layers)}"
        )
    sigma = _thin_layers(sorted(h - r for h in layers))
    ell, total = len(sigma) - 1, sum(sigma)
    a = total - (-(-total // ell) - 1) * ell
    coefficient = (
        Fraction(r * (layers[0] + layers[-1] - r), 2)
        + Fraction(a * (ell - a), 4 * ell)
        - Fraction((ell - 1) * total**2, 4 * ell)
        + Fraction(sum(x * y for x, y in combinations(sigma, 2)), 2)
    )
    return Theory(coefficient, a * (ell - a) + 1, "exact", "Aoyagi 2024")


def _thin_layers(excess: list[int]) -> list[int]:
    """Select the M_s of S from all M_s in ascending order."""
    # S is the shortest prefix with T < ℓ · (the next M). That T ≥ ℓ max M then holds of itself:
    # each shorter prefix failed, so its T ≥ (ℓ − 1) max M, and adding max M completes it. A longer
    # prefix cannot qualify, since T < ℓ · (the next M) breaks T ≥ ℓ max M from there on.
    for size, total in enumerate(accumulate(excess[:-1]), start=1):
        if size > 1 and total < (size - 1) * excess[size]:
            return excess[:size]
    return excess

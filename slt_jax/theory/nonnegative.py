"""Non-negative matrix factorisation."""

from slt_jax.theory.arguments import checked_integer
from slt_jax.theory.coefficients import Theory, product_of, sum_of
from slt_jax.theory.regular import regular


def nonnegative_factorisation(
    num_rows: int, num_columns: int, hidden_dim: int, true_hidden_dim: int
) -> Theory:
    """Return the theory of K = ‖XY − C‖², X [M, H] and Y [H, N] with entries ≥ 0.

    If the truth C has the non-negative rank H₀, then

    λ ≤ (H₀(M + N − 1) + (H − H₀) min(M, N))/2,

    an equality where H₀ = 0, with m = 1 + H if M = N and else 1, and where H = H₀ = 1, with
    m = 1. In the bound, m is that of a function above K.

    ``num_rows`` is M, ``num_columns`` N and ``hidden_dim`` H, all ≥ 1; ``true_hidden_dim`` is H₀, 0
    to H. The prior is positive and finite on the true parameters. Raises ValueError naming the
    argument and its value otherwise.

    Source: Hayashi and Watanabe, Upper bound of Bayesian generalization error in non-negative
    matrix factorization, Neurocomputing 266 (2017) 21-28. K is at most a multiple of the sum over
    h of ‖x_h y_h − C_h‖², of which H₀ have C_h ≠ 0 and M + N − 1 regular directions each, and
    the others are |x_h|²|y_h|², products of squared norms. With C = 0 nothing cancels, so that
    K is at least that sum too.
    """
    m = checked_integer("num_rows", num_rows, 1)
    n = checked_integer("num_columns", num_columns, 1)
    h = checked_integer("hidden_dim", hidden_dim, 1)
    h0 = checked_integer("true_hidden_dim", true_hidden_dim, 0)
    if h0 > min(h, m, n):
        raise ValueError(f"true_hidden_dim={h0}; allowed: 0 to {min(h, m, n)}")
    terms = [regular(m + n - 1)] * h0 + [product_of(regular(m), regular(n))] * (h - h0)
    known = sum_of(*terms)
    return Theory(
        known.learning_coefficient,
        known.multiplicity,
        "exact" if h0 == 0 or h == h0 == 1 else "upper bound",
        "Hayashi and Watanabe 2017",
    )

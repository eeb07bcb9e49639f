"""Reduced-rank regression y = B A x + noise: two linear layers."""

from fractions import Fraction

from slt_jax.theory.arguments import checked_integer
from slt_jax.theory.coefficients import Theory


def reduced_rank(input_dim: int, output_dim: int, hidden_dim: int, rank: int) -> Theory:
    """The theory of K = ||B A - C||^2, A of shape H x M, B of shape N x H, true C of rank r.

    With M = input_dim, N = output_dim, H = hidden_dim, r = rank:

    1. N + r <= M + H, M + r <= N + H and H + r <= M + N: lambda = (2(H+r)(M+N) - (M-N)^2
       - (H+r)^2)/8 and m = 1 if M + N + H + r is even; 1/8 more and m = 2 if it is odd;
    2. M + H < N + r: lambda = (HM - Hr + Nr)/2, m = 1;
    3. N + H < M + r: lambda = (HN - Hr + Mr)/2, m = 1;
    4. M + N < H + r: lambda = MN/2, m = 1.

    The covariance of the input is non-singular and the prior positive on the true parameters.

    M, N, H >= 1 and 0 <= r <= min(M, N, H). Raises ValueError naming the argument and its value
    otherwise.

    Source: Aoyagi and Watanabe, Stochastic complexities of reduced rank regression in Bayesian
    estimation, Neural Networks 18 (2005) 924-933, main theorem.
    """
    m = checked_integer("input_dim", input_dim, 1)
    n = checked_integer("output_dim", output_dim, 1)
    h = checked_integer("hidden_dim", hidden_dim, 1)
    r = checked_integer("rank", rank, 0)
    if r > min(m, n, h):
        raise ValueError(
            f"rank={r} exceeds the smallest of input_dim={m}, output_dim={n}, hidden_dim={h}; "
            f"allowed: 0 to {min(m, n, h)}"
        )
    multiplicity = 1
    if m + h < n + r:
        coefficient = Fraction(h * m - h * r + n * r, 2)
    elif n + h < m + r:
        coefficient = Fraction(h * n - h * r + m * r, 2)
    elif m + n < h + r:
        coefficient = Fraction(m * n, 2)
    else:
        odd = (m + n + h + r) % 2
        coefficient = Fraction(2 * (h + r) * (m + n) - (m - n) ** 2 - (h + r) ** 2 + odd, 8)
        multiplicity += odd
    return Theory(coefficient, multiplicity, "exact", "Aoyagi and Watanabe 2005 (reduced rank)")


def rank_one_factorisation(n: int, m: int) -> Theory:
    """The theory of K = ||u v^T||^2 = |u|^2 |v|^2, u of length n and v of length m, truth 0.

    lambda = min(n, m)/2, and m = 2 if n = m, else 1: reduced-rank regression with one hidden unit.

    n, m >= 1. Raises ValueError naming the argument and its value otherwise.

    Source: as `reduced_rank`.
    """
    return reduced_rank(
        input_dim=checked_integer("m", m, 1),
        output_dim=checked_integer("n", n, 1),
        hidden_dim=1,
        rank=0,
    )

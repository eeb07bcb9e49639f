"""Reduced-rank regression y = B A x + noise: two linear layers."""

from fractions import Fraction

from slt_jax.theory.arguments import checked_integer
from slt_jax.theory.coefficients import Theory, sum_of
from slt_jax.theory.regular import regular


def reduced_rank(input_dim: int, output_dim: int, hidden_dim: int, rank: int) -> Theory:
    """Return the theory of K = ‖BA − C‖², A [H, M], B [N, H], true C of rank r.

    1. N + r ≤ M + H, M + r ≤ N + H and H + r ≤ M + N: λ = (2(H + r)(M + N) − (M − N)²
       − (H + r)²)/8 and m = 1 if M + N + H + r is even; 1/8 more and m = 2 if it is odd;
    2. M + H < N + r: λ = (HM − Hr + Nr)/2, m = 1;
    3. N + H < M + r: λ = (HN − Hr + Mr)/2, m = 1;
    4. M + N < H + r: λ = MN/2, m = 1.

    The covariance of the input is non-singular and the prior positive on the true parameters.

    ``input_dim`` is M, ``output_dim`` N and ``hidden_dim`` H, all ≥ 1; ``rank`` is r, 0 to
    min(M, N, H). Raises ValueError naming the argument and its value otherwise.

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


def reduced_rank_local(
    input_dim: int, output_dim: int, hidden_dim: int, rank: int, rank_first: int, rank_second: int
) -> Theory:
    """Return the local theory of K = ‖BA − C‖² near a point with BA = C of rank r.

    With a the rank of A and b that of B at the point,

    λ = (Na + Mb − ab)/2 + λ' and m = m', where (λ', m') is ``reduced_rank`` of
    dimensions M − a, N − b, H − a − b + r and rank 0, or (0, 1) if one of them is 0.

    The local λ is the exponent of the prior volume of {K < ε} in any small ball around the
    point. The covariance of the input is non-singular and the prior positive at the point.

    ``input_dim`` is M, ``output_dim`` N and ``hidden_dim`` H, all ≥ 1; ``rank`` is r,
    ``rank_first`` a and ``rank_second`` b, 0 ≤ r ≤ a ≤ min(M, H), r ≤ b ≤ min(N, H) and
    a + b − r ≤ H (Sylvester's inequality). Raises ValueError naming the argument and its value
    otherwise.

    Source: ``reduced_rank``, and elementary, as follows. Take bases in which A = (I_a, 0; 0, 0) at
    the point. Near it A = L(A₁, A₁X; 0, S) with A₁ and L invertible and X, S small. With (B₁, B₂) =
    BL and C = (C₁, 0), K is between two positive multiples of ‖E‖² + ‖C₁X + B₂S‖², E = B₁A₁ − C₁:
    Na regular directions, then r(M − a) more, because C₁ has rank r, and what is left of B₂S modulo
    the image of C₁. There B₂ has N − r rows and rank b − r, which by the same step, transposed,
    gives (b − r)(M − a) regular directions and a problem of the stated dimensions and rank 0 at A =
    0, B = 0. There the local theory is the main theorem's: scaling (A, B) to (cA, cB) takes every
    true point into the ball.
    """
    m = checked_integer("input_dim", input_dim, 1)
    n = checked_integer("output_dim", output_dim, 1)
    h = checked_integer("hidden_dim", hidden_dim, 1)
    r = checked_integer("rank", rank, 0)
    a = checked_integer("rank_first", rank_first, r)
    b = checked_integer("rank_second", rank_second, r)
    if a > min(m, h):
        raise ValueError(f"rank_first={a}; allowed: {r} to {min(m, h)}")
    if b > min(n, h, h + r - a):
        raise ValueError(
            f"rank_second={b} with rank_first={a}, rank={r}; allowed: {r} to {min(n, h, h + r - a)}"
        )
    directions = regular(n * a + m * b - a * b)
    rest = m - a, n - b, h - a - b + r
    known = sum_of(directions, reduced_rank(*rest, 0)) if min(rest) > 0 else directions
    return Theory(
        known.learning_coefficient,
        known.multiplicity,
        "exact",
        "regular directions split off Aoyagi and Watanabe 2005 (reduced rank)",
    )


def rank_one_factorisation(n: int, m: int) -> Theory:
    """Return the theory of K = ‖uvᵀ‖² = |u|²|v|², u [n] and v [m], truth 0.

    λ = min(n, m)/2, and the multiplicity is 2 if n = m, else 1: this is reduced-rank regression
    with one hidden unit. Raises ValueError naming the argument and its value unless n, m ≥ 1.

    Source: as ``reduced_rank``.
    """
    return reduced_rank(
        input_dim=checked_integer("m", m, 1),
        output_dim=checked_integer("n", n, 1),
        hidden_dim=1,
        rank=0,
    )

"""Networks with one hidden layer and one input, and the ideals behind them."""

from fractions import Fraction

from slt_jax.theory.arguments import checked_integer
from slt_jax.theory.coefficients import Theory


def vandermonde(hidden_dim: int, output_dim: int, q: int) -> Theory:
    """Return the theory of a Vandermonde-type singularity with one input, at the origin.

    K is the sum over outputs c = 1 … M and j ≥ 0 of (Σ_{h≤H} a_ch b_h^{qj + 1})². With
    k = max{i ≥ 0 : 2H ≥ M(i(i − 1)q + 2i)},

    λ = (Mqk(k + 1) + 2H)/(4(1 + kq)); m = 2 if 2H = M(k(k − 1)q + 2k) with k ≥ 1, else 1.

    q = 2 is an odd activation such as tanh without biases, q = 1 one whose Taylor coefficients of
    order ≥ 1 are all non-zero.

    ``hidden_dim`` is H, ``output_dim`` M, and they and ``q`` are ≥ 1. Raises ValueError naming the
    argument and its value otherwise.

    Source: Aoyagi, A Bayesian learning coefficient of generalization error and Vandermonde
    matrix-type singularities, Communications in Statistics - Theory and Methods 39 (2010)
    2667-2687; Aoyagi and Nagata, Learning coefficient of generalization error in Bayesian
    estimation and Vandermonde matrix-type singularity, Neural Computation 24 (2012) 1569-1610.
    """
    h = checked_integer("hidden_dim", hidden_dim, 1)
    m = checked_integer("output_dim", output_dim, 1)
    q = checked_integer("q", q, 1)

    def needed(i: int) -> int:
        return m * (i * (i - 1) * q + 2 * i)

    k = 0
    while 2 * h >= needed(k + 1):
        k += 1
    return Theory(
        learning_coefficient=Fraction(m * q * k * (k + 1) + 2 * h, 4 * (1 + k * q)),
        multiplicity=2 if k > 0 and 2 * h == needed(k) else 1,
        kind="exact",
        source="Aoyagi 2010; Aoyagi and Nagata 2012",
    )


def tanh_zero_truth(hidden_dim: int) -> Theory:
    """Return the theory of f(x) = Σ_h a_h tanh(b_h x), one input and one output, at the truth 0.

    With k = ⌊√H⌋, λ = (H + k² + k)/(4k + 2), and m = 2 if H = k², else 1. This is
    ``vandermonde(hidden_dim, 1, 2)``. ``hidden_dim`` is H ≥ 1. Raises ValueError naming it and its
    value otherwise.

    Source: Aoyagi and Watanabe, Resolution of singularities and the generalization error with
    Bayesian estimation for layered neural network, IEICE Transactions J88-D-II (2005) 2112-2124.
    """
    theory = vandermonde(hidden_dim, 1, 2)
    return Theory(
        learning_coefficient=theory.learning_coefficient,
        multiplicity=theory.multiplicity,
        kind="exact",
        source="Aoyagi and Watanabe 2005 (layered neural network)",
    )


def surplus_unit(input_dim: int, output_dim: int, true_units: int) -> Theory:
    """Return the theory of f(x) = Σ_h a_h σ(b_h·x) with one unit more than its truth has.

    With H₀ true units, N inputs (a bias counts as one) and M outputs,

    λ = ((M + N)H₀ + min(M, N, (M + N − 1)/2))/2; m = 2 if |M − N| = 1, else 1.

    σ is analytic. The truth has no representation with fewer units; at its units σ, its first and
    its second derivatives in b are linearly independent, and independent of σ(b·x) at any further
    b, or of b·x where σ is odd and b = 0. The prior is positive on the true parameters.

    ``input_dim`` is N ≥ 1, ``output_dim`` M ≥ 1 and ``true_units`` H₀ ≥ 1. Raises ValueError naming
    the argument and its value otherwise.

    Source: derived here, checked by ``check``, as follows. The true units are (M + N)H₀ regular
    directions, of what they and the surplus unit add up to. Let that be at a distance δ of a true
    unit, with the part s of its output weights along the true ones and t across. What is left of K
    is between two positive multiples of |t|²|δ|² + (s(1 − s))²|δ|⁴, t in M − 1 dimensions and δ in
    N. The volume of {K < ε} at |δ| is ε^{(M−1)/2}|δ|^{N−M} d|δ| from ε^{1/2} to ε^{1/4}, where all
    s are free, and ε^{M/2}|δ|^{N−M−2} d|δ| from there to 1. So it is one of ε^{N/2},
    ε^{(M+N−1)/4} and ε^{M/2}, with a logarithm if |M − N| = 1. An odd σ at b = 0 leaves |a|²|b|²,
    whose exponent min(M, N)/2 is no less.
    """
    n = checked_integer("input_dim", input_dim, 1)
    m = checked_integer("output_dim", output_dim, 1)
    h = checked_integer("true_units", true_units, 1)
    surplus = min(Fraction(m), Fraction(n), Fraction(m + n - 1, 2))
    return Theory(
        learning_coefficient=((m + n) * h + surplus) / 2,
        multiplicity=2 if abs(m - n) == 1 else 1,
        kind="exact",
        source="derived here, checked",
    )


def relu_zero_truth(hidden_dim: int) -> Theory:
    """Return the theory of f(x) = Σ_h a_h max(b_h x, 0), one input and one output, at the truth 0.

    λ = 1/2, and m = 2 if H = 1, else 1. The input takes both signs with positive probability; there
    are no biases. ``hidden_dim`` is H ≥ 1. Raises ValueError naming it and its value otherwise.

    Source: elementary, as follows. Fix the signs of the b_h, p of them positive. Then K is between
    two positive multiples of A² + B², where A is the sum of a_h b_h over the positive b_h and B
    that over the others. Each of A² and B² is reduced-rank regression with one input, one output
    and true rank 0, so (1/2, 2) with one unit and (1/2, 1) with more. By the sum rule λ is 1
    where both signs occur and 1/2 where one does, and the least of these is λ.
    """
    h = checked_integer("hidden_dim", hidden_dim, 1)
    return Theory(
        learning_coefficient=Fraction(1, 2),
        multiplicity=2 if h == 1 else 1,
        kind="exact",
        source="reduced-rank regression on each orthant of the input weights",
    )

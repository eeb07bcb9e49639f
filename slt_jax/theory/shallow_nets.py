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

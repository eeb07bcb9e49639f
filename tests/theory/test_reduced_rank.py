from fractions import Fraction
from itertools import product

import numpy as np
import pytest
from scipy.special import logsumexp

from slt_jax.theory import (
    monomial,
    product_of,
    rank_one_factorisation,
    reduced_rank,
    reduced_rank_local,
    regular,
)

ALL_CASES = [
    (m, n, h, r) for m, n, h in product(range(1, 7), repeat=3) for r in range(min(m, n, h) + 1)
]


def value(theory):
    return theory.learning_coefficient, theory.multiplicity


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((1, 1, 1, 0), (Fraction(1, 2), 2)),
        ((1, 1, 1, 1), (Fraction(1, 2), 1)),
        ((2, 2, 2, 0), (Fraction(3, 2), 1)),
        ((2, 2, 2, 1), (Fraction(2), 2)),
        ((5, 4, 3, 2), (Fraction(8), 1)),
        ((2, 6, 2, 1), (Fraction(4), 1)),
        ((6, 2, 2, 1), (Fraction(4), 1)),
        ((2, 2, 6, 0), (Fraction(2), 1)),
    ],
)
def test_by_hand(arguments, expected):
    assert value(reduced_rank(*arguments)) == expected
    assert reduced_rank(*arguments).kind == "exact"


def test_coefficient_is_half_the_least_codimension():
    """The fibre over C is stratified by the rank r + t of A, and K is C's squared distance.

    Codimension of {rank A = r + t, B A = C}: after the r directions of C are removed,
    (M' − t)(H' − t) equations say that A has rank t and t N' that B vanishes on its image, with
    M' = M − r and so on. The r directions themselves cost r (M + N − r). Ranks t that tie are
    strata that meet, and each further one adds a logarithm.
    """
    for m, n, h, r in ALL_CASES:
        codimensions = [
            (m - r - t) * (h - r - t) + t * (n - r) for t in range(min(m - r, h - r) + 1)
        ]
        expected = Fraction(r * (m + n - r) + min(codimensions), 2)
        theory = reduced_rank(m, n, h, r)
        assert theory.learning_coefficient == expected
        assert theory.multiplicity == codimensions.count(min(codimensions))


def test_transposition_exchanges_input_and_output():
    for m, n, h, r in ALL_CASES:
        assert reduced_rank(m, n, h, r) == reduced_rank(n, m, h, r)


def test_never_above_the_regular_model_and_equal_to_it_without_a_bottleneck():
    for m, n, h, r in ALL_CASES:
        theory = reduced_rank(m, n, h, r)
        assert theory.learning_coefficient <= regular(m * n).learning_coefficient
        if r == min(m, n):
            assert value(theory) == value(regular(m * n))


def ranks_of_factors(m, n, h, r):
    """All (a, b) that factors of these shapes can have when the product has rank r."""
    return [
        (a, b) for a in range(r, min(m, h) + 1) for b in range(r, min(n, h) + 1) if a + b - r <= h
    ]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        # (M, N, H, r, a, b): a full-rank factor leaves a linear problem
        ((2, 3, 2, 0, 2, 0), (Fraction(3), 1)),
        ((2, 2, 2, 0, 0, 0), (Fraction(3, 2), 1)),
        ((2, 2, 2, 0, 1, 0), (Fraction(3, 2), 1)),
        ((2, 2, 2, 0, 1, 1), (Fraction(3, 2), 1)),
        ((2, 2, 3, 0, 1, 1), (Fraction(2), 2)),
        ((2, 2, 3, 1, 2, 1), (Fraction(2), 1)),
    ],
)
def test_local_by_hand(arguments, expected):
    assert value(reduced_rank_local(*arguments)) == expected


def test_the_global_theory_is_the_least_local_one():
    """Least λ, largest m; it is found where the factors have no more rank than they need."""
    for m, n, h, r in ALL_CASES:
        local = [
            value(reduced_rank_local(m, n, h, r, a, b)) for a, b in ranks_of_factors(m, n, h, r)
        ]
        least = min(local, key=lambda pair: (pair[0], -pair[1]))
        assert least == value(reduced_rank(m, n, h, r)) == local[0]


def test_local_transposition_exchanges_the_factors():
    for m, n, h, r in ALL_CASES:
        for a, b in ranks_of_factors(m, n, h, r):
            expected = value(reduced_rank_local(n, m, h, r, b, a))
            assert value(reduced_rank_local(m, n, h, r, a, b)) == expected


def test_local_smooth_points_cost_half_the_codimension():
    """{B A = C} is smooth where a + b − r = H: the map (A, B) → B A has rank N a + M b − a b."""
    rng = np.random.default_rng(0)
    for m, n, h, r in [case for case in ALL_CASES if max(case) < 4]:
        for a, b in ranks_of_factors(m, n, h, r):
            if a + b - r < h:
                continue
            first, second = np.zeros((h, m)), np.zeros((n, h))
            first[range(a), range(a)] = 1.0
            second[range(b), [*range(r), *range(a, h)]] = 1.0
            tangents = [
                (second @ da + db @ first).ravel()
                for da, db in zip(
                    rng.normal(size=(40, h, m)), rng.normal(size=(40, n, h)), strict=True
                )
            ]
            expected = Fraction(int(np.linalg.matrix_rank(np.array(tangents))), 2), 1
            assert value(reduced_rank_local(m, n, h, r, a, b)) == expected


def test_one_by_one_by_one_is_a_monomial():
    assert value(reduced_rank(1, 1, 1, 0)) == value(monomial([1, 1]))


def test_rank_one_factorisation_is_a_product_of_squared_norms():
    for n, m in product(range(1, 20), repeat=2):
        expected = value(product_of(regular(n), regular(m)))
        assert value(rank_one_factorisation(n, m)) == expected
        assert expected == (Fraction(min(n, m), 2), 2 if n == m else 1)


@pytest.mark.parametrize(("n", "m"), [(1, 1), (1, 2), (2, 2), (3, 3), (4, 2), (3, 4)])
def test_rank_one_factorisation_by_quadrature(n, m, assert_scaling):
    """E exp(−N |u|² |v|² / 2), u and v standard normal: v is integrated out, |u|² is chi-square.

    What is left after N^{−λ} is of relative order N^{-1/2}, below rounding here; rounding is
    1e-13 of log Z and grows with the order of the difference to 1e-9.
    """
    t = np.arange(-800, 30) * 0.25
    theory = rank_one_factorisation(n, m)
    log_n = np.linspace(80, 160, theory.multiplicity + 1)
    log_z = np.array(
        [logsumexp(n / 2 * t - np.exp(t) / 2 - m / 2 * np.logaddexp(0, x + t)) for x in log_n]
    )
    assert_scaling(theory, log_n, log_z, 1e-7)


@pytest.mark.parametrize(
    ("input_dim", "hidden_dim"),
    [(1, 2), (2, 2), (3, 2), (4, 2), (5, 2), (1, 3), (2, 3), (3, 3), (2, 4), (4, 4)],
)
def test_two_outputs_by_quadrature(input_dim, hidden_dim, assert_scaling):
    """E exp(−n ‖B A‖² / 2), standard normal A and B, B of two rows: A is integrated out.

    What is left is E ∏_i (1 + n l_i)^{-M/2} over the eigenvalues l₁, l₂ of the Wishart matrix
    B Bᵀ, whose joint density is known. |l₁ − l₂| has a kink, where the trapezoidal rule in the
    log l_i errs by a factor that does not depend on n, so it cancels; next poles are further by
    1/2, so rounding, about 1e-9 of the difference, is what is left.
    """
    t = np.arange(-1000, 25) * 0.25
    # Half a step apart, so that the two eigenvalues never coincide on the grid.
    t1, t2 = t[:, None], t[None, :] + 0.125
    log_vandermonde = np.maximum(t1, t2) + np.log(-np.expm1(-np.abs(t1 - t2)))
    log_density = (hidden_dim - 1) / 2 * (t1 + t2) + log_vandermonde - (np.exp(t1) + np.exp(t2)) / 2
    theory = reduced_rank(input_dim, 2, hidden_dim, 0)
    log_n = np.linspace(50, 100, theory.multiplicity + 1)
    log_z = np.array(
        [
            logsumexp(
                log_density - input_dim / 2 * (np.logaddexp(0, x + t1) + np.logaddexp(0, x + t2))
            )
            for x in log_n
        ]
    )
    assert_scaling(theory, log_n, log_z, 1e-6)

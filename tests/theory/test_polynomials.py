from fractions import Fraction

import pytest

from slt_jax.theory import monomial, power_coefficients, regular, skalse_polynomial, sum_of


@pytest.mark.parametrize(
    ("truth", "multiplicity"),
    # Blocks of 1, 2, 3, 4, 5 factors add 0, 1, 2, 3, 4 to m − 1; that of the truth adds nothing.
    [("0", 11), ("1", 7), ("x", 8), ("x^2", 9), ("x^3", 10), ("x^4", 11)],
)
def test_by_hand(truth, multiplicity):
    theory = skalse_polynomial(truth)
    assert theory.learning_coefficient == Fraction(5, 2)
    assert theory.multiplicity == multiplicity
    assert theory.kind == "exact"


@pytest.mark.parametrize(
    ("powers", "nonzero", "expected"),
    [
        ((1,), (False,), Fraction(1, 2)),
        ((3,), (False,), Fraction(1, 6)),
        ((3,), (True,), Fraction(1, 2)),
        ((5, 4, 3, 2, 1), (False,) * 5, Fraction(137, 120)),
        ((5, 4, 3, 2, 1), (True, False, False, False, False), Fraction(37, 24)),
    ],
)
def test_powers_by_hand(powers, nonzero, expected):
    theory = power_coefficients(powers, nonzero)
    assert (theory.learning_coefficient, theory.multiplicity) == (expected, 1)
    assert theory.kind == "exact"


def test_powers_are_regular_where_no_coefficient_vanishes():
    theory = power_coefficients((5, 4, 3), (True, True, True))
    assert theory.learning_coefficient == regular(3).learning_coefficient


def test_powers_are_a_sum_of_monomials_where_all_vanish():
    theory = power_coefficients((5, 4, 3), (False, False, False))
    expected = sum_of(*(monomial([p]) for p in (5, 4, 3)))
    assert theory.learning_coefficient == expected.learning_coefficient

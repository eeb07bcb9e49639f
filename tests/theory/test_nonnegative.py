from fractions import Fraction
from itertools import product

import pytest

from slt_jax.theory import nonnegative_factorisation, rank_one_factorisation, regular


def value(theory):
    return theory.learning_coefficient, theory.multiplicity


@pytest.mark.parametrize(
    ("arguments", "expected", "kind"),
    [
        ((2, 3, 2, 0), (Fraction(2), 1), "exact"),
        ((2, 2, 2, 0), (Fraction(2), 3), "exact"),
        ((2, 3, 1, 1), (Fraction(2), 1), "exact"),
        ((2, 3, 2, 1), (Fraction(3), 1), "upper bound"),
        ((4, 4, 3, 2), (Fraction(9), 2), "upper bound"),
    ],
)
def test_by_hand(arguments, expected, kind):
    assert value(nonnegative_factorisation(*arguments)) == expected
    assert nonnegative_factorisation(*arguments).kind == kind


def test_the_published_bound():
    for m, n, h in product(range(1, 6), repeat=3):
        for h0 in range(min(m, n, h) + 1):
            expected = Fraction((h - h0) * min(m, n) + h0 * (m + n - 1), 2)
            theory = nonnegative_factorisation(m, n, h, h0)
            assert theory.learning_coefficient == expected
            assert expected <= regular(h * (m + n)).learning_coefficient


def test_one_unit_has_no_signs_to_lose():
    for m, n in product(range(1, 6), repeat=2):
        assert value(nonnegative_factorisation(m, n, 1, 0)) == value(rank_one_factorisation(m, n))
        assert value(nonnegative_factorisation(m, n, 1, 1)) == value(regular(m + n - 1))

from fractions import Fraction

import pytest

from slt_jax.theory import naive_bayes, one_factor_analysis, regular


def value(theory):
    return theory.learning_coefficient, theory.multiplicity


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((1, 0), (Fraction(1, 2), 1)),
        ((2, 0), (Fraction(3, 2), 3)),
        ((2, 2), (Fraction(3, 2), 1)),
        ((3, 0), (Fraction(2), 1)),
        ((4, 2), (Fraction(7, 2), 1)),
        ((4, 3), (Fraction(9, 2), 1)),
    ],
)
def test_naive_bayes_by_hand(arguments, expected):
    assert value(naive_bayes(*arguments)) == expected
    assert naive_bayes(*arguments).kind == "exact"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((1, 0), (Fraction(1, 2), 1)),
        ((2, 0), (Fraction(3, 2), 2)),
        ((2, 2), (Fraction(3, 2), 1)),
        ((3, 0), (Fraction(9, 4), 1)),
        ((4, 2), (Fraction(7, 2), 1)),
        ((4, 3), (Fraction(4), 1)),
    ],
)
def test_one_factor_by_hand(arguments, expected):
    assert value(one_factor_analysis(*arguments)) == expected
    assert one_factor_analysis(*arguments).kind == "exact"


def test_three_dependent_variables_make_it_regular():
    for n in range(3, 8):
        for c in range(3, n + 1):
            assert value(naive_bayes(n, c)) == value(regular(2 * n + 1))
            assert value(one_factor_analysis(n, c)) == value(regular(2 * n))


@pytest.mark.parametrize("theorem", [naive_bayes, one_factor_analysis])
def test_less_dependence_is_never_dearer(theorem):
    for n in range(3, 8):
        none, two, three = (theorem(n, c).learning_coefficient for c in (0, 2, 3))
        assert none < two < three


@pytest.mark.parametrize("theorem", [naive_bayes, one_factor_analysis])
def test_two_variables_are_a_two_by_two_table(theorem):
    # One correlation and two margins are all that two dependent variables have.
    assert value(theorem(2, 2)) == value(regular(3))

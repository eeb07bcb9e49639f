import math
from dataclasses import FrozenInstanceError
from fractions import Fraction
from itertools import product

import numpy as np
import pytest

from slt_jax.theory import Theory, monomial, product_of, regular, sum_of

KINDS = ("exact", "upper bound", "conjecture")


def theory(numerator: int, denominator: int, multiplicity: int, kind: str = "exact") -> Theory:
    return Theory(Fraction(numerator, denominator), multiplicity, kind, f"{numerator}: {kind}")


def value(t: Theory) -> tuple[Fraction, int]:
    return t.learning_coefficient, t.multiplicity


def test_is_frozen_and_compares_by_value():
    assert theory(1, 2, 1) == theory(1, 2, 1)
    with pytest.raises(FrozenInstanceError):
        theory(1, 2, 1).multiplicity = 2


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ((Fraction(-1, 2), 1, "exact", "s"), "learning_coefficient=Fraction(-1, 2)"),
        ((0.5, 1, "exact", "s"), "learning_coefficient=0.5"),
        ((1, 1, "exact", "s"), "learning_coefficient=1"),
        ((Fraction(1, 2), 0, "exact", "s"), "multiplicity=0"),
        ((Fraction(1, 2), 1.0, "exact", "s"), "multiplicity=1.0"),
        ((Fraction(0), 2, "exact", "s"), "multiplicity=2"),
        ((Fraction(1, 2), 1, "bound", "s"), "kind='bound'"),
        ((Fraction(1, 2), 1, "exact", ""), "source=''"),
    ],
)
def test_refuses_impossible_fields(arguments, named):
    with pytest.raises(ValueError) as error:
        Theory(*arguments)
    assert named in str(error.value)


def test_asymptote_by_hand():
    t = theory(3, 4, 3)
    n = math.exp(math.e)
    assert float(t.free_energy_asymptote(n)) == pytest.approx(0.75 * math.e - 2, rel=1e-15)
    assert t.free_energy_asymptote(n).shape == ()


def test_asymptote_has_the_shape_of_n():
    n = np.array([[2, 10, 100], [10**3, 10**6, 10**12]])
    expected = 0.5 * np.log(n) - np.log(np.log(n))
    np.testing.assert_allclose(theory(1, 2, 2).free_energy_asymptote(n), expected, rtol=1e-15)
    np.testing.assert_array_equal(
        theory(1, 2, 2).free_energy_asymptote(n.tolist()),
        theory(1, 2, 2).free_energy_asymptote(n),
    )


@pytest.mark.parametrize(
    ("n", "named"),
    [(1, "n=1.0"), (0, "n=0.0"), (-3.5, "n=-3.5"), ([10, 0.25, 1], "n=0.25"), (math.nan, "n=nan")],
)
def test_asymptote_refuses_n_up_to_one(n, named):
    with pytest.raises(ValueError) as error:
        theory(1, 2, 1).free_energy_asymptote(n)
    assert named in str(error.value)


def test_combinators_by_hand():
    assert value(sum_of(theory(1, 2, 2), theory(3, 4, 3))) == (Fraction(5, 4), 4)
    assert value(product_of(theory(1, 2, 2), theory(3, 4, 3))) == (Fraction(1, 2), 2)
    assert value(product_of(theory(1, 2, 2), theory(3, 4, 1), theory(1, 2, 3))) == (
        Fraction(1, 2),
        5,
    )
    assert (
        value(sum_of(theory(1, 2, 2))) == value(product_of(theory(1, 2, 2))) == (Fraction(1, 2), 2)
    )


@pytest.mark.parametrize("combine", [sum_of, product_of])
def test_combinators_ignore_order_and_grouping(combine):
    theories = [theory(p, q, m) for p, q, m in product((1, 3), (2, 4), (1, 2))]
    for a, b, c in product(theories, repeat=3):
        expected = value(combine(a, b, c))
        assert value(combine(c, a, b)) == expected
        assert value(combine(a, combine(b, c))) == expected
        assert value(combine(combine(a, b), c)) == expected


def test_sums_of_regular_models_are_regular():
    for dims in product(range(5), repeat=3):
        assert value(sum_of(*map(regular, dims))) == value(regular(sum(dims)))


def test_products_of_monomials_are_monomials():
    for exponents in product(range(1, 4), repeat=3):
        factors = (monomial([k]) for k in exponents)
        assert value(product_of(*factors)) == value(monomial(exponents))


def test_where_k_vanishes_with_positive_probability():
    # K₁ = 0 everywhere makes the product 0 everywhere: regular(0) again. In a sum it adds nothing.
    assert value(product_of(regular(0), regular(0), monomial([1]))) == value(regular(0))
    assert value(sum_of(regular(0), monomial([1, 1]))) == value(monomial([1, 1]))


@pytest.mark.parametrize("combine", [sum_of, product_of])
def test_the_weakest_kind_wins(combine):
    for kinds in product(KINDS, repeat=3):
        combined = combine(*(theory(i + 1, 2, 1, kind) for i, kind in enumerate(kinds)))
        assert combined.kind == max(kinds, key=KINDS.index)


@pytest.mark.parametrize("combine", [sum_of, product_of])
def test_sources_are_joined_once_each(combine):
    source = combine(theory(1, 2, 1), theory(3, 2, 1), theory(1, 2, 1)).source
    assert source.count("1: exact") == 1
    assert source.count("3: exact") == 1


@pytest.mark.parametrize("combine", [sum_of, product_of])
def test_combinators_need_a_theory(combine):
    with pytest.raises(ValueError) as error:
        combine()
    assert "theories=()" in str(error.value)

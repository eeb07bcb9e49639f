from fractions import Fraction

from slt_jax.theory import regular


def test_half_a_unit_for_each_parameter():
    for dim in range(10):
        theory = regular(dim)
        assert (theory.learning_coefficient, theory.multiplicity) == (Fraction(dim, 2), 1)
        assert theory.kind == "exact"

from fractions import Fraction

import pytest

from slt_jax.theory import skalse_polynomial


@pytest.mark.parametrize(
    ("truth", "multiplicity"),
    # Blocks of 1, 2, 3, 4, 5 factors add 0, 1, 2, 3, 4 to m - 1; that of the truth adds nothing.
    [("0", 11), ("1", 7), ("x", 8), ("x^2", 9), ("x^3", 10), ("x^4", 11)],
)
def test_by_hand(truth, multiplicity):
    theory = skalse_polynomial(truth)
    assert theory.learning_coefficient == Fraction(5, 2)
    assert theory.multiplicity == multiplicity
    assert theory.kind == "exact"

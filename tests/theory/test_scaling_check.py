"""The check that the quadratures rely on tells a pair from its neighbours."""

from fractions import Fraction
from itertools import product

import numpy as np
import pytest

from slt_jax.theory import Theory

SHIFTS = [Fraction(0), Fraction(1, 48), Fraction(-1, 48)]


@pytest.mark.parametrize("multiplicity", [1, 2, 3, 4])
def test_only_the_right_pair_passes(multiplicity, assert_scaling):
    for shift, claimed in product(SHIFTS, range(1, 6)):
        theory = Theory(Fraction(3, 4) + shift, claimed, "exact", "claimed")
        log_n = np.linspace(80, 160, claimed + 1)
        log_z = -0.75 * log_n + (multiplicity - 1) * np.log(log_n + 3)
        if shift == 0 and claimed == multiplicity:
            assert_scaling(theory, log_n, log_z, 1e-6)
        else:
            with pytest.raises(AssertionError):
                assert_scaling(theory, log_n, log_z, 1e-2)

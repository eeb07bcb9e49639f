"""The prior mass beyond the ends of rules."""

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import chi

from slt_jax.oracles.laws.charts import log_chi_density
from slt_jax.oracles.laws.cuts import log_chi_tail


@pytest.mark.parametrize("degrees", [1, 2, 3, 12])
@pytest.mark.parametrize("length", [9.0, 37.0, 60.0, 2000.0])
def test_the_tail_of_a_length_does_not_underflow(degrees: int, length: float) -> None:
    """It is the integral of the density, or at most 1 % of it more."""
    peak = log_chi_density(degrees, np.array(length))

    def relative(excess: float) -> float:
        return float(np.exp(log_chi_density(degrees, np.array(length + excess)) - peak))

    mass, _ = quad(relative, 0.0, 40 / length, epsabs=0.0)
    tail = float(log_chi_tail(degrees, np.array(length)))
    assert -1e-9 < tail - (peak + np.log(mass)) < 0.01


def test_a_tail_that_does_not_underflow_is_that_of_the_law() -> None:
    lengths = np.array([0.5, 3.0, 20.0])
    np.testing.assert_allclose(log_chi_tail(3, lengths), chi.logsf(lengths, 3), rtol=1e-14)

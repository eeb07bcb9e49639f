"""The common part of the numerical checks of the theorems."""

import math
from collections.abc import Callable

import numpy as np
import pytest

from slt_jax.theory import Theory

AssertScaling = Callable[[Theory, np.ndarray, np.ndarray, float], None]


@pytest.fixture(scope="session")
def assert_scaling() -> AssertScaling:
    """A check of (λ, m) against log Z, which needs no fit and no limit of log log n.

    Z(n) = n^{−λ} (P(log n) + o(1)) with P a polynomial of degree m − 1, so the m-th difference
    of n^λ Z over equally spaced log n is small, and the (m-1)-th is as large as for
    (log n)^{m-1} up to a constant. A wrong λ, or a smaller m, breaks the first; a larger m
    breaks the second. Constant factors of Z cancel.
    """

    def check(theory: Theory, log_n: np.ndarray, log_z: np.ndarray, tolerance: float) -> None:
        m = theory.multiplicity
        assert len(log_n) == m + 1
        scaled = log_z + float(theory.learning_coefficient) * log_n
        scaled = np.exp(scaled - scaled.max())
        leading = np.diff(scaled, n=m - 1)[-1]
        step = (log_n[-1] - log_n[0]) / m
        assert leading > 0.2 * math.factorial(m - 1) * (step / log_n[-1]) ** (m - 1)
        assert abs(np.diff(scaled, n=m)[0]) < tolerance * leading

    return check

"""BIC by hand."""

import numpy as np
import pytest

from slt_jax.estimators import bic


def test_by_hand() -> None:
    np.testing.assert_allclose(bic([-1.0, -2.0], 3, np.e**2), [2.0, 1.0])
    np.testing.assert_allclose(bic(np.array([[0.0], [1.0]]), 2, [1, np.e]), [[0, 1], [1, 2]])


@pytest.mark.parametrize(
    ("dimension", "n", "words"),
    [
        (0, 10, "dimension = 0"),
        (-2, 10, "dimension = -2"),
        (1, 0, "n = 0"),
        (1, [10, -5], "n = -5"),
        (1, np.nan, "n = nan"),
    ],
)
def test_refuses(dimension: int, n: float, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        bic(0.0, dimension, n)

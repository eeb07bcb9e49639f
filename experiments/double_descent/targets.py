"""The functions that are to be learnt, of mean square 1 over x ~ U[−1, 1].

They are rational, so that extended precision evaluates them as double precision does.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray


class Target(NamedTuple):
    """A function f = shape/√mean_square of numbers of any kind."""

    shape: Callable[[Any], Any]
    mean_square: float

    @property
    def factor(self) -> float:
        """The factor that makes the mean square one."""
        return 1 / math.sqrt(self.mean_square)

    def __call__(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """Evaluate f at x of any shape."""
        return np.asarray(self.factor * self.shape(x))


def _runge(x: Any) -> Any:
    return 1 / (1 + 25 * x * x)


def _cubic(x: Any) -> Any:
    return (5 * x * x * x - 3 * x) / 2


def _step(x: Any) -> Any:
    return x / abs(x)


TARGETS = {
    "Runge": Target(_runge, (1 / 26 + math.atan(5) / 5) / 2),
    "cubic": Target(_cubic, 1 / 7),
    "step": Target(_step, 1.0),
}
"""Runge's 1/(1 + 25x²), the Legendre polynomial of degree 3, and the sign of x."""


def values(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Evaluate all functions at x [..., n], shape [..., target, n]."""
    return np.stack([target(x) for target in TARGETS.values()], axis=-2)

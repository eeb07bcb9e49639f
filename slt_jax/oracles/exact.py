"""A number with a bound on its error."""

from typing import NamedTuple

import numpy as np

SAFETY = 10.0


class Exact(NamedTuple):
    """A number per data set and a bound on its error, both float64 arrays of one shape.

    >>> import numpy as np
    >>> from slt_jax import Exact
    >>> energy = Exact(np.array([2.0, 3.0]), np.array([1e-9, 2e-9]))
    >>> energy.scaled(0.5).minus(energy)
    Exact(value=array([-1. , -1.5]), error=array([1.5e-09, 3.0e-09]))
    """

    value: np.ndarray
    error: np.ndarray

    def scaled(self, factor: float) -> "Exact":
        """The quantity times a factor."""
        return Exact(factor * self.value, abs(factor) * self.error)

    def plus(self, other: "Exact") -> "Exact":
        """The sum; bounds add."""
        return Exact(self.value + other.value, self.error + other.error)

    def minus(self, other: "Exact") -> "Exact":
        """The difference; bounds add."""
        return self.plus(other.scaled(-1.0))

    def shifted(self, constant: np.ndarray | float) -> "Exact":
        """The quantity plus a number known without error."""
        return Exact(self.value + constant, self.error)

    def of_data_set(self, index: int) -> "Exact":
        """The quantity of one data set of several."""
        return Exact(self.value[index], self.error[index])

"""Exact quantities of posteriors: sums by two rules, whose difference bounds the error of each."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from slt_jax.estimators.estimate import digits_of
from slt_jax.oracles.moments import RuleSums

SAFETY = 10.0
SMALLEST = 1e-12
# Differences of cells do not cancel, so that less of a margin is needed than for their sum.
SAFETY_OF_CELLS = 3.0

Term = Callable[[RuleSums], np.ndarray]


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

    def __str__(self) -> str:
        if np.ndim(self.value):
            return repr(self)
        return " ± ".join(digits_of(float(self.value), float(self.error)))

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


class Evaluation(NamedTuple):
    """One posterior of each of R data sets by a fine and a coarse rule, leading axis [R].

    ``scattered`` [R] is Σ_c |I_c − I'_c|/Σ_c I_c of the integrals over cells c by both rules, where
    these have cells: what one misses that no node lies near is made up for by what another has too
    much. ``rounding`` [R] bounds what the n-sized terms that cancel leave behind, and
    ``log_likelihood_at_optimum`` [R] is Σ_i a_i ℓ_i(w₀), in total nats. ``group`` [R] says which
    data sets have rules of one kind.
    """

    fine: RuleSums
    coarse: RuleSums
    scattered: np.ndarray
    rounding: np.ndarray
    log_likelihood_at_optimum: np.ndarray
    group: np.ndarray
    beta: float

    @classmethod
    def of(
        cls,
        fine: Sequence[RuleSums],
        coarse: Sequence[RuleSums],
        rounding: np.ndarray,
        log_likelihood_at_optimum: np.ndarray,
        group: np.ndarray,
        beta: float,
    ) -> "Evaluation":
        """Stack the data sets. Raises ValueError if a sum is NaN or infinite."""
        scattered = np.array([_scattered(*pair) for pair in zip(fine, coarse, strict=True)])
        stacked = [_stacked(sums) for sums in (fine, coarse)]
        if not all(np.all(np.isfinite(part)) for sums in stacked for part in sums[:-2]):
            raise ValueError("the likelihood is NaN or infinite on these data")
        return cls(
            stacked[0], stacked[1], scattered, rounding, log_likelihood_at_optimum, group, beta
        )

    def moments(self) -> tuple[Exact, Exact, Exact]:
        """F, E and Var, shape [R], with the largest difference of a group as bound of each.

        In one data set of a thousand the difference of one of the three is a hundredth of its
        usual size by chance, but not two: a bound is no less than the middle one of all three
        differences, those of E in units of √Var and those of Var in its own. Nor is it less than
        three times what is scattered over cells, in these units. What the rule leaves out and what
        the likelihood itself may be off by are added.
        """
        variance = self.fine.energy_variance
        scales = np.stack([np.ones_like(variance), np.sqrt(variance), variance])
        values = np.stack([self.fine.free_energy, self.fine.energy, variance])
        coarse = self.coarse
        others = np.stack([coarse.free_energy, coarse.energy, coarse.energy_variance])
        distance = np.abs(values - others)
        relative = np.median(self._largest(distance / np.maximum(scales, SMALLEST)), axis=0)
        relative = np.maximum(relative, SAFETY_OF_CELLS * self._largest(self.scattered))
        errors = np.maximum(SAFETY * self._largest(distance), relative * scales)
        errors = errors + self._rounding_of_moments() + self._left_out() + self._doubt()
        free_energy, energy, energy_variance = map(Exact, values, errors)
        return free_energy, energy, energy_variance

    def _largest(self, values: np.ndarray) -> np.ndarray:
        """The largest of values [..., R] in each group, repeated at all data sets of the group."""
        largest = np.empty_like(values)
        for group in np.unique(self.group):
            own = self.group == group
            largest[..., own] = np.max(values[..., own], axis=-1, keepdims=True)
        return largest

    def _rounding_of_moments(self) -> np.ndarray:
        """Energies are off by the rounding each, and their squares by what that makes of them."""
        spread = np.sqrt(self.fine.energy_variance)
        of_variance = self.rounding * (1 + 2 * spread + self.rounding)
        return np.stack([self.rounding, self.rounding, of_variance])

    def _left_out(self) -> np.ndarray:
        """Bounds [3, R] on what the integral beyond the rule adds to F, E and Var."""
        mass, first, second = np.exp(np.minimum(self.fine.log_left_out, 700.0)).T
        mean = np.abs(self.fine.energy)
        return np.stack([mass, first + mean * mass, 2 * (second + mean**2 * mass)])

    def _doubt(self) -> np.ndarray:
        """Bounds [3, R] on what errors of the likelihood at nodes do to F, E and Var."""
        doubt, spread = self.fine.doubt, np.sqrt(self.fine.energy_variance)
        off = doubt / self.beta if self.beta else doubt
        return np.stack(
            [doubt, off + doubt * spread, (off + spread) ** 2 * (1 + doubt) - spread**2]
        )

    def each(self, term: Term) -> Exact:
        """A quantity of shape [R] or [R, N], with the largest difference of all as its bound."""
        value, distance = self._compared(term)
        whole = (self.rounding + self._share_in_doubt()).reshape(-1, *(1,) * (value.ndim - 1))
        return Exact(value, SAFETY * np.max(distance) + whole * np.maximum(1.0, np.abs(value)))

    def total(self, term: Term, weights: np.ndarray) -> Exact:
        """Σ_j weight_j · term_j of terms [R, N], shape [R]; differences of terms do not cancel."""
        value, distance = self._compared(term)
        error = SAFETY * np.max(distance @ np.abs(weights))
        whole = self.rounding + self._share_in_doubt()
        return Exact(
            value @ weights, error + whole * np.maximum(1.0, np.abs(value)) @ np.abs(weights)
        )

    def _share_in_doubt(self) -> np.ndarray:
        """Bounds [R], relative to the integral, on what is left out and on errors at nodes."""
        return np.exp(np.minimum(self.fine.log_left_out[:, 0], 700.0)) + np.expm1(self.fine.doubt)

    def _compared(self, term: Term) -> tuple[np.ndarray, np.ndarray]:
        value = term(self.fine)
        return value, np.abs(value - term(self.coarse))


def _stacked(sums: Sequence[RuleSums]) -> RuleSums:
    """Stack the sums of data sets, but for those of cells, of which each has its own."""
    each = (one._replace(log_masses=np.zeros(0)) for one in sums)
    return RuleSums(*(np.stack(part) for part in zip(*each, strict=True)))


def _scattered(fine: RuleSums, coarse: RuleSums) -> float:
    shares = (np.exp(sums.log_masses + fine.free_energy) for sums in (fine, coarse))
    return float(np.sum(np.abs(np.subtract(*shares))))

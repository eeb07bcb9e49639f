"""Sums by two rules, and what their difference says about the error of anything made of them."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from slt_jax.oracles.exact import SAFETY, Exact
from slt_jax.oracles.moments import RuleSums

SMALLEST = 1e-12
# Differences of cells do not cancel, so that less of a margin is needed than for their sum.
SAFETY_OF_CELLS = 3.0

Term = Callable[[RuleSums], np.ndarray]


class Evaluation(NamedTuple):
    """One posterior of each of R data sets by a fine and a coarse rule, leading axis [R].

    ``scattered`` [R] is Σ_c |I_c − I'_c|/Σ_c I_c of the integrals over cells c by both rules, where
    these have cells: what one misses that no node lies near is made up for by what another has too
    much. ``rounding`` [R] bounds what the n-sized terms that cancel leave behind, and
    ``reference`` [R] is Σ_i a_i ℓ_i(w₀), in total nats.
    """

    fine: RuleSums
    coarse: RuleSums
    scattered: np.ndarray
    rounding: np.ndarray
    reference: np.ndarray

    @classmethod
    def of(
        cls,
        fine: Sequence[RuleSums],
        coarse: Sequence[RuleSums],
        rounding: np.ndarray,
        reference: np.ndarray,
    ) -> "Evaluation":
        """Stack the data sets. Raises ValueError if a sum is NaN or infinite."""
        scattered = np.array([_scattered(*pair) for pair in zip(fine, coarse, strict=True)])
        stacked = [_stacked(sums) for sums in (fine, coarse)]
        if not all(np.all(np.isfinite(part)) for sums in stacked for part in sums):
            raise ValueError("the likelihood is NaN or infinite on these data")
        return cls(stacked[0], stacked[1], scattered, rounding, reference)

    def moments(self) -> tuple[Exact, Exact, Exact]:
        """F, E and Var, shape [R], with the largest difference of all data sets as bound of each.

        In one data set of a thousand the difference of one of the three is a hundredth of its
        usual size by chance, but not two: a bound is no less than the middle one of all three
        differences, those of E in units of √Var and those of Var in its own. Nor is it less than
        three times what is scattered over cells, in these units.
        """
        variance = self.fine.energy_variance
        scales = np.stack([np.ones_like(variance), np.sqrt(variance), variance])
        values = np.stack([self.fine.free_energy, self.fine.energy, variance])
        coarse = self.coarse
        others = np.stack([coarse.free_energy, coarse.energy, coarse.energy_variance])
        distance = np.abs(values - others)
        relative = np.median(np.max(distance / np.maximum(scales, SMALLEST), axis=1))
        own = np.max(distance, axis=1, keepdims=True)
        relative = np.maximum(relative, SAFETY_OF_CELLS * np.max(self.scattered))
        errors = np.maximum(SAFETY * own, relative * scales) + self.rounding
        free_energy, energy, energy_variance = map(Exact, values, errors)
        return free_energy, energy, energy_variance

    def each(self, term: Term) -> Exact:
        """A quantity of shape [R] or [R, N], with the largest difference of all as its bound."""
        value, distance = self._compared(term)
        rounding = self.rounding.reshape(-1, *(1,) * (value.ndim - 1))
        return Exact(value, SAFETY * np.max(distance) + rounding + np.zeros_like(value))

    def total(self, term: Term, weights: np.ndarray) -> Exact:
        """Σ_j weight_j · term_j of terms [R, N], shape [R]; differences of terms do not cancel."""
        value, distance = self._compared(term)
        error = SAFETY * np.max(distance @ np.abs(weights))
        return Exact(value @ weights, error + self.rounding * np.sum(np.abs(weights)))

    def _compared(self, term: Term) -> tuple[np.ndarray, np.ndarray]:
        value = term(self.fine)
        return value, np.abs(value - term(self.coarse))


def _stacked(sums: Sequence[RuleSums]) -> RuleSums:
    """Those of all data sets but for the cells, which each has its own."""
    each = (one._replace(log_masses=np.zeros(0)) for one in sums)
    return RuleSums(*(np.stack(part) for part in zip(*each, strict=True)))


def _scattered(fine: RuleSums, coarse: RuleSums) -> float:
    shares = (np.exp(sums.log_masses + fine.free_energy) for sums in (fine, coarse))
    return float(np.sum(np.abs(np.subtract(*shares))))

"""The ends of the rules, and a bound on the integrand beyond them.

A fine and a coarse rule that are cut at the same place agree with each other however wrong they
are. What is left out is bounded by the prior mass beyond the cut times the highest evidence there,
which is looked for at nodes beyond it: the most likely ones of the rule, with one of their
coordinates carried out.
"""

import math
from typing import NamedTuple

import numpy as np
from scipy.special import gammaincc, gammaln, log_ndtr

# In standard deviations: what lies beyond is 2e-17 of a normal law.
REACH = 8.5
# Beyond the square root of its degrees of freedom a length has 1e-14 of its law or less.
LENGTH_REACH = 8.0
# A posterior may be anywhere between just beyond the cut and this many times as far.
FACTORS = (1.0, 1.5, 4.0, 20.0, 200.0)


class Cut(NamedTuple):
    """The rule ends where entries ``columns`` of a latent have the length ``radius``.

    ``log_tails`` are logs of the prior mass beyond each of FACTORS times this length.
    """

    columns: tuple[int, ...]
    radius: float
    log_tails: tuple[float, ...]

    def beyond(self, nodes: np.ndarray) -> np.ndarray:
        """Nodes [factor, 2N, l]: those given [N, l], with the entries of the cut carried out of it
        to either side."""
        columns = list(self.columns)
        row = nodes[:, columns]
        length = np.linalg.norm(row, axis=1, keepdims=True)
        direction = np.where(length > 0, row / np.where(length > 0, length, 1.0), 1.0)
        both = np.concatenate([direction, -direction])
        carried = np.tile(nodes, (len(FACTORS), 2, 1))
        carried[:, :, columns] = np.multiply.outer(np.array(FACTORS) * self.radius, both)
        return carried


def factors_per(power: float) -> np.ndarray:
    """FACTORS of the length of a number whose ``power`` is cut."""
    return np.array(FACTORS) ** (1 / power)


def cut(columns: tuple[int, ...], radius: float, log_tails: np.ndarray) -> Cut:
    """A cut whose tails are given as an array."""
    return Cut(columns, float(radius), tuple(log_tails.tolist()))


def normal_cut(column: int, reach: float, scale: float, power: int = 1) -> Cut:
    """The cut of a power of N(0, scale²) at ``reach`` standard deviations."""
    log_tails = math.log(2) + log_ndtr(-reach * factors_per(power))
    return cut((column,), (reach * scale) ** power, log_tails)


def log_chi_tail(degrees: int, length: np.ndarray) -> np.ndarray:
    """log P(χ_k > ``length``) of k ``degrees``, or a bound on it where the tail underflows.

    Γ(a, z) ≤ z^{a−1} e^{−z}/(1 − max(a − 1, 0)/z) with a = k/2 and z half of the squared length.
    """
    a, z = degrees / 2, length**2 / 2
    # Near 0, where the tail does not underflow, there is no such bound.
    with np.errstate(divide="ignore", invalid="ignore"):
        log_tail = np.log(gammaincc(a, z))
        bound = (a - 1) * np.log(z) - z - gammaln(a) - np.log1p(-max(a - 1, 0.0) / z)
    return np.where(np.isfinite(log_tail), log_tail, bound)


def length_cut(columns: tuple[int, ...], degrees: int, scale: float) -> Cut:
    """The cut of the length of a vector of ``degrees`` N(0, scale²)."""
    radius = math.sqrt(degrees) + LENGTH_REACH
    return cut(columns, radius * scale, log_chi_tail(degrees, radius * np.array(FACTORS)))

"""Two ways of counting functions, compared: are they equal, correlated, within a factor of two?"""

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Counts = NDArray[np.int64]
Floats = NDArray[np.float64]

# Functions that enter correlations would be found so often if the laws were equal: an error of 22 %
# of a frequency, and no choice by what SGD did.
MIN_EXPECTED = 20.0
# A cell of the χ² test.
MIN_CELL = 5.0
MIN_FUNCTIONS = 8
RESAMPLES = 400
HALF = 0.5
WIDTH = 1.96
# A correlation of 1 has no interval.
ALMOST_ONE = 1 - 1e-12


class Comparison(NamedTuple):
    """P_SGD against P_Bayes over functions, with intervals of 95 % by Poisson resampling.

    ``correlation`` and ``slope`` are of log P_SGD on log P_Bayes, ``within_two`` the share of
    functions whose ratio is between ½ and 2, all of the ``num_functions`` that would be found
    ``MIN_EXPECTED`` times; NaN where they are fewer than 8. ``total_variation`` is of all, and
    ``total_variation_floor`` what it would be on average for equal laws; ``p_value`` is that of
    the χ² test of two samples.
    """

    correlation: float
    correlation_low: float
    correlation_high: float
    slope: float
    slope_low: float
    slope_high: float
    within_two: float
    total_variation: float
    total_variation_floor: float
    p_value: float
    num_functions: float


def compared(trained: Counts, drawn: Counts, seed: int = 0) -> Comparison:
    """Compare counts [function] of trainings with those of draws of the prior."""
    none = Comparison(*np.full(len(Comparison._fields), np.nan))._replace(num_functions=0)
    if trained.sum() == 0 or drawn.sum() == 0:
        return none
    rng = np.random.default_rng(seed)
    share = drawn / drawn.sum()
    chosen = trained.sum() * share >= MIN_EXPECTED
    distance = np.abs(trained / trained.sum() - share).sum() / 2
    pooled = (trained + drawn) / (trained.sum() + drawn.sum())
    floor = np.mean(
        [
            np.abs(
                rng.multinomial(trained.sum(), pooled) / trained.sum()
                - rng.multinomial(drawn.sum(), pooled) / drawn.sum()
            ).sum()
            / 2
            for _ in range(RESAMPLES)
        ]
    )
    rest: dict[str, Any] = {
        "total_variation": float(distance),
        "total_variation_floor": float(floor),
        "p_value": chi_square(trained, drawn),
        "num_functions": int(chosen.sum()),
    }
    if chosen.sum() < MIN_FUNCTIONS:
        return none._replace(**rest)
    k, m = trained[chosen], drawn[chosen]
    correlation, slope = _of_logs(k, m)
    resampled = np.array([_of_logs(rng.poisson(k), rng.poisson(m)) for _ in range(RESAMPLES)])
    # Resampling adds to the noise that is there: its spread is right, its centre is not.
    transformed = math.atanh(min(correlation, ALMOST_ONE))
    of_correlation = WIDTH * np.std(np.arctanh(resampled[:, 0]), ddof=1)
    of_slope = WIDTH * float(np.std(resampled[:, 1], ddof=1))
    ratio = (k / trained.sum()) / (m / drawn.sum())
    return none._replace(
        correlation=correlation,
        correlation_low=math.tanh(transformed - of_correlation),
        correlation_high=math.tanh(transformed + of_correlation),
        slope=slope, slope_low=slope - of_slope, slope_high=slope + of_slope,
        within_two=float(np.mean((ratio >= 1 / 2) & (ratio <= 2))), **rest,
    )  # fmt: skip


def _of_logs(trained: Counts, drawn: Counts) -> tuple[float, float]:
    """Correlation and slope of log counts, to which ½ is added for those that are 0."""
    y, x = np.log(trained + HALF), np.log(drawn + HALF)
    covariance = np.cov(x, y)
    if covariance[0, 0] == 0 or covariance[1, 1] == 0:
        return np.nan, np.nan
    correlation = covariance[0, 1] / np.sqrt(covariance[0, 0] * covariance[1, 1])
    return float(correlation), float(covariance[0, 1] / covariance[0, 0])


def chi_square(trained: Counts, drawn: Counts) -> float:
    """Return the p-value of equal laws by the χ² test of two samples, rare functions pooled."""
    from scipy.stats import chi2_contingency  # slow to import

    totals = trained.sum() + drawn.sum()
    least = min(trained.sum(), drawn.sum()) * (trained + drawn) / totals
    common = least >= MIN_CELL
    cells = [np.append(counts[common], counts[~common].sum()) for counts in (trained, drawn)]
    table = np.array(cells)
    table = table[:, table.sum(axis=0) > 0]
    return float(chi2_contingency(table).pvalue) if table.shape[1] > 1 else 1.0


def z_scores(trained: Counts, drawn: Counts) -> Floats:
    """Return (k/K − m/M) in its standard errors under equal laws, for each function."""
    total, sizes = trained + drawn, (trained.sum(), drawn.sum())
    pooled = total / sum(sizes)
    variance = pooled * (1 - pooled) * (1 / sizes[0] + 1 / sizes[1])
    off = trained / sizes[0] - drawn / sizes[1]
    return np.divide(off, np.sqrt(variance), out=np.zeros_like(off), where=variance > 0)

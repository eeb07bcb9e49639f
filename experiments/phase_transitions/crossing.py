"""Sizes at which one phase overtakes another: predicted by an expansion, and read off a curve."""

import numpy as np
from scipy.optimize import brentq

# log n between which a predicted crossing is looked for, and the step.
FIRST_LOG_SIZE, LAST_LOG_SIZE, LOG_STEP = 1.1, 40.0, 0.01


def expansion(
    log_n: np.ndarray, loss: float, coefficient: float, order: float, constant: float
) -> np.ndarray:
    """Return log Z of the accurate phase minus log Z of the coarse one, to the given order.

    n·loss − coefficient·log n − order·log log n + constant, where ``loss`` is L of the coarse phase
    minus that of the accurate one, ``coefficient`` is λ of the accurate phase minus that of the
    coarse one, ``order`` is m of the coarse phase minus that of the accurate one.
    """
    n = np.exp(log_n)
    return np.asarray(n * loss - coefficient * log_n - order * np.log(log_n) + constant)


def predicted_log_size(loss: float, coefficient: float, order: float, constant: float) -> float:
    """Return log n of the last n at which the expansion changes sign, NaN if there is none."""
    grid = np.arange(FIRST_LOG_SIZE, LAST_LOG_SIZE, LOG_STEP)

    def at(log_n: float) -> float:
        return float(expansion(np.asarray(log_n), loss, coefficient, order, constant))

    signs = expansion(grid, loss, coefficient, order, constant) > 0
    (changes,) = np.nonzero(signs[1:] & ~signs[:-1])
    if not np.isfinite(constant) or not len(changes):
        return float("nan")
    return float(brentq(at, grid[changes[-1]], grid[changes[-1] + 1], xtol=1e-12))


def observed_log_size(log_n: np.ndarray, advantage: np.ndarray) -> np.ndarray:
    """Return log n of the last crossing of curves [..., n] from below zero, linear in log n.

    −∞ where the curve is never below zero, ∞ where it ends there, NaN where it is not finite.
    """
    negative = advantage <= 0
    last = advantage.shape[-1] - 1 - np.argmax(negative[..., ::-1], axis=-1)
    left = np.minimum(last, advantage.shape[-1] - 2)
    low = np.take_along_axis(advantage, left[..., None], -1)[..., 0]
    high = np.take_along_axis(advantage, left[..., None] + 1, -1)[..., 0]
    with np.errstate(divide="ignore", invalid="ignore"):
        between = log_n[left] - low / (high - low) * (log_n[left + 1] - log_n[left])
    result = np.where(negative[..., -1], np.inf, between)
    result = np.where(negative.any(axis=-1), result, -np.inf)
    return np.where(np.isfinite(advantage).all(axis=-1), result, np.nan)


def sharpness(log_n: float, loss: float, coefficient: float, order: float) -> float:
    """Return the slope of the expansion in log n: how fast the accurate phase takes over."""
    return float(np.exp(log_n) * loss - coefficient - order / log_n)

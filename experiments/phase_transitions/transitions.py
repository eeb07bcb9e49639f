"""Transitions between the phases of the toy model: predicted, observed, and by data set."""

import numpy as np
import xarray as xr
from scipy.special import logsumexp

from .crossing import expansion, observed_log_size, predicted_log_size

# The coarse and the accurate phase of each transition.
PAIRS = (("5⁻", "6"), ("5⁻", "5⁺"), ("5⁺", "6"))
# Predictions: by λ alone, with the constants of the local evidences, or with one that is fitted.
METHODS = ("λ", "local evidence", "fitted constant")
QUANTILES = (0.16, 0.5, 0.84)


def transitions(dataset: xr.Dataset) -> xr.Dataset:
    """Return what is predicted and observed of each of ``PAIRS``.

    ``advantage`` [pair, n] is log Z of the accurate phase minus that of the coarse one, with its
    standard error by the jackknife over runs; ``expansion`` [pair, method, n] is what is predicted
    of it. ``prediction`` [pair, method] and ``crossing`` [pair] are log n, NaN where none is
    predicted or the curve is not known, −∞ where the accurate phase leads from the first n, ∞ where
    it never leads; ``crossing_se`` is by the jackknife, and ``data_crossing`` [data_set, pair].
    """
    log_n, n = np.log(dataset["n"].to_numpy()), dataset["n"].to_numpy().astype(float)
    fit = int(np.flatnonzero(n == float(dataset["fit_size"]))[0])
    rows = []
    for coarse, accurate in PAIRS:
        at = {name: dataset.sel(phase=name) for name in (coarse, accurate)}
        loss, coefficient, constant = (
            float(at[accurate][name]) - float(at[coarse][name])
            for name in ("polygon_loss", "polygon_coefficient", "polygon_constant")
        )
        runs = [at[name]["own_log_evidence"].transpose("run", "n") for name in (accurate, coarse)]
        value, error, crossing, crossing_error = jackknifed(
            log_n, runs[0].to_numpy(), runs[1].to_numpy()
        )
        of_fit = value[fit] - float(expansion(log_n[fit], -loss, coefficient, 0.0, 0.0))
        constants = (0.0, constant, of_fit)
        of_data = (
            at[accurate]["data_log_evidence"] - at[coarse]["data_log_evidence"]
        ).transpose("data_set", "n")  # fmt: skip
        rows.append(
            xr.Dataset(
                {
                    "loss_gap": -loss,
                    "coefficient_gap": coefficient,
                    "constant_gap": ("method", list(constants)),
                    "prediction": (
                        "method",
                        [predicted_log_size(-loss, coefficient, 0.0, c) for c in constants],
                    ),
                    "expansion": (
                        ("method", "n"),
                        [expansion(log_n, -loss, coefficient, 0.0, c) for c in constants],
                    ),
                    "advantage": ("n", value),
                    "advantage_se": ("n", error),
                    "crossing": float(crossing),
                    "crossing_se": float(crossing_error),
                    "data_crossing": ("data_set", crossings_of(log_n, of_data.to_numpy())),
                }
            )
        )
    names = [f"{coarse} → {accurate}" for coarse, accurate in PAIRS]
    return xr.concat(rows, dim=xr.Variable("pair", names)).assign_coords(method=list(METHODS))


def jackknifed(
    log_n: np.ndarray, accurate: np.ndarray, coarse: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return the advantage [n] and its error, and the crossing and its error, from runs [S, n].

    The evidences are averaged over runs before their logarithms are taken; the errors are those
    of leaving out one run in turn. NaN at n at which some run has no particle of a phase.
    """
    count = len(accurate)
    known = np.isfinite(accurate).all(axis=0) & np.isfinite(coarse).all(axis=0)

    def advantage(kept: np.ndarray) -> np.ndarray:
        means = [logsumexp(logs[kept], axis=0) for logs in (accurate, coarse)]
        return np.where(known, means[0] - means[1], np.nan)

    with np.errstate(invalid="ignore"):
        value = advantage(np.arange(count))
        left_out = np.stack(
            [advantage(np.flatnonzero(np.arange(count) != s)) for s in range(count)]
        )
        crossing = crossings_of(log_n, value[None])[0]
        each = crossings_of(log_n, left_out)
        error = _jackknife_error(left_out)
        crossing_error = _jackknife_error(each) if np.isfinite(each).all() else np.float64(np.nan)
    return value, error, np.asarray(crossing), np.asarray(crossing_error)


def _jackknife_error(values: np.ndarray) -> np.ndarray:
    count = len(values)
    return np.asarray(np.sqrt((count - 1) * np.var(values, axis=0)))


def crossings_of(log_n: np.ndarray, curves: np.ndarray) -> np.ndarray:
    """Return the crossing of each curve [..., n], over the n at which it is known."""
    result = np.full(curves.shape[:-1], np.nan)
    for index in np.ndindex(result.shape):
        known = np.isfinite(curves[index])
        if known.sum() > 1:
            result[index] = observed_log_size(log_n[known], curves[index][known])
    return result

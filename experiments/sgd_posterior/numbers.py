"""The numbers that the verdict on SGD and posteriors rests on, from the dataset alone."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr
from scipy.stats import chi2

from slt_jax.report.verdict import known

from .measures import z_scores

Numbers = Mapping[str, Any]

# The share of false alarms that is allowed in all tests of one claim together.
FALSE_ALARMS = 0.01
# Named are so many functions at each end, whose z-score alone would be a false alarm.
NAMED = 2


def numbers_of_posteriors(dataset: xr.Dataset) -> dict[str, Any]:
    """Collect the fit of each problem and setting, and the p-value of both tests on all data sets.

    p-values of independent data sets are joined by Fisher's −2Σ log p, and the lesser of the two
    tests counts twice; ``threshold`` is ``FALSE_ALARMS`` over the number of rows.
    """
    rows = []
    for name in dataset["problem"].to_numpy():
        for setting in dataset["setting"].to_numpy():
            at = dataset.sel(problem=name, setting=setting)
            tests = [at[test].to_numpy() for test in ("energy_p", "classifier_p")]
            p = float(np.minimum(1.0, 2 * np.min([fisher(each) for each in tests])))
            row: dict[str, Any] = {"problem": str(name), "setting": str(setting)}
            for key in ("beta", "prior_width", "exact_beta", "exact_prior_width"):
                row[key] = known(np.exp(_mean(np.log(at[key].to_numpy()))))
            for key in (
                "coefficient", "own_coefficient", "floor", "accuracy", "floor_accuracy",
                "exact_divergence", "diverged", "growth", "at_zero", "own_at_zero",
            ):  # fmt: skip
                row[key] = known(_mean(at[key].to_numpy()))
                row[f"{key}_se"] = known(_error(at[key].to_numpy()))
            row["predicted_beta"] = known(float(at["predicted_beta"]))
            row["at_edge"] = int(np.nansum(at["at_edge"].to_numpy()))
            row["p_value"] = known(p)
            rows.append(row)
    tested = [row for row in rows if row["p_value"] is not None]
    threshold = FALSE_ALARMS / max(len(tested), 1)
    for row in rows:
        row["rejected"] = row["p_value"] is not None and row["p_value"] < threshold
    count = dataset.sizes["replicate"]
    least = 2 * fisher(np.full(count, float(dataset["least_p"])))
    return {
        "n": int(dataset["endpoint_n"]),
        "data_sets": count,
        "endpoints": int(dataset["tested"]),
        "rows": rows,
        "tested": len(tested),
        "rejected": sum(row["rejected"] for row in rows),
        "threshold": threshold,
        "can_reject": bool(least < threshold),
    }


def fisher(p_values: np.ndarray) -> float:
    """Join p-values of independent data sets; NaN where one is missing."""
    if not np.isfinite(p_values).all():
        return float("nan")
    return float(chi2.sf(-2 * np.log(p_values).sum(), 2 * p_values.size))


def _mean(values: np.ndarray) -> float:
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if finite.size else float("nan")


def _error(values: np.ndarray) -> float:
    finite = values[np.isfinite(values)]
    return float(finite.std(ddof=1) / np.sqrt(finite.size)) if finite.size > 1 else float("nan")


def numbers_of_divergences(dataset: xr.Dataset) -> dict[str, Any]:
    """Collect the exact KL of SGD from the best posterior of linear regression, at the last n."""
    last = dataset["divergence"].isel(exact_n=-1)
    errors = dataset["divergence_se"].isel(exact_n=-1)
    return {
        "n": int(dataset["exact_n"][-1]),
        "first_n": int(dataset["exact_n"][0]),
        "rows": {
            str(name): {
                "first": known(float(dataset["divergence"].sel(design=name)[0])),
                "last": known(float(last.sel(design=name))),
                "last_se": known(float(errors.sel(design=name))),
                "limit": float(dataset["divergence_limit"].sel(design=name)),
            }
            for name in dataset["design"].to_numpy()
        },
    }


def numbers_of_curves(dataset: xr.Dataset) -> list[dict[str, Any]]:
    """Collect n times the errors of SGD, Gibbs and Bayes of each problem at each n."""
    names = ("sgd_error", "gibbs_error", "bayes_error", "sgd_exact_error", "sgd_excess")
    rows = []
    for problem in dataset["problem"].to_numpy():
        for n in dataset["n"].to_numpy():
            at = dataset.sel(problem=problem, n=n)
            row: dict[str, Any] = {"problem": str(problem), "n": int(n)}
            row["learning_coefficient"] = float(at["learning_coefficient"])
            row["diverged"] = float(at["curve_diverged"])
            for name in names:
                row[name] = known(float(at[name]))
                row[f"{name}_se"] = known(float(at[f"{name}_se"]))
            rows.append(row)
    return rows


def numbers_of_functions(dataset: xr.Dataset) -> dict[str, Any]:
    """Collect how P_SGD compares with P_Bayes for each target and setting."""
    rows = []
    axes = [dataset[axis].to_numpy() for axis in ("target", "net_setting")]
    count = axes[0].size * axes[1].size
    for target in axes[0]:
        for setting in axes[1]:
            at = dataset.sel(target=target, net_setting=setting)
            row: dict[str, Any] = {"target": str(target), "setting": str(setting)}
            for key in (
                "correlation", "correlation_low", "correlation_high", "slope", "slope_low",
                "slope_high", "within_two", "total_variation", "total_variation_floor", "p_value",
                "accepted", "right_at_start", "mean_steps",
            ):  # fmt: skip
                row[key] = known(float(at[key]))
            row["num_functions"] = int(at["num_functions"])
            row["unfinished"] = int(at["unfinished"])
            row["trained"] = int(at["trained_count"].sum())
            row["drawn"] = int(at["drawn_count"].sum())
            p = row["p_value"]
            row["rejected"] = p is not None and p < FALSE_ALARMS / count
            row["extremes"] = extremes(at)
            rows.append(row)
    return {"rows": rows, "tested": count, "completions": int(dataset.sizes["completion"])}


def extremes(at: xr.Dataset) -> list[dict[str, Any]]:
    """Name the functions that training finds too often and too rarely, by their z-scores.

    ``p_value`` is that of the z-score for the farthest of all functions (Bonferroni).
    """
    trained, drawn = (at[key].to_numpy().astype(np.int64) for key in
                      ("trained_count", "drawn_count"))  # fmt: skip
    if trained.sum() == 0 or drawn.sum() == 0:
        return []
    z = z_scores(trained, drawn)
    order = np.argsort(z)
    chosen = [*order[::-1][:NAMED], *order[:NAMED]]
    return [
        {
            "truth_table": str(at["truth_table"].to_numpy()[i]),
            "trained": float(trained[i] / trained.sum()),
            "drawn": float(drawn[i] / drawn.sum()),
            "z_score": float(z[i]),
            "p_value": float(min(1.0, z.size * chi2.sf(z[i] ** 2, 1))),
        }
        for i in chosen
    ]

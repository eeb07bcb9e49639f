"""Distances from the bound, growth of bits, and errors of nets: the numbers of the verdict."""

from typing import Any

import numpy as np
import xarray as xr

from slt_jax.estimators import in_standard_errors, mean_over_seeds, p_value_of_largest
from slt_jax.report.verdict import known

# Growth is that of the limit if it is off by no more.
MAX_RELATIVE_GAP = 0.05
MIN_P_VALUE = 1e-3
NUM_DIGITS = 1797
TABLE = "table"


def numbers_of_priors(dataset: xr.Dataset) -> dict[str, Any]:
    """Hold the likeliest function of each complexity to the line 2^{−aK}, in bits.

    ``excess`` is by how much one lies above it, less 5 standard errors, ``gap`` the mean distance
    below it, over complexities where a function is resolved or the line is above what draws
    resolve; that of the table is exact. ``empty`` is the share of the plane between both without
    a function.
    """
    return {
        "draws": int(dataset["draws"]),
        "draws_of_repeat": int(dataset["draws_of_repeat"]),
        "rows": {name: _row_of(dataset, name) for name in dataset["map"].to_numpy().tolist()},
    }


def _row_of(dataset: xr.Dataset, name: str) -> dict[str, Any]:
    at, complexity = dataset.sel(map=name), dataset["complexity"].to_numpy()
    line = float(at["bound_slope"]) * complexity
    exists = _exists(dataset, str(at["outputs"].item()))
    floor, floor_of_repeat = (
        np.log2(float(at["min_count"] / at[draws])) for draws in ("draws", "draws_of_repeat")
    )
    best = at["best_probability"].to_numpy()
    by_repeat = at["best_by_repeat"].transpose("repeat", "complexity").to_numpy()
    above = _distance(np.where(np.isfinite(best), at["best_least"], np.nan), line, -np.inf)
    highest = int(above.argmax())
    is_seen = bool(np.isfinite(above[highest]))
    excess = _distance(by_repeat, line, -np.inf).max(axis=1)
    gap, is_bound = _gap(best, line, exists, floor)
    gaps = np.array([_gap(each, line, exists, floor_of_repeat)[0] for each in by_repeat])
    gap_se = _mean(gaps)[1] if np.isfinite(gaps).all() else np.nan
    if name == TABLE:
        # Every function has the same probability.
        seen = exists & (-line > floor)
        gap, is_bound, gap_se = float(at["log_outputs"]) - float(line[seen].mean()), False, 0.0
    occupied = at["occupied"].transpose("repeat", "complexity", "bit").to_numpy()
    empty = np.array([_empty(each, line, exists, floor_of_repeat) for each in occupied])
    return {
        "slope": float(at["bound_slope"]),
        "resolved": int(at["function_count"].sum()),
        "distinct": int(at["distinct"]),
        "resolved_share": _mean(at["resolved_share"].to_numpy()),
        "mean_complexity": _mean((at["draw_share"] * complexity).sum("complexity").to_numpy()),
        "complexities": int(np.isfinite(best).sum()),
        "excess": float(above[highest]) if is_seen else None,
        "excess_at": float(complexity[highest]) if is_seen else None,
        "excess_estimate": float(_distance(best, line, -np.inf).max()) if is_seen else None,
        "excess_of_repeats": _mean(excess) if np.isfinite(excess).all() else None,
        "gap": known(gap),
        "gap_se": known(gap_se),
        "gap_is_bound": is_bound,
        "empty": known(_empty(at["function_count"].to_numpy() > 0, line, exists, floor)),
        "empty_of_repeats": _mean(empty) if np.isfinite(empty).all() else None,
        "constant": _mean(at["constant_share"].to_numpy()),
        "exact_constant": known(float(at["exact_constant"])),
    }


def _exists(dataset: xr.Dataset, outputs: str) -> np.ndarray:
    """Say of which complexities [complexity] a map with the same set of functions has drawn one."""
    same = dataset.isel(map=dataset["outputs"].to_numpy() == outputs)
    return np.asarray(same["draw_share"].sum(["map", "repeat"]) > 0)


def _distance(best: np.ndarray, line: np.ndarray, missing: float) -> np.ndarray:
    """Return the bits by which probabilities lie above the line."""
    is_known = np.isfinite(best)
    return np.where(is_known, np.log2(np.where(is_known, best, 1)) + line, missing)


def _gap(
    best: np.ndarray, line: np.ndarray, exists: np.ndarray, floor: float
) -> tuple[float, bool]:
    """Return the mean distance of the likeliest functions below the line, and if it is a bound.

    Where none is resolved the line above ``floor`` gives the least that the distance can be.
    """
    resolved = np.isfinite(best)
    unseen = exists & ~resolved & (-line > floor)
    below = np.where(resolved, -_distance(best, line, 0.0), -line - floor)
    used = resolved | unseen
    return (float(below[used].mean()) if used.any() else np.nan), bool(unseen.any())


def _empty(occupied: np.ndarray, line: np.ndarray, exists: np.ndarray, floor: float) -> float:
    """Return the share of cells of one bit between line and ``floor`` that have no function."""
    middle = -(np.arange(occupied.shape[1]) + 0.5)
    cells = exists[:, None] & (middle < -line[:, None]) & (middle > floor)
    return (
        float(1 - (np.asarray(occupied, bool) & cells).sum() / cells.sum())
        if cells.any()
        else (np.nan)
    )


def _mean(values: np.ndarray) -> tuple[float, float]:
    """Average over independent repeats, with the standard error."""
    estimate = mean_over_seeds(values)
    return float(estimate.value), float(estimate.standard_error)


def numbers_of_volumes(dataset: xr.Dataset) -> dict[str, Any]:
    """Hold bits and their growth to λ log₂ n and to λ, and splitting to exact volumes."""
    n = dataset["volume_n"].to_numpy()
    freedom = int(dataset["volume_runs"].max()) - 1
    rows, scores = {}, []
    for name in dataset["target"].to_numpy().tolist():
        at = dataset.sel(target=name)
        limit = float(at["learning_coefficient"])
        exact, sampled = at["exact_bits"].to_numpy(), at["bits"].to_numpy()
        has_exact = bool(np.isfinite(exact).all())
        off = in_standard_errors(sampled - exact, at["bits_se"].to_numpy())
        # Without spread, as where V is 1, nothing is compared.
        off = off[np.isfinite(off)]
        scores.append(off)
        growth = float(at["exact_growth"]) if has_exact else float(at["growth"])
        far = at["far_growth"].to_numpy()
        late = np.flatnonzero(np.abs(far / limit - 1) > MAX_RELATIVE_GAP)
        rows[name] = {
            "learning_coefficient": str(at["exact_learning_coefficient"].item()),
            "multiplicity": int(at["multiplicity"]),
            "claimed_bits": limit * float(np.log2(n[-1])),
            "exact_bits": known(float(exact[-1])),
            "bound": known(float(at["exact_bits_error"].to_numpy().max())),
            "bits": (float(sampled[-1]), float(at["bits_se"][-1])),
            "exact_growth": known(float(at["exact_growth"])),
            "growth": (float(at["growth"]), float(at["growth_se"])),
            "limit": limit,
            "relative_gap": growth / limit - 1,
            "log_size_within": (
                _after(dataset["log_size"].to_numpy(), late) if has_exact else None
            ),
        }
    every = np.concatenate(scores)
    largest = float(np.abs(every).max()) if every.size else None
    p_value = p_value_of_largest(largest, every.size, freedom)
    return {
        "n": float(n[-1]),
        "last_log_size": float(dataset["log_size"][-1]),
        "rows": rows,
        "compared": int(every.size),
        "largest_z_score": largest,
        "p_value": p_value,
        "agrees": p_value >= MIN_P_VALUE,
    }


def _after(sizes: np.ndarray, late: np.ndarray) -> float | None:
    """Return the first size beyond the last of those that are too early, None if there is none."""
    first = int(late[-1]) + 1 if late.size else 0
    return float(sizes[first]) if first < sizes.size else None


def numbers_of_digits(dataset: xr.Dataset) -> dict[str, Any]:
    """Average errors and λ̂ over trainings, by width and labels."""
    rows = []
    for width in dataset["width"].to_numpy().tolist():
        at = dataset.sel(width=width)
        row: dict[str, Any] = {"width": int(width), "weights": int(at["num_weights"])}
        for label in ("true", "random"):
            of = at.sel(label=label)
            row[label] = {
                name: _mean(of[name].to_numpy())
                for name in ("train_error", "test_error", "train_loss")
            }
            by_gamma = of["lambda_by_gamma"].transpose("gamma", "training").to_numpy()
            row[label]["by_gamma"] = [_mean(values) for values in by_gamma]
            row[label]["settled_by_gamma"] = [
                bool(each) for each in of["settled_by_gamma"].all("training").to_numpy()
            ]
            row[label]["converged"] = int(of["settled"].sum())
            for name in ("lambda_hat", "lambda_hat_se"):
                row[label][name] = known(of[name].to_numpy().tolist())
        apart = [
            _apart(true, random)
            for true, random in zip(row["true"]["by_gamma"], row["random"]["by_gamma"], strict=True)
        ]
        row["apart"] = apart
        rows.append(row)
    return {
        "train_size": int(dataset["train_size"]),
        "test_size": int(NUM_DIGITS - dataset["train_size"]),
        "gammas": dataset["gamma"].to_numpy().tolist(),
        "trainings": int(dataset.sizes["training"]),
        "rows": rows,
    }


def _apart(true: tuple[float, float], random: tuple[float, float]) -> float:
    """Return the difference of λ̂, random minus true labels, in standard errors."""
    return float(in_standard_errors(random[0] - true[0], float(np.hypot(true[1], random[1]))))

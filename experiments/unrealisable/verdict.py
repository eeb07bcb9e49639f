"""The verdict on whether E[nG_g] ≈ E[nB_g] where the truth is not in the model (N6)."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from slt_jax.curves.comparison import (
    calibration_of,
    convergence_of,
    coverage_note,
    curves_of,
    sampled_sizes,
)
from slt_jax.curves.errors import QUANTITIES
from slt_jax.curves.mean_errors import (
    MAX_Z_SCORE,
    as_columns,
    exact_errors_of,
    exact_mean,
    is_negligible,
    sampled_mean,
    singular_fluctuations,
    stacked,
)
from slt_jax.estimators import Estimate, gibbs_fluctuation, in_standard_errors, mean_over_data_sets
from slt_jax.report.verdict import Finding, Verdict, aligned, plus_minus

EQUALITY = "unrealisable truths: E[nG_g] ≈ E[nB_g]"
MIN_Z_SCORE = 2.0
BAYES, GIBBS = QUANTITIES[:2]
WHOLE = ("bayes", "gibbs", "variance")

Row = Mapping[str, Any]
Rows = Mapping[str, Row]


def verdict(dataset: xr.Dataset) -> Verdict:
    """Judge N6 by both errors at the largest n, over all data sets where that is exact."""
    rows = {name: numbers_of(curve) for name, curve in computed(dataset).items()}
    tables = f"{table_of_errors(rows)}\n\n{table_of_separation(rows)}"
    return Verdict((judge(rows),), tables, {"problems": rows}, (coverage_note(rows),))


def computed(dataset: xr.Dataset) -> dict[str, xr.Dataset]:
    """Return the curve of each problem at the n of which exact errors were computed."""
    return {
        name: curve.isel(n=curve[f"exact_{BAYES}"].notnull().all("replicate").to_numpy())
        for name, curve in curves_of(dataset).items()
    }


def numbers_of(curve: xr.Dataset) -> dict[str, Any]:
    """Collect the numbers of one problem, from data sets and, in location families, all of them."""
    kind = str(curve["kind"].item())
    regular = float(curve["regular_fluctuation"]) if "regular_fluctuation" in curve else None
    sides, gap = states(curve), paired_gap(curve)
    half_variance = float(exact_mean(curve, "functional_variance").value[-1]) / 2
    row: dict[str, Any] = {
        "kind": kind,
        "learning_coefficient": curve["exact_learning_coefficient"].item() or None,
        "regular_fluctuation": regular,
        "singular_fluctuation_theory": regular if kind == "regular" else None,
        "sizes": curve["n"].to_numpy().tolist(),
        "sampled_sizes": sampled_sizes(curve),
        "errors": {name: as_columns(exact_mean(curve, name)) for name in QUANTITIES},
        "sampled_errors": {name: as_columns(sampled_mean(curve, name)) for name in QUANTITIES},
        "sampled_separation": as_columns(sampled_separation(curve)),
        "ratio": as_columns(errors_ratio(curve)),
        "singular_fluctuation": {
            route: as_columns(nu) for route, nu in singular_fluctuations(curve).items()
        },
        "states": {name: as_columns(side) for name, side in sides.items()},
        "equations_hold": {
            name: is_negligible(ratio.value[-1] - 1, ratio.standard_error[-1], 1.0)
            for name, ratio in sides.items()
        },
        "separated_by_variance": is_negligible(
            gap.value[-1], gap.standard_error[-1], half_variance
        ),
        "calibration": calibration_of(curve, QUANTITIES),
        **convergence_of(curve),
    }
    row |= expected_numbers(curve) if "expected_bayes" in curve else {"last": last_of(row)}
    last = row["last"]
    row["equal"] = bool(abs(last["separation"][0]) <= MIN_Z_SCORE * last["separation"][1])
    row["same_order"] = bool(last["bayes"][0] > MIN_Z_SCORE * last["bayes"][1])
    return row


def sampled_separation(curve: xr.Dataset) -> Estimate:
    """Estimate n E[G_g − B_g] by sampling at each sampled n; the control is in both and cancels."""
    return stacked(
        [
            gibbs_fluctuation(curve[GIBBS].sel(n=n), curve[BAYES].sel(n=n), n)
            for n in sampled_sizes(curve)
        ]
    )


def states(curve: xr.Dataset) -> dict[str, Estimate]:
    """Divide sides of the equations of state by E[V_n]/2: each would be 1, shape [n].

    n(B_g − B_t)/2, n(G_t − B_t) and n(G_g − G_t)/2; the errors are of ratios in pairs.
    """
    b_g, g_g, b_t, g_t, variance = exact_errors_of(curve)
    n = curve["n"].to_numpy()[:, None].astype(float)
    sides = {
        "bayes": n * (b_g - b_t) / 2,
        "training": n * (g_t - b_t),
        "gibbs_difference": n * (g_g - g_t) / 2,
    }
    return {name: ratio_of_means(side, variance / 2) for name, side in sides.items()}


def errors_ratio(curve: xr.Dataset) -> Estimate:
    """Estimate E[G_g]/E[B_g] at each n."""
    bayes, gibbs, *_ = exact_errors_of(curve)
    return ratio_of_means(gibbs, bayes)


def ratio_of_means(above: np.ndarray, below: np.ndarray) -> Estimate:
    """Estimate E[above]/E[below] over data sets [n, replicate], its error by the delta method."""
    centre = below.mean(axis=1)
    ratio = above.mean(axis=1) / centre
    influence = (above - ratio[:, None] * below) / centre[:, None]
    return mean_over_data_sets(influence)._replace(value=ratio)


def paired_gap(curve: xr.Dataset) -> Estimate:
    """Estimate n(G_g − B_g) − V_n/2 over data sets, shape [n]."""
    n = curve["n"].to_numpy()[:, None].astype(float)
    values = n * (curve[f"exact_{GIBBS}"].to_numpy() - curve[f"exact_{BAYES}"].to_numpy())
    return mean_over_data_sets(values - curve["exact_functional_variance"].to_numpy() / 2)


def last_of(row: Row) -> dict[str, Any]:
    """Take the errors at the largest n over data sets, each with its standard error."""
    return {
        "n": int(row["sizes"][-1]),
        "bayes": _last(row["errors"][BAYES]),
        "gibbs": _last(row["errors"][GIBBS]),
        "separation": _last(row["singular_fluctuation"]["gibbs"]),
        "ratio": _last(row["ratio"]),
    }


def expected_numbers(curve: xr.Dataset) -> dict[str, Any]:
    """Take the errors over all data sets, with bounds, and hold those of data sets to them.

    ``variance`` is nE[tr Var_w m]/2. The exponents are those of ``last_exponent``.
    """
    n = curve["expected_n"].to_numpy().astype(float)
    whole = {name: n * curve[f"expected_{name}"].to_numpy() for name in WHOLE}
    whole["variance"] = whole["variance"] / 2
    bayes, gibbs = whole["bayes"], whole["gibbs"]
    bounds = {name: n * curve[f"expected_{name}_error"].to_numpy() for name in WHOLE[:2]}
    largest = largest_score(curve, n, whole)
    return {
        "last": {
            "n": int(n[-1]),
            "bayes": [float(bayes[-1]), float(bounds["bayes"][-1])],
            "gibbs": [float(gibbs[-1]), float(bounds["gibbs"][-1])],
            "separation": [
                float(gibbs[-1] - bayes[-1]), float(bounds["gibbs"][-1] + bounds["bayes"][-1]),
            ],
            "ratio": [float(gibbs[-1] / bayes[-1]), 0.0],
        },
        "expected_sizes": n.tolist(),
        "expected": {name: values.tolist() for name, values in whole.items()},
        "expected_separation": (gibbs - bayes).tolist(),
        "expected_bounds": {name: bound.tolist() for name, bound in bounds.items()},
        "exponents": {name: last_exponent(n, whole[name]) for name in WHOLE[:2]},
        "routes_agree": bool(largest <= MAX_Z_SCORE),
        "largest_score": largest,
    }  # fmt: skip


def last_exponent(n: np.ndarray, scaled: np.ndarray) -> float | None:
    """Return a of |error| ~ n^−a between the last two n, for n·error; None of fewer than two n."""
    if n.size < 2:
        return None
    return float(1 - np.diff(np.log(np.abs(scaled)))[-1] / np.diff(np.log(n))[-1])


def largest_score(curve: xr.Dataset, n: np.ndarray, whole: Mapping[str, np.ndarray]) -> float:
    """Return by how many standard errors data sets' means are off the expectation, at most."""
    sizes = curve["n"].to_numpy()
    _, of_sets, of_all = np.intersect1d(sizes, n, return_indices=True)
    scores = [0.0]
    for name, quantity in (("bayes", BAYES), ("gibbs", GIBBS)):
        mean = exact_mean(curve, quantity)
        difference = mean.value[of_sets] - whole[name][of_all]
        scores += list(np.abs(in_standard_errors(difference, mean.standard_error[of_sets])))
    return float(max(scores))


def judge(rows: Rows) -> Finding:
    """N6 holds where n(G_g − B_g) is 0 within its errors in every problem."""
    equal = [name for name, row in rows.items() if row["equal"]]
    order = [name for name, row in rows.items() if row["same_order"]]
    renormalisable = [name for name, row in rows.items() if row["kind"] != "not renormalisable"]
    if len(equal) == len(rows):
        outcome = "holds"
    elif order and set(order) == set(renormalisable):
        rest = "" if len(order) == len(rows) else ", and only where renormalisable"
        outcome = f"holds only if a factor 1 + ν/λ does not count{rest}"
    elif order:
        outcome = f"holds only if a factor does not count, for {', '.join(order)}"
    else:
        outcome = "fails"
    separated = sum(row["separated_by_variance"] for row in rows.values())
    bent = [name for name, row in rows.items() if not all(row["equations_hold"].values())]
    apart = [name for name, row in rows.items() if not row.get("routes_agree", True)]
    why = (
        f"n(G_g − B_g) differs from 0 by more than {MIN_Z_SCORE:.0f} of its errors in "
        f"{len(rows) - len(equal)} of {len(rows)} problems; it is V_n/2 within error in "
        f"{separated} of {len(rows)}."
    )
    if bent:
        why += f" The equations of state do not hold within error for {', '.join(bent)}."
    if apart:
        why += f" Means over data sets and the expectation DISAGREE for {', '.join(apart)}."
    return Finding("N6", EQUALITY, outcome, why)


def table_of_errors(rows: Rows) -> str:
    """Tabulate both errors at the largest n, in nats: over all data sets where that is exact.

    There they have exponents; elsewhere ± is one standard error.
    """
    head = (
        "problem",
        "kind",
        "λ",
        "n",
        "nB_g",
        "nG_g",
        "G_g/B_g",
        "a: |B_g| ~ n^−a",
        "b: G_g ~ n^−b",
    )
    return aligned(head, [_error_row(name, row) for name, row in rows.items()])


def _error_row(name: str, row: Row) -> list[str]:
    last = row["last"]
    exponents = [row.get("exponents", {}).get(rule) for rule in WHOLE[:2]]
    return [
        name,
        row["kind"],
        row["learning_coefficient"] or "–",
        str(last["n"]),
        *(_shown(last[key]) for key in ("bayes", "gibbs", "ratio")),
        *("–" if exponent is None else f"{exponent:.3f}" for exponent in exponents),
    ]


def table_of_separation(rows: Rows) -> str:
    """Tabulate what separates both errors at the largest n of data sets, in nats.

    Means ± 1 standard error. The equations of state are off by a share of V_n; ``!`` says beyond
    error. The last column is the largest distance of a mean over data sets from the expectation
    over all, in standard errors.
    """
    head = (
        "problem", "n", "n(G_g − B_g)", "V_n/2", "tr(IJ⁻¹)/2", "equations of state off",
        "off expectation",
    )  # fmt: skip
    return aligned(head, [_separation_row(name, row) for name, row in rows.items()])


def _separation_row(name: str, row: Row) -> list[str]:
    nu, theory = row["singular_fluctuation"], row["singular_fluctuation_theory"]
    off = max(abs(side["value"][-1] - 1) for side in row["states"].values())
    bent = "" if all(row["equations_hold"].values()) else " !"
    apart = "" if row.get("routes_agree", True) else " !"
    return [
        name,
        str(row["sizes"][-1]),
        _shown(_last(nu["gibbs"])),
        _shown(_last(nu["variance"])),
        "–" if theory is None else f"{theory:.3f}",
        f"{off:.1%}{bent}",
        f"{row['largest_score']:.1f} s.e.{apart}" if "largest_score" in row else "–",
    ]


def _last(columns: Mapping[str, list[float]]) -> list[float]:
    return [columns["value"][-1], columns["standard_error"][-1]]


def _shown(pair: list[float]) -> str:
    digits = 3 if abs(pair[0]) < 100 else 1
    if pair[1] < 0.5 * 10**-digits:
        return f"{pair[0]:.{digits}f}"
    return plus_minus(pair[0], pair[1], digits)

"""What the errors of unrealisable problems say of claim N6."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from experiments.learning_curves.verdict import AGREE, NEAR, fluctuations, mean_of
from experiments.unrealisable.study import kind_of
from slt_jax.curves.comparison import calibration_of, sampled_coverage
from slt_jax.curves.errors import QUANTITIES, with_control_variate
from slt_jax.estimators import Estimate, gibbs_fluctuation, in_standard_errors, mean_over_data_sets
from slt_jax.problem import Problem

EQUAL = 2.0
BAYES, GIBBS = QUANTITIES[:2]


def separation(curve: xr.Dataset, sampled: bool = False) -> list[Estimate]:
    """n E[G_g − B_g] at each n, over data sets, exact or of SMC.

    The control is part of both errors and cancels.
    """
    prefix = "" if sampled else "exact_"
    return [
        gibbs_fluctuation(at[f"{prefix}{GIBBS}"].to_numpy(), at[f"{prefix}{BAYES}"].to_numpy(), n)
        for n in curve["n"].to_numpy()
        for at in [curve.sel(n=n)]
    ]


def states(curve: xr.Dataset) -> dict[str, Estimate]:
    """Sides of the equations of state over E[V_n]/2, which each would be 1, shape [n].

    n(B_g − B_t)/2, n(G_t − B_t) and n(G_g − G_t)/2; the errors are of ratios in pairs.
    """
    control = curve["exact_control"].to_numpy()
    b_g, g_g, b_t, g_t, variance = (
        with_control_variate(q, curve[f"exact_{q}"].to_numpy(), control) for q in QUANTITIES
    )
    n = curve["n"].to_numpy()[:, None].astype(float)
    sides = {
        "bayes": n * (b_g - b_t) / 2,
        "training": n * (g_t - b_t),
        "gibbs_difference": n * (g_g - g_t) / 2,
    }
    return {name: _ratio(side, variance / 2) for name, side in sides.items()}


def _ratio(above: np.ndarray, below: np.ndarray) -> Estimate:
    """E[above]/E[below] over data sets [n, replicate], with its error by linearisation."""
    centre = below.mean(axis=1)
    ratio = above.mean(axis=1) / centre
    influence = (above - ratio[:, None] * below) / centre[:, None]
    return mean_over_data_sets(influence)._replace(value=ratio)


def expected(curve: xr.Dataset) -> dict[str, np.ndarray] | None:
    """n, nE[B_g], nE[G_g] and nE[tr Var_w m]/2 over all data sets, None without expectation."""
    if "expected_n" not in curve:
        return None
    n = curve["expected_n"].to_numpy().astype(float)
    scaled = {
        name: n * curve[f"expected_{name}"].to_numpy() for name in ("bayes", "gibbs", "variance")
    }
    return {"n": n, **scaled, "variance": scaled["variance"] / 2}


def judge_problem(problem: Problem, curve: xr.Dataset) -> dict[str, Any]:
    """N6 for one problem, from data sets and, in location families, from all of them."""
    kind, known = kind_of(problem, curve), problem.theory
    n = curve["n"].to_numpy()
    found = fluctuations(curve)
    half_variance = mean_of(curve, "functional_variance").scaled(0.5)
    apart = separation(curve)
    sides = states(curve)
    gap = _paired_gap(curve)
    sampled = np.isfinite(curve[BAYES].to_numpy()).any(axis=1)
    row: dict[str, Any] = {
        "kind": kind,
        "learning_coefficient": known and str(known.learning_coefficient),
        "singular_fluctuation_theory": (
            float(curve["regular_fluctuation"]) if kind == "regular" else None
        ),
        "sizes": n.tolist(),
        "errors": {name: _listed(mean_of(curve, name)) for name in QUANTITIES},
        "sampled_errors": {
            name: _listed(mean_of(curve.isel(n=sampled), name, sampled=True)) for name in QUANTITIES
        },
        "separation": [_pair(e) for e in apart],
        "ratio": _listed(_errors_ratio(curve)),
        "singular_fluctuation": {
            route: [_pair(e) for e in estimates] for route, estimates in found.items()
        },
        "states": {name: _listed(side) for name, side in sides.items()},
        "equations_hold": {
            name: bool(abs(r.value[-1] - 1) <= max(AGREE * r.standard_error[-1], NEAR))
            for name, r in sides.items()
        },
        "separated_by_variance": bool(
            abs(gap.value[-1])
            <= max(AGREE * gap.standard_error[-1], NEAR * half_variance.value[-1])
        ),
        "calibration": calibration_of(curve, QUANTITIES),
        "jobs": int(sampled.sum() * curve.sizes["replicate"]),
        "not_converged": int((~curve["converged"].to_numpy()[sampled]).sum()),
    }  # fmt: skip
    row |= _expected_row(curve)
    distance = row["last"]["separation"]
    row["equal"] = bool(abs(distance[0]) <= EQUAL * distance[1])
    row["same_order"] = bool(row["last"]["bayes"][0] > EQUAL * row["last"]["bayes"][1])
    return row


def _expected_row(curve: xr.Dataset) -> dict[str, Any]:
    """The last errors, from the expectation where there is one, and how the two routes agree."""
    exact = expected(curve)
    bayes, gibbs = (mean_of(curve, name) for name in (BAYES, GIBBS))
    if exact is None:
        last = {
            "n": int(curve["n"][-1]),
            "bayes": [float(bayes.value[-1]), float(bayes.standard_error[-1])],
            "gibbs": [float(gibbs.value[-1]), float(gibbs.standard_error[-1])],
            "separation": _pair(separation(curve)[-1]),
            "ratio": _listed(_errors_ratio(curve))[-1],
        }
        return {"last": last}
    n = exact["n"]
    bounds = {name: n * curve[f"expected_{name}_error"].to_numpy() for name in ("bayes", "gibbs")}
    scores = []
    for name, found in (("bayes", bayes), ("gibbs", gibbs)):
        shared = [i for i, size in enumerate(curve["n"].to_numpy()) if size in n]
        at = [int(np.flatnonzero(n == curve["n"].to_numpy()[i])[0]) for i in shared]
        difference = found.value[shared] - exact[name][at]
        scores += list(in_standard_errors(difference, found.standard_error[shared]))
    step = np.diff(np.log(n))
    return {
        "last": {
            "n": int(n[-1]),
            "bayes": [float(exact["bayes"][-1]), float(bounds["bayes"][-1])],
            "gibbs": [float(exact["gibbs"][-1]), float(bounds["gibbs"][-1])],
            "separation": [
                float(exact["gibbs"][-1] - exact["bayes"][-1]),
                float(bounds["gibbs"][-1] + bounds["bayes"][-1]),
            ],
            "ratio": [float(exact["gibbs"][-1] / exact["bayes"][-1]), 0.0],
        },
        "expected_sizes": n.tolist(),
        "expected": {name: exact[name].tolist() for name in ("bayes", "gibbs", "variance")},
        "expected_bounds": {name: bound.tolist() for name, bound in bounds.items()},
        "exponents": {
            name: float(1 - np.diff(np.log(np.abs(exact[name])))[-1] / step[-1])
            for name in ("bayes", "gibbs")
        },
        "routes_agree": bool(max(map(abs, scores), default=0.0) <= AGREE),
        "largest_score": float(max(map(abs, scores), default=0.0)),
    }


def _paired_gap(curve: xr.Dataset) -> Estimate:
    """n(G_g − B_g) − V_n/2 over data sets, shape [n]."""
    n = curve["n"].to_numpy()[:, None].astype(float)
    values = n * (curve[f"exact_{GIBBS}"].to_numpy() - curve[f"exact_{BAYES}"].to_numpy())
    return mean_over_data_sets(values - curve["exact_functional_variance"].to_numpy() / 2)


def _errors_ratio(curve: xr.Dataset) -> Estimate:
    """E[G_g]/E[B_g] at each n."""
    control = curve["exact_control"].to_numpy()
    bayes, gibbs = (
        with_control_variate(name, curve[f"exact_{name}"].to_numpy(), control)
        for name in (BAYES, GIBBS)
    )
    return _ratio(gibbs, bayes)


def judge(problems: Mapping[str, Problem], curves: Mapping[str, xr.Dataset]) -> dict[str, Any]:
    """The claim, from the numbers of every problem."""
    rows = {name: judge_problem(problems[name], curve) for name, curve in curves.items()}
    return {"claims": ["N6"], "N6": {"problems": rows, **state(rows)}, "statement": state(rows)[
        "statement"
    ]}  # fmt: skip


def state(rows: Mapping[str, dict[str, Any]]) -> dict[str, str]:
    """The verdict on N6 in words."""
    equal = [name for name, row in rows.items() if row["equal"]]
    order = [name for name, row in rows.items() if row["same_order"]]
    renormalisable = [name for name, row in rows.items() if row["kind"] != "not renormalisable"]
    if len(equal) == len(rows):
        word = "holds"
    elif order and set(order) == set(renormalisable):
        rest = "" if len(order) == len(rows) else ", and only where renormalisable"
        word = f"holds only up to a factor 1 + ν/λ{rest}"
    elif order:
        word = f"holds only up to a factor, for {', '.join(order)}"
    else:
        word = "fails"
    lines = [
        f"N6 {word}. n(G_g − B_g) differs from 0 by more than {EQUAL:.0f} of its errors in "
        f"{len(rows) - len(equal)} of {len(rows)} problems; it is V_n/2 within error in "
        f"{sum(row['separated_by_variance'] for row in rows.values())} of {len(rows)}."
    ]
    lines += [_line(name, row) for name, row in rows.items()]
    lines += sampled_coverage(rows)
    return {"verdict": word, "statement": "\n".join(lines)}


def _line(name: str, row: dict[str, Any]) -> str:
    last, known = row["last"], row["learning_coefficient"]
    theory = f", λ = {known}" if known else ""
    if row["singular_fluctuation_theory"] is not None:
        theory += f", ν = tr(IJ⁻¹)/2 = {row['singular_fluctuation_theory']:.3f}"
    text = (
        f"{name} ({row['kind']}{theory}): nB_g = {_shown(last['bayes'])}, nG_g = "
        f"{_shown(last['gibbs'])}, ratio {_shown(last['ratio'])} at n = {last['n']}"
    )
    if "expected" in row:
        text += (
            f" over all data sets, |B_g| ~ n^−{row['exponents']['bayes']:.3f}, G_g ~ "
            f"n^−{row['exponents']['gibbs']:.3f} there"
        )
    size = row["sizes"][-1]
    text += (
        f"; n(G_g − B_g) = {_shown(row['separation'][-1])} and V_n/2 = "
        f"{_shown(row['singular_fluctuation']['variance'][-1])} at n = {size}; the equations of "
        f"state are off by up to {max(abs(r[-1][0] - 1) for r in row['states'].values()):.1%} "
        "of V_n"
    )
    if not all(row["equations_hold"].values()):
        text += " (NOT within error)"
    if "routes_agree" in row:
        word = "within" if row["routes_agree"] else "DISAGREE by"
        text += (
            f"; the data sets' means and the expectation agree {word} "
            f"{row['largest_score']:.1f} standard errors"
        )
    return text + "."


def _pair(estimate: Estimate) -> list[float]:
    return [float(estimate.value), float(estimate.standard_error)]


def _listed(estimate: Estimate) -> list[list[float]]:
    pairs = zip(estimate.value, estimate.standard_error, strict=True)
    return [[float(value), float(error)] for value, error in pairs]


def _shown(pair: list[float]) -> str:
    digits = 3 if abs(pair[0]) < 100 else 1
    if pair[1] < 0.5 * 10**-digits:
        return f"{pair[0]:.{digits}f}"
    return f"{pair[0]:.{digits}f} ± {pair[1]:.{digits}f}"

"""What the learning curves of several problems say of claims N3 and E14, and their figure."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from slt_jax.curves.comparison import calibration_of, estimate_in, sampled_coverage
from slt_jax.curves.errors import QUANTITIES, with_control_variate
from slt_jax.estimators import (
    Estimate,
    bayes_fluctuation,
    gibbs_fluctuation,
    in_standard_errors,
    mean_over_data_sets,
    variance_fluctuation,
)
from slt_jax.problem import Problem
from slt_jax.theory import Theory

AGREE = 4.0
NEAR = 0.05
DESCRIBED = 0.2
ROUTES = {
    "variance": r"$V_n/2$",
    "bayes": r"$n(B_g-B_t)/2$",
    "gibbs": r"$n(G_g-B_g)$",
    "training": r"$n(G_t-B_t)$",
    "gibbs_difference": r"$n(G_g-G_t)/2$",
}


def mean_of(curve: xr.Dataset, name: str, sampled: bool = False) -> Estimate:
    """E[n·error], or E[V_n], with its error over data sets, shape [n]; the control is added.

    Sampled values have the control of their own data set, which is exact, so that they differ
    from the exact ones by Monte Carlo alone.
    """
    n = curve["n"].to_numpy()
    scale = np.ones(n.size) if name == "functional_variance" else n.astype(float)
    control = curve["exact_control"].to_numpy()
    if not sampled:
        values = with_control_variate(name, curve[f"exact_{name}"].to_numpy(), control)
        return mean_over_data_sets(values).scaled(scale)
    estimate = estimate_in(curve, name)
    estimate = estimate._replace(value=with_control_variate(name, estimate.value, control))
    return mean_over_data_sets(estimate).scaled(scale)


def fluctuations(curve: xr.Dataset) -> dict[str, list[Estimate]]:
    """ν̂ by each of ``ROUTES`` at each n; that they agree is what the equations of state say."""
    found: dict[str, list[Estimate]] = {route: [] for route in ROUTES}
    for n in curve["n"].to_numpy():
        at = curve.sel(n=n)
        b_g, g_g, b_t, g_t, variance = (
            with_control_variate(q, at[f"exact_{q}"].to_numpy(), at["exact_control"].to_numpy())
            for q in QUANTITIES
        )
        found["variance"].append(variance_fluctuation(variance, 1.0))
        found["bayes"].append(bayes_fluctuation(b_g, b_t, n))
        found["gibbs"].append(gibbs_fluctuation(g_g, b_g, n))
        found["training"].append(gibbs_fluctuation(g_t, b_t, n))
        found["gibbs_difference"].append(bayes_fluctuation(g_g, g_t, n))
    return found


def residuals(curve: xr.Dataset) -> dict[str, Estimate]:
    """Left minus right side of each equation of state, times n, with its error, shape [n].

    B_g − B_t = 2(G_t − B_t), G_g − G_t = 2(G_t − B_t) and V_n = 2n(G_t − B_t), at β = 1.
    """
    control = curve["exact_control"].to_numpy()
    b_g, g_g, b_t, g_t, variance = (
        with_control_variate(q, curve[f"exact_{q}"].to_numpy(), control) for q in QUANTITIES
    )
    n = curve["n"].to_numpy()[:, None].astype(float)
    return {
        "bayes": mean_over_data_sets(n * (b_g - b_t - 2 * (g_t - b_t))),
        "gibbs": mean_over_data_sets(n * (g_g - g_t - 2 * (g_t - b_t))),
        "variance": mean_over_data_sets(variance - 2 * n * (g_t - b_t)),
    }


def slopes(curve: xr.Dataset, scale: float) -> tuple[np.ndarray, Estimate]:
    """dE[F_n]/d log n under the prior of a scale, at the n between the sizes of ``growth``.

    It is nE[B_g] up to terms of order 1/n, since E[G_n] = E[F_{n+1}] − E[F_n].
    """
    n = curve["far_n"].to_numpy().astype(float)
    growth = curve["growth"].sel(prior_scale=scale).transpose("far_n", "design").to_numpy()
    slope = np.diff(growth, axis=0) / np.diff(np.log(n))[:, None]
    return np.sqrt(n[1:] * n[:-1]), mean_over_data_sets(slope)


def scales_of(curve: xr.Dataset) -> np.ndarray:
    """The prior scales under which F_n was computed."""
    growth = curve["growth"].transpose("prior_scale", ...).to_numpy()
    return curve["prior_scale"].to_numpy()[np.isfinite(growth).all(axis=(1, 2))]


def described_from(n: np.ndarray, deviation: np.ndarray, tolerance: float) -> float | None:
    """The first n from which on every |deviation| is within the tolerance, None without one."""
    outside = np.flatnonzero(~(np.abs(deviation) <= tolerance))
    first = 0 if outside.size == 0 else int(outside[-1]) + 1
    return float(n[first]) if first < n.size else None


def leading_slope(theory: Theory, n: np.ndarray, orders: bool = True) -> np.ndarray:
    """λ − (m−1)/log n, what λ log n − (m−1) log log n grows by; λ alone without ``orders``."""
    correction = (theory.multiplicity - 1) / np.log(n) if orders else np.zeros(n.size)
    return float(theory.learning_coefficient) - correction


def judge_errors(problem: Problem, curve: xr.Dataset) -> dict[str, Any]:
    """N3 for one problem: limits, equations of state, the identities, and the sampler."""
    theory = _theory(problem)
    coefficient = float(theory.learning_coefficient)
    n = curve["n"].to_numpy()
    middle, slope = slopes(curve, float(curve["own_prior_scale"]))
    gap = (slope.value - leading_slope(theory, middle)) / coefficient
    away = (slope.value - coefficient) / coefficient
    left = residuals(curve)
    twice_nu = mean_of(curve, "functional_variance").value
    control = mean_over_data_sets(n[:, None] * curve["exact_control"].to_numpy())
    scores = in_standard_errors(control.value, control.standard_error)
    states = {
        name: bool(abs(r.value[-1]) <= max(AGREE * r.standard_error[-1], NEAR * twice_nu[-1]))
        for name, r in left.items()
    }
    calibration = calibration_of(curve, QUANTITIES)
    sampled = np.isfinite(curve[QUANTITIES[0]].to_numpy()).any(axis=1)
    return {
        "learning_coefficient": str(theory.learning_coefficient),
        "multiplicity": theory.multiplicity,
        "sizes": n.tolist(),
        "errors": {name: _listed(mean_of(curve, name)) for name in QUANTITIES},
        "sampled_errors": {
            name: _listed(mean_of(curve.isel(n=sampled), name, sampled=True)) for name in QUANTITIES
        },
        "singular_fluctuation": {
            route: [_pair(e) for e in found] for route, found in fluctuations(curve).items()
        },
        "residuals": {name: _listed(r) for name, r in left.items()},
        "relative_residual_first": float(max(abs(r.value[0]) for r in left.values()) / twice_nu[0]),
        "relative_residual_last": float(
            max(abs(r.value[-1]) for r in left.values()) / twice_nu[-1]
        ),
        "equations_hold": states,
        "slope_n": [float(middle[0]), float(middle[-1])],
        "slope": [float(slope.value[0]), float(slope.value[-1])],
        "slope_se": [float(slope.standard_error[0]), float(slope.standard_error[-1])],
        "off_theory": float(gap[-1]),
        "limit_holds": bool(abs(gap[-1]) <= NEAR and abs(away[-1]) <= max(abs(away[0]), NEAR)),
        "next_datum_score": float(scores[np.argmax(np.abs(scores))]),
        "next_datum": _listed(control),
        "online_gap": float(curve["online_gap"]),
        "online_bound": float(curve["online_bound"]),
        "calibration": calibration,
        "jobs": int(sampled.sum() * curve.sizes["replicate"]),
        "not_converged": int((~curve["converged"].to_numpy()[sampled]).sum()),
    }


def judge_priors(problem: Problem, curve: xr.Dataset) -> dict[str, Any]:
    """E14 for one problem: from which n on λ, or λ − (m−1)/log n, is the slope of F_n."""
    theory = _theory(problem)
    tolerance = DESCRIBED * float(theory.learning_coefficient)
    rows: dict[str, Any] = {}
    for scale in scales_of(curve):
        middle, slope = slopes(curve, scale)
        deviation = slope.value - leading_slope(theory, middle, orders=False)
        slack = 2 * slope.standard_error
        rows[f"{scale:g}"] = {
            "from_n": described_from(middle, deviation, tolerance),
            "from_n_low": described_from(
                middle, np.maximum(np.abs(deviation) - slack, 0), tolerance
            ),
            "from_n_high": described_from(middle, np.abs(deviation) + slack, tolerance),
            "from_n_with_multiplicity": described_from(
                middle, slope.value - leading_slope(theory, middle), tolerance
            ),
            "last_slope": float(slope.value[-1]),
            "last_slope_se": float(slope.standard_error[-1]),
            "largest_slope": float(slope.value.max()),
        }
    return {
        "learning_coefficient": str(theory.learning_coefficient),
        "multiplicity": theory.multiplicity,
        "largest_n": int(curve["far_n"][-1]),
        "priors": rows,
    }


def judge(problems: Mapping[str, Problem], curves: Mapping[str, xr.Dataset]) -> dict[str, Any]:
    """Both claims, from the numbers of every problem."""
    errors = {name: judge_errors(problems[name], curve) for name, curve in curves.items()}
    priors = {name: judge_priors(problems[name], curve) for name, curve in curves.items()}
    first, second = state_errors(errors), state_priors(priors)
    return {
        "claims": ["N3", "E14"],
        "N3": {"problems": errors, **first},
        "E14": {"problems": priors, **second},
        "statement": f"N3 {first['statement']}\nE14 {second['statement']}",
    }


def state_errors(rows: Mapping[str, dict[str, Any]]) -> dict[str, str]:
    """The verdict on N3 in words."""
    good = [
        name for name, row in rows.items()
        if row["limit_holds"] and all(row["equations_hold"].values())
        and abs(row["next_datum_score"]) <= AGREE
    ]  # fmt: skip
    word = _word(good, rows)
    lines = [f"{word}."]
    for name, row in rows.items():
        last = len(row["sizes"]) - 1
        bayes, gibbs = (row["errors"][q][last] for q in QUANTITIES[:2])
        nu = row["singular_fluctuation"]["variance"]
        bent = "" if all(row["equations_hold"].values()) else " (NOT within error)"
        lines.append(
            f"{name}, λ = {row['learning_coefficient']}, m = {row['multiplicity']}: at "
            f"n = {row['sizes'][last]} nB_g = {_shown(bayes)}, nG_g = {_shown(gibbs)}, ν = V_n/2 = "
            f"{_shown(nu[last])} (from {nu[0][0]:.2f} at n = {row['sizes'][0]}); the equations of "
            f"state are off by {row['relative_residual_first']:.1%} of V_n at n = "
            f"{row['sizes'][0]} and {row['relative_residual_last']:.1%} at n = "
            f"{row['sizes'][last]}{bent}; dE[F_n]/d log n goes from {row['slope'][0]:.3f} at "
            f"n = {row['slope_n'][0]:.2g} to {row['slope'][1]:.3f} ± {row['slope_se'][1]:.3f} at "
            f"n = {row['slope_n'][1]:.2g}, {row['off_theory']:+.1%} of λ from "
            f"λ − (m−1)/log n."
        )
    scores = [abs(row["next_datum_score"]) for row in rows.values()]
    count = sum(len(row["sizes"]) for row in rows.values())
    lines.append(
        f"E[LOO_n] = E[G_(n−1)] = E[F_n] − E[F_(n−1)] within {max(scores):.1f} standard errors in "
        f"{count} comparisons, and the cumulative Bayes loss is F_n within "
        f"{max(row['online_gap'] for row in rows.values()):.1g} nats (bound "
        f"{max(row['online_bound'] for row in rows.values()):.1g})."
    )
    lines += sampled_coverage(rows)
    return {"verdict": word, "statement": "\n".join(lines)}


def state_priors(rows: Mapping[str, dict[str, Any]]) -> dict[str, str]:
    """The verdict on E14 in words."""
    alone = {
        f"{name}, s = {scale}": row["from_n"]
        for name, found in rows.items() for scale, row in found["priors"].items()
    }  # fmt: skip
    within = [n for n in alone.values() if n is not None]
    orders = [
        row["from_n_with_multiplicity"]
        for found in rows.values() for row in found["priors"].values()
    ]  # fmt: skip
    largest = max(found["largest_n"] for found in rows.values())
    if not within:
        word = f"fails up to n = {largest:.0e}"
    elif len(within) == len(alone):
        word = f"holds for every prior, from n = {min(within):.1e} to {max(within):.1e} on"
    else:
        word = (
            f"holds only for {len(within)} of {len(alone)} priors up to n = {largest:.0e}, from "
            f"n = {min(within):.1e} to {max(within):.1e} on"
        )
    reached = [n for n in orders if n is not None]
    lines = [
        f"{word}: |dE[F_n]/d log n − λ| ≤ {DESCRIBED:.0%} of λ from the n given (with error bars "
        "of 2 s.e.; sizes are a grid) under N(0, s²). With λ − (m−1)/log n in place of λ it is "
        f"so for {len(reached)} of {len(orders)}"
        + (f", from n = {max(reached):.1e} at the latest." if reached else ".")
    ]
    for name, found in rows.items():
        parts = [
            f"s = {scale}: {_size(row['from_n'])} ({_size(row['from_n_low'])} to "
            f"{_size(row['from_n_high'])})"
            for scale, row in found["priors"].items()
        ]
        lines.append(
            f"{name}, λ = {found['learning_coefficient']}, m = {found['multiplicity']}: "
            + "; ".join(parts) + "."
        )  # fmt: skip
    return {"verdict": word, "statement": "\n".join(lines)}


def _word(good: list[str], rows: Mapping[str, Any]) -> str:
    if len(good) == len(rows):
        return "holds"
    return f"holds only for {', '.join(good)}" if good else "fails"


def _theory(problem: Problem) -> Theory:
    assert problem.theory is not None  # which ``own_prior_scale`` has seen to
    return problem.theory


def _pair(estimate: Estimate) -> list[float]:
    return [float(estimate.value), float(estimate.standard_error)]


def _listed(estimate: Estimate) -> list[list[float]]:
    pairs = zip(estimate.value, estimate.standard_error, strict=True)
    return [[float(value), float(error)] for value, error in pairs]


def _shown(pair: list[float]) -> str:
    return f"{pair[0]:.3f} ± {pair[1]:.3f}"


def _size(n: float | None) -> str:
    return "later" if n is None else f"{n:.1e}"

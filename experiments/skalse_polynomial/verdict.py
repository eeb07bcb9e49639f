"""What the numbers of Skalse's polynomial say of E1 to E3, conclusions apart from reasons."""

import math
from typing import Any

import numpy as np
import xarray as xr

from experiments.skalse_polynomial.coefficients import (
    FACTORS,
    FUNCTIONS,
    METHODS,
    TRUTHS,
    gram,
    targets,
)
from experiments.skalse_polynomial.regression import decay_rate
from slt_jax import theory
from slt_jax.estimators import in_standard_errors, mean_over_data_sets, slope_coefficient

AGREE = 4.0
CLEARLY = 4.0
USELESS, USEFUL = 0.9, 0.1
POINTS_PER_DEGREE = 0.1


def power_theory(truth: str) -> theory.Theory:
    """λ and m where coefficient k is the j_k-th power of one parameter."""
    return theory.power_coefficients(FACTORS, [c != 0 for c in targets(truth)])


def judge_truths(data: xr.Dataset) -> dict[str, Any]:
    """E1: which truth has the least F_n, whether its λ is the least, and where λ does differ."""
    n = data["far_n"].to_numpy().astype(float)
    late = n >= n[len(n) // 2 - 1]
    early = ~late | (n == n[late][0])
    rows: dict[str, Any] = {}
    for truth in TRUTHS:
        exact, power = theory.skalse_polynomial(truth), power_theory(truth)
        at = data.sel(truth=truth)
        slopes = [
            slope_coefficient(at["designed"].to_numpy()[chosen].T, n[chosen], exact.multiplicity)
            for chosen in (early, late)
        ]
        logs = np.log(n[late])
        powered = np.polyfit(logs, at["power"].to_numpy()[late], 1)[0]
        miss = np.abs(in_standard_errors(at["local"] - at["exact_local"], at["local_se"]))
        rows[truth] = {
            "learning_coefficient": str(exact.learning_coefficient),
            "multiplicity": exact.multiplicity,
            "slope_early": float(slopes[0].value),
            "slope": float(slopes[1].value),
            "slope_se": float(slopes[1].standard_error),
            "power_learning_coefficient": str(power.learning_coefficient),
            "power_slope": float(powered),
            "local": at["local"].to_numpy(),
            "local_se": at["local_se"].to_numpy(),
            "exact_local": at["exact_local"].to_numpy(),
            "local_deviation": float(miss.max()),
            "far_local": at["far_local"].to_numpy()[:, -1],
        }
    last = data["designed"].isel(far_n=-1)
    differences = {
        f: mean_over_data_sets((last.sel(truth=f) - last.sel(truth="x^4")).to_numpy())
        for f in FUNCTIONS[:-1]
    }
    nearest = min(differences, key=lambda f: float(differences[f].value))
    gap = differences[nearest]
    conclusion = float(gap.value) > CLEARLY * float(gap.standard_error)
    coefficients = {f: theory.skalse_polynomial(f).learning_coefficient for f in FUNCTIONS}
    reason = all(coefficients["x^4"] < coefficients[f] for f in FUNCTIONS[:-1])
    powers = {f: power_theory(f).learning_coefficient for f in FUNCTIONS}
    power_reason = all(powers["x^4"] < powers[f] for f in FUNCTIONS[:-1])
    growth = (data["designed"].sel(truth="1") - data["designed"].sel(truth="x^4")).isel(
        far_n=np.flatnonzero(late)[[0, -1]]
    )
    grown = mean_over_data_sets(np.diff(growth.to_numpy(), axis=0)[0])
    orders = rows["x^4"]["multiplicity"] - rows["1"]["multiplicity"]
    expected = orders * math.log(math.log(n[-1]) / math.log(n[late][0]))
    slopes_of = [rows[f]["slope"] for f in FUNCTIONS]
    worst = max(row["local_deviation"] for row in rows.values())
    lowest_acceptance = float(data["acceptance"].min())
    statement = (
        f"the conclusion {_holds(conclusion)}: at n = {n[-1]:.0e} F_n − nL_n(w₀) of x⁴ lies "
        f"{float(gap.value):.2f} ± {float(gap.standard_error):.2f} nats below that of the next "
        f"function, {nearest}. The reason {_holds(reason)}: λ is "
        f"{', '.join(sorted({str(v) for v in coefficients.values()}))} for all five and m from "
        f"{rows['1']['multiplicity']} (1) to {rows['x^4']['multiplicity']} (x⁴). Slopes at known m "
        f"are {min(slopes_of):.3f} to {max(slopes_of):.3f} from n = {n[late][0]:.0e} on, and "
        f"{min(rows[f]['slope_early'] for f in FUNCTIONS):.3f} to "
        f"{max(rows[f]['slope_early'] for f in FUNCTIONS):.3f} before; F_n of 1 gains "
        f"{float(grown.value):.3f} ± {float(grown.standard_error):.3f} nats on that of x⁴ there, "
        f"{expected:.3f} by the orders alone. λ̂ at the natural parameters by SGLD is within "
        f"{worst:.1f} standard errors of its exact value "
        f"({'agrees' if worst < AGREE else 'DISAGREES'}; least acceptance "
        f"{lowest_acceptance:.3f}). "
        f"Where coefficients are powers, λ is {_listed(powers)} and the reason "
        f"{_holds(power_reason)}: slopes {_listed({f: rows[f]['power_slope'] for f in FUNCTIONS})}."
    )
    return {
        "conclusion_holds": conclusion,
        "reason_holds": reason,
        "reason_holds_for_powers": power_reason,
        "gap_to_next": float(gap.value),
        "gap_to_next_se": float(gap.standard_error),
        "gain": float(grown.value),
        "gain_se": float(grown.standard_error),
        "gain_of_orders": expected,
        "local_agrees": worst < AGREE,
        "largest_route_gap": float(data["route_gap"].max()),
        "routes_agree": bool((data["route_gap"] <= data["route_bound"]).all()),
        "design_gap": _design_gap(data),
        "truths": rows,
        "statement": statement,
    }


def _design_gap(data: xr.Dataset) -> float:
    """Largest difference of simulated and designed means, in standard errors, at shared n."""
    shared = np.intersect1d(data["n"], data["far_n"])
    found = [mean_over_data_sets(data[v].sel({d: shared}).to_numpy())
             for v, d in (("free_energy", "n"), ("designed", "far_n"))]  # fmt: skip
    error = np.hypot(found[0].standard_error, found[1].standard_error)
    apart = np.abs(in_standard_errors(found[0].value - found[1].value, error))
    return float(np.max(apart, initial=0.0))


def judge_masses(data: xr.Dataset) -> dict[str, Any]:
    """E2: which function has the greatest mass, and whether the prior at 1 and near 0 says why."""
    rows: dict[str, Any] = {}
    conclusions, deviations, misses = [], [], []
    for noise in data["datum_noise"].to_numpy():
        for radius in data["radius"].to_numpy():
            at = data.sel(datum_noise=noise, radius=radius)
            mass = at["mass"].sel(route="exact").to_numpy()
            error = at["mass_error"].sel(route="exact").to_numpy()
            others = np.max(mass[:-1] + error[:-1])
            conclusions.append(bool(mass[-1] - error[-1] > others))
            weight = (at["density_at_one"] / at["density_near_zero"]).to_numpy()
            measured, predicted = np.log(mass[-1] / mass[:-1]), np.log(weight[-1] / weight[:-1])
            misses.append(float(np.max(np.abs(measured - predicted))))
            away = np.abs(at["mass"].sel(route=list(METHODS[1:])).to_numpy() - mass)
            errors = at["mass_error"].sel(route=list(METHODS[1:])).to_numpy()
            allowed = np.hypot(errors, error)
            deviations.append(
                float(np.max(np.where(away > 0, away / np.maximum(allowed, 1e-300), 0)))
            )
            rows[f"noise {noise:g}, radius {radius:g}"] = {
                "radius": float(radius),
                "mass": {f: float(v) for f, v in zip(FUNCTIONS, mass, strict=True)},
                "error_bound": {f: float(v) for f, v in zip(FUNCTIONS, error, strict=True)},
                "log_ratio_to_1": float(measured[0]),
                "from_density_at_one": float(
                    np.log(at["density_at_one"][-1] / at["density_at_one"][0])
                ),
                "from_density_near_zero": float(
                    np.log(at["density_near_zero"][0] / at["density_near_zero"][-1])
                ),
                "largest_unexplained": misses[-1],
                "sampled_deviation": deviations[-1],
            }
    first = next(iter(rows.values()))
    # Σ_k c_k = 1 has a coefficient that is not 0, whose product has a gradient: every solution is
    # a regular point of one equation.
    coefficients = dict.fromkeys(FUNCTIONS, theory.regular(1).learning_coefficient)
    reason = all(coefficients["x^4"] < coefficients[f] for f in FUNCTIONS[:-1])
    unconverged = [
        f"{route} at noise {noise:g}: {data['reason'].sel(route=route, datum_noise=noise).item()}"
        for noise in data["datum_noise"].to_numpy()
        for route in METHODS
        if not bool(data["mass_converged"].sel(route=route, datum_noise=noise))
    ]
    left_over = {
        f"{radius:g}": max(row["largest_unexplained"] for row in rows.values()
                           if row["radius"] == radius)
        for radius in data["radius"].to_numpy()
    }  # fmt: skip
    apart = _closest(np.array([targets(f) for f in FUNCTIONS])) / 2
    statement = (
        f"the conclusion {_holds(all(conclusions), any(conclusions))}: the mass near x⁴ is the "
        f"greatest in {sum(conclusions)} of {len(conclusions)} pairs of noise and radius. The "
        f"reason {_holds(reason)}: λ = {coefficients['x^4']} at every solution. With "
        f"{next(iter(rows))} the masses are {_listed(first['mass'])}; of log(mass of x⁴ / "
        f"mass of 1) = {first['log_ratio_to_1']:.2f} the prior density of the coefficient at 1 "
        f"gives {first['from_density_at_one']:.2f} and the mass that products put near 0 gives "
        f"{first['from_density_near_zero']:.2f}; what is left over of any two "
        f"functions is at most {_listed(left_over)} by radius (below {apart:.3f} no two regions "
        f"overlap). NUTS and SMC are within {max(deviations):.1f} standard "
        f"errors of the exact masses; not converged: {'; '.join(unconverged) or 'none'}."
    )
    return {
        "conclusion_holds": all(conclusions),
        "reason_holds": reason,
        "learning_coefficient": str(coefficients["x^4"]),
        "largest_unexplained": left_over,
        "sampled_deviation": max(deviations),
        "not_converged": unconverged,
        "masses": rows,
        "statement": statement,
    }


def _closest(coefficients: np.ndarray) -> float:
    """Least distance of two functions in L²(U[−1, 1]), from their coefficients [N, 5]."""
    pairs = coefficients[:, None] - coefficients[None, :]
    squares = np.einsum("ijk,kl,ijl->ij", pairs, gram(), pairs)
    return float(np.sqrt(np.min(squares[np.triu_indices(len(coefficients), 1)])))


def judge_scaling(data: xr.Dataset) -> dict[str, Any]:
    """E3: whether the posterior mean is useless out of sample at the largest degree, by noise."""
    threshold = math.sqrt(POINTS_PER_DEGREE / 3 / (2 * decay_rate()))
    degree = int(data["degree"][-1])
    outcomes: dict[str, Any] = {}
    for noise in data["noise"].to_numpy():
        row: dict[str, Any] = {}
        for pattern in data["pattern"].to_numpy():
            at = data.sel(degree=degree, noise=noise, pattern=pattern)
            estimate = mean_over_data_sets(at["prediction_error"].to_numpy())
            row[str(pattern)] = float(estimate.value)
            row[f"{pattern}_se"] = float(estimate.standard_error)
            row[f"{pattern}_not_converged"] = int((~at["scaled_converged"].astype(bool)).sum())
        outcomes[f"{noise:g}"] = row
    essay = [row["essay"] for row in outcomes.values()]
    useless, useful = [e > USELESS for e in essay], [e < USEFUL for e in essay]
    if all(useless):
        word = "holds"
    elif any(useless):
        word = "holds only if the noise is large"
    else:
        word = "fails" if all(useful) else "is undecided"
    parts = [
        f"σ = {noise}: {row['essay']:.3g} ± {row['essay_se']:.2g} (ascending "
        f"{row['ascending']:.3g} ± {row['ascending_se']:.2g}; not converged "
        f"{row['essay_not_converged']} and {row['ascending_not_converged']})"
        for noise, row in outcomes.items()
    ]
    found: dict[str, Any] = {
        "degree": degree, "outcomes": outcomes, "noise_threshold": threshold,
        "nats_per_factor": decay_rate(), "holds": word,
    }  # fmt: skip
    statement = (
        f"that scale changes nothing, and the low-degree truth x is not learnt, {word}. "
        f"∫(E f − x)²/∫x² of the posterior mean at degree {degree}, "
        f"n = {round(degree * POINTS_PER_DEGREE)}: "
        f"{'; '.join(parts)}. A coefficient of size 1 costs {decay_rate():.3f} nats "
        f"per factor and the truth x gains n/6σ²: to leading order x is learnt at every "
        f"large degree if σ < {threshold:.3f} and never above (an estimate "
        "beyond the largest degree sampled)."
    )
    if "exact_mean" in data and bool(np.isfinite(data["exact_mean"]).any()):
        miss = np.abs(
            in_standard_errors(data["sampled_mean"] - data["exact_mean"], data["sampled_mean_se"])
        )
        found["one_datum_deviation"] = largest = float(np.nanmax(miss))
        statement += (
            f" At one datum the sampled mean is within {largest:.1f} standard errors of "
            "the exact one."
        )
    return found | {"statement": statement}


def judge(data: xr.Dataset) -> dict[str, Any]:
    """All three claims, the conclusion of the essay apart from its reason."""
    parts = {"E1": judge_truths(data), "E2": judge_masses(data), "E3": judge_scaling(data)}
    lines = [f"{name}: {part['statement']}" for name, part in parts.items()]
    return {"claims": list(parts), **parts, "statement": "\n".join(lines)}


def _holds(every: bool, some: bool = False) -> str:
    return "holds" if every else "holds only for some" if some else "fails"


def _listed(values: dict[str, Any]) -> str:
    written = {k: f"{v:.3g}" if isinstance(v, float) else str(v) for k, v in values.items()}
    return ", ".join(f"{v} ({k})" for k, v in written.items())

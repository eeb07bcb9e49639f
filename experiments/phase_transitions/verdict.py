"""The verdict on phase transitions in n (E15), from the dataset alone."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr
from scipy.special import logit

from slt_jax.estimators import p_value_of_largest
from slt_jax.report.verdict import Finding, Verdict, aligned, plus_minus

PASSAGE = "the theory is a good candidate for phase shifts"
# Between n and 2n a posterior changes as much as one e-fold of odds or two: a prediction that is
# further off names another n.
MAX_FACTOR_OF_LEADING = 2.0
# A prediction that has all constants must do better: a tenth of a decade.
MAX_FACTOR_OF_FULL = 1.25
# An observed crossing counts if its standard error is below half of that.
MAX_CROSSING_SE = math.log(MAX_FACTOR_OF_FULL) / 2
MIN_P_VALUE = 1e-3
# Seeded chains that lie this far below the particles, in standard errors and in nats, found what
# these miss: one polygon for another would be ΔL·n = 11 nats or more at n = 3200.
MAX_Z_SCORE, MAX_ENERGY_GAP = 5.0, 2.0
LEADING, ORDER, CONSTANTS, OF_DATA = range(4)

Numbers = Mapping[str, Any]


def verdict(dataset: xr.Dataset) -> Verdict:
    """Judge whether predicted crossings are where the observed ones are."""
    numbers = {
        "designed": numbers_of_designed(dataset),
        "transitions": numbers_of_transitions(dataset),
        "routes": numbers_of_routes(dataset),
        "seeded": numbers_of_seeded(dataset),
        "weights": numbers_of_weights(dataset),
    }
    tables = (
        table_of_designed(numbers["designed"]),
        table_of_transitions(numbers["transitions"]),
        table_of_phases(dataset),
    )
    return Verdict((judge(numbers),), "\n\n".join(tables), numbers, notes(numbers))


# --- numbers ----------------------------------------------------------------------------------


def size(log_n: float) -> float | None:
    """Return n, or None where the logarithm is not finite."""
    return math.exp(log_n) if math.isfinite(log_n) else None


def interval(logs: np.ndarray) -> list[float | None]:
    """Return the 16 %, 50 % and 84 % points of n over data sets, None beyond the n that ran."""
    known = np.sort(logs[~np.isnan(logs)])
    if not len(known):
        return [None, None, None]
    # Of order statistics, as −∞ and ∞ do not interpolate.
    places = [round(q * (len(known) - 1)) for q in (0.16, 0.5, 0.84)]
    return [size(float(known[place])) for place in places]


def size_of_half(at: xr.Dataset) -> float | None:
    """Return the n from which on the accurate phase leads in half of the data sets.

    Linear in log n and log odds, between neighbours of the grid; None if it lies beyond them.
    """
    mass = at["designed_mass"].sel(quantile=0.5).to_numpy()
    log_n = np.log(at["exact_n"].to_numpy())
    (behind,) = np.nonzero(mass <= 0.5)
    if not len(behind) or behind[-1] == len(mass) - 1:
        return None
    pair = slice(behind[-1], behind[-1] + 2)
    return size(float(np.interp(0.0, logit(mass[pair]), log_n[pair])))


def factor(predicted: float | None, observed: float | None) -> float | None:
    """Return by what factor a prediction is off, at least 1, None where one is missing."""
    if predicted is None or observed is None:
        return None
    return max(predicted / observed, observed / predicted)


def numbers_of_designed(dataset: xr.Dataset) -> dict[str, Any]:
    """Collect predicted and observed crossings of the designed model by ΔL."""
    rows = []
    for offset in dataset["offset"].to_numpy():
        at = dataset.sel(offset=offset)
        predicted = [size(float(each)) for each in at["designed_prediction"].to_numpy()]
        low, _, high = interval(at["designed_crossing"].to_numpy())
        median = size_of_half(at)
        population = size(float(at["population_crossing"]))
        logs = at["designed_crossing"].to_numpy()
        finite = logs[np.isfinite(logs)]
        rows.append(
            {
                "offset": float(offset), "predicted": predicted, "population": population,
                "low": low, "median": median, "high": high,
                "median_se": 1.2533 * float(finite.std()) / len(finite) ** 0.5
                if len(finite) else None,
                "spread": float(finite.std()) if len(finite) else None,
                "predicted_spread": float(at["predicted_spread"]),
                "slope": float(at["predicted_slope"]),
                "factor_of_leading": factor(predicted[LEADING], median),
                "factor_of_order": factor(predicted[ORDER], median),
                "factor_of_population": factor(predicted[CONSTANTS], population),
                "factor_of_full": factor(predicted[OF_DATA], median),
                "bound": float(at["designed_bound"]),
            }
        )  # fmt: skip
    return {"rows": rows, "data_sets": int(dataset.sizes["draw"])}


def numbers_of_transitions(dataset: xr.Dataset) -> dict[str, Any]:
    """Collect predicted and observed crossings of the toy model by pair of phases."""
    rows = {}
    for name in dataset["pair"].to_numpy().tolist():
        at = dataset.sel(pair=name)
        observed, error = float(at["crossing"]), float(at["crossing_se"])
        predicted = [size(float(each)) for each in at["prediction"].to_numpy()]
        low, median, high = interval(at["data_crossing"].to_numpy())
        rows[name] = {
            "loss_gap": float(at["loss_gap"]),
            "coefficient_gap": float(at["coefficient_gap"]),
            "constants": at["constant_gap"].to_numpy().tolist(),
            "predicted": predicted,
            "observed": size(observed),
            "observed_log_se": error if math.isfinite(error) else None,
            "leads_from_the_first": observed == -math.inf,
            "decided": math.isfinite(observed) and error < MAX_CROSSING_SE,
            "low": low, "median": median, "high": high,
            "factors": [factor(each, size(observed)) for each in predicted],
            "gaps": gaps_to_local(dataset, name, observed),
        }  # fmt: skip
    return {
        "rows": rows,
        "methods": dataset["method"].to_numpy().tolist(),
        "data_sets": int(dataset.sizes["data_set"]),
        "n": dataset["n"].to_numpy().tolist(),
        "fit_size": int(dataset["fit_size"]),
    }


def gaps_to_local(dataset: xr.Dataset, pair: str, log_n: float) -> list[float] | None:
    """Return by how much log Z of both phases exceeds the local evidence nearest to a crossing."""
    if not math.isfinite(log_n):
        return None
    place = int(np.argmin(np.abs(np.log(dataset["n"].to_numpy()) - log_n)))
    at = dataset["local_gap"].isel(n=place)
    return [float(at.sel(route=phase[0], phase=phase)) for phase in pair.split(" → ")]


def numbers_of_routes(dataset: xr.Dataset) -> dict[str, Any]:
    """Hold the evidences of regions' paths to those of the plain path, where both know them."""
    plain = dataset.sel(route="plain")
    scores, largest_n = [], 0
    for route in dataset["route"].to_numpy().tolist():
        if route == "plain":
            continue
        at = dataset.sel(route=route)
        gap = at["log_evidence"] - plain["log_evidence"]
        error = np.hypot(at["log_evidence_se"], plain["log_evidence_se"])
        score = (gap / error).where(error > 0)
        known = score.notnull().any("phase").to_numpy()
        if known.any():
            largest_n = max(largest_n, int(dataset["n"].to_numpy()[known][-1]))
        scores += [value for value in score.to_numpy().ravel().tolist() if math.isfinite(value)]
    largest = max((abs(score) for score in scores), default=None)
    p_value = p_value_of_largest(largest, len(scores), float(dataset["num_runs"]) - 1)
    return {
        "compared": len(scores),
        "largest_n": largest_n,
        "largest_z_score": largest,
        "p_value": p_value,
        "agrees": p_value >= MIN_P_VALUE,
    }


def numbers_of_seeded(dataset: xr.Dataset) -> dict[str, Any]:
    """Compare particles with chains that start at the polygon, on the route of the region."""
    rows = {}
    for phase in dataset["phase"].to_numpy().tolist():
        route = phase[0]
        if route not in dataset["route"].to_numpy():
            continue
        at = dataset.sel(route=route, phase=phase)
        gap = float(at["phase_energy"] - at["seeded_energy"])
        error = float(np.hypot(at["phase_energy_se"], at["seeded_energy_se"]))
        if not math.isfinite(gap) or not error > 0:
            continue
        missed = gap > max(MAX_Z_SCORE * error, MAX_ENERGY_GAP)
        rows[phase] = {"gap": gap, "standard_error": error, "missed": missed}
    return rows


def numbers_of_weights(dataset: xr.Dataset) -> dict[str, Any]:
    """Say how many particles count for a data set, at the n nearest to the first crossing."""
    crossing = float(dataset["crossing"][0])
    log_n = np.log(dataset["n"].to_numpy())
    place = int(np.argmin(np.abs(log_n - crossing))) if math.isfinite(crossing) else -1
    known = np.isfinite(dataset["polygon_loss"])
    ess = dataset["weights_ess"].isel(n=place).sel(phase=known).to_numpy()
    return {
        "n": int(dataset["n"][place]), "least": float(ess.min()), "median": float(np.median(ess)),
    }  # fmt: skip


# --- judgement --------------------------------------------------------------------------------


def is_within(value: float | None, limit: float) -> bool:
    """Say if a factor is known and within its limit."""
    return value is not None and value <= limit


def judge(numbers: Numbers) -> Finding:
    """E15 holds where λ alone places all decided crossings, and only with constants if those do."""
    exact = [row for row in numbers["designed"]["rows"] if row["median"] is not None]
    toy = {name: row for name, row in numbers["transitions"]["rows"].items() if row["decided"]}
    leading = [is_within(row["factor_of_leading"], MAX_FACTOR_OF_LEADING) for row in exact]
    leading += [is_within(row["factors"][0], MAX_FACTOR_OF_LEADING) for row in toy.values()]
    of_exact = [is_within(row["factor_of_full"], MAX_FACTOR_OF_FULL) for row in exact]
    of_toy = [is_within(row["factors"][1], MAX_FACTOR_OF_FULL) for row in toy.values()]
    if not toy or not exact:
        outcome = "is undecided"
    elif all(leading):
        outcome = "holds"
    elif all([*of_exact, *of_toy]):
        outcome = "holds only if the constants beside λ log n are known too"
    elif any([*of_exact, *of_toy]):
        outcome = (
            "holds only if the constants beside λ log n are known too and the crossing lies where "
            "the expansion in n has converged"
        )
    else:
        outcome = "fails"
    return Finding("E15", PASSAGE, outcome, reason(numbers, exact, toy, leading))


def reason(
    numbers: Numbers, exact: list[Numbers], toy: Mapping[str, Numbers], leading: list[bool]
) -> str:
    """Explain the outcome in three sentences."""
    first = (
        "Read for phases in n alone: two phases exchange the posterior mass at the n where nΔL + "
        "Δλ log n − Δm log log n + Δc = 0, to a factor of "
        f"{MAX_FACTOR_OF_LEADING:g} by ΔL and Δλ alone, which succeeds in {sum(leading)} of "
        f"{len(leading)} crossings, and of {MAX_FACTOR_OF_FULL:g} with all constants."
    )
    if exact:
        ends = (exact[0], exact[-1])
        off, full = (
            [row[name] for row in ends] for name in ("factor_of_leading", "factor_of_full")
        )
        second = (
            " In the designed model, whose answer is exact, λ alone is off by a factor of "
            f"{_written(off[0])} and all constants by {_written(full[0])} at ΔL = "
            f"{exact[0]['offset']:g}, by {_written(off[1])} and {_written(full[1])} at ΔL = "
            f"{exact[-1]['offset']:g}, while single data sets scatter by e^±{ends[0]['spread']:.2f}"
            f" and e^±{ends[1]['spread']:.2f} in n."
        )
    else:
        second = " In the designed model no data set crosses within the n that were computed."
    told = "; ".join(_told(name, row) for name, row in toy.items())
    third = (
        f" In the toy model of superposition: {told}." if toy
        else " In the toy model no crossing is known well enough."
    )  # fmt: skip
    return first + second + third


def _written(factor: float | None) -> str:
    return "–" if factor is None else f"{factor:.2f}"


def _told(name: str, row: Numbers) -> str:
    leading, local, fitted = (_shown(each) for each in row["predicted"])
    return (
        f"{name} at n = {row['observed']:.0f} (±{100 * row['observed_log_se']:.0f} %), predicted "
        f"{leading} by λ alone, {local} by the Gaussian integrals at the polygons (log Z of the "
        f"two phases still lies {row['gaps'][0]:.1f} and {row['gaps'][1]:.1f} nats above these) "
        f"and {fitted} with a constant fitted at a smaller n"
    )


def _shown(value: float | None) -> str:
    return "–" if value is None else f"{value:.0f}" if value < 1e5 else f"{value:.2e}"


# --- words ------------------------------------------------------------------------------------


def notes(numbers: Numbers) -> tuple[str, ...]:
    """Say how routes and seeded chains agree, and what was not decided."""
    routes, seeded, toy = (numbers[part] for part in ("routes", "seeded", "transitions"))
    agreement = "no evidence is known by both"
    if routes["compared"]:
        far = "" if routes["agrees"] else ", which is TOO FAR"
        agreement = (
            f"they differ by at most {routes['largest_z_score']:.1f} standard errors "
            f"(p = {routes['p_value']:.2g} for the farthest of {routes['compared']}{far}), up to "
            f"n = {routes['largest_n']}"
        )
    missed = [phase for phase, row in seeded.items() if row["missed"]]
    seeds = ", ".join(
        f"{plus_minus(row['gap'], row['standard_error'], 2)} nats in {phase}"
        for phase, row in seeded.items()
    )
    undecided = [name for name, row in toy["rows"].items() if not row["decided"]]
    first = [name for name, row in toy["rows"].items() if row["leads_from_the_first"]]
    return (
        "Phases are regions: so many vertices on the convex hull of the six columns, and for five "
        "whether a bias inside is positive; evidences of 5 and 6 are by paths that never leave "
        f"their region, those of 3 and 4 by SMC from the prior. Where both routes know a phase, "
        f"{agreement}.",
        f"Mean nL of particles minus that of chains from the polygon: {seeds or 'not known'}; "
        f"phases missed: {', '.join(missed) or 'none'}.",
        f"Crossings not decided: {', '.join(undecided) or 'none'}; the accurate phase leads from "
        f"the first n in: {', '.join(first) or 'none'}.",
        f"Data sets are weighed by particles of the population's posterior, of which "
        f"{numbers['weights']['median']:.0f} count in the median of phases and data sets at n = "
        f"{numbers['weights']['n']}, and {numbers['weights']['least']:.0f} at least.",
        "With four vertices the lowest loss within the region lies on its border with five, so "
        "that no crossing of a square is predicted.",
    )


def table_of_designed(numbers: Numbers) -> str:
    """Tabulate n of equal masses in the designed model: predicted, exact, and over data sets."""
    head = (
        "designed model, ΔL", "λ", "λ, m", "λ, m, c", "population", "λ, m, c, data",
        "half of the data", "last crossing, 16 % to 84 %", "s.d. of log n", "predicted",
    )  # fmt: skip
    rows = [
        [
            f"{row['offset']:g}", *(_shown(each) for each in row["predicted"][:3]),
            _shown(row["population"]), _shown(row["predicted"][3]),
            "–" if row["median"] is None
            else f"{_shown(row['median'])} ± {100 * row['median_se']:.1f} %",
            f"{_shown(row['low'])} to {_shown(row['high'])}",
            "–" if row["spread"] is None else f"{row['spread']:.2f}",
            f"{row['predicted_spread']:.2f}",
        ]
        for row in numbers["rows"]
    ]  # fmt: skip
    return aligned(head, rows)


def table_of_transitions(numbers: Numbers) -> str:
    """Tabulate n of equal masses in the toy model; ``!`` marks what is not decided."""
    head = (
        "superposition", "ΔL", "Δλ", *(f"by {method}" for method in numbers["methods"]),
        "observed", "data sets, 16 % to 84 %", "",
    )  # fmt: skip
    rows = []
    for name, row in numbers["rows"].items():
        observed = _shown(row["observed"])
        if row["leads_from_the_first"]:
            observed = f"< {numbers['n'][0]}"
        elif row["observed"] is not None and row["observed_log_se"] is not None:
            observed = f"{observed} ± {row['observed'] * row['observed_log_se']:.0f}"
        rows.append(
            [
                name, f"{row['loss_gap']:.5f}", f"{row['coefficient_gap']:g}",
                *(_shown(each) for each in row["predicted"]), observed,
                f"{_shown(row['median'])}, {_shown(row['low'])} to {_shown(row['high'])}",
                "" if row["decided"] else "! not decided",
            ]
        )  # fmt: skip
    return aligned(head, rows)


def table_of_phases(dataset: xr.Dataset) -> str:
    """Tabulate L, λ and log Z of the phases at all n, by their own route."""
    sizes = dataset["n"].to_numpy()
    head = ("phase", "route", "L", "λ", *(f"log Z, n = {n}" for n in sizes[:: -(-len(sizes) // 4)]))
    rows = []
    for phase in dataset["phase"].to_numpy().tolist():
        route = phase[0] if phase[0] in dataset["route"].to_numpy() else "plain"
        at = dataset.sel(phase=phase, route=route)
        known = bool(np.isfinite(at["polygon_loss"]))
        cells = [
            plus_minus(float(value), float(error), 2) if np.isfinite(value) else "–"
            for value, error in zip(at["log_evidence"], at["log_evidence_se"], strict=True)
        ]
        rows.append(
            [
                phase, route, f"{float(at['polygon_loss']):.5f}" if known else "–",
                f"{float(at['polygon_coefficient']):g}" if known else "–",
                *cells[:: -(-len(sizes) // 4)],
            ]
        )  # fmt: skip
    return aligned(head, rows)

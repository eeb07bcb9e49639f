"""The verdict on crossing valleys (E5, E6), from the dataset alone."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from slt_jax.estimators import in_standard_errors, p_value_of_largest
from slt_jax.report.verdict import Finding, Verdict, aligned, plus_minus

CROSSING = (
    "min(|x|,|y|): the most singular point does not dominate the posterior; smooth approximations "
    "behave otherwise"
)
DIMENSION = "two valleys crossing lower the effective dimension by two"
SHARP = ("min(|x|,|y|)", "min(x²,y²)")
PRODUCT = "x²y²"
REGULAR = "softmin"
KEPT = "x²y²/"
MAX_EXCESS_OF_SHARP = 1e-3
MIN_DOMINANT_MASS = 0.5
MIN_P_VALUE = 1e-3
MIN_FALL = 1.9
MAX_FALL_OF_EQUALS = 0.1

Numbers = Mapping[str, Any]


def verdict(dataset: xr.Dataset) -> Verdict:
    """Judge where the mass gathers, and what the crossing does to λ and m."""
    numbers = {
        "masses": numbers_of_masses(dataset),
        "sampled": numbers_of_samples(dataset),
        "exits": numbers_of_exits(dataset),
        "crossings": numbers_of_crossings(dataset),
    }
    findings = (judge_masses(numbers), judge_dimensions(numbers["crossings"]))
    tables = (
        table_of_masses(numbers["masses"]),
        table_of_samples(numbers["sampled"]),
        table_of_exits(numbers["exits"]),
        table_of_crossings(numbers["crossings"]),
    )
    return Verdict(findings, "\n\n".join(tables), numbers, notes(numbers))


# --- numbers ----------------------------------------------------------------------------------


def numbers_of_masses(dataset: xr.Dataset) -> dict[str, Any]:
    """Collect the exact masses at the last n, and the n at which shares are reached."""
    last, r = dataset.isel(n=-1), float(dataset["radius"][-1])
    rows = {}
    for name in dataset["landscape"].to_numpy().tolist():
        at = last.sel(landscape=name)
        mass, error = at["posterior_mass"].to_numpy(), at["posterior_mass_error"].to_numpy()
        gap = float(at["route_gap"])
        shares = at["log_share_size"].to_numpy()
        rows[name] = {
            "mass": mass.tolist(),
            "bound": error.tolist(),
            "route_gap": gap if np.isfinite(gap) else None,
            "log_share_size": {
                f"{share:g}": float(size)
                for share, size in zip(at["share"].to_numpy(), shares, strict=True)
                if np.isfinite(size)
            },
            "valley": [
                at["valley_learning_coefficient_fraction"].item(), int(at["valley_multiplicity"]),
            ],
            "crossing": [
                at["crossing_learning_coefficient_fraction"].item(),
                int(at["crossing_multiplicity"]),
            ],
        }  # fmt: skip
    limit = np.abs(last["limiting_mass"] - last["posterior_mass"].isel(radius=-1))
    return {
        "n": float(last["n"]),
        "radii": dataset["radius"].to_numpy().tolist(),
        "radius": r,
        "rows": rows,
        "limit_gap": float(limit.max()),
        "codimensions": {
            str(int(b)): float(last["codimension_mass"].sel(codimension=b))
            for b in dataset["codimension"].to_numpy()
        },
        "ten_dimensional": {
            str(name): float(last["ten_dimensional_mass"].sel(ten_dimensional=name))
            for name in dataset["ten_dimensional"].to_numpy()
        },
    }


def numbers_of_samples(dataset: xr.Dataset) -> dict[str, Any]:
    """Hold each sampled mass to the exact one at the same n, in standard errors."""
    rows = []
    for name in dataset["sampled_landscape"].to_numpy():
        for sampler in dataset["sampler"].to_numpy():
            for n in dataset["sampled_n"].to_numpy():
                at = dataset.sel(sampled_landscape=name, sampler=sampler, sampled_n=n)
                mass, error = float(at["sampled_mass"]), float(at["sampled_mass_se"])
                row: dict[str, Any] = {
                    "landscape": str(name), "sampler": str(sampler), "n": int(n),
                    "mass": mass, "standard_error": error, "exact": None, "z_score": None,
                    "acceptance": float(at["acceptance"]), "converged": bool(at["converged"]),
                    "reason": str(at["reason"].item()),
                }  # fmt: skip
                if float(n) in dataset["n"].to_numpy():
                    exact = dataset["posterior_mass"].sel(landscape=name, n=float(n))
                    row["exact"] = float(exact.isel(radius=-1))
                    row["z_score"] = float(in_standard_errors(mass - row["exact"], error))
                rows.append(row)
    compared = [row for row in rows if row["converged"] and row["z_score"] is not None]
    largest = max((abs(row["z_score"]) for row in compared), default=None)
    freedom = float(dataset["num_runs"].max()) - 1
    p_value = p_value_of_largest(largest, len(compared), freedom)
    return {
        "radius": float(dataset["radius"][-1]),
        "rows": rows,
        "converged": sum(row["converged"] for row in rows),
        "compared": len(compared),
        "largest_z_score": largest,
        "p_value": p_value if compared else None,
        "agrees": p_value >= MIN_P_VALUE,
    }


def numbers_of_exits(dataset: xr.Dataset) -> dict[str, Any]:
    """Collect the times to leave over r², sampled and in closed form."""
    rows = []
    for name in dataset["leaving"].to_numpy():
        at = dataset.sel(leaving=name).dropna("exit_n", subset=["exit_time"])
        for n in at["exit_n"].to_numpy():
            one = at.sel(exit_n=n)
            rows.append(
                {
                    "landscape": str(name), "n": int(n), "time": float(one["exit_time"]),
                    "standard_error": float(one["exit_time_se"]),
                    "closed_form": float(one["exit_closed_form"]),
                    "unfinished": int(one["exit_unfinished"]),
                }
            )  # fmt: skip
    last = dataset["equilibrium_exit_time"].isel(n=-1)
    return {
        "rows": rows,
        "n": float(dataset["n"][-1]),
        "at_last_n": {str(at): float(last.sel(leaving=at)) for at in dataset["leaving"].to_numpy()},
    }


def numbers_of_crossings(dataset: xr.Dataset) -> dict[str, Any]:
    """Collect effective dimensions at the crossing and on its valleys, of theory and at last n."""
    rows = {}
    for name in dataset["crossing"].to_numpy().tolist():
        at = dataset.sel(crossing=name)
        unit = float(at["direction_coefficient"])
        values = at["local_coefficient"].isel(n=-1).to_numpy() / unit
        limits = at["local_limit"].to_numpy() / unit
        orders = at["orders_above_one"].to_numpy()
        curve = at["local_coefficient"] / unit
        fall = (curve.sel(place="narrow valley") - curve.sel(place="crossing")).to_numpy()
        known = bool(np.isfinite(values).all())
        rows[name] = {
            "dimension": int(at["dimension"]),
            "learning_coefficients": at["local_limit_fraction"].to_numpy().tolist(),
            "multiplicities": at["local_multiplicity"].to_numpy().tolist(),
            "effective_dimensions": limits.tolist(),
            "at_last_n": values.tolist() if known else None,
            "orders_above_one": orders.tolist() if known else None,
            "largest_fall": float(fall.max()) if known else None,
            "largest_fall_at": float(dataset["n"][fall.argmax()]) if known else None,
            "fall_from_wide": float(limits[1] - limits[0]),
            "fall_from_narrow": float(limits[2] - limits[0]),
            "transversal": known,
        }
    return {"n": float(dataset["n"][-1]), "radius": float(dataset["radius"][-1]), "rows": rows}


# --- judgements -------------------------------------------------------------------------------


def judge_masses(numbers: Numbers) -> Finding:
    """E5 holds where sharp losses keep at most the mass r, and all smoothings exceed one half."""
    masses = numbers["masses"]
    rows, r, n = masses["rows"], masses["radius"], masses["n"]
    excess = max(
        mass / share - 1
        for name in SHARP
        for mass, share in zip(rows[name]["mass"], masses["radii"], strict=True)
    )
    kept = {name: row for name, row in rows.items() if name.startswith(KEPT)}
    regular = {name: row for name, row in rows.items() if name.startswith(REGULAR)}
    smooth = {**kept, **regular, PRODUCT: rows[PRODUCT]}
    dominated = [name for name, row in smooth.items() if row["mass"][-1] > MIN_DOMINANT_MASS]
    if excess > MAX_EXCESS_OF_SHARP:
        outcome = "fails"
    elif len(dominated) == len(smooth):
        outcome = "holds"
    elif set(dominated) >= set(regular) and all(row["log_share_size"] for row in kept.values()):
        outcome = (
            "holds only if, in its second half, n grows without end at a fixed smoothing or the "
            "smoothing fills the valleys"
        )
    else:
        outcome = "is undecided"
    shown = "; ".join(
        f"{row['mass'][-1]:.3f} for {name}{_half(row)}" for name, row in [*kept.items(),
        (PRODUCT, rows[PRODUCT])]
    )  # fmt: skip
    filled = min(row["mass"][-1] for row in regular.values())
    why = (
        f"A point dominates if the posterior mass within every r of it tends to 1: at n = {n:.0e} "
        f"the exact mass within r = {r:g} of the crossing is {rows[SHARP[0]]['mass'][-1]:.6f} for "
        f"{SHARP[0]}, which is the share r of the valleys' length and its limit. Smoothings that "
        f"keep the cross have the limit 1, but as 1/log n: the mass is {shown}. The softmin has "
        f"{filled:.3f}, at a regular minimum and not at a singular one: its valleys rise from the "
        "origin."
    )
    return Finding("E5", CROSSING, outcome, why)


def _half(row: Numbers) -> str:
    """Say at which n half the mass is within r."""
    return f" (half from n = 10^{row['log_share_size']['0.5']:.1f})"


def judge_dimensions(numbers: Numbers) -> Finding:
    """E6 holds where the effective dimension falls by two from each valley to their crossing."""
    rows = {name: row for name, row in numbers["rows"].items() if row["transversal"]}
    equal = {
        name: row for name, row in rows.items() if row["fall_from_wide"] == row["fall_from_narrow"]
    }
    falls = [row["fall_from_narrow"] for row in equal.values()]
    apart = [name for name, row in rows.items() if row["fall_from_narrow"] >= MIN_FALL]
    if falls and min(falls) >= MIN_FALL:
        outcome = "holds"
    elif apart and max(falls, default=0.0) < MAX_FALL_OF_EQUALS:
        outcome = (
            "holds only if the valleys' codimensions differ by two and the fall is counted from "
            "the narrower one"
        )
    else:
        outcome = "fails"
    told = ", ".join(
        f"{name} {row['effective_dimensions'][2]:g} → {row['effective_dimensions'][0]:g} "
        f"(m {row['multiplicities'][2]} → {row['multiplicities'][0]})"
        for name, row in rows.items()
    )
    product = rows[PRODUCT]
    why = (
        "The claim is read as a fall by two of the effective dimension, λ over that of one regular "
        "direction, from a valley to its crossing with another; read as d − 2 where each valley "
        "alone has d − 1 it never holds, as λ of a transversal crossing is the lesser of its "
        "valleys'. From the narrower valley, of the higher codimension, to the crossing it goes "
        f"{told}. At finite n the crossing of {PRODUCT} does lie lower, within "
        f"{numbers['radius']:g} by {product['largest_fall']:.2f} at n = "
        f"{product['largest_fall_at']:.0e} and by "
        f"{product['at_last_n'][2] - product['at_last_n'][0]:.2f} at n = {numbers['n']:.0e}, as "
        "2(m − 1)/(log n + constant): m − 1 from the last two n is "
        f"{product['orders_above_one'][0]:.3f}."
    )
    return Finding("E6", DIMENSION, outcome, why)


# --- words ------------------------------------------------------------------------------------


def notes(numbers: Numbers) -> tuple[str, ...]:
    """Say how the routes and the samplers agree, what did not converge, and how long leaving is."""
    masses, sampled, exits = (numbers[part] for part in ("masses", "sampled", "exits"))
    gaps = [row["route_gap"] for row in masses["rows"].values() if row["route_gap"] is not None]
    agree = "agree" if max(gaps) <= 1 else "DISAGREE"
    score = sampled["largest_z_score"]
    within = "none of them at an exact n"
    if score is not None:
        far = "" if sampled["agrees"] else ", which is TOO FAR"
        within = (
            f"within {score:.1f} standard errors of the exact mass (p = {sampled['p_value']:.2g} "
            f"for the farthest of {sampled['compared']}{far})"
        )
    lost = [
        f"{row['sampler']} on {row['landscape']} at n = {row['n']}"
        for row in sampled["rows"]
        if not row["converged"]
    ]
    late = max(
        ({**row, "late": row["time"] - row["closed_form"]} for row in exits["rows"]),
        key=lambda row: row["late"],
    )
    stuck = sum(row["unfinished"] for row in exits["rows"])
    sharp, product = (exits["at_last_n"][name] for name in (SHARP[0], PRODUCT))
    return (
        f"Closed forms and quadrature {agree} within their bounds; the leading order in n is off "
        f"by {masses['limit_gap']:.1e} at the last n, where shares are extrapolated from.",
        f"{sampled['converged']} of {len(sampled['rows'])} sampled posteriors converged, "
        f"{within}; not converged: {', '.join(lost) or 'none'}.",
        f"A random walk leaves the crossing's square of half side r after {sharp:.2f} r² for "
        f"{SHARP[0]} and {product:.2f} r² for {PRODUCT} at n = {exits['n']:.0e}: the trap deepens "
        "as ¼ log n and not as a power. Sampled times exceed this closed form, which has "
        f"the walk in equilibrium across the valleys, by {late['late']:.3f} ± "
        f"{late['standard_error']:.3f} r² at most; {stuck} walks were given up.",
        "With eight more directions the mass within r is "
        + ", ".join(f"{mass:.3f} ({name})" for name, mass in masses["ten_dimensional"].items())
        + "; of x²|v|² with v in 1, 2 and 3 dimensions it is "
        + ", ".join(f"{mass:.3f}" for mass in masses["codimensions"].values())
        + ", which tends to r to the power of the codimension less one.",
        "What does lower λ at a crossing of equal valleys is contact or a third valley, by less "
        f"than one: {_others(numbers['crossings']['rows'])}.",
    )


def _others(rows: Numbers) -> str:
    """Name the crossings that are not transversal, with their effective dimensions."""
    return ", ".join(
        f"{name}, {row['effective_dimensions'][2]:g} → {row['effective_dimensions'][0]:.3g}"
        for name, row in rows.items()
        if not row["transversal"]
    )


def table_of_masses(numbers: Numbers) -> str:
    """Tabulate the exact masses at the last n, their bounds, and λ and m."""
    head = (
        "loss", *(f"mass within {r:g}" for r in numbers["radii"]), "bound", "log₁₀ n of ½",
        "λ, m on a valley", "λ, m at the crossing",
    )  # fmt: skip
    rows = [
        [
            name,
            *(f"{mass:.6f}" for mass in row["mass"]),
            f"{max(row['bound']):.0e}",
            f"{row['log_share_size']['0.5']:.1f}" if row["log_share_size"] else "–",
            "no minimum" if row["valley"][1] == 0 else "{}, {}".format(*row["valley"]),
            "{}, {}".format(*row["crossing"]),
        ]
        for name, row in numbers["rows"].items()
    ]
    return aligned(head, rows)


def table_of_samples(numbers: Numbers) -> str:
    """Tabulate sampled masses beside the exact ones; ``!`` marks what has not converged."""
    head = ("loss", "sampler", "n", f"mass within {numbers['radius']:g}", "exact", "off", "")
    rows = [
        [
            row["landscape"], row["sampler"], str(row["n"]),
            plus_minus(row["mass"], row["standard_error"], 4),
            "–" if row["exact"] is None else f"{row['exact']:.4f}",
            "–" if row["z_score"] is None else f"{row['z_score']:+.1f} s.e.",
            "" if row["converged"] else "! not converged",
        ]
        for row in numbers["rows"]
    ]  # fmt: skip
    return aligned(head, rows)


def table_of_exits(numbers: Numbers) -> str:
    """Tabulate the times to leave the crossing, over r²."""
    head = ("leaving the crossing", "n", "time/r²", "in equilibrium across", "given up")
    rows = [
        [
            row["landscape"], str(row["n"]), plus_minus(row["time"], row["standard_error"]),
            f"{row['closed_form']:.3f}", str(row["unfinished"]),
        ]
        for row in numbers["rows"]
    ]  # fmt: skip
    return aligned(head, rows)


def table_of_crossings(numbers: Numbers) -> str:
    """Tabulate λ and m of theory, and the effective dimension at the last n."""
    head = (
        "crossing", "d", "λ, m wide valley", "λ, m narrow valley", "λ, m crossing",
        "eff. dim. valley, valley, crossing", "at last n", "m − 1 from λ(n)",
    )  # fmt: skip
    rows = []
    for name, row in numbers["rows"].items():
        pairs = list(zip(row["learning_coefficients"], row["multiplicities"], strict=True))
        crossing, wide, narrow = (f"{c}, {m}" for c, m in pairs)
        dims, last, orders = (
            row[key] for key in ("effective_dimensions", "at_last_n", "orders_above_one")
        )
        rows.append(
            [
                name, str(row["dimension"]), wide, narrow, crossing,
                f"{dims[1]:.3g}, {dims[2]:.3g}, {dims[0]:.3g}",
                "–" if last is None else f"{last[1]:.3f}, {last[2]:.3f}, {last[0]:.3f}",
                "–" if orders is None else f"{orders[0]:.3f}",
            ]
        )  # fmt: skip
    return aligned(head, rows)

"""The verdict on ReLU nets that are not analytic (N10), from the dataset alone."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr
from scipy.special import stdtr

from slt_jax.estimators import in_standard_errors, mean_over_seeds, p_value_of_largest
from slt_jax.report.verdict import Finding, Verdict, aligned, known, plus_minus

PASSAGE = "that ReLU nets are not analytic is relatively unimportant"
ONE_UNIT, TWO_UNITS, KINK = "truth 0, one unit", "truth 0, two units", "one kink, one unit"
FREE_ENERGY, COEFFICIENT = "free energy", "λ(n)"
SHOWN = {"relu": "ReLU", "softplus": "softplus", "silu": "SiLU"}
# Below, the window 1/(kb) of a typical unit is as wide as the inputs and no power is expected.
MIN_SHARPNESS = 10.0
MIN_POINTS = 3
# Of λ(n) of the ReLU net at the last n from its leading order, λ − (m − 1)/log n.
MAX_THEOREM_GAP = 0.01
MIN_P_VALUE = 1e-3
# Of a local power from the derived one, beyond which the verdict says that it is not there yet.
MAX_POWER_GAP = 0.1

Numbers = Mapping[str, Any]


def verdict(dataset: xr.Dataset) -> Verdict:
    """Judge up to which n smooth nets stand in for ReLU nets."""
    sets = numbers_of_sets(dataset)
    numbers = {
        "thresholds": dict(
            zip(dataset["criterion"].to_numpy().tolist(),
                dataset["threshold"].to_numpy().tolist(), strict=True)
        ),
        "theory": numbers_of_theory(dataset),
        "relu": numbers_of_relu(dataset),
        "crossovers": numbers_of_crossovers(dataset),
        "sets": sets,
        "farthest_set_power": farthest(sets),
        "beyond": numbers_of_what_is_beyond(dataset),
        "agreement": numbers_of_agreement(dataset),
        "bounds": numbers_of_bounds(dataset),
    }  # fmt: skip
    tables = (
        table_of_crossovers(numbers, FREE_ENERGY),
        table_of_crossovers(numbers, COEFFICIENT),
        table_beyond(numbers),
    )
    return Verdict((judge(numbers),), "\n\n".join(tables), numbers, notes(numbers))


# --- numbers ----------------------------------------------------------------------------------


def numbers_of_theory(dataset: xr.Dataset) -> dict[str, Any]:
    """Collect λ and m, "none" and 0 where the net has no optimum."""
    return {
        setting: {
            net: [
                dataset["exact_learning_coefficient"].sel(setting=setting, net=net).item(),
                int(dataset["multiplicity"].sel(setting=setting, net=net)),
            ]
            for net in dataset["net"].to_numpy().tolist()
        }
        for setting in dataset["setting"].to_numpy().tolist()
    }


def numbers_of_relu(dataset: xr.Dataset) -> dict[str, Any]:
    """Hold λ(n) of the ReLU net at the last n to λ − (m − 1)/log n."""
    rows = {}
    for setting in dataset["setting"].to_numpy().tolist():
        at = dataset.sel(setting=setting, net="relu")
        curve = at["relu_population_coefficient"].dropna("n").isel(n=-1)
        n, value = float(curve["n"]), float(curve)
        leading = float(at["learning_coefficient"]) - (int(at["multiplicity"]) - 1) / math.log(n)
        rows[setting] = {"n": n, "coefficient": value, "leading": leading, "gap": value - leading}
    return rows


def derived_power(setting: str, activation: str, criterion: str, threshold: float) -> float | None:
    """Return p of n(k) ~ k^p as k → ∞; see the package. None where it is not a power.

    Of one unit λ(n) differs by 1/log n, which falls below every threshold.
    """
    if setting != ONE_UNIT:
        return 3.0
    if criterion == COEFFICIENT:
        return None
    ratio = math.exp(threshold)
    if activation == "softplus":
        return 2 * ratio
    return 2 * (math.sqrt(2) - 1) / (math.sqrt(2) - ratio)


def numbers_of_crossovers(dataset: xr.Dataset) -> dict[str, Any]:
    """Collect n(k) without data, and its local powers between neighbouring k."""
    k = dataset["sharpness"].to_numpy()
    rows: dict[str, Any] = {}
    for setting, activation, criterion in cases(dataset):
        at = dataset.sel(criterion=criterion)
        size = at["crossover_size"].sel(setting=setting, activation=activation).to_numpy()
        used = np.isfinite(size) & (k >= MIN_SHARPNESS)
        local = np.diff(np.log(size[used])) / np.diff(np.log(k[used]))
        power = float(local[-1]) if local.size else None
        found = {
            "sharpness": k.tolist(), "size": known(size), "points": int(used.sum()),
            "local_powers": local.tolist(), "power": power,
            "derived": derived_power(setting, activation, criterion, float(at["threshold"])),
        }  # fmt: skip
        rows.setdefault(setting, {}).setdefault(activation, {})[criterion] = found
    return rows


def cases(dataset: xr.Dataset) -> list[tuple[str, str, str]]:
    """List settings, activations and criteria."""
    axes = (dataset[axis].to_numpy().tolist() for axis in ("setting", "activation", "criterion"))
    settings, activations, criteria = axes
    return [(s, a, c) for s in settings for a in activations for c in criteria]


def numbers_of_sets(dataset: xr.Dataset) -> dict[str, Any]:
    """Fit the power of n(k) in each group of data sets; expected is that without data there."""
    k, log_k = dataset["set_sharpness"].to_numpy(), np.log(dataset["sharpness"].to_numpy())
    rows: dict[str, Any] = {}
    for setting, activation, criterion in cases(dataset):
        at = dataset.sel(setting=setting, activation=activation, criterion=criterion)
        size = at["set_crossover_size"].transpose("group", "set_sharpness").to_numpy()
        whole = size[np.isfinite(size).all(axis=1)]
        found: dict[str, Any] = {"groups": len(whole), "of": len(size), "sharpness": k.tolist()}
        if len(whole) >= 2:
            powers = mean_over_seeds(np.polyfit(np.log(k), np.log(whole).T, 1)[0])
            sizes = mean_over_seeds(np.log10(whole).T)
            found |= {
                "power": float(powers.value), "standard_error": float(powers.standard_error),
                "half_width": float(powers.half_width()),
                "log10_size": sizes.value.tolist(),
                "log10_size_se": sizes.standard_error.tolist(),
            }  # fmt: skip
        without = np.log(at["crossover_size"].to_numpy())
        if np.isfinite(without).all() and k[0] >= dataset["sharpness"][0]:
            between = np.interp(np.log(k), log_k, without)
            found["expected"] = float(np.polyfit(np.log(k), between, 1)[0])
        rows.setdefault(setting, {}).setdefault(activation, {})[criterion] = found
    return rows


def farthest(sets: Numbers) -> dict[str, Any]:
    """Find the power of data sets that is farthest from that without data, in standard errors."""
    scores = [
        (abs(row["power"] - row["expected"]) / row["standard_error"], row["groups"] - 1)
        for by_activation in sets.values()
        for by_criterion in by_activation.values()
        if {"power", "expected"} <= (row := by_criterion[FREE_ENERGY]).keys()
        and row["standard_error"] > 0
    ]
    if not scores:
        return {"z_score": None, "p_value": None, "compared": 0}
    p_value, score = min((2 * float(stdtr(freedom, -z)), z) for z, freedom in scores)
    return {
        "z_score": score, "p_value": min(1.0, len(scores) * p_value), "compared": len(scores),
    }  # fmt: skip


def numbers_of_what_is_beyond(dataset: xr.Dataset) -> dict[str, Any]:
    """Collect λ(n) at the last n, when SiLU comes to its own λ, and the growth for one kink."""
    k = dataset["sharpness"].to_numpy()
    last: dict[str, Any] = {}
    for setting in dataset["setting"].to_numpy().tolist():
        curves = dataset["population_coefficient"].sel(setting=setting).dropna("n", how="all")
        at_last = curves.isel(n=-1)
        last[setting] = {
            "n": float(at_last["n"]),
            "largest": {str(a): known(curves.sel(activation=a).max("n")) for a in SHOWN
                        if a != "relu"},
            "coefficient": {str(a): known(at_last.sel(activation=a)) for a in SHOWN
                            if a != "relu"},
        }  # fmt: skip
    size = dataset["return_size"].sel(activation="silu").to_numpy()
    used = np.isfinite(size) & (k >= MIN_SHARPNESS)
    powers = np.diff(np.log(size[used])) / np.diff(np.log(k[used]))
    kink = dataset.sel(setting=KINK).dropna("n", subset=["relu_population_coefficient"])
    ratio = kink["population_free_energy"] / kink["kink_asymptote"]
    growth = kink["population_coefficient"] / kink["population_free_energy"]
    return {
        "sharpness": k.tolist(),
        "last": last,
        "return_size": known(size),
        "return_powers": powers.tolist(),
        "return_derived": returning_powers(k[used], size[used]).tolist(),
        "kink_ratio": {a: known(ratio.sel(activation=a).isel(n=-1)) for a in SHOWN if a != "relu"},
        "kink_growth": {
            a: known(growth.sel(activation=a).isel(n=-1)) for a in SHOWN if a != "relu"
        },
    }


def returning_powers(k: np.ndarray, n: np.ndarray) -> np.ndarray:
    """Return d log n/d log k of n^{1/4} = k² log(n/k³), (8 − 12/L)/(1 − 4/L), between the k.

    L is the logarithm; the power tends to 8 as k → ∞.
    """
    logs = np.log(n / k**3)
    between = (logs[1:] + logs[:-1]) / 2
    return np.asarray((8 - 12 / between) / (1 - 4 / between))


def numbers_of_agreement(dataset: xr.Dataset) -> dict[str, Any]:
    """Compare nB_g of data sets with the derivative of F_n, which has the same mean."""
    scores = []
    for prefix in ("", "relu_"):
        gap = dataset[f"{prefix}scaled_bayes_excess"] - dataset[f"{prefix}coefficient_of_set"]
        mean = mean_over_seeds(gap.transpose(..., "replicate").to_numpy())
        scores.append(np.abs(in_standard_errors(mean.value, mean.standard_error)).ravel())
    largest, count = float(np.max(np.concatenate(scores))), sum(map(len, scores))
    p_value = p_value_of_largest(largest, count, dataset.sizes["replicate"] - 1)
    return {
        "largest_z_score": largest, "compared": count, "p_value": p_value,
        "agrees": p_value >= MIN_P_VALUE,
    }  # fmt: skip


def numbers_of_bounds(dataset: xr.Dataset) -> dict[str, Any]:
    """Take the largest bounds in each setting, up to where the nets are told apart and anywhere."""
    bounds = {}
    for setting in dataset["setting"].to_numpy().tolist():
        at = dataset.sel(setting=setting)
        last = at["crossover_size"].max("criterion")
        before = at["population_free_energy_error"].where(at["n"] <= last)
        bounds[setting] = {
            "until_told_apart": float(before.max()),
            "anywhere": float(at["population_free_energy_error"].max()),
            "of_data_sets": float(at["normalised_free_energy_error"].max()),
        }
    return bounds


# --- judgement --------------------------------------------------------------------------------


def judge(numbers: Numbers) -> Finding:
    """N10 holds up to n(k) if that grows with k, and everywhere if there is none."""
    rows = [
        (setting, activation, by_criterion[FREE_ENERGY])
        for setting, by_activation in numbers["crossovers"].items()
        for activation, by_criterion in by_activation.items()
    ]
    gap = max(abs(row["gap"]) for row in numbers["relu"].values())
    apart = [row for *_, row in rows if any(size is not None for size in row["size"])]
    local = [power for *_, row in rows for power in row["local_powers"]]
    if not apart:
        outcome = "holds"
    elif any(row["points"] < MIN_POINTS for *_, row in rows):
        outcome = "is undecided"
    elif gap > MAX_THEOREM_GAP or min(local) <= 0:
        outcome = "fails"
    else:
        powers = [row["power"] for *_, row in rows]
        outcome = (
            f"holds only if n stays below an n(k) that grows as k^{min(powers):.1f} to "
            f"k^{max(powers):.1f} with the sharpness k of the smooth net"
        )
    return Finding("N10", PASSAGE, outcome, why(numbers, rows, gap))


def why(numbers: Numbers, rows: list[tuple[str, str, Numbers]], gap: float) -> str:
    """Say what was compared, where the nets part, and what is beyond, in three sentences."""
    limits = numbers["thresholds"]
    first = numbers["beyond"]["sharpness"][0]
    parts = [
        f"{' and '.join(_power(row['power']) for row in those)} ({setting}; derived "
        f"{' and '.join(_power(row['derived']) for row in those)})"
        for setting in numbers["crossovers"]
        if (those := [row for other, _, row in rows if other == setting])
    ]
    sizes = [row["size"][0] for *_, row in rows if row["size"][0] is not None]
    at_first = f"{min(sizes):.0f} to {max(sizes):.0f}" if sizes else "no n"
    two = numbers["theory"][TWO_UNITS]
    n = numbers["relu"][TWO_UNITS]["n"]
    return (
        "The precise version: at one fixed truth a net of an analytic activation of sharpness k "
        f"has F_n within {limits[FREE_ENERGY]:g} nats and λ(n) within {limits[COEFFICIENT]:g} of "
        "those of the ReLU net, whose own λ(n), analytic or not, is off the leading order of its "
        f"theorem by at most {gap:.4f} at the last n. "
        f"F_n parts at n(k) ~ k^p with p for softplus and SiLU = {', '.join(parts)}, which at "
        f"k = {first:g} is n = "
        f"{at_first}: only sharp nets stand in for ReLU, and no net of k = 1 does for long. "
        f"Beyond n(k) the limits differ: with two units at the truth 0 λ is {two['relu'][0]} for "
        f"ReLU, {two['softplus'][0]} for softplus and {two['silu'][0]} for SiLU, which comes to "
        f"it at n ~ k^8 only, and for one kink no smooth net has a λ, as F_n grows as n^(2/5) "
        f"(exact curves up to n = {n:.0e})."
    )


def _power(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def notes(numbers: Numbers) -> tuple[str, ...]:
    """Say what data sets have, how the limits are approached, and how exact the curves are."""
    agreement, beyond = numbers["agreement"], numbers["beyond"]
    far = numbers["farthest_set_power"]
    agrees = "agree" if agreement["agrees"] else "DISAGREE"
    sets = [
        f"{plus_minus(row['power'], row['half_width'], 2)} ({SHOWN[activation]}, {setting}"
        + (f"; {row['expected']:.2f} without data)" if "expected" in row else ")")
        for setting, by_activation in numbers["sets"].items()
        for activation, by_criterion in by_activation.items()
        if "power" in (row := by_criterion[FREE_ENERGY])
    ]
    missing = sum(
        by_criterion[FREE_ENERGY]["of"] - by_criterion[FREE_ENERGY]["groups"]
        for by_activation in numbers["sets"].values()
        for by_criterion in by_activation.values()
    )
    powers = ", ".join(f"{p:.2f}" for p in beyond["return_powers"]) or "none"
    derived = ", ".join(f"{p:.2f}" for p in beyond["return_derived"]) or "none"
    ratios = "; ".join(
        f"{SHOWN[a]} " + ", ".join(f"{r:.3f}" for r in ratio if r is not None)
        for a, ratio in beyond["kink_ratio"].items()
    )
    bounds = numbers["bounds"].values()
    early = [
        f"{SHOWN[activation]}, {setting} ({', '.join(map(_power, row['local_powers']))}; derived "
        f"{_power(row['derived'])})"
        for setting, by_activation in numbers["crossovers"].items()
        for activation, by_criterion in by_activation.items()
        if (row := by_criterion[FREE_ENERGY])["power"] is not None
        and abs(row["power"] - row["derived"]) > MAX_POWER_GAP
    ]
    return (
        f"Local powers of n(k) that are not yet within {MAX_POWER_GAP:g} of the derived one at "
        f"the last k: {'; '.join(early) or 'none'}.",
        f"Of data sets the power, ± 95 %, is {'; '.join(sets) or 'not known'}; "
        f"{missing} groups have no n(k) at some k and are left out"
        + (
            "."
            if far["z_score"] is None
            else f", and the farthest from that without data is {far['z_score']:.1f} standard "
            f"errors off (p = {far['p_value']:.2g} of {far['compared']}): where F_n parts by δ "
            "nats a data set has noise √(2δ), which moves its n(k) by a factor."
        ),
        f"Over data sets nB_g and the derivative of F_n in log n {agrees}: within "
        f"{agreement['largest_z_score']:.1f} standard errors in {agreement['compared']} "
        f"comparisons (p = {agreement['p_value']:.2g} for the farthest).",
        "Two SiLU units come to λ = 3/4 when half of their mass is at |b| < 1/k: local powers "
        f"of that n in k are {powers}, derived {derived} at these k and 8 in the limit.",
        "One kink by a smooth unit: F_n at the last n over its derived leading order, by "
        f"increasing k, is {ratios}; it is reached once n is far beyond k³.",
        "λ(n) of one SiLU unit is never 0.05 off that of ReLU, with the same λ and m, and that "
        "of one softplus unit differs by m alone, 1/log n, which dies out: F_n tells, λ does not."
        if numbers["crossovers"][ONE_UNIT]["silu"][COEFFICIENT]["points"] == 0
        else "λ(n) of one SiLU unit is told apart from that of ReLU.",
        "F_n without data is exact to "
        f"{max(b['until_told_apart'] for b in bounds):.1e} nats up to n(k) and "
        f"{max(b['anywhere'] for b in bounds):.1e} anywhere, that of data sets to "
        f"{max(b['of_data_sets'] for b in bounds):.1e}, by rules with two nodes less.",
    )


# --- tables -----------------------------------------------------------------------------------


def table_of_crossovers(numbers: Numbers, criterion: str) -> str:
    """Tabulate n(k), its local powers at large k, what is derived, and what data sets have."""
    k = numbers["beyond"]["sharpness"]
    shown = sorted({round(i * (len(k) - 1) / 3) for i in range(4)})
    head = (
        f"n(k) by {criterion}", "net", *(f"k = {k[i]:g}" for i in shown), "last power",
        "powers from", "to", "derived", "of data sets, 95 %",
    )  # fmt: skip
    rows = []
    for setting, by_activation in numbers["crossovers"].items():
        for activation, by_criterion in by_activation.items():
            row = by_criterion[criterion]
            sets = numbers["sets"][setting][activation][criterion]
            local = row["local_powers"]
            rows.append(
                [
                    setting, SHOWN[activation],
                    *("–" if row["size"][i] is None else f"{row['size'][i]:.3g}" for i in shown),
                    _power(row["power"]), _power(min(local, default=None)),
                    _power(max(local, default=None)), _power(row["derived"]),
                    plus_minus(sets["power"], sets["half_width"], 2) if "power" in sets else "–",
                ]
            )  # fmt: skip
    return aligned(head, rows)


def table_beyond(numbers: Numbers) -> str:
    """Tabulate λ and m, and λ(n) at the last n, from the smallest k to the largest."""
    k = numbers["beyond"]["sharpness"]
    head = (
        "limits", "net", "λ", "m", "last n", f"λ(n), k = {k[0]:g}", f"k = {k[-1]:g}",
        f"largest, k = {k[0]:g}", f"k = {k[-1]:g}",
    )  # fmt: skip
    rows = []
    for setting, by_net in numbers["theory"].items():
        relu, last = numbers["relu"][setting], numbers["beyond"]["last"][setting]
        for net, (coefficient, multiplicity) in by_net.items():
            known = [setting, SHOWN[net], coefficient, str(multiplicity or "–"), f"{last['n']:.0e}"]
            if net == "relu":
                rows.append([*known, *[f"{relu['coefficient']:.4f}"] * 2, "–", "–"])
                continue
            ends = [last[part][net][i] for part in ("coefficient", "largest") for i in (0, -1)]
            rows.append([*known, *(f"{value:.4f}" for value in ends)])
    return aligned(head, rows)

"""The verdict on the learning exponent (N7), on crossings (N8) and on what moves c and σ (N9)."""

import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr
from scipy.interpolate import CubicSpline

from slt_jax.estimators import PowerLaw, fit_power_law, local_exponents, mean_over_data_sets
from slt_jax.report.verdict import Finding, Verdict, aligned, plus_minus

from . import FITTED_FROM, FITTED_TO

FORM = "E[G_g] ≈ L₀ + c·n^−σ; σ = 1 if renormalisable"
CROSSOVER = (
    "(c+δc, σ+δσ) overtakes (c, σ) at log n = (1/δσ) log(1+δc/c) ≈ δc/(c·δσ), "
    "so δσ ≥ δc/(c log n) suffices"
)
SHIFTS = "architecture shifts c, the data set sets σ; test loss (n_c/n)^0.095"
CLAIMED_EXPONENT = 0.095
MAX_EXPONENT_DIFFERENCE = 0.02
MAX_AMPLITUDE_CHANGE = 0.02
MAX_MEDIAN_DECADES = 0.5
MAX_SMALL_AMPLITUDE_CHANGE = 0.5
LEAST_LIMIT = 0.5
LATE_DECADES = 3.0
RELATIVE_WEIGHT = 1e-3
FACTOR_WINDOW = (1e2, 1e6)
LOCAL_SIZES = (1e2, 1e4, 1e6)
MULTIPLES = (1.1, 1.25, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0, 24.0, 32.0)
LOSS_SHARES = (-1.0, -0.5, -0.2, 0.0, 0.2, 0.5, 0.9)
PREDICTIONS = {"formula": "log(1 + δc/c)/δσ", "linear": "δc/(c δσ)"}
ARCHITECTURE = ("width / 1000", "prior scale / 3", "prior scale × 3", "prior decay 0.5")
DATA = ("target decay 0.5", "target decay −0.25", "alpha × 2")
PARTS = {
    "architecture": ARCHITECTURE,
    "data set": ("noise × 3", *DATA),
    "base, or both": ("base", "both decays 0.5"),
}


def verdict(dataset: xr.Dataset) -> Verdict:
    """Judge N7 and N8 by the location families, and N9 by spectra and nets."""
    families = {
        name: family_numbers(dataset.sel(curve=name))
        for name in dataset["curve"].to_numpy().tolist()
    }
    numbers: dict[str, Any] = {
        "families": families,
        "crossovers": crossover_numbers(dataset),
        "claimed_exponent": CLAIMED_EXPONENT,
        "factors": factor_numbers(dataset),
        "widths": width_numbers(dataset),
        "designs": design_numbers(dataset),
        "nets": net_numbers(dataset),
    }
    findings = (
        judge_form(families),
        judge_crossovers(numbers["crossovers"]),
        judge_factors(families, numbers["factors"], numbers["widths"]),
    )
    return Verdict(findings, table(numbers), numbers)


def family_numbers(curve: xr.Dataset) -> dict[str, Any]:
    """The exponent of one family late and as measured, what intervals cover, and a wrong L₀.

    ``late`` is the joint fit of the exact curve's last decades, ``measured`` that of the first
    measured curve, and ``ideal`` that of the exact curve at the measured sizes with their errors.
    ``wrong_loss`` is σ of the latter with L₀ given, off by a share of the last measured error, and
    ``wrong_loss_bias`` is its distance from σ with the right L₀.
    """
    n = curve["n"].to_numpy().astype(float)
    bayes, gibbs = curve["bayes"].to_numpy(), curve["gibbs"].to_numpy()
    exponent, amplitude, level = (
        float(curve[name]) for name in ("exponent", "amplitude", "optimal_loss")
    )
    sizes = curve["measured_n"].to_numpy()
    mean = gibbs[np.isin(n, sizes)]
    errors = curve["measured_se"].mean("repeat").to_numpy()
    late = late_fit(n, gibbs)
    ideal = fit_power_law(sizes, level + mean, errors)
    fits = [measured_fit(curve, repeat) for repeat in range(curve.sizes["repeat"])]
    wrong = {
        f"{share:+g}": fit_power_law(
            sizes, level + mean, errors, level + share * mean[-1]
        ).exponent.value
        for share in LOSS_SHARES
    }
    entropy = fit_power_law(sizes, level + mean, errors, float(curve["entropy"]))
    negative = bayes < 0
    return {
        "title": str(curve["title"].item()),
        "exponent": exponent,
        "amplitude": amplitude if np.isfinite(amplitude) else None,
        "optimal_loss": level,
        "last_local_exponent": float(local_exponents(n, gibbs)[1][-1]),
        "last_bayes_exponent": float(
            -np.diff(np.log(np.abs(bayes)))[-1] / np.diff(np.log(n))[-1]
        ),
        "last_bayes_over_gibbs": float(bayes[-1] / gibbs[-1]),
        "bayes_negative_from": float(n[np.argmax(negative)]) if negative.any() else None,
        "late": _plain(late),
        "holds": bool(abs(late.exponent.value - exponent) <= MAX_EXPONENT_DIFFERENCE),
        "ideal": _plain(ideal),
        "measured": _plain(fits[0]),
        "coverage_of_ideal": _coverage(fits, ideal),
        "coverage_of_limit": float(np.mean([fit.exponent.holds(exponent) for fit in fits])),
        "coverage_of_loss": float(np.mean([fit.asymptote.holds(level) for fit in fits])),
        "wrong_loss": wrong,
        "wrong_loss_bias": {share: value - wrong["+0"] for share, value in wrong.items()},
        "entropy_for_loss": entropy.exponent.value,
    }  # fmt: skip


def late_fit(n: np.ndarray, error: np.ndarray) -> PowerLaw:
    """Joint fit of the last three decades, all errors with the same relative weight."""
    late = n >= n[-1] / 10**LATE_DECADES * 0.99
    late[-4:] = True
    return fit_power_law(n[late], error[late], RELATIVE_WEIGHT * error[late])


def measured_fit(curve: xr.Dataset, repeat: int) -> PowerLaw:
    """Joint fit of one measured curve of losses E[L], L(w₀) included."""
    at = curve.isel(repeat=repeat)
    return fit_power_law(
        at["measured_n"].to_numpy(),
        float(at["optimal_loss"]) + at["measured"].to_numpy(),
        at["measured_se"].to_numpy(),
    )


def _coverage(fits: list[PowerLaw], truth: PowerLaw) -> dict[str, float]:
    names = ("asymptote", "amplitude", "exponent")
    return {
        name: float(np.mean([getattr(f, name).holds(getattr(truth, name).value) for f in fits]))
        for name in names
    }


def _plain(fit: PowerLaw) -> dict[str, Any]:
    """Intervals [value, low, high], with None where the data set no end."""
    parts = {name: getattr(fit, name) for name in ("asymptote", "amplitude", "exponent")}
    return {
        name: [float(end) if np.isfinite(end) else None for end in part]
        for name, part in parts.items()
    } | {"chi_square": fit.chi_square, "degrees_of_freedom": fit.degrees_of_freedom}


def crossings(dataset: xr.Dataset) -> list[dict[str, Any]]:
    """The n at which ``multiple`` copies of a family with larger σ overtake one with smaller σ.

    Independent copies add their errors, so that c is a multiple. ``measured`` is log n where the
    exact curves cross, from where on the larger exponent stays ahead; ``formula`` and ``linear``
    are log(1 + δc/c)/δσ and δc/(cδσ) with the limits' c and σ. All are also given in decades of n,
    with how far the last two are ``off``.
    """
    rows = []
    grid = np.log(dataset["n"].to_numpy().astype(float))
    fine = np.linspace(grid[0], grid[-1], 4001)
    known = dataset["amplitude"].notnull().to_numpy()
    for fast, slow in itertools.permutations(dataset["curve"].to_numpy()[known].tolist(), 2):
        pair = [dataset.sel(curve=name) for name in (fast, slow)]
        gap = float(pair[0]["exponent"]) - float(pair[1]["exponent"])
        if gap < MAX_EXPONENT_DIFFERENCE:
            continue
        logs = [CubicSpline(grid, np.log(curve["gibbs"].to_numpy()))(fine) for curve in pair]
        for multiple in MULTIPLES:
            ratio = multiple * float(pair[0]["amplitude"]) / float(pair[1]["amplitude"])
            behind = np.flatnonzero(np.log(multiple) + logs[0] > logs[1])
            if ratio <= 1 or not behind.size or behind[-1] == len(fine) - 1:
                continue
            at = {
                "measured": float(fine[behind[-1]]),
                "formula": float(np.log(ratio) / gap),
                "linear": (ratio - 1) / gap,
            }
            decades = {f"{key}_decades": value / float(np.log(10)) for key, value in at.items()}
            off = {
                f"{key}_off_decades": decades[f"{key}_decades"] - decades["measured_decades"]
                for key in PREDICTIONS
            }
            pair_row = {"fast": fast, "slow": slow, "multiple": multiple, "exponent_gap": gap}
            rows.append(pair_row | {"relative_amplitude": ratio - 1} | at | decades | off)
    return rows


def crossover_numbers(dataset: xr.Dataset) -> dict[str, Any]:
    """All crossings within the exact curves, and how many decades of n the predictions are off."""
    rows = crossings(dataset)
    measured, formula, linear = (
        np.array([row[key] for row in rows]) for key in ("measured", "formula", "linear")
    )
    change = np.array([row["relative_amplitude"] for row in rows])
    small = change <= MAX_SMALL_AMPLITUDE_CHANGE
    return {
        "crossings": rows,
        "largest_decades": float(np.log10(dataset["n"].to_numpy()[-1])),
        "formula_decades": _decades(formula - measured),
        "linear_decades": _decades(linear - measured),
        "linear_decades_small": _decades((linear - measured)[small]),
        "linear_decades_large": _decades((linear - measured)[~small]),
        "sufficient": int(np.sum(linear >= measured)),
        "insufficient": [row for row in rows if row["linear"] < row["measured"]],
    }


def _decades(differences: np.ndarray) -> dict[str, float] | None:
    if not differences.size:
        return None
    decades = np.abs(differences) / np.log(10)
    return {"median": float(np.median(decades)), "largest": float(decades.max())}


def factor_numbers(dataset: xr.Dataset) -> dict[str, Any]:
    """The effect of each factor of the spectrum on c and σ between n = 10² and 10⁶."""
    n = dataset["spectrum_n"].to_numpy().astype(float)
    inside = (n >= FACTOR_WINDOW[0]) & (n <= FACTOR_WINDOW[1])
    middle = float(np.mean(np.log(n[inside])))
    rows: dict[str, Any] = {}
    for label in dataset["factor"].to_numpy().tolist():
        gibbs = dataset["factor_gibbs"].sel(factor=label).to_numpy()
        slope, level = np.polyfit(np.log(n[inside]), np.log(gibbs[inside]), 1)
        rows[label] = {
            "exponent": -float(slope),
            "limit": float(dataset["factor_exponent"].sel(factor=label)),
            "log_error": float(level + slope * middle),
        }
    base = rows["base"]
    for row in rows.values():
        row["exponent_change"] = row["exponent"] - base["exponent"]
        row["limit_change"] = row["limit"] - base["limit"]
        row["amplitude_ratio"] = float(np.exp(row["log_error"] - base["log_error"]))
        row["moves"] = "σ" if abs(row["exponent_change"]) > MAX_EXPONENT_DIFFERENCE else "c"
        if row["moves"] == "c" and abs(row["amplitude_ratio"] - 1) <= MAX_AMPLITUDE_CHANGE:
            row["moves"] = "neither"
    for part, labels in PARTS.items():
        for label in labels:
            rows[label]["part"] = part
    return rows


def width_numbers(dataset: xr.Dataset) -> dict[str, Any]:
    """Local exponents at several widths, where they pass ½, and the joint fit of a window."""
    n = dataset["spectrum_n"].to_numpy().astype(float)
    middle = dataset["spectrum_middle"].to_numpy()
    window = (n >= FITTED_FROM) & (n <= FITTED_TO)
    rows: dict[str, Any] = {}
    for width in dataset["width"].to_numpy().tolist():
        gibbs = dataset["width_gibbs"].sel(width=width).to_numpy()
        local = dataset["width_local_exponent"].sel(width=width).to_numpy()
        passed = np.flatnonzero(local >= LEAST_LIMIT)
        fit = fit_power_law(n[window], gibbs[window], RELATIVE_WEIGHT * gibbs[window])
        rows[f"{width:.0e}"] = {
            "local": {f"{at:.0e}": float(np.interp(np.log(at), np.log(middle), local))
                      for at in LOCAL_SIZES if middle[0] <= at <= middle[-1]},
            "half_from": float(middle[passed[0]]) if passed.size else None,
            "last_local": float(local[-1]),
            "joint_fit": _plain(fit),
        }  # fmt: skip
    return rows


def design_numbers(dataset: xr.Dataset) -> dict[str, Any]:
    """G_g on random inputs over that of independent directions, with its standard error."""
    gibbs = dataset["design_gibbs"].transpose("design_n", "design").to_numpy()
    ratio = mean_over_data_sets(gibbs / dataset["design_closed"].to_numpy()[:, None])
    pairs = zip(ratio.value, ratio.standard_error, strict=True)
    return {
        "n": dataset["design_n"].to_numpy().tolist(),
        "over_closed_form": [[float(value), float(error)] for value, error in pairs],
    }


def net_numbers(dataset: xr.Dataset) -> dict[str, Any]:
    """c = nE[B_g] at the end and σ of B_g over the first and the last two decades."""
    n = dataset["large_middle"].to_numpy()
    ends = {"early": n <= 100 * n[0], "late": n >= n[-1] / 100}
    rows: dict[str, Any] = {}
    for net, scale in itertools.product(
        dataset["net"].to_numpy().tolist(), dataset["prior_scale"].to_numpy().tolist()
    ):
        scaled = dataset["scaled_bayes_error"].sel(net=net, prior_scale=scale)
        values = scaled.transpose("large_middle", "net_design").to_numpy()
        mean = mean_over_data_sets(values)
        row = {"net": net, "prior_scale": scale}
        for name, part in ends.items():
            logs = np.log(np.abs(values[part].mean(axis=1)))
            row[f"exponent_{name}"] = 1 - float(np.polyfit(np.log(n[part]), logs, 1)[0])
        rows[f"{net}, s = {scale:g}"] = row | {
            "amplitude": float(mean.value[-1]), "amplitude_se": float(mean.standard_error[-1]),
        }  # fmt: skip
    return rows


def judge_form(families: Mapping[str, Mapping[str, Any]]) -> Finding:
    """N7 holds for a family whose exact curve has the theory's σ in its last decades."""
    good = [row["title"] for row in families.values() if row["holds"]]
    negative = [row["title"] for row in families.values() if row["last_bayes_over_gibbs"] < 0]
    conditions = []
    if len(good) < len(families):
        conditions.append(f"the family is {' or '.join(good)}")
    if negative:
        conditions.append("G_g is the Gibbs error or the family renormalisable")
    outcome = "fails" if not good else "holds"
    if good and conditions:
        outcome = f"holds only if {', and if '.join(conditions)}"
    apart = [abs(row["late"]["exponent"][0] - row["exponent"]) for row in families.values()]
    covered = [row["coverage_of_limit"] for row in families.values()]
    biases = [
        row["wrong_loss_bias"][share] for row in families.values() for share in ("-0.5", "+0.5")
    ]
    why = (
        f"In the last decades σ of the exact E[G_g] is within {max(apart):.3f} of the theory's for "
        f"{len(families)} families, and the Bayes error is negative at the end for {len(negative)}."
        f" 95 % intervals of joint fits at measurable n cover the limit's σ in "
        f"{min(covered):.0%} to {max(covered):.0%} of repetitions. An L₀ wrong by half of the last "
        f"error shifts σ by {min(biases):+.2f} to {max(biases):+.2f}."
    )
    return Finding("N7", FORM, outcome, why)


def judge_crossovers(numbers: Mapping[str, Any]) -> Finding:
    """N8 holds with its logarithm where that is within half a decade of the crossings."""
    rows = numbers["crossings"]
    if not rows:
        return Finding("N8", CROSSOVER, "is undecided", "No two curves of this run cross.")
    formula, linear = numbers["formula_decades"], numbers["linear_decades"]
    near = formula["median"] < MAX_MEDIAN_DECADES and formula["median"] < linear["median"]
    small = numbers["linear_decades_small"]
    where = (
        "no crossing has δc/c ≤ ½"
        if small is None
        else f"{small['median']:.2f} for crossings with δc/c ≤ ½"
    )
    early = "" if not numbers["insufficient"] else "; the others cross before the powers hold"
    why = (
        f"{len(rows)} crossings of exact curves lie {formula['median']:.2f} decades of n (median; "
        f"at most {formula['largest']:.2f}) from the logarithm. Its linearisation is off by "
        f"{linear['median']:.1f} decades (median; {where}). δσ ≥ δc/(c log n) was sufficient in "
        f"{numbers['sufficient']} of {len(rows)}{early}."
    )
    outcome = "holds only if the logarithm is kept, unless δc/c is small" if near else "fails"
    return Finding("N8", CROSSOVER, outcome, why)


def judge_factors(
    families: Mapping[str, Mapping[str, Any]],
    factors: Mapping[str, Mapping[str, Any]],
    widths: Mapping[str, Mapping[str, Any]],
) -> Finding:
    """N9 holds where factors of the architecture leave σ alone and those of the data move it."""
    odd = [label for label in ARCHITECTURE if factors[label]["moves"] == "σ"]
    idle = [label for label in DATA if factors[label]["moves"] != "σ"]
    if not odd and not idle:
        outcome = "holds"
    elif odd == ["prior decay 0.5"] and idle == ["target decay 0.5"]:
        outcome = (
            "holds only if the architecture does not change the prior's spectrum, and the target "
            "is rougher than the prior"
        )
    else:
        outcome = "fails"
    least = min(families.values(), key=lambda row: float(row["late"]["exponent"][0]))
    late = least["late"]["exponent"][0]
    below = "none is below ½" if late >= LEAST_LIMIT else "that is below ½"
    past = sum(row["half_from"] is not None for row in widths.values())
    why = (
        f"Of the architecture's factors {_listed(odd)} moved σ, and of the data's {_listed(idle)} "
        f"did not. The slowest family of fixed size, {least['title']}, ends at σ = {late:.3f}: "
        f"{below}, while the claim says {CLAIMED_EXPONENT}. So small a σ is that of a regression "
        f"whose data do not yet see all directions; {past} of {len(widths)} widths are past σ = ½ "
        "by the largest n."
    )
    return Finding("N9", SHIFTS, outcome, why)


def _listed(labels: list[str]) -> str:
    return ", ".join(labels) or "none"


def table(numbers: Mapping[str, Any]) -> str:
    """The numbers that the findings rest on: families, predictions, factors, widths, nets."""
    families, factors = numbers["families"].values(), numbers["factors"]
    blocks = [
        aligned(
            ("family", "σ", "σ late", "σ measured, 95 %", "covers σ", "L₀ −½", "L₀ +½", "B_g/G_g"),
            [_family_row(row) for row in families],
        ),
        aligned(
            ("crossing predicted by", "median decades off", "largest"),
            [
                (name, f"{off['median']:.2f}", f"{off['largest']:.2f}")
                for key, name in PREDICTIONS.items()
                if (off := numbers["crossovers"][f"{key}_decades"])
            ],
        ),
        aligned(
            ("factor of regression", "σ", "limit", "change", "c over base's", "moves"),
            [
                (label, f"{row['exponent']:.3f}", f"{row['limit']:.3f}",
                 f"{row['exponent_change']:+.3f}", f"{row['amplitude_ratio']:.2f}", row["moves"])
                for label, row in factors.items()
            ],
        ),
        aligned(
            ("width", *(f"σ at {at:.0e}" for at in LOCAL_SIZES), "σ ≥ ½ from", "σ of joint fit"),
            [_width_row(width, row) for width, row in numbers["widths"].items()],
        ),
        aligned(
            ("net and prior scale", "σ early", "σ late", "nE[B_g] at the end"),
            [
                (label, f"{row['exponent_early']:.2f}", f"{row['exponent_late']:.3f}",
                 plus_minus(row["amplitude"], row["amplitude_se"]))
                for label, row in numbers["nets"].items()
            ],
        ),
    ]  # fmt: skip
    return "\n\n".join(blocks)


def _family_row(row: Mapping[str, Any]) -> tuple[str, ...]:
    measured = ("open" if end is None else f"{end:.3f}" for end in row["measured"]["exponent"])
    value, low, high = measured
    return (
        row["title"], f"{row['exponent']:.3f}", f"{row['late']['exponent'][0]:.3f}",
        f"{value} [{low}, {high}]", f"{row['coverage_of_limit']:.1%}",
        f"{row['wrong_loss']['-0.5']:.2f}", f"{row['wrong_loss']['+0.5']:.2f}",
        f"{row['last_bayes_over_gibbs']:.3f}",
    )  # fmt: skip


def _width_row(width: str, row: Mapping[str, Any]) -> tuple[str, ...]:
    local = (row["local"].get(f"{at:.0e}") for at in LOCAL_SIZES)
    half = "beyond" if row["half_from"] is None else f"{row['half_from']:.1e}"
    cells = ("–" if value is None else f"{value:.3f}" for value in local)
    return (width, *cells, half, f"{row['joint_fit']['exponent'][0]:.3f}")

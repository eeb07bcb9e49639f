"""What the studies of learning exponents say of claims N7, N8 and N9."""

import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr
from scipy.interpolate import CubicSpline

from slt_jax.estimators import PowerLaw, fit_power_law, local_exponents, mean_over_data_sets
from slt_jax.oracles.location import ENTROPY, Curve

NEAR = 0.02
DECADES = 3.0
MULTIPLES = (1.1, 1.25, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0, 24.0, 32.0)
WRONG = (-1.0, -0.5, -0.2, 0.2, 0.5, 0.9)
WINDOW = (1e2, 1e6)
PRECISE = 1e-3


def exact_of(curve: xr.Dataset, name: str) -> tuple[np.ndarray, np.ndarray]:
    """n and E[G_g] of one location family."""
    return curve["n"].to_numpy().astype(float), curve["gibbs"].sel(curve=name).to_numpy()


def late_fit(n: np.ndarray, error: np.ndarray) -> PowerLaw:
    """Joint fit of the last three decades, all errors with the same relative weight."""
    late = n >= n[-1] / 10**DECADES * 0.99
    late[-4:] = True
    return fit_power_law(n[late], error[late], PRECISE * error[late])


def measured_fit(curve: Curve, dataset: xr.Dataset, name: str, repeat: int = 0) -> PowerLaw:
    """Joint fit of one measured curve of losses E[L], L(w₀) included."""
    at = dataset.sel(curve=name).isel(repeat=repeat)
    return fit_power_law(
        at["measured_n"].to_numpy(),
        curve.optimal_loss + at["measured"].to_numpy(),
        at["measured_se"].to_numpy(),
    )


def judge_curve(curve: Curve, dataset: xr.Dataset, name: str) -> dict[str, Any]:
    """N7 for one family: the exponent late and as measured, what intervals cover, a wrong L₀."""
    n, gibbs = exact_of(dataset, name)
    at = dataset.sel(curve=name)
    bayes = at["bayes"].to_numpy()
    late = late_fit(n, gibbs)
    sizes = at["measured_n"].to_numpy()
    mean = gibbs[np.isin(n, sizes)]
    errors = at["measured_se"].mean("repeat").to_numpy()
    level = curve.optimal_loss
    ideal = fit_power_law(sizes, level + mean, errors)
    fits = [measured_fit(curve, dataset, name, r) for r in range(at.sizes["repeat"])]
    wrong = {
        f"{share:+g}": fit_power_law(sizes, level + mean, errors, level + share * mean[-1])
        for share in WRONG
    }
    entropy = fit_power_law(sizes, level + mean, errors, ENTROPY)
    steps = np.diff(np.log(n))
    return {
        "exponent": curve.exponent,
        "amplitude": curve.amplitude,
        "optimal_loss": level,
        "last_local_exponent": float(local_exponents(n, gibbs)[1][-1]),
        "last_bayes_exponent": float(-np.diff(np.log(np.abs(bayes)))[-1] / steps[-1]),
        "last_bayes_over_gibbs": float(bayes[-1] / gibbs[-1]),
        "bayes_negative_from": _first(n, bayes < 0),
        "late": _plain(late),
        "holds": bool(abs(late.exponent.value - curve.exponent) <= NEAR),
        "ideal": _plain(ideal),
        "measured": _plain(fits[0]),
        "coverage_of_ideal": _coverage(fits, ideal),
        "coverage_of_limit": float(np.mean([f.exponent.holds(curve.exponent) for f in fits])),
        "coverage_of_loss": float(np.mean([f.asymptote.holds(level) for f in fits])),
        "wrong_loss": {share: fit.exponent.value for share, fit in wrong.items()},
        "entropy_for_loss": entropy.exponent.value,
    }


def _coverage(fits: list[PowerLaw], truth: PowerLaw) -> dict[str, float]:
    names = ("asymptote", "amplitude", "exponent")
    return {
        name: float(np.mean([getattr(f, name).holds(getattr(truth, name).value) for f in fits]))
        for name in names
    }


def crossings(curves: Mapping[str, Curve], dataset: xr.Dataset) -> list[dict[str, Any]]:
    """N8: where ``multiple`` copies of a family with larger σ overtake one with smaller σ.

    Independent copies add their errors, so that c is a multiple. ``measured`` is log n where the
    exact curves cross, from where on the larger exponent stays ahead; ``formula`` and ``linear``
    are log(1 + δc/c)/δσ and δc/(cδσ) with the limits' c and σ.
    """
    rows = []
    grid = np.log(dataset["n"].to_numpy().astype(float))
    fine = np.linspace(grid[0], grid[-1], 4001)
    for fast, slow in itertools.permutations(curves, 2):
        pair = curves[fast], curves[slow]
        if pair[0].exponent - pair[1].exponent < NEAR or None in (c.amplitude for c in pair):
            continue
        logs = [
            CubicSpline(grid, np.log(exact_of(dataset, name)[1]))(fine) for name in (fast, slow)
        ]
        for multiple in MULTIPLES:
            ratio = multiple * float(pair[0].amplitude or 0) / float(pair[1].amplitude or 1)
            behind = np.flatnonzero(np.log(multiple) + logs[0] > logs[1])
            if ratio <= 1 or not behind.size or behind[-1] == len(fine) - 1:
                continue
            gap = pair[0].exponent - pair[1].exponent
            rows.append(
                {
                    "fast": fast, "slow": slow, "multiple": multiple, "exponent_gap": gap,
                    "relative_amplitude": ratio - 1, "measured": float(fine[behind[-1]]),
                    "formula": float(np.log(ratio) / gap), "linear": (ratio - 1) / gap,
                }
            )  # fmt: skip
    return rows


def judge_crossings(curves: Mapping[str, Curve], dataset: xr.Dataset) -> dict[str, Any]:
    """N8, from all crossings within the exact curves."""
    rows = crossings(curves, dataset)
    off = np.array([row["formula"] - row["measured"] for row in rows])
    linear = np.array([row["linear"] - row["measured"] for row in rows])
    small = np.array([row["relative_amplitude"] <= 0.5 for row in rows], bool)
    sufficient = [row["linear"] >= row["measured"] for row in rows]

    def statistics(values: np.ndarray) -> dict[str, float] | None:
        if not values.size:
            return None
        size = np.abs(values) / np.log(10)
        return {"median": float(np.median(size)), "largest": float(size.max())}

    return {
        "crossings": rows,
        "formula_decades": statistics(off),
        "linear_decades": statistics(linear),
        "linear_decades_small": statistics(linear[small]),
        "linear_decades_large": statistics(linear[~small]),
        "sufficient": int(sum(sufficient)),
        "insufficient": [row for row, good in zip(rows, sufficient, strict=True) if not good],
    }


def judge_knobs(dataset: xr.Dataset) -> dict[str, Any]:
    """N9: what each knob of the spectrum does to c and σ between n = 10² and 10⁶."""
    n = dataset["spectrum_n"].to_numpy().astype(float)
    inside = (n >= WINDOW[0]) & (n <= WINDOW[1])
    rows: dict[str, Any] = {}
    for label in dataset["knob"].to_numpy().tolist():
        gibbs = dataset["knob_gibbs"].sel(knob=label).to_numpy()
        slope, level = np.polyfit(np.log(n[inside]), np.log(gibbs[inside]), 1)
        middle = float(np.mean(np.log(n[inside])))
        rows[label] = {
            "exponent": -float(slope),
            "limit": float(dataset["knob_exponent"].sel(knob=label)),
            "log_error": float(level + slope * middle),
        }
    base = rows["base"]
    for row in rows.values():
        row["exponent_change"] = row["exponent"] - base["exponent"]
        row["amplitude_ratio"] = float(np.exp(row["log_error"] - base["log_error"]))
        row["moves"] = "σ" if abs(row["exponent_change"]) > NEAR else "c"
        if row["moves"] == "c" and abs(row["amplitude_ratio"] - 1) <= NEAR:
            row["moves"] = "neither"
    return rows


def judge_widths(dataset: xr.Dataset) -> dict[str, Any]:
    """Local exponents at several widths, where they pass ½, and the joint fit of a window."""
    n = dataset["spectrum_n"].to_numpy().astype(float)
    rows: dict[str, Any] = {}
    window = (n >= 1e2) & (n <= 1e5)
    for width in dataset["width"].to_numpy().tolist():
        gibbs = dataset["width_gibbs"].sel(width=width).to_numpy()
        middle, local = local_exponents(n, gibbs)
        passed = np.flatnonzero(local >= 0.5)
        fit = fit_power_law(n[window], gibbs[window], PRECISE * gibbs[window])
        rows[f"{width:.0e}"] = {
            "local": {f"{at:.0e}": float(np.interp(np.log(at), np.log(middle), local))
                      for at in (1e2, 1e4, 1e6) if middle[0] <= at <= middle[-1]},
            "half_from": float(middle[passed[0]]) if passed.size else None,
            "last_local": float(local[-1]),
            "joint_fit": _plain(fit),
        }  # fmt: skip
    return rows


def net_slopes(dataset: xr.Dataset, net: str, scale: float) -> tuple[np.ndarray, np.ndarray]:
    """n between the sizes, and nE[B_g] = dE[F_n]/d log n [n, design] of a net."""
    n = dataset["far_n"].to_numpy().astype(float)
    growth = dataset["growth"].sel(net=net, prior_scale=scale)
    values = growth.transpose("far_n", "net_design").to_numpy()
    return np.sqrt(n[1:] * n[:-1]), np.diff(values, axis=0) / np.diff(np.log(n))[:, None]


def judge_nets(dataset: xr.Dataset) -> dict[str, Any]:
    """c = nE[B_g] at the end and σ of B_g over the first and the last two decades."""
    rows: dict[str, Any] = {}
    for net, scale in itertools.product(
        dataset["net"].to_numpy().tolist(), dataset["prior_scale"].to_numpy().tolist()
    ):
        n, slopes = net_slopes(dataset, net, scale)
        mean = mean_over_data_sets(slopes)
        early, late = n <= 100 * n[0], n >= n[-1] / 100
        row = {}
        for name, part in (("early", early), ("late", late)):
            fitted = np.polyfit(np.log(n[part]), np.log(np.abs(slopes[part].mean(axis=1))), 1)
            row[name] = 1 - float(fitted[0])
        rows[f"{net}, s = {scale:g}"] = {
            "net": net, "exponent_early": row["early"], "exponent_late": row["late"],
            "amplitude": float(mean.value[-1]), "amplitude_se": float(mean.standard_error[-1]),
        }  # fmt: skip
    return rows


def judge(curves: Mapping[str, Curve], dataset: xr.Dataset) -> dict[str, Any]:
    """All three claims."""
    first = {name: judge_curve(curve, dataset, name) for name, curve in curves.items()}
    second = judge_crossings(curves, dataset)
    closed = dataset["design_closed"].to_numpy()
    design = mean_over_data_sets(
        dataset["design_gibbs"].transpose("design_n", "design").to_numpy() / closed[:, None]
    )
    third = {
        "knobs": judge_knobs(dataset),
        "widths": judge_widths(dataset),
        "designs": {
            "n": dataset["design_n"].to_numpy().tolist(),
            "over_closed_form": _listed(design),
        },
        "nets": judge_nets(dataset),
        "limits": {
            name: [row["exponent"], row["late"]["exponent"][0]] for name, row in first.items()
        },
    }
    texts = [state_form(first), state_crossings(second), state_knobs(third)]
    return {
        "claims": ["N7", "N8", "N9"],
        "N7": {"families": first, **texts[0]},
        "N8": {**second, **texts[1]},
        "N9": {**third, **texts[2]},
        "statement": "\n".join(
            f"{claim} {text['statement']}"
            for claim, text in zip(("N7", "N8", "N9"), texts, strict=True)
        ),
    }


def state_form(rows: Mapping[str, dict[str, Any]]) -> dict[str, str]:
    """The verdict on N7 in words."""
    good = [name for name, row in rows.items() if row["holds"]]
    negative = [name for name, row in rows.items() if row["last_bayes_over_gibbs"] < 0]
    word = "holds" if len(good) == len(rows) else "holds only for " + ", ".join(good)
    if not good:
        word = "fails"
    elif negative:
        word += " for G_g; for B_g only where renormalisable"
    lines = [f"{word} (σ of the last decades within {NEAR} of the theory's)."]
    for name, row in rows.items():
        late, measured = row["late"]["exponent"], row["measured"]["exponent"]
        cover = row["coverage_of_ideal"]
        lines.append(
            f"{name}: σ = {row['exponent']:.4f} by theory, {late[0]:.4f} in a joint fit of the "
            f"last decades; measured {_interval(measured)} with L₀ = "
            f"{_interval(row['measured']['asymptote'], 4)} (exact {row['optimal_loss']:.4f}); 95 % "
            f"intervals cover the best fit's L₀, c, σ in {cover['asymptote']:.1%}, "
            f"{cover['amplitude']:.1%}, {cover['exponent']:.1%}, the limit's σ in "
            f"{row['coverage_of_limit']:.1%}; with L₀ wrong by −50 %, +50 % of the last error σ = "
            f"{row['wrong_loss']['-0.5']:.2f}, {row['wrong_loss']['+0.5']:.2f}, with the entropy "
            f"for L₀ {row['entropy_for_loss']:.2f}; B_g/G_g = {row['last_bayes_over_gibbs']:.3f} "
            "at the end."
        )
    return {"verdict": word, "statement": "\n".join(lines)}


def state_crossings(found: dict[str, Any]) -> dict[str, str]:
    """The verdict on N8 in words."""
    rows = found["crossings"]
    if not rows:
        return {"verdict": "is undecided", "statement": "is undecided: no curves cross."}
    formula, linear = found["formula_decades"], found["linear_decades"]
    small, large = found["linear_decades_small"], found["linear_decades_large"]
    word = (
        "holds with the logarithm; its linearisation only for small δc/c"
        if formula["median"] < 0.5 and formula["median"] < linear["median"]
        else "fails"
    )
    text = (
        f"{word}: {len(rows)} crossings lie {formula['median']:.2f} decades of n (median; at most "
        f"{formula['largest']:.2f}) from log(1 + δc/c)/δσ and {linear['median']:.2f} (at most "
        f"{linear['largest']:.1f}) from δc/(cδσ)"
    )
    if small:
        text += f"; {small['median']:.2f} for δc/c ≤ ½"
    if large:
        text += f", {large['median']:.2f} beyond"
    text += f". δσ ≥ δc/(c log n) was sufficient in {found['sufficient']} of {len(rows)}" + (
        "." if not found["insufficient"] else "; the others cross before the limit's powers hold."
    )
    return {"verdict": word, "statement": text}


def state_knobs(found: dict[str, Any]) -> dict[str, str]:
    """The verdict on N9 in words."""
    knobs, widths, nets = found["knobs"], found["widths"], found["nets"]
    architecture = ("width / 1000", "prior scale / 3", "prior scale × 3", "prior decay 0.5")
    data = ("target decay 0.5", "target decay −0.25", "alpha × 2")
    odd = [k for k in architecture if knobs[k]["moves"] == "σ"]
    idle = [k for k in data if knobs[k]["moves"] != "σ"]
    word = "holds" if not odd and not idle else (
        "holds only if the architecture does not change the prior's spectrum, and the target is "
        "rougher than the prior"
        if odd == ["prior decay 0.5"] and idle == ["target decay 0.5"]
        else "fails: moved σ " + ", ".join(odd) + "; did not " + ", ".join(idle)
    )  # fmt: skip
    lines = [f"{word}. Knobs (σ between n = 10² and 10⁶, its change, c over the base's there):"]
    lines += [
        f"  {label}: σ = {row['exponent']:.3f} (limit {row['limit']:.3f}), "
        f"{row['exponent_change']:+.3f}, c × {row['amplitude_ratio']:.2f}: moves {row['moves']}"
        for label, row in knobs.items()
    ]
    for width, row in widths.items():
        local = ", ".join(f"{value:.3f} at {at}" for at, value in row["local"].items())
        half = "beyond" if row["half_from"] is None else f"from {row['half_from']:.1e} on"
        lines.append(
            f"  d = {width}: local σ {local}; ≥ ½ {half}; joint fit of n = 10² to 10⁵ "
            f"σ = {row['joint_fit']['exponent'][0]:.3f}, L₀ = "
            f"{row['joint_fit']['asymptote'][0]:+.3g} (exact 0)"
        )
    ratios = ", ".join(
        f"{value:.2f} ± {error:.2f}" for value, error in found["designs"]["over_closed_form"]
    )
    lines.append(
        f"  random inputs: G_g over the closed form {ratios} at n = {found['designs']['n']}"
    )
    lines += [
        f"  {label}: σ of B_g {row['exponent_early']:.2f} early, {row['exponent_late']:.3f} late, "
        f"nB_g = {row['amplitude']:.3f} ± {row['amplitude_se']:.3f}"
        for label, row in nets.items()
    ]
    least = min(found["limits"], key=lambda name: found["limits"][name][1])
    theory, late = found["limits"][least]
    slowest = [row["half_from"] for row in widths.values() if row["half_from"] is not None]
    above = "none is below ½, where 0.095 lies" if late >= 0.5 else "which is BELOW ½"
    lines.append(
        f"  Of the fixed models here the slowest is {least}, σ = {theory:.3f} by theory and "
        f"{late:.3f} in its last decades: {above}; {len(slowest)} of {len(widths)} widths are past "
        "σ = ½ by the largest n."
    )
    return {"verdict": word, "statement": "\n".join(lines)}


def _first(n: np.ndarray, chosen: np.ndarray) -> float | None:
    return float(n[np.argmax(chosen)]) if chosen.any() else None


def _plain(fit: PowerLaw) -> dict[str, Any]:
    """Intervals [value, low, high], with None where the data set no end."""
    parts = {name: getattr(fit, name) for name in ("asymptote", "amplitude", "exponent")}
    return {
        name: [float(end) if np.isfinite(end) else None for end in part]
        for name, part in parts.items()
    } | {"chi_square": fit.chi_square, "degrees_of_freedom": fit.degrees_of_freedom}


def _listed(estimate: Any) -> list[list[float]]:
    pairs = zip(estimate.value, estimate.standard_error, strict=True)
    return [[float(value), float(error)] for value, error in pairs]


def _interval(ends: list[float | None], digits: int = 3) -> str:
    value, low, high = ("open" if end is None else f"{end:.{digits}f}" for end in ends)
    return f"{value} [{low}, {high}]"

"""The verdict on double descent (E4, and E15 in part), from the dataset alone."""

import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from slt_jax.report.verdict import Finding, Verdict, known

from .tables import interval, tables

DESCENT = (
    "polynomial regression shows double descent (a comment), against ‘more parameters make a "
    "polynomial worse’ (the essay)"
)
PHASES = "the theory is a good candidate for phase shifts"
# The error peaks at p = n if it is ten times that of the best p < n and of the last p: a decade is
# seen on any plot.
MIN_PEAK = 10.0
# Nats by which the evidence would have to fall at p = n to part two phases: odds of 20.
MIN_BARRIER = 3.0
# Designs from which a median has an interval of 95 %.
MIN_DESIGNS = 6
# Resamples of designs that have to agree that more parameters help at some s.
MIN_SHARE = 0.975
NORM = "minimum norm"

Numbers = Mapping[str, Any]


def verdict(dataset: xr.Dataset) -> Verdict:
    """Judge the second descent, and what evidence and learning coefficients make of it."""
    numbers: dict[str, Any] = {
        "setting": setting_of(dataset),
        "descents": numbers_of_descents(dataset),
        "evidence": numbers_of_evidence(dataset),
        "temperatures": numbers_of_temperatures(dataset),
        "monomials": numbers_of_monomials(dataset),
        "nets": numbers_of_nets(dataset),
    }
    numbers["descending"] = descending_families(numbers["descents"])
    findings = (judge_descent(numbers), judge_phases(numbers))
    return Verdict(findings, tables(numbers), known(numbers), notes(numbers))


# --- numbers ----------------------------------------------------------------------------------


def setting_of(dataset: xr.Dataset) -> dict[str, Any]:
    """Collect n, the last p, s and the cell that is shown, and how many cells are resolved."""
    others = dataset["resolved"].sel(
        family=dataset["family"] != "monomial",
        parameters=dataset["parameters"] > dataset["sample_size"],
    )
    return {
        "n": int(dataset["sample_size"]),
        "last": int(dataset["parameters"][-1]),
        "scale": float(dataset["shown_scale"]),
        "designs": int(dataset["num_designs"]),
        "target": str(dataset["target"][0].item()),
        "noise": float(dataset["noise"][0]),
        "resolved": int(others.sum()),
        "cells": int(others.size),
        "scales": dataset["scale"].to_numpy().tolist(),
    }


def peaks(error: xr.DataArray, n: int) -> np.ndarray:
    """Return the error at p = n over the worse of that at the best p < n and at the last p.

    ``error`` [..., parameters] has NaN where p is not known.
    """
    p = error["parameters"].to_numpy()
    values = error.transpose(..., "parameters").to_numpy()
    known = np.where(np.isfinite(values), np.arange(p.size), 0).max(axis=-1)
    last = np.take_along_axis(values, known[..., None], axis=-1)[..., 0]
    best = values[..., p < n].min(axis=-1)
    return np.asarray(values[..., p == n][..., 0] / np.maximum(best, last))


def numbers_of_descents(dataset: xr.Dataset) -> list[dict[str, Any]]:
    """Collect peak, gain and helping scales of each estimator, family, function and noise."""
    n, scale = int(dataset["sample_size"]), float(dataset["shown_scale"])
    rows = []
    for cell in _cells(dataset, ("estimator", "family", "target", "noise")):
        at = dataset.sel(cell)
        known = at["gain"].notnull()
        # Where the shown scale is not known, the first that is.
        shown = (
            scale
            if bool(known.sel(scale=scale))
            else float(at["scale"][int(known.argmax("scale"))])
        )
        error = at["test_error"].sel(scale=shown)
        below = error.sel(parameters=error["parameters"] < n)
        best = int(below["parameters"][int(below.argmin("parameters"))])
        last = int(at["gain_parameters"].sel(scale=shown))
        by_scale = peaks(at["test_error"], n)[known.to_numpy()]
        share = float(at["helped_share"])
        rows.append(
            {
                **{key: value for key, value in cell.items()},
                "scale": shown,
                "best_below": best,
                "error_below": float(below.min()),
                "error_at_n": float(error.sel(parameters=n)),
                "last": last,
                "error_last": _triple(at, "test_error", scale=shown, parameters=last),
                "peak": float(peaks(error, n)),
                "least_peak": float(by_scale.min()),
                "largest_peak": float(by_scale.max()),
                "largest_peak_at": float(at["scale"][known.to_numpy()][by_scale.argmax()]),
                "gain": _triple(at, "gain", scale=shown),
                "helps": share >= MIN_SHARE and bool(at["helping_scale"].notnull().all()),
                "from": _triple(at, "helping_scale", end="from"),
                "to": _triple(at, "helping_scale", end="to"),
            }
        )
    return rows


def numbers_of_evidence(dataset: xr.Dataset) -> list[dict[str, Any]]:
    """Collect where the evidence is largest, and what it makes of p = n."""
    rows = []
    for cell in _cells(dataset, ("family", "target", "noise")):
        at = dataset.sel(cell).sel(scale=float(dataset["shown_scale"]))
        error = at["test_error"].sel(estimator="Bayes")
        rows.append(
            {
                **cell,
                "parameters": [
                    int(at[f"evidence_parameters{end}"])
                    for end in ("", "_quarter", "_three_quarters")
                ],
                "scale": [
                    float(at[f"evidence_scale{end}"]) for end in ("", "_quarter", "_three_quarters")
                ],
                "beyond": float(at["evidence_beyond"]),
                "best": int(error["parameters"][int(error.argmin("parameters"))]),
                "regret": _triple(at, "evidence_regret"),
                "barrier": _triple(at, "barrier"),
                "largest_barrier": float(dataset["barrier_high"].sel(cell).max()),
                "at_last": float(at["free_energy"].isel(parameters=-1)),
            }
        )
    return rows


def numbers_of_temperatures(dataset: xr.Dataset) -> dict[str, Any]:
    """Collect the peak at p = n by β, and the count of directions beside it."""
    n = int(dataset["sample_size"])
    rows = {}
    for family in dataset["family"].to_numpy().tolist():
        at = dataset.sel(family=family)
        heights = peaks(at["tempered_error"].transpose("beta", "parameters"), n).tolist()
        counts = at["counted_directions"].sel(parameters=n).to_numpy().tolist()
        high = [
            b for b, each in zip(at["beta"].to_numpy(), heights, strict=True) if each >= MIN_PEAK
        ]
        rows[family] = {
            "peaks": heights,
            "counts_at_n": counts,
            "first_beta": float(high[0]) if high else None,
        }
    return {"betas": dataset["beta"].to_numpy().tolist(), "rows": rows}


def numbers_of_monomials(dataset: xr.Dataset) -> dict[str, Any]:
    """Collect the exact error of monomials beside that of double precision by cut-off."""
    scale = float(dataset["exact_scale"][0])
    exact = dataset.sel(estimator=NORM, family="monomial", scale=scale).isel(target=0, noise=0)
    p = [int(each) for each in dataset["parameters"].to_numpy() if each >= dataset["sample_size"]]
    return {
        "scale": scale,
        "parameters": p,
        "exact": [_triple(exact, "test_error", parameters=each) for each in p],
        "double_precision": {
            f"{cut:.0e}": [
                float(dataset["double_precision_error"].sel(cutoff=cut, parameters=each))
                for each in p
            ]
            for cut in dataset["cutoff"].to_numpy()
        },
        "bound": float(dataset["exact_bound"].max()),
    }


def numbers_of_nets(dataset: xr.Dataset) -> list[dict[str, Any]]:
    """Collect the errors of the nets, over the variance of the noise for the training error."""
    variance = float(dataset["noise"][0]) ** 2
    return [
        {
            "parameters": int(each),
            "error": _triple(dataset, "net_error", net_parameters=each),
            "training": float(dataset["net_training_error"].sel(net_parameters=each)) / variance,
            "interpolating": float(dataset["net_interpolating"].sel(net_parameters=each)),
        }
        for each in dataset["net_parameters"].to_numpy()
    ]


def _cells(dataset: xr.Dataset, axes: tuple[str, ...]) -> list[dict[str, Any]]:
    """List the coordinates of all combinations of some axes."""
    values = [dataset[axis].to_numpy().tolist() for axis in axes]
    return [dict(zip(axes, place, strict=True)) for place in itertools.product(*values)]


def _triple(at: xr.Dataset, name: str, **place: Any) -> list[float]:
    """Return a value with the ends of its interval."""
    return [float(at[f"{name}{end}"].sel(place)) for end in ("", "_low", "_high")]


# --- judgements -------------------------------------------------------------------------------


def judge_descent(numbers: Numbers) -> Finding:
    """E4 holds as far as errors peak at p = n and end below the best p < n."""
    setting = numbers["setting"]
    norm = [row for row in numbers["descents"] if row["estimator"] == NORM]
    descending = numbers["descending"]
    helped = [row for row in norm if row["helps"] and row["family"] in descending]
    if setting["designs"] < MIN_DESIGNS:
        outcome = "is undecided"
    elif not descending:
        outcome = "fails"
    elif len(helped) == len(norm) and all(_everywhere(row, setting["scales"]) for row in norm):
        outcome = "holds"
    else:
        outcome = f"holds only if the polynomial is one of {_listed(descending)} functions, "
        if set(descending) == {row["family"] for row in norm}:
            outcome = "holds in every basis, "
        level = "though it nowhere ends below the best p < n"
        if helped:
            level = (
                "and ends below the best p < n only if no such p holds the truth well and s is "
                f"{_window(helped, setting)} ({setting['target']}, σ = {setting['noise']:g})"
            )
        outcome += level
    return Finding("E4", DESCENT, outcome, _why_descent(numbers, norm, descending))


def descending_families(rows: list[dict[str, Any]]) -> list[str]:
    """List the families whose minimum norm peaks at p = n at every s, function and noise."""
    norm = [row for row in rows if row["estimator"] == NORM]
    return [
        family
        for family in dict.fromkeys(row["family"] for row in norm)
        if all(row["least_peak"] >= MIN_PEAK for row in norm if row["family"] == family)
    ]


def _everywhere(row: Numbers, scales: list[float]) -> bool:
    return bool(row["helps"] and row["from"][0] <= scales[0] and row["to"][0] >= scales[-1])


def _window(rows: list[dict[str, Any]], setting: Numbers) -> str:
    """Say between which s all families that gain do so, of the shown function where some do."""
    shown = [row for row in rows if _is_shown(row, setting)] or rows
    low, high = max(row["from"][0] for row in shown), min(row["to"][0] for row in shown)
    if low < high:
        return f"between {low:.1f} and {high:.1f}"
    return f"near {(low + high) / 2:.1f}"


def _is_shown(row: Numbers, setting: Numbers) -> bool:
    return all(bool(row[axis] == setting[axis]) for axis in ("target", "noise"))


def _listed(names: list[str]) -> str:
    return " or ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def _why_descent(numbers: Numbers, norm: list[dict[str, Any]], descending: list[str]) -> str:
    setting = numbers["setting"]
    shown = [row for row in norm if _is_shown(row, setting)]
    peaks = ", ".join(
        f"{row['family']} {_short(row['error_below'])} → {_short(row['error_at_n'])} → "
        f"{_short(row['error_last'][0])}"
        for row in shown
    )
    windows = ", ".join(
        f"{interval(row['from'])} to {interval(row['to'])} ({row['family']})"
        for row in shown
        if row["helps"]
    )
    never = {
        target: [
            family
            for family in descending
            if not any(
                row["helps"] for row in norm if (row["family"], row["target"]) == (family, target)
            )
        ]
        for target in dict.fromkeys(row["target"] for row in norm)
    }
    none = ", ".join(f"{target} ({', '.join(each)})" for target, each in never.items() if each)
    none = f", and at no s and no noise for {none}" if none else ""
    rise = next((row["gain"] for row in shown if row["family"] == "monomial"), None)
    end = "they descend as the others do"
    if rise and "monomial" not in descending:
        end = (
            "there is no second descent, as their kernel stays analytic at p → ∞ and its matrix as "
            "ill-conditioned, and in extended precision the last p is 10^"
            f"{rise[0]:.0f} [{rise[1]:.0f}, {rise[2]:.0f}] times worse than the best p < n"
        )
    tamed = [row for row in numbers["descents"] if row["estimator"] != NORM]
    most = max(tamed, key=lambda row: row["largest_peak"])
    n, last = setting["n"], setting["last"]
    return (
        f"With n = {n} inputs x ~ U[−1, 1] and features φ_k k^−s the claim is read as: the median "
        "expected test error of minimum norm peaks tenfold at p = n parameters and falls again, "
        f"and its rival as: at p = {last} it exceeds that of the best p < n; from the best p < n "
        f"over p = n to the last p it goes {peaks} ({setting['target']}, σ = "
        f"{setting['noise']:g}, s = {setting['scale']:g}). The last p beats every p < n for s from "
        f"{windows or 'nowhere to nowhere'} there, as smaller s make spikes of the interpolant and "
        f"larger s leave it the one of n − 1 degrees{none}. Monomials: {end}; with ridge at its "
        f"best and Bayes p = n is at most {max(row['peak'] for row in tamed):.1f} times worse than "
        f"both sides, and {most['largest_peak']:.1f} times at s = {most['largest_peak_at']:g}."
    )


def judge_phases(numbers: Numbers) -> Finding:
    """E15, for double descent: evidence or the posterior mean at β = 1 would have to show it."""
    setting, rows = numbers["setting"], numbers["descents"]
    norm = max(row["largest_peak"] for row in rows if row["estimator"] == NORM)
    bayes = max(row["largest_peak"] for row in rows if row["estimator"] == "Bayes")
    barrier = max(row["largest_barrier"] for row in numbers["evidence"])
    if setting["designs"] < MIN_DESIGNS or norm < MIN_PEAK:
        outcome = "is undecided for double descent"
    elif bayes >= MIN_PEAK or barrier >= MIN_BARRIER:
        outcome = "holds for double descent"
    else:
        outcome = "fails for double descent"
    by_family = numbers["temperatures"]["rows"].items()
    heated = {family: row for family, row in by_family if row["first_beta"] is not None}
    told = ", ".join(f"{row['first_beta']:.0e} ({family})" for family, row in heated.items())
    at_n = max(
        row["error_at_n"] for row in rows if row["estimator"] == NORM and _is_shown(row, setting)
    )
    counts = [row["counts_at_n"][-1] for row in heated.values()]
    parted = "no" if barrier < MIN_BARRIER else "a"
    counted = f"{min(counts):.2f} to {max(counts):.2f}" if counts else "not looked at"
    height = setting["noise"] ** 2
    why = (
        "The claim is read as: λ, the evidence or two phases of the posterior account for the peak "
        "at p = n; at the true noise, β = 1, the posterior mean at p = n errs by at most "
        f"{bayes:.1f} times as much as the worse of the best p < n and the last p (minimum norm: "
        f"{_short(norm)}), and F_n lies there at most {barrier:.2g} nats above the worse of "
        f"the best p on both sides, so that {parted} barrier parts two phases. The regular "
        f"λ = p/2 gives the excess test error σ²p/n, {height:.2g} at p = n where minimum norm has "
        f"{_short(at_n)}, and what the data count, β(E_β[nL_n] − min nL_n) → min(p, n)/2 as "
        f"β → ∞, has a kink at p = n ({counted} of {setting['n'] / 2:g} at the last β) but no "
        "height: that is the sum of 1/S_i² over singular values, which enters neither λ nor, but "
        "for its logarithm, the evidence. Minimum norm is the posterior mean at β → ∞, that is "
        "with the noise taken as none, and the peak tenfold is there from β = "
        f"{told or 'none of those'} on."
    )
    return Finding("E15", PHASES, outcome, why)


def _short(value: float) -> str:
    """Write a number with two digits, or as a power of ten where it is large."""
    return f"{value:.2g}" if value < 1000 else f"10^{np.log10(value):.1f}"


# --- words ------------------------------------------------------------------------------------


def notes(numbers: Numbers) -> tuple[str, ...]:
    """Say where the evidence is largest, and what ridge, double precision and nets make of p."""
    setting, monomials = numbers["setting"], numbers["monomials"]
    evidence = [row for row in numbers["evidence"] if _is_shown(row, setting)]
    places = ", ".join(
        f"{row['family']} {row['parameters'][0]} ({row['parameters'][1]} to {row['parameters'][2]})"
        for row in evidence
    )
    chosen = ", ".join(
        f"{row['scale'][0]:g} ({row['scale'][1]:g} to {row['scale'][2]:g}, {row['family']})"
        for row in evidence
    )
    paying = {
        row["family"]: row
        for row in numbers["descents"]
        if row["estimator"] == NORM and row["helps"] and _is_shown(row, setting)
    }
    inside = sum(
        paying[row["family"]]["from"][0] <= row["scale"][0] <= paying[row["family"]]["to"][0]
        for row in evidence
        if row["family"] in paying
    )
    regret = max(numbers["evidence"], key=lambda row: row["regret"][0])
    ridge = [row for row in numbers["descents"] if row["estimator"] == "best ridge"]
    ratios = [10 ** row["gain"][0] for row in ridge]
    worst = max(ridge, key=lambda row: row["gain"][0])
    last = {cut: values[-1] for cut, values in monomials["double_precision"].items()}
    nets = numbers["nets"]
    best = min(nets, key=lambda row: row["error"][0])
    top = max(nets, key=lambda row: row["error"][0])
    unfinished = [row["parameters"] for row in nets if row["parameters"] > setting["n"]
                  and row["interpolating"] < 1]  # fmt: skip
    return (
        f"The evidence is largest at p = {places} (median and quartiles over data sets, "
        f"{setting['target']}, σ = {setting['noise']:g}, s = {setting['scale']:g}); the posterior "
        f"mean there errs by at most {interval(regret['regret'])} "
        f"times the best p ({regret['family']}, {regret['target']}, σ = {regret['noise']:g}).",
        f"With the last p it is largest at s = {chosen}: within the s that pay in {inside} of the "
        f"{len(paying)} families in which some do.",
        f"With ridge at its best the last p errs by {min(ratios):.2f} to {max(ratios):.2f} times "
        f"the best p < n, at s = {setting['scale']:g} (most with {worst['family']}, "
        f"{worst['target']}, σ = {worst['noise']:g}).",
        f"More parameters pay for s from … to: {_windows(numbers)}; √(2k + 1), which normalises "
        "Legendre functions, makes up for half a power of k.",
        f"Double precision holds {setting['resolved']} of the {setting['cells']} minimum norms "
        "with p > n and other features than monomials; the others are left out.",
        f"Monomials with s = {monomials['scale']:g} and p = {monomials['parameters'][-1]}: "
        f"exactly {_short(monomials['exact'][-1][0])}, with a relative error below "
        f"{monomials['bound']:.0e}; double precision says "
        + ", ".join(f"{_short(value)} (cut-off {cut})" for cut, value in last.items())
        + ".",
        f"ReLU nets err most at {top['parameters']} parameters, by {_short(top['error'][0])}, and "
        f"least at {best['parameters']}, by {_short(best['error'][0])}; of those with more "
        "parameters than data, not all have interpolated at "
        f"{', '.join(map(str, unfinished)) or 'none'}.",
    )


def _windows(numbers: Numbers) -> str:
    """List the s that help for the shown function at every noise."""
    target = numbers["setting"]["target"]
    rows = [row for row in numbers["descents"] if row["estimator"] == NORM and row["helps"]]
    told = [
        f"{row['from'][0]:.2f} to {row['to'][0]:.2f} ({row['family']}, σ = {row['noise']:g})"
        for row in rows
        if row["target"] == target
    ]
    return ", ".join(told) or "none"

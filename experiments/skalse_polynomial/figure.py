"""The figure of Skalse's polynomial: six panels, from the dataset and the verdict."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from slt_jax.estimators import mean_over_data_sets
from slt_jax.report import plotting
from slt_jax.report.verdict import Verdict

LINES = (plotting.BLUE, plotting.BLACK, plotting.GREEN, plotting.ORANGE)
LEARNT = {
    "holds": "does not learn the truth $x$",
    "holds only if the noise is large": "learns the truth $x$ only if the noise is small",
    "fails": "learns the truth $x$",
    "is undecided": "leaves open whether the truth $x$ is learnt",
}


def figure(dataset: xr.Dataset, verdict: Verdict) -> dict[str, plotting.Figure]:
    """Draw F_n, its slope for products and powers, local λ̂, masses, and prediction errors."""
    truths = dataset["truth"].to_numpy().tolist()
    looks = dict(zip(truths, zip(plotting.COLOURS, "xosD^v", strict=False), strict=True))
    numbers = verdict.numbers
    outcomes = {finding.claim: finding.outcome for finding in verdict.findings}
    with plotting.panels(2, 3, (12.0, 7.4)) as (drawn, axes):
        _free_energy_panel(axes[0, 0], dataset, looks, numbers["truths"]["conclusion_holds"])
        _slope_panel(axes[0, 1], dataset, looks, "fixed_design_slope", "learning_coefficient")
        axes[0, 1].set_title(
            "Products as coefficients: one $\\lambda$ (dashes),\nslopes differ by $(m-1)/\\log n$"
        )
        _slope_panel(axes[0, 2], dataset, looks, "power_slope", "power_learning_coefficient")
        axes[0, 2].set_title("Powers as coefficients:\n$\\lambda$ (dashes) differs by truth")
        _local_panel(axes[1, 0], dataset, numbers["truths"]["local_agrees"])
        _mass_panel(axes[1, 1], dataset, numbers["one_datum"])
        _prediction_panel(axes[1, 2], dataset, LEARNT[outcomes["E3"]])
    return {"skalse_polynomial": drawn}


def _name(truth: str) -> str:
    return f"${truth}$"


def _free_energy_panel(
    axis: plotting.Axes, dataset: xr.Dataset, looks: Mapping[str, Any], is_least: bool
) -> None:
    for truth, (colour, marker) in looks.items():
        at = dataset.sel(truth=truth)
        fixed = at["fixed_design_normalised_free_energy"].mean("replicate")
        axis.plot(at["large_n"], fixed, color=colour)
        simulated = at["normalised_free_energy"].transpose("n", "replicate").to_numpy()
        mean = mean_over_data_sets(simulated)
        axis.errorbar(
            at["n"], mean.value, mean.standard_error, color=colour, marker=marker,
            linestyle="none", capsize=2, label=_name(truth),
        )  # fmt: skip
    axis.set(xscale="log", xlabel="sample size $n$", ylabel="$F_n - nL_n(w_0)$  [nats]")
    word = "has" if is_least else "does not have"
    axis.set_title(
        f"Of the five functions $x^4$ {word} the least free energy\n"
        "(exact; lines: fixed design, markers: data sets ± 1 s.e.)"
    )
    axis.legend(title="truth", ncols=2)


def _slope_panel(
    axis: plotting.Axes, dataset: xr.Dataset, looks: Mapping[str, Any], slope: str, known: str
) -> None:
    for truth, (colour, marker) in looks.items():
        curve = dataset[slope].sel(truth=truth)
        axis.plot(dataset["between_n"], curve, color=colour, marker=marker)
    for value in sorted(set(dataset[known].to_numpy().tolist())):
        axis.axhline(value, color=plotting.GREY, linestyle="--", linewidth=0.9)
    axis.set(xscale="log", xlabel="sample size $n$", ylabel=r"slope $dF_n/d\log n$")


def _local_panel(axis: plotting.Axes, dataset: xr.Dataset, agrees: bool) -> None:
    truths = dataset["truth"].to_numpy().tolist()
    place, exponent = np.arange(len(truths)), math.log10(float(dataset["large_n"][-1]))
    size = int(dataset["local_size"][0])
    for gamma, colour, marker in zip(dataset["gamma"].to_numpy(), LINES, "osD^", strict=False):
        at = dataset.sel(gamma=gamma)
        axis.plot(
            place - 0.12, at["exact_local_learning_coefficient"], color=colour, marker="_",
            markersize=12, linestyle="none", markeredgewidth=1.6,
            label=rf"exact, $n={size}$, $\gamma={gamma:g}$",
        )  # fmt: skip
        axis.errorbar(
            place + 0.12, at["local_learning_coefficient"],
            2 * at["local_learning_coefficient_se"], color=colour, marker=marker,
            linestyle="none", capsize=2, label=r"SGLD there ± 2 s.e.",
        )  # fmt: skip
        axis.plot(
            place, at["large_n_local_learning_coefficient"].isel(large_n=-1), color=colour,
            marker=marker, markerfacecolor="white", linestyle="none",
            label=rf"exact, $n=10^{{{exponent:.0f}}}$, $\gamma={gamma:g}$",
        )  # fmt: skip
    for value in sorted(set(dataset["learning_coefficient"].to_numpy().tolist())):
        axis.axhline(value, color=plotting.GREY, linestyle="--", linewidth=0.9)
    axis.set(ylim=(-0.2, 4.1), xlabel="truth", ylabel=r"local $\hat\lambda(w^*)$")
    axis.set_xticks(place, [_name(truth) for truth in truths])
    word = "agrees" if agrees else "does not agree"
    axis.set_title(
        f"Local $\\hat\\lambda$ at the natural parameter: SGLD {word}\n"
        "with its exact value (dashes: the limit)"
    )
    axis.legend(fontsize=7, ncols=2, loc="upper center", handlelength=1.2, columnspacing=1.0)


def _mass_panel(axis: plotting.Axes, dataset: xr.Dataset, numbers: Mapping[str, Any]) -> None:
    functions = dataset["function"].to_numpy().tolist()
    place = np.arange(len(functions))
    noise = float(dataset["datum_noise"][0])
    first = dataset.sel(datum_noise=noise)
    for radius, colour in zip(dataset["radius"].to_numpy(), LINES, strict=False):
        at = first.sel(radius=radius)
        exact = at["posterior_mass"].sel(route="exact")
        axis.plot(place, exact, color=colour, label=f"exact, $r={radius:g}$")
        for route, marker, shift in (("NUTS", "o", -0.1), ("SMC", "s", 0.1)):
            sampled = at.sel(route=route)
            axis.errorbar(
                place + shift, sampled["posterior_mass"], 2 * sampled["posterior_mass_error"],
                color=colour, marker=marker, linestyle="none", capsize=2,
                markerfacecolor="white" if route == "SMC" else colour,
                label=f"{route} ± 2 s.e.",
            )  # fmt: skip
        axis.plot(
            place, at["mass_from_densities"], color=plotting.RED, marker="x", linestyle=":",
            label=r"$\propto p_k(1)/\bar p_k(0)$",
        )  # fmt: skip
    axis.set(yscale="log", xlabel="function", ylabel="posterior mass within $r$")
    axis.set_ylim(bottom=float(first["posterior_mass"].sel(route="exact").min()) / 12)
    axis.set_xticks(place, [_name(function) for function in functions])
    axis.set_title(
        f"One datum $(1, 1)$, $\\sigma={noise:g}$: $\\lambda={numbers['learning_coefficient']}$ "
        "at every solution,\nmasses differ roughly as the prior's densities (crosses)"
    )
    axis.legend(fontsize=7, ncols=2)


def _prediction_panel(axis: plotting.Axes, dataset: xr.Dataset, learnt: str) -> None:
    degree = dataset["degree"].to_numpy()
    unmixed: list[tuple[float, float]] = []
    for noise, colour in zip(dataset["noise"].to_numpy(), LINES, strict=False):
        for pattern, line, marker, order in (
            ("essay", "-", "o", "as in the essay"),
            ("ascending", ":", "s", "ascending"),
        ):
            at = dataset.sel(noise=noise, pattern=pattern)
            mean = mean_over_data_sets(at["prediction_error"].to_numpy())
            axis.errorbar(
                degree, mean.value, mean.standard_error, color=colour, linestyle=line,
                marker=marker, capsize=2, label=rf"{order}, $\sigma={noise:g}$",
                markerfacecolor="white" if pattern == "ascending" else colour,
            )  # fmt: skip
            bad = ~at["scaled_converged"].to_numpy().astype(bool).all(axis=-1)
            unmixed += zip(degree[bad], mean.value[bad], strict=True)
    if unmixed:
        axis.plot(
            *zip(*unmixed, strict=True), color=plotting.BLACK, marker="x", markersize=9,
            linestyle="none", label="chains have not mixed",
        )  # fmt: skip
    axis.axhline(1.0, color=plotting.GREY, linestyle="--", linewidth=0.9)
    axis.set(xscale="log", yscale="log")
    axis.set_xlabel(f"degree $D = {int(dataset['degrees_per_datum'])}n$")
    axis.set_ylabel(r"$\int(\mathrm{E}f - x)^2/\int x^2$")
    axis.set_title(f"Out of sample the posterior mean\n{learnt}")
    axis.legend(fontsize=7, title="number of factors", title_fontsize=7)

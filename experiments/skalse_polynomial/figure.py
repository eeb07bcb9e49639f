"""The figure of Skalse's polynomial, from the dataset alone."""

import math
from typing import Any

import numpy as np
import xarray as xr

from experiments.skalse_polynomial.coefficients import FUNCTIONS, TRUTHS
from experiments.skalse_polynomial.verdict import power_theory
from slt_jax import theory
from slt_jax.estimators import mean_over_data_sets
from slt_jax.report import plotting

LINES = (plotting.BLUE, plotting.BLACK, plotting.GREEN, plotting.ORANGE)


def figure(data: xr.Dataset) -> plotting.Figure:
    """Six panels: F_n, its slope, the power variant, local λ̂, masses, predictions."""
    looks = dict(zip(TRUTHS, zip(plotting.COLOURS, "xosD^v", strict=False), strict=True))
    with plotting.panels(2, 3, (12.0, 7.4)) as (drawn, axes):
        _free_energy_panel(axes[0, 0], data, looks)
        _slope_panel(axes[0, 1], data, looks, "designed")
        _slope_panel(axes[0, 2], data, looks, "power")
        _local_panel(axes[1, 0], data)
        _mass_panel(axes[1, 1], data)
        _prediction_panel(axes[1, 2], data)
    return drawn


def _name(truth: str) -> str:
    return f"${truth}$"


def _free_energy_panel(axis: plotting.Axes, data: xr.Dataset, looks: dict[str, Any]) -> None:
    for truth, (colour, marker) in looks.items():
        at = data.sel(truth=truth)
        axis.plot(at["far_n"], at["designed"].mean("replicate"), color=colour)
        mean = mean_over_data_sets(at["free_energy"].transpose("n", "replicate").to_numpy())
        axis.errorbar(
            at["n"], mean.value, mean.standard_error, color=colour, marker=marker,
            linestyle="none", capsize=2, label=_name(truth),
        )  # fmt: skip
    axis.set(xscale="log", xlabel="sample size $n$", ylabel="$F_n - nL_n(w_0)$  [nats]")
    axis.set_title(
        "(a) exact free energy by truth: fixed design\n(lines), data sets ± 1 s.e. (markers)"
    )
    axis.legend(title="truth", ncols=2)


def _slope_panel(
    axis: plotting.Axes, data: xr.Dataset, looks: dict[str, Any], variable: str
) -> None:
    n = data["far_n"].to_numpy().astype(float)
    middle = np.sqrt(n[1:] * n[:-1])
    known = power_theory if variable == "power" else theory.skalse_polynomial
    for truth, (colour, marker) in looks.items():
        curve = data[variable].sel(truth=truth).to_numpy()
        curve = curve.mean(axis=-1) if curve.ndim > 1 else curve
        axis.plot(middle, np.diff(curve) / np.diff(np.log(n)), color=colour, marker=marker)
    for value in sorted({float(known(t).learning_coefficient) for t in TRUTHS}):
        axis.axhline(value, color=plotting.GREY, linestyle="--", linewidth=0.9)
    axis.set(xscale="log", xlabel="sample size $n$", ylabel=r"slope $dF_n/d\log n$")
    axis.set_title(
        "(b) products: one $\\lambda = 5/2$ (dashes),\nslopes differ by $(m-1)/\\log n$"
        if variable == "designed"
        else "(c) powers $\\theta_k^{j_k}$ as coefficients:\n$\\lambda$ (dashes) differs by truth"
    )


def _local_panel(axis: plotting.Axes, data: xr.Dataset) -> None:
    place = np.arange(len(TRUTHS))
    gammas, far = data["gamma"].to_numpy(), float(data["far_n"][-1])
    near = int(data["local_size"][0])
    looks = zip(gammas, LINES, "osD^", strict=False)
    for gamma, colour, marker in looks:
        at = data.sel(gamma=gamma, truth=list(TRUTHS))
        axis.plot(
            place - 0.12, at["exact_local"], color=colour, marker="_", markersize=12,
            linestyle="none", markeredgewidth=1.6, label=rf"exact, $n={near}$, $\gamma={gamma:g}$",
        )  # fmt: skip
        axis.errorbar(
            place + 0.12, at["local"], 2 * at["local_se"], color=colour, marker=marker,
            linestyle="none", capsize=2, label=r"SGLD there ± 2 s.e.",
        )  # fmt: skip
        axis.plot(
            place, at["far_local"][:, -1], color=colour, marker=marker, markerfacecolor="white",
            linestyle="none", label=rf"exact, $n=10^{{{math.log10(far):.0f}}}$, $\gamma={gamma:g}$",
        )  # fmt: skip
    axis.axhline(2.5, color=plotting.GREY, linestyle="--", linewidth=0.9)
    axis.set(ylim=(-0.2, 4.1), xlabel="truth", ylabel=r"local $\hat\lambda(w^*)$")
    axis.set_xticks(place, [_name(t) for t in TRUTHS])
    axis.set_title("(d) local $\\hat\\lambda$ at the natural parameter;\nits limit is 5/2 (dashes)")
    axis.legend(fontsize=7, ncols=2, loc="upper center", handlelength=1.2, columnspacing=1.0)


def _mass_panel(axis: plotting.Axes, data: xr.Dataset) -> None:
    place = np.arange(len(FUNCTIONS))
    noise = float(data["datum_noise"][0])
    for radius, colour in zip(data["radius"].to_numpy(), LINES, strict=False):
        at = data.sel(datum_noise=noise, radius=radius, function=list(FUNCTIONS))
        exact = at["mass"].sel(route="exact")
        axis.plot(place, exact, color=colour, label=f"exact, $r={radius:g}$")
        for method, marker, shift in (("NUTS", "o", -0.1), ("SMC", "s", 0.1)):
            axis.errorbar(
                place + shift, at["mass"].sel(route=method),
                2 * at["mass_error"].sel(route=method), color=colour, marker=marker,
                markerfacecolor="white" if method == "SMC" else colour, linestyle="none",
                capsize=2, label=f"{method} ± 2 s.e.",
            )  # fmt: skip
        weight = (at["density_at_one"] / at["density_near_zero"]).to_numpy()
        axis.plot(
            place, weight / weight[-1] * float(exact[-1]), color=plotting.RED, marker="x",
            linestyle=":", label=r"$\propto p_k(1)/\bar p_k(0)$",
        )  # fmt: skip
    axis.set(yscale="log", xlabel="function", ylabel="posterior mass within $r$")
    axis.set_ylim(bottom=float(data["mass"].sel(datum_noise=noise, route="exact").min()) / 12)
    axis.set_xticks(place, [_name(f) for f in FUNCTIONS])
    axis.set_title(f"(e) one datum (1, 1), $\\sigma={noise:g}$,\n$\\lambda=1/2$ at every solution")
    axis.legend(fontsize=7, ncols=2)


def _prediction_panel(axis: plotting.Axes, data: xr.Dataset) -> None:
    degree = data["degree"].to_numpy()
    noises = data["noise"].to_numpy()
    for noise, colour in zip(noises, LINES, strict=False):
        for pattern, line, marker in (("essay", "-", "o"), ("ascending", ":", "s")):
            at = data.sel(noise=noise, pattern=pattern)
            mean = mean_over_data_sets(at["prediction_error"].to_numpy())
            axis.errorbar(
                degree, mean.value, mean.standard_error, color=colour, linestyle=line,
                marker=marker, capsize=2, label=rf"{pattern}, $\sigma={noise:g}$",
                markerfacecolor="white" if pattern == "ascending" else colour,
            )  # fmt: skip
            bad = ~at["scaled_converged"].to_numpy().astype(bool).all(axis=-1)
            axis.plot(
                degree[bad], mean.value[bad], color=plotting.BLACK, marker="x", markersize=9,
                linestyle="none",
            )  # fmt: skip
    axis.axhline(1.0, color=plotting.GREY, linestyle="--", linewidth=0.9)
    axis.set(xscale="log", yscale="log", xlabel="degree $D = 10n$")
    axis.set_ylabel(r"$\int(\mathrm{E}f - x)^2/\int x^2$")
    axis.set_title("(f) posterior mean out of sample, truth $x$,\n× : chains have not mixed")
    axis.legend(fontsize=7)

"""The figures: F_n against n with what estimates it, and its growth per decade."""

import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from slt_jax.curves.comparison import curves_of, estimate_in, sampler_of
from slt_jax.estimators import Estimate, mean_over_data_sets, monte_carlo_mean
from slt_jax.report import plotting
from slt_jax.report.verdict import Verdict

GAP_LINEAR = 0.1
SIDESTEP = 1.08


def figure(dataset: xr.Dataset, verdict: Verdict) -> dict[str, plotting.Figure]:
    """Draw the curves of all problems, and the growth of those with a theorem and an oracle."""
    del verdict
    curves = curves_of(dataset)
    figures = {"free_energy": free_energy_figure(curves)}
    if grown := {name: curve for name, curve in curves.items() if "increment_gap" in curve}:
        figures["free_energy_increments"] = increment_figure(grown)
    return figures


def free_energy_figure(curves: Mapping[str, xr.Dataset]) -> plotting.Figure:
    """A panel per problem: F_n − nL_n(w₀) against n, and sampled minus exact below it.

    ``curves`` hold the variables of the free-energy experiment, dimensions (n, replicate), and
    are averaged over replicates.
    """
    columns = min(3, len(curves))
    rows = -(-len(curves) // columns)
    with plotting.page((3.5 * columns, 3.3 * rows + 0.7)) as figure:
        grid = figure.add_gridspec(2 * rows, columns, height_ratios=[3, 1.1] * rows)
        axes = []
        for index, curve in enumerate(curves.values()):
            row, column = divmod(index, columns)
            upper = figure.add_subplot(grid[2 * row, column])
            lower = figure.add_subplot(grid[2 * row + 1, column], sharex=upper)
            _curve_panel(upper, curve)
            _residual_panel(lower, curve)
            upper.set_title(str(curve["title"].item()))
            upper.tick_params(labelbottom=False)
            if column == 0:
                upper.set_ylabel(r"$F_n - nL_n(w_0)$  [nats]")
                lower.set_ylabel("sampled −\nexact")
            if index + columns >= len(curves):
                lower.set_xlabel("sample size $n$")
            lower.xaxis.set_minor_locator(plotting.NullLocator())
            axes.append(upper)
        handles: dict[str, Any] = {}
        for axis in axes:
            for handle, label in zip(*axis.get_legend_handles_labels(), strict=True):
                handles.setdefault(label, handle)
        # As many as fit above so many panels.
        figure.legend(
            list(handles.values()), list(handles), loc="outside upper center",
            ncols=(1, 2, 4)[columns - 1],
        )  # fmt: skip
    return figure


def _curve_panel(axis: plotting.Axes, curve: xr.Dataset) -> None:
    n = curve["n"].to_numpy()
    top = [0.0]
    if "exact_normalised_free_energy" in curve:
        exact = mean_over_data_sets(curve["exact_normalised_free_energy"])
        axis.plot(n, exact.value, color=plotting.BLACK, label=r"exact $F_n$, mean over data sets")
        axis.fill_between(
            n, exact.value - exact.standard_error, exact.value + exact.standard_error,
            color=plotting.GREY, alpha=0.3, linewidth=0,
            label="± 1 standard error between data sets",
        )  # fmt: skip
        top.append(float(np.max(exact.value)))
    sampled = np.isfinite(curve["normalised_free_energy"].to_numpy()).all(axis=1)
    m = n[sampled]
    converged = curve["converged"].to_numpy()[sampled].astype(bool).all(axis=1)
    for quantity, colour, marker, label, offset in (
        (
            "normalised_free_energy",
            plotting.BLUE,
            "o",
            rf"{sampler_of(curve)} $F_n$, 95 % Monte-Carlo interval",
            1.0,
        ),
        ("normalised_wbic", plotting.ORANGE, "s", r"WBIC $- nL_n(w_0)$, likewise", 1.07),
    ):
        estimate = _over_replicates(curve, quantity, sampled)
        axis.errorbar(
            m * offset, estimate.value, estimate.half_width(), color=colour, marker=marker,
            markerfacecolor="white" if marker == "s" else colour, linestyle="none", capsize=2,
            label=label,
        )  # fmt: skip
        top.append(float(np.nanmax(estimate.value)))
    if not converged.all():
        unconverged = _over_replicates(curve, "normalised_free_energy", sampled).value[~converged]
        axis.plot(
            m[~converged], unconverged, color=plotting.BLACK, marker="x", markersize=10,
            linestyle="none", label="not converged",
        )  # fmt: skip
    if "asymptote" in curve:
        known = curve["exact_learning_coefficient"].item()
        axis.text(
            0.97, 0.04, rf"$\lambda={known}$, $m={int(curve['multiplicity'])}$",
            transform=axis.transAxes, ha="right",
        )  # fmt: skip
        last, anchor = _anchor(curve, sampled)
        asymptote = curve["asymptote"].to_numpy()
        constant = anchor - float(asymptote[last])
        axis.plot(
            n, asymptote + constant, color=plotting.GREEN, linestyle="--",
            label=r"$\lambda\log n-(m-1)\log\log n$ + const.",
        )  # fmt: skip
        top.append(float(np.max(asymptote + constant)))
    if "normalised_bic" in curve:
        bic = curve["normalised_bic"].to_numpy()[sampled].mean(axis=1)
        axis.plot(m, bic, color=plotting.RED, linestyle=":", marker="^", label=r"BIC $- nL_n(w_0)$")
    axis.set_xscale("log")
    low = min(0.0, float(axis.get_ylim()[0]) if axis.get_ylim()[0] > -3 else -1.0)
    axis.set_ylim(low, 1.35 * max(top) + 0.3)


def _anchor(curve: xr.Dataset, sampled: np.ndarray) -> tuple[int, float]:
    """Place of the largest n with a free energy, exact where there is one, and its mean there."""
    exact = "exact_normalised_free_energy"
    last = len(curve["n"]) - 1 if exact in curve else int(np.flatnonzero(sampled)[-1])
    name = exact if exact in curve else "normalised_free_energy"
    return last, float(curve[name][last].mean())


def _over_replicates(curve: xr.Dataset, quantity: str, sampled: np.ndarray) -> Estimate:
    """Mean over data sets with the Monte-Carlo error alone."""
    every = estimate_in(curve, quantity)
    chosen = every._replace(
        value=every.value[sampled], standard_error=every.standard_error[sampled]
    )
    return monte_carlo_mean(chosen)


def _residual_panel(axis: plotting.Axes, curve: xr.Dataset) -> None:
    axis.axhline(0.0, color=plotting.BLACK, linewidth=0.8)
    n = curve["n"].to_numpy()
    if "exact_normalised_free_energy" not in curve:
        axis.text(0.5, 0.5, "no oracle", transform=axis.transAxes, ha="center", va="center")
        axis.set_yticks([])
        axis.spines["left"].set_visible(False)
        return
    sampled = np.isfinite(curve["normalised_free_energy"].to_numpy()).all(axis=1)
    for quantity, colour, marker, offset in (
        ("normalised_free_energy", plotting.BLUE, "o", 1.0),
        ("normalised_wbic", plotting.ORANGE, "s", 1.07),
    ):
        estimate = _over_replicates(curve, quantity, sampled)
        exact = curve[f"exact_{quantity}"].to_numpy()[sampled].mean(axis=1)
        axis.errorbar(
            n[sampled] * offset, estimate.value - exact, estimate.half_width(), color=colour,
            marker=marker, markersize=3.5, linestyle="none", capsize=2,
            markerfacecolor="white" if marker == "s" else colour,
        )  # fmt: skip


def increment_figure(curves: Mapping[str, xr.Dataset]) -> plotting.Figure:
    """Draw how far the exact free energy's growth per decade of n is from the theory's.

    One line per problem, each of which must have ``increment_gap``, on a scale that is linear near
    zero, where the lines must end.
    """
    with plotting.page((7.6, 4.2)) as figure:
        axis = figure.add_subplot()
        looks = zip(itertools.cycle(plotting.COLOURS), itertools.cycle("os^DvPX*"), strict=False)
        for index, (curve, (colour, marker)) in enumerate(
            zip(curves.values(), looks, strict=False)
        ):
            n = curve["decade_from"].to_numpy() * SIDESTEP ** (index - (len(curves) - 1) / 2)
            axis.errorbar(
                n, curve["increment_gap"].to_numpy(), curve["increment_gap_se"].to_numpy(),
                color=colour, marker=marker, linewidth=0.9, elinewidth=0.9, capsize=2,
                label=str(curve["title"].item()),
            )  # fmt: skip
        axis.axhline(0.0, color=plotting.BLACK, linewidth=0.8)
        axis.set_xscale("log")
        axis.set_yscale("symlog", linthresh=GAP_LINEAR, linscale=1.0)
        axis.set_xlabel("sample size $n$")
        axis.set_ylabel("exact − asymptotic growth of $F_n$\nfrom $n$ to $10n$  [nats]")
        figure.legend(loc="outside right upper", title="± 1 s.e. between data sets")
    return figure

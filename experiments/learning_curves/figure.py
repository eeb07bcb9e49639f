"""The figure: errors, ν̂ by five routes and the slope of F_n, a column per problem."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from slt_jax.curves.comparison import curves_of, sampler_of
from slt_jax.report import plotting
from slt_jax.report.verdict import Verdict

SIDESTEP = 1.12
ROWS = (
    ("(a) generalisation", r"$n\,\times$ generalisation error  [nats]"),
    ("(b) training", r"$n\,\times$ training error  [nats]"),
    ("(c) singular fluctuation", r"$\hat\nu$  [nats]"),
    ("(d) priors", r"$d\,\mathrm{E}F_n/d\log n$  [nats]"),
)
GENERALISATION = (
    ("bayes_generalisation_error", "B_g", r"\lambda"),
    ("gibbs_generalisation_error", "G_g", r"\lambda+\hat\nu"),
)
TRAINING = (
    ("bayes_training_error", "B_t", r"\lambda-2\hat\nu"),
    ("gibbs_training_error", "G_t", r"\lambda-\hat\nu"),
)
ERROR_LOOKS = ((plotting.BLUE, "o", "-", ":"), (plotting.ORANGE, "s", "--", "-."))
ROUTE_LOOKS: tuple[tuple[str, str, str, str, Any], ...] = (
    ("variance", r"$V_n/2$", plotting.BLACK, "o", "-"),
    ("bayes", r"$n(B_g-B_t)/2$", plotting.BLUE, "s", "--"),
    ("gibbs", r"$n(G_g-B_g)$", plotting.ORANGE, "D", "-."),
    ("training", r"$n(G_t-B_t)$", plotting.GREEN, "^", ":"),
    ("gibbs_difference", r"$n(G_g-G_t)/2$", plotting.RED, "v", (0, (5, 1, 1, 1))),
)
PRIOR_LOOKS: tuple[tuple[str, Any], ...] = (
    (plotting.SKY, ":"),
    (plotting.GREEN, "-."),
    (plotting.BLACK, "-"),
    (plotting.ORANGE, "--"),
    (plotting.RED, (0, (5, 1, 1, 1))),
    (plotting.PURPLE, (0, (1, 2))),
    (plotting.BLUE, (0, (6, 3))),
)

Row = Mapping[str, Any]


def figure(dataset: xr.Dataset, verdict: Verdict) -> dict[str, plotting.Figure]:
    """Draw nB_g and nG_g, nB_t and nG_t, ν̂, and dE[F_n]/d log n by prior, row by row."""
    curves, numbers = curves_of(dataset), verdict.numbers["problems"]
    tolerance = float(verdict.numbers["max_relative_deviation"])
    columns = len(curves) + 1
    scales = sorted({scale for row in numbers.values() for scale in row["priors"]}, key=float)
    looks = dict(zip(scales, PRIOR_LOOKS, strict=False))
    with plotting.panels(4, columns, (2.55 * columns, 9.6)) as (drawing, axes):
        for column, (name, curve) in enumerate(curves.items()):
            row = numbers[name]
            _error_panel(axes[0, column], curve, row, GENERALISATION)
            _error_panel(axes[1, column], curve, row, TRAINING)
            _fluctuation_panel(axes[2, column], row)
            _prior_panel(axes[3, column], curve, row, looks, tolerance)
            title = str(curve["title"].item()).replace(", ", ",\n", 1)
            known = rf"$\lambda={row['learning_coefficient']}$, $m={row['multiplicity']}$"
            axes[0, column].set_title(f"{title}\n{known}")
            axes[2, column].set_xlabel("sample size $n$")
            axes[3, column].set_xlabel("sample size $n$")
        for row_of_axes, (title, label) in zip(axes, ROWS, strict=True):
            _finish_row(row_of_axes, title, label)
    return {"learning_curves": drawing}


def _finish_row(axes: Any, title: str, label: str) -> None:
    """Label a row of panels, whose last axis holds the legend of all the others."""
    *panels, last = axes
    handles = {
        text: handle
        for axis in panels
        for handle, text in zip(*axis.get_legend_handles_labels(), strict=True)
    }
    for axis in panels:
        axis.set_xscale("log")
        axis.xaxis.set_minor_formatter(plotting.NullFormatter())
    panels[0].set_ylabel(label)
    last.axis("off")
    last.legend(
        list(handles.values()), list(handles), loc="center left", title=title, fontsize=8,
        handlelength=3.2, alignment="left",
    )  # fmt: skip


def _error_panel(
    axis: plotting.Axes, curve: xr.Dataset, row: Row, quantities: tuple[tuple[str, str, str], ...]
) -> None:
    sampled_n = np.array(row["sampled_sizes"])
    good = curve["converged"].sel(n=sampled_n).to_numpy().astype(bool).all(axis=1)
    place = sampled_n * SIDESTEP
    for (quantity, symbol, _), (colour, marker, line, _) in zip(
        quantities, ERROR_LOOKS, strict=True
    ):
        exact, sampled = row["errors"][quantity], row["sampled_errors"][quantity]
        axis.errorbar(
            row["sizes"], exact["value"], exact["standard_error"], color=colour, linestyle=line,
            capsize=0, elinewidth=2.5, label=f"exact $n{symbol}$ ± 1 s.e.\n(over data sets)",
        )  # fmt: skip
        value = np.array(sampled["value"])
        axis.errorbar(
            place, value, sampled["half_width"], color=colour, marker=marker,
            markerfacecolor="white", linestyle="none", capsize=2,
            label=f"{sampler_of(curve)} $n{symbol}$, 95 % interval",
        )  # fmt: skip
        axis.plot(
            place[~good], value[~good], color=plotting.BLACK, marker="x", markersize=8,
            linestyle="none", label="" if good.all() else "some jobs not converged",
        )  # fmt: skip
    for (quantity, _, limit), (*_, line) in zip(quantities, ERROR_LOOKS, strict=True):
        axis.axhline(
            row["limits"][quantity], color=plotting.GREY, linestyle=line, linewidth=0.9,
            label=f"limit ${limit}$",
        )  # fmt: skip


def _fluctuation_panel(axis: plotting.Axes, row: Row) -> None:
    n = np.array(row["sizes"])
    for index, (route, label, colour, marker, line) in enumerate(ROUTE_LOOKS):
        nu = row["singular_fluctuation"][route]
        axis.errorbar(
            n * SIDESTEP ** ((index - 2) / 2), nu["value"], 2 * np.array(nu["standard_error"]),
            color=colour, marker=marker, markersize=3.5, linewidth=0.9, linestyle=line,
            capsize=1.5, label=f"{label} ± 2 s.e.",
        )  # fmt: skip


def _prior_panel(
    axis: plotting.Axes,
    curve: xr.Dataset,
    row: Row,
    looks: Mapping[str, tuple[str, Any]],
    tolerance: float,
) -> None:
    coefficient = float(curve["learning_coefficient"])
    own = row["priors"][row["own_prior"]]
    for scale, prior in row["priors"].items():
        slope, two_errors = (
            factor * np.array(prior["slopes"][key])
            for factor, key in ((1, "value"), (2, "standard_error"))
        )
        colour, line = looks[scale]
        axis.plot(
            prior["slope_n"], slope, color=colour, linestyle=line, label=f"prior $N(0, {scale}^2)$"
        )
        axis.fill_between(
            prior["slope_n"], slope - two_errors, slope + two_errors, color=colour, alpha=0.25,
            linewidth=0,
        )  # fmt: skip
    exact = row["errors"]["bayes_generalisation_error"]
    axis.errorbar(
        row["sizes"], exact["value"], 2 * np.array(exact["standard_error"]), color=plotting.BLUE,
        marker="o", markersize=3.5, markerfacecolor="white", linestyle="none", capsize=1.5,
        label=f"exact $nB_g$ ± 2 s.e.,\n$N(0, {row['own_prior']}^2)$",
    )  # fmt: skip
    axis.axhline(
        coefficient, color=plotting.GREY, linestyle="--", linewidth=0.9, label=r"$\lambda$"
    )
    axis.axhspan(
        (1 - tolerance) * coefficient, (1 + tolerance) * coefficient, color=plotting.GREY,
        alpha=0.15, linewidth=0, label=rf"$\lambda$ ± {100 * tolerance:.0f} %",
    )  # fmt: skip
    if row["multiplicity"] > 1:
        n, asymptote = np.array(own["slope_n"]), np.array(own["asymptotic_slopes"])
        axis.plot(
            n[asymptote > 0], asymptote[asymptote > 0], color=plotting.PURPLE, linewidth=0.9,
            label=r"$\lambda-(m-1)/\log n$",
        )  # fmt: skip
    axis.set_ylim(min(0.0, axis.get_ylim()[0]), 1.35 * max(coefficient, own["largest_slope"]))

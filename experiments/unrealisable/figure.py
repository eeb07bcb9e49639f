"""The figure of the unrealisable problems: both errors, and what separates them."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from slt_jax.curves.comparison import curves_of, sampler_of
from slt_jax.report import plotting
from slt_jax.report.verdict import Verdict

SIDESTEP = 1.15
LOOKS = (
    ("bayes", "bayes_generalisation_error", "B_g", plotting.BLUE, "o", "-"),
    ("gibbs", "gibbs_generalisation_error", "G_g", plotting.ORANGE, "s", "--"),
)
STATES = (
    ("bayes", r"$n(B_g-B_t)/2$", plotting.BLUE, "o"),
    ("training", r"$n(G_t-B_t)$", plotting.GREEN, "^"),
    ("gibbs_difference", r"$n(G_g-G_t)/2$", plotting.RED, "v"),
)
TITLES = {
    "regular": "regular",
    "singular": "singular, renormalisable",
    "not renormalisable": "NOT renormalisable",
}
LABELS = (
    r"$n\,\times$ generalisation error  [nats]",
    r"$n(G_g-B_g)$  [nats]",
    "equations of state,\n" + r"left side over $V_n/2$",
)
MAX_SEPARATION_ON_A_LINEAR_AXIS = 20

Row = Mapping[str, Any]


def figure(dataset: xr.Dataset, verdict: Verdict) -> dict[str, plotting.Figure]:
    """Draw nB_g and nG_g; n(G_g − B_g), V_n/2 and ν; the equations of state over V_n/2."""
    curves, numbers = curves_of(dataset), verdict.numbers["problems"]
    columns = len(curves)
    with plotting.panels(3, columns, (2.75 * columns + 0.6, 8.8)) as (drawing, axes):
        for column, (name, curve) in enumerate(curves.items()):
            row = numbers[name]
            _error_panel(axes[0, column], curve, row)
            _separation_panel(axes[1, column], row)
            _state_panel(axes[2, column], row)
            kind = f"({chr(ord('a') + column)}) {TITLES[row['kind']]}"
            axes[0, column].set_title(f"{kind}\n{_title(str(curve['title'].item()))}")
            axes[2, column].set_xlabel("sample size $n$")
        for row_of_axes, label in zip(axes, LABELS, strict=True):
            _finish_row(row_of_axes, label)
    return {"unrealisable": drawing}


def _title(title: str) -> str:
    """Break the title of a problem in two, without what all have in common."""
    title = title.removesuffix("; unrealisable").removesuffix(" (unrealisable)")
    title = title.replace(", truth", ",\ntruth")
    return title if "\n" in title else title.replace(", ", ",\n", 1)


def _finish_row(axes: Any, label: str) -> None:
    """Label a row of panels, beside whose last one is the legend of all."""
    handles = {
        text: handle
        for axis in axes
        for handle, text in zip(*axis.get_legend_handles_labels(), strict=True)
    }
    for axis in axes:
        axis.set_xscale("log")
        axis.xaxis.set_minor_formatter(plotting.NullFormatter())
    axes[0].set_ylabel(label)
    axes[-1].legend(
        list(handles.values()), list(handles), loc="center left", bbox_to_anchor=(1.02, 0.5),
        fontsize=8, handlelength=3.0,
    )  # fmt: skip


def _error_panel(axis: plotting.Axes, curve: xr.Dataset, row: Row) -> None:
    """Draw exact lines, over all data sets where that is exact, and sampled points."""
    for name, quantity, symbol, colour, marker, line in LOOKS:
        if "expected" in row:
            axis.plot(
                row["expected_sizes"], row["expected"][name], color=colour, linestyle=line,
                marker=".", label=f"exact $n{symbol}$, all data sets",
            )  # fmt: skip
        else:
            exact = row["errors"][quantity]
            axis.errorbar(
                row["sizes"], exact["value"], exact["half_width"], color=colour, linestyle=line,
                capsize=0, elinewidth=2.5, alpha=0.9,
                label=f"exact $n{symbol}$, 95 % over data sets",
            )  # fmt: skip
        _sampled_points(axis, curve, row, quantity, symbol, colour, marker)
    axis.axhline(0.0, color=plotting.BLACK, linewidth=0.6)
    if row["learning_coefficient"] is None:
        _shade_negative_errors(axis)
    else:
        _draw_limits(axis, float(curve["learning_coefficient"]), row)


def _shade_negative_errors(axis: plotting.Axes) -> None:
    low, high = axis.get_ylim()
    if low < -5:
        axis.set_yscale("symlog", linthresh=1.0, linscale=0.7)
        axis.set_yticks([-1000, -100, -10, -1, 0, 1, 10, 100])
        axis.minorticks_off()
    axis.axhspan(
        min(low, 2 * low), 0.0, color=plotting.GREY, alpha=0.15, linewidth=0, zorder=0,
        label="negative error: beats $w_0$,\nno power of $n$ with $c>0$",
    )  # fmt: skip
    axis.set_ylim(1.5 * low, 2.2 * high)


def _draw_limits(axis: plotting.Axes, coefficient: float, row: Row) -> None:
    axis.axhline(
        coefficient, color=plotting.GREY, linestyle=":", linewidth=1.1, label=r"limit $\lambda$"
    )
    known = row["regular_fluctuation"] is not None
    last = row["singular_fluctuation"]["variance"]["value"][-1]
    nu = row["regular_fluctuation"] if known else last
    axis.axhline(
        coefficient + nu, color=plotting.GREY, linestyle="-." if known else (0, (1, 3)),
        linewidth=1.1,
        label=(
            r"limit $\lambda+\mathrm{tr}(IJ^{-1})/2$" if known
            else r"$\lambda+V_n/2$ at the last $n$"
        ),
    )  # fmt: skip
    axis.set_ylim(min(0.0, axis.get_ylim()[0]), 1.15 * max(axis.get_ylim()[1], coefficient + nu))


def _sampled_points(
    axis: plotting.Axes,
    curve: xr.Dataset,
    row: Row,
    quantity: str,
    symbol: str,
    colour: str,
    marker: str,
) -> None:
    n, sampled = np.array(row["sampled_sizes"]), row["sampled_errors"][quantity]
    good = curve["converged"].sel(n=n).to_numpy().astype(bool).all(axis=1)
    place, value = n * SIDESTEP, np.array(sampled["value"])
    axis.errorbar(
        place, value, sampled["half_width"], color=colour, marker=marker,
        markerfacecolor="white", linestyle="none", capsize=2.5,
        label=f"{sampler_of(curve)} $n{symbol}$, 95 % over data sets",
    )  # fmt: skip
    if not good.all():
        axis.plot(
            place[~good], value[~good], color=plotting.BLACK, marker="x", markersize=8,
            linestyle="none", label="some jobs not converged",
        )  # fmt: skip


def _separation_panel(axis: plotting.Axes, row: Row) -> None:
    n = np.array(row["sizes"])
    nu = row["singular_fluctuation"]
    if "expected" in row:
        axis.plot(
            row["expected_sizes"], row["expected_separation"], color=plotting.BLACK, marker=".",
            label="exact, all data sets",
        )  # fmt: skip
        if row["expected_separation"][-1] > MAX_SEPARATION_ON_A_LINEAR_AXIS:
            axis.set_yscale("log")
    else:
        axis.errorbar(
            n, nu["gibbs"]["value"], nu["gibbs"]["half_width"], color=plotting.BLACK, capsize=0,
            elinewidth=2.5, label="exact $n(G_g-B_g)$, 95 %",
        )  # fmt: skip
    axis.errorbar(
        n / SIDESTEP, nu["variance"]["value"], nu["variance"]["half_width"],
        color=plotting.PURPLE, marker="D", markerfacecolor="white", linestyle="none", capsize=2.5,
        label="exact $V_n/2$, 95 %",
    )  # fmt: skip
    sampled = row["sampled_separation"]
    axis.errorbar(
        np.array(row["sampled_sizes"]) * SIDESTEP, sampled["value"], sampled["half_width"],
        color=plotting.GREEN, marker="^", markerfacecolor="white", linestyle="none", capsize=2.5,
        label="sampled $n(G_g-B_g)$, 95 %",
    )  # fmt: skip
    if row["regular_fluctuation"] is not None:
        axis.axhline(
            row["regular_fluctuation"], color=plotting.GREY, linestyle="-.", linewidth=1.1,
            label=r"$\nu=\mathrm{tr}(IJ^{-1})/2$" + "\n(at one optimum)",
        )  # fmt: skip
    if axis.get_yscale() == "linear":
        axis.set_ylim(0.0, 1.1 * axis.get_ylim()[1])


def _state_panel(axis: plotting.Axes, row: Row) -> None:
    """Draw what would lie at 1: B_g − B_t = 2(G_t − B_t) = G_g − G_t = V_n/n."""
    n = np.array(row["sizes"])
    for index, (route, label, colour, marker) in enumerate(STATES):
        ratio = row["states"][route]
        axis.errorbar(
            n * SIDESTEP ** ((index - 1) / 1.5), ratio["value"], ratio["half_width"],
            color=colour, marker=marker, markerfacecolor="white", linewidth=0.9, linestyle="-",
            capsize=2, label=f"{label}, 95 %",
        )  # fmt: skip
    axis.axhline(
        1.0, color=plotting.BLACK, linestyle=":", linewidth=1.0, label="equations of state"
    )
    axis.set_ylim(min(0.0, axis.get_ylim()[0]), max(2.0, axis.get_ylim()[1]))

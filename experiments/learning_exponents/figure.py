"""The figures: how errors of location families fall and cross, and what moves c and σ."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from slt_jax.estimators import mean_over_data_sets
from slt_jax.report import plotting
from slt_jax.report.verdict import Verdict


class Look(NamedTuple):
    """Colour, marker and dashes, which tell lines apart in grey too."""

    colour: str
    marker: str
    line: Any


LOOKS = (
    Look(plotting.BLACK, "o", "-"),
    Look(plotting.BLUE, "s", "--"),
    Look(plotting.ORANGE, "D", "-."),
    Look(plotting.GREEN, "^", ":"),
    Look(plotting.RED, "v", (0, (5, 1, 1, 1))),
    Look(plotting.PURPLE, "P", (0, (6, 3))),
    Look(plotting.SKY, "X", (0, (1, 2))),
    Look(plotting.GREY, "*", "-"),
    Look(plotting.BLACK, "<", ":"),
    Look(plotting.BLUE, ">", "-"),
)
LOOKS_OF_PARTS = {
    "architecture": Look(plotting.BLACK, "o", "-"),
    "data set": Look(plotting.ORANGE, "s", "-"),
    "base, or both": Look(plotting.GREY, "^", "-"),
}
LOOKS_OF_PREDICTIONS = {
    "formula": (Look(plotting.BLUE, "o", "-"), r"$\log(1+\delta c/c)/\delta\sigma$"),
    "linear": (Look(plotting.ORANGE, "x", "-"), r"$\delta c/(c\,\delta\sigma)$"),
}
AMPLITUDE_TICKS = (0.2, 0.5, 1.0, 2.0, 5.0)
N = "sample size $n$"


def figure(dataset: xr.Dataset, verdict: Verdict) -> dict[str, plotting.Figure]:
    """Draw what the location families say, and what factors of regression and nets do."""
    return {
        "learning_exponents": families_figure(dataset, verdict.numbers),
        "learning_exponents_factors": factors_figure(dataset, verdict.numbers),
    }


def families_figure(dataset: xr.Dataset, numbers: Mapping[str, Any]) -> plotting.Figure:
    """Six panels on the errors of location families: their powers of n and their crossings."""
    with plotting.panels(2, 3, (10.8, 7.0)) as (drawn, axes):
        _form_panel(axes[0, 0], dataset)
        _fit_panel(axes[0, 1], numbers["families"])
        _wrong_loss_panel(axes[0, 2], numbers["families"])
        _bayes_panel(axes[1, 0], dataset)
        _crossing_panel(axes[1, 1], numbers["crossovers"])
        _linearisation_panel(axes[1, 2], numbers["crossovers"])
        handles, labels = axes[0, 0].get_legend_handles_labels()
        drawn.legend(handles, labels, loc="outside upper center", ncols=5, handlelength=3.5)
    return drawn


def factors_figure(dataset: xr.Dataset, numbers: Mapping[str, Any]) -> plotting.Figure:
    """Six panels on what moves σ and c: factors and width of regression, and priors of nets."""
    with plotting.panels(2, 3, (10.8, 7.7)) as (drawn, axes):
        _factor_exponent_panel(axes[0, 0], numbers["factors"])
        _factor_amplitude_panel(axes[0, 1], numbers["factors"])
        _width_panel(axes[0, 2], dataset, numbers["claimed_exponent"])
        _design_panel(axes[1, 0], dataset)
        _net_exponent_panel(axes[1, 1], dataset)
        _net_amplitude_panel(axes[1, 2], dataset)
        handles, labels = axes[1, 2].get_legend_handles_labels()
        drawn.legend(
            handles, labels, loc="outside lower right", ncols=dataset.sizes["net"], handlelength=3.5
        )
    return drawn


def _form_panel(axis: plotting.Axes, dataset: xr.Dataset) -> None:
    axis.set_title("(a) The Gibbs error nears a power of $n$")
    n = dataset["n"].to_numpy().astype(float)
    for name, look in zip(dataset["curve"].to_numpy().tolist(), LOOKS, strict=False):
        at = dataset.sel(curve=name)
        one = at.isel(repeat=0)
        sizes = at["measured_n"].to_numpy()
        axis.plot(n, n * at["gibbs_limit"], color=plotting.GREY, linewidth=0.6, zorder=0)
        axis.plot(n, n * at["gibbs"], color=look.colour, linestyle=look.line)
        axis.errorbar(
            sizes, sizes * one["measured"], 2 * sizes * one["measured_se"], color=look.colour,
            marker=look.marker, markerfacecolor="white", markersize=4, linestyle="none",
            capsize=1.5,
        )  # fmt: skip
        axis.plot([], [], color=look.colour, linestyle=look.line, marker=look.marker,
                  markerfacecolor="white", label=str(at["title"].item()))  # fmt: skip
    axis.plot([], [], color=plotting.GREY, linewidth=0.6, label=r"limit, $cn^{-\sigma}$")
    axis.set_xscale("log")
    axis.set_yscale("log")
    axis.set_xlabel(N)
    axis.set_ylabel("$n\\,$E$[G_g]$  [nats]")
    axis.text(
        0.04, 0.96, "lines: exact\npoints: measured, ± 2 s.e.", transform=axis.transAxes,
        va="top", fontsize=8,
    )  # fmt: skip


def _fit_panel(axis: plotting.Axes, families: Mapping[str, Any]) -> None:
    axis.set_title("(b) Fits at measurable $n$ against the limit's σ")
    for place, (row, look) in enumerate(zip(families.values(), LOOKS, strict=False)):
        value, low, high = row["measured"]["exponent"]
        low, high = (value if end is None else end for end in (low, high))
        first = place == 0
        axis.plot(
            [row["exponent"]] * 2, [place - 0.35, place + 0.35], color=plotting.GREY, linewidth=2.5,
            label="limit" if first else "",
        )  # fmt: skip
        axis.plot(
            [row["late"]["exponent"][0]], [place - 0.2], color=plotting.BLACK, marker="x",
            linestyle="none", label="exact, late" if first else "",
        )  # fmt: skip
        axis.errorbar(
            [value], [place + 0.1], xerr=[[value - low], [high - value]], color=look.colour,
            marker=look.marker, markerfacecolor="white", capsize=3,
            label="measured, 95 %" if first else "",
        )  # fmt: skip
    axis.set_yticks(range(len(families)), [row["title"] for row in families.values()])
    axis.set_ylim(len(families) - 0.4, -1.5)
    axis.set_xlabel("exponent σ of E$[G_g]$")
    axis.legend(fontsize=7.5, loc="upper center", ncols=3, handlelength=1, columnspacing=0.7,
                handletextpad=0.4)  # fmt: skip


def _wrong_loss_panel(axis: plotting.Axes, families: Mapping[str, Any]) -> None:
    axis.set_title("(c) A wrong $L_0$ shifts the fitted σ")
    for row, look in zip(families.values(), LOOKS, strict=False):
        bias = row["wrong_loss_bias"]
        shares = sorted(bias, key=float)
        axis.plot(
            [float(share) for share in shares], [bias[share] for share in shares],
            color=look.colour, marker=look.marker, markerfacecolor="white", linestyle=look.line,
        )  # fmt: skip
    axis.axhline(0.0, color=plotting.BLACK, linewidth=0.6)
    axis.set_xlabel("error of $L_0$ over the last measured E$[G_g]$")
    axis.set_ylabel("shift of the fitted σ")


def _bayes_panel(axis: plotting.Axes, dataset: xr.Dataset) -> None:
    axis.set_title("(d) The Bayes error need not be positive")
    n = dataset["n"].to_numpy()
    for name, look in zip(dataset["curve"].to_numpy().tolist(), LOOKS, strict=False):
        ratio = dataset["bayes_over_gibbs"].sel(curve=name)
        axis.plot(
            n, ratio, color=look.colour, linestyle=look.line, marker=look.marker,
            markerfacecolor="white", markevery=2,
        )  # fmt: skip
    axis.axhline(0.0, color=plotting.BLACK, linewidth=0.6)
    axis.set_xscale("log")
    axis.set_yscale("symlog", linthresh=1.0, linscale=1.5)
    axis.set_ylim(top=1.5)
    axis.yaxis.set_minor_locator(plotting.NullLocator())
    axis.set_xlabel(N)
    axis.set_ylabel("E$[B_g]$ / E$[G_g]$, exact")


def _crossing_panel(axis: plotting.Axes, crossovers: Mapping[str, Any]) -> None:
    axis.set_title("(e) Where the larger exponent overtakes")
    rows, top = crossovers["crossings"], crossovers["largest_decades"]
    for key, (look, label) in LOOKS_OF_PREDICTIONS.items():
        axis.plot(
            [row[f"{key}_decades"] for row in rows], [row["measured_decades"] for row in rows],
            color=look.colour, marker=look.marker, linestyle="none", markerfacecolor="white",
            label=label,
        )  # fmt: skip
    axis.plot([0, top], [0, top], color=plotting.BLACK, linewidth=0.9, label="equal", zorder=3)
    axis.set_xlim(0, 2.2 * top)
    axis.set_ylim(0, top)
    axis.set_xlabel(r"predicted $\log_{10}n$")
    axis.set_ylabel(r"exact curves cross at $\log_{10}n$")
    axis.legend(fontsize=8, loc="lower right")


def _linearisation_panel(axis: plotting.Axes, crossovers: Mapping[str, Any]) -> None:
    axis.set_title("(f) Linearisation errs by decades")
    rows = crossovers["crossings"]
    for key, (look, label) in LOOKS_OF_PREDICTIONS.items():
        axis.plot(
            [row["relative_amplitude"] for row in rows],
            [row[f"{key}_off_decades"] for row in rows],
            color=look.colour, marker=look.marker, linestyle="none", markerfacecolor="white",
            label=label,
        )  # fmt: skip
    axis.axhline(0.0, color=plotting.BLACK, linewidth=0.9)
    axis.set_xscale("log")
    axis.set_yscale("symlog", linthresh=1.0, linscale=0.7)
    axis.set_ylim(bottom=-2.0)
    axis.yaxis.set_minor_locator(plotting.NullLocator())
    axis.set_xlabel(r"relative amplitude $\delta c/c$")
    axis.set_ylabel(r"predicted − exact $\log_{10}n$")
    axis.legend(fontsize=8, loc="upper left")


def _factor_exponent_panel(axis: plotting.Axes, factors: Mapping[str, Any]) -> None:
    axis.set_title("(a) Which factors move the exponent σ")
    seen: set[str] = set()
    for place, row in enumerate(factors.values()):
        look = LOOKS_OF_PARTS[row["part"]]
        axis.plot([row["limit_change"]], [place], color=plotting.BLACK, marker="|", markersize=12,
                  linestyle="none", label="" if place else "theory")  # fmt: skip
        axis.plot(
            [row["exponent_change"]], [place], color=look.colour, marker=look.marker, markersize=6,
            linestyle="none", label="" if row["part"] in seen else row["part"],
        )  # fmt: skip
        seen.add(row["part"])
    _factor_rows(axis, list(factors), unmoved=0.0)
    axis.set_xlabel("change of σ, $n=10^2$ to $10^6$")
    axis.legend(fontsize=7.5, ncols=2, loc="upper left", handlelength=1.2, columnspacing=0.8)


def _factor_amplitude_panel(axis: plotting.Axes, factors: Mapping[str, Any]) -> None:
    axis.set_title("(b) Which factors move the error at $n=10^4$")
    for place, row in enumerate(factors.values()):
        look = LOOKS_OF_PARTS[row["part"]]
        axis.plot([row["amplitude_ratio"]], [place], color=look.colour, marker=look.marker,
                  markersize=6, linestyle="none")  # fmt: skip
    axis.set_xscale("log")
    axis.set_xticks(AMPLITUDE_TICKS, [f"{tick:g}" for tick in AMPLITUDE_TICKS])
    axis.xaxis.set_minor_locator(plotting.NullLocator())
    _factor_rows(axis, ["" for _ in factors], unmoved=1.0)
    axis.set_xlabel("E$[G_g]$ over the base's")


def _factor_rows(axis: plotting.Axes, labels: list[str], unmoved: float) -> None:
    ends = [-0.7, len(labels) - 0.5]
    axis.plot([unmoved, unmoved], ends, color=plotting.GREY, linewidth=0.8, zorder=0)
    axis.set_yticks(range(len(labels)), labels)
    axis.set_ylim(len(labels) - 0.5, -2.6)
    axis.grid(axis="y", color=plotting.GREY, alpha=0.25, linewidth=0.6)


def _width_panel(axis: plotting.Axes, dataset: xr.Dataset, claimed: float) -> None:
    axis.set_title("(c) Small σ lasts until $n$ sees all $d$ directions")
    middle = dataset["spectrum_middle"].to_numpy()
    for width, look in zip(dataset["width"].to_numpy(), LOOKS, strict=False):
        axis.plot(
            middle, dataset["width_local_exponent"].sel(width=width), color=look.colour,
            linestyle=look.line, label=rf"$d=10^{{{np.log10(width):.3g}}}$",
        )  # fmt: skip
    axis.axhline(claimed, color=plotting.GREY, linewidth=0.9, label=f"{claimed:g}")
    axis.axhline(0.5, color=plotting.GREY, linestyle=":", label="½, the least\nof a limit")
    axis.set_xscale("log")
    axis.set_xlabel(N)
    axis.set_ylabel("local exponent σ of E$[G_g]$")
    axis.set_ylim(0.0, 1.6)
    axis.legend(fontsize=7.5, handlelength=3, ncols=3, loc="upper left", columnspacing=0.9)


def _design_panel(axis: plotting.Axes, dataset: xr.Dataset) -> None:
    axis.set_title("(d) Random inputs approach the closed form")
    n = dataset["design_n"].to_numpy()
    gibbs = dataset["design_gibbs"].transpose("design_n", "design").to_numpy()
    mean = mean_over_data_sets(gibbs)
    axis.plot(n, dataset["design_closed"], color=plotting.BLACK, label="independent directions")
    axis.errorbar(
        n, mean.value, mean.half_width(), color=plotting.BLUE, marker="o", linestyle="none",
        markerfacecolor="white", capsize=2.5, label="random inputs, 95 %",
    )  # fmt: skip
    axis.set_xscale("log")
    axis.set_yscale("log")
    axis.set_xlabel(N)
    axis.set_ylabel("E$[G_g]$  [nats]")
    axis.legend(fontsize=8)


def _net_exponent_panel(axis: plotting.Axes, dataset: xr.Dataset) -> None:
    axis.set_title("(e) Small nets end near σ = 1 under each prior")
    n = dataset["large_between"].to_numpy()
    for net, scale, look in _looks_of_nets(dataset):
        local = dataset["net_local_exponent"].sel(net=net, prior_scale=scale)
        axis.plot(n, local, **look)
    axis.axhline(1.0, color=plotting.GREY, linewidth=0.8, zorder=0)
    axis.set_xscale("log")
    axis.set_ylabel("local exponent σ of E$[B_g]$")
    axis.set_xlabel(N)


def _net_amplitude_panel(axis: plotting.Axes, dataset: xr.Dataset) -> None:
    axis.set_title("(f) The prior moves the nets' error at small $n$")
    n = dataset["large_middle"].to_numpy()
    for net, scale, look in _looks_of_nets(dataset):
        scaled = dataset["scaled_bayes_error"].sel(net=net, prior_scale=scale)
        mean = mean_over_data_sets(scaled.transpose("large_middle", "net_design").to_numpy())
        label = f"{net}, prior $N(0,\\,{scale:g}^2)$"
        axis.errorbar(n, mean.value, mean.half_width(), elinewidth=0.6, label=label, **look)
    axis.set_xscale("log")
    axis.set_ylabel("$n\\,$E$[B_g]$  [nats], 95 %")
    axis.set_xlabel(N)
    axis.set_ylim(bottom=0.0)


def _looks_of_nets(dataset: xr.Dataset) -> list[tuple[str, float, dict[str, Any]]]:
    """Every net and prior scale: colour and marker tell the net, dashes the scale."""
    lines = [look.line for look in LOOKS]
    return [
        (net, scale, {"color": look.colour, "marker": look.marker, "markevery": 3,
                      "markerfacecolor": "white", "linestyle": lines[place % len(lines)]})
        for net, look in zip(dataset["net"].to_numpy().tolist(), LOOKS, strict=False)
        for place, scale in enumerate(dataset["prior_scale"].to_numpy().tolist())
    ]  # fmt: skip

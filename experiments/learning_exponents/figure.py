"""The figure of the learning exponents: forms and fits, crossings, knobs, widths and nets."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from experiments.learning_exponents.verdict import (
    crossings,
    exact_of,
    judge_curve,
    judge_knobs,
    net_slopes,
)
from slt_jax.estimators import local_exponents, mean_over_data_sets
from slt_jax.oracles.location import Curve
from slt_jax.report import plotting

LOOKS: tuple[tuple[str, str, Any], ...] = (
    (plotting.BLACK, "o", "-"),
    (plotting.BLUE, "s", "--"),
    (plotting.ORANGE, "D", "-."),
    (plotting.GREEN, "^", ":"),
    (plotting.RED, "v", (0, (5, 1, 1, 1))),
    (plotting.PURPLE, "P", (0, (6, 3))),
    (plotting.SKY, "X", (0, (1, 2))),
    (plotting.GREY, "*", "-"),
    (plotting.BLACK, "<", ":"),
    (plotting.BLUE, ">", "-"),
)
AMPLITUDE_TICKS = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0)


def exponents_figure(curves: Mapping[str, Curve], dataset: xr.Dataset) -> plotting.Figure:
    """Three rows, one per claim."""
    with plotting.panels(3, 3, (13.2, 11.6)) as (figure, axes):
        rows = {name: judge_curve(curve, dataset, name) for name, curve in curves.items()}
        _form_panel(axes[0, 0], curves, dataset)
        _fit_panel(axes[0, 1], curves, rows)
        _wrong_panel(axes[0, 2], curves, rows)
        _crossing_panel(axes[1, 0], curves, dataset)
        _knob_panel(axes[1, 1], dataset)
        _design_panel(axes[1, 2], dataset)
        _width_panel(axes[2, 0], dataset)
        _net_panel(axes[2, 1], dataset)
        _amplitude_panel(axes[2, 2], dataset)
    return figure


def _label(name: str) -> str:
    """How a family is called in the figure."""
    kind, *numbers = name.split()
    return f"parabola, c = {numbers[0]}" if kind == "parabola" else f"contact {', '.join(numbers)}"


def _form_panel(axis: plotting.Axes, curves: Mapping[str, Curve], dataset: xr.Dataset) -> None:
    axis.set_title("(a) N7: exact (lines), measured (points), $cn^{1-σ}$ (grey)")
    for (name, curve), (colour, marker, line) in zip(curves.items(), LOOKS, strict=False):
        n, gibbs = exact_of(dataset, name)
        axis.plot(n, n * gibbs, color=colour, linestyle=line, label=_label(name))
        at = dataset.sel(curve=name).isel(repeat=0)
        sizes = at["measured_n"].to_numpy()
        axis.errorbar(
            sizes, sizes * at["measured"], 2 * sizes * at["measured_se"], color=colour,
            marker=marker, markerfacecolor="white", markersize=4, linestyle="none", capsize=1.5,
        )  # fmt: skip
        if curve.amplitude is not None:
            axis.plot(
                n, curve.amplitude * n ** (1 - curve.exponent), color=plotting.GREY, linewidth=0.6,
                zorder=0,
            )  # fmt: skip
    axis.set_xscale("log")
    axis.set_yscale("log")
    axis.set_xlabel("sample size $n$")
    axis.set_ylabel("$n\\,$E$[G_g]$  [nats]")
    axis.legend(fontsize=7.5, handlelength=3)


def _fit_panel(axis: plotting.Axes, curves: Mapping[str, Curve], rows: Mapping[str, Any]) -> None:
    axis.set_title("(b) N7: fitted σ against the theory's")
    names = list(curves)
    for place, (name, (colour, marker, _)) in enumerate(zip(names, LOOKS, strict=False)):
        row = rows[name]
        value, low, high = row["measured"]["exponent"]
        low, high = (value if end is None else end for end in (low, high))
        axis.errorbar(
            [value], [place], xerr=[[value - low], [high - value]], color=colour, marker=marker,
            markerfacecolor="white", capsize=3,
            label="measured, 95 % interval" if place == 0 else "",
        )  # fmt: skip
        axis.plot(
            [row["late"]["exponent"][0]], [place - 0.25], color=plotting.BLACK, marker="x",
            linestyle="none", label="exact, last decades" if place == 0 else "",
        )  # fmt: skip
        axis.plot(
            [row["exponent"]] * 2, [place - 0.4, place + 0.4], color=plotting.GREY, linewidth=2,
            label="theory" if place == 0 else "",
        )  # fmt: skip
    axis.set_yticks(range(len(names)), [_label(name) for name in names])
    axis.set_ylim(len(names) - 0.4, -1.6)
    axis.set_xlabel("exponent σ of E$[G_g]$")
    axis.set_xlim(0.35, 1.05)
    axis.axvline(0.5, color=plotting.BLACK, linestyle=":", linewidth=0.8)
    axis.legend(
        fontsize=7, loc="upper center", ncols=3, handlelength=1.2, columnspacing=0.8,
        bbox_to_anchor=(0.5, 1.01),
    )  # fmt: skip


def _wrong_panel(axis: plotting.Axes, curves: Mapping[str, Curve], rows: Mapping[str, Any]) -> None:
    axis.set_title("(c) N7: bias of σ when a wrong $L_0$ is subtracted")
    for name, (colour, marker, line) in zip(curves, LOOKS, strict=False):
        row = rows[name]
        found = row["wrong_loss"] | {"0": row["ideal"]["exponent"][0]}
        shares = sorted(found, key=float)
        axis.plot(
            [float(share) for share in shares],
            [found[share] - row["ideal"]["exponent"][0] for share in shares],
            color=colour, marker=marker, markerfacecolor="white", linestyle=line, markersize=4,
            label=_label(name),
        )  # fmt: skip
    axis.axhline(0.0, color=plotting.BLACK, linewidth=0.6)
    axis.set_xlabel("error of $L_0$ over E$[G_g]$ at the largest $n$")
    axis.set_ylabel(r"$\hat\sigma-\hat\sigma$(joint fit)")
    axis.legend(fontsize=7.5, handlelength=3)


def _crossing_panel(axis: plotting.Axes, curves: Mapping[str, Curve], dataset: xr.Dataset) -> None:
    axis.set_title("(d) N8: where the larger exponent overtakes")
    rows = crossings(curves, dataset)
    ten = np.log(10)
    measured = np.array([row["measured"] for row in rows]) / ten
    for key, colour, marker, label in (
        ("formula", plotting.BLUE, "o", r"$\log(1+\delta c/c)/\delta\sigma$"),
        ("linear", plotting.ORANGE, "x", r"$\delta c/(c\,\delta\sigma)$"),
    ):
        predicted = np.array([row[key] for row in rows]) / ten
        axis.plot(
            predicted, measured, color=colour, marker=marker, linestyle="none",
            markerfacecolor="white", label=label,
        )  # fmt: skip
    top = np.log10(float(dataset["n"][-1]))
    axis.plot([0, top], [0, top], color=plotting.GREY, linewidth=0.9, label="equal")
    axis.set_xlim(0, 2.2 * top)
    axis.set_ylim(0, top)
    axis.set_xlabel(r"predicted $\log_{10}n$")
    axis.set_ylabel(r"exact curves cross at $\log_{10}n$")
    axis.legend(fontsize=8)


def _knob_panel(axis: plotting.Axes, dataset: xr.Dataset) -> None:
    axis.set_title("(e) N9: knobs of power-law regression")
    for label, row in judge_knobs(dataset).items():
        index = dataset["knob"].to_numpy().tolist().index(label)
        colour, marker, _ = LOOKS[index]
        axis.plot(
            [row["amplitude_ratio"]], [row["exponent"]], color=colour, marker=marker, markersize=7,
            markerfacecolor="white" if index % 2 else colour, linestyle="none",
            label=f"{label.replace('-', '−')}: {row['moves']}",
        )  # fmt: skip
        axis.plot(
            [row["amplitude_ratio"]], [row["limit"]], color=colour, marker="_", markersize=10,
            linestyle="none",
        )  # fmt: skip
    axis.set_xscale("log")
    axis.set_xticks(AMPLITUDE_TICKS, [f"{tick:g}" for tick in AMPLITUDE_TICKS])
    axis.set_xticks([], minor=True)
    axis.set_xlabel("error over the base's at $n=10^4$")
    axis.set_ylabel("σ from $n=10^2$ to $10^6$  (dash: limit)")
    low, high = axis.get_ylim()
    axis.set_ylim(low, high + 0.75 * (high - low))
    axis.legend(fontsize=7, ncols=2, loc="upper center", title="knob: what it moves")


def _design_panel(axis: plotting.Axes, dataset: xr.Dataset) -> None:
    axis.set_title("(f) N9: closed form against random inputs")
    n = dataset["design_n"].to_numpy()
    found = mean_over_data_sets(dataset["design_gibbs"].transpose("design_n", "design").to_numpy())
    axis.plot(n, dataset["design_closed"], color=plotting.BLACK, label="independent directions")
    axis.errorbar(
        n, found.value, found.half_width(), color=plotting.BLUE, marker="o", linestyle="none",
        markerfacecolor="white", capsize=2.5, label="random inputs, exact given\nthem, 95 %",
    )  # fmt: skip
    axis.set_xscale("log")
    axis.set_yscale("log")
    axis.set_xlabel("sample size $n$")
    axis.set_ylabel("E$[G_g]$  [nats]")
    axis.legend(fontsize=8)


def _width_panel(axis: plotting.Axes, dataset: xr.Dataset) -> None:
    axis.set_title("(g) N9: local σ of models of fixed size $d$")
    n = dataset["spectrum_n"].to_numpy().astype(float)
    for width, (colour, _, line) in zip(dataset["width"].to_numpy(), LOOKS, strict=False):
        middle, local = local_exponents(n, dataset["width_gibbs"].sel(width=width).to_numpy())
        axis.plot(
            middle, local, color=colour, linestyle=line,
            label=rf"$d=10^{{{np.log10(width):.3g}}}$",
        )  # fmt: skip
    axis.axhline(0.095, color=plotting.GREY, linestyle="-", linewidth=0.9, label="0.095")
    axis.axhline(
        0.5, color=plotting.BLACK, linestyle=":", linewidth=0.9, label="½, the least of a limit"
    )
    axis.set_xscale("log")
    axis.set_xlabel("sample size $n$")
    axis.set_ylabel("local exponent σ of E$[G_g]$")
    axis.set_ylim(0.0, 1.75)
    axis.legend(fontsize=7.5, handlelength=3, ncols=2, loc="upper center")


def _net_panel(axis: plotting.Axes, dataset: xr.Dataset) -> None:
    axis.set_title("(h) N9: local σ of small tanh nets")
    _nets(axis, dataset, exponents=True)
    axis.axhline(1.0, color=plotting.GREY, linewidth=0.9)
    axis.set_ylabel("local exponent σ of E$[B_g]$")
    axis.set_xlabel("sample size $n$")


def _amplitude_panel(axis: plotting.Axes, dataset: xr.Dataset) -> None:
    axis.set_title("(i) N9: their $n\\,$E$[B_g]$, which tends to λ")
    _nets(axis, dataset, exponents=False)
    axis.set_ylabel("$n\\,$E$[B_g]$  [nats], ± 2 s.e.")
    axis.set_xlabel("sample size $n$")
    axis.legend(fontsize=7, handlelength=3)
    axis.set_ylim(0.0, 1.5 * axis.get_ylim()[1])


def _nets(axis: plotting.Axes, dataset: xr.Dataset, exponents: bool) -> None:
    colours = [colour for colour, *_ in LOOKS]
    lines: list[Any] = ["-", "--", ":", "-."]
    for index, net in enumerate(dataset["net"].to_numpy().tolist()):
        for place, scale in enumerate(dataset["prior_scale"].to_numpy().tolist()):
            n, slopes = net_slopes(dataset, net, scale)
            look = {"color": colours[index], "linestyle": lines[place % len(lines)]}
            label = f"{net}, $w\\sim N(0,{scale:g}^2)$"
            mean = mean_over_data_sets(slopes)
            if exponents:
                # Under a narrow prior the first data teach nothing, and noise has no logarithm.
                unclear = np.flatnonzero(mean.value <= 2 * mean.standard_error)
                first = unclear[-1] + 1 if unclear.size else 0
                middle, local = local_exponents(n[first:], mean.value[first:] / n[first:])
                axis.plot(middle, local, label=label, **look)
            else:
                axis.errorbar(n, mean.value, 2 * mean.standard_error, label=label, **look)
    axis.set_xscale("log")

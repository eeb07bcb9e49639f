"""The figure of the phase transitions: exact and sampled crossings beside their predictions."""

from typing import Any

import numpy as np
import xarray as xr

from slt_jax.report import plotting
from slt_jax.report.verdict import Verdict

LINES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1)))
MARKERS = "osD^v"
COLOURS = (
    plotting.GREY, plotting.BLACK, plotting.ORANGE, plotting.RED, plotting.BLUE, plotting.GREEN,
)  # fmt: skip
SIZE = "sample size $n$"
SIDESTEP = 1.06
# Methods of prediction, in the order of the dataset.
METHOD_LOOKS = (
    (plotting.RED, ":", "s", "by $\\lambda$ alone"),
    (plotting.ORANGE, "--", "D", "with constants of local evidences"),
    (plotting.GREEN, "-.", "^", "with a fitted constant"),
)
LEVEL_NAMES = (
    "$\\lambda$ alone", "$\\lambda$ and $m$", "$\\lambda$, $m$ and $c$",
    "$\\lambda$, $m$, $c$ and what data add to $c$",
)  # fmt: skip


def figure(dataset: xr.Dataset, verdict: Verdict) -> dict[str, plotting.Figure]:
    """Draw masses and crossings of the designed model, and evidences and crossings of the other."""
    with plotting.panels(2, 3, (13.2, 7.8)) as (page, axes):
        _designed_mass_panel(axes[0, 0], dataset, verdict)
        _designed_crossing_panel(axes[0, 1], verdict.numbers["designed"])
        _mass_panel(axes[0, 2], dataset)
        _evidence_panel(axes[1, 0], dataset)
        _advantage_panel(axes[1, 1], dataset)
        _crossing_panel(axes[1, 2], verdict.numbers["transitions"])
        plotting.letter(axes)
    return {"phase_transitions": page}


def _designed_mass_panel(axis: plotting.Axes, dataset: xr.Dataset, verdict: Verdict) -> None:
    n = dataset["exact_n"].to_numpy()
    for i, row in enumerate(verdict.numbers["designed"]["rows"]):
        at = dataset.sel(offset=row["offset"])
        colour, line = COLOURS[(i + 1) % len(COLOURS)], LINES[i % len(LINES)]
        mass = at["designed_mass"].transpose("quantile", "exact_n").to_numpy()
        axis.fill_between(n, mass[0], mass[2], color=colour, alpha=0.15, linewidth=0)
        axis.plot(n, mass[1], color=colour, linestyle=line, label=f"$\\Delta L={row['offset']:g}$")
        if row["predicted"][2] is not None:
            axis.plot(
                [row["predicted"][3]], [0.5], color=colour, marker="o", markerfacecolor="white"
            )
    axis.plot(
        [], [], color=plotting.GREY, marker="o", markerfacecolor="white", linestyle="none",
        label="predicted",
    )  # fmt: skip
    axis.axhline(0.5, color=plotting.GREY, linewidth=0.6)
    axis.set(xscale="log", xlabel=SIZE, ylim=(-0.02, 1.02))
    axis.set_ylabel("posterior mass of the accurate phase\n(median, 16 % to 84 % of data sets)")
    axis.set_title(
        "Designed model, exact: half of the data sets\nhave changed phase where it is predicted"
    )
    axis.legend(fontsize=7, loc="lower right")


def _designed_crossing_panel(axis: plotting.Axes, numbers: Any) -> None:
    rows = [row for row in numbers["rows"] if row["median"] is not None]
    offsets = np.array([row["offset"] for row in rows])
    for level, name in enumerate(LEVEL_NAMES):
        ratios = [
            np.nan if row["predicted"][level] is None else row["predicted"][level] / row["median"]
            for row in rows
        ]
        axis.plot(
            offsets, ratios, color=COLOURS[(level + 2) % len(COLOURS)], linestyle=LINES[level],
            marker=MARKERS[level], markerfacecolor="white", label=f"predicted by {name}",
        )  # fmt: skip
    shown = [row for row in rows if row["low"] is not None and row["high"] is not None]
    axis.errorbar(
        [row["offset"] for row in shown], [1.0 for _ in shown],
        [
            [1 - row["low"] / row["median"] for row in shown],
            [row["high"] / row["median"] - 1 for row in shown],
        ],
        color=plotting.BLACK, marker=".", linestyle="none", capsize=3,
        label="last crossing of data sets, 16 % to 84 %",
    )  # fmt: skip
    axis.axhline(1.0, color=plotting.GREY, linewidth=0.6)
    axis.set(xscale="log", yscale="log", xlabel=r"loss gap $\Delta L$  [nats per datum]")
    axis.set_yticks([0.5, 1.0, 2.0], ["½", "1", "2"])
    axis.yaxis.set_minor_formatter(plotting.NullFormatter())
    axis.set_ylabel("$n$ of equal masses, over that at which\nhalf of the data sets have changed")
    axis.set_ylim(0.4, 4.5)
    axis.set_title(
        "The smaller the gap, the better all predictions;\nsingle data sets scatter by more"
    )
    axis.legend(fontsize=7, loc="upper left")


def _looks(phase: int) -> dict[str, Any]:
    return {
        "color": COLOURS[phase % len(COLOURS)], "linestyle": LINES[phase % len(LINES)],
        "marker": MARKERS[phase % len(MARKERS)],
    }  # fmt: skip


def _mass_panel(axis: plotting.Axes, dataset: xr.Dataset) -> None:
    n = dataset["n"].to_numpy()
    for i, phase in enumerate(dataset["phase"].to_numpy().tolist()):
        mass = dataset["data_mass"].sel(phase=phase).transpose("data_set", "n").to_numpy()
        low, high = np.quantile(mass, (0.16, 0.84), axis=0)
        axis.fill_between(n, low, high, color=COLOURS[i % len(COLOURS)], alpha=0.15, linewidth=0)
        axis.plot(
            n, dataset["mass"].sel(phase=phase), **_looks(i), markerfacecolor="white",
            label=_shown(phase),
        )  # fmt: skip
    axis.set(xscale="log", xlabel=SIZE, ylim=(-0.02, 1.5))
    axis.set_yticks([0.0, 0.25, 0.5, 0.75, 1.0])
    axis.set_ylabel("posterior mass of the phase\n(population; band: 16 % to 84 % of data sets)")
    axis.set_title("Toy model of superposition: the posterior\npasses from squares and pentagons to"
                   " hexagons")  # fmt: skip
    axis.legend(fontsize=7, loc="upper left")


def _shown(phase: str) -> str:
    signs = {"⁻": ", inner bias $<0$ ($5^-$)", "⁺": ", inner bias $>0$ ($5^+$)"}
    return f"{phase[0]} vertices{signs.get(phase[1:], '')}"


def _evidence_panel(axis: plotting.Axes, dataset: xr.Dataset) -> None:
    n, phases = dataset["n"].to_numpy(), dataset["phase"].to_numpy().tolist()
    for i, phase in enumerate(phases):
        if phase[0] not in dataset["route"].to_numpy():
            continue
        at = dataset.sel(phase=phase)
        error = 2 * at["log_evidence_se"]
        axis.errorbar(
            n, at["local_gap"].sel(route=phase[0]), error.sel(route=phase[0]), **_looks(i),
            markerfacecolor="white", capsize=2, label=_shown(phase),
        )  # fmt: skip
        axis.errorbar(
            n * SIDESTEP, at["local_gap"].sel(route="plain"), error.sel(route="plain"),
            color=COLOURS[i % len(COLOURS)], marker="x", linestyle="none", elinewidth=0.7,
        )  # fmt: skip
    axis.plot(
        [], [], color=plotting.GREY, marker="x", linestyle="none",
        label="the same by SMC from the prior\n(others: paths within the region; all ± 2 s.e.)",
    )  # fmt: skip
    axis.axhline(0.0, color=plotting.GREY, linewidth=0.6)
    axis.set(xscale="log", xlabel=SIZE)
    axis.set_ylabel("$\\log Z + nL + \\lambda\\,\\log n - C$ of the phase  [nats]")
    axis.set_title("Evidences approach their expansions slowly:\na hidden feature that is off takes"
                   " the longest")  # fmt: skip
    axis.legend(fontsize=7, loc="best")


def _advantage_panel(axis: plotting.Axes, dataset: xr.Dataset) -> None:
    n = dataset["n"].to_numpy()
    for i, name in enumerate(dataset["pair"].to_numpy().tolist()[:2]):
        at = dataset.sel(pair=name)
        marker, colour = "oD"[i], (plotting.BLACK, plotting.BLUE)[i]
        axis.errorbar(
            n, at["advantage"], 2 * at["advantage_se"], color=colour, marker=marker,
            linestyle="none", capsize=2, label=f"{name}, observed ± 2 s.e.",
        )  # fmt: skip
        for method, (_, line, _, words) in enumerate(METHOD_LOOKS):
            axis.plot(
                n, at["expansion"].isel(method=method), color=colour, linestyle=line, linewidth=1,
                label=words if i == 0 else None,
            )  # fmt: skip
    axis.axhline(0.0, color=plotting.GREY, linewidth=0.6)
    axis.set(xscale="log", xlabel=SIZE, ylim=(-9, 9))
    axis.set_ylabel("$\\log Z$ of the accurate phase minus\nthat of the coarse one  [nats]")
    axis.set_title(
        "By $\\lambda$ alone the accurate phase is late,\nwith local constants it is early"
    )
    axis.legend(fontsize=7, loc="upper left")


def _crossing_panel(axis: plotting.Axes, numbers: Any) -> None:
    names = list(numbers["rows"])
    for place, name in enumerate(names):
        row, y = numbers["rows"][name], float(-place)
        for method, (colour, _, marker, words) in enumerate(METHOD_LOOKS):
            if row["predicted"][method] is not None:
                axis.plot(
                    [row["predicted"][method]], [y - 0.16 * (method + 1)], color=colour,
                    marker=marker, linestyle="none", label=words if place == 0 else None,
                )  # fmt: skip
        if row["observed"] is not None:
            error = 2 * row["observed"] * (row["observed_log_se"] or 0.0)
            axis.errorbar(
                [row["observed"]], [y], xerr=[[min(error, 0.9 * row["observed"])], [error]],
                color=plotting.BLACK, linestyle="none",
                marker="o" if row["decided"] else "x", capsize=3,
                label="observed, population ± 2 s.e." if place == 0 else None,
            )  # fmt: skip
        if row["low"] is not None and row["high"] is not None:
            axis.plot([row["low"], row["high"]], [y + 0.16] * 2, color=plotting.BLUE, linewidth=3,
                      label="data sets, 16 % to 84 %" if place == 0 else None)  # fmt: skip
        if row["leads_from_the_first"]:
            axis.text(numbers["n"][0], y, f"{name[-1]} leads at all n", fontsize=7, va="center")
    axis.set(xscale="log", xlabel="$n$ of equal masses", ylim=(0.4 - len(names), 1.2))
    axis.set_xlim(numbers["n"][0] / 1.2, 2 * numbers["n"][-1])
    axis.set_yticks([-float(place) for place in range(len(names))], names)
    axis.set_title("The toy model's crossings lie between\nwhat the two predict")
    axis.legend(fontsize=7, loc="upper left")

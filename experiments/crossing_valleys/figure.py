"""The figure of the crossing valleys: where the mass is, how long it stays, and what λ does."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from slt_jax.report import plotting
from slt_jax.report.verdict import Verdict

LINES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1)), (0, (3, 1, 1, 1, 1, 1)), (0, (1, 1)))
MARKERS = "osD^vP"
SIDESTEP = 1.25
SIZE = "sample size $n$"
COLOURS = (
    plotting.BLACK, plotting.GREY, plotting.BLUE, plotting.SKY, plotting.ORANGE, plotting.RED,
    plotting.GREEN, plotting.PURPLE,
)  # fmt: skip
CLAIMED: dict[str, Any] = {"color": plotting.RED, "linestyle": (0, (1, 2)), "linewidth": 1.6}

AGREEMENT = {True: "agrees with the exact one", False: "DISAGREES with the exact one"}

Looks = Mapping[str, tuple[str, Any]]


def figure(dataset: xr.Dataset, verdict: Verdict) -> dict[str, plotting.Figure]:
    """Draw exact masses, far ones and sampled ones; times to leave; effective dimensions."""
    names = dataset["landscape"].to_numpy().tolist()
    looks = {
        name: (COLOURS[i % len(COLOURS)], LINES[i % len(LINES)]) for i, name in enumerate(names)
    }
    agrees = bool(verdict.numbers["sampled"]["agrees"])
    with plotting.panels(2, 3, (12.6, 7.6)) as (page, axes):
        _mass_panel(axes[0, 0], dataset, looks)
        _far_panel(axes[0, 1], dataset, looks)
        _sampled_panel(axes[0, 2], dataset, looks, AGREEMENT[agrees])
        _exit_panel(axes[1, 0], dataset, looks)
        _ten_panel(axes[1, 1], dataset)
        _fall_panel(axes[1, 2], dataset)
        plotting.letter(axes)
    return {"crossing_valleys": page}


def _shown(name: str) -> str:
    """Write a formula as mathematics."""
    for plain, drawn in (
        ("softmin(x²,y²)", r"\mathrm{softmin}(x^2,y^2)"), ("min(", r"\min("), ("²", "^2"),
        ("₁", "_1"), ("₈", "_8"), ("…", r"\cdots"), ("−", "-"), ("Σ", r"\Sigma\,"),
    ):  # fmt: skip
        name = name.replace(plain, drawn)
    name = name.replace(r"\mathrm{soft\min(", r"\mathrm{softmin}(")
    formula, _, k = name.partition(", k=")
    return f"${formula}$" + (f", $k={k}$" if k else "")


def _mass_panel(axis: plotting.Axes, dataset: xr.Dataset, looks: Looks) -> None:
    r = float(dataset["radius"][-1])
    for name, (colour, line) in looks.items():
        mass = dataset["posterior_mass"].sel(landscape=name).isel(radius=-1)
        axis.plot(dataset["n"], mass, color=colour, linestyle=line, label=_shown(name))
    axis.axhline(r, color=plotting.GREY, linewidth=0.6)
    axis.set(xscale="log", ylim=(-0.02, 1.5), xlabel=SIZE)
    axis.set_yticks([0.0, r, 0.25, 0.5, 0.75, 1.0], ["0", "$r$", "0.25", "0.5", "0.75", "1"])
    axis.set_ylabel(f"posterior mass within $r={r:g}$ of the crossing")
    axis.set_title(
        "Sharp valleys leave the crossing its share $r$ of them;\n"
        "smooth ones give it all, those that cross as $1/\\log n$"
    )
    axis.legend(fontsize=7, loc="upper left", handlelength=3.2, ncols=2, columnspacing=1.0)


def _far_panel(axis: plotting.Axes, dataset: xr.Dataset, looks: Looks) -> None:
    r = float(dataset["radius"][-1])
    for name, (colour, line) in looks.items():
        far = dataset["far_mass"].sel(landscape=name)
        if bool(far.notnull().any()):
            exact = dataset["posterior_mass"].sel(landscape=name).isel(radius=-1)
            axis.plot(dataset["log_size"], far, color=colour, linestyle=line, label=_shown(name))
            axis.plot(
                np.log10(dataset["n"]), exact, color=colour, marker="o", markersize=3,
                markerfacecolor="white", linestyle="none", markevery=4,
            )  # fmt: skip
    axis.plot(
        [], [], color=plotting.BLACK, marker="o", markersize=3, markerfacecolor="white",
        linestyle="none", label="exact (lines: leading order in $n$)",
    )  # fmt: skip
    axis.axhline(0.5, color=plotting.GREY, linewidth=0.6)
    axis.set(ylim=(-0.02, 1.05), xlabel=r"$\log_{10} n$", ylabel=f"mass within $r={r:g}$")
    axis.set_title("Half of the mass is at the crossing only at\nan $n$ that grows exponentially"
                   r" in $\sqrt{k}$")  # fmt: skip
    axis.legend(fontsize=7, loc="lower right", bbox_to_anchor=(1.0, 0.02), handlelength=3.2)


def _sampled_panel(axis: plotting.Axes, dataset: xr.Dataset, looks: Looks, agreement: str) -> None:
    samplers = dataset["sampler"].to_numpy().tolist()
    n = dataset["sampled_n"].to_numpy().astype(float)
    shown = (dataset["n"] >= n[0] / 2) & (dataset["n"] <= 2 * n[-1])
    unfinished = []
    for i, name in enumerate(dataset["sampled_landscape"].to_numpy().tolist()):
        colour, line = looks[name]
        exact = dataset["posterior_mass"].sel(landscape=name).isel(radius=-1)
        axis.plot(dataset["n"][shown], exact[shown], color=colour, linestyle=line)
        for j, sampler in enumerate(samplers):
            at = dataset.sel(sampled_landscape=name, sampler=sampler)
            place = n * SIDESTEP ** ((j - 0.5) * 1.0 + (i - 1.5) / 5)
            axis.errorbar(
                place, at["sampled_mass"], 2 * at["sampled_mass_se"], color=colour,
                marker=MARKERS[j], markerfacecolor="white" if j else colour, linestyle="none",
                capsize=2,
            )  # fmt: skip
            bad = ~at["converged"].to_numpy().astype(bool)
            unfinished += list(zip(place[bad], at["sampled_mass"].to_numpy()[bad], strict=True))
    for j, sampler in enumerate(samplers):
        axis.plot(
            [], [], color=plotting.BLACK, marker=MARKERS[j], linestyle="none",
            markerfacecolor="white" if j else plotting.BLACK, label=f"{sampler} ± 2 s.e.",
        )  # fmt: skip
    axis.plot([], [], color=plotting.BLACK, label="exact, styles as in (a)")
    if unfinished:
        axis.plot(
            *zip(*unfinished, strict=True), color=plotting.BLACK, marker="x", markersize=9,
            linestyle="none", label="not converged, or biased by the step",
        )  # fmt: skip
    axis.set(xscale="log", yscale="log", xlabel=SIZE, ylabel="sampled mass within $r$")
    axis.set_title(f"Where chains converge the sampled mass\n{agreement}")
    axis.set_ylim(
        bottom=float(dataset["sampled_mass"].where(dataset["sampled_mass"] > 0).min()) / 12
    )
    axis.legend(fontsize=7, loc="lower left")


def _exit_panel(axis: plotting.Axes, dataset: xr.Dataset, looks: Looks) -> None:
    for j, name in enumerate(dataset["leaving"].to_numpy().tolist()):
        colour, line = looks[name]
        at = dataset.sel(leaving=name)
        axis.plot(
            dataset["n"], at["equilibrium_exit_time"], color=colour, linestyle=line,
            label=f"{_shown(name)}, in equilibrium across (closed form)",
        )  # fmt: skip
        axis.errorbar(
            at["exit_n"], at["exit_time"], 2 * at["exit_time_se"], color=colour,
            marker=MARKERS[j], markerfacecolor="white", linestyle="none", capsize=2,
            label="random walk ± 2 s.e.",
        )  # fmt: skip
        stuck = at["exit_unfinished"].to_numpy() > 0
        if stuck.any():
            axis.plot(
                at["exit_n"][stuck], at["exit_time"][stuck], color=plotting.BLACK, marker="x",
                markersize=9, linestyle="none", label="some walks were given up",
            )  # fmt: skip
    axis.set(xscale="log", xlabel=SIZE, ylabel=r"mean time to leave $\max(|x|,|y|)<r$, over $r^2$")
    axis.set_ylim(bottom=0.0)
    axis.set_title("The crossing holds a random walk for a time\nthat grows as $\\log n$, or not "
                   "at all")  # fmt: skip
    axis.legend(fontsize=7, loc="upper left", handlelength=3.2)


def _ten_panel(axis: plotting.Axes, dataset: xr.Dataset) -> None:
    ten = dataset.isel(crossing=dataset["dimension"].to_numpy() == 10)
    for i, name in enumerate(ten["crossing"].to_numpy().tolist()):
        at = ten.sel(crossing=name)
        unit = float(at["direction_coefficient"])
        for place, colour, line in (
            ("narrow valley", plotting.GREY, "--"), ("crossing", plotting.BLUE, "-"),
        ):  # fmt: skip
            axis.plot(
                dataset["n"], at["local_coefficient"].sel(place=place) / unit, color=colour,
                linestyle=line, marker=MARKERS[i], markevery=(i, 3), markerfacecolor="white",
                label=f"{_shown(name)}, {place.removeprefix('narrow ')}",
            )  # fmt: skip
    axis.axhline(8.0, label="claimed at the crossing, $d-2=8$", **CLAIMED)
    axis.set(xscale="log", ylim=(0.0, 10.2), xlabel=SIZE)
    axis.set_ylabel("effective dimension $\\lambda(n)/\\lambda_1$ (exact)")
    axis.set_title("Ten dimensions: nine on one valley,\nand nine at the crossing of two")
    axis.legend(fontsize=7, loc="lower right", handlelength=3.2)


def _fall_panel(axis: plotting.Axes, dataset: xr.Dataset) -> None:
    known = dataset["local_coefficient"].notnull().all(["place", "n"]).to_numpy()
    plane = dataset.isel(crossing=known & (dataset["dimension"].to_numpy() < 10))
    for i, name in enumerate(plane["crossing"].to_numpy().tolist()):
        at = plane.sel(crossing=name)
        curve, unit = at["local_coefficient"], float(at["direction_coefficient"])
        fall = (curve.sel(place="narrow valley") - curve.sel(place="crossing")) / unit
        colour = (plotting.BLACK, plotting.BLUE, plotting.ORANGE, plotting.GREEN)[i % 4]
        axis.plot(
            dataset["n"], fall, color=colour, linestyle=LINES[i % len(LINES)], marker=MARKERS[i],
            markevery=(i, 4), markerfacecolor="white", label=_shown(name),
        )  # fmt: skip
    axis.axhline(1.0, label="claimed: 2, or 1 as from $d-1$ to $d-2$", **CLAIMED)
    axis.axhline(2.0, **CLAIMED)
    axis.set(xscale="log", ylim=(-0.15, 4.6), xlabel=SIZE)
    axis.set_ylabel("narrower valley minus crossing,\neffective dimension (exact)")
    axis.set_title("What the crossing takes off: nothing if the\ncodimensions agree, else their "
                   "difference")  # fmt: skip
    axis.legend(fontsize=7, loc="upper left", handlelength=3.2)

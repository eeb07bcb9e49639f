"""The figure of ReLU nets beside analytic ones: where they part, and what is beyond."""

from typing import Any

import numpy as np
import xarray as xr

from slt_jax.report import plotting
from slt_jax.report.verdict import Verdict

from .verdict import FREE_ENERGY, KINK, MIN_SHARPNESS, ONE_UNIT, SHOWN, TWO_UNITS

LINES = ("-", "--", "-.", ":")
COLOURS = (plotting.SKY, plotting.BLUE, plotting.ORANGE, plotting.RED)
MARKERS = {ONE_UNIT: "s", TWO_UNITS: "o", KINK: "^"}
BY_NET = {"softplus": plotting.BLUE, "silu": plotting.RED}
RELU: dict[str, Any] = {"color": plotting.BLACK, "linewidth": 2.0, "label": "ReLU"}
THEORY: dict[str, Any] = {"color": plotting.GREY, "linewidth": 0.7}
SIZE = "sample size $n$"
# Nats of the departure that are drawn.
DRAWN_CHANGE = (1e-3, 30.0)


def figure(dataset: xr.Dataset, verdict: Verdict) -> dict[str, plotting.Figure]:
    """Draw λ(n) of two units, the departure in n/k³, n(k), the growth of one kink, data sets."""
    with plotting.panels(2, 3, (12.6, 7.6)) as (page, axes):
        _coefficient_panel(axes[0, 0], dataset, "softplus", "1")
        _coefficient_panel(axes[0, 1], dataset, "silu", "3/4")
        _kink_panel(axes[0, 2], dataset)
        _collapse_panel(axes[1, 0], dataset)
        _crossover_panel(axes[1, 1], dataset, verdict)
        _sets_panel(axes[1, 2], dataset)
        axes[0, 0].set_title("Two units, truth 0: ReLU keeps $\\lambda=1/2$;\nsoftplus leaves it "
                             "at $n\\sim k^3$ for $\\lambda=1$")  # fmt: skip
        axes[0, 1].set_title("SiLU leaves it at $n\\sim k^3$ too, and comes\nto its own "
                             "$\\lambda=3/4$ at $n\\sim k^8$ only")  # fmt: skip
        plotting.letter(axes)
    return {"relu_analyticity": page}


def _few(values: np.ndarray) -> list[float]:
    """Choose up to four values from the first to the last."""
    places = sorted({round(i * (len(values) - 1) / 3) for i in range(4)})
    return [float(values[i]) for i in places]


def _coefficient_panel(axis: plotting.Axes, dataset: xr.Dataset, name: str, limit: str) -> None:
    at = dataset.sel(setting=TWO_UNITS)
    n = dataset["n"]
    for value, text in ((0.5, "1/2"), (at["learning_coefficient"].sel(net=name), limit)):
        axis.axhline(float(value), **THEORY)
        axis.text(
            0.01, float(value), text, va="bottom", fontsize=8, transform=axis.get_yaxis_transform()
        )
    for i, k in enumerate(_few(dataset["sharpness"].to_numpy())):
        curve = at["population_coefficient"].sel(activation=name, sharpness=k)
        axis.plot(n, curve, color=COLOURS[i], linestyle=LINES[i], label=f"{SHOWN[name]}, k = {k:g}")
    axis.plot(n, at["relu_population_coefficient"], **RELU)
    axis.set(xscale="log", xlabel=SIZE, ylabel=r"$\lambda(n)=dF_n/d\log n$, exact", ylim=(0.1, 1.1))
    axis.legend(fontsize=7, loc="lower right", handlelength=3.2)


def _kink_panel(axis: plotting.Axes, dataset: xr.Dataset) -> None:
    at = dataset.sel(setting=KINK).dropna("n", subset=["relu_population_free_energy"])
    for i, k in enumerate(_few(dataset["sharpness"].to_numpy())):
        curve = at.sel(activation="softplus", sharpness=k)
        axis.plot(
            at["n"], curve["population_free_energy"], color=COLOURS[i], linestyle=LINES[i],
            label=f"softplus, k = {k:g}",
        )  # fmt: skip
        far = curve["kink_asymptote"].where(curve["kink_asymptote"] > 3)
        axis.plot(
            at["n"][::4], far[::4], color=COLOURS[i], marker="o", markersize=3,
            markerfacecolor="white", linestyle="none",
        )  # fmt: skip
    axis.plot(
        [], [], color=plotting.GREY, marker="o", markersize=3, markerfacecolor="white",
        linestyle="none", label=r"derived, $\propto(n/k^3)^{2/5}$",
    )  # fmt: skip
    axis.plot(at["n"], at["relu_population_free_energy"], **RELU)
    axis.set(xscale="log", yscale="log", xlabel=SIZE, ylabel="$F_n$ without data, exact  [nats]")
    axis.set_title("One kink has no smooth unit: beyond $k^3$\n$F_n$ grows as a power, with no "
                   r"$\lambda$")  # fmt: skip
    axis.legend(fontsize=7, loc="upper left", handlelength=3.2)


def _collapse_panel(axis: plotting.Axes, dataset: xr.Dataset) -> None:
    sharp = [k for k in dataset["sharpness"].to_numpy() if k >= MIN_SHARPNESS]
    # The sharpest net has the scaling function, and is drawn above the others.
    for setting, name, line in (
        (TWO_UNITS, "softplus", "-"), (TWO_UNITS, "silu", "-."), (KINK, "softplus", "--"),
        (KINK, "silu", ":"),
    ):  # fmt: skip
        at = dataset.sel(setting=setting, activation=name)
        gap = abs(at["population_free_energy"] - at["relu_population_free_energy"])
        shown = gap.where((gap > DRAWN_CHANGE[0]) & (gap < DRAWN_CHANGE[1]))
        for k in sharp:
            last = k == sharp[-1]
            axis.plot(
                dataset["n"] / k**3, shown.sel(sharpness=k), linestyle=line,
                color=BY_NET[name] if last else plotting.GREY, linewidth=1.8 if last else 0.7,
                label=f"{SHOWN[name]}, {setting}, k = {k:g}" if last else None,
            )  # fmt: skip
    axis.plot([], [], color=plotting.GREY, linewidth=0.7, label=f"k ≥ {MIN_SHARPNESS:g}, each")
    threshold = float(dataset["threshold"].sel(criterion=FREE_ENERGY))
    axis.axhline(threshold, **THEORY)
    axis.text(2e4, threshold * 1.1, "told apart", ha="right", fontsize=8)
    axis.set(xscale="log", yscale="log", xlim=(1e-3, 3e4), xlabel="$n/k^3$")
    axis.set_ylabel(r"$|F_n-F_n^{\mathrm{ReLU}}|$, exact  [nats]")
    axis.set_title(
        "The departure becomes one curve in $n/k^3$ as\n$k$ grows, last for two SiLU units"
    )
    axis.legend(fontsize=7, loc="upper left", bbox_to_anchor=(0.0, 1.0), handlelength=3.2)


def _crossover_panel(axis: plotting.Axes, dataset: xr.Dataset, verdict: Verdict) -> None:
    k = dataset["sharpness"].to_numpy()
    sets = verdict.numbers["sets"]
    for i, (setting, marker) in enumerate(MARKERS.items()):
        for j, (name, colour) in enumerate(BY_NET.items()):
            size = dataset["crossover_size"].sel(
                setting=setting, activation=name, criterion=FREE_ENERGY
            )
            line = "-" if name == "softplus" else "--"
            axis.plot(
                k, size, color=colour, linestyle=line, marker=marker, markersize=4,
                label=f"{SHOWN[name]}, {setting}",
            )  # fmt: skip
            row = sets[setting][name][FREE_ENERGY]
            if "log10_size" in row:
                low, high = (
                    10 ** (np.array(row["log10_size"]) + sign * 2 * np.array(row["log10_size_se"]))
                    for sign in (-1, 1)
                )
                middle = 10 ** np.array(row["log10_size"])
                axis.errorbar(
                    np.array(row["sharpness"]) * 1.07 ** (2 * i + j - 2.5), middle,
                    [middle - low, high - middle], color=colour, marker=marker, markersize=5,
                    markerfacecolor="white", linestyle="none", capsize=2, linewidth=0.9,
                )  # fmt: skip
    axis.plot(
        [], [], color=plotting.BLACK, marker="o", markersize=5, markerfacecolor="white",
        linestyle="none", label="of data sets ± 2 s.e.",
    )  # fmt: skip
    guide = np.array([2.0, 30.0])
    for power in (2, 3):
        drawn = 1e4 * (guide / guide[0]) ** power
        axis.plot(guide, drawn, **THEORY)
        axis.text(guide[-1], drawn[-1], f" $k^{power}$", fontsize=8, va="center")
    axis.set(xscale="log", yscale="log", xlabel="sharpness $k$", ylim=(0.5, None))
    axis.set_ylabel(r"$n(k)$, from which on $F_n$ is 0.1 nats off")
    axis.set_title("Sharper nets look like ReLU nets for longer:\n$n(k)\\sim k^3$, and a lower "
                   "power for one unit at 0")  # fmt: skip
    axis.legend(fontsize=6.5, loc="lower right", handlelength=3.2)


def _sets_panel(axis: plotting.Axes, dataset: xr.Dataset) -> None:
    at = dataset.sel(setting=TWO_UNITS)
    n, count = dataset["set_n"].to_numpy(), dataset.sizes["replicate"] ** 0.5
    shown = dataset["set_sharpness"].to_numpy()[[0, -1]]
    looks = zip("so^D", (1.15**i for i in (-1.5, -0.5, 0.5, 1.5)), strict=True)
    for (name, colour), k in ((each, k) for each in BY_NET.items() for k in shown):
        one, (marker, aside) = at.sel(activation=name, set_sharpness=k), next(looks)
        slope, error = (
            one[variable] - at[f"relu_{variable}"]
            for variable in ("coefficient_of_set", "scaled_bayes_excess")
        )
        axis.plot(
            n, slope.mean("replicate"), color=colour, linestyle="-" if k == shown[0] else "--"
        )
        axis.errorbar(
            n * aside, error.mean("replicate"), 2 * error.std("replicate", ddof=1) / count,
            color=colour, marker=marker, markerfacecolor="white", linestyle="none", capsize=2,
            label=f"$nB_g$ ± 2 s.e., {SHOWN[name]}, k = {k:g}",
        )  # fmt: skip
    axis.plot([], [], color=plotting.GREY, label=r"lines: $dF_n/d\log n$, mean")
    axis.axhline(0.0, **THEORY)
    axis.set(xscale="log", xlabel=SIZE)
    axis.set_ylim(top=1.3 * axis.get_ylim()[1])
    axis.set_ylabel("minus that of ReLU on the same data,\nexact for each data set")
    axis.set_title("Data sets say the same: two units, truth 0,\ngeneralise alike up to $n(k)$ "
                   "only")  # fmt: skip
    axis.legend(fontsize=7, loc="upper left", handlelength=3.2)

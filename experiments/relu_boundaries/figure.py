"""The figure of relu_boundaries: gaps that close, breakpoints that hide, and λ by kinks."""

from typing import Any

import numpy as np
import xarray as xr

from slt_jax.report import plotting
from slt_jax.report.verdict import Verdict

LINES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1)), (0, (3, 1, 1, 1, 1, 1)), (0, (1, 1)), (0, (8, 2)))
MARKERS = "osD^vP"
SIZE = "sample size $n$"
COLOURS = (
    plotting.BLACK, plotting.BLUE, plotting.GREEN, plotting.ORANGE, plotting.RED, plotting.PURPLE,
    plotting.SKY, plotting.GREY,
)  # fmt: skip
WAYS = {
    "silent": (plotting.ORANGE, "--", "s", "silent"),
    "merged": (plotting.BLUE, "-", "o", "merged"),
    "dead": (plotting.GREY, ":", "D", "dead"),
}


def figure(dataset: xr.Dataset, verdict: Verdict) -> dict[str, plotting.Figure]:
    """Draw λ(n) by gap, the crossovers, posteriors of a breakpoint, and λ and degeneracies."""
    agrees = bool(verdict.numbers["sampled"]["agrees"])
    with plotting.panels(2, 3, (12.6, 7.6)) as (page, axes):
        _gap_panel(
            axes[0, 0], dataset, "same sign", [(4 / 3, "4/3")],
            "Two kinks of one sign merge: $\\lambda$ falls from 2 to 4/3,\nbut $n$ sees gaps",
        )  # fmt: skip
        _gap_panel(
            axes[0, 1], dataset, "annihilating", [(1.0, "1")],
            "Two opposite ones annihilate: from 2 to 1; the dip\nis where a step turns out a ramp",
        )  # fmt: skip
        _crossover_panel(axes[0, 2], dataset, verdict)
        _posterior_panel(axes[1, 0], dataset, agrees)
        _coefficient_panel(axes[1, 1], dataset)
        _degeneracy_panel(axes[1, 2], dataset)
        plotting.letter(axes)
    return {"relu_boundaries": page}


def _gap_panel(
    axis: plotting.Axes,
    dataset: xr.Dataset,
    kind: str,
    limits: list[tuple[float, str]],
    title: str,
) -> None:
    gaps = dataset["gap"].to_numpy()
    for i, gap in enumerate(gaps):
        curve = dataset["gap_coefficient"].sel(kind=kind, gap=gap)
        bound = dataset["gap_coefficient_error"].sel(kind=kind, gap=gap)
        colour, line = COLOURS[i % len(COLOURS)], LINES[i % len(LINES)]
        axis.plot(dataset["n"], curve, color=colour, linestyle=line, label=f"{gap:g}")
        axis.fill_between(
            dataset["n"], curve - bound, curve + bound, color=colour, alpha=0.25, linewidth=0
        )
    for value, text in [*limits, (2.0, "2")]:
        axis.axhline(value, color=plotting.GREY, linewidth=0.6)
        axis.annotate(
            f"$\\lambda={text}$", (1.0, value), xycoords=("axes fraction", "data"),
            xytext=(-2, 3), textcoords="offset points", ha="right", fontsize=8,
        )  # fmt: skip
    axis.set(xscale="log", ylim=(0.6, 2.75), xlabel=SIZE)
    axis.set_ylabel(r"$\lambda(n)=n\,\mathrm{E}[K]$ (exact; bands: bounds)")
    axis.set_title(title)
    axis.legend(
        fontsize=7, loc="upper left", ncols=4, handlelength=3.0, columnspacing=1.0,
        title="gap $g$ between the breakpoints", title_fontsize=7,
    )  # fmt: skip


def _crossover_panel(axis: plotting.Axes, dataset: xr.Dataset, verdict: Verdict) -> None:
    rows = verdict.numbers["crossovers"]["rows"]
    looks = zip(COLOURS[1:], LINES, MARKERS, strict=False)
    gaps = dataset["gap"].to_numpy()[1:]
    for (name, row), (colour, line, marker) in zip(rows.items(), looks, strict=False):
        at = dataset.sel(level=name)
        n, error = (at[f"crossing_size{end}"].to_numpy()[1:] for end in ("", "_error"))
        fitted = "not measured"
        if row["exponent"] is not None:
            fitted = f"$p={row['exponent']:.3f}\\pm{row['half_width']:.3f}$"
        axis.errorbar(
            gaps, n, [n * -np.expm1(-error), n * np.expm1(np.minimum(error, 3.0))], color=colour,
            marker=marker, markerfacecolor="white", linestyle="none", capsize=2,
            label=f"{name}: {fitted}, derived {row['derived']}",
        )  # fmt: skip
        if np.isfinite(n[0]):
            power = n[0] * (gaps / gaps[0]) ** -row["derived"]
            axis.plot(gaps, power, color=colour, linestyle=line)
    axis.plot([], [], color=plotting.BLACK, label="lines: derived powers through the least gap")
    axis.set(xscale="log", yscale="log", xlabel="gap $g$ between the breakpoints")
    axis.set_ylabel("$n$ of the crossover")
    axis.set_title("A gap is seen from $n\\sim g^{-p}$ on: $p=3$ where kinks\nmerge, 2 where they "
                   "annihilate, 3 again for the place")  # fmt: skip
    low, high = axis.get_ylim()
    axis.set_ylim(low, high * (high / low) ** 0.4)
    axis.legend(fontsize=7, loc="upper right", handlelength=3.2)


def _posterior_panel(axis: plotting.Axes, dataset: xr.Dataset, agrees: bool) -> None:
    at = dataset.isel(posterior_n=-1)
    centres = dataset["bin"].to_numpy()
    width = centres[1] - centres[0]
    edges = np.append(centres - width / 2, centres[-1] + width / 2)
    for i, case in enumerate(at["case"].to_numpy().tolist()):
        one, colour = at.sel(case=case), COLOURS[i]
        axis.stairs(one["bin_share"] / width, edges, color=colour, linestyle=LINES[i], label=case)
        axis.errorbar(
            centres + (i - 1) * width / 5, one["sampled_bin_share"] / width,
            2 * one["sampled_bin_share_se"] / width, color=colour, marker=MARKERS[i],
            markersize=3.5, markerfacecolor="white", linestyle="none", capsize=1.5,
        )  # fmt: skip
        if not bool(one["posterior_converged"]):
            axis.plot(
                centres, one["sampled_bin_share"] / width, color=colour, marker="x",
                linestyle="none", label="not converged",
            )  # fmt: skip
    axis.errorbar(
        [], [], [], color=plotting.BLACK, marker="o", markersize=3.5, markerfacecolor="white",
        linestyle="none", capsize=1.5, label="sampled ± 2 s.e. (lines: exact)",
    )  # fmt: skip
    axis.set(xlabel="first breakpoint $t_1$", ylabel="posterior density")
    axis.set_ylim(0.0, 1.5 * axis.get_ylim()[1])
    told = "samples agree" if agrees else "samples DISAGREE"
    axis.set_title(
        f"Given {int(at['posterior_n'])} data the breakpoint of an annihilated pair\n"
        f"spreads over the prior's box ({told})"
    )
    axis.legend(fontsize=7, loc="upper right")


def _coefficient_panel(axis: plotting.Axes, dataset: xr.Dataset) -> None:
    kinks = dataset["kinks"].to_numpy()
    units = int(dataset["units"][-1])
    at = dataset.sel(units=units)
    for i, (way, (colour, line, marker, text)) in enumerate(WAYS.items()):
        axis.plot(
            kinks, at["representation_limit"].sel(way=way), color=colour, linestyle=line,
            label=f"$\\lambda$, surplus units {text}",
        )  # fmt: skip
        if way not in dataset["sampled_way"].to_numpy():
            continue
        run = at.sel(sampled_way=way).isel(sampled_n=-1)
        place = kinks + (i - 0.5) * 0.08
        axis.errorbar(
            place, run["sampled_coefficient"], 2 * run["sampled_coefficient_se"], color=colour,
            marker=marker, markerfacecolor="white", linestyle="none", capsize=2,
            label=f"sampled $\\lambda(n)$, {text} ± 2 s.e.",
        )  # fmt: skip
        bad = ~run["converged"].to_numpy() & np.isfinite(run["sampled_coefficient"].to_numpy())
        if bad.any():
            axis.plot(
                place[bad], run["sampled_coefficient"][bad], color=plotting.BLACK, marker="x",
                markersize=9, linestyle="none", label="not converged",
            )  # fmt: skip
    _by_kinks(axis, kinks)
    axis.set_ylabel("local learning coefficient")
    axis.set_ylim(-0.2, 1.45 * units)
    n = float(dataset["sampled_n"][-1])
    axis.set_title(f"{units} units: every kink less lowers the local $\\lambda$,\n"
                   f"and $\\lambda(n)$ at $n={n:g}$")  # fmt: skip
    axis.legend(fontsize=7, loc="upper left", handlelength=3.0)


def _degeneracy_panel(axis: plotting.Axes, dataset: xr.Dataset) -> None:
    kinks = dataset["kinks"].to_numpy()
    units = int(dataset["units"][-1])
    at = dataset.sel(units=units)
    common: dict[str, Any] = {"markerfacecolor": "white"}
    for i, (way, (colour, line, marker, text)) in enumerate(WAYS.items()):
        place = kinks + (i - 1) * 0.06
        axis.plot(
            place, at["fibre"].sel(way=way), color=colour, linestyle=line, marker=marker,
            label=f"level set, {text}", **common,
        )  # fmt: skip
        axis.plot(
            place, at["nullity"].sel(way=way), color=colour, linestyle="none", marker="+",
            markersize=10, label=f"to first order, {text}",
        )  # fmt: skip
    _by_kinks(axis, kinks)
    axis.set_ylabel("number of local degeneracies")
    axis.set_ylim(-0.3, 2.9 * units)
    axis.set_title(f"{units} units: one degeneracy more for every kink less,\ntwo if the unit dies "
                   "or, to first order, merges")  # fmt: skip
    axis.legend(fontsize=7, loc="upper right", ncols=2)


def _by_kinks(axis: plotting.Axes, kinks: np.ndarray) -> None:
    axis.set_xticks(kinks)
    axis.set_xlabel("kinks $k$ of the function ($k+1$ pieces)")

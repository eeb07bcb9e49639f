"""The figure of the unrealisable problems: both errors, and what separates them."""

from collections.abc import Mapping

import numpy as np
import xarray as xr

from experiments.learning_curves.verdict import mean_of
from experiments.unrealisable.study import kind_of
from experiments.unrealisable.verdict import BAYES, GIBBS, expected, separation, states
from slt_jax.estimators import Estimate
from slt_jax.problem import Problem
from slt_jax.report import plotting

SIDESTEP = 1.15
LOOKS = (
    ("bayes", BAYES, "B_g", plotting.BLUE, "o", "-"),
    ("gibbs", GIBBS, "G_g", plotting.ORANGE, "s", "--"),
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


def unrealisable_figure(
    problems: Mapping[str, Problem], curves: Mapping[str, xr.Dataset]
) -> plotting.Figure:
    """Rows: nB_g and nG_g; n(G_g − B_g) beside V_n/2 and ν; the equations of state over V_n/2."""
    columns = len(curves)
    with plotting.panels(3, columns, (2.75 * columns + 0.6, 8.8)) as (figure, axes):
        for column, (name, curve) in enumerate(curves.items()):
            kind = kind_of(problems[name], curve)
            _error_panel(axes[0, column], problems[name], curve)
            _separation_panel(axes[1, column], curve)
            _state_panel(axes[2, column], curve)
            title = problems[name].title.removesuffix("; unrealisable")
            title = title.removesuffix(" (unrealisable)").replace(", truth", ",\ntruth")
            if "\n" not in title:
                title = title.replace(", ", ",\n", 1)
            letter = "abcdefgh"[column]
            axes[0, column].set_title(f"({letter}) {TITLES[kind]}\n{title}")
            axes[2, column].set_xlabel("sample size $n$")
        for row, label in enumerate(
            (
                r"$n\,\times$ generalisation error  [nats]",
                r"$n(G_g-B_g)$  [nats]",
                "equations of state,\n" + r"left side over $V_n/2$",
            )
        ):
            axes[row, 0].set_ylabel(label)
            handles = {
                text: handle
                for axis in axes[row]
                for handle, text in zip(*axis.get_legend_handles_labels(), strict=True)
            }
            for axis in axes[row]:
                axis.set_xscale("log")
                axis.xaxis.set_minor_formatter(plotting.NullFormatter())
            axes[row, -1].legend(
                list(handles.values()), list(handles), loc="center left",
                bbox_to_anchor=(1.02, 0.5), fontsize=8, handlelength=3.0,
            )  # fmt: skip
    return figure


def _error_panel(axis: plotting.Axes, problem: Problem, curve: xr.Dataset) -> None:
    """Lines are exact; where data sets can be averaged over exactly, over all of them."""
    whole = expected(curve)
    for name, quantity, symbol, colour, marker, line in LOOKS:
        exact = mean_of(curve, quantity)
        if whole is None:
            axis.errorbar(
                curve["n"], exact.value, exact.half_width(), color=colour, linestyle=line,
                capsize=0, elinewidth=2.5, alpha=0.9,
                label=f"exact $n{symbol}$, 95 % over data sets",
            )  # fmt: skip
        else:
            axis.plot(
                whole["n"], whole[name], color=colour, linestyle=line,
                marker=".", label=f"exact $n{symbol}$, all data sets",
            )  # fmt: skip
        _sampled_points(axis, curve, quantity, symbol, colour, marker)
    axis.axhline(0.0, color=plotting.BLACK, linewidth=0.6)
    if problem.theory is None:
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
        return
    coefficient = float(problem.theory.learning_coefficient)
    axis.axhline(
        coefficient, color=plotting.GREY, linestyle=":", linewidth=1.1, label=r"limit $\lambda$"
    )
    nu = float(curve["regular_fluctuation"])
    known = np.isfinite(nu)
    nu = nu if known else mean_of(curve, "functional_variance").value[-1] / 2
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
    quantity: str,
    symbol: str,
    colour: str,
    marker: str,
) -> None:
    sampled = np.isfinite(curve["functional_variance"].to_numpy()).any(axis=1)
    at = curve.isel(n=sampled)
    good = at["converged"].to_numpy().all(axis=1)
    found = mean_of(at, quantity, sampled=True)
    place = at["n"].to_numpy() * SIDESTEP
    axis.errorbar(
        place, found.value, found.half_width(), color=colour, marker=marker,
        markerfacecolor="white", linestyle="none", capsize=2.5,
        label=f"SMC $n{symbol}$, 95 % over data sets",
    )  # fmt: skip
    if not good.all():
        axis.plot(
            place[~good], found.value[~good], color=plotting.BLACK, marker="x", markersize=8,
            linestyle="none", label="some jobs not converged",
        )  # fmt: skip


def _separation_panel(axis: plotting.Axes, curve: xr.Dataset) -> None:
    n = curve["n"].to_numpy()
    whole = expected(curve)
    if whole is None:
        found = _stacked(separation(curve))
        axis.errorbar(
            n, found.value, found.half_width(), color=plotting.BLACK, capsize=0, elinewidth=2.5,
            label="exact $n(G_g-B_g)$, 95 %",
        )  # fmt: skip
    else:
        axis.plot(
            whole["n"], whole["gibbs"] - whole["bayes"], color=plotting.BLACK, marker=".",
            label="exact, all data sets",
        )  # fmt: skip
        if whole["gibbs"][-1] - whole["bayes"][-1] > 20:
            axis.set_yscale("log")
    variance = mean_of(curve, "functional_variance").scaled(0.5)
    axis.errorbar(
        n / SIDESTEP, variance.value, variance.half_width(), color=plotting.PURPLE, marker="D",
        markerfacecolor="white", linestyle="none", capsize=2.5, label="exact $V_n/2$, 95 %",
    )  # fmt: skip
    sampled = np.isfinite(curve["functional_variance"].to_numpy()).any(axis=1)
    at = curve.isel(n=sampled)
    smc = _stacked(separation(at, sampled=True))
    axis.errorbar(
        at["n"] * SIDESTEP, smc.value, smc.half_width(), color=plotting.GREEN, marker="^",
        markerfacecolor="white", linestyle="none", capsize=2.5, label="SMC $n(G_g-B_g)$, 95 %",
    )  # fmt: skip
    nu = float(curve["regular_fluctuation"])
    if np.isfinite(nu):
        axis.axhline(
            nu, color=plotting.GREY, linestyle="-.", linewidth=1.1,
            label=r"$\nu=\mathrm{tr}(IJ^{-1})/2$" + "\n(at one optimum)",
        )  # fmt: skip
    if axis.get_yscale() == "linear":
        axis.set_ylim(0.0, 1.1 * axis.get_ylim()[1])


def _state_panel(axis: plotting.Axes, curve: xr.Dataset) -> None:
    """Each would lie at 1: B_g − B_t = 2(G_t − B_t) = G_g − G_t = V_n/n."""
    n = curve["n"].to_numpy()
    found = states(curve)
    for index, (route, label, colour, marker) in enumerate(STATES):
        ratio = found[route]
        axis.errorbar(
            n * SIDESTEP ** ((index - 1) / 1.5), ratio.value, ratio.half_width(), color=colour,
            marker=marker, markerfacecolor="white", linewidth=0.9, linestyle="-", capsize=2,
            label=f"{label}, 95 %",
        )  # fmt: skip
    axis.axhline(
        1.0, color=plotting.BLACK, linestyle=":", linewidth=1.0, label="equations of state"
    )
    axis.set_ylim(min(0.0, axis.get_ylim()[0]), max(2.0, axis.get_ylim()[1]))


def _stacked(estimates: list[Estimate]) -> Estimate:
    return Estimate(
        np.array([float(e.value) for e in estimates]),
        np.array([float(e.standard_error) for e in estimates]),
        estimates[0].degrees_of_freedom,
    )

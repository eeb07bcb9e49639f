"""The figure of the learning curves: errors, ν̂ and the slope of F_n, a column per problem."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from experiments.learning_curves.verdict import (
    ROUTES,
    fluctuations,
    leading_slope,
    mean_of,
    scales_of,
    slopes,
)
from slt_jax.problem import Problem
from slt_jax.report import plotting
from slt_jax.theory import Theory

SIDESTEP = 1.12
LEGEND_ROWS = ("(a) generalisation", "(b) training", "(c) singular fluctuation", "(d) priors")
ERRORS = (
    ("generalisation", "_g", +1),
    ("training", "_t", -1),
)
ERROR_LOOKS = (("bayes", "B", plotting.BLUE, "o", "-"), ("gibbs", "G", plotting.ORANGE, "s", "--"))
ROUTE_LOOKS: tuple[tuple[str, str, Any], ...] = (
    (plotting.BLACK, "o", "-"),
    (plotting.BLUE, "s", "--"),
    (plotting.ORANGE, "D", "-."),
    (plotting.GREEN, "^", ":"),
    (plotting.RED, "v", (0, (5, 1, 1, 1))),
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


def learning_figure(
    problems: Mapping[str, Problem], curves: Mapping[str, xr.Dataset]
) -> plotting.Figure:
    """Rows: nB_g and nG_g, nB_t and nG_t, ν̂ by five routes, and dE[F_n]/d log n by prior."""
    columns = len(curves) + 1
    scales = sorted({float(s) for curve in curves.values() for s in scales_of(curve)})
    looks = dict(zip(scales, PRIOR_LOOKS, strict=False))
    with plotting.panels(4, columns, (2.55 * columns, 9.6)) as (figure, axes):
        for column, (name, curve) in enumerate(curves.items()):
            theory = problems[name].theory
            assert theory is not None
            for row, (kind, letter, sign) in enumerate(ERRORS):
                _error_panel(axes[row, column], curve, theory, kind, letter, sign)
            _fluctuation_panel(axes[2, column], curve)
            _prior_panel(axes[3, column], curve, theory, looks)
            title = problems[name].title.replace(", ", ",\n", 1)
            axes[0, column].set_title(
                f"{title}\n"
                rf"$\lambda={theory.learning_coefficient}$, $m={theory.multiplicity}$"
            )
            axes[2, column].set_xlabel("sample size $n$")
            axes[3, column].set_xlabel("sample size $n$")
        for row, label in enumerate(
            (
                r"$n\,\times$ generalisation error  [nats]", r"$n\,\times$ training error  [nats]",
                r"$\hat\nu$  [nats]", r"$d\,\mathrm{E}F_n/d\log n$  [nats]",
            )
        ):  # fmt: skip
            axes[row, 0].set_ylabel(label)
            handles = {
                text: handle
                for axis in axes[row, :-1]
                for handle, text in zip(*axis.get_legend_handles_labels(), strict=True)
            }
            for axis in axes[row, :-1]:
                axis.set_xscale("log")
                axis.xaxis.set_minor_formatter(plotting.NullFormatter())
            axes[row, -1].axis("off")
            axes[row, -1].legend(
                list(handles.values()), list(handles), loc="center left",
                title=LEGEND_ROWS[row], fontsize=8, handlelength=3.2, alignment="left",
            )  # fmt: skip
    return figure


def _error_panel(
    axis: plotting.Axes, curve: xr.Dataset, theory: Theory, kind: str, letter: str, sign: int
) -> None:
    n = curve["n"].to_numpy()
    sampled = np.isfinite(curve["functional_variance"].to_numpy()).any(axis=1)
    good = curve["converged"].to_numpy()[sampled].all(axis=1)
    for rule, symbol, colour, marker, line in ERROR_LOOKS:
        quantity = f"{rule}_{kind}_error"
        exact = mean_of(curve, quantity)
        axis.errorbar(
            n, exact.value, exact.standard_error, color=colour, linestyle=line, capsize=0,
            elinewidth=2.5, label=f"exact $n{symbol}{letter}$ ± 1 s.e.\n(over data sets)",
        )  # fmt: skip
        at = curve.isel(n=sampled)
        found = mean_of(at, quantity, sampled=True)
        place = at["n"].to_numpy() * SIDESTEP
        axis.errorbar(
            place, found.value, found.half_width(), color=colour, marker=marker,
            markerfacecolor="white", linestyle="none", capsize=2,
            label=f"SMC $n{symbol}{letter}$, 95 % interval",
        )  # fmt: skip
        axis.plot(
            place[~good], found.value[~good], color=plotting.BLACK, marker="x", markersize=8,
            linestyle="none", label="" if good.all() else "some jobs not converged",
        )  # fmt: skip
    coefficient = float(theory.learning_coefficient)
    nu = mean_of(curve, "functional_variance").value[-1] / 2
    # B_g → λ and G_g → λ + ν, B_t → λ − 2ν and G_t → λ − ν.
    for rule, level, line in (
        ("B", coefficient if sign > 0 else coefficient - 2 * nu, ":"),
        ("G", coefficient + sign * nu, "-."),
    ):
        known = {
            ("B", 1): r"\lambda", ("G", 1): r"\lambda+\hat\nu", ("B", -1): r"\lambda-2\hat\nu",
            ("G", -1): r"\lambda-\hat\nu",
        }[rule, sign]  # fmt: skip
        axis.axhline(
            level, color=plotting.GREY, linestyle=line, linewidth=0.9, label=f"limit ${known}$"
        )


def _fluctuation_panel(axis: plotting.Axes, curve: xr.Dataset) -> None:
    n = curve["n"].to_numpy()
    looks = zip(fluctuations(curve).items(), ROUTE_LOOKS, strict=True)
    for index, ((route, found), (colour, marker, line)) in enumerate(looks):
        axis.errorbar(
            n * SIDESTEP ** ((index - 2) / 2), [float(e.value) for e in found],
            [2 * float(e.standard_error) for e in found], color=colour, marker=marker,
            markersize=3.5, linewidth=0.9, linestyle=line, capsize=1.5,
            label=f"{ROUTES[route]} ± 2 s.e.",
        )  # fmt: skip


def _prior_panel(
    axis: plotting.Axes, curve: xr.Dataset, theory: Theory, looks: dict[float, tuple[str, Any]]
) -> None:
    own = float(curve["own_prior_scale"])
    coefficient = float(theory.learning_coefficient)
    for scale in scales_of(curve):
        middle, slope = slopes(curve, scale)
        colour, line = looks[float(scale)]
        axis.plot(
            middle, slope.value, color=colour, linestyle=line, label=f"prior $N(0, {scale:g}^2)$"
        )
        axis.fill_between(
            middle, slope.value - 2 * slope.standard_error, slope.value + 2 * slope.standard_error,
            color=colour, alpha=0.25, linewidth=0,
        )  # fmt: skip
    exact = mean_of(curve, "bayes_generalisation_error")
    axis.errorbar(
        curve["n"], exact.value, 2 * exact.standard_error, color=plotting.BLUE, marker="o",
        markersize=3.5, markerfacecolor="white", linestyle="none", capsize=1.5,
        label=f"exact $nB_g$ ± 2 s.e.,\n$N(0, {own:g}^2)$",
    )  # fmt: skip
    axis.axhline(
        coefficient, color=plotting.GREY, linestyle="--", linewidth=0.9, label=r"$\lambda$"
    )
    axis.axhspan(
        0.8 * coefficient, 1.2 * coefficient, color=plotting.GREY, alpha=0.15, linewidth=0,
        label=r"$\lambda$ ± 20 %",
    )  # fmt: skip
    if theory.multiplicity > 1:
        shown = middle[leading_slope(theory, middle) > 0]
        axis.plot(
            shown, leading_slope(theory, shown), color=plotting.PURPLE, linewidth=0.9,
            label=r"$\lambda-(m-1)/\log n$",
        )  # fmt: skip
    largest = slopes(curve, own)[1].value.max()
    axis.set_ylim(min(0.0, axis.get_ylim()[0]), 1.35 * max(coefficient, largest))

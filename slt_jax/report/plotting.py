"""Figure style and the plots that experiments share; the only room that imports matplotlib."""

import contextlib
import io
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import xarray as xr
from matplotlib.axes import Axes as Axes
from matplotlib.figure import Figure as Figure
from matplotlib.ticker import NullFormatter as NullFormatter
from matplotlib.ticker import NullLocator

from slt_jax.estimators import Estimate, mean_over_data_sets, monte_carlo_mean
from slt_jax.run.store import replace_file
from slt_jax.theory import Theory

# Okabe–Ito colours, told apart by the colour-blind; markers and dashes tell them apart in grey.
BLACK, BLUE, ORANGE, GREEN, RED, GREY, PURPLE, SKY = (
    "#000000", "#0072B2", "#E69F00", "#009E73", "#D55E00", "#777777", "#CC79A7", "#56B4E9",
)  # fmt: skip
COLOURS = (BLACK, BLUE, ORANGE, GREEN, RED, PURPLE, SKY, GREY)
GAP_LINEAR = 0.1
SIDESTEP = 1.08
STYLE: dict[Any, Any] = {
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "lines.linewidth": 1.3,
    "lines.markersize": 4.5,
    "svg.fonttype": "none",
    "svg.hashsalt": "slt_jax",
    "pdf.fonttype": 42,
    "figure.autolayout": False,
    "figure.constrained_layout.use": False,
}


def free_energy_figure(
    curves: dict[str, xr.Dataset], theories: dict[str, Theory | None], titles: dict[str, str]
) -> Figure:
    """A panel per problem: F_n − nL_n(w₀) against n, and sampled minus exact below it.

    ``curves`` hold the variables of the free-energy experiment, dimensions (n, replicate), and
    are averaged over replicates.
    """
    columns = min(3, len(curves))
    rows = -(-len(curves) // columns)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(3.5 * columns, 3.3 * rows + 0.7), layout="constrained")
        grid = figure.add_gridspec(2 * rows, columns, height_ratios=[3, 1.1] * rows)
        axes = []
        for index, (name, curve) in enumerate(curves.items()):
            row, column = divmod(index, columns)
            upper = figure.add_subplot(grid[2 * row, column])
            lower = figure.add_subplot(grid[2 * row + 1, column], sharex=upper)
            _curve_panel(upper, curve, theories[name])
            _residual_panel(lower, curve)
            upper.set_title(titles[name])
            upper.tick_params(labelbottom=False)
            if column == 0:
                upper.set_ylabel(r"$F_n - nL_n(w_0)$  [nats]")
                lower.set_ylabel("sampled −\nexact")
            if index + columns >= len(curves):
                lower.set_xlabel("sample size $n$")
            lower.xaxis.set_minor_locator(NullLocator())
            axes.append(upper)
        handles: dict[str, Any] = {}
        for axis in axes:
            for handle, label in zip(*axis.get_legend_handles_labels(), strict=True):
                handles.setdefault(label, handle)
        figure.legend(list(handles.values()), list(handles), loc="outside upper center", ncols=4)
        _fix_layout(figure)
    return figure


def _curve_panel(axis: Axes, curve: xr.Dataset, theory: Theory | None) -> None:
    n = curve["n"].to_numpy()
    top = [0.0]
    if "exact_free_energy" in curve:
        exact = mean_over_data_sets(curve["exact_free_energy"])
        axis.plot(n, exact.value, color=BLACK, label=r"exact $F_n$, mean over data sets")
        axis.fill_between(
            n, exact.value - exact.standard_error, exact.value + exact.standard_error,
            color=GREY, alpha=0.3, linewidth=0, label="± 1 standard error between data sets",
        )  # fmt: skip
        top.append(float(np.max(exact.value)))
    sampled = np.isfinite(curve["free_energy"].to_numpy()).all(axis=1)
    m = n[sampled]
    converged = curve["converged"].to_numpy()[sampled].astype(bool).all(axis=1)
    for quantity, colour, marker, label, offset in (
        ("free_energy", BLUE, "o", r"SMC $F_n$, 95 % Monte-Carlo interval", 1.0),
        ("wbic", ORANGE, "s", r"WBIC $- nL_n(w_0)$, likewise", 1.07),
    ):
        estimate = _over_replicates(curve, quantity, sampled)
        axis.errorbar(
            m * offset, estimate.value, estimate.half_width(), color=colour, marker=marker,
            markerfacecolor="white" if marker == "s" else colour, linestyle="none", capsize=2,
            label=label,
        )  # fmt: skip
        top.append(float(np.nanmax(estimate.value)))
    if not converged.all():
        unconverged = _over_replicates(curve, "free_energy", sampled).value[~converged]
        axis.plot(
            m[~converged], unconverged, color=BLACK, marker="x", markersize=10, linestyle="none",
            label="not converged",
        )  # fmt: skip
    if theory is not None:
        axis.text(
            0.97, 0.04, rf"$\lambda={theory.learning_coefficient}$, $m={theory.multiplicity}$",
            transform=axis.transAxes, ha="right",
        )  # fmt: skip
        offset_n, anchor = _anchor(curve, sampled)
        asymptote = theory.free_energy_asymptote(n)
        constant = anchor - float(theory.free_energy_asymptote(offset_n))
        axis.plot(
            n, asymptote + constant, color=GREEN, linestyle="--",
            label=r"$\lambda\log n-(m-1)\log\log n$ + const.",
        )  # fmt: skip
        top.append(float(np.max(asymptote + constant)))
    bic = curve["bic"].to_numpy()[sampled].mean(axis=1)
    axis.plot(m, bic, color=RED, linestyle=":", marker="^", label=r"BIC $- nL_n(w_0)$")
    axis.set_xscale("log")
    low = min(0.0, float(axis.get_ylim()[0]) if axis.get_ylim()[0] > -3 else -1.0)
    axis.set_ylim(low, 1.35 * max(top) + 0.3)


def _anchor(curve: xr.Dataset, sampled: np.ndarray) -> tuple[float, float]:
    """Largest n with a free energy, exact where there is one, and its mean over data sets."""
    if "exact_free_energy" in curve:
        return float(curve["n"][-1]), float(curve["exact_free_energy"][-1].mean())
    last = int(np.flatnonzero(sampled)[-1])
    return float(curve["n"][last]), float(curve["free_energy"][last].mean())


def _over_replicates(curve: xr.Dataset, quantity: str, sampled: np.ndarray) -> Estimate:
    """Mean over data sets with the Monte-Carlo error alone."""
    return monte_carlo_mean(
        Estimate(
            curve[quantity].to_numpy()[sampled],
            curve[f"{quantity}_se"].to_numpy()[sampled],
            float(curve.attrs["degrees_of_freedom"]),
        )
    )


def _residual_panel(axis: Axes, curve: xr.Dataset) -> None:
    axis.axhline(0.0, color=BLACK, linewidth=0.8)
    n = curve["n"].to_numpy()
    if "exact_free_energy" not in curve:
        axis.text(0.5, 0.5, "no oracle", transform=axis.transAxes, ha="center", va="center")
        axis.set_yticks([])
        axis.spines["left"].set_visible(False)
        return
    sampled = np.isfinite(curve["free_energy"].to_numpy()).all(axis=1)
    for quantity, colour, marker, offset in (
        ("free_energy", BLUE, "o", 1.0),
        ("wbic", ORANGE, "s", 1.07),
    ):
        estimate = _over_replicates(curve, quantity, sampled)
        exact = curve[f"exact_{quantity}"].to_numpy()[sampled].mean(axis=1)
        axis.errorbar(
            n[sampled] * offset, estimate.value - exact, estimate.half_width(), color=colour,
            marker=marker, markersize=3.5, linestyle="none", capsize=2,
            markerfacecolor="white" if marker == "s" else colour,
        )  # fmt: skip


def increment_figure(curves: dict[str, xr.Dataset], titles: dict[str, str]) -> Figure:
    """How far the exact free energy's growth per decade of n is from the theory's.

    One line per problem, each of which must have ``increment_gap``, on a scale that is linear near
    zero, where the lines must end.
    """
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(7.6, 4.2), layout="constrained")
        axis = figure.add_subplot()
        looks = zip(itertools.cycle(COLOURS), itertools.cycle("os^DvPX*"), strict=False)
        for index, ((name, curve), (colour, marker)) in enumerate(
            zip(curves.items(), looks, strict=False)
        ):
            n = curve["decade_from"].to_numpy() * SIDESTEP ** (index - (len(curves) - 1) / 2)
            axis.errorbar(
                n, curve["increment_gap"].to_numpy(), curve["increment_gap_se"].to_numpy(),
                color=colour, marker=marker, linewidth=0.9, elinewidth=0.9, capsize=2,
                label=titles[name],
            )  # fmt: skip
        axis.axhline(0.0, color=BLACK, linewidth=0.8)
        axis.set_xscale("log")
        axis.set_yscale("symlog", linthresh=GAP_LINEAR, linscale=1.0)
        axis.set_xlabel("sample size $n$")
        axis.set_ylabel("exact − asymptotic growth of $F_n$\nfrom $n$ to $10n$  [nats]")
        figure.legend(loc="outside right upper", title="± 1 s.e. between data sets")
        _fix_layout(figure)
    return figure


@contextlib.contextmanager
def panels(rows: int, columns: int, size: tuple[float, float]) -> Iterator[tuple[Figure, Any]]:
    """A figure of ``size`` inches and its axes [rows, columns], laid out when the block ends."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=size, layout="constrained")
        yield figure, figure.subplots(rows, columns, squeeze=False)
        _fix_layout(figure)


def _fix_layout(figure: Figure) -> None:
    """Lay out once: a second layout at the next save would move everything a little.

    "none" would leave a placeholder, and each save would draw twice for it.
    """
    figure.draw_without_rendering()
    figure.set_layout_engine(None)


def save_figure(figure: Figure, stem: str, *folders: Path) -> None:
    """Write the figure as PNG, SVG and PDF into each of ``folders``, each whole or not at all."""
    with matplotlib.rc_context(STYLE):
        for kind, metadata in (
            ("png", {}),
            ("svg", {"Date": None}),
            ("pdf", {"CreationDate": None}),
        ):
            drawn = io.BytesIO()
            figure.savefig(drawn, format=kind, dpi=200, metadata=metadata)
            for folder in folders:
                with replace_file(folder / f"{stem}.{kind}") as temporary:
                    temporary.write_bytes(drawn.getvalue())

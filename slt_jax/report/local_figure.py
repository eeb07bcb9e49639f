"""The figure of local learning coefficients: along checkpoints, and what each of them rests on."""

from typing import Any

import numpy as np
import xarray as xr

from slt_jax.report import plotting

MAX_SCANS = 5
PANEL = (3.1, 2.5)


def local_figure(table: xr.Dataset, scan: xr.Dataset, is_list: bool) -> plotting.Figure:
    """Draw λ̂ along checkpoints and, for up to five of them, against γ for each step size.

    ``table`` and ``scan`` are those of ``LocalLearningCoefficient``. The range of γ over which λ̂
    was averaged is shaded, and runs that were not used because their chains have not settled are
    open circles. A single checkpoint has the acceptance and the distance travelled beside it.
    Checkpoints whose λ̂ means nothing are crosses.
    """
    count = table.sizes["checkpoint"]
    if count == 1:
        with plotting.panels(1, 3, (3 * PANEL[0], PANEL[1])) as (page, axes):
            row, only = table.isel(checkpoint=0), scan.isel(checkpoint=0)
            _draw_scan(axes[0, 0], row, only, "local learning coefficient")
            _draw_runs(axes[0, 1], only, "acceptance", "acceptance by MALA")
            _draw_runs(axes[0, 2], only, "distance", "distance $|w - w^*|$")
            axes[0, 2].set_yscale("log")
        return page
    shown = np.unique(np.linspace(0, count - 1, min(count, MAX_SCANS)).round().astype(int))
    columns = min(3, len(shown) + 1)
    rows = -(-(len(shown) + 1) // columns)
    with plotting.panels(rows, columns, (columns * PANEL[0], rows * PANEL[1])) as (page, axes):
        places = list(axes.flat)
        _draw_checkpoints(places[0], table)
        for place, checkpoint in zip(places[1:], shown, strict=False):
            row, runs = (part.isel(checkpoint=int(checkpoint)) for part in (table, scan))
            title = f"checkpoint {checkpoint}" if is_list else "local learning coefficient"
            _draw_scan(place, row, runs, title)
        for unused in places[len(shown) + 1 :]:
            unused.set_axis_off()
    return page


def _draw_checkpoints(axes: Any, table: xr.Dataset) -> None:
    """λ̂ with its error where there is one, and a cross at the edge where w* is no minimum."""
    place = np.arange(table.sizes["checkpoint"])
    value = table["local_learning_coefficient"].to_numpy()
    error = table["local_learning_coefficient_se"].to_numpy()
    known, good = np.isfinite(error), table["converged"].to_numpy()
    for chosen, face, label in (
        (known & good, plotting.BLUE, "converged"),
        (known & ~good, "white", "not converged"),
    ):
        if chosen.any():
            axes.errorbar(
                place[chosen], value[chosen], error[chosen], fmt="o", color=plotting.BLUE,
                markerfacecolor=face, label=label,
            )  # fmt: skip
    if (~known).any():
        transform = axes.get_xaxis_transform()
        height = np.full((~known).sum(), 0.04)
        axes.plot(
            place[~known], height, "x", color=plotting.RED, transform=transform, label="no minimum"
        )
    axes.set_xlim(-0.5, len(place) - 0.5)
    axes.set_xlabel("checkpoint")
    axes.set_ylabel(r"local learning coefficient $\hat\lambda$")
    axes.legend()


def _draw_scan(axes: Any, row: xr.Dataset, scan: xr.Dataset, title: str) -> None:
    """λ̂ against γ for each step size, and the range that was averaged with its value."""
    if np.isfinite(row["local_learning_coefficient_se"]):
        low, high = float(row["gamma_low"]), float(row["gamma_high"])
        axes.axvspan(low / 1.2, high * 1.2, color=plotting.GREY, alpha=0.15, linewidth=0)
        value = float(row["local_learning_coefficient"])
        axes.plot([low / 1.2, high * 1.2], [value, value], color=plotting.BLACK)
    error = scan["local_learning_coefficient_se"]
    _draw_runs(axes, scan, "local_learning_coefficient", r"$\hat\lambda$ at each step size", error)
    axes.set_title(title if row["converged"] else f"{title}: not converged")


def _draw_runs(
    axes: Any, scan: xr.Dataset, name: str, label: str, error: xr.DataArray | None = None
) -> None:
    """A quantity of all runs against γ, one line to a step size."""
    gamma, steps = scan["gamma"].to_numpy(), scan["step_size"].to_numpy()
    settled = scan["settled"].to_numpy()
    for column, step in enumerate(steps):
        colour = plotting.COLOURS[1 + column % (len(plotting.COLOURS) - 1)]
        values = scan[name].to_numpy()[:, column]
        shifted = gamma * 1.04 ** (column - len(steps) // 2)
        if error is not None:
            bars = error.to_numpy()[:, column]
            axes.errorbar(shifted, values, bars, color=colour, linewidth=0.8)
        axes.plot(shifted, values, color=colour, label=f"step {step:.2g}", linewidth=0.8)
        for chosen, face in ((settled[:, column], colour), (~settled[:, column], "white")):
            axes.plot(
                shifted[chosen], values[chosen], "o", color=colour, markerfacecolor=face
            )  # fmt: skip
    axes.set_xscale("log")
    axes.xaxis.set_minor_formatter(plotting.NullFormatter())
    axes.set_xlabel(r"localisation $\gamma$")
    axes.set_ylabel(label)
    axes.legend(fontsize=7)

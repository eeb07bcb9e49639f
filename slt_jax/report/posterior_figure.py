"""The figure of one posterior: its energy by temperature, its parameters and its predictions."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from slt_jax.curves.predictions import Predictions, TemperedEnergies
from slt_jax.report import plotting

BINS = 40
MARKS = 200
COLUMNS = 3

Floats = NDArray[np.float64]


def posterior_figure(
    title: str,
    exact: TemperedEnergies | None,
    sampled: TemperedEnergies | None,
    learning_coefficient: float | None,
    marginals: Mapping[str, tuple[Floats, Floats]],
    predictions: Predictions | None,
) -> plotting.Figure:
    """Draw a posterior in at most six panels, of those that there is something for.

    ``marginals`` are draws of the posterior and of the prior of scalar parameters by name.
    """
    count = 1 + len(marginals) + (predictions is not None)
    columns = min(count, COLUMNS)
    rows = -(-count // columns)
    with plotting.panels(rows, columns, (3.7 * columns, 3.1 * rows)) as (figure, axes):
        first, *others = axes.flat
        _draw_energies(first, exact, sampled, learning_coefficient)
        if predictions is not None:
            _draw_predictions(others.pop(0), predictions)
        for name, (posterior, prior) in marginals.items():
            _draw_marginal(others.pop(0), name, posterior, prior)
        for axis in others:
            axis.axis("off")
        figure.suptitle(title)
    return figure


def _draw_energies(
    axis: plotting.Axes,
    exact: TemperedEnergies | None,
    sampled: TemperedEnergies | None,
    learning_coefficient: float | None,
) -> None:
    if exact is not None:
        axis.plot(exact.beta, exact.value, color=plotting.BLUE, label="exact")
    if sampled is not None:
        axis.errorbar(
            sampled.beta, sampled.value, sampled.half_width, color=plotting.ORANGE, marker="o",
            markerfacecolor="white", linestyle="none", capsize=2, label="sampled, 95 %",
        )  # fmt: skip
    if learning_coefficient is not None:
        axis.axhline(
            learning_coefficient, color=plotting.GREY, linestyle=":", label=r"$\lambda$ of theory"
        )
    axis.set(
        title="energy", xscale="log", xlabel=r"inverse temperature $\beta$",
        ylabel=r"$\beta\,(\mathrm{E}_\beta[nL_n]-nL_n(w_0))$  [nats]",
    )  # fmt: skip
    axis.legend(fontsize=7)


def _draw_marginal(axis: plotting.Axes, name: str, posterior: Floats, prior: Floats) -> None:
    low, high = np.quantile(np.concatenate([posterior, prior]), [0.002, 0.998])
    bins = [float(edge) for edge in np.linspace(low, high, BINS + 1)]
    axis.hist(prior, bins, density=True, histtype="step", color=plotting.GREY, label="prior")
    axis.hist(posterior, bins, density=True, color=plotting.ORANGE, alpha=0.6, label="posterior")
    axis.set(title="parameter", xlabel=name, ylabel="density")
    axis.legend(fontsize=7)


def _draw_predictions(axis: plotting.Axes, predictions: Predictions) -> None:
    x, predicted = predictions.x, predictions.predicted.isel(output=0)
    coverage = predicted.attrs["coverage"]
    axis.fill_between(
        x, predicted["low"], predicted["high"], color=plotting.SKY, alpha=0.4, linewidth=0,
        label=f"{coverage:.0%} of new $y$",
    )  # fmt: skip
    axis.plot(x, predicted["mean"], color=plotting.BLUE, label=r"$\mathrm{E}[y|x]$")
    shown = slice(None, MARKS)
    axis.plot(
        predictions.seen[0][shown], predictions.seen[1][shown], color=plotting.BLACK, marker=".",
        markersize=3, linestyle="none", label="data",
    )  # fmt: skip
    axis.set(title="predictions", xlabel="$x$", ylabel="$y$")
    axis.legend(fontsize=7, frameon=True, framealpha=0.85, edgecolor="none")

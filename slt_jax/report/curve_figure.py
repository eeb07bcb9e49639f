"""The figure of a learning curve: free energy, learning coefficient and generalisation errors."""

from typing import Any

import numpy as np
import xarray as xr

from slt_jax.curves.comparison import estimate_in
from slt_jax.estimators import mean_over_data_sets, monte_carlo_mean
from slt_jax.report import plotting
from slt_jax.validation import check_kind

SIDESTEP = 1.06
PANELS: tuple[tuple[str, str, tuple[tuple[str, str], ...]], ...] = (
    (
        "free energy",
        r"$F_n - nL_n(w_0)$  [nats]",
        (("normalised_free_energy", "$F_n$"), ("normalised_wbic", "WBIC")),
    ),
    (
        "learning coefficient",
        r"$\hat\lambda = (\mathrm{WBIC} - nL_n(w_0))/\log n$",
        (("lambda_wbic", r"$\hat\lambda$"),),
    ),
    (
        "generalisation",
        r"$n\,\times$ generalisation error  [nats]",
        (
            ("bayes_generalisation_error", r"Bayes, $nB_g$"),
            ("gibbs_generalisation_error", r"Gibbs, $nG_g$"),
        ),
    ),
)
LOOKS = ((plotting.BLUE, "o", "-"), (plotting.ORANGE, "s", "--"))
COVERAGE = 0.95


def plot_learning_curve(curve: xr.Dataset) -> plotting.Figure:
    """Draw a curve of ``learning_curve``: means over its data sets against n, in three panels.

    Markers are sampled; lines are exact, on the same data; grey is the theory. Intervals of 95 %
    hold the sampler's error where there is a line, and else the spread over data sets too. A
    crossed marker has a data set that did not converge. Raises ValueError for a dataset that is not
    of ``learning_curve``.

    >>> import jax
    >>> import slt_jax as slt
    >>> problem = slt.named_problems()["linear_3"]
    >>> curve = slt.learning_curve(problem, n=[10, 100], key=jax.random.key(0), data_sets=4)
    >>> [axis.get_title() for axis in slt.plot_learning_curve(curve).axes]
    ['free energy', 'learning coefficient', 'generalisation']
    """
    check_kind("curve", curve, xr.Dataset, "a dataset of learning_curve")
    absent = [name for *_, names in PANELS for name, _ in names if name not in curve]
    if absent:
        raise ValueError(f"curve: has no {absent[0]}; must be a dataset of learning_curve")
    with plotting.panels(1, len(PANELS), (11.0, 3.6)) as (figure, axes):
        for axis, (title, label, quantities) in zip(axes[0], PANELS, strict=True):
            power = 1 if title == "generalisation" else 0
            for (name, symbol), look in zip(quantities, LOOKS, strict=False):
                _draw(axis, curve, name, symbol, look, power)
            _theory(axis, curve, title)
            axis.set(title=title, ylabel=label, xlabel="sample size $n$", xscale="log")
            axis.xaxis.set_minor_formatter(plotting.NullFormatter())
            axis.legend(fontsize=7)
        name = str(curve["title"].item()) or str(curve["problem"].item())
        count = curve.sizes["replicate"]
        figure.suptitle(f"{name}: mean of {count} data sets by {curve.attrs['sampler']}")
    return figure


def _draw(
    axis: plotting.Axes,
    curve: xr.Dataset,
    name: str,
    symbol: str,
    look: tuple[str, str, str],
    power: int,
) -> None:
    colour, marker, line = look
    n = curve["n"].to_numpy().astype(float)
    factor = n**power
    exact = curve.get(f"exact_{name}")
    if exact is not None:
        values = factor * exact.to_numpy().mean(axis=1)
        axis.plot(n, values, color=colour, linestyle=line, label=f"{symbol} exact")
    # Where the exact curve is of the same data, the sampler's error is all that may separate them.
    each = estimate_in(curve, name)
    mean = mean_over_data_sets(each) if exact is None else monte_carlo_mean(each)
    place = n * SIDESTEP
    axis.errorbar(
        place, factor * mean.value, factor * mean.half_width(COVERAGE), color=colour,
        marker=marker, markerfacecolor="white", linestyle="none", capsize=2,
        label=f"{symbol} sampled",
    )  # fmt: skip
    good = curve["converged"].to_numpy().astype(bool).all(axis=1)
    axis.plot(
        place[~good], (factor * mean.value)[~good], color=plotting.BLACK, marker="x",
        markersize=8, linestyle="none", label="" if good.all() else "not all converged",
    )  # fmt: skip


def _theory(axis: plotting.Axes, curve: xr.Dataset, title: str) -> None:
    grey: dict[str, Any] = {"color": plotting.GREY, "linewidth": 0.9}
    value = float(curve["learning_coefficient"])
    if not np.isfinite(value):
        return
    if title == "free energy":
        label = r"$\lambda\log n-(m-1)\log\log n$ + constant"
        axis.plot(curve["n"], curve["asymptote"], linestyle=":", label=label, **grey)
    else:
        text = str(curve["exact_learning_coefficient"].item())
        axis.axhline(value, linestyle=":", label=rf"$\lambda={text}$", **grey)

"""The figure: what posterior fits SGD, how far SGD is from it, and what functions nets find."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from slt_jax.report import plotting
from slt_jax.report.verdict import Verdict

from .ensembles import REFERENCE
from .measures import MIN_EXPECTED

COLOURS = (plotting.BLACK, plotting.BLUE, plotting.ORANGE)
MARKERS = "osD"
LINES = ("-", "--", "-.")
SHOWN = {"linear_3": "$w\\cdot x$", "monomial_1_1": "$w_1w_2x$", "tanh_1": "$a\\,\\tanh(bx)$"}
# Below this a coefficient is drawn at the rim: unbiased estimates of 0 are negative half the time.
LEAST = 3e-4
SPREAD = 0.22
Rows = list[Mapping[str, Any]]


def figure(dataset: xr.Dataset, verdict: Verdict) -> dict[str, plotting.Figure]:
    """Draw fitted β, exact distances, energy coefficients, learning curves, and functions."""
    numbers = verdict.numbers
    rows = numbers["posteriors"]["rows"]
    with plotting.panels(2, 3, (13.2, 8.2)) as (page, axes):
        _coefficient_panel(axes[0, 0], rows)
        _beta_panel(axes[0, 1], rows)
        _divergence_panel(axes[0, 2], dataset)
        _curve_panel(axes[1, 0], dataset)
        _function_panel(axes[1, 1], dataset)
        _setting_panel(axes[1, 2], numbers["functions"]["rows"])
        for axis in axes.ravel():
            axis.xaxis.set_minor_formatter(plotting.NullFormatter())
        plotting.letter(axes)
    return {"sgd_posterior": page}


def _number(value: float | None) -> float:
    return np.nan if value is None else value


def _by(rows: Rows, axis: str) -> dict[str, Rows]:
    return {name: [row for row in rows if row[axis] == name]
            for name in dict.fromkeys(row[axis] for row in rows)}  # fmt: skip


def _name_rows(axis: plotting.Axes, names: list[str], above: float = 0.6) -> None:
    axis.set_yticks(range(len(names)), names)
    axis.set_ylim(len(names) - 0.4, -above)


def _coefficient_panel(axis: plotting.Axes, rows: Rows) -> None:
    groups = _by(rows, "problem")
    for i, (name, each) in enumerate(groups.items()):
        place = np.arange(len(each)) + SPREAD * (i - 1)
        value = np.array([_number(row["coefficient"]) for row in each])
        error = 2 * np.array([_number(row["coefficient_se"]) for row in each])
        shown = np.maximum(value, LEAST)
        passed = np.array([not row["rejected"] for row in each])
        look: dict[str, Any] = {"color": COLOURS[i], "marker": MARKERS[i], "linestyle": "none"}
        axis.errorbar(
            shown, place, xerr=[np.minimum(error, shown - 0.5 * LEAST), error], color=COLOURS[i],
            linestyle="none", capsize=1.5, zorder=1,
        )  # fmt: skip
        axis.plot(shown[~passed], place[~passed], **look)
        axis.plot(shown[passed], place[passed], markerfacecolor="white", **look)
        axis.plot([], [], label=SHOWN[name], **look)
    floors = [abs(row["floor"]) for row in rows if row["floor"] is not None]
    axis.axvspan(
        0.5 * LEAST, max(floors, default=LEAST), color=plotting.GREY, alpha=0.2, linewidth=0,
        label="two halves of draws",
    )  # fmt: skip
    _name_rows(axis, [row["setting"] for row in next(iter(groups.values()))], above=2.2)
    axis.set(xscale="log", xlim=(0.5 * LEAST, 1.0))
    axis.set_xlabel(
        "energy coefficient to the best posterior, ± 2 s.e.\n(open: not told apart from its draws)"
    )
    axis.set_title("How far SGD is from the posterior\nthat fits it best, in function space")
    axis.legend(fontsize=7, loc="upper center", handlelength=1.2, ncols=4, columnspacing=1.0)


def _beta_panel(axis: plotting.Axes, rows: Rows) -> None:
    groups = _by(rows, "problem")
    for i, (name, each) in enumerate(groups.items()):
        place = np.arange(len(each)) + SPREAD * (i - 1)
        axis.plot(
            [_number(row["beta"]) for row in each], place, color=COLOURS[i], marker=MARKERS[i],
            linestyle="none", label=SHOWN[name],
        )  # fmt: skip
        exact = [_number(row["exact_beta"]) for row in each]
        if np.isfinite(exact).any():
            axis.plot(
                exact, place, color=plotting.GREY, marker="+", markersize=9, linestyle="none",
                label=f"{SHOWN[name]}, exact moments",
            )  # fmt: skip
    first = next(iter(groups.values()))
    axis.plot(
        [_number(row["predicted_beta"]) for row in first], range(len(first)), color=plotting.RED,
        marker="|", markersize=12, markeredgewidth=1.6, linestyle="none", zorder=0,
        label="$2b/n\\eta$ of theory",
    )  # fmt: skip
    _name_rows(axis, [row["setting"] for row in first], above=2.2)
    axis.set(xscale="log", xlabel=r"likeliest $\beta$ of the endpoints")
    axis.set_title(
        "The inverse temperature that fits best:\nepochs are far colder than independent batches"
    )
    axis.legend(fontsize=7, loc="upper center", handlelength=1.2, ncols=3, columnspacing=1.0)


def _divergence_panel(axis: plotting.Axes, dataset: xr.Dataset) -> None:
    n = dataset["exact_n"].to_numpy()
    for i, name in enumerate(dataset["design"].to_numpy()):
        at = dataset.sel(design=name)
        axis.errorbar(
            n, at["divergence"], 2 * at["divergence_se"], color=COLOURS[i], marker=MARKERS[i],
            linestyle=LINES[i], markerfacecolor="white", capsize=2, label=f"inputs of {name}",
        )  # fmt: skip
        limit = float(at["divergence_limit"])
        if limit > 0:
            axis.axhline(limit, color=plotting.RED, linestyle=":",
                         label=f"limit $n\\to\\infty$: {limit:.3f}")  # fmt: skip
    axis.set(xscale="log", yscale="log", xlabel="sample size $n$")
    axis.set_ylabel("KL(SGD ‖ best posterior)  [nats], exact")
    axis.set_title("Linear regression: SGD comes to be a posterior\nonly where inputs are white")
    axis.legend(fontsize=7, loc="lower left")


def _curve_panel(axis: plotting.Axes, dataset: xr.Dataset) -> None:
    n = dataset["n"].to_numpy()
    for i, name in enumerate(dataset["problem"].to_numpy()):
        at = dataset.sel(problem=name)
        axis.errorbar(
            n * 1.06 ** (i - 1), at["sgd_error"], 2 * at["sgd_error_se"], color=COLOURS[i],
            marker=MARKERS[i], linestyle="none", capsize=2, label=f"{SHOWN[name]}: SGD ± 2 s.e.",
        )  # fmt: skip
        axis.plot(n, at["gibbs_error"], color=COLOURS[i], linestyle="-")
        axis.plot(n, at["bayes_error"], color=COLOURS[i], linestyle="--")
    axis.plot([], [], color=plotting.GREY, linestyle="-", label="exact Gibbs error")
    axis.plot([], [], color=plotting.GREY, linestyle="--", label="exact Bayes error")
    top = float(dataset[["sgd_error", "gibbs_error"]].to_array().max())
    axis.set(xscale="log", ylim=(0, 1.6 * top), xlabel="sample size $n$")
    axis.set_ylabel("$n$ × generalisation error  [nats]")
    axis.set_title("Generalisation at the step where theory has\n$\\beta=1$: SGD against the exact "
                   "posterior")  # fmt: skip
    axis.legend(fontsize=7, loc="upper right", ncols=2)


def _function_panel(axis: plotting.Axes, dataset: xr.Dataset) -> None:
    lowest = 1.0
    for i, name in enumerate(dataset["target"].to_numpy()):
        at = dataset.sel(target=name, net_setting=REFERENCE)
        trained, drawn = at["trained_count"].to_numpy(), at["drawn_count"].to_numpy()
        seen = (trained > 0) & (drawn * trained.sum() >= MIN_EXPECTED * drawn.sum())
        if not seen.any():
            continue
        x, y = drawn[seen] / drawn.sum(), trained[seen] / trained.sum()
        axis.errorbar(
            x, y, xerr=x / np.sqrt(drawn[seen]), yerr=y / np.sqrt(trained[seen]),
            color=COLOURS[i], marker=MARKERS[i], markersize=3, linestyle="none", elinewidth=0.4,
            label=name, alpha=0.8,
        )  # fmt: skip
        lowest = min(lowest, float(x.min()), float(y.min()))
    ends = np.array([lowest / 2, 1.0])
    axis.plot(ends, ends, color=plotting.GREY, linewidth=0.8)
    axis.fill_between(ends, ends / 2, ends * 2, color=plotting.GREY, alpha=0.2, linewidth=0,
                      label="within a factor of two")  # fmt: skip
    axis.set(xscale="log", yscale="log", xlim=ends, ylim=ends)
    axis.set_xlabel("$P_{Bayes}(f)$: drawn until the labels are right")
    axis.set_ylabel("$P_{SGD}(f)$: trained until they are")
    axis.set_title(
        "Functions that SGD finds, and that draws of its\nstart find: correlated, not equal"
    )
    axis.legend(fontsize=7, loc="upper left")


def _setting_panel(axis: plotting.Axes, rows: Rows) -> None:
    groups = _by(rows, "target")
    for i, (name, each) in enumerate(groups.items()):
        place = np.arange(len(each)) + SPREAD * (i - 1)
        for key, colour in (("correlation", COLOURS[i]), ("slope", plotting.GREY)):
            value = np.array([_number(row[key]) for row in each])
            bounds = [np.array([_number(row[f"{key}_{end}"]) for row in each])
                      for end in ("low", "high")]  # fmt: skip
            axis.errorbar(
                value, place, xerr=[value - bounds[0], bounds[1] - value], color=colour,
                marker=MARKERS[i], linestyle="none", capsize=1.5,
                markerfacecolor="white" if key == "slope" else colour,
                label=name if key == "correlation" else None,
            )  # fmt: skip
    axis.plot([], [], color=plotting.GREY, marker="o", markerfacecolor="white", linestyle="none",
              label="slope (same markers)")  # fmt: skip
    axis.axvline(1.0, color=plotting.GREY, linewidth=0.8)
    names = [row["setting"] for row in next(iter(groups.values()))]
    _name_rows(axis, names, above=2.6)
    axis.set_xlabel("correlation ρ and slope of log $P_{SGD}$ on log $P_{Bayes}$, 95 %")
    axis.set_title("How much of $P_{Bayes}$ is in $P_{SGD}$\nmoves with step, start and optimiser")
    axis.legend(fontsize=7, loc="upper left", ncols=2)

"""The figure of universality: how classes order the same targets."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from slt_jax.report import plotting
from slt_jax.report.verdict import Verdict

from .verdict import varying_of

SHORT = {
    "monomials, any degree": "any degree",
    "Fourier, any number": "any harmonics",
    "powers reversed": "reversed",
}
BY_SIZE = ((plotting.GREY, "s", "white"), (plotting.BLUE, "o", plotting.BLUE))
# λ(n) of cells that are left out may be anything.
MOST = 6.0
COUNTEREXAMPLE: dict[str, Any] = {"color": plotting.RED, "linewidth": 1.6, "linestyle": "--"}


def figure(dataset: xr.Dataset, verdict: Verdict) -> dict[str, plotting.Figure]:
    """Draw pairs of classes target by target, λ by theorem, and ρ of all pairs."""
    with plotting.panels(2, 3, (13.0, 8.2)) as (page, axes):
        _nets_panel(axes[0, 0], dataset, verdict.numbers)
        _powers_panel(axes[0, 1], dataset, verdict.numbers)
        _theorem_panel(axes[0, 2], dataset)
        _matrix_panel(axes[1, 0], dataset)
        _intervals_panel(axes[1, 1], dataset, verdict.numbers)
        _maps_panel(axes[1, 2], verdict.numbers)
        plotting.letter(axes)
    return {"universality": page}


def _short(name: str) -> str:
    return SHORT.get(name, name)


def _nets_panel(axis: plotting.Axes, dataset: xr.Dataset, numbers: Mapping[str, Any]) -> None:
    n = numbers["n"]
    last = dataset.isel(n=-1)
    tanh, relu = (last.sel(model_class=name) for name in ("tanh", "ReLU"))
    both = (tanh["counted"] & relu["counted"]).to_numpy()
    left_out = ~both & ((tanh["coefficient"] > 0) & (tanh["coefficient"] < MOST)).to_numpy()
    axis.plot(
        tanh["coefficient"][left_out], relu["coefficient"][left_out], color=plotting.GREY,
        marker="x", linestyle="none", label="left out of $\\rho$",
    )  # fmt: skip
    axis.errorbar(
        tanh["coefficient"][both], relu["coefficient"][both], relu["coefficient_se"][both],
        tanh["coefficient_se"][both], color=plotting.BLUE, marker="o", linestyle="none",
        markersize=3.5, elinewidth=0.8, label="targets in both classes, ± 1 s.e.",
    )  # fmt: skip
    row = numbers["pairs"]["last"]["nets"]
    if row is not None and row["reversal"] is not None:
        _marked(axis, row["reversal"])
    axis.set(xlabel=f"$\\lambda(n)$ in tanh nets, $n={n}$")
    axis.set_ylabel(f"$\\lambda(n)$ in ReLU nets, $n={n}$")
    reversed_too = row is not None and row["reversal"] is not None
    axis.set_title(
        "Nets of two kinds agree on most targets,\nbut not on all"
        if reversed_too
        else "Nets of two kinds: no two targets\nare surely in opposite order"
    )
    axis.legend(fontsize=7, loc="lower right")


def _marked(axis: plotting.Axes, reversal: Mapping[str, Any]) -> None:
    """Join the two targets of a reversal, which fall from the one to the other, and name them."""
    horizontal, vertical = (
        np.array([np.ravel(entry)[0] for entry in pair])
        for pair in reversal["coefficients"].values()
    )
    axis.plot(horizontal, vertical, label="in opposite order", **COUNTEREXAMPLE)
    for x, y, name in zip(horizontal, vertical, reversal["targets"], strict=True):
        below = y == vertical.min()
        axis.annotate(
            name, (x, y), xytext=(4, -12 if below else 8), textcoords="offset points", fontsize=8,
            color=plotting.RED, ha="left" if x == horizontal.max() else "right",
        )  # fmt: skip


def _powers_panel(axis: plotting.Axes, dataset: xr.Dataset, numbers: Mapping[str, Any]) -> None:
    n = numbers["n"]
    last = dataset.isel(n=-1)
    powers, degree = (last.sel(model_class=c) for c in ("powers", "monomials, any degree"))
    both = (powers["counted"] & degree["counted"]).to_numpy()
    axis.errorbar(
        powers["coefficient"][both], degree["coefficient"][both], degree["coefficient_se"][both],
        color=plotting.BLUE, marker="o", markerfacecolor="white", linestyle="none",
        label=f"$\\lambda(n)$, $n={n}$",
    )  # fmt: skip
    axis.plot(
        powers["limit"], degree["limit"], color=plotting.BLACK, marker="s", markersize=4,
        linestyle="none", label="$\\lambda$ by theorem",
    )  # fmt: skip
    pairs = {tuple(row["classes"]): row for row in numbers["limits"]["rows"]}
    row = pairs.get(("powers", "monomials, any degree"))
    if row is not None and row["reversal"] is not None:
        _marked(axis, row["reversal"])
    axis.set(xlabel="polynomials with powers $\\theta_k^{5-k}$ as coefficients")
    axis.set_ylabel("monomials, the degree unknown")
    axis.set_title("Two classes of polynomials do not agree,\nby theorem or at finite $n$")
    axis.legend(fontsize=7, loc="upper right")


def _theorem_panel(axis: plotting.Axes, dataset: xr.Dataset) -> None:
    targets = [t for t in ("1", "x", "P₂", "P₃", "P₄") if t in dataset["target"]]
    for name, colour, line, marker, label in (
        ("monomials, any degree", plotting.BLACK, "-", "s", "monomials, the degree unknown"),
        ("powers", plotting.RED, "--", "o", "powers $\\theta_k^{5-k}$"),
        ("powers reversed", plotting.BLUE, ":", "D", "powers reversed, $\\theta_k^{1+k}$"),
    ):
        limit = dataset["limit"].sel(model_class=name, target=targets)
        axis.plot(
            range(len(targets)), limit, color=colour, linestyle=line, marker=marker,
            markerfacecolor="white", label=label,
        )  # fmt: skip
    axis.set_xticks(range(len(targets)), ["$1$", "$x$", "$P_2$", "$P_3$", "$P_4$"][: len(targets)])
    axis.set(xlabel="target: Legendre polynomial of degree $k$", ylabel="$\\lambda$ (exact)")
    axis.set_title("Same functions, as many parameters:\nthe order is that of the exponents")
    axis.legend(fontsize=7, loc="upper left")


def _matrix_panel(axis: plotting.Axes, dataset: xr.Dataset) -> None:
    last, varying = dataset.isel(n=-1), varying_of(dataset)
    names = last["model_class"].to_numpy().tolist()
    names = [*varying, *(name for name in names if name not in varying)]
    rho = last["rank_correlation"].sel(model_class=names, other_class=names).to_numpy()
    # All shades are light enough for black figures.
    axis.imshow(rho, cmap="Greys", vmin=-1.0, vmax=2.5)
    for (i, j), value in np.ndenumerate(rho):
        if np.isfinite(value):
            number = f"{value:.2f}".replace("0.", ".").replace("-", "−")
            axis.text(j, i, number, ha="center", va="center", fontsize=7)
    border = len(varying) - 0.5
    axis.axhline(border, color=plotting.RED, linewidth=1.2)
    axis.axvline(border, color=plotting.RED, linewidth=1.2)
    shown = [_short(name) for name in names]
    axis.set_xticks(range(len(names)), shown, rotation=45, ha="right", fontsize=8)
    axis.set_yticks(range(len(names)), shown, fontsize=8)
    axis.set_title(
        f"Spearman's $\\rho$ of $\\lambda(n)$, $n={int(last['n'])}$; beyond the line\n"
        "$\\lambda$ is constant, and $\\rho$ one of finite $n$ alone"
    )


def _intervals_panel(axis: plotting.Axes, dataset: xr.Dataset, numbers: Mapping[str, Any]) -> None:
    rows = [row for row in numbers["pairs"]["rows"] if row["varying"] and row["rho"] is not None]
    sizes = dataset["n"].to_numpy().tolist()[-2:]
    last = sorted((row for row in rows if row["n"] == sizes[-1]), key=lambda row: row["rho"])
    places = {tuple(row["classes"]): i for i, row in enumerate(last)}
    for k, n in enumerate(reversed(sizes)):
        colour, marker, fill = BY_SIZE[1 - k]
        of_size = [row for row in rows if row["n"] == n and tuple(row["classes"]) in places]
        if not of_size:
            continue
        rho = np.array([row["rho"] for row in of_size])
        reach = np.array([[row["rho"] - row["low"], row["high"] - row["rho"]] for row in of_size])
        axis.errorbar(
            rho, [places[tuple(row["classes"])] + 0.3 * k for row in of_size],
            xerr=np.maximum(reach.T, 0.0), color=colour, marker=marker, markerfacecolor=fill,
            linestyle="none", elinewidth=0.9, label=f"$n={n}$",
        )  # fmt: skip
    axis.axvline(1.0, label="universality", **COUNTEREXAMPLE)
    axis.axvline(0.0, color=plotting.GREY, linewidth=0.6)
    labels = [" / ".join(_short(c) for c in row["classes"]) for row in last]
    axis.set_yticks(range(len(last)), labels, fontsize=7)
    axis.set(xlabel="Spearman's $\\rho$ of $\\lambda(n)$, 95 % interval", xlim=(-1.0, 1.08))
    axis.set_title("Between no two classes is the order the same:\nall have a sure reversal"
                   if _all_reversed(numbers) else "Spearman's $\\rho$ of all pairs")  # fmt: skip
    if last:
        axis.legend(fontsize=7, loc="upper left")


def _all_reversed(numbers: Mapping[str, Any]) -> bool:
    last = numbers["pairs"]["last"]
    return 0 < last["compared"] == last["reversed"]


def _maps_panel(axis: plotting.Axes, numbers: Mapping[str, Any]) -> None:
    rows = [
        row for row in numbers["pairs"]["rows"]
        if row["varying"] and row["n"] == numbers["n"] and row["after"] is not None
    ]  # fmt: skip
    rows.sort(key=lambda row: row["after"])
    for key, colour, marker, label in (
        ("after", plotting.GREY, "s", "fitted to all targets"),
        ("ahead", plotting.BLUE, "o", "the target left out"),
    ):
        axis.plot(
            [row[key] for row in rows], range(len(rows)), color=colour, marker=marker,
            linestyle="none", label=label,
        )  # fmt: skip
    for i, row in enumerate(rows):
        axis.plot([row["ahead"], row["after"]], [i, i], color=plotting.GREY, linewidth=0.6)
    axis.axvline(0.0, color=plotting.BLACK, linewidth=0.6)
    axis.set_yticks(
        range(len(rows)), [" / ".join(_short(c) for c in row["classes"]) for row in rows],
        fontsize=7,
    )  # fmt: skip
    axis.set(xlabel=f"share of the variance of $\\lambda({numbers['n']})$", xlim=(-1.05, 1.05))
    axis.set_title("A monotone map that is found afterwards\nexplains more than it predicts")
    if rows:
        axis.legend(fontsize=7, loc="upper left")

"""The figure of λ̂ at scale: exact against estimated, what n and steps do to it, and its cost."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from slt_jax.report import plotting
from slt_jax.report.verdict import Verdict

BY_DEPTH: dict[int, tuple[str, str]] = {
    2: (plotting.BLACK, "o"),
    3: (plotting.BLUE, "s"),
    4: (plotting.ORANGE, "D"),
    5: (plotting.GREEN, "^"),
}
BY_SCHEME = ((plotting.RED, "o", "-"), (plotting.SKY, "s", "--"), (plotting.BLUE, "D", "-"))
BY_DYNAMICS = {
    "overdamped": (plotting.ORANGE, "s", "overdamped (the default)"),
    "underdamped": (plotting.BLUE, "o", "underdamped"),
}
QUANTILE = 1.96
# Off by more than this in per cent is drawn at the rim.
RIM = 30.0
SIDESTEP = 1.06
CROSS: dict[str, Any] = {
    "color": plotting.RED, "marker": "x", "markersize": 8, "linestyle": "none", "zorder": 5,
}  # fmt: skip


def figure(dataset: xr.Dataset, verdict: Verdict) -> dict[str, plotting.Figure]:
    """Draw λ̂/λ of all nets, cost, the oracle at the same n, the choice of γ, bias and digits."""
    with plotting.panels(2, 3, (12.6, 7.6)) as (page, axes):
        _ratio_panel(axes[0, 0], dataset, verdict.numbers)
        _cost_panel(axes[0, 1], dataset, verdict.numbers)
        _oracle_panel(axes[0, 2], dataset, bool(verdict.numbers["oracle"]["agrees"]))
        _error_panel(axes[1, 0], dataset, bool(verdict.numbers["chance_is_small"]))
        _bias_panel(axes[1, 1], dataset)
        _digits_panel(axes[1, 2], dataset, verdict.numbers["digits"])
        plotting.letter(axes)
    return {"llc_at_scale": page}


def _ratio_panel(axis: plotting.Axes, dataset: xr.Dataset, numbers: Mapping[str, Any]) -> None:
    failed = []
    for prefix, filled in (("", True), ("large_", False)):
        axes = f"{prefix}net"
        for i in range(dataset.sizes[axes]):
            at = dataset.isel({axes: i})
            exact = float(at[f"{prefix}exact_estimate"])
            ratio = float(at[f"{prefix}estimate"]) / exact
            error = QUANTILE * float(at[f"{prefix}estimate_se"]) / exact
            place = float(at[f"{prefix}dimension"])
            colour, marker = BY_DEPTH[int(at[f"{prefix}depth"])]
            if not np.isfinite(ratio + error):
                failed.append((place, ratio if np.isfinite(ratio) else 1.0))
                continue
            axis.errorbar(
                place, ratio, error, color=colour, marker=marker, linestyle="none", capsize=1.5,
                linewidth=0.8, markerfacecolor=colour if filled else "white",
            )  # fmt: skip
            if not bool(at[f"{prefix}converged"]):
                failed.append((place, ratio))
    for depth, (colour, marker) in BY_DEPTH.items():
        axis.plot([], [], color=colour, marker=marker, linestyle="none", label=f"{depth} layers")
    if failed:
        axis.plot(*zip(*failed, strict=True), label="not converged", **CROSS)
    axis.axhline(1.0, color=plotting.GREY, linewidth=0.8)
    axis.set(xscale="log", xlabel="number of parameters $d$", ylim=(0.55, 1.6))
    axis.set_ylabel(r"$\hat\lambda/\lambda$, 95 % intervals")
    held = numbers["held_out"]
    axis.set_title(
        f"{held['covered']} of {held['nets']} intervals of nets that the rule\nhas not seen hold "
        r"the exact $\lambda$ (open: large nets)"
    )
    axis.legend(fontsize=7, loc="upper left", ncols=3)


def _cost_panel(axis: plotting.Axes, dataset: xr.Dataset, numbers: Mapping[str, Any]) -> None:
    for prefix, key, filled in (("", "held_out", True), ("large_", "large", False)):
        dimension = dataset[f"{prefix}dimension"].to_numpy()
        seconds = numbers[key]["seconds_per_digit"]
        digits = np.array([np.nan if each is None else each for each in seconds])
        depths = dataset[f"{prefix}depth"].to_numpy()
        for depth, (colour, marker) in BY_DEPTH.items():
            here = (depths == depth) & np.isfinite(digits)
            axis.plot(
                dimension[here], digits[here], color=colour, marker=marker, linestyle="none",
                markerfacecolor=colour if filled else "white",
            )  # fmt: skip
    axis.set(xscale="log", yscale="log", xlabel="number of parameters $d$")
    axis.set_ylabel("seconds per decimal digit of $\\hat\\lambda$")
    held = numbers["held_out"]
    by_depth = {k: s for k, s in held["seconds_per_digit_by_depth"].items() if s is not None}
    medians = ", ".join(f"{s:.0f}" for s in by_depth.values())
    power = held["exponent"]
    grows = "" if power is None else f", growing as $d^{{{power:.2f}}}$"
    axis.set_title(f"A digit costs {medians} s with {', '.join(by_depth)} layers\n(medians){grows}")


def _oracle_panel(axis: plotting.Axes, dataset: xr.Dataset, agrees: bool) -> None:
    for i, name in enumerate(dataset["solved"].to_numpy().tolist()):
        colour, marker = ((plotting.BLACK, "o"), (plotting.BLUE, "s"))[i % 2]
        at = dataset.sel(solved=name)
        limit = float(at["solved_limit"])
        axis.plot(
            at["beta"], at["solved_exact"] / limit, color=colour, linestyle=("-", "--")[i % 2],
            label=f"{name}, oracle",
        )  # fmt: skip
        axis.errorbar(
            at["beta"], at["solved_estimate"] / limit, 2 * at["solved_estimate_se"] / limit,
            color=colour, marker=marker, markerfacecolor="white", linestyle="none", capsize=2,
            label=r"$\hat\lambda(n\beta)$ ± 2 s.e.",
        )  # fmt: skip
        bad = (~at["solved_settled"].astype(bool) & at["solved_estimate"].notnull()).to_numpy()
        if bad.any():
            values = (at["solved_estimate"] / limit)[bad]
            axis.plot(at["beta"][bad], values, label="not settled", **CROSS)
    axis.axhline(1.0, color=plotting.GREY, linewidth=0.8)
    axis.set(xscale="log", xlabel=r"$n\beta$", ylabel=r"$\lambda(n\beta)/\lambda$")
    verb = "agrees" if agrees else "DISAGREES"
    axis.set_title(f"The sampler {verb} with an oracle at the\nsame $n$, far from the limit too")
    axis.legend(fontsize=7, loc="lower right")


def _error_panel(axis: plotting.Axes, dataset: xr.Dataset, chance_is_small: bool) -> None:
    estimate = dataset["estimate"].to_numpy()
    order = np.argsort(dataset["dimension"].to_numpy())
    for name, label, colour, marker in (
        ("sampling", "chance", plotting.BLACK, "o"),
        ("beyond", "finite $n$: added by the line", plotting.BLUE, "s"),
        ("bending", "finite $n$: bend of the line", plotting.GREEN, "v"),
        ("log_term", r"finite $n$: logarithms", plotting.ORANGE, "D"),
        ("settling", "gap of both starts", plotting.RED, "^"),
    ):
        share = 100 * dataset[name].to_numpy() / estimate
        seen = np.isfinite(share[order]) & (share[order] > 0)
        if not seen.any():
            continue
        axis.plot(
            dataset["dimension"].to_numpy()[order][seen], share[order][seen], color=colour,
            marker=marker, linestyle="none", markerfacecolor="white", label=label,
        )  # fmt: skip
    axis.set(xscale="log", yscale="log", xlabel="number of parameters $d$")
    axis.set_ylabel(r"part of the standard error, % of $\hat\lambda$")
    axis.set_title(
        "Chance hardly matters: what limits $\\hat\\lambda$\nis that $n$ is finite"
        if chance_is_small
        else "Chance limits $\\hat\\lambda$,\nmore than that $n$ is finite"
    )
    low, high = axis.get_ylim()
    axis.set_ylim(low, high * 15)
    axis.legend(fontsize=7, loc="upper right", ncols=2)


def _bias_panel(axis: plotting.Axes, dataset: xr.Dataset) -> None:
    exact = float(dataset["bias_exact"])
    lost = []
    for name, (colour, marker, line) in zip(dataset["scheme"].to_numpy(), BY_SCHEME, strict=True):
        at = dataset.sel(scheme=name)
        off = 100 * (at["biased_coefficient"] / exact - 1)
        error = 200 * at["biased_coefficient_se"] / exact
        shown = (abs(off) < RIM).to_numpy()
        axis.errorbar(
            at["step_share"][shown], off[shown], error[shown], color=colour, marker=marker,
            linestyle=line, capsize=2, markerfacecolor="white", label=str(name),
        )  # fmt: skip
        lost += at["step_share"].to_numpy()[~shown].tolist()
    if lost:
        axis.plot(lost, [RIM] * len(lost), label="diverges, or off the scale", **CROSS)
    reference = float(dataset["reference_coefficient"])
    half = 2 * float(dataset["reference_coefficient_se"])
    low, high = (100 * ((reference + side * half) / exact - 1) for side in (-1, 1))
    axis.axhspan(low, high, color=plotting.GREY, alpha=0.3, linewidth=0, label="MALA ± 2 s.e.")
    axis.axhline(0.0, color=plotting.BLACK, linewidth=0.8, label="oracle")
    axis.set(xscale="log", xlabel="step over the longest stable one")
    axis.set_ylabel(r"bias of $\hat\lambda(n\beta)$, %")
    axis.set_title("The bias of SGLD grows with its step, and\nthat of underdamped dynamics is "
                   "taken off")  # fmt: skip
    axis.legend(fontsize=7, loc="upper left")


def _digits_panel(axis: plotting.Axes, dataset: xr.Dataset, numbers: Mapping[str, Any]) -> None:
    bad: list[tuple[float, float]] = []
    titles = []
    for i, name in enumerate(dataset["dynamics"].to_numpy()):
        colour, marker, label = BY_DYNAMICS[str(name)]
        rows = [row for row in numbers["rows"] if row["dynamics"] == name]
        for row in rows:
            if row["estimate"] is None:
                continue
            place = row["step"] * SIDESTEP ** (2 * i - 1)
            axis.errorbar(
                place, row["estimate"], row["standard_error"] or 0.0, color=colour, marker=marker,
                markerfacecolor=colour if row["settled"] else "white", linestyle="none", capsize=2,
            )  # fmt: skip
            if not row["minimum"]:
                bad.append((place, row["estimate"]))
        axis.plot([], [], color=colour, marker=marker, linestyle="none", label=label)
        titles.append(f"{sum(row['settled'] for row in rows)} ({name})")
    if bad:
        axis.plot(*zip(*bad, strict=True), label="no minimum", **CROSS)
    other = axis.twinx()
    loss = dataset["train_loss"].where(dataset["train_loss"] > 0)
    other.plot(dataset["training_step"], loss, color=plotting.GREY, linestyle=":")
    other.set(yscale="log", ylabel="training loss [nats] (dotted)")
    axis.set(xscale="log", xlabel="training step", ylabel=r"$\hat\lambda$ ± s.e.")
    axis.set_title(
        f"Digits, $d={numbers['dimension']}$: chains settle (filled) at\n"
        f"{' and '.join(titles)} of {dataset.sizes['training_step']} checkpoints"
    )
    axis.legend(fontsize=7, loc="upper right")

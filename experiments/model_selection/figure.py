"""The figure: rankings by runs and by criteria, and the case in which the best run misleads."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from slt_jax.report import plotting
from slt_jax.report.verdict import Verdict

GIBBS, BAYES, OWN = "Gibbs G_g", "Bayes B_g", "loss of runs"
LOOKS = {
    "mean": (plotting.BLUE, "o", "-", "B, mean"),
    "best": (plotting.ORANGE, "s", "--", "A, best"),
    "validated": (plotting.GREEN, "^", ":", "validated"),
}
MARKERS, LINES = ("o", "s", "^", "D", "v", "P"), ("-", "--", ":", "-.", "-", "--")
SYMBOLS = {"F_n": "$F_n$", "sBIC": "sBIC ($\\lambda$ known)"}
OPEN = "which protocol ranks as $G_g$ is open"
MESSAGES = {
    "better": "the mean ranks as $G_g$ more closely than the best",
    "worse": "the best ranks as $G_g$ more closely than the mean",
    "equal": "mean and best rank alike",
}

Rows = Sequence[Mapping[str, Any]]


def figure(dataset: xr.Dataset, verdict: Verdict) -> dict[str, plotting.Figure]:
    """Draw τ against s, differences by family, τ of criteria, and shares of data sets misled."""
    runs, criteria = verdict.numbers["runs"], verdict.numbers["criteria"]
    with plotting.panels(2, 3, (13.0, 8.2)) as (page, axes):
        _run_panel(axes[0, 0], runs, "SGD", "Runs of SGD")
        _run_panel(axes[0, 1], runs, "posterior", "Runs that are draws of the posterior")
        _gain_panel(axes[0, 2], runs)
        _criteria_panel(axes[1, 0], runs, criteria)
        _agreement_panel(axes[1, 1], criteria)
        _luck_panel(axes[1, 2], dataset)
        plotting.letter(axes)
    return {"model_selection": page}


def _errorbar(axis: plotting.Axes, x: Any, each: Rows, **look: Any) -> None:
    """Draw values with the half-widths of their intervals, and gaps where there are none."""
    values = [np.nan if one["value"] is None else one["value"] for one in each]
    errors = [np.nan if one["value"] is None else one["half_width"] for one in each]
    axis.errorbar(x, values, errors, capsize=2, **look)


def _run_panel(axis: plotting.Axes, runs: Mapping[str, Any], source: str, title: str) -> None:
    counts = np.array(runs["counts"], float)
    shown = dict.fromkeys((runs["sizes"][0], runs["sizes"][-1]))
    for i, size in enumerate(shown):
        rows = [r for r in runs["rows"] if (r["source"], r["test_size"]) == (source, size)]
        for j, (name, (colour, marker, line, label)) in enumerate(LOOKS.items()):
            _errorbar(
                axis, counts * 1.05 ** (j - 1 + 0.4 * i), [row[GIBBS][name] for row in rows],
                color=colour, marker=marker, linestyle=line,
                markerfacecolor=colour if i else "white", label=f"{label}, $T={size}$",
            )  # fmt: skip
    axis.set_xscale("log", base=2)
    axis.set_xticks(counts, [f"{int(count)}" for count in counts])
    axis.set(
        xlabel="number of runs $s$ (bars: 95 % intervals)",
        ylabel=r"Kendall's $\tau_b$ to the ranking by $G_g$",
    )
    low, high = axis.get_ylim()
    axis.set_ylim(low, high + 0.3 * (high - low))
    axis.legend(fontsize=7, loc="upper center", ncols=2, handlelength=3.0, borderpad=0.0)
    last = [r for r in runs["rows"] if (r["source"], r["runs"]) == (source, runs["counts"][-1])]
    kinds = {row[GIBBS]["gain"]["kind"] for row in last}
    message = MESSAGES.get(kinds.pop(), OPEN) if len(kinds) == 1 else OPEN
    axis.set_title(f"{title}:\n{message}")


def _gain_panel(axis: plotting.Axes, runs: Mapping[str, Any]) -> None:
    families = list(dict.fromkeys(cell["family"] for cell in runs["cells"]))
    for i, source in enumerate(("SGD", "posterior")):
        cells = [cell for cell in runs["cells"] if cell["source"] == source]
        per_family = len(cells) / len(families)
        places = [
            families.index(cell["family"])
            + (j % per_family - (per_family - 1) / 2) * 0.8 / per_family
            + (i - 0.5) * 0.08
            for j, cell in enumerate(cells)
        ]
        values = [cell["gains"][0] for cell in cells]
        colour = (plotting.BLACK, plotting.BLUE)[i]
        axis.errorbar(
            [np.nan if one["value"] is None else one["value"] for one in values],
            places,
            xerr=[np.nan if one["value"] is None else one["half_width"] for one in values],
            color=colour, marker=MARKERS[i], markerfacecolor="white" if i else colour,
            linestyle="none", capsize=2, label=("SGD", "draws of the posterior")[i],
        )  # fmt: skip
    axis.axvline(0.0, color=plotting.GREY, linewidth=0.6)
    axis.set_yticks(range(len(families)), families)
    axis.set_ylim(len(families) - 0.4, -1.1)
    axis.set_xlabel(
        rf"$\tau_b$ of B less that of A, $s={runs['counts'][-1]}$, $T={runs['sizes'][0]}$"
    )
    axis.set_title("Mean less best by family\n(each point one noise and $n$)")
    axis.legend(fontsize=7, loc="upper center", ncols=2)


def _criteria_panel(
    axis: plotting.Axes, runs: Mapping[str, Any], criteria: Mapping[str, Any]
) -> None:
    names = list(criteria["tau"][GIBBS])
    last = [
        row
        for row in runs["rows"]
        if (row["source"], row["runs"], row["test_size"])
        == ("SGD", runs["counts"][-1], runs["sizes"][-1])
    ][0]
    labels = [SYMBOLS.get(name, name) for name in names] + [
        f"SGD {name}" for name in ("mean", "best")
    ]
    for i, (reference, colour) in enumerate(
        ((GIBBS, plotting.BLUE), (BAYES, plotting.BLACK), (OWN, plotting.ORANGE))
    ):
        each = [criteria["tau"][reference][name] if reference != OWN else None for name in names]
        each += [last[reference][name] for name in ("mean", "best")]
        empty = {"value": None}
        _errorbar(
            axis, np.arange(len(labels)) + 0.16 * (i - 1), [one or empty for one in each],
            color=colour, marker=MARKERS[i], linestyle="none",
            markerfacecolor="white" if i == 1 else colour,
            label=("to Gibbs $G_g$", "to Bayes $B_g$", "to the true loss of other runs")[i],
        )  # fmt: skip
    axis.set_xticks(range(len(labels)), labels, rotation=30, ha="right", rotation_mode="anchor")
    axis.set_ylabel(r"Kendall's $\tau_b$")
    low, high = axis.get_ylim()
    axis.set_ylim(low, high + 0.3 * (high - low))
    axis.legend(fontsize=7, loc="upper center", ncols=2)
    axis.set_title(
        "Criteria of the training data beside test losses\n"
        f"of $s={last['runs']}$ runs on $T={last['test_size']}$ data"
    )


def _agreement_panel(axis: plotting.Axes, criteria: Mapping[str, Any]) -> None:
    families = criteria["families"]
    names = list(next(iter(families.values()))["to F_n"])
    for i, name in enumerate(names):
        _errorbar(
            axis, np.arange(len(families)) + 0.12 * (i - (len(names) - 1) / 2),
            [by["to F_n"][name] for by in families.values()], color=plotting.COLOURS[i],
            marker=MARKERS[i],
            linestyle="none", markerfacecolor="white" if i % 2 else plotting.COLOURS[i],
            label=name,
        )  # fmt: skip
    axis.axhline(0.8, color=plotting.GREY, linestyle="--", linewidth=0.8)
    axis.set_xticks(range(len(families)), [name.replace("_", "\n") for name in families])
    axis.set_ylabel(r"Kendall's $\tau_b$ to the ranking by $F_n$")
    low, _ = axis.get_ylim()
    axis.set_ylim(low, 1.0 + 0.25 * (1.0 - low))
    axis.set_yticks([tick for tick in np.arange(-1, 1.1, 0.5) if tick >= low])
    axis.legend(fontsize=7, loc="upper center", ncols=3)
    axis.set_title("Which criterion ranks as the exact $F_n$\n(dashed: nine of ten pairs)")


def _luck_panel(axis: plotting.Axes, dataset: xr.Dataset) -> None:
    counts = dataset["luck_run"].to_numpy()
    for i, size in enumerate(dataset["luck_test"].to_numpy().tolist()):
        for name in ("best", "mean"):
            at = dataset.sel(luck_test=size, luck_protocol=name)
            colour, _, line, _ = LOOKS[name]
            axis.errorbar(
                counts, at["misled"], 2 * at["misled_se"], color=colour, linestyle=line,
                marker=MARKERS[i], markerfacecolor="white" if name == "mean" else colour,
                capsize=2, label=f"{name}, $T={size}$",
            )  # fmt: skip
    axis.axhline(0.5, color=plotting.GREY, linewidth=0.6)
    axis.set_xscale("log", base=2)
    axis.set_xticks(counts, [f"{count}" for count in counts])
    axis.set(ylim=(-0.03, 1.25), xlabel="number of runs $s$")
    axis.set_yticks([0, 0.25, 0.5, 0.75, 1.0])
    axis.set_ylabel("share of data sets on which\nthe worse model looks better")
    axis.legend(fontsize=7, loc="upper center", ncols=3, handlelength=2.6)
    axis.set_title("The best run misleads: draws of the posteriors\nof degree 3 and degree 8")

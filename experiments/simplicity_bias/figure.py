"""The figures: priors over Boolean functions, and the parameters that functions take."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from slt_jax.report import plotting
from slt_jax.report.verdict import Verdict

SHOWN = ("ReLU net", "perceptron", "products", "π ⊕ perceptron")
LOOKS = {
    "ReLU net": (plotting.BLACK, "o", "-"),
    "tanh net": (plotting.BLUE, "s", "--"),
    "tanh net, wide prior": (plotting.SKY, "D", "-."),
    "perceptron": (plotting.GREEN, "^", "-"),
    "polynomial": (plotting.ORANGE, "v", "--"),
    "products": (plotting.RED, "P", "-"),
    "table": (plotting.GREY, "x", ":"),
    "π ⊕ perceptron": (plotting.PURPLE, "*", "-"),
}
LINES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1)), (0, (3, 1, 1, 1, 1, 1)), (0, (1, 1)))
MARKERS = "osD^vPX"
LABELS = {"true": (plotting.BLUE, "o", "-"), "random": (plotting.RED, "s", "--")}
LEARNT = {
    "holds": "Nets fit random labels, and generalise from true ones",
    "fails": "Nets do not both fit random labels and generalise",
    "is undecided": "Nets have not fitted the true labels",
}
COMPLEXITY = "Lempel–Ziv complexity $K$  [bits]"
LOG_P = r"$\log_2 P(f)$"
CLAIMED: dict[str, Any] = {"color": plotting.RED, "linestyle": (0, (1, 1)), "linewidth": 1.6}
LOWEST = -20.0
MATHEMATICS = (
    ("w₁…w₅x", r"$w_1\cdots w_5x$"), ("w₁w₂x", "$w_1w_2x$"), ("½x⁴", r"$\frac{1}{2}x^4$"),
    ("½x", r"$\frac{1}{2}x$"), ("½", r"$\frac{1}{2}$"), ("wx, w ∈ ℝ³", "$wx$, 3 weights"),
    ("Σ a tanh(bx), H=2,", "two tanh units"),
)  # fmt: skip


def figure(dataset: xr.Dataset, verdict: Verdict) -> dict[str, plotting.Figure]:
    """Draw P against K for four maps, all maps beside the line, and then volumes and digits."""
    rows = verdict.numbers["priors"]["rows"]
    outcomes = {finding.claim: finding.outcome for finding in verdict.findings}
    with plotting.panels(2, 3, (12.6, 7.6)) as (priors, axes):
        places = (axes[0, 0], axes[0, 1], axes[0, 2], axes[1, 0])
        for axis, name in zip(places, SHOWN, strict=True):
            _plane_panel(axis, dataset, name, rows[name])
        _distance_panel(axes[1, 1], dataset, rows)
        _empty_panel(axes[1, 2], verdict.numbers["priors"])
        plotting.letter(axes)
    with plotting.panels(2, 3, (12.6, 7.6)) as (parameters, axes):
        _bits_panel(axes[0, 0], dataset)
        _growth_panel(axes[0, 1], dataset)
        _claimed_panel(axes[0, 2], verdict.numbers["volumes"])
        _error_panel(axes[1, 0], verdict.numbers["digits"], outcomes["E13"])
        _width_panel(axes[1, 1], verdict.numbers["digits"])
        _gamma_panel(axes[1, 2], verdict.numbers["digits"])
        plotting.letter(axes)
    return {"simplicity_bias": priors, "simplicity_bias_parameters": parameters}


# --- priors -----------------------------------------------------------------------------------

NAMES = {
    "ReLU net": "ReLU net, 7-40-40-1", "perceptron": "Perceptron",
    "products": "The essay's products", "π ⊕ perceptron": "Perceptron, digits of π added",
}  # fmt: skip


def _title(name: str, row: Mapping[str, Any]) -> str:
    """Say where the likeliest functions of a map lie."""
    gap = row["gap"]
    if gap is None:
        return f"{NAMES[name]}:\nnone is resolved"
    side = "below" if gap > 0 else "above"
    where = f"{'at least ' * row['gap_is_bound']}{abs(gap):.0f} bits {side} the line"
    return f"{NAMES[name]}: on average the likeliest\nfunctions lie {where}"


def _plane_panel(
    axis: plotting.Axes, dataset: xr.Dataset, name: str, row: Mapping[str, Any]
) -> None:
    at = dataset.sel(map=name)
    complexity = dataset["complexity"].to_numpy()
    place, bit = np.nonzero(at["function_count"].to_numpy())
    count = at["function_count"].to_numpy()[place, bit]
    axis.scatter(
        complexity[place], -(bit + 0.5), s=6 + 12 * np.log10(count), marker="s", linewidths=0,
        color=plotting.SKY, label="resolved functions, by bits\n(size: their number, log scale)",
    )  # fmt: skip
    best, low, high = (at[f"best_{end}"].to_numpy() for end in ("probability", "low", "high"))
    error = np.log2([best / low, high / best])
    axis.errorbar(
        complexity, np.log2(best), error, color=plotting.BLACK, marker="o", markersize=3.5,
        markerfacecolor="white", linestyle="none", capsize=2, label="likeliest of each $K$, 95 %",
    )  # fmt: skip
    exact = float(at["exact_constant"])
    if exact > 2.0**LOWEST:
        axis.plot(
            complexity[0], np.log2(exact), color=plotting.RED, marker="+", markersize=10,
            linestyle="none", label="the constant 0, exact",
        )  # fmt: skip
    floor = np.log2(float(dataset["min_count"] / dataset["draws"]))
    seen = complexity[at["draw_share"].sum("repeat").to_numpy() > 0]
    ends = np.array([0.0, max(seen[-1], 40.0) if name == SHOWN[-1] else _reach(at, floor)])
    slope = float(at["bound_slope"])
    axis.plot(ends, -slope * ends, label=f"$2^{{-aK}}$, $a={slope:.2f}$", **CLAIMED)
    axis.axhspan(LOWEST, floor, color=plotting.GREY, alpha=0.2, linewidth=0)
    axis.text(0.02 * ends[1], LOWEST + 0.3, "drawn less than 10 times", fontsize=7)
    axis.set(xlim=(0, ends[1] * 1.03), ylim=(LOWEST, 0.5), xlabel=COMPLEXITY, ylabel=LOG_P)
    axis.set_title(_title(name, row))
    axis.legend(fontsize=7, loc="best")


def _reach(at: xr.Dataset, floor: float) -> float:
    """Return the K up to which functions are resolved, or the line is, whichever is larger."""
    resolved = at["complexity"].to_numpy()[np.isfinite(at["best_probability"].to_numpy())]
    return float(max([-floor / float(at["bound_slope"]), *resolved]))


def _distance_panel(axis: plotting.Axes, dataset: xr.Dataset, rows: Any) -> None:
    complexity = dataset["complexity"].to_numpy()
    for name in dataset["map"].to_numpy().tolist():
        colour, marker, line = LOOKS[name]
        at = dataset.sel(map=name)
        slope = float(at["bound_slope"])
        if name == "table":
            continue
        best, low, high = (at[f"best_{end}"].to_numpy() for end in ("probability", "low", "high"))
        axis.errorbar(
            complexity, np.log2(best) + slope * complexity, np.log2([best / low, high / best]),
            color=colour, marker=marker, linestyle=line, linewidth=0.8, markerfacecolor="white",
            capsize=1.5, label=name,
        )  # fmt: skip
    axis.axhline(0.0, label="the predicted line", **CLAIMED)
    axis.text(
        0.98, 0.03, f"table: {rows['table']['gap']:.0f} bits below the line, exact",
        transform=axis.transAxes, ha="right", fontsize=7,
    )  # fmt: skip
    axis.set(xlabel=COMPLEXITY, ylabel=r"$\log_2\,\max P + aK$  [bits]")
    axis.set_xscale("log")
    axis.set_xticks([7, 20, 50, 150], ["7", "20", "50", "150"])
    axis.xaxis.set_minor_formatter(plotting.NullFormatter())
    bottom, top = axis.get_ylim()
    axis.set_ylim(bottom - 3, top + 0.55 * (top - bottom))
    axis.set_title("How tight the line is depends on the map:\nthe likeliest function of each $K$")
    axis.legend(fontsize=7, loc="upper left", ncols=2)


def _empty_panel(axis: plotting.Axes, numbers: Any) -> None:
    names = list(numbers["rows"])
    for i, name in enumerate(names):
        row = numbers["rows"][name]
        colour, marker, _ = LOOKS[name]
        if row["empty_of_repeats"] is not None:
            value, error = row["empty_of_repeats"]
            axis.errorbar(
                value, i - 0.12, xerr=2 * error, color=colour, marker=marker, capsize=2,
                markerfacecolor="white", linestyle="none",
            )  # fmt: skip
        if row["empty"] is not None:
            axis.plot(row["empty"], i + 0.12, color=colour, marker=marker, linestyle="none")
        else:
            axis.text(0.5, i, "the line is below what draws resolve", fontsize=7,
                      ha="center", va="center")  # fmt: skip
    axis.plot([], [], color=plotting.BLACK, marker="o", linestyle="none",
              label=f"{numbers['draws']} draws")  # fmt: skip
    axis.errorbar([], [], xerr=[], color=plotting.BLACK, marker="o", markerfacecolor="white",
                  linestyle="none", capsize=2,
                  label=f"{numbers['draws_of_repeat']} draws, ± 2 s.e.")  # fmt: skip
    axis.set_yticks(range(len(names)), names)
    axis.set(xlim=(-0.03, 1.06), ylim=(len(names) - 0.4, -2.2))
    axis.set_xlabel("share of the plane without a resolved function")
    axis.set_title("How much of the plane is empty between\nthe line and what draws resolve")
    axis.legend(fontsize=7, loc="upper left")


# --- volumes ----------------------------------------------------------------------------------


def _shown(name: str) -> str:
    """Write a function as mathematics."""
    for plain, drawn in MATHEMATICS:
        name = name.replace(plain, drawn)
    return name


def _bits_panel(axis: plotting.Axes, dataset: xr.Dataset) -> None:
    n = dataset["volume_n"].to_numpy()
    for i, name in enumerate(dataset["target"].to_numpy().tolist()):
        at = dataset.sel(target=name)
        colour = plotting.COLOURS[i]
        limit = at["exact_learning_coefficient"].item()
        label = rf"{_shown(name)}: $\lambda={limit}$, $m={int(at['multiplicity'])}$"
        axis.plot(n, at["exact_bits"], color=colour, linestyle=LINES[i])
        axis.errorbar(
            n, at["bits"], 2 * at["bits_se"], color=colour, marker=MARKERS[i], linestyle="none",
            markerfacecolor="white", capsize=2, markevery=(i % 2, 2), errorevery=(i % 2, 2),
            label=label,
        )  # fmt: skip
    axis.plot([], [], color=plotting.BLACK, label="lines: exact; markers: splitting ± 2 s.e.")
    top = float(dataset["bits"].max())
    axis.set(xscale="log", ylim=(-0.5, 1.75 * top), xlabel=r"$n=1/\epsilon$")
    axis.set_ylabel(r"$-\log_2 V(1/n)$  [bits]")
    axis.set_title("What it costs to single out a function's\nparameters up to $K<1/n$")
    axis.legend(fontsize=7, loc="upper left", handlelength=2.5)


def _growth_panel(axis: plotting.Axes, dataset: xr.Dataset) -> None:
    n = np.log10(dataset["volume_n"].to_numpy())
    for i, name in enumerate(dataset["target"].to_numpy().tolist()):
        at = dataset.sel(target=name)
        colour, limit = plotting.COLOURS[i], float(at["learning_coefficient"])
        axis.plot(dataset["log_size"], at["far_growth"] / limit, color=colour, linestyle=LINES[i])
        axis.errorbar(
            n[-2] * 1.04 ** (i - 3), at["growth"] / limit, 2 * at["growth_se"] / limit,
            color=colour, marker=MARKERS[i], markerfacecolor="white", capsize=2,
            linestyle="none",
        )  # fmt: skip
    axis.axhline(1.0, label=r"claimed: $\lambda$ bits for each doubling", **CLAIMED)
    axis.set(xscale="log", xlabel=r"$\log_{10} n$", ylim=(0.0, 1.25))
    axis.set_xticks([2, 5, 10, 20, 50, 100], ["2", "5", "10", "20", "50", "100"])
    axis.xaxis.set_minor_formatter(plotting.NullFormatter())
    axis.set_ylabel(r"growth for each doubling of $n$, over $\lambda$")
    axis.set_title("The growth tends to $\\lambda$, for $m>1$ only\nat an $n$ beyond any data")
    axis.legend(fontsize=7, loc="lower right")


def _claimed_panel(axis: plotting.Axes, numbers: Any) -> None:
    for i, (name, row) in enumerate(numbers["rows"].items()):
        value, error = row["bits"]
        axis.errorbar(
            row["claimed_bits"], value, 2 * error, color=plotting.COLOURS[i],
            marker=MARKERS[i], markerfacecolor="white", capsize=2, linestyle="none",
            label=f"{_shown(name)}, $m={row['multiplicity']}$",
        )  # fmt: skip
        if row["exact_bits"] is not None:
            axis.plot(
                row["claimed_bits"], row["exact_bits"], color=plotting.COLOURS[i],
                marker="_", markersize=12, linestyle="none",
            )  # fmt: skip
    ends = [1.0, 100.0]
    axis.plot(ends, ends, label="claimed", **CLAIMED)
    axis.plot([], [], color=plotting.BLACK, marker="_", markersize=10, linestyle="none",
              label="exact")  # fmt: skip
    axis.set(xscale="log", yscale="log", ylim=(0.9, 700.0), xlim=(4.0, 100.0))
    axis.set_xlabel(r"$\lambda\log_2 n$  [bits]")
    axis.set_ylabel(r"$-\log_2 V(1/n)$  [bits]")
    digits, power = f"{numbers['n']:.1e}".split("e")
    axis.set_title(
        f"What the bits are, and what is claimed,\nat $n={digits}\\cdot 10^{{{int(power)}}}$"
    )
    axis.legend(fontsize=7, loc="upper left", ncols=2)


# --- digits -----------------------------------------------------------------------------------


def _error_panel(axis: plotting.Axes, numbers: Any, outcome: str) -> None:
    widths = [row["width"] for row in numbers["rows"]]
    for label, (colour, marker, line) in LABELS.items():
        for name, filled in (("train_error", True), ("test_error", False)):
            value, error = np.array([row[label][name] for row in numbers["rows"]]).T
            axis.errorbar(
                widths, value, 2 * error, color=colour, marker=marker, capsize=2,
                linestyle=line if filled else ":",
                markerfacecolor=colour if filled else "white",
                label=f"{label} labels, {'training' if filled else 'test'}",
            )  # fmt: skip
    axis.axhline(0.9, color=plotting.GREY, linewidth=0.6)
    axis.set(xscale="log", ylim=(-0.03, 1.5), xlabel="hidden units")
    axis.set_xticks(widths, [str(width) for width in widths])
    axis.xaxis.set_minor_formatter(plotting.NullFormatter())
    axis.set_ylabel(f"share of digits wrong (± 2 s.e., {numbers['trainings']} trainings)")
    axis.set_title(f"{LEARNT[outcome]}\n({numbers['train_size']} digits to learn from)")
    axis.legend(fontsize=7, loc="upper left", ncols=2)


def _width_panel(axis: plotting.Axes, numbers: Any) -> None:
    widths = np.array([row["width"] for row in numbers["rows"]], float)
    middle = len(numbers["gammas"]) // 2
    for j, (label, (colour, marker, line)) in enumerate(LABELS.items()):
        value, error = np.array([row[label]["by_gamma"][middle] for row in numbers["rows"]]).T
        axis.errorbar(
            widths * 1.03 ** (2 * j - 1), value, 2 * error, color=colour, marker=marker,
            linestyle=line, capsize=2, markerfacecolor="white", label=f"{label} labels",
        )  # fmt: skip
        bad = ~np.array([row[label]["settled_by_gamma"][middle] for row in numbers["rows"]])
        _mark(axis, (widths * 1.03 ** (2 * j - 1))[bad], value[bad])
    weights = [row["weights"] / 2 for row in numbers["rows"]]
    axis.plot(widths, weights, color=plotting.GREY, linestyle="-.", label="$d/2$, if regular")
    axis.set(xscale="log", yscale="log", xlabel="hidden units")
    axis.set_xticks(widths, [f"{width:g}" for width in widths])
    axis.xaxis.set_minor_formatter(plotting.NullFormatter())
    axis.set_ylabel(rf"$\hat\lambda$ at $\gamma={numbers['gammas'][middle]:g}$ (± 2 s.e.)")
    axis.set_title(rf"$\hat\lambda$ with true and random labels, $n={numbers['train_size']}$")
    _legend_with_marks(axis)


def _gamma_panel(axis: plotting.Axes, numbers: Any) -> None:
    gammas, row = np.array(numbers["gammas"]), numbers["rows"][-1]
    for j, (label, (colour, marker, line)) in enumerate(LABELS.items()):
        value, error = np.array(row[label]["by_gamma"]).T
        place = gammas * 1.03 ** (2 * j - 1)
        axis.errorbar(
            place, value, 2 * error, color=colour, marker=marker, linestyle=line, capsize=2,
            markerfacecolor="white", label=f"{label} labels",
        )  # fmt: skip
        bad = ~np.array(row[label]["settled_by_gamma"])
        _mark(axis, place[bad], value[bad])
    axis.set(xscale="log", xlabel=r"localisation $\gamma$")
    axis.set_ylim(0.0, 1.35 * axis.get_ylim()[1])
    axis.set_ylabel(r"$\hat\lambda$ (± 2 s.e.)")
    axis.set_title(rf"{row['width']} hidden units: $\hat\lambda$ depends on $\gamma$")
    _legend_with_marks(axis)


def _mark(axis: plotting.Axes, place: np.ndarray, value: np.ndarray) -> None:
    axis.plot(
        place, value, color=plotting.BLACK, marker="x", markersize=9, linestyle="none",
    )  # fmt: skip


def _legend_with_marks(axis: plotting.Axes) -> None:
    axis.plot([], [], color=plotting.BLACK, marker="x", markersize=8, linestyle="none",
              label="chains have not settled")  # fmt: skip
    axis.legend(fontsize=7, loc="upper left")

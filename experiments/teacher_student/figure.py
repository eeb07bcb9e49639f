"""The figure of slim teachers: λ by width, λ(n), and differences of expected loss against n."""

from collections.abc import Mapping, Sequence
from typing import Any

import xarray as xr

from slt_jax.report import plotting
from slt_jax.report.verdict import Verdict

SIZE = "sample size $n$"
MARKERS = "osD^v"
COLOURS = (
    plotting.GREY, plotting.BLUE, plotting.BLACK, plotting.ORANGE, plotting.GREEN,
)  # fmt: skip
LINES = ("-", "--", ":", "-.")
SIDESTEP = 1.06

Looks = Mapping[str, tuple[str, str]]
Rows = Sequence[Mapping[str, Any]]


def figure(dataset: xr.Dataset, verdict: Verdict) -> dict[str, plotting.Figure]:
    """Draw relative λ, λ(n) of tanh nets, both differences, and the n from which they hold."""
    numbers = verdict.numbers
    families = dataset["family"].to_numpy().tolist()
    looks = {
        name: (COLOURS[i % len(COLOURS)], MARKERS[i % len(MARKERS)])
        for i, name in enumerate(families)
    }
    spacings = list(dict.fromkeys(row["spacing"] for row in numbers["comparisons"]))
    widths = numbers["coefficients"]["slim"], numbers["coefficients"]["student"]
    with plotting.panels(2, 3, (12.6, 7.6)) as (page, axes):
        _coefficient_panel(axes[0, 0], dataset, numbers["cells"], widths, looks)
        for axis, spacing in zip(axes[0, 1:], (spacings[0], spacings[-1]), strict=True):
            _growth_panel(axis, numbers["cells"], numbers["comparisons"], spacing)
        for axis, against in zip(axes[1, :2], ("wider teacher", "wider student"), strict=True):
            _gap_panel(axis, numbers["comparisons"], against, spacings, looks)
        _answer_panel(axes[1, 2], numbers["comparisons"], looks)
        plotting.letter(axes)
    return {"teacher_student": page}


def _coefficient_panel(
    axis: plotting.Axes, dataset: xr.Dataset, cells: Rows, widths: tuple[int, int], looks: Looks
) -> None:
    slim, student = widths
    at = dataset.sel(student=student)
    for name, (colour, marker) in looks.items():
        relative = at["relative_coefficient"].sel(family=name)
        axis.plot(
            relative["teacher"], relative, color=colour, marker=marker, markerfacecolor="white",
            label=name,
        )  # fmt: skip
    unknown = [row for row in cells if row["known"] is None and row["student"] == student]
    for k, row in enumerate(unknown):
        largest = float(at["largest_coefficient"].sel(family=row["family"]))
        axis.errorbar(
            row["teacher"], row["value"] / largest, 2 * row["standard_error"] / largest,
            color=looks[row["family"]][0], marker="x", linestyle="none", capsize=2,
            label=f"{row['family']}, λ(n) at n ≈ {row['n']:.0f}" if k == 0 else None,
        )  # fmt: skip
    axis.axvspan(slim - 0.1, slim + 1.1, color=plotting.GREY, alpha=0.12, linewidth=0)
    axis.set(xlabel="units of the teacher $H_0$", ylim=(-0.05, 1.65))
    axis.set_xticks(range(student + 1))
    axis.set_yticks([0.0, 0.25, 0.5, 0.75, 1.0])
    axis.set_ylabel(f"$\\lambda/\\lambda_{{\\max}}$ of the width-{student} student")
    axis.set_title(
        f"λ is lower on {slim} units than on {slim + 1},\nbut where both are one function"
    )
    axis.legend(fontsize=7, loc="upper left", ncols=2, handlelength=2.6)


def _growth_panel(axis: plotting.Axes, cells: Rows, comparisons: Rows, spacing: float) -> None:
    """Draw λ(n) of the widest judged tanh cells."""
    judged = [row for row in comparisons if row["spacing"] == spacing and row["family"] == "tanh"]
    if not judged:
        axis.set_axis_off()
        return
    slim, student = max((row["slim"], row["student"]) for row in judged)
    shown = {(slim, student): "o", (slim + 1, student): "s", (slim, student + 1): "^"}
    colours = (plotting.BLUE, plotting.BLACK, plotting.ORANGE)
    for k, ((teacher, width), marker) in enumerate(shown.items()):
        row = next(
            row for row in cells
            if (row["family"], row["spacing"], row["teacher"], row["student"])
            == ("tanh", spacing, teacher, width)
        )  # fmt: skip
        places = [n * SIDESTEP ** (k - 1) for n in row["sizes"]]
        axis.errorbar(
            places, row["values"], [2 * error for error in row["standard_errors"]],
            color=colours[k], marker=marker, markerfacecolor="white", linestyle=LINES[k],
            capsize=2, label=f"{teacher} in {width}",
        )  # fmt: skip
        if row["known"] is not None:
            axis.axhline(
                row["known"], color=colours[k], linestyle=LINES[k], linewidth=0.8,
                label=f"its limit λ = {row['known']:g}",
            )  # fmt: skip
    axis.set(xscale="log", xlabel=SIZE, ylabel=r"$\lambda(n)=\mathrm{d}E[F_n]/\mathrm{d}\log n$")
    axis.set_ylim(0.0, 1.35 * axis.get_ylim()[1])
    axis.set_title(f"tanh, input weights {spacing:g} apart:\nλ(n) of samples and its limits λ")
    axis.legend(fontsize=7, loc="upper left", ncols=2, handlelength=2.8)


def _gap_panel(
    axis: plotting.Axes, comparisons: Rows, against: str, spacings: Sequence[float], looks: Looks
) -> None:
    widest: dict[tuple[str, float], Mapping[str, Any]] = {}
    for row in comparisons:
        if row["against"] == against:
            widest[row["family"], row["spacing"]] = row
    for k, ((family, spacing), row) in enumerate(widest.items()):
        colour, marker = looks[family]
        first = spacing == spacings[0]
        sizes = [(a * b) ** 0.5 for a, b in zip(row["sizes"], row["sizes"][1:], strict=False)]
        axis.errorbar(
            [n * SIDESTEP ** (k - len(widest) / 2) for n in sizes], row["gap"][1:],
            [2 * error for error in row["standard_error"][1:]], color=colour, marker=marker,
            markerfacecolor=colour if first else "white", linestyle=LINES[not first], capsize=2,
            label=f"{_short(row)}, s = {spacing:g}",
        )  # fmt: skip
    axis.axhline(0.0, color=plotting.BLACK, linewidth=0.6)
    axis.set(xscale="log", xlabel=SIZE)
    axis.set_ylabel(f"$n\\,(E[G_n]-E[G_n]$ of the {against})")
    low, high = axis.get_ylim()
    axis.set_ylim(low, high + 0.75 * (high - low))
    what = {"wider teacher": "the same student on the\nwider teacher",
            "wider student": "the wider student on\nthe same teacher"}[against]  # fmt: skip
    axis.set_title(f"Loss against {what} (below 0: less)")
    axis.legend(fontsize=6.5, loc="upper left", ncols=2, handlelength=2.6, columnspacing=0.8)


def _short(row: Mapping[str, Any]) -> str:
    return f"{row['family'].split(',')[0]} {row['slim']} in {row['student']}"


def _answer_panel(axis: plotting.Axes, comparisons: Rows, looks: Looks) -> None:
    labels = []
    last = max(row["sizes"][-1] for row in comparisons)
    for i, row in enumerate(comparisons):
        colour = looks[row["family"]][0]
        teacher = row["against"] == "wider teacher"
        labels.append(f"{_short(row)}, {row['spacing']:g}" if teacher else "")
        first = row["sizes"][0] / 3
        if row["sure"] is not None:
            low, sure = (max(row[key], first) for key in ("low", "sure"))
            axis.plot([low, sure], [-i, -i], color=colour, linewidth=1.0, linestyle=":")
            axis.plot([sure, row["sizes"][-1]], [-i, -i], color=colour, linewidth=2.4)
            axis.plot(
                sure, -i, color=colour, marker="o" if teacher else "^", markerfacecolor="white"
            )
        else:
            axis.plot(
                1.6 * last, -i, color=colour, marker="x" if row["state"] == "never" else "$?$",
                linestyle="none",
            )  # fmt: skip
        if not row["converged"]:
            axis.plot(3.0 * last, -i, color=plotting.RED, marker="$!$", linestyle="none")
    axis.set_yticks([-i for i in range(len(labels))], labels, fontsize=6.5)
    axis.tick_params(axis="y", length=0)
    axis.set(xscale="log", xlabel=SIZE, xlim=(2.0, 5 * last))
    axis.set_title(
        "From where (d), circles, and (e), triangles,\nare below 0 (99.7 %) up to the last n"
    )
    axis.text(
        0.02, 0.0, "× never  ? open  ! not converged", transform=axis.transAxes, fontsize=7,
        va="bottom", color=plotting.GREY,
    )  # fmt: skip
    axis.set_ylim(-len(labels) - 1.0, 0.8)

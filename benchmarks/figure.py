"""The figures of a run: one panel for each benchmark that was run."""

from typing import Any

import numpy as np

from benchmarks import chains, curve, gradients, likelihoods, peer_smc, startup
from slt_jax.report import plotting

GREYS = ("0.25", "0.55", "0.8")
HATCHES = ("", "///", "...")
MARKERS = "os^DvP"
DASHES = ("-", "--", ":", "-.", (0, (5, 1)), (0, (3, 1, 1, 1, 1, 1)))


def draw(timings: dict[str, Any]) -> dict[str, plotting.Figure]:
    """Figures by name, of those panels that were measured: our own speed, and peers beside it."""
    figures = {
        "benchmarks": {
            "likelihoods": _likelihoods, "gradients": _gradients, "chains": _chains,
            "cost_in_n": _cost_in_n, "startup": _startup, "scaling": _scaling,
        },
        "benchmarks_peers": {"curve": _curve, "peers": _peers, "nuts": _nuts},
    }  # fmt: skip
    return {
        name: _drawn({panel: panels[panel] for panel in panels if panel in timings}, timings)
        for name, panels in figures.items()
        if panels.keys() & timings.keys()
    }


def _drawn(panels: dict[str, Any], timings: dict[str, Any]) -> plotting.Figure:
    """Panels in the order of the table, at most three in a row."""
    columns = min(3, len(panels))
    count = -(-len(panels) // columns)
    with plotting.matplotlib.rc_context(plotting.STYLE):
        figure = plotting.Figure(figsize=(3.7 * columns, 3.2 * count), layout="constrained")
        grid = figure.subplots(count, columns, squeeze=False).ravel()
        for axis, (name, panel) in zip(grid, panels.items(), strict=False):
            panel(axis, timings[name])
        for axis in grid[len(panels) :]:
            axis.set_axis_off()
    return figure


def _likelihoods(axis: Any, timings: dict[str, Any]) -> None:
    families = [family for family in likelihoods.FAMILIES if family.name in timings["families"]]
    places = np.arange(len(families))[::-1]
    for index, (data_sets, count) in enumerate(timings["shapes"]):
        rates = [timings["families"][f.name][index]["per_gigaflops"] for f in families]
        label = f"{count} chains" + (f" × {data_sets} data sets" if data_sets > 1 else "")
        axis.semilogx(
            rates, places, MARKERS[index], color="black", label=label, markersize=4,
            markerfacecolor="white" if index else "black",
        )  # fmt: skip
    for place, family in zip(places, families, strict=True):
        if family.aim:
            axis.plot(
                [family.aim] * 2, [place - 0.45, place + 0.45], color="0.4", linestyle="--",
                label="aim" if family.name == "tanh_3" else None,
            )  # fmt: skip
    axis.set_yticks(places, [family.name for family in families], fontsize=5)
    axis.set_ylim(-0.7, 1.25 * len(families))
    axis.set_xlabel("gradients/s per GFlop/s of a product")
    axis.set_title("Gradients of every family")
    axis.legend(fontsize=6, ncols=2, loc="upper left", columnspacing=0.8, handletextpad=0.2)


def _gradients(axis: Any, timings: dict[str, Any]) -> None:
    problems = {n: timings["problems"][n] for n in gradients.PROBLEMS if n in timings["problems"]}
    width = 0.8 / len(problems)
    places = np.arange(len(gradients.SAMPLERS))
    for index, (name, samplers) in enumerate(problems.items()):
        axis.bar(
            places + (index - (len(problems) - 1) / 2) * width,
            [samplers[sampler]["ratio"] for sampler in gradients.SAMPLERS], width,
            color=GREYS[2 * index], hatch=HATCHES[index], edgecolor="black", label=name,
        )  # fmt: skip
    axis.axhline(gradients.AIM, color="black", linestyle="--", label="aim")
    axis.set_xticks(places, list(gradients.SAMPLERS), fontsize=8)
    axis.set_ylim(0, 1.5)
    axis.set_ylabel("gradients/s over bare loop")
    axis.set_title(f"Gradients inside a sampler, {timings['chains']} chains")
    axis.legend(fontsize=8)


def _curve(axis: Any, timings: dict[str, Any]) -> None:
    names = [n for n in (curve.OURS, *curve.AIMS) if "missing" not in timings["methods"][n]]
    methods = {name: timings["methods"][name] for name in names}
    totals = [method["total_seconds"] for method in methods.values()]
    compiling = [method["compile_seconds"] for method in methods.values()]
    places = np.arange(len(methods))[::-1]
    axis.barh(places, totals, color=GREYS[2], edgecolor="black", label="in all")
    axis.barh(
        places, compiling, 0.45, color=GREYS[0], edgecolor="black", label="before sampling"
    )  # fmt: skip
    for place, total in zip(places, totals, strict=True):
        axis.annotate(
            f"{total:.0f} s", (total, place), (4, 0), textcoords="offset points", va="center"
        )
    axis.set_yticks(places, [name.replace(", ", ",\n") for name in methods])
    axis.set_xscale("log")
    axis.set_xlim(1, 8 * max(totals))
    axis.set_ylim(-0.6, len(methods) + 0.3)
    axis.set_xlabel(f"wall time to s.e. {timings['target']} nats [s]")
    axis.set_title("One free-energy curve")
    axis.legend(fontsize=8, ncols=2, loc="upper right")


def _peers(axis: Any, timings: dict[str, Any]) -> None:
    problems = peer_smc.ordered(timings["smc"])
    ratios = np.array([peer_smc.ratios({name: both}) for name, both in problems.items()])
    places = np.arange(len(problems))[::-1]
    for offset, values, marker, label in zip(
        (0.12, -0.12), ratios.T, "os", ("end to end", "compiled"), strict=True
    ):
        axis.semilogx(values, places + offset, marker, color="black", label=label,
                      markerfacecolor="black" if marker == "o" else "white")  # fmt: skip
    height = [-0.6, len(problems) - 0.4]
    axis.plot([peer_smc.MOST] * 2, height, color="black", linestyle="--", label="aim")
    axis.set_yticks(places, list(problems), fontsize=7)
    axis.set_xlim(0.05, 5)
    axis.set_xticks([0.1, 0.3, 1, 3], ["0.1", "0.3", "1", "3"])
    axis.set_ylim(-0.6, len(problems) + 0.9)
    axis.set_xlabel("our time over blackjax's")
    axis.set_title("SMC of one data set, equal errors")
    axis.legend(fontsize=7, ncols=3, loc="upper center", columnspacing=0.8, handletextpad=0.2)


def _chains(axis: Any, timings: dict[str, Any]) -> None:
    rates = np.array(timings["rate"]) / 1e6
    axis.semilogx(timings["chains"], rates, color="black", marker="o")
    axis.axhline(chains.AIM / 1e6, color="0.4", linestyle="--", label="aim")
    axis.set_ylim(0, 1.2 * max(rates))
    axis.set_xlabel("chains")
    axis.set_ylabel("chain-steps per second [10⁶/s]")
    axis.legend(fontsize=8)
    axis.set_title("SGLD on a 5-5-5 linear net")


def _nuts(axis: Any, timings: dict[str, Any]) -> None:
    for index, problem in enumerate(dict.fromkeys(case["problem"] for case in timings["cases"])):
        cases = [case for case in timings["cases"] if case["problem"] == problem]
        axis.loglog(
            [case["chains"] for case in cases], [case["ratio"] for case in cases],
            color="black", linestyle=DASHES[index], marker=MARKERS[index], label=problem,
        )  # fmt: skip
    axis.axhline(1.0, color=GREYS[1], linewidth=0.8)
    axis.set_xlabel("chains")
    axis.set_ylabel("draws/s over numpyro's")
    axis.set_title("NUTS beside chains that wait")
    axis.legend(fontsize=8)


def _cost_in_n(axis: Any, timings: dict[str, Any]) -> None:
    looks = zip(plotting.COLOURS, MARKERS, DASHES, strict=False)
    for likelihood, (colour, marker, dash) in zip(timings["likelihoods"], looks, strict=False):
        axis.loglog(
            timings["sizes"], 1e6 * np.array(likelihood["seconds"]), color=colour, marker=marker,
            linestyle=dash, markerfacecolor="white", label=likelihood["name"],
        )  # fmt: skip
    low, high = axis.get_ylim()
    axis.set_ylim(low, high * 30)
    axis.set_xlabel("sample size $n$")
    axis.set_ylabel("time of one gradient [µs]")
    axis.set_title("Cost of a likelihood")
    axis.legend(fontsize=7, ncols=2, loc="upper left", columnspacing=1)


def _startup(axis: Any, timings: dict[str, Any]) -> None:
    measured = timings.get("starts", {})
    starts = {start.name: measured[start.name] for start in startup.starts() if measured}
    for index, state in enumerate(("cold", "warm")):
        ratios = [spent[state]["ratio"] for spent in starts.values()]
        axis.barh(
            np.arange(len(starts)) + 0.4 * index, ratios, 0.4, color=GREYS[2 * index],
            edgecolor="black", label=state,
        )  # fmt: skip
    axis.set_yticks(np.arange(len(starts)) + 0.2, list(starts), fontsize=7)
    axis.invert_yaxis()
    axis.set_xlabel("wall time over that of import jax")
    axis.set_title(f"Start; a curve compiles {timings['sampler']} sampler")
    axis.legend(fontsize=8, title="compilation cache")


def _scaling(axis: Any, timings: dict[str, Any]) -> None:
    devices, spent = np.array(timings["devices"]), np.array(timings["seconds"])
    axis.plot(devices, spent[0] / spent, color="black", marker="o", label="measured")
    axis.plot(
        devices, np.minimum(devices, timings["cores"]), color="0.5", linestyle="--",
        label=f"ideal on {timings['cores']} cores",
    )  # fmt: skip
    axis.set_xscale("log", base=2)
    axis.set_xticks(devices, [str(count) for count in devices])
    axis.set_ylim(0, 1.2 * max(timings["cores"], *(spent[0] / spent)))
    axis.set_xlabel("forced CPU devices")
    axis.set_ylabel("speed-up over one device")
    axis.set_title("A sweep over devices")
    axis.legend(fontsize=8)

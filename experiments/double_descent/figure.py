"""The figure of double descent: where it is, what it takes, and what evidence makes of it."""

from typing import Any

import numpy as np
import xarray as xr

from slt_jax.report import plotting
from slt_jax.report.verdict import Verdict

Look = tuple[str, Any, str]
LOOKS: dict[str, Look] = {
    "monomial": (plotting.RED, (0, (1, 1)), "x"),
    "Chebyshev": (plotting.ORANGE, "--", "s"),
    "Legendre": (plotting.GREEN, "-.", "^"),
    "normalised Legendre": (plotting.BLACK, "-", "o"),
    "Fourier": (plotting.BLUE, (0, (5, 1, 1, 1)), "D"),
}
PARAMETERS = "number of parameters $p$"
ERROR = "test error (null predictor: 1)"
CROWDED = 3


def figure(dataset: xr.Dataset, verdict: Verdict) -> dict[str, plotting.Figure]:
    """Draw errors along p, gains along s, exact monomials, tamed errors, evidence and β."""
    with plotting.panels(2, 3, (12.8, 7.8)) as (page, axes):
        drawn = (
            _descent_panel, _gain_panel, _monomial_panel, _tame_panel, _evidence_panel, _beta_panel,
        )  # fmt: skip
        titles = _titles(dataset, verdict)
        for draw, title, axis in zip(drawn, titles, axes.ravel(), strict=True):
            draw(axis, dataset)
            axis.set_title(title)
        plotting.letter(axes)
    return {"double_descent": page}


def _titles(dataset: xr.Dataset, verdict: Verdict) -> tuple[str, ...]:
    """Say the message of each panel, or its subject where the verdict is another."""
    numbers = verdict.numbers
    descending, families = numbers["descending"], dataset["family"].to_numpy().tolist()
    others = [family for family in families if family not in descending]
    if not others:
        descent = "Minimum norm descends twice\nin every basis"
    elif others == ["monomial"]:
        descent = "Minimum norm descends twice in every basis\nbut that of monomials"
    else:
        descent = "Minimum norm along the number\nof parameters"
    norm = [row for row in numbers["descents"] if row["estimator"] == "minimum norm"]
    pays = any(row["helps"] for row in norm)
    scale = float(dataset["exact_scale"][0])
    settled = verdict.findings[1].outcome.startswith("fails")
    counted = r"counted directions $\frac{1}{2}\Sigma\,\kappa/(1+\kappa)$ at $p=n$"
    return (
        descent,
        "More parameters than data pay (below 0)\n"
        + ("only for $s$ in a window" if pays else "at no $s$"),
        f"Monomials ($s={scale:g}$): what double precision sees\nis decided by the cut-off of "
        "singular values",
        "Ridge and Bayes have no peak, nor has\na net that Adam trains"
        if settled
        else "Ridge, Bayes and a net along\nthe number of parameters",
        ("The evidence passes $p=n$ smoothly" if settled else "The evidence along $p$")
        + "; below 0: where\nit is largest, median and quartiles",
        (r"The peak comes with $\beta\to\infty$, not with $\lambda$" if settled
         else r"Posterior means at $\beta$") + f"; numbers:\n{counted}",
    )  # fmt: skip


def _shown(dataset: xr.Dataset) -> str:
    noise, scale = float(dataset["noise"][0]), float(dataset["shown_scale"])
    return f"{dataset['target'][0].item()}'s function, $\\sigma={noise:g}$, $s={scale:g}$"


def _threshold(axis: plotting.Axes, dataset: xr.Dataset) -> None:
    axis.axvline(float(dataset["sample_size"]), color=plotting.GREY, linewidth=0.7)
    axis.annotate(
        "$p=n$", (float(dataset["sample_size"]), 0.99), xycoords=("data", "axes fraction"),
        xytext=(3, 0), textcoords="offset points", va="top", fontsize=7, color=plotting.GREY,
    )  # fmt: skip


def _curve(
    axis: plotting.Axes, at: xr.Dataset, name: str, along: str, label: str, look: Look,
    every: tuple[int, int] = (0, CROWDED),
) -> None:  # fmt: skip
    """Draw a median with its interval; markers are where error bars are."""
    known = at.dropna(along, subset=[name])
    colour, line, marker = look
    middle, low, high = (known[f"{name}{end}"].to_numpy() for end in ("", "_low", "_high"))
    axis.errorbar(
        known[along], middle, (middle - low, high - middle), color=colour, linestyle=line,
        marker=marker, markersize=3.5, markerfacecolor="white", markevery=every,
        errorevery=every, capsize=1.5, elinewidth=0.8, label=label,
    )  # fmt: skip


def _descent_panel(axis: plotting.Axes, dataset: xr.Dataset) -> None:
    at = dataset.isel(target=0, noise=0).sel(
        estimator="minimum norm", scale=float(dataset["shown_scale"])
    )
    for i, (family, look) in enumerate(LOOKS.items()):
        extra = " (exact)" if family == "monomial" else ""
        _curve(axis, at.sel(family=family), "test_error", "parameters", family + extra, look,
               (i % CROWDED, CROWDED))  # fmt: skip
    axis.set(xscale="log", yscale="log", xlabel=PARAMETERS, ylabel=f"median {ERROR}")
    _threshold(axis, dataset)
    axis.legend(
        fontsize=7, loc="center right", bbox_to_anchor=(1.0, 0.36), handlelength=3.2,
        title=_shown(dataset), title_fontsize=7,
    )  # fmt: skip


def _gain_panel(axis: plotting.Axes, dataset: xr.Dataset) -> None:
    at = dataset.sel(estimator="minimum norm").isel(noise=0)
    for family, look in LOOKS.items():
        if family != "monomial":
            one = at.sel(family=family).isel(target=0)
            _curve(axis, one, "gain", "scale", family, look, (0, 1))
    low = at.isel(target=1).sel(family="normalised Legendre")
    name = f"normalised Legendre, {low['target'].item()}"
    _curve(axis, low, "gain", "scale", name, (plotting.GREY, "-", "v"), (0, 1))
    axis.axhline(0.0, color=plotting.GREY, linewidth=0.7)
    axis.set(xlabel="exponent $s$ of the features' scale $k^{-s}$", ylim=(-1.4, 4.6))
    axis.set_ylabel("$\\log_{10}$ error at last $p$ / at best $p<n$")
    axis.legend(fontsize=7, loc="upper left", handlelength=3.2)


def _monomial_panel(axis: plotting.Axes, dataset: xr.Dataset) -> None:
    scale = float(dataset["exact_scale"][0])
    exact = dataset.isel(target=0, noise=0).sel(
        estimator="minimum norm", family="monomial", scale=scale
    )
    _curve(axis, exact, "test_error", "parameters", "exact",
           (plotting.BLACK, "-", "o"))  # fmt: skip
    cuts = dataset["cutoff"].to_numpy()
    colours = (plotting.RED, plotting.ORANGE, plotting.GREEN, plotting.BLUE, plotting.PURPLE)
    lines = ("--", "-.", (0, (5, 1, 1, 1)), (0, (3, 1, 1, 1, 1, 1)), (0, (1, 1)))
    for i, cut in enumerate(cuts):
        power = round(np.log10(cut))
        look = (colours[i % 5], lines[i % 5], "sD^vP"[i % 5])
        _curve(axis, dataset.sel(cutoff=cut), "double_precision_error", "parameters",
               f"cut-off $10^{{{power}}}$", look, (i % CROWDED, CROWDED))  # fmt: skip
    axis.set(xscale="log", yscale="log", xlabel=PARAMETERS, ylabel=f"median {ERROR}")
    _threshold(axis, dataset)
    axis.legend(fontsize=7, loc="upper left", handlelength=3.2)


def _tame_panel(axis: plotting.Axes, dataset: xr.Dataset) -> None:
    at = dataset.isel(target=0, noise=0).sel(
        family="normalised Legendre", scale=float(dataset["shown_scale"])
    )
    looks = (
        ("minimum norm", (plotting.GREY, "-", "o"), "minimum norm"),
        ("best ridge", (plotting.GREEN, "-.", "^"), "ridge at its best"),
        ("Bayes", (plotting.BLACK, "--", "s"), "Bayes, noise known"),
    )
    for i, (name, look, label) in enumerate(looks):
        _curve(axis, at.sel(estimator=name), "test_error", "parameters", label, look,
               (i % CROWDED, CROWDED))  # fmt: skip
    _curve(axis, dataset, "net_error", "net_parameters", "ReLU net, Adam",
           (plotting.BLUE, ":", "D"), (0, 1))  # fmt: skip
    some = dataset["net_interpolating"] < 1
    beyond = dataset["net_parameters"] > dataset["sample_size"]
    marked = dataset.isel(net_parameters=(some & beyond).to_numpy())
    if marked.sizes["net_parameters"]:
        axis.plot(
            marked["net_parameters"], marked["net_error"], color=plotting.RED, marker="x",
            markersize=8, linestyle="none", label="not all interpolate, $p>n$",
        )  # fmt: skip
    axis.set(xscale="log", yscale="log", xlabel=PARAMETERS, ylabel=f"median {ERROR}")
    axis.set_ylim(float(at["test_error"].min()) / 4, 30)
    _threshold(axis, dataset)
    axis.legend(fontsize=7, loc="upper right", bbox_to_anchor=(1.0, 0.94), handlelength=3.2,
                title=f"normalised Legendre\n{_shown(dataset)}", title_fontsize=7)  # fmt: skip


def _evidence_panel(axis: plotting.Axes, dataset: xr.Dataset) -> None:
    at = dataset.isel(target=0, noise=0).sel(scale=float(dataset["shown_scale"]))
    for i, (family, (colour, line, marker)) in enumerate(LOOKS.items()):
        one = at.sel(family=family)
        _curve(axis, one, "free_energy", "parameters", family, (colour, line, marker),
               (i % CROWDED, CROWDED))  # fmt: skip
        best, low, high = (
            float(one[f"evidence_parameters{end}"]) for end in ("", "_quarter", "_three_quarters")
        )
        axis.errorbar(
            best, -1.5 - 1.6 * i, xerr=([best - low], [high - best]), color=colour, marker=marker,
            markersize=4.5, capsize=2,
        )  # fmt: skip
    axis.set(xscale="log", xlabel=PARAMETERS, ylim=(-9.5, 60))
    axis.set_ylabel("$F_n$ above its least, mean over noise  [nats]")
    _threshold(axis, dataset)
    axis.legend(fontsize=7, loc="upper right", bbox_to_anchor=(1.0, 0.97), handlelength=3.2,
                title=_shown(dataset), title_fontsize=7)  # fmt: skip


def _beta_panel(axis: plotting.Axes, dataset: xr.Dataset) -> None:
    at = dataset.sel(family="normalised Legendre")
    betas = dataset["beta"].to_numpy()
    colours = (plotting.BLACK, plotting.BLUE, plotting.GREEN, plotting.ORANGE, plotting.RED)
    lines = ("-", "--", "-.", (0, (5, 1, 1, 1)), (0, (3, 1, 1, 1, 1, 1)))
    chosen = betas[:: max(1, -(-len(betas) // len(colours)))]
    for i, beta in enumerate(chosen):
        count = float(at["counted_directions"].sel(beta=beta, parameters=dataset["sample_size"]))
        power = round(np.log10(beta))
        label = f"$\\beta=10^{{{power}}}$, {count:.1f}" if power else f"$\\beta=1$, {count:.1f}"
        _curve(axis, at.sel(beta=beta), "tempered_error", "parameters", label,
               (colours[i], lines[i], "osD^v"[i]), (i % CROWDED, CROWDED))  # fmt: skip
    last = dataset.isel(target=0, noise=0).sel(
        family="normalised Legendre", estimator="minimum norm", scale=float(dataset["shown_scale"])
    )
    _curve(axis, last, "test_error", "parameters",
           f"minimum norm, {float(dataset['sample_size']) / 2:g}",
           (plotting.GREY, (0, (1, 1)), "P"))  # fmt: skip
    p = dataset["parameters"].to_numpy()
    few = p[p <= int(dataset["sample_size"])]
    axis.plot(
        few, float(dataset["noise"][0]) ** 2 * few / float(dataset["sample_size"]),
        color=plotting.PURPLE, linestyle=":", linewidth=1.8,
        label=r"$\sigma^2p/n$, of the regular $\lambda=p/2$",
    )  # fmt: skip
    axis.set(xscale="log", yscale="log", xlabel=PARAMETERS, ylabel=f"median {ERROR}")
    _threshold(axis, dataset)
    axis.legend(fontsize=7, loc="upper right", bbox_to_anchor=(1.0, 0.94), handlelength=3.2)

"""The verdict on rankings by runs (N4) and by evidence (N2), from the dataset alone."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from slt_jax.estimators import mean_over_data_sets
from slt_jax.report.verdict import Finding, Verdict, aligned, plus_minus

PRACTICE = (
    "practice ranks models by mean test error over SGD runs (protocol B), not by the best run "
    "(protocol A)"
)
EVIDENCE = "F_n is what Bayesian model selection ranks by; WBIC estimates it"
GIBBS, BAYES, FREE_ENERGY, OWN = "Gibbs G_g", "Bayes B_g", "F_n", "loss of runs"
LEVEL = 0.05
# A difference of τ is one of twice as many pairs in a hundred: these are two pairs in eighty.
MAX_EQUAL = 0.05
# Nine of ten pairs in the order of F_n.
MIN_AGREEMENT = 0.8
# What is said of fewer data sets would be chance.
MIN_DATA_SETS = 8

Numbers = Mapping[str, Any]
Floats = NDArray[np.float64]


def verdict(dataset: xr.Dataset) -> Verdict:
    """Judge which protocol ranks as the true losses do, and whether WBIC ranks as F_n does."""
    numbers = {
        "runs": numbers_of_runs(dataset),
        "criteria": numbers_of_criteria(dataset),
        "luck": numbers_of_luck(dataset),
    }
    findings = (judge_runs(numbers), judge_criteria(numbers["criteria"]))
    tables = (
        table_of_rankings(numbers),
        table_of_cells(numbers["runs"]),
        table_of_agreement(numbers["criteria"]),
        table_of_luck(numbers["luck"]),
    )
    return Verdict(findings, "\n\n".join(tables), numbers, notes(numbers))


# --- numbers ----------------------------------------------------------------------------------


def pooled(values: xr.DataArray, comparisons: int = 1) -> dict[str, Any]:
    """Average over all but data sets, then over these, with a t interval by Bonferroni.

    Data sets without a value, as where all models tie, are left out.
    """
    array = values.transpose("replicate", ...).to_numpy().reshape(values.sizes["replicate"], -1)
    kept = array[np.isfinite(array).any(axis=1)]
    if len(kept) < 2:
        return {"value": None, "half_width": None, "data_sets": len(kept)}
    estimate = mean_over_data_sets(np.nanmean(kept, axis=1))
    return {
        "value": float(estimate.value),
        "half_width": float(estimate.half_width(1 - LEVEL / comparisons)),
        "data_sets": len(kept),
    }


def kind_of(one: Numbers) -> str:
    """Say whether a difference is better, worse, equal within ``MAX_EQUAL``, or unresolved."""
    if one["value"] is None or one["data_sets"] < MIN_DATA_SETS:
        return "unresolved"
    low, high = one["value"] - one["half_width"], one["value"] + one["half_width"]
    if low > 0 or high < 0:
        return "better" if low > 0 else "worse"
    return "equal" if max(-low, high) <= MAX_EQUAL else "unresolved"


def numbers_of_runs(dataset: xr.Dataset) -> dict[str, Any]:
    """Collect τ of the protocols, and of B less A, by source, T and s, and by family and cell."""
    sizes, counts = (dataset[axis].to_numpy().tolist() for axis in ("test_size", "run_count"))
    rows, comparisons = [], len(sizes)
    for source in dataset["source"].to_numpy().tolist():
        for size in sizes:
            for count in counts:
                at = dataset.sel(source=source, test_size=size, run_count=count)
                row: dict[str, Any] = {"source": source, "test_size": size, "runs": count}
                for reference in (GIBBS, BAYES, OWN, FREE_ENERGY):
                    by = at["run_tau"].sel(run_reference=reference)
                    row[reference] = {
                        name: pooled(by.sel(protocol=name))
                        for name in by["protocol"].to_numpy().tolist()
                    }
                    gain = pooled(_gain(by), comparisons)
                    row[reference]["gain"] = gain | {"kind": kind_of(gain)}
                row["regret"] = {
                    name: pooled(at["run_regret"].sel(protocol=name))
                    for name in by["protocol"].to_numpy().tolist()
                }
                rows.append(row)
    return {
        "rows": rows,
        "sizes": sizes,
        "counts": counts,
        "first": {
            f"{source}, T = {size}": _first(rows, source, size)
            for source in dataset["source"].to_numpy().tolist()
            for size in sizes
        },
        "cells": _cells(dataset, counts[-1]),
        "data_sets": dataset.sizes["replicate"],
        "diverged": int(dataset["num_diverged"].sum()),
        "left_out": int((~dataset["converged"].astype(bool)).sum()),
        "posteriors": int(dataset["converged"].size),
    }


def _gain(tau: xr.DataArray) -> xr.DataArray:
    return tau.sel(protocol="mean", drop=True) - tau.sel(protocol="best", drop=True)


def _first(rows: Sequence[Numbers], source: str, size: int) -> int | None:
    """Return the least s from which on B ranks better by G_g than A, None where it never does."""
    first = None
    for row in (row for row in rows if (row["source"], row["test_size"]) == (source, size)):
        first = (first or row["runs"]) if row[GIBBS]["gain"]["kind"] == "better" else None
    return first


def _cells(dataset: xr.Dataset, count: int) -> list[dict[str, Any]]:
    rows = []
    at = dataset.sel(run_count=count, run_reference=GIBBS)
    for family in dataset["family"].to_numpy().tolist():
        for cell in dataset["cell"].to_numpy().tolist():
            one = at.sel(family=family, cell=cell)
            for source in dataset["source"].to_numpy().tolist():
                by = one.sel(source=source)
                gains = [
                    pooled(_gain(by["run_tau"].sel(test_size=size)))
                    for size in dataset["test_size"].to_numpy()
                ]
                rows.append(
                    {
                        "family": family, "title": one["title"].item(), "source": source,
                        "noise": float(one["noise"]), "n": int(one["sample_size"]),
                        "gains": gains, "scatter": float(by["scatter"].mean()),
                        "ties": float(one["ties"].sel(reference=GIBBS).mean()),
                        "converged": int(one["converged"].sum()),
                    }
                )  # fmt: skip
    return rows


def numbers_of_criteria(dataset: xr.Dataset) -> dict[str, Any]:
    """Collect τ of the criteria against each reference, and of WBIC against F_n by cell."""
    names = dataset["criterion"].to_numpy().tolist()
    tau = dataset["tau"]
    whole = {
        reference: {name: pooled(tau.sel(reference=reference, criterion=name)) for name in names}
        for reference in (GIBBS, BAYES, FREE_ENERGY)
    }
    to_evidence, comparisons = tau.sel(reference=FREE_ENERGY), dataset.sizes["cell"]
    cells = [
        {
            "noise": float(dataset["noise"].sel(cell=cell)),
            "n": int(dataset["sample_size"].sel(cell=cell)),
            **{
                name: pooled(to_evidence.sel(cell=cell, criterion=name), comparisons)
                for name in names[1:]
            },
        }
        for cell in dataset["cell"].to_numpy()
    ]
    by_family = {
        family: {
            "to F_n": {
                name: pooled(to_evidence.sel(family=family, criterion=name), tau.sizes["family"])
                for name in names[1:]
            },
            "to B_g": {
                name: pooled(tau.sel(reference=BAYES, family=family, criterion=name))
                for name in ("F_n", "WAIC")
            },
        }
        for family in dataset["family"].to_numpy().tolist()
    }
    return {
        "tau": whole,
        "cells": cells,
        "families": by_family,
        "regret": {name: pooled(dataset["regret"].sel(criterion=name)) for name in names},
    }


def numbers_of_luck(dataset: xr.Dataset) -> dict[str, Any]:
    """Collect how often the worse model looks better, and from how many runs on."""
    rows, counts, names = [], dataset["luck_run"].to_numpy(), ("mean", "best")
    for size in dataset["luck_test"].to_numpy().tolist():
        at = dataset.sel(luck_test=size)
        misled = {name: at["misled"].sel(luck_protocol=name).to_numpy() for name in names}
        last = at["misled_se"].isel(luck_run=-1)
        over = np.flatnonzero(misled["best"] > 0.5)
        rows.append(
            {
                "test_size": size,
                "log_crossing": float(at["log_crossing"]),
                "crossing": int(counts[over[0]]) if len(over) else None,
                "misled": {name: [float(v[0]), float(v[-1])] for name, v in misled.items()},
                "misled_se": {name: float(last.sel(luck_protocol=name)) for name in names},
            }
        )
    return {
        "rows": rows,
        "runs": int(counts[-1]),
        "gibbs": dataset["luck_gibbs"].to_numpy().tolist(),
    }


# --- judgements -------------------------------------------------------------------------------


def judge_runs(numbers: Numbers) -> Finding:
    """N4 holds where B ranks by G_g better than A at all T; see ``outcome_of_runs``."""
    runs, luck = numbers["runs"], numbers["luck"]
    last = {
        (row["source"], row["test_size"]): row
        for row in runs["rows"]
        if row["runs"] == runs["counts"][-1]
    }
    sizes = runs["sizes"]
    kinds = {
        source: [last[source, size][GIBBS]["gain"]["kind"] for size in sizes]
        for source in ("SGD", "posterior")
    }
    own_kinds = [last["SGD", size][OWN]["gain"]["kind"] for size in sizes]
    outcome = outcome_of_runs(kinds, own_kinds, sizes)
    gains = {
        source: ", ".join(
            f"{_shown(last[source, size][GIBBS]['gain'])} at T = {size}" for size in sizes
        )
        for source in ("SGD", "posterior")
    }
    row, own = luck["rows"][0], last["SGD", sizes[-1]]
    why = (
        f"Read as: with s = {runs['counts'][-1]} runs, Kendall's τ to the ranking by the exact "
        "G_g of the posterior is larger for protocol B than for A by more than the interval of the "
        f"difference over data sets, which is {gains['SGD']} for SGD and {gains['posterior']} for "
        "runs that are draws of the posterior. "
        f"SGD is no draw of it: at T = {sizes[-1]} its mean test loss has τ = "
        f"{_shown(own[OWN]['mean'])} to the true loss of other SGD runs, where B gains "
        f"{_shown(own[OWN]['gain'])}, but {_shown(own[GIBBS]['mean'])} to G_g. "
        "The best run misleads where runs scatter and test sets are small: of two posteriors with "
        f"G_g = {luck['gibbs'][0]:.3f} and {luck['gibbs'][1]:.3f} the worse has the best of "
        f"{luck['runs']} runs on T = {row['test_size']} data in {row['misled']['best'][1]:.0%} of "
        f"data sets, and the lower mean in {row['misled']['mean'][1]:.0%}"
    )
    return Finding("N4", PRACTICE, outcome, f"{why}.")


def outcome_of_runs(
    kinds: Mapping[str, Sequence[str]], own: Sequence[str], sizes: Sequence[int]
) -> str:
    """Say the outcome from how B compares with A at each T.

    To the G_g of the posterior, for runs of SGD and for draws of it, and to SGD's ``own`` loss.
    """
    sgd, drawn = kinds["SGD"], kinds["posterior"]
    if all(kind == "better" for kind in sgd):
        return "holds"
    better = [size for size, kind in zip(sizes, sgd, strict=True) if kind == "better"]
    if better:
        return f"holds only if the test set has T = {_listed(better)} data, of {_listed(sizes)}"
    unresolved = "unresolved" in sgd and "worse" not in sgd
    if all(kind == "better" for kind in (*own, *drawn)):
        rest = "it is undecided" if unresolved else "it fails"
        return (
            "holds only if G_g is the mean true loss of the runs themselves; of SGD and the G_g of "
            f"the posterior {rest}"
        )
    of_draws = [size for size, kind in zip(sizes, drawn, strict=True) if kind == "better"]
    if of_draws and not unresolved:
        return (
            "holds only if runs are draws of the posterior and the test set has T = "
            f"{_listed(of_draws)} data, of {_listed(sizes)}"
        )
    return "is undecided" if unresolved else "fails"


def judge_criteria(numbers: Numbers) -> Finding:
    """N2 holds where WBIC has at least nine of ten pairs in the order of F_n in each family."""
    by_family = {family: by["to F_n"]["WBIC"] for family, by in numbers["families"].items()}
    known = {
        family: one for family, one in by_family.items()
        if one["value"] is not None and one["data_sets"] >= MIN_DATA_SETS
    }  # fmt: skip
    above = [f for f, one in known.items() if one["value"] - one["half_width"] >= MIN_AGREEMENT]
    below = [f for f, one in known.items() if one["value"] + one["half_width"] < MIN_AGREEMENT]
    if above and len(above) == len(by_family):
        outcome = "holds"
    elif above and below:
        outcome = f"holds only if the family is {_listed(above)}, of {_listed(by_family)}"
    else:
        outcome = "fails" if below else "is undecided"
    tau = numbers["tau"]
    others = ", ".join(
        f"{name} {_shown(tau[FREE_ENERGY][name])}" for name in ("WAIC", "LOO", "BIC", "sBIC")
    )
    bayes = ", ".join(
        f"{name} {_shown(tau[BAYES][name])}" for name in ("F_n", "WBIC", "WAIC", "LOO", "BIC")
    )
    each = ", ".join(f"{_shown(one)} for {family}" for family, one in by_family.items())
    why = (
        "Read as: WBIC has nine of ten pairs of models in the order of the exact F_n, τ ≥ "
        f"{MIN_AGREEMENT:g}, in each family over all noises and n; its τ is {each}, as models "
        "whose F_n differ by less than its own fluctuation, of order √log n, are out of reach, and "
        f"over all {_shown(tau[FREE_ENERGY]['WBIC'])} against {others} (sBIC where λ is known). "
        f"Whether F_n ranks by generalisation is another question: to the exact B_g τ is {bayes}. "
        f"Choosing by F_n costs {_shown(numbers['regret']['F_n'])} nats of nG_g, by WAIC "
        f"{_shown(numbers['regret']['WAIC'])}"
    )
    return Finding("N2", EVIDENCE, outcome, f"{why}.")


# --- words ------------------------------------------------------------------------------------


def _listed(values: Iterable[Any]) -> str:
    return ", ".join(map(str, values))


def _shown(one: Numbers, digits: int = 2) -> str:
    """Write a value with the half-width of its 95 % interval."""
    if one["value"] is None:
        return "–"
    return plus_minus(one["value"], one["half_width"], digits)


def notes(numbers: Numbers) -> tuple[str, ...]:
    """Say from which s on B is better, what was left out, and what the errors are."""
    runs, luck = numbers["runs"], numbers["luck"]
    first = ", ".join(
        f"{at}: {'never' if s is None else f's ≥ {s}'}" for at, s in runs["first"].items()
    )
    signs = [
        sum(kind_of(gain) == kind for cell in runs["cells"] for gain in cell["gains"])
        for kind in ("better", "worse")
    ]
    own = ", ".join(
        f"{_shown(row[OWN]['gain'])} at T = {row['test_size']}"
        for row in runs["rows"]
        if (row["source"], row["runs"]) == ("SGD", runs["counts"][-1])
    )
    stuck = [
        f"{cell['family']} at noise {cell['noise']:g}, n = {cell['n']}"
        for cell in runs["cells"]
        if cell["source"] == "SGD" and all(kind_of(gain) == "worse" for gain in cell["gains"])
    ]
    expected = ", ".join(
        f"10^{row['log_crossing']:.1f} at T = {row['test_size']} (seen from "
        + (f"{row['crossing']})" if row["crossing"] else f"more than {luck['runs']})")
        for row in luck["rows"]
    )
    return (
        f"From which s on B ranks better by G_g than A: {first}.",
        f"To the true loss of other SGD runs τ of B exceeds that of A by {own}.",
        f"Of single families, noises, n and T, B is better in {signs[0]} and A in {signs[1]} "
        f"of {sum(len(cell['gains']) for cell in runs['cells'])} (each at 95 %); "
        f"of SGD runs A is better at every T in {_listed(stuck) or 'none'}.",
        f"The worse model is expected to have the best of s runs from s = {expected}.",
        f"All errors are half-widths of 95 % intervals over {runs['data_sets']} data sets; pairs "
        "whose losses differ by less than 0.05 nats over all n data, or two standard errors, tie.",
        f"{runs['left_out']} of {runs['posteriors']} data sets of a family had a posterior with "
        f"too few effective latents and are left out; {runs['diverged']} SGD runs diverged.",
    )


def table_of_rankings(numbers: Numbers) -> str:
    """Tabulate τ of all criteria and protocols against the references, and regrets."""
    runs, criteria = numbers["runs"], numbers["criteria"]
    rows = [
        [
            name, *(_shown(criteria["tau"][reference][name]) for reference in (GIBBS, BAYES)), "–",
            _shown(criteria["regret"][name]),
        ]
        for name in criteria["tau"][GIBBS]
    ]  # fmt: skip
    letters = {"mean": "B, mean", "best": "A, best", "validated": "validated"}
    rows += [
        [
            f"{letters[name]} of {row['runs']}, {row['source']}, T = {row['test_size']}",
            *(_shown(row[reference][name]) for reference in (GIBBS, BAYES, OWN)),
            _shown(row["regret"][name]),
        ]
        for row in runs["rows"]
        if row["runs"] == runs["counts"][-1]
        for name in letters
    ]
    return aligned(("ranked by", "τ to G_g", "τ to B_g", "τ to loss of runs", "regret/nats"), rows)


def table_of_cells(numbers: Numbers) -> str:
    """Tabulate τ of B less that of A by family, noise and n."""
    rows = [
        [
            f"{cell['title']} ({cell['source']})", f"{cell['noise']:g}", str(cell["n"]),
            *map(_shown, cell["gains"]), f"{cell['scatter']:.3f}", f"{cell['ties']:.0%}",
            str(cell["converged"]),
        ]
        for cell in numbers["cells"]
    ]  # fmt: skip
    gains = [f"B − A, T = {size}" for size in numbers["sizes"]]
    return aligned(("family", "noise", "n", *gains, "scatter", "ties", "data sets"), rows)


def table_of_agreement(numbers: Numbers) -> str:
    """Tabulate τ of the criteria to F_n, and of F_n and WAIC to B_g, by noise and n, by family."""
    names = [name for name in numbers["cells"][0] if name not in ("noise", "n")]
    rows = [
        [f"noise {cell['noise']:g}, n = {cell['n']}", *(_shown(cell[name]) for name in names)]
        for cell in numbers["cells"]
    ]
    for family, by in numbers["families"].items():
        rows.append([family, *(_shown(one) for part in by.values() for one in part.values())])
    rows = [row + ["–"] * (len(names) + 3 - len(row)) for row in rows]
    head = (*(f"τ({name}, F_n)" for name in names), "τ(F_n, B_g)", "τ(WAIC, B_g)")
    return aligned(("of", *head), rows)


def table_of_luck(numbers: Numbers) -> str:
    """Tabulate how often the worse of two posteriors looks better."""
    rows = [
        [
            str(row["test_size"]), f"{row['log_crossing']:.1f}",
            *(
                f"{row['misled'][name][i]:.2f}" + (f" ± {row['misled_se'][name]:.2f}" if i else "")
                for name in ("mean", "best")
                for i in range(2)
            ),
        ]
        for row in numbers["rows"]
    ]  # fmt: skip
    last = numbers["runs"]
    head = (
        "T",
        "log₁₀ s*",
        "misled, s = 1",
        f"by mean, s = {last}",
        "s = 1",
        f"by best, s = {last}",
    )
    return aligned(head, rows)

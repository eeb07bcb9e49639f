"""The verdict on SGD as a draw of the posterior (N5) and of nets that fit (E12)."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from slt_jax.report.verdict import Finding, Verdict, aligned, plus_minus

from .ensembles import REFERENCE
from .numbers import (
    NAMED,
    numbers_of_curves,
    numbers_of_divergences,
    numbers_of_functions,
    numbers_of_posteriors,
)

POSTERIOR = "the SGD posterior equals the Bayesian posterior for some prior"
DRAWING = "training is like drawing nets at random until one fits"
# Nine tenths of the variance of log P_SGD would be explained at 0.95, four fifths at 0.9.
MIN_CORRELATION = 0.9
# Share of functions whose two probabilities agree within a factor of two.
MIN_WITHIN_TWO = 0.95

Numbers = Mapping[str, Any]
Rows = Sequence[Numbers]


def verdict(dataset: xr.Dataset) -> Verdict:
    """Judge both claims."""
    numbers: dict[str, Any] = {
        "posteriors": numbers_of_posteriors(dataset),
        "divergences": numbers_of_divergences(dataset),
        "collapse": numbers_of_collapse(dataset),
        "curves": numbers_of_curves(dataset),
        "functions": numbers_of_functions(dataset),
    }
    findings = (judge_posterior(numbers), judge_drawing(numbers["functions"]))
    tables = (
        table_of_posteriors(numbers["posteriors"]["rows"]),
        table_of_divergences(numbers["divergences"]),
        table_of_curves(numbers["curves"]),
        table_of_functions(numbers["functions"]["rows"]),
        table_of_extremes(numbers["functions"]["rows"]),
    )
    return Verdict(findings, "\n\n".join(tables), numbers, notes(numbers))


def judge_posterior(numbers: Numbers) -> Finding:
    """N5 holds where held-out endpoints pass as draws of the likeliest posterior everywhere."""
    found, far = numbers["posteriors"], numbers["divergences"]
    tested = [row for row in found["rows"] if row["p_value"] is not None]
    passed = [row for row in tested if not row["rejected"]]
    if not tested or (not found["can_reject"] and passed):
        outcome = "is undecided"
    elif not passed:
        outcome = "fails"
    elif len(passed) == len(tested):
        outcome = "holds"
    else:
        outcome = (
            f"holds only if it is read as what {found['endpoints']} endpoints on each of "
            f"{found['data_sets']} data sets do not refute, and then for {len(passed)} of "
            f"{len(tested)}: {_grouped(passed)}"
        )
    measured = [row for row in tested if row["coefficient"] is not None]
    largest = max(measured, key=lambda row: row["coefficient"], default=None)
    white, other = far["rows"].values()
    worst = (
        ""
        if largest is None
        else f", the farthest {largest['problem']} under “{largest['setting']}” with an energy "
        f"coefficient of {plus_minus(largest['coefficient'], largest['coefficient_se'])} of at "
        f"most 1 (at β = 1 and the problem's own prior {largest['own_coefficient']:.3f}, two "
        f"halves of draws {largest['floor']:.4f})"
    )
    exact = [row["exact_divergence"] for row in passed if row["exact_divergence"] is not None]
    lacking = (
        f"; of linear regression, where it passes, the exact KL is {min(exact):.3f} to "
        f"{max(exact):.3f} nats, and more endpoints would refute it"
        if exact
        else ""
    )
    why = (
        "Read as: at the likeliest β and Gaussian prior width, fitted to each data set by itself, "
        "held-out endpoints of SGD and posterior draws have one law as functions; with priors that "
        "may depend on the data in any way it would be empty, as each law is then the posterior of "
        f"a prior. At n = {found['n']} {found['rejected']} of {found['tested']} pairs of a problem "
        f"and a setting are rejected at p < {found['threshold']:.1e}{worst}{lacking}. "
        "In the regular model SGD's law for small steps is isotropic while the posterior's is the "
        "inverse curvature, so that they can only agree where the curvature is a multiple of I: "
        f"the exact KL goes from {_shown(white['first'])} at n = {far['first_n']} to "
        f"{_shown(white['last'], 5)} nats at n = {far['n']} for white inputs, and to "
        f"{_shown(other['last'])} (limit {other['limit']:.3f}) for inputs of deviations ½, 1, 2."
    )
    return Finding("N5", POSTERIOR, outcome, why)


def _shown(value: float | None, digits: int = 3) -> str:
    return "unknown" if value is None else f"{value:.{digits}f}"


def _grouped(rows: Rows, axis: str = "problem") -> str:
    """Name problems or targets with their settings."""
    return "; ".join(
        f"{name} ({', '.join(row['setting'] for row in rows if row[axis] == name)})"
        for name in dict.fromkeys(row[axis] for row in rows)
    )


def judge_drawing(numbers: Numbers) -> Finding:
    """E12 holds where P_SGD equals P_Bayes, or only as a correlation, setting by setting."""
    rows = numbers["rows"]
    known = [row for row in rows if row["correlation"] is not None]
    reference = [row for row in known if row["setting"] == REFERENCE]
    below = [row for row in known if row["correlation_high"] < MIN_CORRELATION]
    if len(known) < len(rows) or not rows:
        outcome = "is undecided"
    elif not any(row["rejected"] for row in rows):
        outcome = "holds"
    elif len(below) == len(rows):
        outcome = "fails"
    else:
        but = f", and not for {_grouped(below, 'target')}" if below else ""
        outcome = (
            "holds only if it is read as a correlation of log P_SGD with log P_Bayes of "
            f"{MIN_CORRELATION:g} or more, not as equal laws{but}"
        )
    why = (
        "Read as: of all functions that have the given labels, SGD that stops when these are right "
        "finds f as often as draws of its own start that have them right do; equal (χ² test), "
        f"correlated (ρ ≥ {MIN_CORRELATION:g}) or within a factor of two. "
        f"{sum(row['rejected'] for row in rows)} of {len(rows)} pairs of a target and a setting "
        f"are no equal laws, and {sum(_is_close(row) for row in known)} have "
        f"{MIN_WITHIN_TWO:.0%} of functions within a factor of two. "
        f"Under the reference setting {_range(reference, 'correlation', 'ρ')} and "
        f"{_range(reference, 'slope', 'the slope')}, under all of them "
        f"{_range(known, 'correlation', 'ρ')} and {_range(known, 'slope', 'the slope')}: "
        f"{sum(row['slope_high'] < 1 for row in known)} are below 1, where SGD is flatter than the "
        f"prior and finds likely functions too rarely, and "
        f"{sum(row['slope_low'] > 1 for row in known)} above."
    )
    return Finding("E12", DRAWING, outcome, why)


def _is_close(row: Numbers) -> bool:
    return bool(row["within_two"] >= MIN_WITHIN_TWO)


def _range(rows: Rows, key: str, name: str) -> str:
    values = [row[key] for row in rows if row[key] is not None]
    if not values:
        return f"{name} is unknown"
    return f"{name} is from {min(values):.2f} to {max(values):.2f}"


def notes(numbers: Numbers) -> tuple[str, ...]:
    """Say what diverged, where SGD and Gibbs errors part, and which functions break the claim."""
    found, curves = numbers["posteriors"]["rows"], numbers["curves"]
    diverged = [row for row in found if row["diverged"]]
    edge = [row for row in found if row["at_edge"]]
    lost = sum(row["unfinished"] for row in numbers["functions"]["rows"])
    last = {row["problem"]: row for row in curves}
    errors = "; ".join(
        f"{name} {plus_minus(row['sgd_error'], row['sgd_error_se'], 2)} against Gibbs "
        f"{row['gibbs_error']:.2f} and Bayes {row['bayes_error']:.2f}"
        for name, row in last.items()
        if row["sgd_error"] is not None
    )
    return (
        f"Diverged in part: {_grouped(diverged) or 'none'}; no likeliest β or width: "
        f"{_grouped(edge) or 'none'}; nets without all labels right that were given up: {lost}.",
        "The noise of an epoch adds up to nothing at first order in the step, that of independent "
        f"batches does not: the likeliest β of the two is {_epochs(found)}.",
        *_collapsed(numbers["collapse"]),
        f"n times the generalisation error of SGD at n = {curves[-1]['n']}, at the step for which "
        f"theory says β = 1: {errors}.",
        *_broken(numbers["functions"]["rows"]),
    )


def _epochs(rows: Rows) -> str:
    """Give the fitted β under epochs and under independent batches, for each problem."""
    fits = {(row["problem"], row["setting"]): row["beta"] for row in rows}
    return ", ".join(
        f"{_shown(fits[problem, 'epochs'], 2)} and {_shown(fits[problem, REFERENCE], 2)} "
        f"({problem})"
        for problem in dict.fromkeys(row["problem"] for row in rows)
    )


def numbers_of_collapse(dataset: xr.Dataset) -> dict[str, Any] | None:
    """Collect where the singularity attracts, and the share of endpoints that are there.

    Of all pairs of a singular problem and a setting, and of all data sets, those with a negative
    rate, and those with a positive one; None where no rate is known.
    """
    rate, share = (dataset[key].to_numpy().ravel() for key in ("growth", "at_zero"))
    known = np.isfinite(rate) & np.isfinite(share)
    if not known.any():
        return None
    attracts = known & (rate < 0)
    return {
        "known": int(known.sum()),
        "attracted": int(attracts.sum()),
        "least_rate": float(rate[known].min()),
        "shares_where_attracted": share[attracts].tolist(),
        "share_elsewhere": float(share[known & ~attracts].max(initial=0.0)),
        "share_of_draws": float(np.nanmax(dataset["own_at_zero"].to_numpy())),
    }


def _collapsed(found: Numbers | None) -> tuple[str, ...]:
    """Say where endpoints gather at the singularity, where the noise of SGD vanishes."""
    if found is None:
        return ()
    shares = ", ".join(f"{share:.2f}" for share in found["shares_where_attracted"]) or "none"
    return (
        "At the singularity w = 0 the noise of SGD vanishes, and a step that is large enough makes "
        f"it attract: of {found['known']} singular cases (problem, setting, data set) the exact "
        f"rate of leaving it is negative in {found['attracted']}, least {found['least_rate']:.4f} "
        f"per step, and the share of endpoints with |w₁w₂|√n < 0.001 is {shares} there, at most "
        f"{found['share_elsewhere']:.2f} elsewhere, and at most {found['share_of_draws']:.3f} of "
        "posterior draws.",
    )


def _broken(rows: Rows) -> tuple[str, ...]:
    """Name the function that each target's reference training finds too often and too rarely."""
    lines = []
    for row in rows:
        if row["setting"] != REFERENCE or not row["extremes"]:
            continue
        often, rarely = row["extremes"][0], row["extremes"][NAMED]
        parts = [
            f"{each['truth_table']} {word} ({each['trained']:.2e} against {each['drawn']:.2e}, "
            f"z = {each['z_score']:+.1f}, p = {each['p_value']:.1e} for the farthest of all)"
            for word, each in (("too often", often), ("too rarely", rarely))
        ]
        lines.append(f"Learning {row['target']}, SGD finds {' and '.join(parts)}.")
    return tuple(lines)


# --- tables -----------------------------------------------------------------------------------


def _cell(value: float | None, form: str = ".3f") -> str:
    return "–" if value is None else f"{value:{form}}"


def table_of_posteriors(rows: Rows) -> str:
    """Tabulate fits and distances; ``!`` marks rejected rows."""
    head = (
        "endpoints", "setting", "β theory", "β exact", "β fitted", "prior width", "energy coeff.",
        "to β = 1", "floor", "accuracy", "exact KL", "diverged", "p", "",
    )  # fmt: skip
    cells = [
        [
            row["problem"], row["setting"], _cell(row["predicted_beta"], ".3g"),
            _cell(row["exact_beta"], ".3g"), _cell(row["beta"], ".3g"),
            _cell(row["prior_width"], ".2g"),
            "–" if row["coefficient"] is None
            else plus_minus(row["coefficient"], row["coefficient_se"], 4),
            _cell(row["own_coefficient"]), _cell(row["floor"], ".4f"), _cell(row["accuracy"]),
            _cell(row["exact_divergence"]), _cell(row["diverged"], ".2g"),
            _cell(row["p_value"], ".1e"), "!" if row["rejected"] else "",
        ]
        for row in rows
    ]  # fmt: skip
    return aligned(head, cells)


def table_of_divergences(numbers: Numbers) -> str:
    """Tabulate the exact KL of SGD from the best posterior of linear regression."""
    head = ("exact KL, inputs of", f"n = {numbers['first_n']}", f"n = {numbers['n']}", "limit")
    rows = [
        [name, _cell(row["first"]), f"{_cell(row['last'], '.5f')} ± {_cell(row['last_se'], '.5f')}",
         f"{row['limit']:.3f}"]
        for name, row in numbers["rows"].items()
    ]  # fmt: skip
    return aligned(head, rows)


def table_of_curves(rows: Rows) -> str:
    """Tabulate n times the generalisation errors."""
    head = ("n × error", "n", "SGD", "SGD exact", "Gibbs exact", "Bayes exact", "SGD − Gibbs", "λ")
    cells = [
        [
            row["problem"], str(row["n"]),
            "–" if row["sgd_error"] is None else plus_minus(row["sgd_error"], row["sgd_error_se"]),
            _cell(row["sgd_exact_error"]), _cell(row["gibbs_error"]), _cell(row["bayes_error"]),
            "–" if row["sgd_excess"] is None
            else plus_minus(row["sgd_excess"], row["sgd_excess_se"]),
            f"{row['learning_coefficient']:g}",
        ]
        for row in rows
    ]  # fmt: skip
    return aligned(head, cells)


def table_of_functions(rows: Rows) -> str:
    """Tabulate how P_SGD compares with P_Bayes; ``!`` marks laws that are not equal."""
    head = (
        "target", "setting", "ρ", "95 %", "slope", "95 %", "within 2", "of", "TV", "floor", "p",
        "right at start", "steps", "given up", "",
    )  # fmt: skip
    cells = [
        [
            row["target"], row["setting"], _cell(row["correlation"]), _interval(row, "correlation"),
            _cell(row["slope"]), _interval(row, "slope"), _cell(row["within_two"], ".2f"),
            str(row["num_functions"]), _cell(row["total_variation"]),
            _cell(row["total_variation_floor"]), _cell(row["p_value"], ".1e"),
            _cell(row["right_at_start"]), _cell(row["mean_steps"], ".0f"), str(row["unfinished"]),
            "!" if row["rejected"] else "",
        ]
        for row in rows
    ]  # fmt: skip
    return aligned(head, cells)


def _interval(row: Numbers, key: str) -> str:
    if row[f"{key}_low"] is None:
        return "–"
    return f"{row[f'{key}_low']:.3f} to {row[f'{key}_high']:.3f}"


def table_of_extremes(rows: Rows) -> str:
    """Tabulate the functions that the reference training finds too often and too rarely."""
    head = ("target", "function", "P_SGD", "P_Bayes", "z", "p of farthest")
    cells = [
        [
            row["target"], each["truth_table"], f"{each['trained']:.2e}", f"{each['drawn']:.2e}",
            f"{each['z_score']:+.1f}", f"{each['p_value']:.1e}",
        ]
        for row in rows
        if row["setting"] == REFERENCE
        for each in row["extremes"]
    ]  # fmt: skip
    return aligned(head, cells)

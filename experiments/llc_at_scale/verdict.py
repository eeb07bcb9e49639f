"""The verdict on estimating λ at scale (N11), from the dataset alone."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr
from scipy.stats import beta as beta_law
from scipy.stats import norm

from slt_jax.estimators import p_value_of_largest
from slt_jax.report.verdict import Finding, Verdict, aligned, known, plus_minus

CLAIM = "estimating λ at scale is impractical"
# Fewer nets cannot tell nine covered of ten from fewer.
MIN_NETS = 30
MIN_COVERAGE = 0.9
MAX_MEDIAN_ERROR = 0.05
# An interval of a fifth of λ from end to end says something; a wider one would cover anyway.
MAX_MEDIAN_HALF_WIDTH = 0.1
QUANTILE = float(norm.isf(0.025))
MIN_P_VALUE = 1e-3
# Parts of the error that chance has no share in.
FINITE_SIZE = ("beyond", "bending", "log_term")

Numbers = Mapping[str, Any]


def verdict(dataset: xr.Dataset) -> Verdict:
    """Judge whether λ of nets that the rule has not seen lies in its own interval."""
    held_out = numbers_of_nets(dataset)
    numbers: dict[str, Any] = {
        "held_out": held_out,
        "large": numbers_of_nets(dataset, "large_"),
        "chance_is_small": chance_is_small(held_out),
        "tuning": numbers_of_tuning(dataset),
        "oracle": numbers_of_oracle(dataset),
        "bias": numbers_of_bias(dataset),
        "digits": numbers_of_digits(dataset),
    }
    tables = (
        table_of_nets(numbers["held_out"]),
        table_of_nets(numbers["large"]),
        table_of_tuning(numbers["tuning"]),
        table_of_bias(numbers["bias"]),
        table_of_digits(numbers["digits"]),
    )
    return Verdict((judged(numbers),), "\n\n".join(tables), numbers, notes(numbers))


# --- numbers ----------------------------------------------------------------------------------


def numbers_of_nets(dataset: xr.Dataset, prefix: str = "") -> dict[str, Any]:
    """Hold each λ̂ to the exact λ, and count.

    A net is ``covered`` if λ lies in λ̂ ± 1.96 standard errors and nothing speaks against λ̂;
    ``sampling_covered`` if it lies in that interval of the last λ̂(nβ), its sampling error alone.
    """
    axis = f"{prefix}net"
    of = {
        name: dataset[f"{prefix}{name}"].to_numpy()
        for name in ("estimate", "estimate_se", "exact_estimate", "last_estimate", "converged",
                     "last_estimate_se", "dimension", "wall", "work", "true_multiplicity", "reason",
                     "num_chains", "steps", "last_beta", "depth")
    }  # fmt: skip
    exact, error = of["exact_estimate"], of["estimate_se"]
    z = (of["estimate"] - exact) / error
    covered = (np.abs(z) <= QUANTILE) & of["converged"].astype(bool) & np.isfinite(error)
    last = np.abs(of["last_estimate"] - exact) <= QUANTILE * of["last_estimate_se"]
    count, hits = len(z), int(covered.sum())
    relative = error / of["estimate"]
    digits = -np.log10(np.where((relative > 0) & (relative < 1), relative, np.nan))
    cost = of["wall"] / digits
    rows = [
        {
            "net": str(dataset[axis].to_numpy()[i]), "dimension": int(of["dimension"][i]),
            "exact": float(exact[i]), "multiplicity": int(of["true_multiplicity"][i]),
            "estimate": known(of["estimate"][i]), "half_width": known(QUANTILE * error[i]),
            "last": known(of["last_estimate"][i]),
            "log_beta": float(np.log10(of["last_beta"][i])), "z_score": known(z[i]),
            "chains": int(of["num_chains"][i]),
            "steps": int(of["steps"][i]), "seconds": float(of["wall"][i]),
            "gigaflops": float(of["work"][i]), "covered": bool(covered[i]),
            "converged": bool(of["converged"][i]), "reason": str(of["reason"][i]),
        }
        for i in range(count)
    ]  # fmt: skip
    return {
        "rows": rows,
        "nets": count,
        "covered": hits,
        "coverage_interval": [
            float(beta_law.ppf(0.025, hits, count - hits + 1)) if hits else 0.0,
            float(beta_law.ppf(0.975, hits + 1, count - hits)) if hits < count else 1.0,
        ],
        "sampling_covered": int(last.sum()),
        "converged": int(of["converged"].sum()),
        "spread": known(np.sqrt(np.mean(z**2))) or 0.0,
        "median_error": _median(np.abs(of["estimate"] / exact - 1)),
        "largest_error": known(np.max(np.abs(of["estimate"] / exact - 1))),
        "median_last_error": _median(np.abs(of["last_estimate"] / exact - 1)),
        "median_half_width": _median(QUANTILE * relative),
        "parts": {
            name: _median(dataset[f"{prefix}{name}"].to_numpy() / of["estimate"])
            for name in ("sampling", *FINITE_SIZE)
        },
        "seconds": float(of["wall"].sum()),
        "seconds_per_digit": [known(each) for each in cost],
        "exponent": _slope(of["dimension"], cost),
        "seconds_per_digit_by_depth": {
            str(int(depth)): _median(cost[of["depth"] == depth]) for depth in np.unique(of["depth"])
        },
    }


def _median(values: np.ndarray) -> float | None:
    """Take the median with NaN as the worst, None where it is not finite."""
    return known(np.median(np.where(np.isnan(values), np.inf, values)))


def _slope(dimension: np.ndarray, cost: np.ndarray) -> float | None:
    """Fit the power of d with which a cost grows, None of fewer than two nets."""
    seen = np.isfinite(cost)
    if seen.sum() < 2:
        return None
    return float(np.polyfit(np.log(dimension[seen]), np.log(cost[seen]), 1)[0])


def numbers_of_tuning(dataset: xr.Dataset) -> dict[str, Any]:
    """Find the γ whose widest interval on the tuning nets is the narrowest; no λ is looked at."""
    ratio = abs(dataset["tuning_estimate_se"] / dataset["tuning_estimate"]).fillna(np.inf)
    median, largest = ratio.median("tuning_net"), ratio.max("tuning_net")
    converged = dataset["tuning_converged"].sum("tuning_net")
    factors = dataset["localisation_factor"].to_numpy()
    return {
        "rows": [
            {
                "localisation": float(factor),
                "median_error": known(median[i]),
                "largest_error": known(largest[i]),
                "converged": int(converged[i]),
            }
            for i, factor in enumerate(factors)
        ],
        "nets": dataset.sizes["tuning_net"],
        "best": float(factors[int(np.argmin(largest.to_numpy()))]),
        "chosen": float(dataset["chosen_localisation"]),
    }


def numbers_of_oracle(dataset: xr.Dataset) -> dict[str, Any]:
    """Compare λ̂(nβ) of settled rungs with the oracle at the same nβ, in standard errors."""
    z = (dataset["solved_estimate"] - dataset["solved_exact"]) / np.hypot(
        dataset["solved_estimate_se"], dataset["solved_exact_error"]
    )
    compared = z.to_numpy()[dataset["solved_settled"].to_numpy().astype(bool)]
    largest = float(np.max(np.abs(compared), initial=0.0))
    p_value = p_value_of_largest(largest, len(compared))
    return {
        "compared": len(compared),
        "largest_z_score": largest,
        "p_value": p_value,
        "agrees": p_value >= MIN_P_VALUE,
        "largest_beta": float(dataset["beta"].max()),
    }


def numbers_of_bias(dataset: xr.Dataset) -> dict[str, Any]:
    """Collect the relative bias of each method at each step, with its standard error."""
    exact = float(dataset["bias_exact"])
    rows = []
    for method in dataset["scheme"].to_numpy():
        at = dataset.sel(scheme=method)
        rows += [
            {
                "method": str(method), "share": float(share),
                "bias": known(value / exact - 1), "standard_error": known(error / exact),
            }
            for share, value, error in zip(
                at["step_share"].to_numpy(), at["biased_coefficient"].to_numpy(),
                at["biased_coefficient_se"].to_numpy(), strict=True,
            )
        ]  # fmt: skip
    reference = float(dataset["reference_coefficient"])
    error = float(dataset["reference_coefficient_se"])
    return {
        "rows": rows,
        "exact": exact,
        "reference": reference,
        "reference_se": error,
        "reference_z_score": (reference - exact) / error,
    }


def numbers_of_digits(dataset: xr.Dataset) -> dict[str, Any]:
    """Collect λ̂ along training, by dynamics, and what speaks against it."""
    rows = []
    for dynamics in dataset["dynamics"].to_numpy():
        for step in dataset["training_step"].to_numpy():
            at = dataset.sel(dynamics=dynamics, training_step=step)
            rows.append(
                {
                    "dynamics": str(dynamics), "step": int(step),
                    "estimate": known(at["digit_coefficient"]),
                    "standard_error": known(at["digit_coefficient_se"]),
                    "minimum": bool(at["digit_minimum"]), "converged": bool(at["digit_converged"]),
                    "train_loss": float(at["train_loss"]), "test_error": known(at["test_error"]),
                    "r_hat": known(at["digit_r_hat"]),
                    "settled": "settled" not in str(at["digit_reason"].item()),
                    "reason": str(at["digit_reason"].item()),
                }
            )  # fmt: skip
    return {"rows": rows, "dimension": int(dataset["digit_dimension"])}


# --- words ------------------------------------------------------------------------------------


def judged(numbers: Numbers) -> Finding:
    """Judge the claim by the held-out nets."""
    held, large = numbers["held_out"], numbers["large"]
    share = held["covered"] / held["nets"]
    sizes = [row["dimension"] for row in held["rows"]]
    if held["nets"] < MIN_NETS:
        outcome = "is undecided"
        why = f"Only {held['nets']} nets were held out, of which {held['covered']} are covered."
        return Finding("N11", CLAIM, outcome, why)
    median, half = (
        np.inf if held[name] is None else held[name]
        for name in ("median_error", "median_half_width")
    )
    good = share >= MIN_COVERAGE and median <= MAX_MEDIAN_ERROR and half <= MAX_MEDIAN_HALF_WIDTH
    outcome = (
        "fails, read as: no rule that sees its chains alone gives λ of deep linear nets of "
        f"{min(sizes):,} to {max(sizes):,} parameters around a most singular true parameter, with "
        "an interval that holds, on a laptop"
        if good
        else "holds, read as the same of deep linear nets on a laptop"
    )
    low, high = held["coverage_interval"]
    first = (
        f"The 95 % intervals cover the exact λ of {held['covered']} of {held['nets']} held-out "
        f"nets (share within {low:.2f} to {high:.2f}), with a median error of "
        f"{100 * median:.2g} % and a median half-width of "
        f"{100 * half:.2g} %, in {held['seconds']:.0f} s for all."
    )
    biggest = max(large["rows"], key=lambda row: row["dimension"])
    second = (
        f"The largest net, of {biggest['dimension']:,} parameters, gives "
        f"{shown(biggest, 0)} in {biggest['seconds']:.0f} s "
        f"where the theorem has {biggest['exact']:.0f}"
        f"{'' if biggest['converged'] else ', and says itself that it has not converged'}."
    )
    limit = (
        "The finite n limits it, not chance" if numbers["chance_is_small"] else "Chance limits it"
    )
    third = (
        f"{limit}: the last λ̂(nβ) with its sampling error alone covers {held['sampling_covered']} "
        f"of {held['nets']}, and with all parts of the error z-scores spread by "
        f"{held['spread']:.2g}."
    )
    return Finding("N11", CLAIM, outcome, f"{first} {second} {third}")


def chance_is_small(numbers: Numbers) -> bool:
    """Say if the median error by chance is below that of the largest part of finite n."""
    parts = {name: np.inf if x is None else x for name, x in numbers["parts"].items()}
    return bool(parts["sampling"] < max(parts[name] for name in FINITE_SIZE))


def notes(numbers: Numbers) -> tuple[str, ...]:
    """Say how the rule was chosen, what the oracle and the bias say, and which runs failed."""
    tuning, oracle, bias = numbers["tuning"], numbers["oracle"], numbers["bias"]
    same = "the one that was used" if tuning["best"] == tuning["chosen"] else (
        f"NOT the {tuning['chosen']:g} that was used"
    )  # fmt: skip
    verb = "agree" if oracle["agrees"] else "DISAGREE"
    said = [
        f"On {tuning['nets']} other nets the largest error that the rule itself states is smallest "
        f"at γ = {tuning['best']:g} times the largest width, {same}; no λ was looked at.",
        f"{oracle['compared']} settled λ̂(nβ) of nets that an oracle solves {verb} with it at the "
        f"same nβ up to {oracle['largest_beta']:.0e} (largest z-score "
        f"{oracle['largest_z_score']:.1f}, p = {oracle['p_value']:.2g}).",
        *[_bias_of(method, bias) for method in dict.fromkeys(r["method"] for r in bias["rows"])],
        f"MALA gives {plus_minus(bias['reference'], bias['reference_se'])} there, the oracle "
        f"{bias['exact']:.3f}.",
    ]  # fmt: skip
    failed = [
        f"{row['net']}: {row['reason']}"
        for row in (*numbers["held_out"]["rows"], *numbers["large"]["rows"])
        if not row["converged"]
    ]
    if failed:
        said.append(f"Not converged, and counted as not covered: {'; '.join(failed)}.")
    digits = numbers["digits"]["rows"]
    for dynamics in dict.fromkeys(row["dynamics"] for row in digits):
        rows = [row for row in digits if row["dynamics"] == dynamics]
        said.append(
            f"Digits, {dynamics} dynamics: chains settle at {sum(r['settled'] for r in rows)} of "
            f"{len(rows)} checkpoints, and λ̂ converges at {sum(r['converged'] for r in rows)}."
        )
    return tuple(said)


def _bias_of(method: str, bias: Numbers) -> str:
    """Say the bias of a method at its longest step."""
    rows = [row for row in bias["rows"] if row["method"] == method]
    known = [row for row in rows if row["bias"] is not None]
    words = ", ".join(f"{_bias_text(row)} % at {row['share']:g}" for row in known) or "no number"
    lost = "" if len(known) == len(rows) else "; it diverges at longer ones"
    return f"{method[0].upper()}{method[1:]} has the bias {words} of the longest stable step{lost}."


# --- tables -----------------------------------------------------------------------------------


def shown(row: Mapping[str, Any], digits: int) -> str:
    """Write λ̂ ± half-width, with a sign of infinity where one rung alone gives no error."""
    if row["estimate"] is None:
        return "–"
    if row["half_width"] is None:
        return f"{row['estimate']:.{digits}f} ± ∞"
    return plus_minus(row["estimate"], row["half_width"], digits)


def _percent(value: float | None) -> str:
    return "∞" if value is None else f"{100 * value:.2f} %"


def _bias_text(row: Mapping[str, Any]) -> str:
    if row["bias"] is None:
        return "diverges"
    return f"{100 * row['bias']:+.2f} ± {100 * (row['standard_error'] or 0.0):.2f}"


def table_of_nets(numbers: Numbers) -> str:
    """Tabulate λ̂ ± half-width beside λ, with what it took."""
    head = ("net", "d", "λ", "m", "λ̂ ± half-width", "last λ̂(nβ)", "log₁₀ nβ", "chains", "steps",
            "seconds", "")  # fmt: skip
    rows = [
        (
            row["net"], f"{row['dimension']:,}", f"{row['exact']:.2f}", str(row["multiplicity"]),
            shown(row, 2), "–" if row["last"] is None else f"{row['last']:.2f}",
            f"{row['log_beta']:.1f}", str(row["chains"]), f"{row['steps']:,}",
            f"{row['seconds']:.1f}", "" if row["covered"] else "NOT COVERED",
        )
        for row in numbers["rows"]
    ]  # fmt: skip
    return aligned(head, rows)


def table_of_tuning(numbers: Numbers) -> str:
    """Tabulate the error that the rule itself states, by γ."""
    rows = [
        (f"γ = {row['localisation']:g} × width", _percent(row["median_error"]),
         _percent(row["largest_error"]),
         f"{row['converged']} of {numbers['nets']}")
        for row in numbers["rows"]
    ]  # fmt: skip
    return aligned(("tuning nets", "median error", "largest", "converged"), rows)


def table_of_bias(numbers: Numbers) -> str:
    """Tabulate the relative bias by method and step."""
    rows = [
        (row["method"], f"{row['share']:g}", _bias_text(row))
        for row in numbers["rows"]
    ]  # fmt: skip
    return aligned(("bias of the step", "step", "bias in %"), rows)


def table_of_digits(numbers: Numbers) -> str:
    """Tabulate λ̂ along training."""

    def with_error(row: Mapping[str, Any]) -> str:
        if row["estimate"] is None:
            return "–"
        error = row["standard_error"]
        return f"{row['estimate']:.1f} ± " + ("∞" if error is None else f"{error:.1f}")

    rows = [
        (row["dynamics"], f"{row['step']:,}", f"{row['train_loss']:.4f}",
         "–" if row["test_error"] is None else f"{row['test_error']:.3f}", with_error(row),
         "" if row["converged"] else "no minimum" if not row["minimum"] else "not converged")
        for row in numbers["rows"]
    ]  # fmt: skip
    head = (f"digits, d = {numbers['dimension']}", "step", "loss", "test error", "λ̂", "")
    return aligned(head, rows)

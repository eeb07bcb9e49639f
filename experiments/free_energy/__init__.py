"""Exact and sampled free energy, WBIC and λ̂ against n, for every problem (claims N1 and N2)."""

import dataclasses
import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from slt_jax.curves.comparison import against_asymptote, calibration_of, curve_table
from slt_jax.curves.free_energy import (
    EVIDENCE_SIZE,
    CurvePlan,
    assemble_curve,
    curve_batches,
)
from slt_jax.curves.jobs import temperature_nodes
from slt_jax.estimators import in_standard_errors, mean_over_data_sets
from slt_jax.models import named_problems
from slt_jax.problem import Problem
from slt_jax.report import plotting, refusals
from slt_jax.report.main import ExperimentConfig, compute, publish, run_experiment
from slt_jax.run.compilation import CompilationCounter
from slt_jax.samplers.smc import SMCSettings

NAME = "free_energy"


@dataclass(frozen=True)
class Config(ExperimentConfig):
    """Every field is a flag."""

    problems: tuple[str, ...] = ()
    """names of problems; none means all that are marked for show"""
    sample_sizes: tuple[int, ...] = (10, 100, 1000, 10000)
    """n of the sampled curve, increasing, each at least 3"""
    exact_sizes: tuple[int, ...] = (30, 300, 3000, 30000, 100000)
    """further n of the exact free energy"""
    data_sets: int = 10
    """independent data sets, at least 2"""
    seeds: int = 8
    """independent SMC runs on each data set, at least 2; they give the error bars"""
    num_chains: int = 32
    """HMC chains of a run"""
    chain_length: int = 16
    """states of a chain; chains × states is the population"""
    integration_steps: int = 6
    """leapfrog steps of a move"""
    ess_fraction: float = 0.5
    """share of effective sample size that a change of temperature may not fall below"""
    step_size: float = 0.4
    """first HMC step in units of the population's standard deviation; tuned on the way"""
    oracle_refinement: int = 1
    """refinement of the exact answers, 1 to 3; their error bounds are in the result file"""
    float64: bool = False
    """sample in double precision"""
    batch_size: int = 16
    """data sets that are computed and saved together"""


PRESETS = {
    "laptop": Config(),
    "smoke": Config(
        preset="smoke",
        problems=("linear_3", "monomial_1_1", "reduced_rank_4_3_2_1"),
        sample_sizes=(10, 100),
        exact_sizes=(1000,),
        data_sets=3,
        seeds=3,
        num_chains=16,
        chain_length=8,
    ),
    "paper": Config(
        preset="paper",
        sample_sizes=(10, 30, 100, 300, 1000, 3000, 10000, 30000, 100000),
        exact_sizes=(300000, 1000000),
        data_sets=100,
        seeds=16,
        num_chains=128,
        chain_length=32,
        oracle_refinement=2,
    ),
}


def main() -> None:
    """Command line."""
    run_experiment(NAME, (__doc__ or "").strip(), PRESETS, run)


def run(config: Config) -> None:
    """Compute the curves, print the table, write dataset, verdict and figure."""
    problems = choose(config)
    plan = plan_of(config)
    groups = {problem.name: curve_batches(problem, plan) for problem in problems}
    with CompilationCounter() as compiled:
        out, batches = compute(NAME, config, groups)
    curves = {problem.name: assemble_curve(problem, plan, batches) for problem in problems}
    verdict = judge(config, problems, curves, compiled.counts["smc_batch"])
    print(curve_table(problems, curves))
    print(verdict["statement"])
    dataset = xr.concat(
        list(curves.values()), dim=xr.Variable("problem", list(curves)), join="outer"
    )
    titles = {p.name: p.title for p in problems}
    figures = {
        NAME: plotting.free_energy_figure(curves, {p.name: p.theory for p in problems}, titles)
    }
    if grown := {name: curve for name, curve in curves.items() if "increment_gap" in curve}:
        figures[f"{NAME}_increments"] = plotting.increment_figure(grown, titles)
    publish(NAME, config, out, dataset, verdict, figures)


def choose(config: Config) -> list[Problem]:
    """Problems of a config, which is checked first.

    Raises ValueError that names the value and what is allowed.
    """
    known = named_problems()
    for name in config.problems:
        if name not in known:
            raise ValueError(f"problem {name!r}: choose from {', '.join(known)}")
    for n in config.sample_sizes + config.exact_sizes:
        temperature_nodes(n)
    for field in ("sample_sizes", "exact_sizes"):
        sizes = getattr(config, field)
        if any(later <= n for n, later in itertools.pairwise(sizes)):
            raise ValueError(f"{field} = {sizes}: must increase")
    if not config.sample_sizes:
        raise ValueError("no sample sizes: at least one n is needed")
    least = {
        "data_sets": 2, "seeds": 2, "num_chains": 2, "chain_length": 2, "integration_steps": 1,
        "batch_size": 1,
    }  # fmt: skip
    refusals.at_least(config, least)
    refusals.oracle_refinement(config)
    if not 0 < config.ess_fraction < 1:
        raise ValueError(f"ess_fraction = {config.ess_fraction}: must lie between 0 and 1")
    refusals.positive(config, "step_size")
    chosen = config.problems or tuple(name for name, p in known.items() if p.showcase)
    return [known[name] for name in chosen]


def plan_of(config: Config) -> CurvePlan:
    """What a config asks for of every problem."""
    settings = SMCSettings(
        num_chains=config.num_chains,
        chain_length=config.chain_length,
        num_integration_steps=config.integration_steps,
        ess_fraction=config.ess_fraction,
    )
    fields = {f.name for f in dataclasses.fields(CurvePlan)} - {"settings", "budget"}
    chosen = {name: getattr(config, name) for name in fields}
    return CurvePlan(**chosen, settings=settings, budget=config.budget)


def judge(
    config: Config, problems: list[Problem], curves: dict[str, xr.Dataset], compilations: int
) -> dict[str, Any]:
    """What the curves say of N1 (the evidence is a density) and N2 (F_n; WBIC estimates it)."""
    rows: dict[str, Any] = {}
    for problem in problems:
        curve = curves[problem.name]
        last = curve.sel(n=config.sample_sizes[-1])
        difference = mean_over_data_sets((last["wbic"] - last["free_energy"]).to_numpy())
        done = curve["converged"].sel(n=list(config.sample_sizes)).to_numpy()
        row: dict[str, Any] = {
            "jobs": int(done.size),
            "not_converged": int(done.size - done.sum()),
            "calibration": calibration_of(curve, ("free_energy", "free_energy_ti", "wbic")),
            "wbic_minus_free_energy": float(difference.value),
            "wbic_minus_free_energy_se": float(difference.standard_error),
        }
        if problem.theory is not None:
            row["learning_coefficient"] = str(problem.theory.learning_coefficient)
            row["multiplicity"] = problem.theory.multiplicity
            row |= against_asymptote(curve, problem.theory)
        for name in ("evidence_integral", "evidence_integral_se"):
            if name in curve:
                row[name] = float(curve[name])
        rows[problem.name] = row
    return {
        "claims": ["N1", "N2"],
        "problems": rows,
        "compilations": compilations,
        "models": len({problem.model for problem in problems}),
        "sizes": list(config.sample_sizes),
        "statement": statement(config, rows, compilations, len({p.model for p in problems})),
    }


def statement(config: Config, rows: dict[str, Any], compilations: int, models: int) -> str:
    """The verdict in words, from the numbers of the rows."""
    compared = [row["calibration"]["free_energy"] for row in rows.values() if row["calibration"]]
    count = sum(c["comparisons"] for c in compared)
    covered = sum(c["comparisons"] * c["coverage_95"] for c in compared)
    integrals = [
        abs(float(in_standard_errors(row["evidence_integral"] - 1, row["evidence_integral_se"])))
        for row in rows.values()
        if "evidence_integral" in row
    ]
    gaps = [abs(row["wbic_minus_free_energy"]) for row in rows.values()]
    lines = [
        f"Sampler compilations: {compilations} (models: {models}, sample sizes: "
        f"{len(config.sample_sizes)}); "
        f"{sum(row['not_converged'] for row in rows.values())} of "
        f"{sum(row['jobs'] for row in rows.values())} jobs did not converge."
    ]
    if integrals:
        holds = "holds" if max(integrals) < 4 else "fails"
        lines.append(
            f"N1 {holds}: the evidence at n = {EVIDENCE_SIZE} integrates to 1 over data "
            f"sets within {max(integrals):.1f} standard errors for {len(integrals)} problems."
        )
    ends = [row["increments"] for row in rows.values() if row.get("increments")]
    if ends:
        shrunk = sum(abs(end[-1]["gap"]) < abs(end[0]["gap"]) for end in ends)
        lines.append(
            f"The growth of the exact F_n per decade nears the theory's for {shrunk} of "
            f"{len(ends)} problems: it is off by up to {max(abs(e[0]['gap']) for e in ends):.2f} "
            f"nats from n = {ends[0][0]['from_n']} and {max(abs(e[-1]['gap']) for e in ends):.3f} "
            f"from n = {ends[0][-1]['from_n']}."
        )
    if count:
        share = covered / count
        off = abs(share - 0.95) / np.sqrt(0.95 * 0.05 / count)
        holds = "holds" if off < 3 else "fails"
        lines.append(
            f"N2 {holds} for the sampled F_n: 95 % intervals cover the exact value in "
            f"{share:.1%} of {count} jobs, largest deviation "
            f"{max(c['largest'] for c in compared):.1f} s.e. WBIC is F_n to leading order only: "
            f"at n = {config.sample_sizes[-1]} it is off by {min(gaps):.2f} to {max(gaps):.2f} "
            "nats on average."
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()

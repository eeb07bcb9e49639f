"""Is E[nG_g] ≈ E[nB_g] where the truth is not in the model, and what separates them (N6)?"""

from dataclasses import dataclass

import xarray as xr

from experiments.unrealisable.figure import unrealisable_figure
from experiments.unrealisable.study import (
    assemble_unrealisable,
    check_problem,
    location_curve,
    unrealisable_batches,
)
from experiments.unrealisable.verdict import judge
from slt_jax.curves.learning import LearningPlan
from slt_jax.problem import Problem
from slt_jax.report import refusals
from slt_jax.report.main import ExperimentConfig, compute, publish, run_experiment
from slt_jax.samplers.smc import SMCSettings

NAME = "unrealisable"


@dataclass(frozen=True)
class Config(ExperimentConfig):
    """Every field is a flag."""

    problems: tuple[str, ...] = (
        "legendre_4_misspecified", "parabola_regular", "tanh_2_even_truth", "parabola_critical",
        "parabola_two_optima",
    )  # fmt: skip
    """unrealisable problems with an oracle, at least one"""
    exact_sizes: tuple[int, ...] = (10, 30, 100, 300, 1000)
    """n of the exact errors of data sets, increasing, each at least 2"""
    sample_sizes: tuple[int, ...] = (10, 100, 1000)
    """those n at which SMC samples too, increasing; of location families only these"""
    expected_sizes: tuple[int, ...] = tuple(round(10 ** (k / 2)) for k in range(2, 13))
    """n of the exact expectation over all data sets of location families, increasing"""
    data_sets: int = 32
    """independent data sets, at least 2"""
    seeds: int = 6
    """independent SMC runs on each data set, at least 4; they give the Monte-Carlo error"""
    num_chains: int = 32
    """HMC chains of a run"""
    chain_length: int = 16
    """states of a chain; chains × states is the population"""
    step_size: float = 0.4
    """first HMC step in units of the population's standard deviation; tuned on the way"""
    oracle_refinement: int = 1
    """refinement of the exact answers, 1 to 3; their error bounds are in the result file"""


PRESETS = {
    "laptop": Config(),
    "smoke": Config(
        preset="smoke",
        problems=("parabola_two_optima",),
        exact_sizes=(10,),
        sample_sizes=(10,),
        expected_sizes=(10, 100),
        data_sets=4,
        seeds=4,
        num_chains=8,
        chain_length=8,
    ),
    "paper": Config(
        preset="paper",
        exact_sizes=(10, 30, 100, 300, 1000, 3000),
        sample_sizes=(10, 100, 1000),
        expected_sizes=tuple(round(10 ** (k / 4)) for k in range(4, 37)),
        data_sets=200,
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
    """Compute the errors, print the verdict, write dataset, verdict and figure."""
    problems = choose(config)
    plans = {name: plan_of(config, problem) for name, problem in problems.items()}
    sizes = config.expected_sizes
    groups = {
        name: unrealisable_batches(problem, plans[name], sizes)
        for name, problem in problems.items()
    }
    out, batches = compute(NAME, config, groups)
    curves = {
        name: assemble_unrealisable(problem, plans[name], sizes, batches)
        for name, problem in problems.items()
    }
    verdict = judge(problems, curves)
    print(verdict["statement"])
    dataset = xr.concat(
        list(curves.values()), dim=xr.Variable("problem", list(curves)), join="outer"
    )
    publish(NAME, config, out, dataset, verdict, {NAME: unrealisable_figure(problems, curves)})


def choose(config: Config) -> dict[str, Problem]:
    """Problems of a config, which is checked first.

    Raises ValueError that names the value and what is allowed.
    """
    chosen = refusals.known_problems(config)
    refusals.increasing(config, {"exact_sizes": 2, "sample_sizes": 2, "expected_sizes": 1})
    refusals.within(config, "sample_sizes", "exact_sizes")
    least = {"data_sets": 2, "seeds": 4, "num_chains": 2, "chain_length": 2}
    refusals.at_least(config, least)
    refusals.oracle_refinement(config)
    refusals.positive(config, "step_size")
    for problem in chosen.values():
        check_problem(problem)
    return chosen


def plan_of(config: Config, problem: Problem) -> LearningPlan:
    """What a config asks for of one problem."""
    located = location_curve(problem) is not None
    return LearningPlan(
        exact_sizes=config.sample_sizes if located else config.exact_sizes,
        sample_sizes=config.sample_sizes,
        data_sets=config.data_sets,
        seeds=config.seeds,
        settings=SMCSettings(num_chains=config.num_chains, chain_length=config.chain_length),
        step_size=config.step_size,
        oracle_refinement=config.oracle_refinement,
        seed=config.seed,
        budget=config.budget,
    )


if __name__ == "__main__":
    main()

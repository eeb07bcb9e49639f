"""Do nB_g and nG_g tend to λ and λ+ν, and from which n on is F_n described by λ log n (N3, E14)?"""

import math
from dataclasses import dataclass

import xarray as xr

from experiments.learning_curves.figure import learning_figure
from experiments.learning_curves.verdict import judge
from slt_jax.curves.learning import (
    LearningPlan,
    assemble_learning,
    learning_batches,
    own_prior_scale,
)
from slt_jax.problem import Problem
from slt_jax.report import refusals
from slt_jax.report.main import ExperimentConfig, compute, publish, run_experiment
from slt_jax.samplers.smc import SMCSettings

NAME = "learning_curves"


@dataclass(frozen=True)
class Config(ExperimentConfig):
    """Every field is a flag."""

    problems: tuple[str, ...] = (
        "linear_3", "monomial_1_1", "reduced_rank_2_2_1_0", "tanh_2", "skalse_x2",
    )  # fmt: skip
    """realisable problems with λ and an oracle, at least one"""
    exact_sizes: tuple[int, ...] = (10, 30, 100, 300, 1000)
    """n of the exact errors, increasing, each at least 2"""
    sample_sizes: tuple[int, ...] = (10, 100, 1000)
    """those n at which SMC samples too, increasing"""
    far_sizes: tuple[int, ...] = tuple(round(10 ** (k / 4)) for k in range(4, 37))
    """n of the growth of F_n, increasing, at least 3, from 2 on"""
    prior_problems: tuple[str, ...] = (
        "linear_3", "monomial_1_1", "reduced_rank_2_2_1_0", "skalse_x2",
    )  # fmt: skip
    """those problems whose prior is changed too"""
    prior_scales: tuple[float, ...] = (0.1, 0.3, 1.0, 3.0, 10.0)
    """their standard deviations of the prior; at most 6 different ones with the problems' own"""
    data_sets: int = 32
    """independent data sets, at least 2"""
    seeds: int = 6
    """independent SMC runs on each data set, at least 4; they give the Monte-Carlo error"""
    designs: int = 8
    """noises of the fixed design on which F_n grows, at least 2"""
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
        problems=("monomial_1_1",),
        exact_sizes=(10, 40),
        sample_sizes=(10,),
        far_sizes=(100, 10000, 1000000),
        prior_problems=("monomial_1_1",),
        prior_scales=(3.0,),
        data_sets=4,
        seeds=4,
        designs=2,
        num_chains=8,
        chain_length=8,
    ),
    "paper": Config(
        preset="paper",
        problems=(
            "linear_3", "monomial_1_1", "monomial_1_1_1", "monomial_2_1", "reduced_rank_2_2_1_0",
            "tanh_1", "tanh_2", "skalse_0", "skalse_x2",
        ),
        exact_sizes=(10, 30, 100, 300, 1000, 3000, 10000),
        sample_sizes=(10, 100, 1000, 10000),
        data_sets=200,
        seeds=16,
        designs=64,
        num_chains=128,
        chain_length=32,
        oracle_refinement=2,
    ),
}  # fmt: skip


def main() -> None:
    """Command line."""
    run_experiment(NAME, (__doc__ or "").strip(), PRESETS, run)


def run(config: Config) -> None:
    """Compute the curves, print the verdict, write dataset, verdict and figure."""
    problems = choose(config)
    plans = {name: plan_of(config, name) for name in problems}
    groups = {name: learning_batches(problem, plans[name]) for name, problem in problems.items()}
    out, batches = compute(NAME, config, groups)
    curves = {
        name: assemble_learning(problem, plans[name], batches) for name, problem in problems.items()
    }
    verdict = judge(problems, curves)
    print(verdict["statement"])
    dataset = xr.concat(
        list(curves.values()), dim=xr.Variable("problem", list(curves)), join="outer"
    )
    publish(NAME, config, out, dataset, verdict, {NAME: learning_figure(problems, curves)})


def choose(config: Config) -> dict[str, Problem]:
    """Problems of a config, which is checked first.

    Raises ValueError that names the value and what is allowed.
    """
    chosen = refusals.known_problems(config)
    if odd := sorted(set(config.prior_problems) - set(config.problems)):
        raise ValueError(f"prior_problems {', '.join(odd)}: must be among the problems")
    refusals.increasing(config, {"exact_sizes": 2, "sample_sizes": 2, "far_sizes": 2})
    refusals.within(config, "sample_sizes", "exact_sizes")
    if len(config.far_sizes) < 3:
        raise ValueError(f"far_sizes = {config.far_sizes}: at least 3 are needed")
    scales = config.prior_scales
    if not all(0 < s < math.inf for s in scales) or len(set(scales)) < len(scales):
        raise ValueError(f"prior_scales = {scales}: must be positive, finite and different")
    if len(scales) > 6:
        raise ValueError(f"{len(scales)} prior_scales: at most 6")
    least = {"data_sets": 2, "seeds": 4, "designs": 2, "num_chains": 2, "chain_length": 2}
    refusals.at_least(config, least)
    refusals.oracle_refinement(config)
    refusals.positive(config, "step_size")
    for problem in chosen.values():
        own_prior_scale(problem)
    return chosen


def plan_of(config: Config, name: str) -> LearningPlan:
    """What a config asks for of one problem."""
    return LearningPlan(
        exact_sizes=config.exact_sizes,
        sample_sizes=config.sample_sizes,
        far_sizes=config.far_sizes,
        prior_scales=config.prior_scales if name in config.prior_problems else (),
        data_sets=config.data_sets,
        seeds=config.seeds,
        designs=config.designs,
        settings=SMCSettings(num_chains=config.num_chains, chain_length=config.chain_length),
        step_size=config.step_size,
        oracle_refinement=config.oracle_refinement,
        seed=config.seed,
        budget=config.budget,
    )


if __name__ == "__main__":
    main()

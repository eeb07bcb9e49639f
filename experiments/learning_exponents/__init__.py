"""Is E[G_g] ≈ L₀ + cn^−σ, which σ overtakes which c, and what moves either (N7, N8, N9)?"""

import itertools
import math
from dataclasses import dataclass

from experiments.learning_exponents.figure import exponents_figure
from experiments.learning_exponents.study import (
    ExponentPlan,
    assemble_exponents,
    check_net,
    curves_of,
    exponent_batches,
    knobs_of,
)
from experiments.learning_exponents.verdict import judge
from slt_jax.report import refusals
from slt_jax.report.main import ExperimentConfig, compute, publish, run_experiment

NAME = "learning_exponents"


@dataclass(frozen=True)
class Config(ExperimentConfig):
    """Every field is a flag."""

    parabolas: tuple[float, ...] = (0.25, 0.5, 1.0)
    """c of the truths N((0, c), I) of the parabola, each below 4.5"""
    contacts: tuple[tuple[int, int], ...] = ((1, 1), (1, 3), (2, 3), (1, 6))
    """j and k of curves with K = w^2k/2 and variance w^2j, 1 ≤ j ≤ k"""
    sizes: tuple[int, ...] = tuple(round(10 ** (k / 2)) for k in range(2, 19))
    """n of the exact curves, increasing, at least 8"""
    measured_sizes: tuple[int, ...] = tuple(round(10 ** (k / 2)) for k in range(2, 11))
    """n of the measured curves, increasing, at least 4, among the sizes"""
    data_sets: int = 100
    """data sets of a measured curve, at least 10"""
    repeats: int = 200
    """independent measurements, to count how often the intervals cover, at least 2"""
    alpha: float = 0.5
    """spectrum i^−(1+α) of the regression whose knobs are turned"""
    slow_alpha: float = 0.105
    """that of the regression of several widths; σ = 0.095"""
    widths: tuple[float, ...] = (1e2, 1e4, 1e6, 1e9, 1e12, 1e20)
    """their numbers of directions, increasing"""
    spectrum_sizes: tuple[int, ...] = tuple(round(10 ** (k / 4)) for k in range(0, 57))
    """n of the spectra, increasing, at least 8"""
    design_width: int = 300
    """directions of the regression on random inputs"""
    design_sizes: tuple[int, ...] = (10, 30, 100, 300, 1000, 3000)
    """its n, increasing"""
    designs: int = 10
    """its random inputs, at least 2"""
    nets: tuple[str, ...] = ("tanh_1", "tanh_2", "tanh_2_teacher_1")
    """realisable problems with features and an oracle"""
    prior_scales: tuple[float, ...] = (0.3, 1.0, 3.0)
    """standard deviations of their priors"""
    net_sizes: tuple[int, ...] = tuple(round(10 ** (k / 2)) for k in range(2, 19))
    """n on their fixed design, increasing, at least 4"""
    net_designs: int = 4
    """noises of that design, at least 2"""
    oracle_refinement: int = 1
    """refinement of the exact answers of nets, 1 to 3"""


PRESETS = {
    "laptop": Config(),
    "smoke": Config(
        preset="smoke",
        parabolas=(0.25, 0.5, 1.0),
        contacts=((1, 1),),
        sizes=(10, 30, 100, 300, 1000, 3000, 10000, 30000),
        measured_sizes=(10, 100, 1000, 10000),
        data_sets=10,
        repeats=4,
        widths=(1e2, 1e4),
        design_width=20,
        design_sizes=(10, 100),
        designs=2,
        nets=("tanh_1",),
        prior_scales=(1.0,),
        net_sizes=(10, 100, 1000, 10000),
        net_designs=2,
    ),
    "paper": Config(
        preset="paper",
        contacts=((1, 1), (1, 3), (2, 3), (1, 4), (3, 4), (1, 6), (1, 10)),
        sizes=tuple(round(10 ** (k / 4)) for k in range(4, 45)),
        measured_sizes=tuple(round(10 ** (k / 4)) for k in range(4, 21)),
        data_sets=200,
        repeats=1000,
        design_width=1000,
        designs=30,
        nets=("tanh_1", "tanh_2", "tanh_2_teacher_1", "tanh_3"),
        net_designs=32,
        oracle_refinement=2,
    ),
}


def main() -> None:
    """Command line."""
    run_experiment(NAME, (__doc__ or "").strip(), PRESETS, run)


def run(config: Config) -> None:
    """Compute the studies, print the verdict, write dataset, verdict and figure."""
    check(config)
    plan = plan_of(config)
    out, batches = compute(NAME, config, exponent_batches(plan))
    dataset = assemble_exponents(plan, batches)
    verdict = judge(curves_of(plan), dataset)
    print(verdict["statement"])
    publish(NAME, config, out, dataset, verdict, {NAME: exponents_figure(curves_of(plan), dataset)})


def check(config: Config) -> None:
    """Raises ValueError that names the value and what is allowed."""
    least = {
        "sizes": 8, "measured_sizes": 4, "spectrum_sizes": 8, "design_sizes": 1, "net_sizes": 4,
        "widths": 1,
    }  # fmt: skip
    for field, count in least.items():
        values = getattr(config, field)
        if len(values) < count:
            raise ValueError(f"{field} = {values}: at least {count} are needed")
        if values[0] < 1 or any(b <= a for a, b in itertools.pairwise(values)):
            raise ValueError(f"{field} = {values}: must increase from at least 1")
    if config.net_sizes[0] < 2:
        raise ValueError(f"net_sizes = {config.net_sizes}: must increase from at least 2")
    refusals.within(config, "measured_sizes", "sizes")
    smallest = {"data_sets": 10, "repeats": 2, "designs": 2, "net_designs": 2, "design_width": 1}
    refusals.at_least(config, smallest)
    refusals.oracle_refinement(config)
    scales = config.prior_scales
    if not scales or len(set(scales)) < len(scales) or not all(0 < s < math.inf for s in scales):
        raise ValueError(f"prior_scales = {scales}: must be positive, finite and different")
    refusals.positive(config, "alpha", "slow_alpha")
    for net in refusals.known_problems(config, "nets").values():
        check_net(net)
    plan = plan_of(config)
    if len(curves_of(plan)) < len(config.parabolas) + len(config.contacts):
        raise ValueError(
            f"parabolas = {config.parabolas}, contacts = {config.contacts}: each only once"
        )
    if len(curves_of(plan)) < 2:
        raise ValueError("parabolas and contacts: at least 2 are needed")
    knobs_of(plan)


def plan_of(config: Config) -> ExponentPlan:
    """What a config asks for."""
    return ExponentPlan(**{field: getattr(config, field) for field in ExponentPlan._fields})


if __name__ == "__main__":
    main()

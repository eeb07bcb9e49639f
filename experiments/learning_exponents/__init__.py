"""When is E[G_g] ≈ L₀ + cn^−σ, which σ overtakes which c, and what moves either (N7, N8, N9)?

The first two are asked of location families, whose errors are exact at every n; the third of
regression with power-law spectra, in closed form, and of small tanh nets with an exact oracle.
"""

import math
from dataclasses import dataclass
from typing import Annotated

from slt_jax.curves.config import ProblemNames, Refinement, refuse_others
from slt_jax.run.config import ExperimentConfig
from slt_jax.validation import (
    LARGEST_SIZE,
    AtLeast,
    Between,
    Count,
    Different,
    Increasing,
    OrMore,
    Positive,
    SampleSize,
    Within,
)

FITTED_FROM, FITTED_TO = 1e2, 1e5


@dataclass(frozen=True)
class Config(ExperimentConfig):
    """Every field is a flag."""

    parabolas: Annotated[
        tuple[Annotated[float, Between(-math.inf, 4.5)], ...], Different()
    ] = (0.25, 0.5, 1.0)  # fmt: skip
    """c of the truths N((0, c), I) of the parabola"""
    contacts: Annotated[tuple[tuple[int, int], ...], Different()] = ((1, 1), (1, 3), (2, 3), (1, 6))
    """j and k of curves with K = w^2k/2 and variance w^2j, 1 ≤ j ≤ k"""
    sizes: Annotated[tuple[SampleSize, ...], Increasing(), OrMore(8)] = tuple(
        round(10 ** (k / 2)) for k in range(2, 19)
    )
    """n of the exact curves"""
    measured_sizes: Annotated[tuple[SampleSize, ...], Increasing(), OrMore(4)] = tuple(
        round(10 ** (k / 2)) for k in range(2, 11)
    )
    """n of the measured curves, among the sizes"""
    data_sets: Annotated[int, AtLeast(10)] = 100
    """data sets of a measured curve"""
    repeats: Annotated[int, AtLeast(2)] = 200
    """independent measurements, to count how often the intervals cover"""
    alpha: Positive = 0.5
    """spectrum i^−(1+α) of the regression whose factors are varied"""
    slow_alpha: Positive = 0.105
    """that of the regression of several widths; σ = 0.095"""
    widths: Annotated[tuple[Annotated[float, AtLeast(1)], ...], Increasing(), OrMore(1)] = (
        1e2, 1e4, 1e6, 1e9, 1e12, 1e20,
    )  # fmt: skip
    """their numbers of directions, the last one at least 1000"""
    spectrum_sizes: Annotated[tuple[SampleSize, ...], Increasing(), OrMore(8)] = tuple(
        round(10 ** (k / 4)) for k in range(0, 57)
    )
    """n of the spectra, at least 3 of them from 10^2 to 10^5"""
    design_width: Count = 300
    """directions of the regression on random inputs"""
    design_sizes: Annotated[tuple[SampleSize, ...], Increasing(), OrMore(1)] = (
        10, 30, 100, 300, 1000, 3000,
    )  # fmt: skip
    """its n"""
    designs: Annotated[int, AtLeast(2)] = 10
    """its random inputs"""
    nets: ProblemNames = ("tanh_1", "tanh_2")
    """realisable problems with features and an oracle"""
    prior_scales: Annotated[tuple[Positive, ...], Different(), OrMore(1)] = (0.3, 1.0, 3.0)
    """standard deviations of their priors"""
    net_sizes: Annotated[
        tuple[Annotated[int, Within(2, LARGEST_SIZE)], ...], Increasing(), OrMore(4)
    ] = tuple(round(10 ** (k / 2)) for k in range(2, 19))  # fmt: skip
    """n on their fixed design"""
    net_designs: Annotated[int, AtLeast(2)] = 4
    """noises of that design"""
    oracle_refinement: Refinement = 1
    """refinement of the exact answers of nets"""

    def check(self) -> None:
        super().check()
        refuse_others("measured_sizes", self.measured_sizes, "sizes", self.sizes)
        if len(self.parabolas) + len(self.contacts) < 2:
            raise ValueError("parabolas and contacts: at least 2 are needed in all")
        if self.widths[-1] < 1000:
            raise ValueError(f"widths = {self.widths}: the last must be at least 1000")
        if sum(FITTED_FROM <= n <= FITTED_TO for n in self.spectrum_sizes) < 3:
            raise ValueError(
                f"spectrum_sizes = {self.spectrum_sizes}: at least 3 must be from 10^2 to 10^5"
            )


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
        nets=("tanh_1", "tanh_2", "tanh_3"),
        net_designs=32,
        oracle_refinement=2,
    ),
}

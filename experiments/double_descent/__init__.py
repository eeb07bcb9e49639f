"""Do more parameters make a polynomial worse, or does its error descend twice (E4, E15)?

Minimum norm, the best ridge and full Bayes fit n noisy values of a function by up to thousands of
monomials, Chebyshev, Legendre or Fourier functions that are scaled by k^−s. Given the inputs the
expected test error is in closed form, and so is the evidence. A ReLU net of the same numbers of
parameters is trained beside them.
"""

from dataclasses import dataclass
from typing import Annotated

from slt_jax.run.config import ExperimentConfig
from slt_jax.validation import (
    AtLeast,
    Between,
    Count,
    Increasing,
    OrMore,
    Positive,
    Within,
)

MOST_PARAMETERS = 20001
Parameters = Annotated[int, Within(1, MOST_PARAMETERS)]
Scale = Annotated[float, Within(-1, 6)]
Scales = Annotated[tuple[Scale, ...], Increasing(), OrMore(1)]


@dataclass(frozen=True)
class Config(ExperimentConfig):
    """Every field is a flag."""

    sample_size: Annotated[int, Within(4, 32)] = 30
    """n, the number of data; of more than 32 double precision does not hold the peak"""
    parameter_sizes: Annotated[tuple[Parameters, ...], Increasing(), OrMore(3)] = (
        2, 4, 6, 8, 10, 12, 15, 20, 25, 28, 29, 30, 31, 32, 35, 40, 50, 60, 80, 100, 150, 200, 300,
        500, 1000, 2000, 5001,
    )  # fmt: skip
    """p, the numbers of features: degrees plus one; n must be among them, and some on both sides"""
    scales: Annotated[tuple[Scale, ...], Increasing(), OrMore(2)] = (
        -0.5, -0.25, 0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0, 2.5, 3.0,
    )  # fmt: skip
    """exponents s of the features' scale k^−s"""
    shown_scale: Scale = 1.0
    """that s at which β is varied and most panels are drawn"""
    noises: Annotated[tuple[Positive, ...], Increasing(), OrMore(1)] = (0.1, 0.5)
    """standard deviations of the noise, that of the function being 1; the first one is drawn"""
    prior_scale: Positive = 1.0
    """standard deviation of the prior of each weight, that of scaled features"""
    designs: Annotated[int, AtLeast(2)] = 200
    """independent sets of inputs, which give the error bars"""
    noise_draws: Annotated[int, AtLeast(2)] = 16
    """data sets on each of them, whose evidence is looked at"""
    betas: Annotated[tuple[Annotated[float, AtLeast(1)], ...], Increasing(), OrMore(2)] = (
        1.0, 1e2, 1e4, 1e6, 1e8, 1e10, 1e12,
    )  # fmt: skip
    """inverse temperatures β, beginning with Bayes"""
    exact_designs: Annotated[int, AtLeast(2)] = 24
    """how many of the designs are solved in extended precision for monomials"""
    exact_scales: Scales = (0.0, 1.0)
    """those s of which this is done"""
    exact_terms: Parameters = 300
    """largest p of it, but for s = 0, where the sum over features is in closed form"""
    digits: Annotated[int, Within(30, 400)] = 70
    """decimal digits of it"""
    cutoffs: Annotated[tuple[Annotated[float, Between(0, 1)], ...], Increasing(), OrMore(1)] = (
        1e-15, 1e-13, 1e-11, 1e-9, 1e-7,
    )  # fmt: skip
    """relative cut-offs of singular values with which monomials are fitted in double precision"""
    net_widths: Annotated[tuple[Count, ...], Increasing(), OrMore(2)] = (
        1, 2, 4, 7, 10, 14, 20, 50, 150, 500,
    )  # fmt: skip
    """hidden units of the nets, with three parameters each"""
    net_repeats: Annotated[int, AtLeast(2)] = 24
    """nets that are trained, each on its own design and noise"""
    net_steps: Count = 20000
    """steps of Adam"""
    learning_rate: Positive = 0.01
    """its first step size, which falls to 0 as a cosine"""

    def check(self) -> None:
        super().check()
        n, sizes = self.sample_size, self.parameter_sizes
        if n not in sizes or not sizes[0] < n < sizes[-1]:
            raise ValueError(
                f"parameter_sizes = {sizes}: must hold sample_size = {n} and numbers on both sides"
            )
        for name, chosen in (("shown_scale", (self.shown_scale,)), ("exact_scales",
                             self.exact_scales)):  # fmt: skip
            if missing := sorted(set(chosen) - set(self.scales)):
                raise ValueError(f"{name} = {missing[0]}: must be among the scales {self.scales}")
        if self.betas[0] != 1:
            raise ValueError(f"betas = {self.betas}: must begin with 1, which is Bayes")
        for name in ("exact_designs", "net_repeats"):
            if (count := getattr(self, name)) > self.designs:
                raise ValueError(f"{name} = {count}: must be ≤ designs = {self.designs}")


PRESETS = {
    "laptop": Config(),
    "smoke": Config(
        preset="smoke",
        sample_size=10,
        parameter_sizes=(2, 4, 7, 10, 25, 60),
        scales=(0.0, 1.0, 2.0),
        noises=(0.1,),
        designs=8,
        noise_draws=2,
        betas=(1.0, 1e4, 1e8),
        exact_designs=8,
        exact_scales=(0.0, 1.0),
        exact_terms=25,
        digits=40,
        cutoffs=(1e-15, 1e-7),
        net_widths=(1, 20),
        net_repeats=6,
        net_steps=200,
    ),
    # By the rate of the laptop two hours of two processors, and an accelerator for the nets; it has
    # never been run.
    "paper": Config(
        preset="paper",
        parameter_sizes=(
            2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 14, 16, 18, 20, 22, 24, 26, 27, 28, 29, 30, 31, 32, 33,
            34, 36, 38, 40, 45, 50, 60, 70, 80, 100, 120, 150, 200, 300, 500, 1000, 2000, 5001,
            10001,
        ),
        scales=(
            -0.5, -0.375, -0.25, -0.125, 0.0, 0.125, 0.25, 0.375, 0.5, 0.625, 0.75, 0.875, 1.0,
            1.125, 1.25, 1.375, 1.5, 1.75, 2.0, 2.5, 3.0,
        ),
        noises=(0.03, 0.1, 0.3, 1.0),
        designs=2000,
        noise_draws=64,
        betas=tuple(10.0**k for k in range(13)),
        exact_designs=100,
        exact_scales=(-0.5, 0.0, 0.5, 1.0, 2.0),
        exact_terms=1000,
        net_widths=(1, 2, 3, 4, 5, 7, 8, 9, 10, 11, 12, 14, 20, 30, 50, 100, 300, 1000, 3000),
        net_repeats=400,
        net_steps=100000,
    ),
}  # fmt: skip

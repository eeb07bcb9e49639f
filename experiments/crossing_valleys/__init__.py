"""Does the posterior gather where valleys cross, and by how much does λ fall there (E5, E6)?

Two valleys of zero loss cross at the origin of min(|x|,|y|), of two of its smoothings, of x²y² and
of their relatives with more directions. The posterior mass near the crossing and λ(n) there are
exact, up to n = 10¹²; a random walk and SGLD run beside them.
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
    SampleSize,
    Size,
    Within,
)

Sizes = Annotated[tuple[SampleSize, ...], Increasing(), OrMore(1)]
Several = Annotated[int, AtLeast(2)]


@dataclass(frozen=True)
class Config(ExperimentConfig):
    """Every field is a flag."""

    exact_sizes: Annotated[tuple[SampleSize, ...], Increasing(), OrMore(2)] = tuple(
        round(10 ** (k / 4)) for k in range(49)
    )
    """n of the exact answers"""
    radii: Annotated[tuple[Annotated[float, Between(0, 0.5)], ...], Increasing(), OrMore(1)] = (
        0.01, 0.1,
    )  # fmt: skip
    """distances r from the crossing, in the largest coordinate; the last one is drawn, sampled,
    left and the reach of λ(n)"""
    sharpnesses: Annotated[tuple[Positive, ...], Increasing(), OrMore(1)] = (10.0, 1000.0)
    """k of both smoothings, the first of which is sampled"""
    nodes: Annotated[int, Within(10, 40)] = 12
    """quadrature nodes on a panel"""
    sampled_sizes: Sizes = (10, 100, 1000)
    """n of the sampled posteriors"""
    repeats: Several = 16
    """independent runs of a sampler, which give the error bars"""
    chains: Several = 16
    """chains of a run"""
    warmup: Size = 10000
    """steps that are dropped"""
    draws: Annotated[int, AtLeast(4)] = 1000
    """kept draws of a chain"""
    thinning: Count = 100
    """steps from one kept draw to the next"""
    sgld_step: Positive = 0.2
    """step of SGLD in units of the step of which MALA would reject 0.5 %"""
    exit_sizes: Sizes = (30, 100, 300, 1000)
    """n at which the random walk leaves the crossing of min(|x|,|y|)"""
    product_exit_sizes: Sizes = (1000, 100000, 10000000)
    """n at which it leaves that of x²y²"""
    exit_step: Positive = 0.3
    """its step in units of the width of the valley at the distance r, or of r/10 if that is less"""
    walkers: Several = 1000
    """independent walks"""
    max_steps: Count = 3000000
    """steps after which a walk that has not left is given up"""


PRESETS = {
    "laptop": Config(),
    "smoke": Config(
        preset="smoke",
        exact_sizes=(100, 10000, 1000000),
        radii=(0.2,),
        sharpnesses=(10.0,),
        nodes=10,
        sampled_sizes=(10,),
        repeats=2,
        chains=4,
        warmup=20,
        draws=20,
        thinning=2,
        exit_sizes=(10,),
        product_exit_sizes=(100,),
        walkers=20,
        max_steps=2000,
    ),
    # Sized for one accelerator; it has never been run.
    "paper": Config(
        preset="paper",
        exact_sizes=tuple(round(10 ** (k / 8)) for k in range(7, 97)),
        radii=(0.001, 0.01, 0.1),
        sharpnesses=(10.0, 100.0, 1000.0),
        nodes=20,
        sampled_sizes=(10, 100, 1000, 10000),
        repeats=32,
        chains=1024,
        warmup=100000,
        draws=4000,
        thinning=250,
        sgld_step=0.1,
        exit_sizes=(30, 100, 300, 1000, 3000),
        product_exit_sizes=(1000, 100000, 10000000, 1000000000),
        exit_step=0.2,
        walkers=10000,
        max_steps=100000000,
    ),
}

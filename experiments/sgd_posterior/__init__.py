"""Is SGD a draw of the posterior, and training a draw of nets until one fits (N5, E12)?

Endpoints of thousands of SGD runs are held to exact posteriors in function space, at the inverse
temperature and prior width that fit them best; for linear regression the moments of SGD are exact
too. Nets trained on a few labels of a Boolean function are held to nets drawn from the prior until
one has these labels right.
"""

from dataclasses import dataclass
from typing import Annotated

from slt_jax.run.config import ExperimentConfig
from slt_jax.validation import (
    AtLeast,
    Count,
    Increasing,
    OrMore,
    Positive,
    SampleSize,
    Within,
)

# Prior draws of Boolean nets are made in batches of so many.
BLOCK = 50000

Several = Annotated[int, AtLeast(2)]
# Fewer data make steps of 2/n so large that second moments of SGD are infinite.
Sizes = Annotated[tuple[Annotated[SampleSize, AtLeast(20)], ...], Increasing(), OrMore(1)]


@dataclass(frozen=True)
class Config(ExperimentConfig):
    """Every field is a flag."""

    size: Annotated[int, Within(20, 10000)] = 50
    """n of the data sets on which endpoints are held to posteriors"""
    data_sets: Several = 4
    """independent data sets, on each of which all is done"""
    endpoints: Annotated[int, Within(80, 20000)] = 1000
    """runs for each setting and data set; half fit β and the prior, half are tested"""
    permutations: Annotated[int, AtLeast(19)] = 499
    """permutations of each test of two samples"""
    slowness: Annotated[int, AtLeast(2)] = 20
    """steps of a run over n, with a step size of 2/n: 20 are 40 times the slowest time scale"""
    curve_sizes: Sizes = (30, 100, 300, 1000)
    """n of the learning curves"""
    curve_data_sets: Several = 32
    """independent data sets of the learning curves"""
    curve_seeds: Several = 16
    """runs of SGD on each of them"""
    exact_sizes: Sizes = (30, 100, 300, 1000, 3000, 10000)
    """n of the exact distance of SGD from posteriors of linear regression"""
    exact_data_sets: Several = 16
    """independent data sets of that distance"""
    hidden: Count = 8
    """hidden tanh units of the net that learns Boolean functions of four inputs"""
    labels: Annotated[int, Within(2, 15)] = 8
    """labels of the 16 that it learns"""
    trainings: Annotated[int, Within(100, 10**7)] = 20000
    """trainings of the net for each setting and target"""
    prior_draws: Annotated[int, AtLeast(BLOCK)] = 4000000
    """draws of the net's prior at each scale, a multiple of 50,000"""
    training_steps: Annotated[int, AtLeast(10)] = 2000
    """steps after which a net that has not all labels right is given up"""
    step_size: Positive = 0.1
    """step size of the reference setting of the net"""

    def check(self) -> None:
        """Refuse draws that batches do not fill."""
        if self.prior_draws % BLOCK:
            raise ValueError(f"prior_draws = {self.prior_draws}: must be a multiple of {BLOCK}")


PRESETS = {
    "laptop": Config(),
    "smoke": Config(
        preset="smoke",
        size=20,
        data_sets=2,
        endpoints=80,
        permutations=49,
        slowness=2,
        curve_sizes=(20, 40),
        curve_data_sets=2,
        curve_seeds=2,
        exact_sizes=(30, 100),
        exact_data_sets=2,
        hidden=4,
        trainings=500,
        prior_draws=BLOCK,
        training_steps=200,
    ),
    # Sized for one accelerator; it has never been run.
    "paper": Config(
        preset="paper",
        size=100,
        data_sets=16,
        endpoints=4000,
        permutations=1999,
        slowness=50,
        curve_sizes=(30, 100, 300, 1000, 3000),
        curve_data_sets=256,
        curve_seeds=64,
        exact_data_sets=256,
        hidden=40,
        trainings=2000000,
        prior_draws=1000000000,
        training_steps=20000,
    ),
}

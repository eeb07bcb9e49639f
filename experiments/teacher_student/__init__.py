"""Has a student lower λ and lower loss on a slimmer teacher (E7)?

Students of H hidden units learn teachers of H₀ ≤ H units: linear nets, tanh nets, and ReLU nets
without and with biases. λ comes from theorems; the expected loss E[G_n] is the growth of E[F_n],
by an oracle or by samples, and is compared between teachers and between students.
"""

from dataclasses import dataclass
from typing import Annotated

from slt_jax.run.config import ExperimentConfig
from slt_jax.validation import (
    LARGEST_SIMULATED,
    AtLeast,
    Different,
    Increasing,
    OrMore,
    Positive,
    Within,
)

Sizes = Annotated[tuple[Annotated[int, Within(3, LARGEST_SIMULATED)], ...], Increasing(), OrMore(2)]
Slim = Annotated[tuple[Annotated[int, Within(1, 4)], ...], Increasing(), OrMore(1)]
Several = Annotated[int, AtLeast(2)]


@dataclass(frozen=True)
class Config(ExperimentConfig):
    """Every field is a flag."""

    max_width: Annotated[int, Within(2, 6)] = 6
    """largest H of the table of λ, which has all H₀ ≤ H"""
    slim_widths: Slim = (1, 3)
    """H₀ of the slim teachers, whose student has one unit more; the wider teacher and the wider
    student have another one (linear nets on two inputs have rank ≤ 2, so H₀ = 1 alone)"""
    biased_slim_widths: Slim = (3,)
    """the same of ReLU nets with biases, which cost most"""
    spacings: Annotated[tuple[Positive, ...], OrMore(1), Different()] = (1.0, 0.3)
    """spacings s of the teachers' units: input weights s, 2s, 3s, … (of alternating signs for ReLU
    without biases), breakpoints s/2 apart, or singular values s, 2s, …; output weights are 1"""
    biased_spacings: Annotated[tuple[Positive, ...], OrMore(1), Different()] = (1.0,)
    """those of ReLU nets with biases"""
    noise: Positive = 0.1
    """standard deviation of the noise"""
    sizes: Sizes = (10, 100, 1000, 10000, 100000)
    """n of the free energies"""
    biased_sizes: Sizes = (10, 100, 1000)
    """n of those of ReLU nets with biases"""
    grid_sizes: Sizes = (10000, 100000)
    """two n or more, between the last two of which λ(n) of tanh nets is taken where λ is unknown"""
    data_sets: Several = 32
    """independent data sets, which give the error bars"""
    biased_data_sets: Several = 16
    """those of ReLU nets with biases"""
    seeds: Several = 2
    """independent runs on each data set"""
    num_chains: Several = 32
    """chains of a run"""
    biased_num_chains: Several = 64
    """those of ReLU nets with biases"""
    chain_length: Several = 16
    """states of a chain; chains × states is the population"""

    def check(self) -> None:
        for name in ("slim_widths", "biased_slim_widths"):
            widest = getattr(self, name)[-1]
            if widest + 2 > self.max_width:
                raise ValueError(
                    f"{name} = {getattr(self, name)}: the wider student of the last one has "
                    f"{widest + 2} units; must be ≤ max_width = {self.max_width}"
                )


PRESETS = {
    "laptop": Config(),
    "smoke": Config(
        preset="smoke",
        max_width=3,
        slim_widths=(1,),
        biased_slim_widths=(1,),
        spacings=(1.0,),
        sizes=(10, 100, 300),
        biased_sizes=(10, 30),
        grid_sizes=(100, 300),
        data_sets=3,
        biased_data_sets=3,
        num_chains=8,
        biased_num_chains=8,
        chain_length=4,
    ),
    # Sized for one accelerator from the laptop's rate; it has never been run.
    "paper": Config(
        preset="paper",
        slim_widths=(1, 2, 3, 4),
        biased_slim_widths=(1, 2, 3, 4),
        spacings=(2.0, 1.0, 0.3, 0.1),
        biased_spacings=(2.0, 1.0, 0.3, 0.1),
        sizes=(10, 100, 1000, 10000, 100000, 1000000),
        biased_sizes=(10, 100, 1000, 10000, 100000),
        grid_sizes=(100000, 1000000),
        data_sets=200,
        biased_data_sets=200,
        seeds=4,
        num_chains=128,
        biased_num_chains=512,
        chain_length=32,
    ),
}

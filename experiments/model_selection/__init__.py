"""Does practice rank models by the mean or by the best of their runs, and does evidence (N4, N2)?

Families of competing models (polynomials, nets, reduced ranks) learn the same data sets. Rankings
by the best and by the mean test loss of SGD runs, and by F_n, WBIC, WAIC, LOO, BIC and sBIC, are
held to the ranking by the true losses of the posterior and of the runs.
"""

from dataclasses import dataclass
from typing import Annotated, Literal

from slt_jax.run.config import ExperimentConfig
from slt_jax.validation import AtLeast, Count, Different, Increasing, OrMore, Positive, Within

FamilyName = Literal[
    "degrees", "degrees_out", "widths", "widths_out", "activations", "ranks"
]  # fmt: skip
Sample = Annotated[int, Within(5, 4096)]
TestSize = Annotated[int, Within(2, 100_000)]


@dataclass(frozen=True)
class Config(ExperimentConfig):
    """Every field is a flag."""

    families: Annotated[tuple[FamilyName, ...], Different(), OrMore(1)] = (
        "degrees", "degrees_out", "widths", "widths_out", "activations", "ranks",
    )  # fmt: skip
    """families of models; those that end in _out have a truth that none of their models is"""
    sample_sizes: Annotated[tuple[Sample, ...], Increasing(), OrMore(1)] = (20, 100)
    """n of the training data"""
    noises: Annotated[tuple[Positive, ...], Increasing(), OrMore(1)] = (0.7, 2.0)
    """standard deviation of the noise in units of the truth's root mean square"""
    data_sets: Annotated[int, AtLeast(2)] = 16
    """independent data sets, which give the intervals"""
    largest_degree: Annotated[int, Within(1, 20)] = 5
    """polynomials compete from degree 0 to this one"""
    largest_width: Annotated[int, Within(2, 6)] = 4
    """tanh nets compete from one unit to this many"""
    log_latents: Annotated[int, Within(4, 20)] = 12
    """log₂ of the quasi-random inner weights of a net over which its exact outer layer is summed"""
    scrambles: Annotated[int, AtLeast(2)] = 4
    """independent scrambles of these, which give the error of a posterior"""
    runs: Annotated[int, Within(4, 4096)] = 32
    """SGD runs of a model on a data set; the second half gives the runs' own true loss alone"""
    steps: Count = 1000
    """steps of SGD"""
    step_size: Positive = 0.05
    """step size of SGD"""
    batch_size: Count = 10
    """data of a minibatch"""
    test_sizes: Annotated[tuple[TestSize, ...], Increasing(), OrMore(1)] = (20, 100, 1000)
    """T, the data of a test set"""
    luck_data_sets: Annotated[int, AtLeast(2)] = 400
    """data sets of the case in which the best run misleads"""
    luck_runs: Annotated[int, Within(2, 4096)] = 256
    """runs of a model in that case"""


PRESETS = {
    "laptop": Config(),
    "smoke": Config(
        preset="smoke",
        families=("degrees",),
        sample_sizes=(20,),
        noises=(0.5,),
        data_sets=3,
        largest_degree=2,
        largest_width=2,
        log_latents=6,
        scrambles=2,
        runs=4,
        steps=20,
        test_sizes=(10, 20),
        luck_data_sets=10,
        luck_runs=8,
    ),
    # Sized for one accelerator: a thousand times the nodes and 250 times the steps of the laptop's
    # four minutes of one core. It has never been run.
    "paper": Config(
        preset="paper",
        sample_sizes=(20, 50, 100, 200, 500),
        noises=(0.25, 0.5, 1.0, 2.0),
        data_sets=100,
        largest_degree=10,
        largest_width=5,
        log_latents=16,
        scrambles=8,
        runs=256,
        steps=4000,
        test_sizes=(20, 100, 1000, 10000),
        luck_data_sets=4000,
        luck_runs=1024,
    ),
}

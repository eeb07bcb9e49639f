"""Is E[nG_g] ≈ E[nB_g] where the truth is not in the model, and what separates them (N6)?

Errors of regular and singular unrealisable problems are computed exactly and sampled by SMC on the
same data sets. In location families the expectation over all data sets is exact as well, which
reaches the n at which two optima tell.
"""

from dataclasses import dataclass
from typing import Annotated

from slt_jax.curves.config import ErrorConfig, ProblemNames
from slt_jax.validation import Increasing, OrMore, SampleSize


@dataclass(frozen=True)
class Config(ErrorConfig):
    """Every field is a flag."""

    problems: ProblemNames = (
        "legendre_4_misspecified", "parabola_regular", "tanh_2_even_truth", "parabola_critical",
        "parabola_two_optima",
    )  # fmt: skip
    """unrealisable problems with an oracle"""
    expected_sizes: Annotated[tuple[SampleSize, ...], Increasing(), OrMore(1)] = tuple(
        round(10 ** (k / 2)) for k in range(2, 13)
    )
    """n of the exact expectation over all data sets of location families, of whose data sets the
    exact errors are computed at the sample_sizes alone"""


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

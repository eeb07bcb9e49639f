"""Do nB_g and nG_g tend to λ and λ + ν, and from which n on does λ log n describe F_n (N3, E14)?

Generalisation and training errors of realisable problems are computed exactly and sampled on the
same data sets, and held to the limits and to the equations of state; the exact F_n of one
design, at n up to 10⁹ and under several priors, shows where its asymptote begins.
"""

from dataclasses import dataclass
from typing import Annotated

from slt_jax.curves.config import ErrorConfig, ProblemNames, refuse_others
from slt_jax.validation import (
    LARGEST_SIZE,
    AtLeast,
    Different,
    Increasing,
    OrMore,
    Positive,
    ProblemSpecs,
    Within,
)

# The figure tells these apart, and one more that is a problem's own.
MAX_PRIOR_SCALES = 6
PRIOR_PROBLEMS = ("linear_3", "monomial_1_1", "reduced_rank_2_2_1_0")


@dataclass(frozen=True)
class Config(ErrorConfig):
    """Every field is a flag."""

    problems: ProblemNames = (
        "linear_3", "monomial_1_1", "reduced_rank_2_2_1_0", "tanh_2", "skalse_x2",
    )  # fmt: skip
    """realisable problems with λ and an oracle"""
    large_sizes: Annotated[
        tuple[Annotated[int, Within(2, LARGEST_SIZE)], ...], Increasing(), OrMore(3)
    ] = tuple(round(10 ** (k / 4)) for k in range(4, 37))  # fmt: skip
    """n of the exact F_n of one design, whose slope is taken between neighbours"""
    prior_problems: Annotated[tuple[str, ...], ProblemSpecs(), Different()] | None = None
    """those problems whose prior is changed too; by default linear_3, monomial_1_1 and
    reduced_rank_2_2_1_0 where they are among the problems"""
    prior_scales: Annotated[tuple[Positive, ...], Different()] = (0.1, 0.3, 1.0, 3.0, 10.0)
    """their standard deviations of the prior, at most 6, beside the problems' own"""
    designs: Annotated[int, AtLeast(2)] = 8
    """data sets of the one design, which differ in their noise"""

    def check(self) -> None:
        super().check()
        refuse_others("prior_problems", self.changed_priors, "problems", self.problems)
        if len(self.prior_scales) > MAX_PRIOR_SCALES:
            raise ValueError(f"prior_scales = {self.prior_scales}: at most {MAX_PRIOR_SCALES}")

    @property
    def changed_priors(self) -> tuple[str, ...]:
        """The problems whose prior is changed too."""
        if self.prior_problems is not None:
            return self.prior_problems
        return tuple(name for name in PRIOR_PROBLEMS if name in self.problems)


PRESETS = {
    "laptop": Config(),
    "smoke": Config(
        preset="smoke",
        problems=("monomial_1_1",),
        exact_sizes=(10, 40),
        sample_sizes=(10,),
        large_sizes=(100, 10000, 1000000),
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

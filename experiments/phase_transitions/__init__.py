"""Does λ log n tell where the posterior passes from one phase to another as n grows (E15)?

Two phases, a coarse and simple one and an accurate and complex one, exchange the posterior mass
where nΔL + Δλ log n − Δm log log n + Δc = 0. A designed pair of phases is exact; the polygons of
the toy model of superposition are sampled, with evidences of each phase.
"""

from dataclasses import dataclass
from typing import Annotated

from slt_jax.run.config import ExperimentConfig
from slt_jax.validation import (
    AtLeast,
    Between,
    Increasing,
    OrMore,
    SampleSize,
    SimulatedSize,
    Within,
)

Several = Annotated[int, AtLeast(2)]


@dataclass(frozen=True)
class Config(ExperimentConfig):
    """Every field is a flag."""

    offsets: Annotated[tuple[Annotated[float, Between(0, 0.2)], ...], Increasing(), OrMore(1)] = (
        0.0001, 0.001, 0.01, 0.1,
    )  # fmt: skip
    """ΔL of the coarse phase of the designed model, nats per datum"""
    dimension: Annotated[int, Within(2, 20)] = 4
    """parameters d of its accurate phase"""
    exact_sizes: Annotated[tuple[SampleSize, ...], Increasing(), OrMore(3)] = tuple(
        round(20 * 10 ** (k / 20)) for k in range(115)
    )
    """n of the designed model"""
    designed_data_sets: Several = 2000
    """data sets of the designed model"""
    path_sizes: Annotated[tuple[SimulatedSize, ...], Increasing(), OrMore(3)] = (
        25, 50, 100, 141, 200, 283, 400, 566, 800, 1131, 1600, 2263, 3200,
    )  # fmt: skip
    """n on the way of the paths of the toy model, the last of which is their end"""
    fit_size: SimulatedSize = 200
    """n among these at which the constants of the expansion are fitted"""
    runs: Several = 20
    """independent runs of a path, which give the error bars"""
    chains: Annotated[int, AtLeast(4)] = 128
    """HMC chains of a population"""
    chain_length: Annotated[int, AtLeast(4)] = 32
    """states of each chain in a population"""
    integration_steps: Annotated[int, AtLeast(1)] = 3
    """leapfrog steps of a move"""
    max_moves: Annotated[int, AtLeast(1)] = 16
    """moves between two states of a chain, at most"""
    data_sets: Several = 48
    """data sets of the toy model"""
    weighed: Annotated[int, AtLeast(16)] = 512
    """particles of each population that are weighed for every data set"""
    prior_draws: Annotated[int, AtLeast(1000)] = 4000000
    """draws that give the prior mass of each region"""

    def check(self) -> None:
        """Refuse n of the fit that are not on the path, or its last."""
        if self.fit_size not in self.path_sizes[:-1]:
            shown = ", ".join(map(str, self.path_sizes[:-1]))
            raise ValueError(
                f"fit_size = {self.fit_size}: must be one of path_sizes but the last, {shown}"
            )


PRESETS = {
    "laptop": Config(),
    "smoke": Config(
        preset="smoke",
        offsets=(0.01, 0.1),
        exact_sizes=(20, 40, 80, 160, 320, 640, 1280, 2560, 5120),
        designed_data_sets=50,
        path_sizes=(25, 50, 100, 200),
        fit_size=50,
        runs=2,
        chains=8,
        chain_length=4,
        integration_steps=2,
        max_moves=1,
        data_sets=2,
        weighed=16,
        prior_draws=60000,
    ),
    # Sized for one accelerator; it has never been run.
    "paper": Config(
        preset="paper",
        offsets=(0.00001, 0.0001, 0.001, 0.01, 0.1),
        exact_sizes=tuple(round(20 * 10 ** (k / 40)) for k in range(270)),
        designed_data_sets=20000,
        path_sizes=(
            25, 50, 71, 100, 119, 141, 168, 200, 238, 283, 336, 400, 476, 566, 673, 800, 951, 1131,
            1345, 1600, 1903, 2263, 2691, 3200, 4525, 6400,
        ),
        runs=32,
        chains=512,
        chain_length=64,
        max_moves=24,
        data_sets=500,
        weighed=8192,
        prior_draws=400000000,
    ),
}  # fmt: skip

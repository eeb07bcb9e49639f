"""Does a polynomial of products prefer high degrees, and is λ the reason (E1 to E3)?

The coefficients of f = θ₁x⁴ + θ₂θ₃x³ + θ₄θ₅θ₆x² + θ₇…θ₁₀x + θ₁₁…θ₁₅ are products of one to five
parameters. The experiment compares the exact free energy of six truths, the posterior mass near
five functions given one datum, and the prediction error when the degree grows with n.
"""

from dataclasses import dataclass
from typing import Annotated

from slt_jax.curves.config import Refinement
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
    SimulatedSize,
    Within,
)

Scales = Annotated[tuple[Positive, ...], Increasing(), OrMore(1)]
Noises = Annotated[tuple[Positive, ...], Different(), OrMore(1)]
Several = Annotated[int, AtLeast(2)]


@dataclass(frozen=True)
class Config(ExperimentConfig):
    """Every field is a flag."""

    sample_sizes: Annotated[tuple[SimulatedSize, ...], Increasing(), OrMore(1)] = (
        10, 100, 1000, 10000, 100000,
    )  # fmt: skip
    """n of simulated data sets"""
    large_sizes: Annotated[
        tuple[Annotated[int, Within(2, LARGEST_SIZE)], ...], Increasing(), OrMore(4)
    ] = tuple(10**k for k in range(1, 13))  # fmt: skip
    """n on the fixed design"""
    data_sets: Several = 10
    """independent data sets"""
    oracle_refinement: Refinement = 1
    """refinement of the exact answers"""
    local_size: Annotated[int, Within(3, LARGEST_SIZE)] = 1000
    """n of the local learning coefficients"""
    gammas: Scales = (10.0, 100.0)
    """localisations γ"""
    local_chains: Several = 64
    """SGLD chains"""
    local_draws: Count = 200
    """kept SGLD draws of a chain, after half as many steps that are dropped"""
    local_thinning: Annotated[int, AtLeast(2)] = 100
    """SGLD steps from one kept draw to the next"""
    step_size: Positive = 1e-4
    """SGLD step, not in units of the posterior's scale"""
    datum_noises: Noises = (0.1, 1.0)
    """standard deviations of the noise of the datum (1, 1)"""
    radii: Scales = (0.07, 0.2)
    """distances within which a function is near another"""
    quadrature_nodes: Annotated[int, AtLeast(8)] = 22
    """nodes of the exact masses in each direction"""
    chains: Several = 16
    """NUTS chains, and SMC runs, of one datum"""
    draws: Annotated[int, AtLeast(4)] = 2000
    """NUTS draws of a chain, after half as many that adapt"""
    nuts_acceptance: Annotated[float, Between(0, 1)] = 0.95
    """acceptance probability that NUTS adapts its step to"""
    smc_chains: Several = 64
    """HMC chains of an SMC run"""
    smc_chain_length: Several = 62
    """states of such a chain"""
    smc_step_size: Positive = 0.4
    """first HMC step in units of the population's standard deviation; tuned on the way"""
    degrees: Annotated[tuple[Count, ...], Increasing(), OrMore(1)] = (10, 30, 100, 300)
    """degrees of the scaled-up polynomial, multiples of the degrees per datum"""
    degrees_per_datum: Count = 10
    """degree divided by n"""
    noises: Noises = (0.1, 1.0)
    """standard deviations of the noise of the scaled-up polynomial"""
    scaled_data_sets: Several = 6
    """its independent data sets"""
    scaled_chains: Several = 4
    """Gibbs chains on each"""
    sweeps: Annotated[int, AtLeast(4)] = 150
    """kept Gibbs sweeps of a chain, after as many that are dropped"""

    def check(self) -> None:
        super().check()
        if any(degree % self.degrees_per_datum for degree in self.degrees):
            raise ValueError(
                f"degrees = {self.degrees}: must be multiples of {self.degrees_per_datum}"
            )


PRESETS = {
    "laptop": Config(),
    "smoke": Config(
        preset="smoke",
        sample_sizes=(10, 100),
        large_sizes=(100, 1000, 10000, 1000000),
        data_sets=2,
        gammas=(100.0,),
        local_chains=8,
        local_draws=20,
        datum_noises=(0.1,),
        radii=(0.2,),
        quadrature_nodes=16,
        chains=4,
        draws=100,
        smc_chain_length=3,
        degrees=(10,),
        noises=(0.1,),
        scaled_data_sets=2,
        scaled_chains=2,
        sweeps=20,
    ),
    "paper": Config(
        preset="paper",
        sample_sizes=(10, 100, 1000, 10000, 100000, 1000000),
        data_sets=100,
        oracle_refinement=2,
        gammas=(1.0, 10.0, 100.0, 1000.0),
        local_chains=1024,
        quadrature_nodes=26,
        chains=64,
        draws=10000,
        smc_chain_length=312,
        degrees=(10, 30, 100, 300, 1000, 3000),
        noises=(0.1, 0.2, 0.3, 1.0),
        scaled_data_sets=20,
        sweeps=500,
    ),
}
